"""Folders are written whole or not at all, never over what is not ours, and changes to them are seen."""

import os
from pathlib import Path

import pytest

from hyperpeft.config import ConfigError
from hyperpeft.exports import check_unchanged, written_at_once


def put(path: Path, content: str, *, overwrite: bool = False) -> Path:
    with written_at_once(path, overwrite=overwrite) as folder:
        (folder / "inner").mkdir()
        (folder / "inner" / "text").write_text(content)
    return path


def fail(path: Path, *, overwrite: bool) -> None:
    with written_at_once(path, overwrite=overwrite) as folder:
        (folder / "half").write_text("half")
        raise RuntimeError("stop")


def names(path: Path) -> list[str]:
    return sorted(file.relative_to(path).as_posix() for file in path.rglob("*"))


@pytest.mark.parametrize("exists", [False, True])
def test_an_error_while_writing_leaves_everything_as_it_was(tmp_path: Path, exists: bool) -> None:
    if exists:
        put(tmp_path / "a", "old")
    before = names(tmp_path)
    with pytest.raises(RuntimeError, match="stop"):
        fail(tmp_path / "a", overwrite=True)
    assert names(tmp_path) == before


def test_our_own_folder_is_replaced_only_if_told(tmp_path: Path) -> None:
    path = put(tmp_path / "a", "old")
    with pytest.raises(FileExistsError, match=r"a exists already.*overwrite=True \(--force\)"):
        put(path, "new")
    assert (path / "inner" / "text").read_text() == "old"
    put(path, "new", overwrite=True)
    assert (path / "inner" / "text").read_text() == "new"
    assert [file.name for file in tmp_path.iterdir()] == ["a"]


def test_an_empty_folder_is_replaced_if_told(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    put(tmp_path / "a", "new", overwrite=True)
    assert names(tmp_path / "a") == ["hyperpeft.json", "inner", "inner/text"]


@pytest.mark.parametrize("ours", [False, True])
def test_a_folder_with_what_is_not_ours_is_never_replaced(tmp_path: Path, ours: bool) -> None:
    path = put(tmp_path / "a", "old") if ours else tmp_path / "a"
    (path / "photos").mkdir(parents=True)
    (path / "photos" / "mine.txt").write_text("keep me")
    before = names(tmp_path)
    with pytest.raises(FileExistsError, match=r"a is not replaced: it holds.*photos/mine\.txt.*remove it yourself"):
        put(path, "new", overwrite=True)
    assert names(tmp_path) == before


@pytest.mark.parametrize("kind", ["file", "link"])
def test_a_file_or_link_in_the_way_is_never_replaced(tmp_path: Path, kind: str) -> None:
    elsewhere = put(tmp_path / "elsewhere", "keep me")
    path = tmp_path / "a"
    path.write_text("old") if kind == "file" else path.symlink_to(elsewhere)
    with pytest.raises(FileExistsError, match="exists already"):
        put(path, "new")
    with pytest.raises(FileExistsError, match=f"a is not replaced.*a is a {kind}"):
        put(path, "new", overwrite=True)
    assert (elsewhere / "inner" / "text").read_text() == "keep me"
    assert path.is_symlink() == (kind == "link")


def test_a_folder_whose_manifest_is_unreadable_is_not_ours(tmp_path: Path) -> None:
    path = put(tmp_path / "a", "old")
    (path / "hyperpeft.json").write_text("{")
    with pytest.raises(FileExistsError, match="did not write"):
        put(path, "new", overwrite=True)


def test_files_have_the_mode_of_plainly_written_ones(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        with written_at_once(tmp_path / "a") as folder:
            (folder / "private").touch(mode=0o600)
    finally:
        os.umask(before)
    assert (tmp_path / "a" / "private").stat().st_mode & 0o777 == 0o640
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o750


def test_a_changed_or_missing_file_is_named(tmp_path: Path) -> None:
    path = put(tmp_path / "a", "old")
    check_unchanged(path, ["inner/text"])
    (path / "inner" / "text").write_text("odd")
    with pytest.raises(ConfigError, match=r"text is damaged or was changed after hyperpeft wrote it"):
        check_unchanged(path, ["inner/text"])
    (path / "inner" / "text").unlink()
    with pytest.raises(ConfigError, match=r"text is missing: the folder .*a is incomplete"):
        check_unchanged(path, ["inner/text"])
