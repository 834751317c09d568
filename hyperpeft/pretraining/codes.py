"""What a backbone was told in pretraining about each task, as adapters that are known before any generator is."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from hyperpeft.adapters import Prompt
from hyperpeft.backbones import CausalLm
from hyperpeft.objectives import save_adapters
from hyperpeft.pretraining.sequences import steps_of
from hyperpeft.tasks import Task


def code_prompts(embeddings: Tensor, begin: int, codes: Mapping[str, int], tasks: Sequence[Task]) -> Tensor:
    """`[task token d]`: the embeddings of the begin token and of the codes of a task's steps, all at the right end.

    `embeddings`: `[token d]`, those of the codes included. Begin tokens fill up tasks of fewer steps.
    """
    steps = [[codes[step] for step in steps_of(task)] for task in tasks]
    most = 1 + max(map(len, steps))
    return embeddings[torch.tensor([[begin] * (most - len(ids)) + ids for ids in steps])]


def save_code_prompts(prompts: Tensor, tasks: Sequence[Task], backbone: Path, folder: Path) -> None:
    """Write them as soft prompts of the finished backbone, in the dtype fp32: what objective `reconstruction` reads."""
    loaded = CausalLm(str(backbone))
    kind = Prompt(tokens=prompts.shape[1], gated=False)
    start = loaded.start(kind, tasks=len(tasks))
    save_adapters([task.name for task in tasks], start.map(lambda _: prompts), folder)
