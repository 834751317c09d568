"""The main job in code: generate, use, fine-tune, save and export adapters."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal

from torch import Tensor

from hyperpeft.adaptation import FinetuneSettings, finetune
from hyperpeft.asked import asked_episode, check_labels
from hyperpeft.backbones import BACKBONES, Backbone
from hyperpeft.config import ConfigError, build, did_you_mean
from hyperpeft.exports import Exported, check_unchanged, model_card, write_export, written_at_once
from hyperpeft.generator import Generator
from hyperpeft.hub import fetched, pushed
from hyperpeft.metrics import METRICS
from hyperpeft.selection import ENOUGH, choose
from hyperpeft.tasks import Episode, Example, as_examples
from hyperpeft.weights import AdapterWeights, load_weights, save_weights

Examples = Iterable[object]
Labels = Sequence[str] | Mapping[str, str]
Select = Literal["generated", "auto"]
LOADING = '```python\nimport hyperpeft\n\nadapter = hyperpeft.load_adapter("this folder")\n```'


@dataclass(frozen=True)
class Adapter:
    """A task's adapter, ready for use: weights, the episode that they were made from, and the backbone.

    A value: `finetune` returns a new adapter and leaves this one as it is.
    """

    weights: AdapterWeights
    episode: Episode
    backbone: Backbone[Any]
    generator: str = ""
    finetune_steps: int = 0
    choice: str = "generated"

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
        """For each input the probability of each label. Raises ValueError for a task without labels."""
        if not self.labels:
            raise ValueError("this task has no label set, so there are no label probabilities. Pass labels=[...].")
        with self.backbone.adapted(self.weights):
            rows: Tensor = self.backbone.probabilities([self._asking(inputs)])[0]
        return [dict(zip(self.labels, row.tolist(), strict=True)) for row in rows]

    def evaluate(self, examples: Examples, metric: str | None = None) -> float:
        """Score in [0, 1] on (input, output) pairs; accuracy for label sets, else exact match, unless named."""
        name = metric or self.episode.metric
        if name not in METRICS:
            raise ValueError(f"there is no metric {name!r}. {did_you_mean(name, METRICS)}")
        pairs = as_examples(examples)
        check_labels(pairs, self.labels)
        return METRICS[name](self.predict([pair.input for pair in pairs]), [pair.output for pair in pairs])

    def finetune(
        self, examples: Examples | None = None, steps: int = 20, *, lr: float = 1e-3, seed: int = 0
    ) -> "Adapter":
        """A new adapter after a brief fine-tune on the examples (default: those that it was generated from)."""
        episode = self.episode
        if examples is not None:
            support = as_examples(examples)
            check_labels(support, self.labels)
            episode = replace(episode, support=support)
        tuned = finetune(self.backbone, self.weights, [episode], FinetuneSettings(steps=steps, lr=lr, seed=seed))
        return replace(self, weights=tuned, episode=episode, finetune_steps=self.finetune_steps + steps)

    def export(self, path: str | Path, format: str = "peft", *, overwrite: bool = False) -> Path:
        """Write the adapter as a folder that other programs load, in a format of `hyperpeft.exports.EXPORTS`.

        `overwrite` replaces a folder that hyperpeft wrote, never another. Raises ValueError for an adapter kind that
        the format does not carry, FileExistsError for a path that is taken.
        """
        with written_at_once(Path(path), about={"format": format}, overwrite=overwrite) as folder:
            write_export(self._exported(), folder, format)
        return Path(path)

    def save(self, path: str | Path, *, overwrite: bool = False) -> Path:
        """Write everything that `hyperpeft.load_adapter` needs: weights, labels, examples, backbone settings."""
        self._write(Path(path), self.backbone.settings(), overwrite=overwrite)
        return Path(path)

    def push_to_hub(self, repo_id: str, *, private: bool | None = None, token: str | None = None) -> str:
        """Write what `save` writes to a repository on the Hub, which `load_adapter` reads; the commit's address.

        The examples go with it. A backbone from a folder of this machine is named without its path: pass `backbone=`
        when loading.
        """
        settings = {**self.backbone.settings(), "model": self._exported().base_model}
        return pushed(
            lambda folder: self._write(folder, settings, overwrite=True), repo_id, private=private, token=token
        )

    def _write(self, path: Path, backbone: Mapping[str, Any], *, overwrite: bool) -> None:
        about = {
            "episode": asdict(self.episode),
            "backbone": backbone,
            "generator": self.generator,
            "finetune_steps": self.finetune_steps,
            "choice": self.choice,
        }
        card = model_card(self._exported(), "adapter", LOADING)
        with written_at_once(path, about={"format": "adapter"}, overwrite=overwrite) as folder:
            save_weights(self.weights, folder / "adapter.safetensors")
            (folder / "adapter.json").write_text(json.dumps(about, indent=2, ensure_ascii=False), encoding="utf-8")
            (folder / "README.md").write_text(card, encoding="utf-8")

    def _exported(self) -> Exported:
        return Exported(self.weights, self.backbone, self.episode, self.generator, self.finetune_steps)

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
) -> Adapter:
    """An adapter for a task from its description (or several paraphrases), its examples, or both.

    `labels`: the label set, or labels with their descriptions; read from the examples' outputs if the backbone
    classifies and none is given. `generator`: a folder or a Generator; default the one inside the package.
    `select="auto"` asks 8 examples or more, by cross-validation, if no adapter, the shared one or the generated one
    (fine-tuned, with `finetune_steps`) does best, and takes that; `adapter.choice` names it.
    Raises TaskError or ValueError saying what is missing: neither description nor examples, an output that is not
    among the labels, ...
    """
    task = {"description": task_description, "examples": examples, "labels": labels}
    if select not in ("generated", "auto"):
        raise ValueError(f"select is {select!r}: there is 'generated' and 'auto'.")
    made = generate_many([task], generator=generator, finetune_steps=finetune_steps, lr=lr)[0]
    if select == "generated" or len(made.episode.support) < ENOUGH:
        return made
    made_by = generator if isinstance(generator, Generator) else load_generator(generator)
    name, weights = choose(made_by, made.episode, made.weights, FinetuneSettings(steps=finetune_steps, lr=lr))
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
    adapters = [Adapter(weights[i], episode, made_by.backbone, name) for i, episode in enumerate(episodes)]
    if not finetune_steps:
        return adapters
    tuned = finetune(made_by.backbone, weights, episodes, FinetuneSettings(steps=finetune_steps, lr=lr))
    return [replace(a, weights=tuned[i], finetune_steps=finetune_steps) for i, a in enumerate(adapters)]


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


def load_adapter(path: str | Path, backbone: Backbone[Any] | None = None) -> Adapter:
    """The adapter in a folder or Hub repository that `Adapter.save` wrote; its backbone is loaded unless given.

    Raises ConfigError for a folder that is incomplete, damaged, or for another backbone.
    """
    from_folder = fetched(path)
    file = from_folder / "adapter.json"
    if not file.is_file():
        raise ConfigError(f"{from_folder} is no saved adapter: adapter.json is missing. Adapter.save writes one.")
    check_unchanged(from_folder, ("adapter.json", "adapter.safetensors"))
    about, episode = _read_about(file)
    weights = load_weights(from_folder / "adapter.safetensors")
    backbone = backbone or load_backbone(json.dumps(about["backbone"], sort_keys=True))
    if weights.backbone.rsplit("#")[-1] != backbone.identity.rsplit("#")[-1]:
        raise ConfigError(
            f"{from_folder} is an adapter for backbone {weights.backbone}; loaded is {backbone.identity}."
        )
    weights = replace(weights, backbone=backbone.identity)
    return Adapter(weights, episode, backbone, about["generator"], about["finetune_steps"], about["choice"])


@lru_cache(maxsize=4)
def load_backbone(settings: str) -> Backbone[Any]:
    """The backbone of JSON settings, loaded once a process."""
    return build(BACKBONES, json.loads(settings), name="backbone")  # type: ignore[no-any-return]


def load_generator(generator: str | Path | None = None) -> Generator:
    """The generator in a folder, of a repository on the Hub, or inside the package by its name; loaded once a process.

    Inside the package are `default` (also for None) and `letters`; a folder of that name comes first.
    """
    folder = _inside(generator) or fetched(str(generator))
    config = folder / "config.yaml"
    return _load_generator(folder.resolve(), config.stat().st_mtime_ns if config.exists() else 0)


def _inside(name: str | Path | None) -> Path | None:
    """The folder of a generator inside the package; None where the name means another folder or repository."""
    if name is not None and (Path(name).exists() or not str(name).isidentifier()):
        return None
    folder = Path(str(files("hyperpeft") / "generators" / str(name or "default")))
    return folder if name is None or folder.is_dir() else None


@lru_cache(maxsize=4)
def _load_generator(folder: Path, changed: int) -> Generator:
    return Generator.from_pretrained(folder)


def _read_about(file: Path) -> tuple[dict[str, Any], Episode]:
    """What Adapter.save wrote beside the weights, and the episode in it."""
    try:
        about = json.loads(file.read_text(encoding="utf-8"))
        fields = about["episode"]
        lists = {key: tuple(fields[key]) for key in ("descriptions", "labels", "label_descriptions")}
        support = as_examples(fields["support"])
        episode = Episode(task=fields["task"], support=support, metric=fields["metric"], **lists)
        return {key: about[key] for key in ("backbone", "generator", "finetune_steps", "choice")}, episode
    except (ValueError, KeyError, TypeError) as error:
        raise ConfigError(f"{file} is damaged or of another make ({error!r}). Adapter.save writes it.") from error
