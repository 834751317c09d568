"""What holds for every format: whole or not at all, a full card, no pickle, no path of this machine."""

import json
import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import ClassVar

import pytest
import torch
from export_checks import KINDS, adapted_outputs, load_backbone, make

from hyperpeft.adapters import ADAPTERS, Lora
from hyperpeft.exports import EXPORTS, Exported, carried, write_export, written_at_once

SUFFIXES = {".safetensors", ".json", ".md", ".jinja", ".txt", ".gguf"}
ENCODERS = sorted(set(EXPORTS) - {"gguf"})
CASES = [("llama", name) for name in sorted(EXPORTS)] + [("bert", name) for name in ENCODERS]


@pytest.fixture(scope="module", params=CASES, ids=lambda case: "-".join(case))
def case(request: pytest.FixtureRequest, folders: dict[str, Path]) -> tuple[Exported, str]:
    model, name = request.param
    kind = Lora(rank=2, alpha=5.0, targets=["q_proj", "v_proj"] if model == "llama" else ["query", "value"])
    return make(load_backbone(folders[model]), kind), name


@pytest.fixture
def exported(case: tuple[Exported, str]) -> Exported:
    return case[0]


@pytest.fixture
def write(case: tuple[Exported, str]) -> Callable[..., Path]:
    def write(exported: Exported, path: Path, *, overwrite: bool = False) -> Path:
        with written_at_once(path, overwrite=overwrite) as folder:
            write_export(exported, folder, case[1])
        return path

    return write


def test_every_format_writes_files_that_are_no_pickle_and_readable(
    exported: Exported, write: Callable[..., Path], tmp_path: Path
) -> None:
    (tmp_path / "plain").write_text("")
    path = write(exported, tmp_path / "mit Leerzeichen" / "адаптер é")
    names = {file.name for file in path.iterdir()}
    assert {"README.md", "hyperpeft.json"} < names
    assert names & {"adapter_model.safetensors", "adapter.safetensors", "model.safetensors", "adapter.gguf"}
    assert {Path(name).suffix for name in names} <= SUFFIXES
    assert not [file for file in path.parent.iterdir() if file != path]
    assert {file.stat().st_mode for file in path.iterdir()} == {(tmp_path / "plain").stat().st_mode}
    assert path.stat().st_mode == tmp_path.joinpath("mit Leerzeichen").stat().st_mode


def test_the_card_says_what_it_is(exported: Exported, write: Callable[..., Path], tmp_path: Path) -> None:
    card = (write(exported, tmp_path / "a") / "README.md").read_text(encoding="utf-8")
    for part in (
        "Say which colour the thing has.",
        "`green`, `red`",
        "Examples used: 4",
        "Generator: default",
        "Fine-tune steps after generation: 3",
        f"written by hyperpeft {version('hyperpeft')}",
        "## Intended use",
        "## Licence",
        "## Use\n\n",
        "```\n",
        f"Base model: `{exported.base_model}#",
    ):
        assert part in card, part


def test_the_cards_evaluation_is_the_backbones_own(
    exported: Exported, write: Callable[..., Path], tmp_path: Path
) -> None:
    backbone, episode = exported.backbone, exported.episode
    with backbone.adapted(exported.weights):
        expected = 100 * float(backbone.score(backbone.support_batch([episode])).accuracy)
    card = (write(exported, tmp_path / "a") / "README.md").read_text(encoding="utf-8")
    assert f"Evaluation: {expected:.0f} % of the 4 examples above" in card
    described = replace(exported, episode=replace(episode, support=()))
    card = (write(described, tmp_path / "b") / "README.md").read_text(encoding="utf-8")
    assert "Evaluation: none, for want of examples" in card


def test_the_same_export_twice_is_the_same_to_the_last_byte(
    exported: Exported, write: Callable[..., Path], tmp_path: Path
) -> None:
    one, two = write(exported, tmp_path / "a"), write(exported, tmp_path / "b")
    for file in one.iterdir():
        if file.name not in ("adapter.safetensors", "hyperpeft.json"):  # safetensors shuffles a header of several keys
            assert file.read_bytes() == (two / file.name).read_bytes(), file.name


def test_every_format_leaves_weights_and_backbone_as_they_are(
    exported: Exported, write: Callable[..., Path], tmp_path: Path
) -> None:
    before = adapted_outputs(exported)
    copy = exported.weights.map(torch.clone)
    write(exported, tmp_path / "a")
    assert torch.equal(adapted_outputs(exported), before)
    assert all(torch.equal(x, y) for (_, x), (_, y) in zip(exported.weights.named(), copy.named(), strict=True))


def test_no_path_of_this_machine(exported: Exported, write: Callable[..., Path], tmp_path: Path) -> None:
    model = Path(exported.backbone.name)
    assert model.is_absolute()
    for file in write(exported, tmp_path / "a").iterdir():
        content = file.read_bytes()
        for place in (model, model.parent, tmp_path, Path.cwd(), Path(os.path.realpath(torch.__file__)).parent):
            assert str(place).encode() not in content, f"{file.name} holds {place}"


def test_several_tasks_are_refused(exported: Exported) -> None:
    with pytest.raises(ValueError, match=r"one task's adapter; these weights hold 3\. Choose one"):
        replace(exported, weights=exported.weights.repeat(3))


@dataclass(frozen=True)
class Stranger(Lora):
    """A kind that no outside format knows."""

    kind: ClassVar[str] = "stranger"


@pytest.mark.parametrize("name", sorted(EXPORTS))
def test_a_kind_that_the_format_cannot_carry_is_refused(folders: dict[str, Path], name: str, tmp_path: Path) -> None:
    exported = make(load_backbone(folders["llama"]), KINDS["plain"])
    strange = replace(exported, weights=replace(exported.weights, adapter=Stranger(rank=2)))
    with pytest.raises(ValueError, match=rf"format '{name}' does not carry adapters of kind 'stranger'.*'lora'.*\[\]"):
        write_export(strange, tmp_path, name)
    with pytest.raises(ValueError, match=r"no export format 'pefft'\. Did you mean 'peft'"):
        write_export(exported, tmp_path, "pefft")
    assert list(tmp_path.iterdir()) == []


def test_the_table_of_formats_and_kinds_is_what_the_formats_say() -> None:
    table = carried()
    assert table.keys() == ADAPTERS.keys()
    assert all(table[kind]["safetensors"] for kind in ADAPTERS)
    assert all(table["lora"].values())
    assert {kind for kind in ADAPTERS if table[kind]["peft"]} == {"lora", "dora", "ia3", "prompt", "sparse"}


def test_a_manifest_names_every_file(exported: Exported, write: Callable[..., Path], tmp_path: Path) -> None:
    path = write(exported, tmp_path / "a")
    manifest = json.loads((path / "hyperpeft.json").read_text(encoding="utf-8"))
    assert manifest["written_by"] == f"hyperpeft {version('hyperpeft')}"
    assert manifest["files"].keys() == {file.name for file in path.iterdir()} - {"hyperpeft.json"}
