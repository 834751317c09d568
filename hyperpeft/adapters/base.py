"""The contract of an adapter kind: what changes in the backbone, at which targets, with which tensors."""

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

Shapes = dict[str, tuple[int, ...]]


@dataclass(frozen=True, slots=True, order=True)
class Target:
    """One place in the backbone that an adapter acts on: module path, sizes of its input and output, layer index."""

    path: str
    d_in: int
    d_out: int
    depth: int = 0

    @property
    def name(self) -> str:
        """Last part of the path: `q_proj`, `query`, ..."""
        return self.path.rsplit(".", 1)[-1]


@dataclass(frozen=True)
class AdapterKind(ABC):
    """Settings of one kind of adapter. Every tensor of a target has its rank (width) as first axis.

    Kinds are values: two with equal settings are equal. `kind` is the name in the table ADAPTERS.
    """

    kind: ClassVar[str]

    @property
    @abstractmethod
    def target_names(self) -> list[str] | None:
        """Names that choose the targets; None takes the default of the backbone's model type."""

    @property
    @abstractmethod
    def target_layers(self) -> list[int] | None:
        """Indices of the layers whose targets are adapted; None takes all."""

    @abstractmethod
    def shapes(self, target: Target) -> Shapes:
        """Name and shape of each tensor that this kind needs at a target, without the task axis."""

    @abstractmethod
    def start(self, target: Target, generator: torch.Generator) -> dict[str, Tensor]:
        """Tensors that leave the backbone unchanged and can be trained from."""

    @abstractmethod
    def apply(self, x: Tensor, y: Tensor, weights: Mapping[str, Tensor], *, train: bool) -> Tensor:
        """The target's output y for its input x, adapted. Rows of x and y are grouped by task: `(task row)` first.

        Each tensor of `weights` has the task axis first. `train` switches dropout on.
        """

    def settings(self) -> dict[str, Any]:
        """`{kind: name, **arguments}`: what config.build needs to make an equal value."""
        return {"kind": self.kind, **asdict(self)}

    def count(self, target: Target) -> int:
        """Number of parameters at a target for one task."""
        return sum(math.prod(shape) for shape in self.shapes(target).values())
