"""Exports: what is written is what other programs load, whole or not at all."""

import json
import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from conftest import noise
from peft import PeftModel
from safetensors.torch import load_file
from torch import Tensor
from transformers import AutoModel, AutoModelForCausalLM, AutoTokenizer

from hyperpeft.adapters import Lora
from hyperpeft.backbones import MINILM, Backbone, CausalLm, Encoder
from hyperpeft.exports import EXPORTS, Exported, written_at_once
from hyperpeft.weights import AdapterWeights, load_weights

CARD = "---\nlibrary_name: peft\n---\n# A card\n"
# what PEFT asks transformers at load is not ours
pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")
ARCHITECTURES = ("bert", "llama", "qwen2", "gpt2")
KINDS = {
    "plain": Lora(rank=4, alpha=4.0),
    "alpha": Lora(rank=2, alpha=5.0),
    "rslora": Lora(rank=3, alpha=5.0, rslora=True),
    "all-linear": Lora(rank=2, alpha=3.0, targets=["all-linear"]),
}


def load_backbone(folder: Path, dtype: str = "float32") -> Backbone[Any]:
    if folder.name == "bert":
        return Encoder(str(folder), dtype=dtype)
    return CausalLm(str(folder), dtype=dtype)


@pytest.fixture(scope="module", params=ARCHITECTURES)
def frozen(request: pytest.FixtureRequest, folders: dict[str, Path]) -> Backbone[Any]:
    return load_backbone(folders[request.param])


@pytest.fixture
def exported(frozen: Backbone[Any]) -> Exported:
    return make(frozen, KINDS["alpha"])


def make(backbone: Backbone[Any], adapter: Lora) -> Exported:
    return Exported(noise(backbone.start(adapter), 0, 0.1), backbone, CARD)


def outputs(model: Any) -> Tensor:
    ids = torch.arange(7, 27).reshape(2, 10)
    with torch.no_grad():
        made = model(input_ids=ids, attention_mask=torch.ones_like(ids))
    return made.logits if "logits" in made else made.last_hidden_state


def adapted_outputs(exported: Exported) -> Tensor:
    with exported.backbone.adapted(exported.weights):
        return outputs(exported.backbone.model)


def bare(backbone: Backbone[Any]) -> Any:
    auto = AutoModel if backbone.classifies else AutoModelForCausalLM
    return auto.from_pretrained(backbone.name, dtype=torch.float32)


def assert_same_outputs(found: Tensor, exported: Exported) -> None:
    expected = adapted_outputs(exported)
    assert (found - expected).norm() < 1e-4 * expected.norm()
    assert (outputs(exported.backbone.model) - expected).norm() > 1e-2 * expected.norm()


# ---- every format


@pytest.fixture(params=sorted(EXPORTS))
def write(request: pytest.FixtureRequest) -> Callable[..., Path]:
    def write(exported: Exported, path: Path, *, overwrite: bool = False) -> Path:
        with written_at_once(path, overwrite=overwrite) as folder:
            EXPORTS[request.param](exported, folder)
        return path

    return write


def test_every_format_writes_the_card_and_no_pickle(
    exported: Exported, write: Callable[..., Path], tmp_path: Path
) -> None:
    path = write(exported, tmp_path / "mit Leerzeichen" / "адаптер é")
    names = {file.name for file in path.iterdir()}
    assert (path / "README.md").read_text(encoding="utf-8") == CARD
    assert any(name.endswith(".safetensors") for name in names)
    assert all(Path(name).suffix in {".safetensors", ".json", ".md", ".jinja", ".txt"} for name in names)
    assert not [file for file in path.parent.iterdir() if file != path]


def test_every_format_leaves_weights_and_backbone_as_they_are(
    exported: Exported, write: Callable[..., Path], tmp_path: Path
) -> None:
    before = adapted_outputs(exported)
    copy = exported.weights.map(torch.clone)
    write(exported, tmp_path / "a")
    assert torch.equal(adapted_outputs(exported), before)
    assert all(torch.equal(x, y) for (_, x), (_, y) in zip(exported.weights.named(), copy.named(), strict=True))


def test_no_path_of_this_machine_but_the_backbones_name(
    exported: Exported, write: Callable[..., Path], tmp_path: Path
) -> None:
    for file in write(exported, tmp_path / "a").iterdir():
        content = file.read_bytes().replace(exported.backbone.name.encode(), b"")
        for place in (tmp_path, Path.cwd(), Path.home(), Path(os.path.realpath(torch.__file__)).parent):
            assert str(place).encode() + b"/" not in content, f"{file.name} holds {place}"
            assert str(place).encode() + b'"' not in content, f"{file.name} holds {place}"


