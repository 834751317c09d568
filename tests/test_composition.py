"""Adapter arithmetic: exact where it says so, and PEFT's numbers where it uses PEFT's functions."""

import copy
from typing import Any

import pytest
import torch
from conftest import noise
from peft import LoraConfig, get_peft_model

from hyperpeft.adapters import ADAPTERS, Bias, Bottleneck, Ia3, Lora, Sparse
from hyperpeft.backbones import Backbone, CausalLm
from hyperpeft.composition import average, combined, interpolated, negated, scaled, summed
from hyperpeft.weights import AdapterWeights, stack

IDS = torch.randint(6, 60, (2, 7), generator=torch.Generator().manual_seed(0))
LINEAR = [Lora(rank=2), Bias(), Ia3(), Sparse(rank=2), Bottleneck()]
LAST = [Lora(rank=2, layers=[2], targets=["down_proj"]), Bias(layers=[2], targets=["down_proj"])]


def parts(backbone: Backbone[Any], kind: Any, count: int = 2, tasks: int = 1) -> list[AdapterWeights]:
    return [noise(backbone.start(kind, tasks=tasks), seed) for seed in range(count)]


def change(backbone: CausalLm, weights: AdapterWeights) -> torch.Tensor:
    """What the adapter adds to the output of its one target, the last linear module of the model."""
    (path,) = weights.tensors
    seen: list[torch.Tensor] = []
    hook = backbone.model.get_submodule(path).register_forward_hook(lambda module, args, y: seen.append(y))
    with torch.no_grad():
        backbone.model(input_ids=IDS)
        with backbone.adapted(weights):
            backbone.model(input_ids=IDS)
    hook.remove()
    return seen[1] - seen[0]


def equal(one: AdapterWeights, two: AdapterWeights, tolerance: float = 1e-6) -> None:
    names, others = dict(one.named()), dict(two.named())
    assert names.keys() == others.keys()
    for name, leaf in names.items():
        torch.testing.assert_close(leaf, others[name], rtol=tolerance, atol=tolerance, msg=name)


@pytest.mark.parametrize("kind", LAST, ids=lambda kind: kind.kind)
@pytest.mark.parametrize("factor", [0.0, 0.5, -1.0, 3.0])
def test_a_factor_is_a_factor_on_the_effect(llama: CausalLm, kind: Any, factor: float) -> None:
    (weights,) = parts(llama, kind, 1)
    torch.testing.assert_close(
        change(llama, scaled(weights, factor)), factor * change(llama, weights), rtol=1e-4, atol=1e-5
    )
    assert change(llama, weights).abs().max() > 0.1


@pytest.mark.parametrize("kind", [make() for make in ADAPTERS.values()], ids=lambda kind: kind.kind)
def test_a_factor_of_zero_leaves_the_backbone_unchanged(llama: CausalLm, kind: Any) -> None:
    (weights,) = parts(llama, kind, 1)
    with torch.no_grad():
        bare = llama.model(input_ids=IDS).logits
        with llama.adapted(scaled(weights, 0.0)):
            torch.testing.assert_close(llama.model(input_ids=IDS).logits, bare, rtol=1e-5, atol=1e-5)
        with llama.adapted(weights):
            assert not torch.allclose(llama.model(input_ids=IDS).logits, bare, atol=1e-3)


def test_negated_twice_is_the_same(llama: CausalLm) -> None:
    (weights,) = parts(llama, Lora(rank=2), 1)
    equal(negated(negated(weights)), weights)


@pytest.mark.parametrize("kind", LAST, ids=lambda kind: kind.kind)
def test_a_sum_has_the_sum_of_the_effects(llama: CausalLm, kind: Any) -> None:
    one, two = parts(llama, kind)
    made = summed([one, two], [0.5, -2.0])
    expected = 0.5 * change(llama, one) - 2.0 * change(llama, two)
    torch.testing.assert_close(change(llama, made), expected, rtol=1e-4, atol=1e-4)


def test_a_sum_joins_lora_of_different_ranks_and_scales(llama: CausalLm) -> None:
    where: dict[str, Any] = {"layers": [2], "targets": ["down_proj"]}
    one = noise(llama.start(Lora(rank=2, alpha=3.0, **where)), 1)
    two = noise(llama.start(Lora(rank=3, alpha=8.0, rslora=True, **where)), 2)
    made = summed([one, two])
    assert isinstance(made.adapter, Lora)
    assert made.adapter.rank == 5
    assert made.count == one.count + two.count
    torch.testing.assert_close(change(llama, made), change(llama, one) + change(llama, two), rtol=1e-4, atol=1e-4)


def test_a_sum_is_taken_task_by_task(llama: CausalLm) -> None:
    one, two = parts(llama, Lora(rank=2), tasks=3)
    equal(summed([one, two])[1], summed([one[1], two[1]]))


