"""Methods: where adaptation starts. Ours and every baseline."""

from collections.abc import Callable, Mapping
from types import MappingProxyType

from hyperpeft.baselines.base import Adaptation, Answers, Materials, Method, Start, labelled
from hyperpeft.baselines.generated import CONDITIONINGS, Generated
from hyperpeft.baselines.multitask import Multitask
from hyperpeft.baselines.scratch import Scratch
from hyperpeft.baselines.zero_shot import ZeroShot


def _generated(conditioning: str) -> Callable[[Materials], Method]:
    return lambda materials: Generated(materials.generator, conditioning)


METHODS: Mapping[str, Callable[[Materials], Method]] = MappingProxyType(
    {
        "no adapter": lambda m: ZeroShot(m.generator.hypernetwork.adapter),
        "from scratch": lambda m: Scratch(m.generator.hypernetwork.adapter, m.seed),
        "shared multi-task adapter": lambda m: Multitask(m.learned("shared")),
        **{Generated.name_of(conditioning): _generated(conditioning) for conditioning in CONDITIONINGS},
    }
)

__all__ = [
    "CONDITIONINGS",
    "METHODS",
    "Adaptation",
    "Answers",
    "Generated",
    "Materials",
    "Method",
    "Multitask",
    "Scratch",
    "Start",
    "ZeroShot",
    "labelled",
]
