"""A library: one adapter for each meta-train task, trained once by the common fine-tune and kept."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from random import Random
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from hyperpeft.adaptation import FinetuneSettings, balanced, finetune
from hyperpeft.baselines.base import Materials
from hyperpeft.config import ConfigError
from hyperpeft.encoders import TextEncoder
from hyperpeft.progress import followed
from hyperpeft.tasks import Episode, Example, Task
from hyperpeft.weights import AdapterWeights, load_weights, save_weights, stack


@dataclass(frozen=True)
class LibrarySettings:
    """How each meta-train task gets its adapter, by AdamW from a fresh one.

    examples: at most so many per label (per task for free text). labels: larger label sets are cut to so many, drawn by
    the seed. steps, lr, rows: of the fine-tune; rows are examples a step. tasks: trained in one batch, and lost at most
    when interrupted. The defaults cost about 3 CPU-seconds a task with MiniLM, so 5 minutes of 2 cores for 200 tasks.
    """

    examples: int = 16
    labels: int = 8
    steps: int = 10
    lr: float = 1e-3
    rows: int = 16
    tasks: int = 8


@dataclass(frozen=True)
class Library:
    """Tasks and their adapters in the same order; `start` is what each was trained from."""

    tasks: Sequence[Task]
    adapters: AdapterWeights
    start: AdapterWeights
    text_encoder: TextEncoder

    def nearest(self, episodes: Sequence[Episode], count: int) -> Tensor:
        """Indices `[task count]` of the tasks with the nearest descriptions (cosine of mean embeddings), nearest first.

        What has no description is placed by the inputs of its examples, else by its labels. Never sees the query.
        """
        keys = torch.stack([_place(self.text_encoder, t.descriptions, t.examples, t.labels) for t in self.tasks])
        asked = torch.stack([_place(self.text_encoder, e.descriptions, e.support, e.labels) for e in episodes])
        return (asked @ keys.T).topk(min(count, len(self.tasks)), dim=1).indices


def train_library(materials: Materials, settings: LibrarySettings | None = None) -> Library:
    """The library in `materials.folder`, trained as far as it is not there yet, with progress on stderr.

    Raises ConfigError if the folder holds one of other tasks or settings.
    """
    settings = settings or LibrarySettings()
    backbone, adapter = materials.generator.backbone, materials.generator.hypernetwork.adapter
    tasks = sorted(materials.train, key=lambda task: (len(task.labels), task.name))
    folder = materials.folder / "library"
    facts = {
        "settings": asdict(settings),
        "seed": materials.seed,
        "adapter": adapter.settings(),
        "backbone": backbone.identity,
        "tasks": [task.name for task in tasks],
    }
    _check(folder / "library.json", facts)
    start = backbone.start(adapter, seed=materials.seed)
    groups = [(n, tasks[n : n + settings.tasks]) for n in range(0, len(tasks), settings.tasks)]
    missing = [(n, group) for n, group in groups if not _file(folder, n).exists()]
    for n, group in followed(missing, _work, lambda item: item[1][0].name, name="adapters of meta-train tasks"):
        episodes = [_episode(task, settings, materials.seed) for task in group]
        tuning = FinetuneSettings(settings.steps, settings.lr, rows=settings.rows, seed=materials.seed)
        save_weights(finetune(backbone, start.repeat(len(group)), episodes, tuning), _file(folder, n))
    adapters = stack([load_weights(_file(folder, n)) for n, _ in groups]).to(backbone.device)
    return Library(tasks, adapters, start, materials.generator.text_encoder)


def _check(file: Path, facts: dict[str, Any]) -> None:
    """Write down what a library is made from, or refuse to go on with another."""
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(facts, indent=1), encoding="utf-8")
        return
    before = json.loads(file.read_text(encoding="utf-8"))
    changed = sorted(key for key in facts if before.get(key) != facts[key])
    if changed:
        raise ConfigError(f"{file.parent} holds adapters made with other {', '.join(changed)}. Remove that folder.")


def _file(folder: Path, first: int) -> Path:
    return folder / f"{first:04d}.safetensors"


def _work(item: tuple[int, Sequence[Task]]) -> float:
    return float(len(item[1]))


def _episode(task: Task, settings: LibrarySettings, seed: int) -> Episode:
    """All that a task's adapter is trained on, as support."""
    random = Random(f"{seed}/{task.name}")
    shuffled = random.sample(task.examples, len(task.examples))
    shown = sorted({example.output for example in task.examples}) if task.labels else []
    kept = sorted(random.sample(shown, settings.labels)) if len(shown) > settings.labels else list(task.labels)
    if task.labels:
        shuffled = [example for example in shuffled if example.output in kept]
    support = balanced(shuffled)[: settings.examples * max(1, len(kept))]
    return Episode(task.name, task.descriptions, tuple(support), labels=tuple(kept), metric=task.metric)


def _place(
    encoder: TextEncoder, descriptions: Sequence[str], examples: Sequence[Example], labels: Iterable[str]
) -> Tensor:
    texts = sorted(descriptions) or [example.input for example in examples[:8]] or sorted(labels) or [""]
    return functional.normalize(encoder(texts).mean(0), dim=0)


def pick(adapters: AdapterWeights, index: Tensor) -> AdapterWeights:
    """The adapters of some tasks, one for each entry of `[task]`."""
    return adapters.map(lambda leaf: leaf[index.to(leaf.device)])
