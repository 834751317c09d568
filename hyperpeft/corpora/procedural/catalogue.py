"""All primitives, by name, and those that are held out."""

from collections.abc import Mapping
from types import MappingProxyType

from hyperpeft.corpora.procedural.expansions import EXPANSIONS
from hyperpeft.corpora.procedural.letters import LETTERS
from hyperpeft.corpora.procedural.lexicon import LEXICON
from hyperpeft.corpora.procedural.lists import LISTS
from hyperpeft.corpora.procedural.number_choices import NUMBER_CHOICES
from hyperpeft.corpora.procedural.number_lists import NUMBER_LISTS
from hyperpeft.corpora.procedural.numbers import NUMBERS
from hyperpeft.corpora.procedural.numerals import NUMERALS
from hyperpeft.corpora.procedural.phrases import PHRASES
from hyperpeft.corpora.procedural.primitive import Primitive, each, liftable
from hyperpeft.corpora.procedural.spelling import SPELLING
from hyperpeft.corpora.procedural.strings import STRINGS

BASES = (
    *(*STRINGS, *SPELLING, *LETTERS, *EXPANSIONS, *LISTS, *PHRASES),
    *(*NUMBERS, *NUMERALS, *NUMBER_LISTS, *NUMBER_CHOICES, *LEXICON),
)

LIFTED = tuple(each(primitive) for primitive in BASES if liftable(primitive))
"""What the bases do to one element, done to each element of a list."""

PRIMITIVES: Mapping[str, Primitive] = MappingProxyType({primitive.name: primitive for primitive in (*BASES, *LIFTED)})

HELD_OUT = frozenset(
    {
        *("swap_letter_pairs", "last_three_letters", "triple_last_letter", "next_vowels"),
        *("second_letter", "previous_letter", "count_consonants", "split_halves", "ends_with_vowel"),
        *("last_word_to_front", "every_other_word", "alphabetically_last_word", "last_letters"),
        *("add_five", "triple_number", "largest_digit", "count_back"),
        *("swap_end_numbers", "keep_odd_numbers", "smallest_number"),
        *("superlative", "french", "past_tense", "young"),
    }
)
"""Names of the bases that no seen task contains, lifted or not."""


def base_name(name: str) -> str:
    """The name of the base that a lifted primitive applies to each element; any other name itself."""
    return name.removeprefix("each_")