def test_an_existing_path_is_replaced_only_if_told(
    exported: Exported, write: Callable[..., Path], tmp_path: Path
) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "mine.txt").write_text("keep me")
    with pytest.raises(FileExistsError, match=r"a exists already.*overwrite=True"):
        write(exported, tmp_path / "a")
    assert [file.name for file in (tmp_path / "a").iterdir()] == ["mine.txt"]
    write(exported, tmp_path / "a", overwrite=True)
    assert not (tmp_path / "a" / "mine.txt").exists()
    assert (tmp_path / "a" / "README.md").exists()
    assert [file.name for file in tmp_path.iterdir()] == ["a"]


def test_several_tasks_are_refused(exported: Exported) -> None:
    with pytest.raises(ValueError, match=r"one task's adapter; these weights hold 3\. Choose one"):
        replace(exported, weights=exported.weights.repeat(3))


@dataclass(frozen=True)
class Stranger(Lora):
    """A kind that no outside format knows."""

    kind: ClassVar[str] = "stranger"


@pytest.mark.parametrize("name", ["merged", "peft"])
def test_a_kind_that_the_format_cannot_carry_is_refused(exported: Exported, name: str, tmp_path: Path) -> None:
    weights = replace(exported.weights, adapter=Stranger(rank=2))
    with pytest.raises(ValueError, match=rf"format '{name}' does not carry adapters of kind 'stranger'.*'lora'"):
        EXPORTS[name](replace(exported, weights=weights), tmp_path)


# ---- written at once


def fail(path: Path, *, overwrite: bool) -> None:
    with written_at_once(path, overwrite=overwrite) as folder:
        (folder / "half").write_text("half")
        raise RuntimeError("stop")


@pytest.mark.parametrize("exists", [False, True])
def test_an_error_while_writing_leaves_everything_as_it_was(tmp_path: Path, exists: bool) -> None:
    if exists:
        (tmp_path / "a").mkdir()
        (tmp_path / "a" / "old").write_text("old")
    with pytest.raises(RuntimeError, match="stop"):
        fail(tmp_path / "a", overwrite=True)
    assert [file.name for file in tmp_path.rglob("*")] == (["a", "old"] if exists else [])


@pytest.mark.parametrize("kind", ["file", "link"])
def test_a_file_or_link_in_the_way_is_replaced_only_if_told(tmp_path: Path, kind: str) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "mine.txt").write_text("keep me")
    path = tmp_path / "a"
    path.write_text("old") if kind == "file" else path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(FileExistsError, match="exists already"):
        fail(path, overwrite=False)
    with written_at_once(path, overwrite=True) as folder:
        (folder / "new").write_text("new")
    assert [file.name for file in path.iterdir()] == ["new"]
    assert (tmp_path / "elsewhere" / "mine.txt").exists()
    assert {file.name for file in tmp_path.iterdir()} == {"a", "elsewhere"}


# ---- peft


@pytest.fixture(params=sorted(KINDS))
def peft_export(request: pytest.FixtureRequest, frozen: Backbone[Any], tmp_path: Path) -> tuple[Exported, Path]:
    exported = make(frozen, KINDS[request.param])
    EXPORTS["peft"](exported, tmp_path)
    return exported, tmp_path


def test_peft_loads_it_without_a_warning_and_computes_the_same(
    peft_export: tuple[Exported, Path], capfd: pytest.CaptureFixture[str]
) -> None:
    exported, folder = peft_export
    model = PeftModel.from_pretrained(bare(exported.backbone), folder)
    assert_same_outputs(outputs(model), exported)
    assert_same_outputs(outputs(model.merge_and_unload()), exported)
    assert "warn" not in "".join(capfd.readouterr()).lower()


def test_peft_scale_is_folded_into_one_rank(peft_export: tuple[Exported, Path]) -> None:
    exported, folder = peft_export
    config = json.loads((folder / "adapter_config.json").read_text(encoding="utf-8"))
    rank = exported.weights.adapter.rank  # type: ignore[attr-defined]
    assert (config["r"], config["lora_alpha"], config["bias"]) == (rank, rank, "none")
    assert isinstance(config["lora_alpha"], int)
    assert not config["use_rslora"]
    assert not config["use_dora"]
    assert not config["rank_pattern"]
    assert not config["alpha_pattern"]
    assert config["modules_to_save"] is None
    assert config["target_modules"] == sorted({path.rsplit(".")[-1] for path in exported.weights.tensors})
    assert config["base_model_name_or_path"] == exported.backbone.name
    assert config["task_type"] == ("FEATURE_EXTRACTION" if exported.backbone.classifies else "CAUSAL_LM")
    for name, tensor in load_file(folder / "adapter_model.safetensors").items():
        assert name.startswith("base_model.model.")
        assert tensor.shape[0 if ".lora_A." in name else 1] == rank
        assert tensor.dtype == torch.float32


