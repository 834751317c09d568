"""What a caller tells of a task, checked, as an episode."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from hyperpeft.backbones import Backbone
from hyperpeft.config import did_you_mean
from hyperpeft.tasks import Episode, Example, TaskError, as_examples

TASK_KEYS = ("description", "examples", "labels")


def asked_episode(task: Mapping[str, Any], where: str, backbone: Backbone[Any]) -> Episode:
    """The episode of a mapping with `description`, `examples` and `labels`; `where` begins its errors.

    Raises TaskError or ValueError saying what is wrong or missing.
    """
    for key in task:
        if key not in TASK_KEYS:
            raise TaskError(f"{where} has no {key!r}. {did_you_mean(key, TASK_KEYS)}")
    descriptions = _descriptions(task.get("description"), where)
    examples = task.get("examples")
    support = as_examples(examples, where=f"{where}: examples") if examples is not None else ()
    if not descriptions and not support:
        raise TaskError(
            f"{where}: neither a description nor examples: nothing tells what the task is. Give one or both."
        )
    labels, explained = _labels(task.get("labels"), where)
    if task.get("labels") is None and backbone.classifies:
        labels = tuple(dict.fromkeys(example.output for example in support))
    check_labels(support, labels)
    metric = "accuracy" if labels else "exact_match"
    episode = Episode(where, descriptions, support, (), labels, explained, metric)
    backbone.check(episode)
    return episode


def _descriptions(value: object, where: str) -> tuple[str, ...]:
    texts = [value] if isinstance(value, str) else [] if value is None else value
    if not isinstance(texts, Sequence) or not all(isinstance(text, str) for text in texts):
        raise TaskError(f"{where}: the description is {value!r}: give a text or a list of texts.")
    return tuple(text.strip() for text in texts if text.strip())


def _labels(value: Any, where: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Labels and, where there are any, their descriptions."""
    listed = isinstance(value, Iterable) and not isinstance(value, str)
    labels = list(value) if listed else []
    if not (listed or value is None) or not all(isinstance(label, str) for label in labels):
        raise TaskError(f"{where}: labels is {value!r}: give a list of texts, or a mapping of texts to descriptions.")
    if not all(label.strip() for label in labels):
        raise TaskError(f"{where}: a label is empty.")
    twice = [label for label in labels if labels.count(label) > 1]
    if twice:
        raise TaskError(f"{where}: the label {twice[0]!r} is given twice.")
    described = isinstance(value, Mapping) and any(value.values())
    return tuple(labels), tuple(text or "" for text in value.values()) if described else ()


def check_labels(examples: Sequence[Example], labels: Iterable[str]) -> None:
    """Raise TaskError for an example whose output is none of the labels (if there are any)."""
    known = set(labels)
    for example in examples:
        if known and example.output not in known:
            raise TaskError(
                f"the output {example.output!r} (of input {example.input[:60]!r}) is not among the labels. "
                f"{did_you_mean(example.output, known)}"
            )
