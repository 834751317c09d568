"""Every kind of adapter in every format that carries it: the real reader computes the same."""

import re
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import character_tokenizer, color_episode, noise
from export_checks import adapted_outputs, assert_same_outputs, bare, load_backbone, outputs
from families import load_family, save_family
from peft import PeftModel
from transformers import AutoModel, AutoModelForCausalLM, AutoModelForSeq2SeqLM

from hyperpeft.adapters import ADAPTERS, AdapterKind, Bias, Dora, Ia3, Lora, Prompt, Sparse
from hyperpeft.exports import Exported, carried, write_export
from hyperpeft.weights import load_weights

# what PEFT asks of transformers and torch is not ours
pytestmark = [
    pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning"),
    pytest.mark.filterwarnings("ignore:Position ids are not supported for parameter efficient tuning:UserWarning"),
    pytest.mark.filterwarnings("ignore:Sparse invariant checks are implicitly disabled:UserWarning"),
]
SETTINGS: dict[str, AdapterKind] = {
    "lora": Lora(rank=2, alpha=3.0),
    "dora": Dora(rank=2, alpha=3.0, rslora=True),
    "ia3": Ia3(),
    "prompt": Prompt(tokens=3, gated=False),
    "sparse": Sparse(rank=2, seed=5),
    "bias": Bias(),
}
MODELS = ("bert", "llama", "gpt2")
FORMATS = [(name, kind) for kind, formats in carried().items() for name, here in sorted(formats.items()) if here]


def of(name: str) -> list[str]:
    return [kind for format_name, kind in FORMATS if format_name == name]


def make(folders: dict[str, Path], model: str, kind: str) -> Exported:
    backbone = load_backbone(folders[model])
    adapter = SETTINGS.get(kind) or ADAPTERS[kind]()
    return Exported(noise(backbone.start(adapter), 0, 0.1), backbone, color_episode())


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("kind", of("peft"))
def test_peft_computes_the_same(
    folders: dict[str, Path], model: str, kind: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    exported = make(folders, model, kind)
    if (model, kind) == ("gpt2", "sparse"):
        with pytest.raises(ValueError, match="SHiRA cannot adapt transposed linear layers"):
            write_export(exported, tmp_path, "peft")
        return
    write_export(exported, tmp_path, "peft")
    loaded = PeftModel.from_pretrained(bare(exported.backbone), tmp_path).eval()
    found = outputs(loaded)
    assert_same_outputs(found[:, -10:] if kind == "prompt" else found, exported)
    assert "warn" not in "".join(capfd.readouterr()).lower()
    if kind == "prompt" and model == "llama":
        ids = torch.arange(7, 17)[None]
        with exported.backbone.adapted(exported.weights):
            ours = exported.backbone.model.generate(ids, max_new_tokens=5, do_sample=False)
        assert torch.equal(loaded.generate(input_ids=ids, max_new_tokens=5, do_sample=False), ours)


@pytest.mark.parametrize("family", ["t5", "bart"])
def test_peft_reads_the_prompt_of_an_encoder_with_a_decoder(family: str, tmp_path: Path) -> None:
    backbone = load_family(family, save_family(family, tmp_path / family, character_tokenizer()))
    adapter = Prompt(tokens=3, gated=False)
    exported = Exported(noise(backbone.start(adapter), 0), backbone, color_episode())
    (tmp_path / "out").mkdir()
    write_export(exported, tmp_path / "out", "peft")
    base = AutoModelForSeq2SeqLM.from_pretrained(backbone.name, dtype=torch.float32)
    model = PeftModel.from_pretrained(base, tmp_path / "out").eval()
    ids = torch.arange(7, 27).reshape(2, 10)
    inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids), "decoder_input_ids": ids[:, :4]}
    with torch.no_grad():
        bare_logits, theirs = backbone.model(**inputs).logits, model(**inputs).logits
        with backbone.adapted(exported.weights):
            ours = backbone.model(**inputs).logits
    torch.testing.assert_close(theirs, ours, rtol=1e-4, atol=1e-4)
    assert not torch.allclose(ours, bare_logits, atol=1e-2)


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("kind", of("merged"))
def test_merged_computes_the_same(folders: dict[str, Path], model: str, kind: str, tmp_path: Path) -> None:
    exported = make(folders, model, kind)
    if (model, kind) == ("llama", "bias"):
        with pytest.raises(ValueError, match=r"has no bias in this model.*Use 'safetensors'"):
            write_export(exported, tmp_path, "merged")
        return
    write_export(exported, tmp_path, "merged")
    auto: Any = AutoModel if exported.backbone.classifies else AutoModelForCausalLM
    assert_same_outputs(outputs(auto.from_pretrained(tmp_path)), exported)


@pytest.mark.parametrize("kind", of("safetensors"))
def test_safetensors_comes_back(folders: dict[str, Path], kind: str, tmp_path: Path) -> None:
    exported = make(folders, "llama", kind)
    write_export(exported, tmp_path, "safetensors")
    loaded = load_weights(tmp_path / "adapter.safetensors")
    with exported.backbone.adapted(loaded):
        assert torch.equal(outputs(exported.backbone.model), adapted_outputs_of(exported))


def adapted_outputs_of(exported: Exported) -> torch.Tensor:
    """Outside of the other `with`."""
    other = load_backbone(Path(exported.backbone.name))
    return adapted_outputs(Exported(exported.weights, other, exported.episode))


def test_a_prompt_with_gates_is_refused(folders: dict[str, Path], tmp_path: Path) -> None:
    backbone = load_backbone(folders["llama"])
    exported = Exported(backbone.start(Prompt(tokens=2)), backbone, color_episode())
    with pytest.raises(ValueError, match=r"prompts have no gates.*format 'safetensors'"):
        write_export(exported, tmp_path, "peft")


def test_kinds_that_a_format_lacks_name_those_that_have_them(folders: dict[str, Path], tmp_path: Path) -> None:
    for kind, formats in carried().items():
        exported = make(folders, "bert", kind)
        others = [name for name, here in formats.items() if here]
        for name in sorted(set(formats) - set(others)):
            message = re.escape(f"Kind {kind!r} is carried by {others}")
            with pytest.raises(ValueError, match=rf"format '{name}' does not carry.*{message}"):
                write_export(exported, tmp_path, name)
