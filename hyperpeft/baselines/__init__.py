"""Methods: where adaptation starts. Ours and every baseline."""

from collections.abc import Callable, Mapping
from types import MappingProxyType

from hyperpeft.baselines.base import Adaptation, Answers, Materials, Method, Start, labelled
from hyperpeft.baselines.described_prompt import DescribedPrompt
from hyperpeft.baselines.full_finetune import FullFinetune
from hyperpeft.baselines.generated import CONDITIONINGS, Generated
from hyperpeft.baselines.in_context import InContext
from hyperpeft.baselines.linear_probe import LinearProbe
from hyperpeft.baselines.logistic_regression import LogisticRegression
from hyperpeft.baselines.multitask import Multitask
from hyperpeft.baselines.prototypes import NearestPrototype
from hyperpeft.baselines.scratch import Scratch
from hyperpeft.baselines.setfit import SetFit
from hyperpeft.baselines.zero_shot import ZeroShot


def _generated(conditioning: str) -> Callable[[Materials], Method]:
    return lambda materials: Generated(materials.generator, conditioning)


METHODS: Mapping[str, Callable[[Materials], Method]] = MappingProxyType(
    {
        "no adapter": lambda m: ZeroShot(m.generator.hypernetwork.adapter),
        "description in the prompt": lambda m: DescribedPrompt(m.generator.hypernetwork.adapter),
        "in-context demonstrations": lambda m: InContext(m.generator.hypernetwork.adapter),
        "nearest prototype": lambda m: NearestPrototype(),
        "logistic regression": lambda m: LogisticRegression(),
        "linear probe": lambda m: LinearProbe(),
        "full fine-tuning": lambda m: FullFinetune(m.generator.hypernetwork.adapter),
        "SetFit": lambda m: SetFit(m.seed),
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
    "DescribedPrompt",
    "FullFinetune",
    "Generated",
    "InContext",
    "LinearProbe",
    "LogisticRegression",
    "Materials",
    "Method",
    "Multitask",
    "NearestPrototype",
    "Scratch",
    "SetFit",
    "Start",
    "ZeroShot",
    "labelled",
]
