from importlib.util import find_spec

import pytest
import torch
from conftest import color_episode, noise

from hyperpeft.adapters import Lora
from hyperpeft.backbones import CausalLm
from hyperpeft.backbones.quantised import LOAD_IN, quantisation
from hyperpeft.config import ConfigError


def test_full_precision_asks_for_nothing() -> None:
    assert quantisation("full", torch.float32) == {}


def test_an_unknown_setting_says_what_exists(folders) -> None:
    with pytest.raises(ConfigError, match=r"load_in 'bitsandbytes-3bit' does not exist.*bitsandbytes-4bit"):
        CausalLm(str(folders["llama"]), load_in="bitsandbytes-3bit")


@pytest.mark.parametrize("setting", sorted(LOAD_IN))
def test_a_missing_library_says_how_to_get_it(folders, setting: str, monkeypatch) -> None:
    library, _ = LOAD_IN[setting]
    monkeypatch.setattr("hyperpeft.backbones.quantised.find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=f"needs {library}, which is not installed: pip install {library}"):
        CausalLm(str(folders["llama"]), load_in=setting)


@pytest.mark.slow
@pytest.mark.parametrize("setting", sorted(LOAD_IN))
def test_a_quantised_backbone_trains_an_adapter(folders, setting: str) -> None:
    """Close to the full backbone, the same at the start of an adapter, with gradients for every tensor."""
    library, _ = LOAD_IN[setting]
    if find_spec(library) is None:
        pytest.skip(f"{library} is not installed")
    full = CausalLm(str(folders["llama"]), dtype="bfloat16", max_tokens=64)
    backbone = CausalLm(str(folders["llama"]), dtype="bfloat16", max_tokens=64, load_in=setting)
    batch = backbone.query_batch([color_episode()])
    weights = noise(backbone.start(Lora(rank=2)), 1).map(lambda leaf: leaf.requires_grad_(True))
    with backbone.adapted(backbone.start(Lora(rank=2))):
        torch.testing.assert_close(backbone.loss(batch), full.loss(batch), rtol=0.1, atol=0.1)
    with backbone.adapted(weights):
        gradients = torch.autograd.grad(backbone.loss(batch).sum(), [leaf for _, leaf in weights.named()])
    assert all(gradient.abs().max() > 0 for gradient in gradients)
