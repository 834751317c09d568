"""What a meta-training run is made from."""

from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from omegaconf import DictConfig

from hyperpeft.backbones import MINILM
from hyperpeft.benchmark import EvaluationSettings
from hyperpeft.config import ConfigError, did_you_mean
from hyperpeft.episodes import EpisodeSettings
from hyperpeft.fitting import OptimSettings
from hyperpeft.training import ValidationSettings

Section = dict[str, Any]
STARTS = MappingProxyType({"shared": "sft", "maml": "maml", "meta_sgd": "meta_sgd", "reptile": "reptile"})
"""Meta-trained baselines, one start for all tasks, and the objective of each."""


def _section(**settings: Any) -> Any:
    return field(default_factory=lambda: dict(settings))


@dataclass
class RefiningSettings:
    """Training of a refinement with a start of its own (`refinement.apart`), after the generator, all else frozen.

    lr: null: that of `optim`. start: a name in STARTS, which the run then trains too: where the refinement's own start
    begins; null: at what the generator makes.
    """

    steps: int = 0
    lr: float | None = None
    start: str | None = None


@dataclass
class RunConfig:
    """Everything that a run is made from. Sections with a `kind` are checked against that kind's constructor.

    shared_baseline: train the multi-task adapter too, with no generated part, and compare with it.
    resume: `last` continues the run in the folder if there is one, `null` refuses to touch an existing one.
    licences: keep only training tasks under these. trainer: any argument of lightning.Trainer. starts: settings of
    the objectives of meta-trained baselines, by name in STARTS: `starts.maml.lr=0.3`.
    """

    name: str = "default"
    output: str = "outputs"
    seed: int = 0
    steps: int = 600
    resume: str | None = "last"
    workers: int = 0
    threads: int | None = None
    licences: list[str] | None = None
    corpus: Section = _section(kind="folder", path="tasks/everyday")
    backbone: Section = _section(kind="encoder", model=MINILM, max_tokens=64)
    adapter: Section = _section(kind="lora", rank=8)
    text_encoder: Section = _section(model=MINILM)
    encoder: Section = _section(kind="joint")
    hypernetwork: Section = _section(head="per_rank")
    label_reader: Section | None = None
    refinement: Section | None = None
    refining: RefiningSettings = field(default_factory=RefiningSettings)
    objective: Section = _section(kind="sft")
    starts: Section = field(default_factory=dict)
    episodes: EpisodeSettings = field(default_factory=EpisodeSettings)
    optim: OptimSettings = field(default_factory=OptimSettings)
    validation: ValidationSettings = field(default_factory=ValidationSettings)
    evaluation: EvaluationSettings = field(default_factory=EvaluationSettings)
    shared_baseline: bool = True
    trainer: Section = field(default_factory=dict)


def check_refining(config: DictConfig) -> None:
    """Raise ConfigError unless `refinement`, `refining` and the episodes go together."""
    apart = bool((config.refinement or {}).get("apart"))
    refining = config.refining
    if apart != (refining.steps > 0):
        raise ConfigError(
            f"refinement.apart={str(apart).lower()}, refining.steps={refining.steps}: a refinement with a start of "
            "its own is trained after the generator. Set both, or none."
        )
    if refining.start not in (None, *STARTS):
        raise ConfigError(
            f"refining.start: there is no {refining.start!r}. {did_you_mean(str(refining.start), STARTS)}"
        )
    if apart and not (any(config.episodes.shots) and any(config.validation.shots)):
        raise ConfigError("refining: episodes.shots and validation.shots need a number above 0.")
