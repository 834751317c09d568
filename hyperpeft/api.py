"""The main job in code: generate, use, fine-tune, save and export adapters."""

import json
import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from torch import Tensor

from hyperpeft.adaptation import FinetuneSettings, finetune
from hyperpeft.asked import asked_episode, check_labels
from hyperpeft.backbones import Backbone
from hyperpeft.backbones.pretrained import relative
from hyperpeft.calibration import Calibration, regime
from hyperpeft.confidence import Confidence, assess, judged, nearest
from hyperpeft.config import ConfigError, did_you_mean
from hyperpeft.exports import Exported, check_unchanged, model_card, write_export, written_at_once
from hyperpeft.generator import Generator
from hyperpeft.hub import fetched, pushed
from hyperpeft.loading import load_backbone, load_generator, read_about
from hyperpeft.metrics import METRICS
from hyperpeft.schedule import Schedule, choose_schedule
from hyperpeft.selection import ENOUGH, SIMPLE, choose, choose_simple
from hyperpeft.tasks import Episode, Example, as_examples
from hyperpeft.weights import AdapterWeights, load_weights, save_weights

log = logging.getLogger(__name__)
Examples = Iterable[object]
Labels = Sequence[str] | Mapping[str, str]
Select = Literal["generated", "auto"]
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
        self, examples: Examples | None = None, steps: Steps = 20, *, lr: float = 1e-3, seed: int = 0
    ) -> "Adapter":
        """A new adapter after a brief fine-tune on the examples (default: those that it was generated from).

        `steps="auto"` chooses 0, 5, 10, 20 or 40 steps and 0.3, 1 or 3 times `lr` by cross-validation on the examples,
        as one fine-tune of twelve tasks; with fewer than two examples of a label (four of a text task) it takes
        20 steps of `lr`. `schedule` of the new adapter says what was chosen.
        """
        episode, schedule = self.episode, None
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


def generate(
    task_description: str | Sequence[str] | None = None,
    examples: Examples | None = None,
    *,
    labels: Labels | None = None,
    generator: str | Path | Generator | None = None,
    finetune_steps: int = 0,
    lr: float = 1e-3,
    select: Select = "generated",
    fallback: bool = False,
) -> Adapter:
    """An adapter for a task from its description (or several paraphrases), its examples, or both.

    `labels`: the label set, or labels with their descriptions; read from the examples' outputs if the backbone
    classifies and none is given. `generator`: a folder or a Generator; default the one inside the package.
    `select="auto"` asks 8 examples or more, by cross-validation, if no adapter, the shared one or the generated one
    (fine-tuned, with `finetune_steps`) does best, and takes that; `adapter.choice` names it. `fallback=True`, or
    "auto" with fewer examples, takes the shared adapter or none, not fine-tuned, where `adapter.confidence` is low.
    Raises TaskError or ValueError saying what is missing: neither description nor examples, an output that is not
    among the labels, ...
    """
    task = {"description": task_description, "examples": examples, "labels": labels}
    if select not in ("generated", "auto"):
        raise ValueError(f"select is {select!r}: there is 'generated' and 'auto'.")
    made = generate_many([task], generator=generator, finetune_steps=finetune_steps, lr=lr)[0]
    if select == "generated" and not fallback:
        return made
    made_by = generator if isinstance(generator, Generator) else load_generator(generator)
    if select == "auto" and len(made.episode.support) >= ENOUGH:
        name, weights = choose(made_by, made.episode, made.weights, FinetuneSettings(steps=finetune_steps, lr=lr))
    elif made.confidence.low:
        name, weights = choose_simple(made_by, made.episode, made.weights)
        log.warning("%r falls back to: %s", made.episode.task, name)
    else:
        return made
    return replace(made, weights=weights, choice=name, finetune_steps=finetune_steps if name == "fine-tuned" else 0)


