"""Draws of episodes from tasks: every draw is a function of a seed and an index alone."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from random import Random

from hyperpeft.recoding import recode
from hyperpeft.tasks import Episode, Example, Task, TaskError

FEWEST_CHOICES, LONGEST_CHOICE = 4, 40


@dataclass
class EpisodeSettings:
    """How meta-training episodes are drawn.

    tasks: tasks a meta-batch. rows: texts a task at most (labels, support and query together). words: the query grows
    until a task's texts have so many words, so that tasks of short and of long texts cost alike. shots: support
    examples per label (per task for text-to-text), one of them drawn a meta-batch. no_description: share of episodes
    without description (only where there is support). paraphrases: at most so many descriptions are shown at once.
    label_descriptions: share of episodes whose labels come with their descriptions. max_labels: label sets larger
    than this are cut to a random part. codes: share of episodes whose labels are renamed to codes that the
    descriptions (then followed by a key) or the examples explain. siblings: share of episodes at odd places that take
    another task of the same family as the episode before. choices: share of episodes that ask a task of free text as a
    choice among some of its outputs, so that a backbone that classifies learns from it too; such tasks are then drawn
    in no other way.
    """

    tasks: int = 8
    rows: int = 48
    words: int = 300
    shots: list[int] = field(default_factory=lambda: [0, 1, 2, 4, 8, 16])
    no_description: float = 0.15
    paraphrases: int = 2
    label_descriptions: float = 0.2
    max_labels: int = 8
    codes: float = 0.1
    siblings: float = 0.25
    choices: float = 0.0


def draw_episode(task: Task, *, shots: int, queries: int, seed: int, paraphrase: int | None = None) -> Episode:
    """A fixed evaluation episode: `shots` support examples per label (per task without labels), then the query.

    All methods that ask with the same arguments see the same draw. All descriptions are given, or the one chosen.
    Raises TaskError if the task has too few examples.
    """
    random = Random(f"{seed}/{task.name}/{shots}")
    support, rest = _support_and_rest(task, shots, random)
    if not rest or (task.labels and any(n < shots for n in _counts(support, task).values())):
        held = _counts(task.examples, task) if task.labels else len(task.examples)
        raise TaskError(f"task {task.name!r} has too few examples for {shots} shots and a query: it has {held}.")
    descriptions = task.descriptions if paraphrase is None else (task.descriptions[paraphrase],)
    return Episode(
        task=task.name,
        descriptions=descriptions,
        support=tuple(support),
        query=tuple(rest[:queries]),
        labels=tuple(task.labels),
        metric=task.metric,
    )


def _support_and_rest(task: Task, shots: int, random: Random) -> tuple[list[Example], list[Example]]:
    """`shots` examples of each label (or of the task), and those of other inputs; both in random order."""
    shuffled = random.sample(task.examples, len(task.examples))
    taken: Counter[str] = Counter()
    support, rest = [], []
    for example in shuffled:
        group = example.output if task.labels else ""
        if taken[group] < shots:
            taken[group] += 1
            support.append(example)
        else:
            rest.append(example)
    shown = {example.input for example in support}
    return support, [example for example in rest if example.input not in shown]


def _counts(examples: Sequence[Example], task: Task) -> dict[str, int]:
    counts = Counter(example.output for example in examples)
    return {label: counts[label] for label in task.labels}


class EpisodeSource:
    """Episode number n of an endless meta-training run, a function of (seed, n) alone.

    Families are drawn by their weights, then a task of the family. Episodes n with equal n // settings.tasks form a
    meta-batch and share their number of shots, which is less only where labels or examples are too many or too few for
    it. Raises TaskError if there is nothing to draw from.
    """

    def __init__(self, tasks: Sequence[Task], settings: EpisodeSettings, seed: int):
        _check(tasks, settings)
        self.settings = settings
        self.seed = seed
        self.families = _Families([task for task in tasks if task.labels or not settings.choices])
        self.choosable = _Families([task for task in tasks if settings.choices and can_choose(task)])
        if not self.families.members:
            raise TaskError(
                "episodes.choices turns tasks of free text into choices, but no task has labels of its own."
            )

    def __getitem__(self, index: int) -> Episode:
        shots = Random(f"{self.seed}/{index // self.settings.tasks}/shots").choice(self.settings.shots)
        return _Draw(self._task(index), shots, self.settings, Random(f"{self.seed}/{index}")).episode()

    def _task(self, index: int) -> Task:
        random = Random(f"{self.seed}/{index}/task")
        if random.random() < self.settings.siblings and index % 2 == 1:
            before = self._task(index - 1)
            families = self.families if before.labels or not self.choosable.members else self.choosable
            return families.sibling(before, random)
        if self.choosable.members and random.random() < self.settings.choices:
            return self.choosable.draw(random)
        return self.families.draw(random)

    def batches(self, count: int) -> Iterator[list[Episode]]:
        """The first `count` meta-batches."""
        size = self.settings.tasks
        return ([self[number * size + slot] for slot in range(size)] for number in range(count))


class _Families:
    """Tasks by family, in order of their names; a task without a family is one of its own."""

    def __init__(self, tasks: Sequence[Task]):
        self.members: dict[str, list[Task]] = {}
        for task in sorted(tasks, key=lambda task: (task.family or task.name, task.name)):
            self.members.setdefault(task.family or task.name, []).append(task)
        self._families = list(self.members.values())
        self._weights = [max(task.weight for task in family) for family in self._families]
        self._alike = len(set(self._weights)) < 2

    def draw(self, random: Random) -> Task:
        """A task of a family, families by their weights."""
        if self._alike:
            return random.choice(random.choice(self._families))
        (family,) = random.choices(self._families, self._weights)
        return random.choice(family)

    def sibling(self, task: Task, random: Random) -> Task:
        """Another task of the same family; the task itself where it has none."""
        family = self.members[task.family or task.name]
        return random.choice([other for other in family if other is not task] or family)


def can_choose(task: Task) -> bool:
    """Whether a task is one of free text that can be asked as a choice: it has four different short outputs."""
    return not task.labels and len(_short_outputs(task)) >= FEWEST_CHOICES


def _short_outputs(task: Task) -> list[str]:
    return sorted({example.output for example in task.examples if len(example.output) <= LONGEST_CHOICE})


def _as_choice(task: Task, most: int, random: Random) -> Task:
    """The task with a few of its outputs as label set, and with the examples that have them."""
    outputs = _short_outputs(task)
    kept = random.sample(outputs, random.randint(FEWEST_CHOICES, max(FEWEST_CHOICES, min(most, len(outputs)))))
    examples = tuple(example for example in task.examples if example.output in kept)
    return replace(task, labels=dict.fromkeys(kept, ""), examples=examples, metric="accuracy")


def _check(tasks: Sequence[Task], settings: EpisodeSettings) -> None:
    if settings.tasks < 1 or settings.max_labels < 2 or not settings.shots:
        raise TaskError("episodes: tasks must be at least 1, max_labels at least 2, and shots at least one number.")
    if not tasks:
        raise TaskError("there are no meta-train tasks to draw episodes from.")
    bare = sorted(task.name for task in tasks if not task.examples)
    if bare:
        raise TaskError(f"tasks without examples cannot be trained on: {bare}. Mark them 'excluded' in the splits.")


class _Draw:
    """One training episode: which labels, which examples, what is told."""

    def __init__(self, task: Task, shots: int, settings: EpisodeSettings, random: Random):
        if settings.choices and not task.labels:
            task = _as_choice(task, settings.max_labels, random)
            shots = min(shots, min(_counts(task.examples, task).values()) - 1)  # an output may have but one example
        self.task = _fewer_labels(task, settings.max_labels, random)
        self.shots = shots
        self.settings = settings
        self.random = random

    def episode(self) -> Episode:
        labels = len(self.task.labels)
        room = min(max(0, self.settings.rows - labels), len(self.task.examples)) // 2
        support, rest = _support_and_rest(self.task, min(self.shots, room // max(1, labels)), self.random)
        query = self._query(rest, support)
        chance = self.random.random
        described = not support or chance() >= self.settings.no_description
        explained = chance() < self.settings.label_descriptions
        episode = Episode(
            task=self.task.name,
            descriptions=self._descriptions() if described else (),
            support=tuple(support),
            query=tuple(query),
            labels=tuple(self.task.labels),
            label_descriptions=tuple(self.task.labels.values()) if explained else (),
            metric=self.task.metric,
        )
        told = episode.descriptions or episode.support
        return recode(episode, self.random) if labels and told and chance() < self.settings.codes else episode

    def _query(self, rest: Sequence[Example], support: Sequence[Example]) -> list[Example]:
        """At least 4 of the rest, more while rows and words are left."""
        words = self.settings.words - sum(_words(example.input) for example in support)
        most = self.settings.rows - len(self.task.labels) - len(support)
        query: list[Example] = []
        for example in rest:
            words -= _words(example.input)
            if len(query) >= 4 and (words < 0 or len(query) >= most):
                break
            query.append(example)
        return query

    def _descriptions(self) -> tuple[str, ...]:
        most = min(max(1, self.settings.paraphrases), len(self.task.descriptions))
        return tuple(self.random.sample(self.task.descriptions, self.random.randint(min(1, most), most)))


def _words(text: str) -> int:
    return len(text.split()) + 3


def _fewer_labels(task: Task, most: int, random: Random) -> Task:
    if len(task.labels) <= most:
        return task
    shown = sorted({example.output for example in task.examples})
    kept = set(random.sample(shown, min(len(shown), random.randint(2, most))))
    return replace(
        task,
        labels={label: text for label, text in task.labels.items() if label in kept},
        examples=tuple(example for example in task.examples if example.output in kept),
    )
