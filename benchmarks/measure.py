"""What the benchmark commands share: repetitions that take turns, ratios with quartiles, targets, models and tasks."""

import argparse
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from torch import Tensor, nn
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast
from transformers.utils.logging import disable_progress_bar

from hyperpeft.adaptation import balanced
from hyperpeft.backbones import Backbone, CausalLm
from hyperpeft.corpora import Folder
from hyperpeft.tasks import Episode

Work = Callable[[], object]
EVERYDAY = Path(__file__).parents[1] / "tasks" / "everyday"
VOCABULARY = 2000
SLACK = 1.15


@dataclass(frozen=True)
class Target:
    """A ratio to keep. `goal`: what the project wants; worse than it by more than 15 % is a regression.

    `recorded`: what is reached where the goal is not, and what those 15 % are counted from.
    """

    name: str
    goal: float
    recorded: float | None = None
    at_least: bool = False

    @property
    def bound(self) -> float:
        """The worst value that is no regression."""
        best = self.goal if self.recorded is None else self.recorded
        return best / SLACK if self.at_least else best * SLACK

    def meets(self, value: float, limit: float) -> bool:
        return value >= limit if self.at_least else value <= limit


@dataclass(frozen=True)
class Spread:
    """Quartiles of a ratio over the repetitions."""

    low: float
    median: float
    high: float

    def __str__(self) -> str:
        return f"{self.median:.3g} ({self.low:.3g} - {self.high:.3g})"


def parser(doc: str | None, *, repeats: int) -> argparse.ArgumentParser:
    """The options that every command has."""
    made = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--repeats", type=int, default=repeats)
    made.add_argument("--threads", type=int, default=1)
    return made


def parsed(made: argparse.ArgumentParser, argv: Sequence[str] | None) -> argparse.Namespace:
    """The options, with torch on so many threads."""
    options = made.parse_args(argv)
    torch.set_num_threads(options.threads)
    return options


def interleaved(
    works: Mapping[str, Work], repeats: int, clock: Callable[[], float] = time.process_time
) -> dict[str, list[float]]:
    """Seconds of each repetition, after one to warm up; the works take turns, so that noise meets all alike.

    By default CPU seconds of this process on all its threads: time that other processes take from it does not count.
    """
    seconds: dict[str, list[float]] = {name: [] for name in works}
    for repeat in range(repeats + 1):
        for name, work in works.items():
            begun = clock()
            work()
            if repeat:
                seconds[name].append(clock() - begun)
    return seconds


def spread(values: Sequence[float], others: Sequence[float], *, factor: float = 1.0) -> Spread:
    """Quartiles of factor * values / others, repetition by repetition."""
    ratios = [factor * value / other for value, other in zip(values, others, strict=True)]
    return Spread(*np.quantile(ratios, [0.25, 0.5, 0.75]).tolist())


def show(title: str, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    table = Table(title=title, title_justify="left")
    for column in columns:
        table.add_column(column)
    for row in rows:
        table.add_row(*map(str, row))
    Console(width=120).print(table)


def verdict(found: Sequence[tuple[Target, float]]) -> int:
    """Print each target with the value found; 1 if any is worse than its bound."""
    rows = []
    for target, value in found:
        sign = ">=" if target.at_least else "<="
        state = "regression" if not target.meets(value, target.bound) else "within bound"
        if target.meets(value, target.goal):
            state = "met"
        rows.append((target.name, f"{value:.3g}", f"{sign} {target.goal:g}", f"{sign} {target.bound:.3g}", state))
    show("targets", ("ratio", "now", "goal", "regression bound", "state"), rows)
    return int(any(not target.meets(value, target.bound) for target, value in found))


def random_llama(folder: str | Path, *, hidden: int = 512, layers: int = 8, dtype: str = "float32") -> CausalLm:
    """A Llama-shaped model with random weights as a backbone; about 27M parameters unless smaller."""
    sizes = {"hidden_size": hidden, "intermediate_size": hidden * 43 // 16, "num_hidden_layers": layers}
    save_llama(folder, torch.float32, **sizes, num_attention_heads=8)
    return CausalLm(str(folder), dtype=dtype)


def save_llama(folder: str | Path, dtype: torch.dtype, **sizes: int) -> None:
    """Random weights of a Llama shape, made on the current default device, with a tokenizer."""
    disable_progress_bar()
    torch.manual_seed(0)
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        model = LlamaForCausalLM(LlamaConfig(vocab_size=VOCABULARY, **sizes))
    finally:
        torch.set_default_dtype(before)
    model.save_pretrained(folder)
    words = Tokenizer(WordLevel({"<pad>": 0, "<s>": 1}, unk_token="<pad>"))
    PreTrainedTokenizerFast(tokenizer_object=words, pad_token="<pad>").save_pretrained(folder)


def everyday(tasks: int, examples: int) -> list[Episode]:
    """The first tasks of tasks/everyday with labels that have so many examples, as support, evenly over the labels."""
    fitting = (task for task in Folder(str(EVERYDAY)).read() if task.labels and len(task.examples) >= examples)
    return [
        Episode(
            task=task.name,
            descriptions=task.descriptions[:1],
            support=tuple(balanced(task.examples)[:examples]),
            labels=tuple(task.labels),
            metric=task.metric,
        )
        for task in islice(fitting, tasks)
    ]


def frozen_step(backbone: Backbone[Any], batch: Any) -> Work:
    """Forward and backward of the backbone alone, down to its embeddings: the floor of any step that trains it."""
    embeddings = backbone.model.get_input_embeddings()

    def step() -> None:
        handle = embeddings.register_forward_hook(lambda module, inputs, output: output.requires_grad_(True))
        try:
            backbone.loss(batch).mean().backward()
        finally:
            handle.remove()

    return step


def saved_bytes(step: Work, *modules: nn.Module) -> int:
    """Bytes of distinct storages kept for backward, the parameters of the modules left out."""
    parameters = {parameter.untyped_storage().data_ptr() for module in modules for parameter in module.parameters()}
    kept: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in parameters:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        step()
    return sum(kept.values())
