"""Known adapters of the meta-train tasks as targets, before the query loss takes over."""

import json
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional

from hyperpeft.backbones import Scores
from hyperpeft.config import ConfigError
from hyperpeft.generator import Generator
from hyperpeft.objectives.base import Objective, query_scores
from hyperpeft.tasks import Episode, TaskError
from hyperpeft.weights import READOUT, AdapterWeights, load_weights, save_weights

WEIGHTS, NAMES = "adapters.safetensors", "tasks.json"


class Reconstruction(Objective):
    """For `steps` meta-batches the distance to the task's known adapter, then the query loss.

    With d_j the squared distance to known adapter j over the variance of the known ones (1 on average for their mean),
    the loss is d_own - log softmax(-sharpness d)_own: to be near one's own, and nearer than to those of other tasks,
    which learns much faster than the first term alone. The backbone is not computed, and the accuracy is the share of
    tasks whose own adapter is the nearest. Reconstruction: Text-to-LoRA, Charakorn et al. 2025, arXiv:2506.06105; the
    second term as in InfoNCE: van den Oord et al. 2018, arXiv:1807.03748.
    `adapters`: a folder that `save_adapters` wrote, for the generator's backbone and kind, with one for every task that
    is drawn. What the generator makes before its refinement is compared; read-out numbers are not. Raises ConfigError
    where the folder does not fit, TaskError for a task that has none.
    """

    taken: Tensor

    def __init__(self, generator: Generator, adapters: str, steps: int = 1000, sharpness: float = 5.0):
        super().__init__()
        self.steps = steps
        self.sharpness = sharpness
        names, known = load_adapters(Path(adapters))
        _check(known, generator, adapters)
        self.places = {name: place for place, name in enumerate(names)}
        self.known = {n: leaf.float() for n, leaf in known.named() if not n.startswith(f"{READOUT}:")}
        self.scale = sum(float(leaf.var(0, correction=0).sum()) for leaf in self.known.values())
        if not self.scale:
            raise ConfigError(f"the adapters in {adapters} are all the same: there is nothing to reconstruct.")
        self.register_buffer("taken", torch.tensor(0))

    def forward(self, generator: Generator, episodes: Sequence[Episode]) -> Scores:
        """Loss of each task; accuracy by the nearest adapter, then on the query."""
        known = int(self.taken) < self.steps
        self.taken += 1
        return self._distance(generator, episodes) if known else query_scores(generator, episodes, generator(episodes))

    def _distance(self, generator: Generator, episodes: Sequence[Episode]) -> Scores:
        missing = sorted({episode.task for episode in episodes} - self.places.keys())
        if missing:
            raise TaskError(f"objective reconstruction: there is no known adapter for the task(s) {missing[:5]}.")
        device = self.taken.device
        own = torch.tensor([self.places[episode.task] for episode in episodes], device=device)
        made = dict(generator.hypernetwork(generator.encoder(episodes)).named())
        parts = [_squares(made[name].flatten(1), leaf.flatten(1).to(device)) for name, leaf in self.known.items()]
        distances = torch.stack(parts).sum(0) / self.scale
        contrast = functional.cross_entropy(-self.sharpness * distances, own, reduction="none")
        near = distances[torch.arange(len(own), device=device), own]
        return Scores(near + contrast, distances.argmin(1) == own)

    def weights(self, generator: Generator, episodes: Sequence[Episode]) -> AdapterWeights:
        """As generated."""
        return generator(episodes)


def save_adapters(names: Sequence[str], weights: AdapterWeights, folder: Path) -> None:
    """Write the adapters of tasks by name, in order."""
    save_weights(weights, folder / WEIGHTS)
    (folder / NAMES).write_text(json.dumps(list(names), indent=0), encoding="utf-8")


def load_adapters(folder: Path) -> tuple[list[str], AdapterWeights]:
    """What `save_adapters` wrote. Raises ConfigError if it is not there."""
    missing = [name for name in (WEIGHTS, NAMES) if not (folder / name).is_file()]
    if missing:
        raise ConfigError(f"objective.adapters: {folder} has no {' and no '.join(missing)}.")
    return json.loads((folder / NAMES).read_text(encoding="utf-8")), load_weights(folder / WEIGHTS)


def _check(known: AdapterWeights, generator: Generator, place: str) -> None:
    adapter, backbone = generator.hypernetwork.adapter, generator.backbone.identity
    if known.adapter != adapter or known.backbone.rsplit("#")[-1] != backbone.rsplit("#")[-1]:
        raise ConfigError(
            f"objective.adapters: those in {place} are {known.adapter} for {known.backbone}; the generator makes "
            f"{adapter} for {backbone}."
        )


def _squares(made: Tensor, known: Tensor) -> Tensor:
    """Squared distances `[task known]`, differentiable at zero too."""
    return made.square().sum(1, keepdim=True) - 2 * made @ known.T + known.square().sum(1)
