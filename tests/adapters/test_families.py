"""Every adapter kind on every family of backbone: it works, or an error names the pair and what works."""

from typing import Any

import pytest
import torch
from conftest import noise
from kinds import KINDS

from hyperpeft.adapters import AdapterKind, Bottleneck
from hyperpeft.backbones import Backbone
from hyperpeft.config import ConfigError
from hyperpeft.tasks import Episode

EVERY: dict[str, AdapterKind] = {**KINDS, "pfeiffer": Bottleneck(placement="pfeiffer")}

OWN_ATTENTION = ("mpnet", "bloom", "falcon")
IMAGES = ("vit", "dinov2", "clip", "clip_vision_model")
MIXTURES = ("mixtral", "qwen3_moe")
LACKING = {
    **{model_type: {"prompt", "prefix"} for model_type in OWN_ATTENTION},
    **{model_type: {"prompt"} for model_type in IMAGES},
    **{model_type: {"bottleneck", "bias"} for model_type in MIXTURES},
}


def test_what_a_family_carries(family: Backbone[Any]) -> None:
    """So that no cell of docs/support.md turns into a skipped test unseen."""
    assert set(KINDS) - set(family.kinds()) == LACKING.get(family.model.config.model_type, set())


@pytest.mark.parametrize("name", sorted(EVERY))
def test_a_kind_works_on_a_family_or_says_what_does(family: Backbone[Any], episodes: list[Episode], name: str) -> None:
    """Unchanged at the start; changed by noise; a gradient for every tensor of every task; tasks apart."""
    kind = EVERY[name]
    if name != "pfeiffer" and name not in family.kinds():
        with pytest.raises(ConfigError, match=rf"'{name}'|experts"):
            family.targets(kind)
        return
    batch = family.query_batch(episodes)
    start = family.start(kind, tasks=2)
    weights = noise(start, 2).map(lambda leaf: leaf.requires_grad_(True))
    with torch.no_grad():
        bare = family.loss(batch)
        with family.adapted(start):
            torch.testing.assert_close(family.loss(batch), bare, rtol=1e-5, atol=1e-5)
    with family.adapted(weights, train=True):
        changed = family.loss(batch)
    assert (changed - bare).abs().min() > 1e-5
    gradients = torch.autograd.grad(changed.sum(), [leaf for _, leaf in weights.named()])
    for (path, _), gradient in zip(weights.named(), gradients, strict=True):
        assert gradient.isfinite().all(), path
        assert gradient.reshape(2, -1).abs().amax(1).gt(0).all(), path
    with torch.no_grad(), family.adapted(weights[0].detach()):
        alone = family.loss(family.query_batch(episodes[:1]))
    torch.testing.assert_close(alone[0], changed[0].detach(), rtol=1e-4, atol=1e-4)


def test_checkpointed_layers_give_the_same_gradients(
    family: Backbone[Any], episodes: list[Episode], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of the kinds that act in different ways: beside linear modules, at the ends of layers, inside attention."""
    if family.model.config.model_type == "mpnet":
        with pytest.raises(ConfigError, match="cannot compute the layers of 'mpnet' models again"):
            type(family)(family.name, gradient_checkpointing=True)  # type: ignore[call-arg]
        return
    for name in sorted({"lora", "bottleneck", "prefix", "prompt"} & set(family.kinds())):
        weights = noise(family.start(KINDS[name], tasks=2), 2).map(lambda leaf: leaf.requires_grad_(True))
        leaves = [leaf for _, leaf in weights.named()]
        made = []
        for checkpointing in (False, True):
            monkeypatch.setattr(family, "gradient_checkpointing", checkpointing)
            with family.adapted(weights, train=True):
                loss = family.loss(family.query_batch(episodes)).sum()
            made.append(torch.autograd.grad(loss, leaves))
        for plain, again in zip(*made, strict=True):
            torch.testing.assert_close(again, plain, rtol=1e-4, atol=1e-6)


def test_the_usual_kinds_work_everywhere(family: Backbone[Any]) -> None:
    assert {"lora", "dora", "sparse"} <= set(family.kinds())


def test_a_kind_that_cannot_be_carried_is_named_with_those_that_can(family: Backbone[Any]) -> None:
    if "prefix" in family.kinds():
        return
    with pytest.raises(
        ConfigError, match=rf"'prefix' cannot be used with a '{family.model.config.model_type}'.*'lora'"
    ):
        family.targets(KINDS["prefix"])
