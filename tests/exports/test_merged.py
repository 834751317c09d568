"""Merged folders are plain models; our own format comes back bit by bit."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import noise
from export_checks import KINDS, adapted_outputs, assert_same_outputs, load_backbone, make, outputs
from transformers import AutoModel, AutoModelForCausalLM, AutoTokenizer

from hyperpeft.adapters import Lora
from hyperpeft.backbones import Backbone
from hyperpeft.exports import Exported
from hyperpeft.exports.merged import write_merged
from hyperpeft.exports.safetensors import write_safetensors
from hyperpeft.weights import AdapterWeights, load_weights

ARCHITECTURES = ("bert", "llama", "qwen2", "gpt2")


@pytest.fixture(scope="module", params=ARCHITECTURES)
def frozen(request: pytest.FixtureRequest, folders: dict[str, Path]) -> Backbone[Any]:
    return load_backbone(folders[request.param])


@pytest.fixture
def exported(frozen: Backbone[Any]) -> Exported:
    return make(frozen, KINDS["alpha"])


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_merged_is_a_plain_model_that_computes_the_same(frozen: Backbone[Any], kind: str, tmp_path: Path) -> None:
    exported = make(frozen, KINDS[kind])
    (tmp_path / "modèle 1").mkdir()
    write_merged(exported, tmp_path / "modèle 1")
    auto = AutoModel if frozen.classifies else AutoModelForCausalLM
    assert_same_outputs(outputs(auto.from_pretrained(tmp_path / "modèle 1")), exported)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "modèle 1")
    assert tokenizer("a text")["input_ids"] == frozen.tokenizer("a text")["input_ids"]


def test_merged_keeps_an_adapter_that_bf16_would_round_away(folders: dict[str, Path], tmp_path: Path) -> None:
    coarse = load_backbone(folders["llama"], "bfloat16")
    start = make(coarse, Lora(rank=2))
    exported = replace(start, weights=noise(coarse.start(Lora(rank=2)), 0, 0.003))
    write_merged(exported, tmp_path)
    loaded = AutoModelForCausalLM.from_pretrained(tmp_path)
    assert loaded.dtype == torch.float32
    path, named = next(iter(exported.weights.tensors.items()))
    delta = exported.weights.adapter.scale * named["B"][0].T @ named["A"][0]  # type: ignore[attr-defined]
    weight = loaded.get_submodule(path).weight - coarse.model.get_submodule(path).weight.float()
    torch.testing.assert_close(weight.detach(), delta, rtol=1e-3, atol=1e-6)


def test_safetensors_comes_back_to_the_last_bit(exported: Exported, tmp_path: Path) -> None:
    write_safetensors(exported, tmp_path)
    loaded: AdapterWeights = load_weights(tmp_path / "adapter.safetensors")
    assert (loaded.adapter, loaded.backbone) == (exported.weights.adapter, exported.weights.backbone)
    assert torch.equal(adapted_outputs(replace(exported, weights=loaded)), adapted_outputs(exported))
    assert loaded.readout.keys() == exported.weights.readout.keys()
    assert all(torch.equal(loaded.readout[name], exported.weights.readout[name]) for name in loaded.readout)
