"""LoRA against its formula, per task: y + scale * B A x."""

import math
from typing import Any

import pytest
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from hyperpeft.adapters import ADAPTERS, USUAL, Choice, Lora, Target
from hyperpeft.config import ConfigError, build

TARGET = Target("layers.3.attention.q_proj", d_in=6, d_out=4, depth=3)
TASKS, ROWS, TOKENS = 3, 2, 5


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def weights(lora: Lora, tasks: int = TASKS) -> dict[str, Tensor]:
    return {name: noise(tasks, *shape, seed=index) for index, (name, shape) in enumerate(lora.shapes(TARGET).items())}


def formula(
    x: Float[Tensor, "task row token i"], y: Float[Tensor, "task row token o"], A: Tensor, B: Tensor, scale: float
) -> Float[Tensor, "task row token o"]:
    """A is [task, rank, i], B is stored as [task, rank, o]."""
    return y + scale * torch.einsum("tro,tri,tnki->tnko", B, A, x)


@pytest.mark.parametrize(("rank", "alpha", "rslora"), [(1, 16.0, False), (2, 3.0, False), (3, 16.0, True)])
def test_apply_is_the_formula_task_by_task(rank: int, alpha: float, rslora: bool) -> None:
    lora = Lora(rank=rank, alpha=alpha, rslora=rslora)
    x, y = noise(TASKS, ROWS, TOKENS, 6, seed=5), noise(TASKS, ROWS, TOKENS, 4, seed=6)
    made = weights(lora)
    expected = formula(x, y, made["A"], made["B"], alpha / (math.sqrt(rank) if rslora else rank))
    adapted = lora.apply(x.flatten(0, 1), y.flatten(0, 1), made, train=False)
    torch.testing.assert_close(adapted, expected.flatten(0, 1))
    pooled = lora.apply(x[:, :, 0].flatten(0, 1), y[:, :, 0].flatten(0, 1), made, train=False)
    torch.testing.assert_close(pooled, expected[:, :, 0].flatten(0, 1))


def test_apply_leaves_its_inputs_alone() -> None:
    lora = Lora(rank=2)
    x, y, made = noise(3, TOKENS, 6), noise(3, TOKENS, 4), weights(lora)
    before = [value.clone() for value in (x, y, made["A"], made["B"])]
    lora.apply(x, y, made, train=False)
    assert all(map(torch.equal, (x, y, made["A"], made["B"]), before))


def test_weights_follow_the_dtype_of_the_backbone() -> None:
    lora = Lora(rank=2)
    x, y, made = noise(3, TOKENS, 6), noise(3, TOKENS, 4), weights(lora)
    half = lora.apply(x.bfloat16(), y.bfloat16(), made, train=False)
    assert half.dtype == torch.bfloat16
    torch.testing.assert_close(half.float(), lora.apply(x, y, made, train=False), rtol=0.1, atol=0.5)


@pytest.mark.parametrize(
    ("settings", "scale"),
    [({}, 2.0), ({"rank": 4, "alpha": 2.0}, 0.5), ({"rank": 4, "alpha": 2.0, "rslora": True}, 1.0)],
)
def test_scale_is_alpha_by_rank_or_by_its_root(settings: dict[str, Any], scale: float) -> None:
    assert Lora(**settings).scale == pytest.approx(scale)


def test_start_leaves_the_backbone_unchanged_and_can_be_trained_from() -> None:
    lora = Lora(rank=64)
    start = lora.start(TARGET, torch.Generator().manual_seed(0))
    assert {name: tuple(value.shape) for name, value in start.items()} == lora.shapes(TARGET)
    x, y = noise(2, 6), noise(2, 4)
    leaves = {name: value[None].requires_grad_() for name, value in start.items()}
    adapted = lora.apply(x, y, leaves, train=True)
    assert torch.equal(adapted, y)
    adapted.square().sum().backward()
    assert leaves["B"].grad is not None
    assert leaves["B"].grad.abs().amax(-1).gt(0).all()
    bound = 1 / math.sqrt(TARGET.d_in)
    assert start["A"].abs().max() <= bound
    assert start["A"].std().item() == pytest.approx(bound / math.sqrt(3), rel=0.15)


def test_start_depends_on_the_generator_alone() -> None:
    one, same, other = (Lora().start(TARGET, torch.Generator().manual_seed(seed))["A"] for seed in (1, 1, 2))
    assert torch.equal(one, same)
    assert not torch.equal(one, other)


def test_dropout_acts_on_the_input_of_the_adapter_and_only_in_training() -> None:
    lora = Lora(rank=2, dropout=0.5)
    x, y, made = noise(3, TOKENS, 6), noise(3, TOKENS, 4), weights(lora)
    plain = Lora(rank=2).apply(x, y, made, train=True)
    assert torch.equal(lora.apply(x, y, made, train=False), plain)
    torch.manual_seed(0)
    dropped = lora.apply(x, y, made, train=True)
    torch.manual_seed(0)
    expected = Lora(rank=2).apply(functional.dropout(x, 0.5), y, made, train=False)
    torch.testing.assert_close(dropped, expected)
    assert not torch.allclose(dropped, plain)
    assert torch.equal(lora.apply(torch.zeros_like(x), y, made, train=True), y)


@pytest.mark.parametrize(
    "lora", [Lora(), Lora(rank=3, alpha=1.5, rslora=True, dropout=0.1, targets=["q_proj", "v_proj"])], ids=str
)
def test_settings_build_an_equal_value(lora: Lora) -> None:
    settings = lora.settings()
    assert settings["kind"] == "lora"
    assert build(ADAPTERS, settings, name="adapter") == lora
    assert build(ADAPTERS, {**settings, "rank": 5}, name="adapter") != lora


def test_the_table_names_each_kind_as_it_names_itself() -> None:
    assert {name: kind.kind for name, kind in ADAPTERS.items()} == {name: name for name in ADAPTERS}


def test_sizes_and_names_of_a_target() -> None:
    assert Lora(rank=3).count(TARGET) == 3 * (6 + 4)
    assert TARGET.name == "q_proj"
    assert Lora(targets=["v_proj"]).choices("llama") == (Choice("linear", ("v_proj",)),)
    assert Lora().choices("llama") == (Choice("linear", (USUAL,)),)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"rank": 0}, "adapter.rank is 0: it must be at least 1"),
        ({"dropout": 1.0}, r"adapter.dropout is 1.0: it must be in \[0, 1\)"),
        ({"dropout": -0.1}, "adapter.dropout is -0.1"),
    ],
)
def test_impossible_settings_are_named(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build(ADAPTERS, {"kind": "lora", **settings}, name="adapter")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"kind": "lroa"}, r"adapter.kind: there is no 'lroa'. Did you mean 'lora'\?"),
        ({"kind": "lora", "r": 8}, "adapter has no setting 'r'. .*'rank'"),
        ({"kind": "lora", "targets": "q_proj"}, "adapter: .*targets"),
    ],
)
def test_wrong_settings_are_named(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        build(ADAPTERS, settings, name="adapter")
