"""Where inputs come from: random words, numbers and letters, and the entries of the lexical tables."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from random import Random
from types import MappingProxyType

from hyperpeft.corpora.procedural.alphabet import ALPHABET, VOWELS
from hyperpeft.corpora.procedural.tables import TABLES

LONGEST = 40
"""Characters of an input or output at most."""

ONSETS = (*"bcdfghjklmnprstvwz", "br", "cl", "dr", "fl", "gr", "pl", "sh", "sl", "st", "tr", "th")
CODAS = ("", "", "", *"dklmnprst", "nd", "st")
KNOWN = tuple(
    word
    for table in ("plural", "past_tense", "comparative", "adverb", "colour", "category")
    for word in TABLES[table]
    if 3 <= len(word) <= 9
)
"""Real words to mix with made-up ones."""

Draw = Callable[[Random], str]


@dataclass(frozen=True, slots=True)
class Source:
    """How to draw an input alone and, for lists of inputs, an item and the number of items.

    `different` are the possible numbers of different items; where there are none, all items of a list differ.
    """

    alone: Draw
    item: Draw
    lengths: Sequence[int] = (3, 4, 5)
    different: Sequence[int] = ()

    def draw(self, many: bool, random: Random) -> str:
        """One input: a single thing or a list, at most LONGEST characters."""
        if not many:
            return self.alone(random)
        items = self._items(random.choice(self.lengths), random)
        while len(" ".join(items)) > LONGEST:
            items.pop()
        return " ".join(items)

    def _items(self, count: int, random: Random) -> list[str]:
        different = random.choice(self.different) if self.different else count
        pool: dict[str, None] = {}
        while len(pool) < different:
            pool[self.item(random)] = None
        return random.choices(list(pool), k=count) if self.different else list(pool)


def _made_up(random: Random, syllables: int) -> str:
    return "".join(random.choice(ONSETS) + random.choice(VOWELS) for _ in range(syllables)) + random.choice(CODAS)


def _word(random: Random) -> str:
    if random.random() < 0.5:
        return random.choice(KNOWN)
    while len(word := _made_up(random, random.choice((1, 2, 2, 3)))) < 3:
        pass
    return word


def _short_word(random: Random) -> str:
    while len(word := _word(random)) > 5:
        pass
    return word


def _vowel_word(random: Random) -> str:
    start = random.choice(VOWELS) if random.random() < 0.5 else ""
    end = random.choice("dklmnprst") if random.random() < 0.5 else ""
    return start + "".join(random.choice(ONSETS) + random.choice(VOWELS) for _ in range(random.choice((1, 2)))) + end


def _word_with_a(random: Random) -> str:
    return _word(random).replace(random.choice("eiou"), "a")


def _echoing_word(random: Random) -> str:
    syllables = [random.choice(ONSETS) + random.choice(VOWELS) for _ in range(2)]
    return "".join(random.choices(syllables, k=random.choice((2, 3)))) + random.choice(CODAS)


def _number(random: Random) -> str:
    return str(random.randint(1, 99) if random.random() < 0.7 else random.randint(100, 999))


def _up_to(largest: int) -> Draw:
    return lambda random: str(random.randint(1, largest))


def _entry(table: Mapping[str, str]) -> Draw:
    entries = tuple(table)
    return lambda random: random.choice(entries)


SOURCES: Mapping[str, Source] = MappingProxyType(
    {
        "word": Source(_word, _short_word),
        "short word": Source(_short_word, _short_word),
        "echoing word": Source(_echoing_word, _echoing_word),
        "word with a": Source(_word_with_a, _word_with_a),
        "vowel word": Source(_vowel_word, _vowel_word),
        "repeated word": Source(_word, _short_word, (4, 5, 6), (2, 3, 4)),
        "short list word": Source(_word, _short_word, (2, 3, 4)),
        "odd list word": Source(_word, _short_word, (3, 5)),
        "long list word": Source(_word, _short_word, range(1, 8)),
        "number": Source(_number, _up_to(60)),
        "small number": Source(_up_to(26), _up_to(26)),
        "repeated number": Source(_number, _up_to(60), (4, 5, 6), (2, 3, 4)),
        "odd list number": Source(_number, _up_to(60), (3, 5, 7)),
        "long list number": Source(_number, _up_to(60), range(1, 9)),
        "letter": Source(lambda random: random.choice(ALPHABET), lambda random: random.choice(ALPHABET)),
    }
    | {name: Source(_entry(table), _entry(table)) for name, table in TABLES.items()}
)
"""Source by name: a type of element, a table, or a special mix that a primitive asks for."""
