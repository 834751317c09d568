"""How far to trust what a generator makes of a task."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

from hyperpeft.generator import Generator
from hyperpeft.metrics import METRICS
from hyperpeft.selection import divisible, folds
from hyperpeft.tasks import Episode, Example

MOST_PARTS = 16
AGREEMENT = 0.8


@dataclass(frozen=True)
class Confidence:
    """What speaks for and against a generated adapter; None where it is not known, and `reason` says why.

    distance: mean cosine distance of the description to the nearest meta-train tasks; low above the generator's
    `calibration.far`, which one meta-validation task in twenty exceeds: such tasks are farther than those it was
    checked on. leave_one_out: share of examples answered right by adapters generated without them (in 16 parts where
    there are more examples), before any fine-tune; low below the share of the commonest answer, or where none is
    right. agreement: share of pairs of paraphrases whose adapters answer an input alike; low below 0.8. The last
    two thresholds are heuristics.
    """

    distance: float | None
    leave_one_out: float | None
    agreement: float | None
    low: bool
    reason: str


def assess(generator: Generator, episode: Episode, inputs: Sequence[str] = ()) -> Confidence:
    """Confidence in what the generator makes of the episode; agreement on the inputs, else on the support.

    An example of the support is asked of adapters that were generated without it. Costs a generation and a forward
    pass for each example left out and each paraphrase. Deterministic; never sees the query. Raises TypeError for inputs
    that are one text.
    """
    if isinstance(inputs, str):
        raise TypeError(f"inputs must be a list of texts, got {inputs!r}. For one text pass [text].")
    asked = episode.with_query([Example(text, "") for text in inputs])
    parts = folds(episode, seed=0, count=min(MOST_PARTS, len(episode.support))) if divisible(episode) else []
    with generator.text_encoder.together():
        right = _leave_one_out(generator, parts)
        agreement = _agreement(generator, [asked] if inputs else parts)
        distance = nearest(generator, episode)
    far = generator.calibration.far if generator.calibration else None
    return judged(distance, far, right, agreement, episode)


def nearest(generator: Generator, episode: Episode) -> float | None:
    """Distance of the episode's description to the meta-train tasks, where there are both."""
    known = generator.trained_tasks
    return None if known is None else known.distance(episode.descriptions, generator.text_encoder)


def judged(
    distance: float | None, far: float | None, right: float | None, agreement: float | None, episode: Episode
) -> Confidence:
    """By the thresholds that Confidence names; `far` None: any distance will do."""
    floor = _commonest(episode)
    against = []
    if distance is not None and far is not None and distance > far:
        against.append(f"the description is far from every meta-train task (distance {distance:.2f}, limit {far:.2f})")
    if right is not None and (right < floor or right == 0):
        against.append(f"left out, {right:.0%} of the examples are answered right (the commonest answer: {floor:.0%})")
    if agreement is not None and agreement < AGREEMENT:
        against.append(f"the paraphrases' adapters agree on {agreement:.0%} of the inputs only")
    unknown = [
        why
        for value, why in (
            (distance, "distance (no description, or a generator without its meta-train tasks)"),
            (right, "leave-one-out (too few examples, or no generator at hand)"),
            (agreement, "agreement (one description, too few examples, or no generator at hand)"),
        )
        if value is None
    ]
    reason = "; ".join(against) or "nothing speaks against it"
    note = f". Not known: {', '.join(unknown)}" if unknown else ""
    return Confidence(distance, right, agreement, bool(against), reason + note)


def _commonest(episode: Episode) -> float:
    """Share of the commonest label among the examples; 0 for text, where answers need not repeat."""
    counts = Counter(example.output for example in episode.support)
    return max(counts.values(), default=0) / max(1, counts.total()) if episode.labels else 0.0


def _leave_one_out(generator: Generator, parts: Sequence[Episode]) -> float | None:
    if not parts:
        return None
    answers = [text for texts in _answers(generator, parts) for text in texts]
    metric = METRICS["accuracy" if parts[0].labels else "exact_match"]
    return metric(answers, [example.output for part in parts for example in part.query])


def _agreement(generator: Generator, parts: Sequence[Episode]) -> float | None:
    descriptions = sorted(set(parts[0].descriptions)) if parts else []
    if len(descriptions) < 2:
        return None
    answers = [_answers(generator, [part.with_descriptions([text]) for part in parts]) for text in descriptions]
    flat = [[text for texts in found for text in texts] for found in answers]
    equal = [one == two for first, second in combinations(flat, 2) for one, two in zip(first, second, strict=True)]
    return sum(equal) / len(equal)


def _answers(generator: Generator, episodes: Sequence[Episode]) -> list[list[str]]:
    """To the query of each episode, by an adapter generated for it without the query."""
    backbone = generator.backbone
    with backbone.adapted(generator.generate([episode.with_query(()) for episode in episodes])):
        return backbone.predict(episodes)
