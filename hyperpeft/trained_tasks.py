"""Where the tasks lie that a generator was meta-trained on: to tell how far a new task is from them."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from einops import einsum
from safetensors import SafetensorError, safe_open
from torch import Tensor
from torch.nn import functional

from hyperpeft.config import ConfigError
from hyperpeft.encoders import TextEncoder
from hyperpeft.tasks import Task
from hyperpeft.weights import save_tensors

MOST_BYTES = 300_000
NEAREST = 3


@dataclass(frozen=True)
class TrainedTasks:
    """Names of meta-train tasks and the directions of their descriptions' mean text embeddings, `[task d_text]` fp16.

    At most MOST_BYTES of them: a sample spread over families where a corpus has more.
    """

    names: tuple[str, ...]
    embeddings: Tensor = field(repr=False)

    @classmethod
    def of(cls, tasks: Sequence[Task], text: TextEncoder) -> "TrainedTasks | None":
        """Of those tasks that have a description; None if none has."""
        described = sorted((task for task in tasks if task.descriptions), key=lambda task: (task.family, task.name))
        count = min(len(described), MOST_BYTES // (2 * text.d_text))
        kept = [described[place * len(described) // count] for place in range(count)]
        if not kept:
            return None
        embeddings = torch.stack([direction(task.descriptions, text) for task in kept])
        return cls(tuple(task.name for task in kept), embeddings.half())

    def distance(self, descriptions: Sequence[str], text: TextEncoder) -> float | None:
        """Mean cosine distance (0: the same direction, 1: unrelated) to the NEAREST nearest; None if not described."""
        if not descriptions:
            return None
        cosines = einsum(self.embeddings.float(), direction(descriptions, text), "task d, d -> task")
        return float(1 - cosines.topk(min(NEAREST, len(self.names))).values.mean())

    def save(self, file: Path) -> None:
        """Write a safetensors file, names in its header."""
        header = {"format": "pt", "names": json.dumps(self.names, ensure_ascii=False)}
        save_tensors({"embeddings": self.embeddings}, file, header)

    @classmethod
    def load(cls, file: Path) -> "TrainedTasks | None":
        """Read what `save` wrote; None if there is no such file. Raises ConfigError for a damaged one."""
        if not file.exists():
            return None
        try:
            with safe_open(file, framework="pt") as opened:
                names = json.loads((opened.metadata() or {})["names"])
                return cls(tuple(names), opened.get_tensor("embeddings"))
        except (SafetensorError, KeyError, ValueError) as error:
            raise ConfigError(f"{file} is damaged or of another make: {error}") from error


def direction(descriptions: Sequence[str], text: TextEncoder) -> Tensor:
    """Unit vector `[d_text]`: the mean of the paraphrases' embeddings; their order does not matter."""
    return functional.normalize(text(sorted(descriptions)).mean(0), dim=0)
