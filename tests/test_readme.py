"""The code of the README and of docs/use.md runs as it stands, with the generator that the package ships."""

import re
from pathlib import Path

import pytest

import hyperpeft

README = Path(__file__).parent.parent / "README.md"


def blocks(file: Path = README) -> list[str]:
    return re.findall(r"```python\n(.*?)```", file.read_text(encoding="utf-8"), flags=re.DOTALL)


@pytest.mark.usefixtures("minilm")
def test_every_block_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HYPERPEFT_CACHE", str(tmp_path / "cache"))
    names: dict[str, object] = {}
    assert blocks()
    for block in blocks():
        exec(compile(block, "README.md", "exec"), names)
    assert (tmp_path / "out" / "routing" / "adapter_model.safetensors").is_file()
    assert "billing" in capsys.readouterr().out


@pytest.mark.usefixtures("minilm")
def test_the_way_with_a_new_task_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HYPERPEFT_CACHE", str(tmp_path / "cache"))
    found = blocks(README.parent / "docs" / "use.md")
    assert len(found) == 6
    exec(compile("\n".join(found), "use.md", "exec"), {})
    printed = capsys.readouterr().out
    assert all(word in printed for word in ("Confidence(", "Schedule(steps=", "billing"))


@pytest.mark.usefixtures("minilm")
def test_the_shipped_generator_is_small_and_reads_the_task(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HYPERPEFT_CACHE", str(tmp_path / "cache"))
    folder = Path(hyperpeft.__file__).parent / "generators" / "default"
    assert sum(file.stat().st_size for file in folder.iterdir()) < 12e6
    one, two = hyperpeft.generate_many(
        [
            {"description": "Is the text about sports or about money?", "labels": ["yes", "no"]},
            {"description": "Does the writer sound happy?", "labels": ["yes", "no"]},
        ]
    )
    name, tensor = next(iter(one.weights.named()))
    assert not tensor.equal(dict(two.weights.named())[name])
