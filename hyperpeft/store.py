"""Thousands of tasks: a small record each, adapters made again when they are asked for."""

import json
import time
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from hyperpeft.backbones.pretrained import fingerprint
from hyperpeft.config import did_you_mean
from hyperpeft.generator import Generator
from hyperpeft.tasks import Episode, Example
from hyperpeft.weights import AdapterWeights, save_tensors, stack


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
    """Adapters of many tasks by name, of which only a small record is kept.

    Where the generator makes adapters from task embeddings alone, a record is the task's embedding `[d_task]`; where it
    reads the labels or refines on the support too, the record is the episode as text, without its query. `capacity`:
    adapters held ready; the one asked for longest ago makes room. An adapter made again equals the one that the
    generator makes from the task (to rounding, as batches differ). Not for fine-tuned adapters.
    """

    def __init__(self, generator: Generator, capacity: int = 64):
        if capacity < 1:
            raise ValueError(f"capacity is {capacity}: it must be at least 1.")
        self.generator = generator
        self.capacity = capacity
        self._records: dict[str, Tensor] = {}
        self._ready: OrderedDict[str, AdapterWeights] = OrderedDict()
        self._hits = self._misses = 0
        self._seconds = 0.0

    def __len__(self) -> int:
        return len(self._records)

    def __contains__(self, name: object) -> bool:
        return name in self._records

    @property
    def names(self) -> list[str]:
        """Names of the tasks, in the order in which they came."""
        return list(self._records)

    @property
    def keeps_embeddings(self) -> bool:
        """Whether a record is an embedding: the generator needs nothing else of a task."""
        return self.generator.label_reader is None and self.generator.refinement is None

    def add(self, episodes: Mapping[str, Episode]) -> None:
        """Keep tasks by name, in place of former ones of these names; the query is not looked at."""
        if not episodes:
            return
        records = self._embedded(episodes) if self.keeps_embeddings else map(_as_bytes, episodes.values())
        for name, record in zip(episodes, records, strict=True):
            self._records[name] = record
            self._ready.pop(name, None)

    @torch.no_grad()
    def _embedded(self, episodes: Mapping[str, Episode]) -> list[Tensor]:
        with _evaluating(self.generator):
            embeddings = self.generator.encoder(list(episodes.values()))
        return [embedding.clone() for embedding in embeddings.detach().float().cpu()]

    def remove(self, name: str) -> None:
        """Forget a task. Raises KeyError saying what there is."""
        self._check([name])
        del self._records[name]
        self._ready.pop(name, None)

    def weights(self, names: Sequence[str]) -> AdapterWeights:
        """The adapters of the tasks, in order; those that are not ready are made in one pass.

        Raises KeyError for a name that is not there.
        """
        self._check(names)
        missing = [name for name in dict.fromkeys(names) if name not in self._ready]
        made = self._made(missing) if missing else {}
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
        started = time.perf_counter()
        records = [self._records[name] for name in names]
        with _evaluating(self.generator):
            if self.keeps_embeddings:
                device = next(self.generator.hypernetwork.parameters()).device
                weights = self.generator.hypernetwork(torch.stack(records).to(device)).detach()
            else:
                with self.generator.text_encoder.together():
                    weights = self.generator.generate([_as_episode(record) for record in records])
        alone = {name: weights[index].map(Tensor.clone) for index, name in enumerate(names)}
        self._seconds += time.perf_counter() - started
        return alone

    def report(self) -> StoreReport:
        """What was measured so far; milliseconds are of the wall clock, averaged over the adapters made."""
        kept = sum(e.numel() * e.element_size() + len(name.encode()) for name, e in self._records.items())
        ready = next(iter(self._ready.values()), None)
        size = sum(leaf.numel() * leaf.element_size() for _, leaf in ready.named()) if ready else 0
        made = self._misses
        milliseconds = 1000 * self._seconds / made if made else 0.0
        return StoreReport(len(self), kept / max(1, len(self)), size, milliseconds, self._hits, self._misses)

    def save(self, path: Path) -> None:
        """Write the records and names as one safetensors file."""
        header = {"names": json.dumps(self.names), "generator": fingerprint(self.generator), "format": "pt"}
        save_tensors({str(index): record for index, record in enumerate(self._records.values())}, path, header)

    @classmethod
    def load(cls, path: Path, generator: Generator, capacity: int = 64) -> "TaskStore":
        """Read what `save` wrote. Raises ValueError for another file, or one of another generator."""
        try:
            with safe_open(path, framework="pt") as file:
                header = file.metadata() or {}
                records = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        except (SafetensorError, OSError) as error:
            raise ValueError(f"{path} cannot be read as a task store: {error}") from error
        expected = fingerprint(generator)
        if header.get("generator") != expected:
            raise ValueError(
                f"{path} holds tasks of the generator with fingerprint {header.get('generator')}; this one has "
                f"{expected}: they would mean something else to it. Load the same generator, or add the tasks anew."
            )
        store = cls(generator, capacity)
        store._records = {name: records[str(index)] for index, name in enumerate(json.loads(header["names"]))}
        return store

    def _check(self, names: Sequence[str]) -> None:
        for name in names:
            if name not in self._records:
                raise KeyError(f"there is no task {name!r} in this store. {did_you_mean(name, self._records)}")


@contextmanager
def _evaluating(generator: Generator) -> Iterator[None]:
    """The generator in eval mode inside the `with`, and as it was after."""
    was_training = generator.training
    generator.eval()
    try:
        yield
    finally:
        generator.train(was_training)


def _as_bytes(episode: Episode) -> Tensor:
    text = json.dumps(asdict(replace(episode, query=())), ensure_ascii=False, separators=(",", ":"))
    return torch.frombuffer(bytearray(text.encode()), dtype=torch.uint8)


def _as_episode(record: Tensor) -> Episode:
    fields = json.loads(bytes(record.tolist()).decode())
    fields["support"] = tuple(Example(**example) for example in fields["support"])
    read: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in fields.items()}
    return Episode(**read)
