"""Folders written whole or not at all, with a manifest that tells what hyperpeft wrote and whether it was changed."""

import hashlib
import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory, mkdtemp
from typing import Any

from hyperpeft.config import ConfigError

MANIFEST = "hyperpeft.json"


@contextmanager
def written_at_once(path: Path, *, about: Mapping[str, Any] | None = None, overwrite: bool = False) -> Iterator[Path]:
    """A temporary folder that takes the place of `path` when the `with` ends well, and vanishes when it does not.

    A manifest `hyperpeft.json` is added: what `about` says, the version, each file's SHA-256. All files get the mode
    that a plainly written file has here. Raises what check_free raises, and ConfigError where nothing can be written.
    """
    check_free(path, overwrite=overwrite)
    partial = _beside(path)
    try:
        yield partial
        _write_manifest(partial, about or {})
        _make_readable(partial)
        with TemporaryDirectory(dir=path.parent, prefix=f".{path.name}-") as former:
            if path.exists():
                path.replace(Path(former) / path.name)
            partial.replace(path)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise


def check_free(path: Path, *, overwrite: bool) -> None:
    """Raise FileExistsError if `path` is taken and not to be replaced, or holds what hyperpeft did not write."""
    if not path.exists() and not path.is_symlink():
        return
    if not overwrite:
        raise FileExistsError(f"{path} exists already. Choose another path, or pass overwrite=True (--force).")
    strangers = list(islice(_strangers(path), 3))
    if strangers:
        raise FileExistsError(
            f"{path} is not replaced: it holds what hyperpeft did not write ({', '.join(strangers)}). "
            "Choose another path, or remove it yourself."
        )


def _beside(path: Path) -> Path:
    """A new folder beside the path, on the same file system."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return Path(mkdtemp(dir=path.parent, prefix=f".{path.name}-"))
    except OSError as error:
        raise ConfigError(f"{path} cannot be written: {path.parent} is no folder to write in ({error}).") from error


def check_unchanged(folder: Path, names: Sequence[str]) -> None:
    """Raise ConfigError unless the files of the folder are, byte for byte, those that the manifest names."""
    digests = _digests(folder)
    for name in names:
        file = folder / name
        if not file.is_file():
            raise ConfigError(f"{file} is missing: the folder {folder} is incomplete. Write or copy it again.")
        if _sha256(file) != digests.get(name):
            raise ConfigError(
                f"{file} is damaged or was changed after hyperpeft wrote it: its SHA-256 is not the one in {MANIFEST}. "
                "Write or copy the folder again."
            )


def _digests(folder: Path) -> dict[str, str]:
    """SHA-256 by file name, from the manifest; empty for a folder without a readable one."""
    try:
        return dict(json.loads((folder / MANIFEST).read_text(encoding="utf-8"))["files"])
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def _write_manifest(folder: Path, about: Mapping[str, Any]) -> None:
    files = sorted(file for file in folder.rglob("*") if file.is_file())
    digests = {file.relative_to(folder).as_posix(): _sha256(file) for file in files}
    manifest = {"written_by": f"hyperpeft {version('hyperpeft')}", **about, "files": digests}
    text = json.dumps(manifest, indent=2, ensure_ascii=False) + "\n"
    (folder / MANIFEST).write_text(text, encoding="utf-8")


def _make_readable(folder: Path) -> None:
    """The mode of the manifest, a plainly written file, for all files: safetensors writes its own as 0600."""
    mode = (folder / MANIFEST).stat().st_mode & 0o777
    searchable = mode | (mode & 0o444) >> 2
    for place in (folder, *folder.rglob("*")):
        place.chmod(searchable if place.is_dir() else mode)


def _strangers(path: Path) -> Iterator[str]:
    """What is not in the manifest; the path itself if it is no plain folder."""
    if path.is_symlink() or not path.is_dir():
        yield f"{path.name} is a {'link' if path.is_symlink() else 'file'}"
        return
    known = {MANIFEST, *_digests(path)} if _digests(path) else set()
    for place in path.rglob("*"):
        name = place.relative_to(path).as_posix()
        if name not in known and (place.is_symlink() or not place.is_dir()):
            yield name


def _sha256(file: Path) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()
