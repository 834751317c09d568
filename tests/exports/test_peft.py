"""PEFT loads what is written, and computes the same."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from export_checks import KINDS, assert_same_outputs, bare, load_backbone, make, outputs
from peft import PeftModel
from safetensors.torch import load_file
from transformers import AutoModel

from hyperpeft.backbones import MINILM, Backbone, Encoder
from hyperpeft.exports import Exported
from hyperpeft.exports.peft import write_peft

# what PEFT asks transformers at load is not ours
pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")
ARCHITECTURES = ("bert", "llama", "qwen2", "gpt2")


@pytest.fixture(scope="module", params=ARCHITECTURES)
def frozen(request: pytest.FixtureRequest, folders: dict[str, Path]) -> Backbone[Any]:
    return load_backbone(folders[request.param])


@pytest.fixture(params=sorted(KINDS))
def peft_export(request: pytest.FixtureRequest, frozen: Backbone[Any], tmp_path: Path) -> tuple[Exported, Path]:
    exported = make(frozen, KINDS[request.param])
    write_peft(exported, tmp_path)
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
    assert config["base_model_name_or_path"] == exported.base_model
    assert config["task_type"] == ("FEATURE_EXTRACTION" if exported.backbone.classifies else "CAUSAL_LM")
    for name, tensor in load_file(folder / "adapter_model.safetensors").items():
        assert name.startswith("base_model.model.")
        assert tensor.shape[0 if ".lora_A." in name else 1] == rank
        assert tensor.dtype == torch.float32


def test_a_part_of_the_layers_is_filled_up_with_zeros(frozen: Backbone[Any], tmp_path: Path) -> None:
    whole = make(frozen, KINDS["alpha"])
    first = {path: tensors for path, tensors in whole.weights.tensors.items() if ".0." in path}
    part = replace(whole, weights=replace(whole.weights, tensors=first))
    write_peft(part, tmp_path)
    tensors = load_file(tmp_path / "adapter_model.safetensors")
    assert len(tensors) == 2 * len(whole.weights.tensors) == 6 * len(first)
    assert all(bool(tensor.any()) == (".0." in name) for name, tensor in tensors.items())
    assert_same_outputs(outputs(PeftModel.from_pretrained(bare(frozen), tmp_path)), part)


def test_a_truncated_peft_file_does_not_load(frozen: Backbone[Any], tmp_path: Path) -> None:
    write_peft(make(frozen, KINDS["plain"]), tmp_path)
    file = tmp_path / "adapter_model.safetensors"
    file.write_bytes(file.read_bytes()[:-8])
    with pytest.raises(Exception, match=r"incomplete|Incomplete|deserializ"):
        PeftModel.from_pretrained(bare(frozen), tmp_path)


def test_the_real_minilm_reloads_in_peft(minilm: str, tmp_path: Path) -> None:
    exported = make(Encoder(dtype="float32"), KINDS["rslora"])
    folder = tmp_path / "minilm"
    folder.mkdir()
    write_peft(exported, folder)
    config = json.loads((folder / "adapter_config.json").read_text(encoding="utf-8"))
    assert config["base_model_name_or_path"] == MINILM
    model = PeftModel.from_pretrained(AutoModel.from_pretrained(minilm), folder)
    assert_same_outputs(outputs(model.eval()), exported)
