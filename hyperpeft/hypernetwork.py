"""The hypernetwork: task embeddings in, adapter weights out, for all tasks and targets in a few batched products."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from einops import rearrange
from torch import Tensor, nn

from hyperpeft.adapters import AdapterKind, Target
from hyperpeft.config import ConfigError, did_you_mean
from hyperpeft.weights import AdapterWeights

Head = Literal["large", "shared", "per_rank", "mixture", "linear", "none"]
HEADS = ("large", "shared", "per_rank", "mixture", "linear", "none")
COMPONENT_STD = 0.02
PACE = 10.0
TensorGroup = tuple[str, tuple[int, ...]]


@dataclass(frozen=True)
class _Unit:
    """One vector that a head emits: a tensor of a target, or one rank of it."""

    target: int
    tensor: int
    rank: int


class Hypernetwork(nn.Module):
    """weights(z) = shared + generated(z): a learned adapter for all tasks plus a part that depends on the task.

    generated(z) = W h / d_hidden with h = LayerNorm(MLP(z, unit)) and W zero at first, so that the backbone is
    unchanged before training, and Adam moves an entry of the output by about its learning rate whatever the width
    (the scaling of muP: Yang et al. 2022, arXiv:2203.03466).
    `head` decides what one unit is and which units share an output matrix W:
    `large`: a tensor of a target, W per tensor name and shape; `shared`: a tensor of a target, W per shape;
    `per_rank`: one rank of a tensor, W per vector size; these follow Text-to-LoRA's L, M, S: Charakorn et al. 2025,
    arXiv:2506.06105. `mixture`: `components` numbers in all, with which learned adapters are summed (the idea of
    Polytropon's skills: Ponti et al. 2022, arXiv:2202.13914). `linear`: gain W LayerNorm(z) / sqrt(d_task), with W for
    every tensor and no MLP, for small adapters and task encoders that do the work; W is random and the gain zero at
    first. `none`: nothing is generated, the shared adapter is all (the multi-task baseline).
    """

    units: Tensor

    def __init__(
        self,
        adapter: AdapterKind,
        targets: Sequence[Target],
        backbone: str,
        readout: dict[str, float],
        d_task: int,
        head: str = "per_rank",
        d_hidden: int = 128,
        dropout: float = 0.0,
        components: int = 8,
        seed: int = 0,
    ):
        super().__init__()
        if head not in HEADS:
            raise ConfigError(f"hypernetwork.head: there is no {head!r}. {did_you_mean(head, HEADS)}")
        if components < 1:
            raise ConfigError(f"hypernetwork.components is {components}: at least one is needed.")
        self.adapter = adapter
        self.targets = tuple(targets)
        self.backbone = backbone
        self.head = head
        settings = {"head": head, "d_hidden": d_hidden, "dropout": dropout, "seed": seed}
        self._settings = {**settings, "components": components} if head == "mixture" else settings
        self.d_hidden = d_hidden
        self.groups = self._tensor_groups()
        self.shared = self._start(seed)
        self.readout = nn.ParameterDict({name: nn.Parameter(torch.tensor(value)) for name, value in readout.items()})
        if head == "mixture":
            self._build_mixture(d_task, dropout, components)
        elif head == "linear":
            self._build_linear(d_task)
        elif head != "none":
            self._build_generated(d_task, dropout)

    def settings(self) -> dict[str, Any]:
        """The arguments that settings may give."""
        return dict(self._settings)

    def _tensor_groups(self) -> dict[TensorGroup, list[int]]:
        """Indices of the targets that need a tensor of one name and shape."""
        groups: dict[TensorGroup, list[int]] = {}
        for index, target in enumerate(self.targets):
            for name, shape in self.adapter.shapes(target).items():
                groups.setdefault((name, shape), []).append(index)
        return groups

    def _start(self, seed: int) -> nn.ParameterDict:
        generator = torch.Generator().manual_seed(seed)
        starts = [self.adapter.start(target, generator) for target in self.targets]
        return nn.ParameterDict(
            {
                _key(group): nn.Parameter(torch.stack([starts[index][group[0]] for index in members]))
                for group, members in self.groups.items()
            }
        )

    def _build_generated(self, d_task: int, dropout: float) -> None:
        d_hidden = self.d_hidden
        units = {group: self._units(group, members) for group, members in self.groups.items()}
        index = [[unit.target, unit.tensor, unit.rank] for members in units.values() for unit in members]
        self.register_buffer("units", torch.tensor(index), persistent=False)
        self.counts = [len(members) for members in units.values()]
        ranks = 1 + max(rank for _, _, rank in index)
        self.of_target = nn.Embedding(len(self.targets), d_hidden)
        self.of_tensor = nn.Embedding(len({name for name, _ in self.groups}), d_hidden)
        self.of_rank = nn.Embedding(ranks, d_hidden)
        self._build_trunk(d_task, dropout)
        self.heads = nn.ParameterDict()
        for group, members in units.items():
            size = _numel(group[1]) * len(self.groups[group]) // len(members)
            self.heads.setdefault(self._head_key(group), nn.Parameter(torch.zeros(d_hidden, size)))

    def _build_mixture(self, d_task: int, dropout: float, components: int) -> None:
        self._build_trunk(d_task, dropout)
        self.components = nn.ParameterDict(
            {
                _key((name, shape)): nn.Parameter(COMPONENT_STD * torch.randn(len(members), components, *shape))
                for (name, shape), members in self.groups.items()
            }
        )
        self.heads = nn.ParameterDict({"mixture": nn.Parameter(torch.zeros(self.d_hidden, components))})

    def _build_linear(self, d_task: int) -> None:
        self.enter: nn.Module = nn.LayerNorm(d_task, elementwise_affine=False)
        self.heads = nn.ParameterDict(
            {
                _key(group): nn.Parameter(torch.randn(d_task, len(members) * _numel(group[1])))
                for group, members in self.groups.items()
            }
        )
        self.gains = nn.ParameterDict({_key(group): nn.Parameter(torch.zeros(())) for group in self.groups})

    def _build_trunk(self, d_task: int, dropout: float) -> None:
        d_hidden = self.d_hidden
        self.enter = nn.Sequential(nn.LayerNorm(d_task), nn.Linear(d_task, d_hidden))
        self.trunk = nn.Sequential(
            nn.LayerNorm(d_hidden),
            nn.Linear(d_hidden, 2 * d_hidden),
            nn.GELU(),
            nn.Dropout(dropout),
            nn.Linear(2 * d_hidden, d_hidden),
        )
        self.leave = nn.LayerNorm(d_hidden, elementwise_affine=False)

    def _units(self, group: TensorGroup, members: Sequence[int]) -> list[_Unit]:
        name, shape = group
        tensor = sorted({name for name, _ in self.groups}).index(name)
        ranks = shape[0] if self.head == "per_rank" else 1
        return [_Unit(target, tensor, rank) for target in members for rank in range(ranks)]

    def _head_key(self, group: TensorGroup) -> str:
        name, shape = group
        sizes = {"large": (name, shape), "shared": ("all", shape), "per_rank": ("all", shape[1:])}
        return _key(sizes[self.head])

    def forward(self, z: Tensor) -> AdapterWeights:
        """Adapter weights of each task from its embedding `[task d_task]`."""
        if self.head == "none":
            return self.shared_weights(z.shape[0])
        made = {"mixture": self._mixed, "linear": self._linear}.get(self.head, self._generated)(z)
        tensors: dict[str, dict[str, Tensor]] = {target.path: {} for target in self.targets}
        for (group, members), whole in zip(self.groups.items(), made, strict=True):
            for index, tensor in zip(members, whole.unbind(1), strict=True):
                tensors[self.targets[index].path][group[0]] = tensor
        return AdapterWeights(self.adapter, self.backbone, tensors, self._readouts(z.shape[0]))

    def shared_weights(self, tasks: int) -> AdapterWeights:
        """The shared part alone, for each of so many tasks."""
        tensors: dict[str, dict[str, Tensor]] = {target.path: {} for target in self.targets}
        for group, members in self.groups.items():
            for index, tensor in zip(members, self.shared[_key(group)], strict=True):
                tensors[self.targets[index].path][group[0]] = tensor.expand(tasks, *tensor.shape)
        return AdapterWeights(self.adapter, self.backbone, tensors, self._readouts(tasks))

    def _generated(self, z: Tensor) -> Iterator[Tensor]:
        """Shared and generated part of each group's tensors, `[task target rank ...]`."""
        for group, units in zip(self.groups, torch.split(self._hidden(z), self.counts, dim=1), strict=True):
            head = self.heads[self._head_key(group)].expand(z.shape[0], -1, -1)
            shared = self.shared[_key(group)].reshape(1, units.shape[1], -1)
            made = torch.baddbmm(shared, units, head, alpha=1 / self.d_hidden)
            yield made.reshape(z.shape[0], -1, *group[1])

    def _hidden(self, z: Tensor) -> Tensor:
        """`[task unit d_hidden]`, what the output matrices take."""
        of_unit = self.of_target(self.units[:, 0]) + self.of_tensor(self.units[:, 1]) + self.of_rank(self.units[:, 2])
        entered = rearrange(self.enter(z), "task h -> task 1 h") + of_unit
        hidden: Tensor = self.leave(entered + self.trunk(entered))
        return hidden

    def _mixed(self, z: Tensor) -> Iterator[Tensor]:
        """Shared part and sum of the components of each group's tensors, `[task target rank ...]`."""
        numbers = self.mixture(z)
        for group, members in self.groups.items():
            shared = self.shared[_key(group)].reshape(len(members), 1, -1)
            components = self.components[_key(group)].flatten(2)
            made = torch.baddbmm(shared, numbers.expand(len(members), -1, -1), components)
            yield rearrange(made, "target task size -> task target size").reshape(z.shape[0], -1, *group[1])

    def _linear(self, z: Tensor) -> Iterator[Tensor]:
        """Shared part and linear map of each group's tensors, `[task target rank ...]`."""
        for group in self.groups:
            gain = PACE * self.gains[_key(group)]  # Adam moves it by its learning rate, which is small beside its use
            made = gain * (self.enter(z) @ self.heads[_key(group)]) / z.shape[1] ** 0.5
            yield self.shared[_key(group)] + made.reshape(z.shape[0], -1, *group[1])

    def mixture(self, z: Tensor) -> Tensor:
        """How much of each component goes into each task's weights, `[task component]`; zero before training."""
        entered = self.enter(z)
        return self.leave(entered + self.trunk(entered)) @ self.heads["mixture"] / self.d_hidden**0.5

    def _readouts(self, tasks: int) -> dict[str, Tensor]:
        return {name: value.expand(tasks) for name, value in self.readout.items()}


def _key(group: tuple[str, tuple[int, ...]]) -> str:
    return "_".join([group[0], *map(str, group[1])])


def _numel(shape: Sequence[int]) -> int:
    return int(torch.Size(shape).numel())