def generate_many(
    tasks: Sequence[Mapping[str, Any]],
    *,
    generator: str | Path | Generator | None = None,
    finetune_steps: int = 0,
    lr: float = 1e-3,
) -> list[Adapter]:
    """Adapters for many tasks in one pass: mappings with `description`, `examples`, `labels` as in generate."""
    made_by = generator if isinstance(generator, Generator) else load_generator(generator)
    episodes = [asked_episode(task, f"task {index}", made_by.backbone) for index, task in enumerate(tasks)]
    if not episodes:
        return []
    weights = made_by.generate(episodes)
    name = "" if isinstance(generator, Generator) else Path(generator).name if generator else "default"
    adapters = [_adapter(weights[i], episode, made_by, name) for i, episode in enumerate(episodes)]
    if not finetune_steps:
        return adapters
    tuned = finetune(made_by.backbone, weights, episodes, FinetuneSettings(steps=finetune_steps, lr=lr))
    return [replace(a, weights=tuned[i], finetune_steps=finetune_steps) for i, a in enumerate(adapters)]


def _adapter(weights: AdapterWeights, episode: Episode, made_by: Generator, name: str) -> Adapter:
    """With a warning if the description is far from what the generator knows."""
    calibration, distance = made_by.calibration, nearest(made_by, episode)
    if distance is not None and calibration and calibration.far is not None and distance > calibration.far:
        log.warning("%r is far from every meta-train task: distance %.2f", episode.task, distance)
    return Adapter(
        weights, episode, made_by.backbone, name, calibration=calibration, distance=distance, made_by=made_by
    )


def export_many(
    adapters: Mapping[str, Adapter], path: str | Path, format: str = "peft", *, overwrite: bool = False
) -> Path:
    """Write several adapters in one call: a folder each, by its name, all of them or none."""
    for name in adapters:
        if not name or Path(name).name != name or name.startswith("."):
            raise ValueError(f"{name!r} is no name for an adapter's folder: give one without slashes and leading dots.")
    with written_at_once(Path(path), about={"adapters": sorted(adapters)}, overwrite=overwrite) as folder:
        for name, adapter in adapters.items():
            adapter.export(folder / name, format)
    return Path(path)


def load_adapter(path: str | Path, backbone: Backbone[Any] | str | Path | None = None) -> Adapter:
    """The adapter in a folder or Hub repository that `Adapter.save` wrote.

    `backbone`: a Backbone, or the model folder from which to load it; default: the one that the adapter names.
    Raises ConfigError for a folder that is incomplete, damaged, or for another backbone.
    """
    from_folder = fetched(path)
    file = from_folder / "adapter.json"
    if not file.is_file():
        raise ConfigError(
            f"{from_folder} is no saved adapter: adapter.json is missing. Adapter.save and `hyperpeft generate` write "
            "one; what `export` writes is for other programs."
        )
    check_unchanged(from_folder, ("adapter.json", "adapter.safetensors"))
    about, episode = read_about(file)
    weights = load_weights(from_folder / "adapter.safetensors")
    used = backbone if isinstance(backbone, Backbone) else _named_backbone(about, weights, backbone)
    if weights.backbone.rsplit("#")[-1] != used.identity.rsplit("#")[-1]:
        raise ConfigError(f"{from_folder} is an adapter for backbone {weights.backbone}; loaded is {used.identity}.")
    weights = replace(weights, backbone=used.identity)
    kept = {key: about[key] for key in ("generator", "finetune_steps", "choice", "calibration", "schedule", "distance")}
    return Adapter(weights, episode, used, **kept)


def _named_backbone(about: Mapping[str, Any], weights: AdapterWeights, place: str | Path | None) -> Backbone[Any]:
    """The backbone in `place`, or where the adapter says. Raises ConfigError if it names a folder that is not here."""
    model = about["backbone"]["model"] if place is None else str(place)
    if place is None and about["backbone_from"] == "folder" and not Path(model).is_dir():
        raise ConfigError(
            f"the adapter is for the model {weights.backbone}, which was in a folder; here is none at {model!r}. "
            "Say where it is: load_adapter(..., backbone=FOLDER), on the command line --backbone FOLDER."
        )
    return load_backbone(json.dumps({**about["backbone"], "model": model}, sort_keys=True))
