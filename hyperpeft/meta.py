"""Gradient steps on the support before the query, by learn2learn: the inner loop of MAML, Meta-SGD and Reptile."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from hyperpeft.adaptation import FinetuneSettings, support_batches
from hyperpeft.backbones import Backbone, Scores
from hyperpeft.l2l import learn2learn
from hyperpeft.tasks import Episode
from hyperpeft.weights import AdapterWeights


@dataclass(frozen=True)
class InnerSettings:
    """Steps before the query and their size; first order drops the derivative of the inner gradients."""

    steps: int = 3
    lr: float = 0.1
    first_order: bool = True

    def __post_init__(self) -> None:
        if self.steps < 1 or self.lr <= 0:
            raise ValueError(f"steps={self.steps}, lr={self.lr}: an inner loop takes 1 step or more of a size above 0.")


def inner_settings(about: Mapping[str, Any]) -> InnerSettings:
    """Those with which a start was meta-trained, from its `about`. Raises ValueError if it was trained otherwise."""
    objective = dict(about.get("run", {}).get("objective", {}))
    kind = objective.pop("kind", None)
    if set(objective) != set(InnerSettings.__dataclass_fields__):
        raise ValueError(
            f"this start was meta-trained by {kind!r}, which has no inner loop. Train one: Run.train('maml')."
        )
    return InnerSettings(**objective)


class Held(nn.Module):
    """Adapter weights as the module that learn2learn clones and updates. Called, it gives their present values.

    The tensors have the task axis, so that one clone adapts all tasks, each by its own gradient.
    """

    def __init__(self, weights: AdapterWeights):
        super().__init__()
        self.form = weights
        # in the graph of whatever made them, as in learn2learn's own clones: nn.Parameter would cut them off
        self._parameters.update(dict(weights.named()))  # type: ignore[arg-type]

    def forward(self) -> AdapterWeights:
        """The values as they are now."""
        values = iter(self.parameters())
        return self.form.map(lambda _: next(values))


Learner = Callable[[Held], Any]


def maml(settings: InnerSettings) -> Learner:
    """learn2learn's MAML. Finn et al. 2017, arXiv:1703.03400. Raises ImportError where learn2learn is missing."""
    algorithm = learn2learn().algorithms.MAML
    return lambda held: algorithm(held, lr=settings.lr, first_order=settings.first_order)


def meta_sgd(settings: InnerSettings, step_sizes: AdapterWeights) -> Learner:
    """learn2learn's MetaSGD with one step size for each number of an adapter (`step_sizes` holds one task).

    Li et al. 2017, arXiv:1707.09835. Raises ImportError where learn2learn is missing.
    """
    algorithm = learn2learn().algorithms.MetaSGD
    sizes = dict(step_sizes.named())
    return lambda held: algorithm(
        held, lrs=[sizes[name] for name, _ in held.form.named()], first_order=settings.first_order
    )


def after_support(
    backbone: Backbone[Any],
    start: AdapterWeights,
    episodes: Sequence[Episode],
    learner: Learner,
    steps: int,
    *,
    train: bool = False,
) -> AdapterWeights:
    """The start after so many steps on the support of each task, in the graph; tasks without support keep theirs.

    A step sees at most 64 support examples a task, drawn evenly over its labels. Never sees the query.
    """
    shown = [index for index, episode in enumerate(episodes) if episode.support]
    if not shown:
        return start
    batches = support_batches(backbone, [episodes[place] for place in shown], FinetuneSettings())
    with torch.inference_mode(False), torch.enable_grad():
        index = torch.tensor(shown, device=backbone.device)
        held = learner(Held(start.map(lambda leaf: _tracked(leaf)[index]))).clone()
        for _ in range(steps):
            step(backbone, held, next(batches), train=train)
        return start.zip(held(), lambda leaf, moved: leaf.index_copy(0, index, moved))


def step(backbone: Backbone[Any], held: Any, batch: Any, *, train: bool) -> Scores:
    """One step of a learn2learn learner around Held on the sum of the tasks' losses; returns the scores before it."""
    kernel = nullcontext() if held.first_order else sdpa_kernel(SDPBackend.MATH)
    weights = held()
    # MetaSGD asks for the gradient of every number: those that the backbone does not use get zero
    unused = sum(0.0 * leaf.sum() for _, leaf in weights.named())
    with kernel, backbone.adapted(weights, train=train):
        scores = backbone.score(batch)
        held.adapt(scores.loss.sum() + unused)
    return scores


def _tracked(leaf: Tensor) -> Tensor:
    return leaf if leaf.requires_grad else leaf.detach().clone().requires_grad_(True)