def test_kinds_without_an_exact_sum_say_so(llama: CausalLm) -> None:
    message = r"'bottleneck' have no exact sum.*\['bias', 'ia3', 'lora', 'sparse'\]"
    with pytest.raises(ValueError, match=message):
        summed(parts(llama, Bottleneck()))


@pytest.mark.parametrize("kind", LINEAR, ids=lambda kind: kind.kind)
def test_average_and_interpolation_are_of_tensors(backbone: Backbone[Any], kind: Any) -> None:
    one, two = parts(backbone, kind)
    equal(average([one, two]), stack([one, two]).mean())
    equal(interpolated(one, two, 0.0), one)
    equal(interpolated(one, two, 1.0), two)
    equal(interpolated(one, two, 0.25), one * 0.75 + two * 0.25)


@pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing.:FutureWarning")  # PEFT's own, in PeftModel
@pytest.mark.parametrize("method", ["linear", "ties", "magnitude_prune"])
@pytest.mark.parametrize("factors", [[1.0, 1.0], [0.7, -0.3]])
def test_combined_is_what_peft_makes(llama: CausalLm, method: str, factors: list[float]) -> None:
    one, two = parts(llama, Lora(rank=2, alpha=3.0))
    made = combined([one, two], factors, method=method, density=0.5)
    config = LoraConfig(r=2, lora_alpha=3, target_modules=sorted(one.tensors), task_type="CAUSAL_LM")
    model = get_peft_model(copy.deepcopy(llama.model), config, adapter_name="one")
    model.add_adapter("two", config)
    for name, weights in (("one", one), ("two", two)):
        for path, named in weights.tensors.items():
            layer = model.get_submodule(f"base_model.model.{path}")
            layer.lora_A[name].weight.data.copy_(named["A"][0])
            layer.lora_B[name].weight.data.copy_(named["B"][0].T)
    model.add_weighted_adapter(["one", "two"], factors, "both", combination_type=method, density=0.5)
    for path, named in made.tensors.items():
        theirs = model.get_submodule(f"base_model.model.{path}").get_delta_weight("both")
        ours = 1.5 * named["B"][0].T @ named["A"][0]
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


def test_dare_drops_entries_by_the_seed_and_keeps_their_sum_on_average(llama: CausalLm) -> None:
    (weights,) = parts(llama, Bias(targets=["down_proj"]), 1)
    once, again, other = (combined([weights], method="dare_linear", density=0.25, seed=seed) for seed in (1, 1, 2))
    equal(once, again, 0.0)
    (kept, before), *_ = ((named["bias"], weights.tensors[path]["bias"]) for path, named in once.tensors.items())
    torch.testing.assert_close(kept[kept != 0], 4 * before[kept != 0])
    assert not torch.equal(kept, next(iter(other.tensors.values()))["bias"])
    draws = [combined([weights], method="dare_linear", density=0.25, seed=seed) for seed in range(600)]
    mean = stack(draws).mean()
    path = next(iter(mean.tensors))
    difference = mean.tensors[path]["bias"] - weights.tensors[path]["bias"]
    assert difference.abs().max() < 5 * (3 / 600) ** 0.5 * weights.tensors[path]["bias"].abs().max()


def test_arithmetic_leaves_the_callers_random_numbers_alone(llama: CausalLm) -> None:
    pair = parts(llama, Lora(rank=2))
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    combined(pair, method="dare_ties")
    assert torch.equal(torch.rand(2), expected)


def test_density_one_prunes_nothing_and_warns_of_nothing(llama: CausalLm) -> None:
    pair = parts(llama, Lora(rank=2))
    equal(combined(pair, method="magnitude_prune", density=1.0), combined(pair))


def test_the_readout_is_the_weighted_mean(encoder: Any) -> None:
    one, two = parts(encoder, Lora(rank=2))
    made = summed([one, two], [3.0, -1.0])
    for name, value in made.readout.items():
        torch.testing.assert_close(value, 0.75 * one.readout[name] + 0.25 * two.readout[name])


def test_parts_that_do_not_go_together_are_named(llama: CausalLm, encoder: Any) -> None:
    (one,) = parts(llama, Lora(rank=2), 1)
    for other, message in (
        (encoder.start(Lora(rank=2)), "kind and backbone must be equal"),
        (llama.start(Bias()), "kind 'bias'"),
        (llama.start(Lora(rank=2), tasks=2), r"1 and 2 task\(s\)"),
        (llama.start(Lora(rank=2, layers=[1])), "only one of the adapters acts on"),
    ):
        with pytest.raises(ValueError, match=message):
            summed([one, other])
    with pytest.raises(ValueError, match="rank=3"):
        combined([one, llama.start(Lora(rank=3))])
    with pytest.raises(ValueError, match="2 adapters need 2 factors; these are 1"):
        combined([one, one], [1.0])
    with pytest.raises(ValueError, match="at least one"):
        average([])
    with pytest.raises(ValueError, match="Did you mean 'ties'"):
        combined([one], method="tis")
    with pytest.raises(ValueError, match="density is 0"):
        combined([one], density=0.0)
