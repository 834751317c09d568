"""What a backbone is: a frozen pretrained model that computes with adapter weights for the length of a `with`."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from hyperpeft.adapters import ADAPTERS, ALL, USUAL, AdapterKind, Choice, Sort, Target
from hyperpeft.adapters.copies import Copies
from hyperpeft.backbones.defaults import default_names, is_expert, refuse_experts
from hyperpeft.backbones.grouping import grouped
from hyperpeft.backbones.install import checkpointed, installed, regrouped, transformer_layers
from hyperpeft.backbones.places import NEEDS, PLACES
from hyperpeft.backbones.pretrained import fingerprint, portable
from hyperpeft.config import ConfigError, did_you_mean
from hyperpeft.tasks import Episode
from hyperpeft.weights import AdapterWeights

Batch = TypeVar("Batch")


@dataclass(frozen=True)
class Scores:
    """Mean loss and share of right answers of each task's scored rows, `[task]` each."""

    loss: Tensor
    accuracy: Tensor


class Backbone(ABC, Generic[Batch]):
    """A frozen model with its tokenizer. Not an nn.Module, so that no checkpoint, optimizer or DDP wrapper sees it.

    A batch holds `(task row)`: the same number of rows for every task, those of a task together.
    `classifies`: whether it can do nothing but choose among labels.
    `unused`: parts of the model that this backbone never computes, such as a pooler: nothing there is a target.
    `gradient_checkpointing`: for training, keep the inputs of the model's layers alone and compute the layers again in
    backward (Chen et al. 2016, arXiv:1604.06174): a third slower, much less memory where there are many layers.
    """

    classifies: bool = False
    unused: tuple[str, ...] = ()

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        name: str,
        gradient_checkpointing: bool = False,
    ):
        if gradient_checkpointing and not transformer_layers(model):
            kind = model.config.model_type
            raise ConfigError(
                f"backbone.gradient_checkpointing: transformers cannot compute the layers of {kind!r} models again. "
                "Set it to false."
            )
        self.model = model
        self.tokenizer = tokenizer
        self.name = name
        self.gradient_checkpointing = gradient_checkpointing
        self._readout: Mapping[str, Tensor] | None = None
        self._installed: AdapterWeights | None = None
        self._places: dict[str, list[Target]] = {}

    @cached_property
    def identity(self) -> str:
        """`name#fingerprint`: adapter weights and generators name the backbone that they are for."""
        return f"{portable(self.name)}#{fingerprint(self.model)}"

    @property
    def device(self) -> torch.device:
        """Where the frozen weights are."""
        return self.model.device

    def to(self, device: torch.device | str) -> None:
        """Move the frozen model."""
        self.model.to(device)

    def targets(self, adapter: AdapterKind) -> tuple[Target, ...]:
        """The places that the adapter acts on, sorted by path.

        Raises ConfigError if a name or a layer matches nothing or takes in the experts of a mixture, saying what
        exists, and if this family of models has no such places, saying which kinds it can carry.
        """
        chosen: list[Target] = []
        for choice in adapter.choices(self.model.config.model_type):
            found = self.linear_modules() if choice.sort == "linear" else self.places(choice.sort)
            if not found:
                raise ConfigError(self._cannot_carry(adapter.kind, choice.sort))
            chosen += self._named(_in_layers(found, adapter.target_layers), choice)
        return tuple(sorted(chosen))

    def _named(self, targets: list[Target], choice: Choice) -> list[Target]:
        """Targets whose path ends in one of the chosen names."""
        names = default_names(self.model) if choice.names == (USUAL,) else list(choice.names)
        known = {target.name for target in targets}
        if choice.sort == "linear":
            refuse_experts(self.model, names, known)
        if names == [ALL]:
            return targets
        for name in names:
            if not any(target.ends_in(name) for target in targets):
                raise ConfigError(f"adapter.targets: no linear module ends in {name!r}. {did_you_mean(name, known)}")
        return [target for target in targets if any(target.ends_in(name) for name in names)]

    def places(self, sort: Sort) -> list[Target]:
        """Every place of one sort that is computed, sorted by path; none if this family of models has none."""
        if sort not in self._places:
            found = PLACES[sort](self.model)
            self._places[sort] = [target for target in found if not target.path.startswith(self.unused)]
        return self._places[sort]

    def linear_modules(self) -> list[Target]:
        """Every linear-like module that is computed, except output embeddings and experts, sorted by path."""
        return [target for target in self.places("linear") if not is_expert(target.path)]

    def kinds(self) -> list[str]:
        """Names of the adapter kinds that this model can carry with their default settings, sorted."""
        return sorted(name for name, kind in ADAPTERS.items() if self._carries(kind()))

    def _carries(self, adapter: AdapterKind) -> bool:
        try:
            choices = adapter.choices(self.model.config.model_type)
            return all(self.places(choice.sort) for choice in choices) and bool(self.targets(adapter))
        except ConfigError:
            return False

    def _cannot_carry(self, kind: str, sort: str) -> str:
        return (
            f"adapters of kind {kind!r} cannot be used with a {self.model.config.model_type!r} model: {NEEDS[sort]} "
            f"It can carry the kinds {self.kinds()}."
        )

    @contextmanager
    def adapted(self, weights: AdapterWeights, *, train: bool = False) -> Iterator[None]:
        """Compute with the weights. Raises ValueError for weights of another backbone."""
        if weights.backbone != self.identity:
            raise ValueError(f"these adapter weights are for backbone {weights.backbone}, this is {self.identity}.")
        kind, tensors = weights.adapter.unfold(self.model, weights.tensors)
        weights = replace(weights, adapter=kind, tensors=tensors)
        again = checkpointed(self.model) if train and self.gradient_checkpointing else nullcontext()
        with installed(self.model, weights, train=train), again:
            self._readout, self._installed = weights.readout, weights
            try:
                yield
            finally:
                self._readout = self._installed = None

    def by_task(self, run: Callable[..., Tensor], tasks: Sequence[int], *rows: Tensor) -> Tensor:
        """`run(*rows)`, each row computed with the installed weights of its task, in whatever order and number.

        `tasks`: the index of each row's task. `run` maps tensors `[row ...]` to one such tensor, row by row.
        """
        weights = self._installed
        if weights is None or weights.tasks == 1:
            return run(*rows)
        groups = grouped(tasks, cost=weights.adapter.copy_cost)
        index = torch.tensor(groups.adapters)
        with regrouped(self.model, {path: Copies(named, index) for path, named in weights.tensors.items()}):
            return run(*(part[groups.order] for part in rows))[groups.place]

    def start(self, adapter: AdapterKind, *, tasks: int = 1, seed: int = 0) -> AdapterWeights:
        """Fresh weights that leave the backbone unchanged, the same for each task."""
        generator = torch.Generator().manual_seed(seed)
        tensors = {target.path: adapter.start(target, generator) for target in self.targets(adapter)}
        stacked = {
            path: {name: tensor.repeat(tasks, *([1] * tensor.ndim)) for name, tensor in named.items()}
            for path, named in tensors.items()
        }
        return AdapterWeights(adapter, self.identity, stacked, self.readout_start(tasks)).to(self.device)

    def readout_start(self, tasks: int) -> dict[str, Tensor]:
        """The read-out numbers before any learning, `[task]` each."""
        return {name: torch.full((tasks,), value) for name, value in self.readout_defaults().items()}

    @abstractmethod
    def readout_defaults(self) -> dict[str, float]:
        """Name and first value of each number with which features become scores; empty for language models."""

    @abstractmethod
    def settings(self) -> dict[str, Any]:
        """`{kind: name, **arguments}` to build an equal backbone."""

    @abstractmethod
    def check(self, episode: Episode) -> None:
        """Raise ValueError if the episode's task cannot be done with this backbone, saying what it needs."""

    @abstractmethod
    def support_batch(self, episodes: Sequence[Episode]) -> Batch:
        """Rows that score the support examples, without seeing the query: for fine-tuning."""

    @abstractmethod
    def query_batch(self, episodes: Sequence[Episode]) -> Batch:
        """Rows that score the query, given the support where the backbone uses it: for meta-training."""

    @abstractmethod
    def score(self, batch: Batch) -> Scores:
        """Loss and accuracy of the scored rows of each task, under the installed weights.

        Accuracy is exact for label sets; for free text it is the share of answers whose every token is the most
        probable one given the right tokens before it.
        """

    def loss(self, batch: Batch) -> Tensor:
        """Mean loss of the scored rows of each task, `[task]`, under the installed weights."""
        return self.score(batch).loss

    @abstractmethod
    def predict(self, episodes: Sequence[Episode]) -> list[list[str]]:
        """Output text for each query input of each episode. Query outputs are not looked at."""

    @abstractmethod
    def probabilities(self, episodes: Sequence[Episode]) -> list[Tensor]:
        """`[query label]` for each episode with a label set. Query outputs are not looked at."""


def _in_layers(targets: list[Target], layers: list[int] | None) -> list[Target]:
    depths = {target.depth for target in targets}
    for layer in layers or ():
        if layer not in depths:
            raise ConfigError(f"adapter.layers: there is no layer {layer}; this backbone has {sorted(depths)}.")
    return [target for target in targets if layers is None or target.depth in layers]
