"""What a tiny language model reads: inputs and outputs of tasks, alone or after demonstrations, never a description."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from random import Random

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerFast

from hyperpeft.corpora.procedural import JOINT
from hyperpeft.prompts import Prompt
from hyperpeft.tasks import Example, Task, TaskError

IGNORED = -100
Row = tuple[list[int], list[int]]
"""Token ids and, of the same length, targets."""


@dataclass
class SequenceSettings:
    """demonstrations: examples of the task before the one asked; one of these numbers a batch.

    tokens: of a batch, at most. template: as the backbone's. separator: ends a demonstration, as in the prompts of
    the in-context baseline. coded: share of the sequences without demonstrations that open with a token for each
    step of the task, so that what is asked is not ambiguous; these tokens are cut off the model in the end.
    """

    demonstrations: list[int] = field(default_factory=lambda: [0, 0, 4])
    tokens: int = 2000
    max_tokens: int = 256
    template: str = "{input}\n"
    separator: str = "\n\n"
    coded: float = 0.7


def steps_of(task: Task) -> list[str]:
    """The steps that a procedural task's name tells; for any other task its name."""
    return task.name.split(JOINT)


def codes_of(tasks: Iterable[Task], first: int) -> dict[str, int]:
    """A token id for each step of the tasks, from `first` on."""
    steps = sorted({step for task in tasks for step in steps_of(task)})
    return {step: first + index for index, step in enumerate(steps)}


class Sequences:
    """Batches of an endless run, each a function of its key alone.

    Targets are what follows the inputs: outputs of demonstrations with the separator, the last output with the end
    token. Tasks with a label set are left out. Raises TaskError if none is left, or one has no example.
    """

    def __init__(
        self,
        tasks: Iterable[Task],
        tokenizer: PreTrainedTokenizerFast,
        settings: SequenceSettings,
        codes: Mapping[str, int],
    ):
        self.tasks = sorted((task for task in tasks if not task.labels), key=lambda task: task.name)
        if not self.tasks or not all(task.examples for task in self.tasks):
            raise TaskError(f"{len(self.tasks)} text-to-text tasks to pretrain on: there must be some, with examples.")
        self.tokenizer = tokenizer
        self.settings = settings
        self.codes = codes
        self.prompt = Prompt(tokenizer, settings.template, chat=False)

    def batch(self, key: str) -> dict[str, Tensor]:
        """Right-padded `[row token]` ids, mask and targets, about `tokens` in all; the key seeds the draws."""
        random = Random(key)
        demonstrations = random.choice(self.settings.demonstrations)
        rows = [self._draw(random, demonstrations)]
        width = len(rows[0][0])
        while (len(rows) + 1) * width <= self.settings.tokens:
            rows.append(self._draw(random, demonstrations))
            width = max(width, len(rows[-1][0]))
        return {
            "ids": torch.tensor([_padded(ids, width, self.tokenizer.pad_token_id) for ids, _ in rows]),
            "mask": torch.tensor([_padded([1] * len(ids), width, 0) for ids, _ in rows]),
            "targets": torch.tensor([_padded(targets, width, IGNORED) for _, targets in rows]),
        }

    def _draw(self, random: Random, demonstrations: int) -> Row:
        """A random task's sequence, with fewer demonstrations where it has too few or they are too long."""
        task = random.choice(self.tasks)
        examples = random.sample(task.examples, min(demonstrations + 1, len(task.examples)))
        coded = demonstrations == 0 and random.random() < self.settings.coded
        code = [self.codes[step] for step in steps_of(task)] if coded else []
        ids, targets = self.row(examples, code)
        while len(examples) > 1 and len(ids) > self.settings.max_tokens:
            examples = examples[1:]
            ids, targets = self.row(examples, code)
        return ids[: self.settings.max_tokens], targets[: self.settings.max_tokens]

    def row(self, examples: Sequence[Example], code: Sequence[int] = ()) -> Row:
        """All but the last example as demonstrations, then the last."""
        ids, targets = [self.tokenizer.bos_token_id, *code], [IGNORED] * (1 + len(code))
        for example in examples:
            before = self.tokenizer(self.prompt.before(example.input), add_special_tokens=False)["input_ids"]
            shown = self.prompt.answer_ids(example.output + self.settings.separator)[:-1]
            after = self.prompt.answer_ids(example.output) if example is examples[-1] else shown
            ids, targets = [*ids, *before, *after], [*targets, *[IGNORED] * len(before), *after]
        return ids, targets


def _padded(values: Sequence[int], width: int, value: int) -> list[int]:
    return [*values, *[value] * (width - len(values))]
