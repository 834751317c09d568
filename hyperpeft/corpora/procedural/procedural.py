"""Generated text-to-text tasks over words, lists and numbers: primitives and their compositions."""

from collections.abc import Iterator
from functools import cached_property
from itertools import islice
from random import Random

from hyperpeft.config import did_you_mean
from hyperpeft.corpora.base import Corpus
from hyperpeft.corpora.procedural.composition import Composition, parse
from hyperpeft.corpora.procedural.inputs import SOURCES
from hyperpeft.corpora.procedural.order import DEEPEST, ordered
from hyperpeft.corpora.procedural.primitive import PLURALS
from hyperpeft.corpora.procedural.sieve import FEWEST, Behaviour, Sieve
from hyperpeft.corpora.procedural.split import NEW_COMPOSITION, NEW_PRIMITIVE, SEEN, family_of, split_of
from hyperpeft.corpora.procedural.wording import describe
from hyperpeft.tasks import Example, Task, TaskError

DESCRIPTIONS = 6
PATIENCE = 10_000
"""Inputs without an output in a row after which a task is given up."""


class Procedural(Corpus):
    """`tasks` generated tasks: single primitives first, then compositions of up to `depth` steps in an order by seed.

    A name always means the same function; the seed draws examples and wordings. No two tasks do the same, and none
    is trivial. `family` is "seen", "new_composition" or "new_primitive". Inputs and outputs have up to 40 characters.
    `novel`: the only family of the last two to validate and test on; None for both.
    `inputs`: types of input to keep ("word", "words", "number", "country", ...); None for all.
    """

    def __init__(
        self,
        tasks: int = 300,
        seed: int = 0,
        examples: int = 64,
        depth: int = 2,
        novel: str | None = None,
        inputs: list[str] | None = None,
        splits: str | None = None,
    ) -> None:
        """Raises TaskError for a depth, family, input type, or number of tasks or examples, that there cannot be."""
        if novel not in (None, NEW_COMPOSITION, NEW_PRIMITIVE):
            raise TaskError(f"novel is {novel!r}: it is {NEW_COMPOSITION!r}, {NEW_PRIMITIVE!r} or null for both.")
        if not 1 <= depth <= DEEPEST:
            raise TaskError(f"depth is {depth}: compositions have 1 to {DEEPEST} steps.")
        for kind in inputs or ():
            if kind not in (*PLURALS, *PLURALS.values()):
                raise TaskError(f"inputs: no type {kind!r}. {did_you_mean(kind, (*PLURALS, *PLURALS.values()))}")
        if tasks < 1 or examples < FEWEST:
            raise TaskError(f"tasks is {tasks} and examples {examples}: at least 1 and {FEWEST} are needed.")
        self.tasks = tasks
        self.seed = seed
        self.examples = examples
        self.depth = depth
        self.novel = novel
        self.inputs = inputs
        self._splits = splits

    @cached_property
    def splits(self) -> str | dict[str, str]:  # type: ignore[override]
        """What was given, else all that is seen for training and halves of what is held out."""
        return self._splits if self._splits is not None else self.meta_splits()

    def read(self) -> Iterator[Task]:
        """Yield the tasks; raises TaskError if there are not as many of this depth."""
        return map(self._task, self._chosen)

    def names(self) -> list[str]:
        """The names of the tasks that `read` yields, in its order, without drawing examples."""
        return [composition.name for composition in self._chosen]

    def sample(self, name: str, count: int, seed: int) -> tuple[Example, ...]:
        """So many examples of a task, drawn independently: inputs may repeat. Any name of the catalogue will do."""
        return tuple(islice(_examples(parse(name), Random(f"{seed}/{name}/examples")), count))

    def split_of(self, name: str) -> str:
        """The part that a task belongs to, from its name alone: "seen", "new_composition" or "new_primitive"."""
        return family_of(parse(name))

    def split(self, name: str) -> str:
        """The meta-split of a task, from its name alone: "train", "validation" or "test"."""
        return split_of(parse(name))

    def meta_splits(self) -> dict[str, str]:
        """Task -> "train" (all that is seen), "validation" or "test" (halves of what is held out), or "excluded"."""
        wanted = (SEEN, self.novel or NEW_COMPOSITION, self.novel or NEW_PRIMITIVE)
        return {
            composition.name: split_of(composition) if family_of(composition) in wanted else "excluded"
            for composition in self._chosen
        }

    @cached_property
    def _chosen(self) -> list[Composition]:
        chosen = list(islice(_distinct(filter(self._wanted, ordered(self.depth, self.seed))), self.tasks))
        if len(chosen) < self.tasks:
            raise TaskError(
                f"there are {len(chosen)} procedural tasks of depth {self.depth}"
                f"{f' with inputs {self.inputs}' if self.inputs else ''}, {self.tasks} are asked for. "
                f"Ask for fewer or raise depth (up to {DEEPEST})."
            )
        return chosen

    def _wanted(self, composition: Composition) -> bool:
        return self.inputs is None or composition.takes in self.inputs

    def _task(self, composition: Composition) -> Task:
        name = composition.name
        examples = _examples(composition, Random(f"{self.seed}/{name}/examples"))
        return Task(
            name=name,
            descriptions=describe(composition, DESCRIPTIONS, Random(f"{self.seed}/{name}/descriptions")),
            examples=_different(examples, self.examples),
            family=family_of(composition),
            source="procedural",
        )


def _distinct(candidates: Iterator[Composition]) -> Iterator[Composition]:
    """Those that are not trivial and do not do the same as one before."""
    sieve = Sieve()
    taken: set[Behaviour] = set()
    for composition in candidates:
        behaviour = sieve.behaviour(composition)
        if behaviour not in taken and sieve.passes(composition):
            taken.add(behaviour)
            yield composition


def _examples(composition: Composition, random: Random) -> Iterator[Example]:
    """Independent draws, without end. Raises TaskError where next to no input has an output."""
    source = SOURCES[composition.source]
    misses = 0
    while misses < PATIENCE:
        text = source.draw(composition.many, random)
        output = composition(text)
        misses = 0 if output else misses + 1
        if output:
            yield Example(text, output)
    raise TaskError(
        f"procedural task {composition.name!r}: none of {PATIENCE} inputs has an output. Take another task."
    )


def _different(examples: Iterator[Example], count: int) -> tuple[Example, ...]:
    """The first `count` examples with different inputs; fewer where the input space has hardly any more."""
    found: dict[str, Example] = {}
    for example in islice(examples, 4 * count):
        found.setdefault(example.input, example)
        if len(found) == count:
            break
    return tuple(found.values())