def test_a_part_of_the_layers_is_filled_up_with_zeros(frozen: Backbone[Any], tmp_path: Path) -> None:
    whole = make(frozen, KINDS["alpha"])
    first = {path: tensors for path, tensors in whole.weights.tensors.items() if ".0." in path}
    part = replace(whole, weights=replace(whole.weights, tensors=first))
    EXPORTS["peft"](part, tmp_path)
    tensors = load_file(tmp_path / "adapter_model.safetensors")
    assert len(tensors) == 2 * len(whole.weights.tensors) == 6 * len(first)
    assert all(bool(tensor.any()) == (".0." in name) for name, tensor in tensors.items())
    assert_same_outputs(outputs(PeftModel.from_pretrained(bare(frozen), tmp_path)), part)


def test_a_truncated_peft_file_does_not_load(frozen: Backbone[Any], tmp_path: Path) -> None:
    EXPORTS["peft"](make(frozen, KINDS["plain"]), tmp_path)
    file = tmp_path / "adapter_model.safetensors"
    file.write_bytes(file.read_bytes()[:-8])
    with pytest.raises(Exception, match=r"incomplete|Incomplete|deserializ"):
        PeftModel.from_pretrained(bare(frozen), tmp_path)


# ---- merged


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_merged_is_a_plain_model_that_computes_the_same(frozen: Backbone[Any], kind: str, tmp_path: Path) -> None:
    exported = make(frozen, KINDS[kind])
    EXPORTS["merged"](exported, tmp_path / "modèle 1")
    auto = AutoModel if frozen.classifies else AutoModelForCausalLM
    assert_same_outputs(outputs(auto.from_pretrained(tmp_path / "modèle 1")), exported)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "modèle 1")
    assert tokenizer("a text")["input_ids"] == frozen.tokenizer("a text")["input_ids"]


def test_merged_keeps_an_adapter_that_bf16_would_round_away(folders: dict[str, Path], tmp_path: Path) -> None:
    coarse = load_backbone(folders["llama"], "bfloat16")
    exported = Exported(noise(coarse.start(Lora(rank=2)), 0, 0.003), coarse, CARD)
    EXPORTS["merged"](exported, tmp_path)
    loaded = AutoModelForCausalLM.from_pretrained(tmp_path)
    assert loaded.dtype == torch.float32
    path, named = next(iter(exported.weights.tensors.items()))
    delta = exported.weights.adapter.scale * named["B"][0].T @ named["A"][0]  # type: ignore[attr-defined]
    weight = loaded.get_submodule(path).weight - coarse.model.get_submodule(path).weight.float()
    torch.testing.assert_close(weight.detach(), delta, rtol=1e-3, atol=1e-6)


# ---- safetensors


def test_safetensors_comes_back_to_the_last_bit(exported: Exported, tmp_path: Path) -> None:
    EXPORTS["safetensors"](exported, tmp_path)
    loaded: AdapterWeights = load_weights(tmp_path / "adapter.safetensors")
    assert (loaded.adapter, loaded.backbone) == (exported.weights.adapter, exported.weights.backbone)
    assert torch.equal(adapted_outputs(replace(exported, weights=loaded)), adapted_outputs(exported))
    assert loaded.readout.keys() == exported.weights.readout.keys()
    assert all(torch.equal(loaded.readout[name], exported.weights.readout[name]) for name in loaded.readout)


def test_the_real_minilm_reloads_in_peft(minilm: str, tmp_path: Path) -> None:
    exported = make(Encoder(dtype="float32"), KINDS["rslora"])
    folder = tmp_path / "minilm"
    with written_at_once(folder) as partial:
        EXPORTS["peft"](exported, partial)
    config = json.loads((folder / "adapter_config.json").read_text(encoding="utf-8"))
    assert config["base_model_name_or_path"] == MINILM
    model = PeftModel.from_pretrained(AutoModel.from_pretrained(minilm), folder)
    assert_same_outputs(outputs(model.eval()), exported)
