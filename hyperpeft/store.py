"""Thousands of tasks: a small record each, adapters made again when they are asked for."""

import json
import time
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from hyperpeft.backbones.pretrained import fingerprint
from hyperpeft.config import did_you_mean
from hyperpeft.generator import Generator
from hyperpeft.tasks import Episode
from hyperpeft.weights import AdapterWeights, stack


@dataclass(frozen=True)
class StoreReport:
    """What a store costs: bytes kept a task, bytes of one adapter, milliseconds to make one again, cache use."""

    tasks: int
    bytes_per_task: float
    bytes_per_adapter: int
    milliseconds_per_regeneration: float
    hits: int
    misses: int


class TaskStore:
    """Adapters of many tasks by name, of which only the task embeddings are kept, `[d_task]` each.

    `capacity`: adapters held ready; the one asked for longest ago makes room. An adapter made again equals the one that
    the generator makes from the task itself (to rounding, as batches differ). Not for fine-tuned adapters.
    """

    def __init__(self, generator: Generator, capacity: int = 64):
        if capacity < 1:
            raise ValueError(f"capacity is {capacity}: it must be at least 1.")
        self.generator = generator
        self.capacity = capacity
        self._embeddings: dict[str, Tensor] = {}
        self._ready: OrderedDict[str, AdapterWeights] = OrderedDict()
        self._hits = self._misses = 0
        self._seconds = 0.0

    def __len__(self) -> int:
        return len(self._embeddings)

    def __contains__(self, name: object) -> bool:
        return name in self._embeddings

    @property
    def names(self) -> list[str]:
        """Names of the tasks, in the order in which they came."""
        return list(self._embeddings)

    @torch.no_grad()
    def add(self, episodes: Mapping[str, Episode]) -> None:
        """Keep tasks by name, in place of former ones of these names; the query is not looked at."""
        if not episodes:
            return
        was_training = self.generator.training
        self.generator.eval()
        try:
            embeddings = self.generator.encoder(list(episodes.values()))
        finally:
            self.generator.train(was_training)
        for name, embedding in zip(episodes, embeddings.detach().float().cpu(), strict=True):
            self._embeddings[name] = embedding.clone()
            self._ready.pop(name, None)

    def remove(self, name: str) -> None:
        """Forget a task. Raises KeyError saying what there is."""
        self._check([name])
        del self._embeddings[name]
        self._ready.pop(name, None)

    def weights(self, names: Sequence[str]) -> AdapterWeights:
        """The adapters of the tasks, in order; those that are not ready are made in one pass.

        Raises KeyError for a name that is not there.
        """
        self._check(names)
        missing = [name for name in dict.fromkeys(names) if name not in self._ready]
        made = self._made(missing)
        self._misses += len(missing)
        self._hits += len(set(names)) - len(missing)
        found = {name: made[name] if name in made else self._ready[name] for name in names}
        for name, weights in found.items():
            self._ready[name] = weights
            self._ready.move_to_end(name)
        while len(self._ready) > self.capacity:
            self._ready.popitem(last=False)
        return stack([found[name] for name in names])

    @torch.no_grad()
    def _made(self, names: Sequence[str]) -> dict[str, AdapterWeights]:
        if not names:
            return {}
        started = time.perf_counter()
        was_training = self.generator.training
        self.generator.eval()
        try:
            device = next(self.generator.hypernetwork.parameters()).device
            embeddings = torch.stack([self._embeddings[name] for name in names]).to(device)
            weights = self.generator.hypernetwork(embeddings).detach()
        finally:
            self.generator.train(was_training)
        alone = {name: weights[index].map(Tensor.clone) for index, name in enumerate(names)}
        self._seconds += time.perf_counter() - started
        return alone

    def report(self) -> StoreReport:
        """What was measured so far; milliseconds are of the wall clock, averaged over the adapters made."""
        kept = sum(e.numel() * e.element_size() + len(name.encode()) for name, e in self._embeddings.items())
        ready = next(iter(self._ready.values()), None)
        size = sum(leaf.numel() * leaf.element_size() for _, leaf in ready.named()) if ready else 0
        made = self._misses
        milliseconds = 1000 * self._seconds / made if made else 0.0
        return StoreReport(len(self), kept / max(1, len(self)), size, milliseconds, self._hits, self._misses)

    def save(self, path: Path) -> None:
        """Write the embeddings and names as one safetensors file."""
        header = {"names": json.dumps(self.names), "generator": fingerprint(self.generator), "format": "pt"}
        rows = list(self._embeddings.values())
        embeddings = torch.stack(rows) if rows else torch.zeros(0, self.generator.encoder.d_task)
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(path.name + ".partial")
        try:
            save_file({"embeddings": embeddings}, partial, metadata=header)
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)

    @classmethod
    def load(cls, path: Path, generator: Generator, capacity: int = 64) -> "TaskStore":
        """Read what `save` wrote. Raises ValueError for another file, or one of another generator."""
        try:
            with safe_open(path, framework="pt") as file:
                header = file.metadata() or {}
                embeddings = file.get_tensor("embeddings")
        except (SafetensorError, OSError) as error:
            raise ValueError(f"{path} cannot be read as a task store: {error}") from error
        expected = fingerprint(generator)
        if header.get("generator") != expected:
            raise ValueError(
                f"{path} holds embeddings of the generator with fingerprint {header.get('generator')}; this one has "
                f"{expected}: they would mean nothing to it. Load the same generator, or add the tasks anew."
            )
        store = cls(generator, capacity)
        store._embeddings = dict(zip(json.loads(header["names"]), embeddings.unbind(0), strict=True))
        return store

    def _check(self, names: Sequence[str]) -> None:
        for name in names:
            if name not in self._embeddings:
                raise KeyError(f"there is no task {name!r} in this store. {did_you_mean(name, self._embeddings)}")
