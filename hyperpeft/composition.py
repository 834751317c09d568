"""Adapter arithmetic: new adapters from old ones, by their effect or tensor by tensor."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType

import torch
from peft.utils import merge_utils
from torch import Tensor

from hyperpeft.adapters import ADAPTERS, AdapterKind, Joins, Target
from hyperpeft.config import did_you_mean
from hyperpeft.weights import AdapterWeights, stack

Merge = Callable[[list[Tensor], Tensor, float], Tensor]
MERGES: Mapping[str, Merge] = MappingProxyType(
    {
        "linear": lambda tensors, factors, density: merge_utils.task_arithmetic(tensors, factors),
        "ties": merge_utils.ties,
        "dare_linear": merge_utils.dare_linear,
        "dare_ties": merge_utils.dare_ties,
        "magnitude_prune": merge_utils.magnitude_prune,
    }
)


def scaled(weights: AdapterWeights, factor: float) -> AdapterWeights:
    """The same adapters with their effect on the backbone times a factor; the read-out stays.

    `weights * factor` would change the effect of LoRA by the factor's square: here one matrix of the two is scaled.
    Exact where the effect is linear in tensors of the kind (`AdapterKind.effect`), to first order for others.
    """
    effect = weights.adapter.effect
    tensors = {
        path: {name: factor * tensor if name in effect else tensor for name, tensor in named.items()}
        for path, named in weights.tensors.items()
    }
    return replace(weights, tensors=tensors)


def negated(weights: AdapterWeights) -> AdapterWeights:
    """Adapters with the opposite effect: forgetting a task. Ilharco et al. 2023, arXiv:2212.04089."""
    return scaled(weights, -1.0)


def average(parts: Sequence[AdapterWeights]) -> AdapterWeights:
    """One adapter a task: the mean over parts of each tensor. Task i of every part makes task i."""
    return combined(parts, [1 / len(parts)] * len(parts) if parts else [], spread=False)


def interpolated(one: AdapterWeights, two: AdapterWeights, share: float) -> AdapterWeights:
    """(1 - share) of each tensor of the one plus share of the other's: 0 is the one, 1 the other."""
    return combined([one, two], [1 - share, share], spread=False)


def summed(parts: Sequence[AdapterWeights], factors: Sequence[float] | None = None) -> AdapterWeights:
    """One adapter a task whose effect is exactly the sum of factor times the effect of each part (of each layer).

    Kinds whose tensors all act linearly are added; LoRA is joined along its rank, and the parts' ranks and scales may
    differ. The read-out is the mean, weighted by the factors' sizes. Raises ValueError for other kinds.
    """
    factors = _checked(parts, factors)
    first = parts[0]
    if _is_linear(first.adapter):
        return combined(parts, factors, spread=False)
    if not isinstance(first.adapter, Joins):
        able = sorted(name for name, kind in ADAPTERS.items() if issubclass(kind, Joins) or _is_linear(kind()))
        raise ValueError(
            f"adapters of kind {first.adapter.kind!r} have no exact sum. Use combined(), which mixes their tensors. "
            f"Kinds that have one: {able}."
        )
    return _joined([scaled(part, factor) for part, factor in zip(parts, factors, strict=True)], factors)


def _is_linear(kind: AdapterKind) -> bool:
    """Whether the effect is linear in all tensors together."""
    return kind.shapes(Target("any", 1024, 1024, sort="model")).keys() <= set(kind.effect)


def _joined(parts: Sequence[AdapterWeights], factors: Sequence[float]) -> AdapterWeights:
    first = parts[0]
    kinds = [part.adapter for part in parts]
    join = first.adapter
    if not isinstance(join, Joins):
        raise TypeError(f"{join} cannot be joined.")
    tensors = {path: join.joined(kinds, [part.tensors[path] for part in parts]) for path in first.tensors}
    return replace(first, adapter=join.joined_kind(kinds), tensors=tensors, readout=_readout(parts, factors))


