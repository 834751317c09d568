"""Methods: where adaptation starts. Ours and every baseline."""

from collections.abc import Callable, Mapping
from types import MappingProxyType

from hyperpeft.baselines.average import Average
from hyperpeft.baselines.base import Adaptation, Answers, Materials, Method, Start, labelled
from hyperpeft.baselines.described_prompt import DescribedPrompt
from hyperpeft.baselines.full_finetune import FullFinetune
from hyperpeft.baselines.generated import CONDITIONINGS, Generated
from hyperpeft.baselines.in_context import InContext
from hyperpeft.baselines.layer_ridge import LayerRidge
from hyperpeft.baselines.library import train_library
from hyperpeft.baselines.linear_probe import LinearProbe
from hyperpeft.baselines.logistic_regression import LogisticRegression
from hyperpeft.baselines.maml import Maml
from hyperpeft.baselines.meta_sgd import MetaSgd
from hyperpeft.baselines.mixture import Mixture
from hyperpeft.baselines.multitask import Multitask
from hyperpeft.baselines.nearest import Nearest
from hyperpeft.baselines.oracle import Oracle
from hyperpeft.baselines.prototypes import NearestPrototype
from hyperpeft.baselines.reptile import Reptile
from hyperpeft.baselines.scratch import Scratch
from hyperpeft.baselines.selected import Selected
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
        "ridge on all layers": lambda m: LayerRidge(),
        "linear probe": lambda m: LinearProbe(),
        "full fine-tuning": lambda m: FullFinetune(m.generator.hypernetwork.adapter),
        "SetFit": lambda m: SetFit(m.seed),
        "from scratch": lambda m: Scratch(m.generator.hypernetwork.adapter, m.seed),
        "shared multi-task adapter": lambda m: Multitask(m.learned("shared")),
        "MAML": lambda m: Maml(m.learned("maml")),
        "Meta-SGD": lambda m: MetaSgd(m.learned("meta_sgd"), m.learned("meta_sgd_step_sizes")),
        "Reptile": lambda m: Reptile(m.learned("reptile")),
        "average of training adapters": lambda m: Average(train_library(m)),
        "nearest training task": lambda m: Nearest(train_library(m)),
        "mixture of training adapters": lambda m: Mixture(train_library(m), m.seed),
        "generated, selected": lambda m: Selected(m.generator),
        "task oracle": lambda m: Oracle(m.measured, m.learned("shared"), m.seed),
        **{Generated.name_of(conditioning): _generated(conditioning) for conditioning in CONDITIONINGS},
    }
)

__all__ = [
    "CONDITIONINGS",
    "METHODS",
    "Adaptation",
    "Answers",
    "Average",
    "DescribedPrompt",
    "FullFinetune",
    "Generated",
    "InContext",
    "LayerRidge",
    "LinearProbe",
    "LogisticRegression",
    "Maml",
    "Materials",
    "MetaSgd",
    "Method",
    "Mixture",
    "Multitask",
    "Nearest",
    "NearestPrototype",
    "Oracle",
    "Reptile",
    "Scratch",
    "Selected",
    "SetFit",
    "Start",
    "ZeroShot",
    "labelled",
]
