"""The contract of an adapter kind: what changes in the backbone, at which targets, with which tensors."""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, ClassVar, Literal, Protocol, Self, runtime_checkable

import torch
from peft.utils.integrations import dequantize_module_weight
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

Shapes = dict[str, tuple[int, ...]]
Placed = Mapping[str, Mapping[str, Tensor]]
Sort = Literal["linear", "attention", "reading", "layer", "model"]
ALL = "all-linear"
USUAL = "usual-linear"


@dataclass(frozen=True, slots=True, order=True)
class Target:
    """One place in the backbone that an adapter acts on: module path, sizes of its input and output, layer index.

    `sort`: `linear` for a linear-like module; `attention` for a module that attends (its sizes are those of all its
    keys together), `reading` for those of them that attend to the input text; `layer` for what ends a transformer
    layer; `model` for what reads the input text: the transformer without its head, of two its encoder.
    """

    path: str
    d_in: int
    d_out: int
    depth: int = 0
    sort: Sort = "linear"

    @property
    def name(self) -> str:
        """Last part of the path: `q_proj`, `query`, ..."""
        return self.path.rsplit(".", 1)[-1]

    def ends_in(self, name: str) -> bool:
        """Whether the name is the whole path or its last parts: `dense`, `output.dense`, ..."""
        return self.path == name or self.path.endswith("." + name)


@dataclass(frozen=True)
class Choice:
    """Targets that a kind wants: a sort, and ends of module paths.

    `(ALL,)` takes all of the sort; `(USUAL,)` the projections that adapters usually act on in this type of model.
    """

    sort: Sort
    names: tuple[str, ...] = (ALL,)


@dataclass(frozen=True)
class Call:
    """One forward call of a target module: the module, its own forward, and the arguments."""

    module: Any
    own: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]

    @property
    def x(self) -> Tensor:
        """The first argument: the input of a linear-like module."""
        return self.args[0]

    def run(self) -> Any:
        """What the frozen module computes."""
        return self.own(*self.args, **self.kwargs)


@dataclass(frozen=True)
class AdapterKind(ABC):
    """Settings of one kind of adapter. Every tensor of a target is `[width, size]`: rank, virtual tokens, or 1 first.

    Kinds are values: two with equal settings are equal. `kind` is the name in the table ADAPTERS. `effect` names the
    tensors in which the adapter's effect is linear (to first order for `dora`): a factor on
    them is a factor on the effect, and zeros leave the backbone unchanged. `product` names those that are multiplied
    with each other. `copy_cost`: about what one more copy of a task's tensors costs, in rows of text computed.
    """

    kind: ClassVar[str]
    effect: ClassVar[tuple[str, ...]]
    product: ClassVar[tuple[str, ...]] = ()
    copy_cost: ClassVar[float] = 0.1

    @abstractmethod
    def choices(self, model_type: str) -> tuple[Choice, ...]:
        """The targets wanted in a backbone of this transformers model type.

        Raises ConfigError where there is no default for the type and none was given.
        """

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

    def companions(self, model: Any) -> list[str]:
        """Paths of modules that run through `forward` too, with no tensors of their own: none, for most kinds."""
        return []

    def unfold(self, model: Any, tensors: Placed) -> tuple["AdapterKind", Placed]:
        """What is computed with, made once of the tensors of each target path, `[task ...]`: they, for most kinds.

        Called before `forward`, whatever the rows that follow, with a bare model.
        """
        return self, tensors

    @abstractmethod
    def forward(self, call: Call, weights: Mapping[str, Tensor], *, train: bool) -> Any:
        """What the target computes with the adapter. Rows are grouped by task: `(task row)` first.

        Each tensor of `weights` has the task axis first. `train` switches dropout on.
        """

    def settings(self) -> dict[str, Any]:
        """`{kind: name, **arguments}`: what config.build needs to make an equal value."""
        return {"kind": self.kind, **asdict(self)}

    def count(self, target: Target) -> int:
        """Number of parameters at a target for one task."""
        return sum(math.prod(shape) for shape in self.shapes(target).values())


@runtime_checkable
class Joins(Protocol):
    """A kind whose adapters can be joined along their width into one that does what all of them do, summed."""

    def joined(self, kinds: list[Any], parts: list[Mapping[str, Tensor]]) -> dict[str, Tensor]:
        """The tensors of a target of the joined adapter, from those of the parts, `[task ...]` each."""
        ...

    def joined_kind(self, kinds: list[Any]) -> Self:
        """The kind and settings of the joined adapter."""
        ...


def per_task(x: Tensor, tasks: int) -> Tensor:
    """`[(task row) ... size]` as `[task n size]`, for one batched product a task."""
    return x.reshape(tasks, -1, x.shape[-1])


def over_rows(vector: Tensor, y: Tensor) -> Tensor:
    """A `[task 1 size]` tensor repeated for the rows of y `[(task row) ... size]`, so that it broadcasts."""
    rows = vector.to(y.dtype).repeat_interleave(y.shape[0] // vector.shape[0], dim=0)
    return rows.reshape(y.shape[0], *[1] * (y.ndim - 2), vector.shape[-1])


def frozen_weight(module: nn.Module) -> Tensor:
    """`[d_out d_in]` of a linear-like module, dequantised where it is quantised."""
    weight: Tensor = dequantize_module_weight(module)
    return weight.T if isinstance(module, Conv1D) else weight
