"""A task's adapter, ready for use: predict, evaluate, fine-tune, save, export."""

import json
import logging
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from torch import Tensor

from hyperpeft.adaptation import FinetuneSettings, finetune
from hyperpeft.asked import check_labels
from hyperpeft.backbones import Backbone
from hyperpeft.backbones.pretrained import relative
from hyperpeft.calibration import Calibration, regime
from hyperpeft.confidence import Confidence, assess, judged
from hyperpeft.config import did_you_mean
from hyperpeft.exports import Exported, model_card, write_export, written_at_once
from hyperpeft.generator import Generator
from hyperpeft.hub import pushed
from hyperpeft.metrics import METRICS
from hyperpeft.schedule import Schedule, choose_schedule, step_size
from hyperpeft.selection import SIMPLE
from hyperpeft.tasks import Episode, Example, as_examples
from hyperpeft.weights import AdapterWeights, save_weights

log = logging.getLogger(__name__)
Examples = Iterable[object]
Steps = int | Literal["auto"]
LOADING = '```python\nimport hyperpeft\n\nadapter = hyperpeft.load_adapter("this folder")\n```'


@dataclass(frozen=True)
class Adapter:
    """A task's adapter, ready for use: weights, the episode that they were made from, and the backbone.

    A value: `finetune` returns a new adapter and leaves this one as it is. choice: which start it is. schedule: what
    `finetune(steps="auto")` chose. distance: of the description to the generator's meta-train tasks. made_by: the
    generator, which a loaded adapter lacks.
    """

    weights: AdapterWeights
    episode: Episode
    backbone: Backbone[Any]
    generator: str = ""
    finetune_steps: int = 0
    choice: str = "generated"
    calibration: Calibration | None = None
    schedule: Schedule | None = None
    distance: float | None = None
    made_by: Generator | None = field(default=None, repr=False, compare=False)

    @property
    def labels(self) -> tuple[str, ...]:
        """The label set; empty for text-to-text tasks."""
        return self.episode.labels

    def predict(self, inputs: Sequence[str]) -> list[str]:
        """The output for each input: a label, or text from a language model."""
        episode = self._asking(inputs)
        with self.backbone.adapted(self.weights):
            return self.backbone.predict([episode])[0]

    def predict_proba(self, inputs: Sequence[str]) -> list[dict[str, float]]:
        """For each input the probability of each label, calibrated if the generator is.

        Raises ValueError for a task without labels: generated text has no such probabilities.
        """
        if not self.labels:
            raise ValueError("this task has no label set, so there are no label probabilities. Pass labels=[...].")
        with self.backbone.adapted(self.weights):
            rows: Tensor = self.backbone.probabilities([self._asking(inputs)])[0]
        if self.calibration is not None:
            rows = self.calibration.apply(rows, self._regime)
        return [dict(zip(self.labels, row.tolist(), strict=True)) for row in rows]

    def evaluate(self, examples: Examples, metric: str | None = None) -> float:
        """Score in [0, 1] on (input, output) pairs; accuracy for label sets, else exact match, unless named."""
        name = metric or self.episode.metric
        if name not in METRICS:
            raise ValueError(f"there is no metric {name!r}. {did_you_mean(name, METRICS)}")
        pairs = as_examples(examples)
        check_labels(pairs, self.labels)
        return METRICS[name](self.predict([pair.input for pair in pairs]), [pair.output for pair in pairs])

    @cached_property
    def confidence(self) -> Confidence:
        """How far to trust what the generator made of this task: computed when first asked for, a warning if low."""
        return self.assess()

    def assess(self, inputs: Sequence[str] = ()) -> Confidence:
        """As `confidence`, agreement measured on given inputs. A loaded adapter knows its distance only."""
        if self.made_by is not None:
            found = assess(self.made_by, self.episode, inputs)
        else:
            found = judged(self.distance, self.calibration.far if self.calibration else None, None, None, self.episode)
        if found.low:
            log.warning("low confidence in %r: %s", self.episode.task, found.reason)
        return found

    def finetune(
        self, examples: Examples | None = None, steps: Steps = 20, *, lr: float | None = None, seed: int = 0
    ) -> "Adapter":
        """A new adapter after a brief fine-tune on the examples (default: those that it was generated from).

        `lr`: step size of AdamW; None: the one that was best on the generator's meta-validation tasks, else 1e-3.
        `steps="auto"` chooses 0, 5, 10, 20 or 40 steps and 0.3, 1 or 3 times `lr` by cross-validation on the examples,
        as one fine-tune of twelve tasks; with fewer than two examples of a label (four of a text task) it takes
        20 steps of `lr`. `schedule` of the new adapter says what was chosen.
        """
        episode, schedule, lr = self.episode, None, step_size(lr, self.calibration)
        if examples is not None:
            support = as_examples(examples)
            check_labels(support, self.labels)
            episode = replace(episode, support=support)
        if isinstance(steps, str):
            schedule = self._schedule(episode, steps, FinetuneSettings(lr=lr, seed=seed))
            steps, lr = schedule.steps, schedule.lr
        tuned = finetune(self.backbone, self.weights, [episode], FinetuneSettings(steps=steps, lr=lr, seed=seed))
        total = self.finetune_steps + steps
        return replace(self, weights=tuned, episode=episode, finetune_steps=total, schedule=schedule)

    def _schedule(self, episode: Episode, steps: str, default: FinetuneSettings) -> Schedule:
        """Each part of the support starts from what the generator makes of it, where it can be made again."""
        if steps != "auto":
            raise ValueError(f"steps is {steps!r}: give a number or 'auto'.")
        untuned = not self.finetune_steps
        seen = bool({*episode.support} & {*self.episode.support}) and not (untuned and self.choice in SIMPLE)
        if seen and untuned and self.choice == "generated" and self.made_by is not None:
            with self.made_by.text_encoder.together():
                return choose_schedule(self.backbone, episode, self.made_by.generate, default)
        return choose_schedule(
            self.backbone, episode, lambda parts: self.weights.repeat(len(parts)), default, seen=seen
        )

    def export(self, path: str | Path, format: str = "peft", *, overwrite: bool = False) -> Path:
        """Write the adapter as a folder that other programs load, in a format of `hyperpeft.exports.EXPORTS`.

        `overwrite` replaces a folder that hyperpeft wrote, never another. Raises ValueError for an adapter kind that
        the format does not carry, FileExistsError for a path that is taken.
        """
        with written_at_once(Path(path), about={"format": format}, overwrite=overwrite) as folder:
            write_export(self._exported(), folder, format)
        return Path(path)

    def save(self, path: str | Path, *, overwrite: bool = False) -> Path:
        """Write what `hyperpeft.load_adapter` needs: weights, labels, examples, backbone settings.

        Of a backbone's absolute path only the last part is written: pass `backbone=` when loading.
        """
        self._write(Path(path), relative(self.backbone.name), overwrite=overwrite)
        return Path(path)

    def push_to_hub(self, repo_id: str, *, private: bool | None = None, token: str | None = None) -> str:
        """Write what `save` writes to a repository on the Hub, which `load_adapter` reads; the commit's address.

        The examples go with it. A backbone from a folder of this machine is named without its path: pass `backbone=`
        when loading.
        """
        model = self._exported().base_model
        return pushed(lambda folder: self._write(folder, model, overwrite=True), repo_id, private=private, token=token)

    def _write(self, path: Path, model: str, *, overwrite: bool) -> None:
        """`model`: how the file names the backbone."""
        about = {
            "episode": asdict(self.episode),
            "backbone": {**self.backbone.settings(), "model": model},
            "backbone_from": "hub" if self._exported().from_hub else "folder",
            "generator": self.generator,
            "finetune_steps": self.finetune_steps,
            "choice": self.choice,
            "calibration": self.calibration.settings() if self.calibration else None,
            "schedule": asdict(self.schedule) if self.schedule else None,
            "distance": self.distance,
        }
        card = model_card(self._exported(), "adapter", LOADING)
        with written_at_once(path, about={"format": "adapter"}, overwrite=overwrite) as folder:
            save_weights(self.weights, folder / "adapter.safetensors")
            (folder / "adapter.json").write_text(json.dumps(about, indent=2, ensure_ascii=False), encoding="utf-8")
            (folder / "README.md").write_text(card, encoding="utf-8")

    @property
    def _regime(self) -> str:
        return regime(self.choice, self.finetune_steps, shown=bool(self.episode.support))

    def _exported(self) -> Exported:
        temperature = self.calibration.temperature(self._regime) if self.calibration else 1.0
        return Exported(self.weights, self.backbone, self.episode, self.generator, self.finetune_steps, temperature)

    def _asking(self, inputs: Sequence[str]) -> Episode:
        if isinstance(inputs, str) or not all(isinstance(text, str) for text in inputs):
            raise TypeError(f"inputs must be a list of texts, got {inputs!r}. For one text pass [text].")
        if not inputs:
            raise ValueError("inputs is empty: pass at least one text.")
        return self.episode.with_query([Example(text, "") for text in inputs])
