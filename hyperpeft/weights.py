"""AdapterWeights: the plain value that everything else makes, uses, improves or writes."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from hyperpeft.adapters import ADAPTERS, AdapterKind
from hyperpeft.config import build

TargetTensors = Mapping[str, Mapping[str, Tensor]]
READOUT = "readout"
HEADER_SIZE = 8  # bytes that say how long a safetensors file's header is


@dataclass(frozen=True)
class AdapterWeights:
    """Adapters of one kind for one backbone, for one or many tasks.

    `tensors[target path][name]` is `[task, rank, ...]`; `readout[name]` is `[task]`: the few numbers with which the
    backbone turns features into scores (none for a language model). The task axis is always there.
    """

    adapter: AdapterKind
    backbone: str
    tensors: TargetTensors = field(repr=False)
    readout: Mapping[str, Tensor] = field(default_factory=dict)

    @property
    def tasks(self) -> int:
        """Number of tasks."""
        return next(self._leaves()).shape[0]

    @property
    def count(self) -> int:
        """Number of parameters a task."""
        return sum(leaf[0].numel() for leaf in self._leaves())

    def __len__(self) -> int:
        return self.tasks

    def __getitem__(self, index: int | slice) -> "AdapterWeights":
        """The weights of one task or of a slice of tasks; the task axis stays. Raises IndexError for no such task."""
        if isinstance(index, int):
            if not -self.tasks <= index < self.tasks:
                raise IndexError(f"there is no task {index}: these weights hold {self.tasks} task(s).")
            index = slice(index, None if index == -1 else index + 1)
        return self.map(lambda leaf: leaf[index])

    def __add__(self, other: "AdapterWeights") -> "AdapterWeights":
        return self.zip(other, torch.add)

    def __mul__(self, factor: float) -> "AdapterWeights":
        return self.map(lambda leaf: leaf * factor)

    def mean(self) -> "AdapterWeights":
        """One task's weights: the mean over tasks of each tensor."""
        return self.map(lambda leaf: leaf.mean(dim=0, keepdim=True))

    def repeat(self, tasks: int) -> "AdapterWeights":
        """Weights of one task as a view for many tasks; no memory is copied."""
        return self.map(lambda leaf: leaf.expand(tasks, *leaf.shape[1:]))

    def detach(self) -> "AdapterWeights":
        """The same values outside any graph."""
        return self.map(Tensor.detach)

    def to(self, place: torch.device | torch.dtype | str) -> "AdapterWeights":
        """On another device or in another dtype."""
        return self.map(lambda leaf: leaf.to(place))

    def map(self, function: Callable[[Tensor], Tensor]) -> "AdapterWeights":
        """Each tensor replaced by a function of it."""
        tensors = {path: {n: function(t) for n, t in named.items()} for path, named in self.tensors.items()}
        return replace(self, tensors=tensors, readout={name: function(t) for name, t in self.readout.items()})

    def zip(self, other: "AdapterWeights", function: Callable[[Tensor, Tensor], Tensor]) -> "AdapterWeights":
        """Each tensor replaced by a function of it and of the same tensor of another value of the same form."""
        self._check_form(other)
        tensors = {
            path: {name: function(tensor, other.tensors[path][name]) for name, tensor in named.items()}
            for path, named in self.tensors.items()
        }
        readout = {name: function(tensor, other.readout[name]) for name, tensor in self.readout.items()}
        return replace(self, tensors=tensors, readout=readout)

    def named(self) -> Iterator[tuple[str, Tensor]]:
        """(`path:name`, tensor) pairs in the order of `map`; the read-out comes last, under `readout`."""
        for path, tensors in self.tensors.items():
            for name, tensor in tensors.items():
                yield f"{path}:{name}", tensor
        for name, tensor in self.readout.items():
            yield f"{READOUT}:{name}", tensor

    def _leaves(self) -> Iterator[Tensor]:
        return (tensor for _, tensor in self.named())

    def _check_form(self, other: "AdapterWeights") -> None:
        if (self.adapter, self.backbone) != (other.adapter, other.backbone):
            raise ValueError(
                f"adapter weights of {self.adapter} for backbone {self.backbone} do not combine with "
                f"{other.adapter} for {other.backbone}: kind, settings and backbone must be equal."
            )
        differing = {name for name, _ in self.named()} ^ {name for name, _ in other.named()}
        if differing:
            raise ValueError(f"only one of the two adapter weights to combine has the tensor(s) {sorted(differing)}.")


def stack(weights: Sequence[AdapterWeights]) -> AdapterWeights:
    """One value holding the tasks of all, in order. Kinds, settings and backbones must be equal.

    Read-out tensors of fewer labels are filled up with zeros.
    """
    if not weights:
        raise ValueError("there is nothing to stack: pass at least one task's adapter weights.")
    first, *others = weights
    for other in others:
        first = first.zip(other, _joined)
    return first


def _joined(one: Tensor, two: Tensor) -> Tensor:
    """Both along the task axis; where one has more labels (the second axis), the other gets rows of zeros."""
    if one.ndim < 2 or one.shape[1] == two.shape[1]:
        return torch.cat([one, two])
    return pad_sequence([*one, *two], batch_first=True)


def save_weights(weights: AdapterWeights, path: Path) -> None:
    """Write a safetensors file: tensors by `path:name`, kind, settings and backbone identity in its header."""
    header = {"format": "pt", "adapter": json.dumps(weights.adapter.settings()), "backbone": weights.backbone}
    save_tensors(dict(weights.named()), path, header)


def save_tensors(tensors: Mapping[str, Tensor], path: Path, header: Mapping[str, str]) -> None:
    """Write a safetensors file with the mode that a plainly written file has here; safetensors' own is 0600.

    Written to a temporary file first, so that a failed write leaves nothing half done.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    try:
        partial.touch()
        mode = partial.stat().st_mode
        save_file({name: t.detach().cpu().contiguous() for name, t in tensors.items()}, partial, dict(header))
        _order_header(partial)
        partial.chmod(mode)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def _order_header(path: Path) -> None:
    """Equal values in equal bytes: safetensors writes what its header says of the file in an order of chance."""
    with path.open("r+b") as file:
        size = int.from_bytes(file.read(HEADER_SIZE), "little")
        header = json.loads(file.read(size))
        header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
        text = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
        if len(text) > size:
            raise ValueError(f"{path}: its header cannot be put in order, as it is written in an unknown way.")
        file.seek(HEADER_SIZE)
        file.write(text.ljust(size))


def load_weights(path: Path) -> AdapterWeights:
    """Read what save_weights wrote. Raises ValueError for a file that is truncated or of another make."""
    try:
        with safe_open(path, framework="pt") as file:
            header = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise ValueError(f"{path} cannot be read as safetensors: {error}") from error
    if not {"adapter", "backbone"} <= header.keys():
        raise ValueError(f"{path} was not written by hyperpeft: its header names no adapter kind and backbone.")
    adapter = build(ADAPTERS, json.loads(header["adapter"]), name=f"{path}: adapter")
    grouped: dict[str, dict[str, Tensor]] = {}
    for name, tensor in sorted(tensors.items()):
        target, part = name.rsplit(":", 1)
        grouped.setdefault(target, {})[part] = tensor
    readout = grouped.pop(READOUT, {})
    return AdapterWeights(adapter, header["backbone"], grouped, readout)