def combined(
    parts: Sequence[AdapterWeights],
    factors: Sequence[float] | None = None,
    *,
    method: str = "linear",
    density: float = 0.5,
    seed: int = 0,
    spread: bool = True,
) -> AdapterWeights:
    """One adapter a task, each tensor merged from the same tensor of the parts by PEFT's own functions.

    `linear` is a weighted sum; `ties` (Yadav et al. 2023, arXiv:2306.01708), `dare_linear`, `dare_ties` (Yu et al.
    2023, arXiv:2311.03099) and `magnitude_prune` keep a share `density` of each tensor's entries first; DARE draws them
    by the seed. `spread`: a factor on a product of two matrices goes by its root to each, its sign to the first, as in
    PEFT's `add_weighted_adapter`; otherwise it multiplies each tensor.
    Raises ValueError for parts of unlike kind, settings or backbone.
    """
    if method not in MERGES:
        raise ValueError(f"there is no method {method!r}. {did_you_mean(method, MERGES)}")
    if not 0.0 < density <= 1.0:
        raise ValueError(f"density is {density}: it must be above 0 and at most 1.")
    factors = _checked(parts, factors)
    first = parts[0]
    stack(parts)  # raises for parts of unlike form
    product = first.adapter.product if spread else ()
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        tensors = {
            path: {
                name: _merged(
                    [part.tensors[path][name] for part in parts],
                    [_share(factor, name, product) for factor in factors],
                    MERGES[method] if density < 1 else MERGES["linear"],
                    density,
                )
                for name in named
            }
            for path, named in first.tensors.items()
        }
    return replace(first, tensors=tensors, readout=_readout(parts, factors))


def _share(factor: float, name: str, product: tuple[str, ...]) -> float:
    if name not in product:
        return factor
    root = math.sqrt(abs(factor))
    return math.copysign(root, factor) if name == product[0] else root


def _merged(tensors: list[Tensor], factors: list[float], merge: Merge, density: float) -> Tensor:
    """Tasks are merged one by one: what PEFT prunes is a share of one adapter's tensor."""
    weight = torch.tensor(factors, dtype=tensors[0].dtype, device=tensors[0].device)
    tasks = tensors[0].shape[0]
    return torch.stack([merge([tensor[task] for tensor in tensors], weight, density) for task in range(tasks)])


def _readout(parts: Sequence[AdapterWeights], factors: Sequence[float]) -> dict[str, Tensor]:
    total = sum(map(abs, factors))
    shares = [abs(factor) / total for factor in factors] if total else [1 / len(parts)] * len(parts)
    names = parts[0].readout
    for name in names:
        shapes = sorted({tuple(part.readout[name].shape[1:]) for part in parts})
        if len(shapes) > 1:
            raise ValueError(f"the read-out {name!r} has sizes {shapes}: these adapters are for unlike sets of labels.")
    return {
        name: torch.stack([share * part.readout[name] for share, part in zip(shares, parts, strict=True)]).sum(0)
        for name in names
    }


def _checked(parts: Sequence[AdapterWeights], factors: Sequence[float] | None) -> list[float]:
    """The factors, 1 each by default. Raises ValueError for parts that do not go together."""
    if not parts:
        raise ValueError("there is nothing to combine: pass at least one task's adapter weights.")
    factors = [1.0] * len(parts) if factors is None else list(factors)
    if len(factors) != len(parts):
        raise ValueError(f"{len(parts)} adapters need {len(parts)} factors; these are {len(factors)}.")
    first = parts[0]
    for part in parts[1:]:
        if type(part.adapter) is not type(first.adapter) or part.backbone != first.backbone:
            raise ValueError(
                f"adapters of kind {part.adapter.kind!r} for backbone {part.backbone} do not combine with "
                f"{first.adapter.kind!r} for {first.backbone}: kind and backbone must be equal."
            )
        if part.tasks != first.tasks:
            raise ValueError(f"parts hold {first.tasks} and {part.tasks} task(s): they are combined task by task.")
        differing = part.tensors.keys() ^ first.tensors.keys()
        if differing:
            raise ValueError(f"only one of the adapters acts on {sorted(differing)}.")
    return factors
