"""What an export is: one task's adapter written where another program reads it."""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from hyperpeft.backbones import Backbone
from hyperpeft.backbones.pretrained import portable
from hyperpeft.tasks import Episode
from hyperpeft.weights import AdapterWeights


@dataclass(frozen=True)
class Exported:
    """What is exported: weights of one task, the backbone they are for, the episode and how they were made.

    temperature: what divides the logits of a calibrated classifier. Raises ValueError for weights of several tasks.
    """

    weights: AdapterWeights
    backbone: Backbone[Any]
    episode: Episode
    generator: str = ""
    finetune_steps: int = 0
    temperature: float = 1.0

    def __post_init__(self) -> None:
        if self.weights.tasks != 1:
            raise ValueError(
                f"an export holds one task's adapter; these weights hold {self.weights.tasks}. Choose one: weights[0]."
            )

    @property
    def base_model(self) -> str:
        """The backbone's hub id, or the name of its folder: never a path of this machine."""
        return portable(self.backbone.name)

    @property
    def from_hub(self) -> bool:
        """Whether the backbone's name is a hub id."""
        return not Path(self.backbone.name).exists()

    @property
    def revision(self) -> str | None:
        """The commit of the hub's repository that the backbone came from, where there is one."""
        commit: str | None = vars(self.backbone.model.config).get("_commit_hash")
        return commit

    @property
    def identity(self) -> str:
        """Base model and fingerprint of its weights."""
        return f"{self.base_model}#{self.weights.backbone.rsplit('#', 1)[-1]}"


def plain(tensor: Tensor) -> Tensor:
    """One task's tensor as it goes into a file: without the task axis, fp32, on the CPU, contiguous."""
    return tensor[0].detach().cpu().float().contiguous()


@dataclass(frozen=True)
class Format:
    """One format: who reads it, the adapter kinds that it carries, `write(exported, folder)`.

    usage: how to load it, in Markdown for the model card; `write` raises ValueError for settings that do not fit.
    """

    readers: str
    kinds: Collection[str]
    write: Callable[[Exported, Path], None]
    usage: Callable[[Exported], str]
