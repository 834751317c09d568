from pathlib import Path

import pytest
import torch
from conftest import character_tokenizer, color_episode, noise, size_episode
from transformers import LlamaConfig, LlamaForCausalLM

from hyperpeft.adaptation import FinetuneSettings, finetune
from hyperpeft.adapters import Dora, Lora
from hyperpeft.backbones import CausalLm
from hyperpeft.backbones.quantised import LOAD_IN, quantisation
from hyperpeft.config import ConfigError
from hyperpeft.weights import load_weights, save_weights

EPISODES = [color_episode(), size_episode()]


def test_full_precision_asks_for_nothing() -> None:
    assert quantisation("full", torch.float32) == {}


def test_an_unknown_setting_says_what_exists(folders) -> None:
    with pytest.raises(ConfigError, match=r"load_in 'bitsandbytes-3bit' does not exist.*bitsandbytes-4bit"):
        CausalLm(str(folders["llama"]), load_in="bitsandbytes-3bit")


@pytest.mark.parametrize("setting", sorted(LOAD_IN))
def test_a_missing_library_says_how_to_get_it(folders, setting: str, monkeypatch) -> None:
    library = " ".join(LOAD_IN[setting][0])
    monkeypatch.setattr("hyperpeft.backbones.quantised.find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=f"needs {library}, which is not installed: pip install {library}"):
        CausalLm(str(folders["llama"]), load_in=setting)


@pytest.fixture(scope="module")
def wide(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A Llama as wide as the libraries' blocks of 64 and groups of 128 weights."""
    folder = tmp_path_factory.mktemp("wide")
    torch.manual_seed(0)
    sizes = {"hidden_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 256}
    model = LlamaForCausalLM(LlamaConfig(vocab_size=83, num_key_value_heads=2, **sizes))
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 2:
                parameter.mul_(2)
    model.save_pretrained(folder)
    character_tokenizer().save_pretrained(folder)
    return str(folder)


@pytest.fixture(params=sorted(LOAD_IN))
def quantised(request: pytest.FixtureRequest, wide: str) -> CausalLm:
    """The model as each installed library quantises it."""
    for library in LOAD_IN[request.param][0]:
        pytest.importorskip(library)
    return CausalLm(wide, dtype="bfloat16", max_tokens=64, max_new_tokens=4, load_in=request.param)


@pytest.mark.filterwarnings("default")
def test_a_quantised_backbone_is_close_to_the_full_one_and_trains_adapters(
    quantised: CausalLm, wide: str, tmp_path: Path
) -> None:
    full = CausalLm(wide, dtype="bfloat16", max_tokens=64)
    batch = quantised.query_batch(EPISODES)
    fresh = quantised.start(Lora(rank=2), tasks=2)
    with torch.no_grad(), quantised.adapted(fresh):
        torch.testing.assert_close(quantised.loss(batch), full.loss(batch), rtol=0.1, atol=0.1)
    weights = noise(fresh, 1, size=0.1).map(lambda leaf: leaf.requires_grad_(True))
    with quantised.adapted(weights, train=True):
        gradients = torch.autograd.grad(quantised.loss(batch).sum(), [leaf for _, leaf in weights.named()])
    assert all(gradient.isfinite().all() and gradient.abs().max() > 0 for gradient in gradients)
    tuned = finetune(quantised, fresh, EPISODES, FinetuneSettings(steps=5, lr=1e-2))
    support = quantised.support_batch(EPISODES)
    with torch.no_grad(), quantised.adapted(fresh):
        before = quantised.loss(support)
    save_weights(tuned, tmp_path / "tuned.safetensors")
    with torch.no_grad(), quantised.adapted(load_weights(tmp_path / "tuned.safetensors")):
        assert (quantised.loss(support) < before).all()
        free = [color_episode(labels=(), metric="exact_match")]
    with quantised.adapted(tuned[0]):
        assert [len(texts) for texts in quantised.predict(free)] == [3]


@pytest.mark.filterwarnings("default")
def test_gradients_are_the_same_after_a_forward_without(quantised: CausalLm) -> None:
    """bitsandbytes packs 4-bit weights for inference on some CPUs; what is packed has no backward."""
    batch = quantised.query_batch(EPISODES)
    start = noise(quantised.start(Lora(rank=2), tasks=2), 1, size=0.1)

    def gradients() -> list[torch.Tensor]:
        weights = start.map(lambda leaf: leaf.clone().requires_grad_(True))
        with quantised.adapted(weights, train=True):
            return list(torch.autograd.grad(quantised.loss(batch).sum(), [leaf for _, leaf in weights.named()]))

    before = gradients()
    quantised.predict(EPISODES)
    torch.testing.assert_close(gradients(), before)


@pytest.mark.filterwarnings("default")
def test_a_quantised_backbone_is_another_than_the_full_one_and_the_same_after_use(
    quantised: CausalLm, wide: str
) -> None:
    """Some libraries pack the weights anew at the first forward."""
    quantised.predict(EPISODES[:1])
    again = CausalLm(**{name: value for name, value in quantised.settings().items() if name != "kind"})
    assert again.identity == quantised.identity
    assert again.identity != CausalLm(wide, dtype="bfloat16", max_tokens=64).identity


@pytest.mark.filterwarnings("default")
def test_a_kind_that_reads_the_frozen_weight_reads_it_dequantised(quantised: CausalLm, wide: str) -> None:
    full = CausalLm(wide, dtype="bfloat16", max_tokens=64)
    batch = quantised.query_batch(EPISODES)
    weights = noise(quantised.start(Dora(rank=2), tasks=2), 1, size=0.02)
    with torch.no_grad(), quantised.adapted(weights):
        found = quantised.loss(batch)
    with torch.no_grad(), full.adapted(type(weights)(weights.adapter, full.identity, weights.tensors, weights.readout)):
        torch.testing.assert_close(found, full.loss(batch), rtol=0.1, atol=0.1)
