"""Meta-training: the LightningModule and the LightningDataModule."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal

import lightning
import torch
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from hyperpeft.episodes import EpisodeSettings, EpisodeSource, draw_episode
from hyperpeft.fitting import OptimSettings, adamw
from hyperpeft.generator import Generator
from hyperpeft.objectives import Objective
from hyperpeft.tasks import Episode, Task, TaskError

MODES = MappingProxyType({"accuracy": "max", "loss": "min"})


@dataclass
class ValidationSettings:
    """Which fixed episodes of the meta-validation tasks choose the best checkpoint, and by what.

    `monitor`: the most accurate one, or that of the lowest loss, which tells more where many tasks stand at chance.
    `patience`: training ends after so many validations without a better one; 0: never.
    """

    monitor: Literal["accuracy", "loss"] = "accuracy"
    every: int = 100
    shots: list[int] = field(default_factory=lambda: [0, 4])
    queries: int = 24
    patience: int = 0


class MetaTraining(lightning.LightningModule):
    """Steps, optimizer and logging for a generator; the frozen backbone is no submodule and in no checkpoint."""

    def __init__(self, generator: Generator, objective: Objective, optim: OptimSettings, seed: int, steps: int):
        super().__init__()
        self.generator = generator
        self.objective = objective
        self.optim = optim
        self.seed = seed
        self.steps = steps

    def on_fit_start(self) -> None:
        """The backbone follows the generator to its device."""
        self.generator.backbone.to(self.device)

    def on_train_epoch_start(self) -> None:
        """Randomness (dropout) depends on seed, step and rank alone, so that a resumed run equals a whole one.

        Not on the epoch: Lightning 2.6 counts it twice after a restart from the end of one.
        """
        torch.manual_seed(self.seed * 1_000_003 + self.global_step * 1009 + self.global_rank)

    def training_step(self, episodes: list[Episode], index: int) -> Tensor:
        """Mean loss over the tasks of a meta-batch."""
        scores = self.objective(self.generator, episodes)
        loss = self._logged("train", scores.loss, scores.accuracy, len(episodes))
        return loss if self.trainer.world_size == 1 else loss + self._nothing()

    def _nothing(self) -> Tensor:
        """Zero, with a gradient for every parameter: processes wait for those that a batch left unused."""
        unused = [0.0 * value.sum() for value in self.parameters() if value.requires_grad]
        return torch.stack(unused).sum()

    def validation_step(self, episodes: list[Episode], index: int) -> Tensor:
        """The query loss on fixed episodes of meta-validation tasks."""
        scores = self.objective.validate(self.generator, episodes)
        return self._logged("val", scores.loss, scores.accuracy, len(episodes))

    def _logged(self, part: str, loss: Tensor, accuracy: Tensor, tasks: int) -> Tensor:
        training = part == "train"
        values = {f"{part}/loss": loss.mean(), f"{part}/accuracy": accuracy.float().mean()}
        self.log_dict(values, prog_bar=True, batch_size=tasks, sync_dist=True, on_step=training, on_epoch=not training)
        return loss.mean()

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """Weight decay on matrices, but for those that all tasks share."""
        named = [(name, value) for name, value in self.named_parameters() if value.requires_grad]
        decayed = [value for name, value in named if _is_decayed(name, value)]
        others = [value for name, value in named if not _is_decayed(name, value)]
        return adamw(decayed, others, self.optim, self.steps)


def _is_decayed(name: str, value: Tensor) -> bool:
    return value.ndim >= 2 and "shared" not in name


class EpisodeData(lightning.LightningDataModule):
    """Meta-batches of the meta-train tasks; fixed episodes of the meta-validation tasks.

    Batches are lists of episodes, text only. Under several processes each takes every n-th episode of the global
    meta-batch. An epoch is `validation.every` steps.
    """

    def __init__(
        self,
        train: Sequence[Task],
        validation: Sequence[Task],
        episodes: EpisodeSettings,
        validation_settings: ValidationSettings,
        *,
        seed: int,
        workers: int = 0,
    ):
        super().__init__()
        self.source = EpisodeSource(train, episodes, seed)
        self.episodes = episodes
        self.settings = validation_settings
        self.workers = workers
        self.fixed = fixed_episodes(validation, validation_settings, episodes.tasks)

    def transfer_batch_to_device(
        self, batch: list[Episode], device: torch.device, dataloader_idx: int
    ) -> list[Episode]:
        """Batches are text: nothing to move."""
        return batch

    def train_dataloader(self) -> DataLoader[Episode]:
        """This process's share of the meta-batches of one epoch."""
        trainer = self.trainer
        rank, world = (trainer.global_rank, trainer.world_size) if trainer else (0, 1)
        if self.episodes.tasks % world:
            raise ValueError(f"episodes.tasks={self.episodes.tasks} does not divide over {world} processes.")
        a_step = self.episodes.tasks * (trainer.accumulate_grad_batches if trainer else 1)
        first = (lambda: trainer.global_step * a_step) if trainer else (lambda: 0)
        sampler = _Share(self.settings.every * a_step, first, rank, world)
        return DataLoader(
            _Episodes(self.source),
            batch_size=self.episodes.tasks // world,
            sampler=sampler,
            collate_fn=list,
            num_workers=self.workers,
            persistent_workers=self.workers > 0,
        )

    def val_dataloader(self) -> DataLoader[list[Episode]]:
        """The fixed episodes, in meta-batches of equal shots."""
        return DataLoader(_Fixed(self.fixed), batch_size=None, num_workers=0)


class _Episodes(Dataset[Episode]):
    def __init__(self, source: EpisodeSource):
        self.source = source

    def __getitem__(self, index: int) -> Episode:
        return self.source[index]


class _Fixed(Dataset[list[Episode]]):
    def __init__(self, batches: Sequence[list[Episode]]):
        self.batches = batches

    def __getitem__(self, index: int) -> list[Episode]:
        return self.batches[index]

    def __len__(self) -> int:
        return len(self.batches)


class _Share(Sampler[int]):
    """Indices of one epoch for one process: rank, rank + world, ... of the consecutive episodes from `first()` on."""

    def __init__(self, episodes: int, first: Callable[[], int], rank: int, world: int):
        self.episodes = episodes
        self.first = first
        self.rank = rank
        self.world = world

    def __iter__(self) -> Iterator[int]:
        start = self.first()
        return iter(range(start + self.rank, start + self.episodes, self.world))

    def __len__(self) -> int:
        return self.episodes // self.world


def fixed_episodes(tasks: Sequence[Task], settings: ValidationSettings, size: int) -> list[list[Episode]]:
    """Validation episodes in meta-batches of tasks with nearly as many labels each; tasks too small are left out."""
    batches = []
    for shots in settings.shots:
        drawn = []
        for task in sorted(tasks, key=lambda task: (len(task.labels), task.name)):
            try:
                drawn.append(draw_episode(task, shots=shots, queries=settings.queries, seed=0))
            except TaskError:
                continue
        batches += [drawn[start : start + size] for start in range(0, len(drawn), size)]
    if not batches:
        raise TaskError(f"no meta-validation task has enough examples for {settings.shots} shots and a query.")
    return batches
