"""Metrics over predicted and expected texts, each in [0, 1]; higher is better."""

import re
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

from rouge_score import rouge_scorer
from sklearn.metrics import f1_score

QUOTES = "\"'`()[]{}*_ "

Metric = Callable[[Sequence[str], Sequence[str]], float]


def accuracy(predicted: Sequence[str], expected: Sequence[str]) -> float:
    """Share of predictions equal to the expected label."""
    return _mean([float(p == e) for p, e in zip(predicted, expected, strict=True)])


def macro_f1(predicted: Sequence[str], expected: Sequence[str]) -> float:
    """Unweighted mean over labels of the F1 score (scikit-learn)."""
    _mean([0.0] * len(expected))
    return float(f1_score(list(expected), list(predicted), average="macro", zero_division=0))


def exact_match(predicted: Sequence[str], expected: Sequence[str]) -> float:
    """Share of predictions equal to the expected text after lower-casing and removing what only dresses the ends.

    That is quotes, brackets and emphasis around it and sentence punctuation after it; not signs and units (-5 is not 5)
    and not the whole of a text. White space is collapsed. Articles are kept: text-to-text tasks may be about them.
    """
    return _mean([float(_normal(p) == _normal(e)) for p, e in zip(predicted, expected, strict=True)])


def rouge_l(predicted: Sequence[str], expected: Sequence[str]) -> float:
    """Mean ROUGE-L F-measure with stemming. Lin 2004; the metric of Super-NaturalInstructions."""
    scorer = rouge_scorer.RougeScorer(["rougeL"], use_stemmer=True)
    pairs = zip(predicted, expected, strict=True)
    return _mean([scorer.score(e, p)["rougeL"].fmeasure for p, e in pairs])


def _normal(text: str) -> str:
    plain = re.sub(r"\s+", " ", text).strip().lower()
    return plain.lstrip(QUOTES).rstrip(QUOTES + ".,;:!?") or plain


def _mean(scores: Sequence[float]) -> float:
    if not scores:
        raise ValueError("a metric needs at least one prediction: the query set is empty.")
    return sum(scores) / len(scores)


METRICS: Mapping[str, Metric] = MappingProxyType(
    {"accuracy": accuracy, "macro_f1": macro_f1, "exact_match": exact_match, "rouge_l": rouge_l}
)
