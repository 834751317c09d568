"""From a word to one of its letters or to a number; and functions of one letter."""

from collections.abc import Callable

from hyperpeft.corpora.procedural.alphabet import VOWELS, mirrored, position, shifted
from hyperpeft.corpora.procedural.primitive import TEXT, Primitive


def _count(counted: Callable[[str], bool]) -> Callable[[str], str]:
    return lambda word: str(sum(map(counted, word)))


LETTERS = (
    Primitive(
        "first_letter",
        "word",
        "letter",
        lambda word: word[0],
        ("take the first letter of {x}", "say which letter comes first in {x}", "name the initial letter of {x}"),
        ("the first letter of {x}", "the initial letter of {x}"),
    ),
    Primitive(
        "last_letter",
        "word",
        "letter",
        lambda word: word[-1],
        ("take the last letter of {x}", "say which letter comes last in {x}", "name the final letter of {x}"),
        ("the last letter of {x}", "the final letter of {x}"),
    ),
    Primitive(
        "second_letter",
        "word",
        "letter",
        lambda word: word[1:2],
        ("take the second letter of {x}", "say which letter is second in {x}", "name letter number two of {x}"),
        ("the second letter of {x}", "the letter right after the first one of {x}"),
    ),
    Primitive(
        "earliest_letter",
        "word",
        "letter",
        min,
        (
            "find which letter of {x} comes earliest in the alphabet",
            "take the letter closest to a among the letters of {x}",
            "pick the alphabetically first letter in {x}",
        ),
        ("the alphabetically first letter in {x}", "the letter nearest to the start of the alphabet in {x}"),
    ),
    Primitive(
        "latest_letter",
        "word",
        "letter",
        max,
        (
            "find which letter of {x} comes latest in the alphabet",
            "take the letter closest to z among the letters of {x}",
            "pick the alphabetically last letter in {x}",
        ),
        ("the alphabetically last letter in {x}", "the letter nearest to the end of the alphabet in {x}"),
    ),
    Primitive(
        "count_letters",
        "word",
        "number",
        lambda word: str(len(word)),
        ("count the letters of {x}", "say how many letters there are in {x}", "measure the length in letters of {x}"),
        ("the number of letters in {x}", "the length in letters of {x}"),
    ),
    Primitive(
        "count_vowels",
        "word",
        "number",
        _count(lambda letter: letter in VOWELS),
        ("count the vowels of {x}", "say how many vowels there are in {x}", "count every a, e, i, o and u in {x}"),
        ("the number of vowels in {x}", "the vowel count of {x}"),
    ),
    Primitive(
        "count_consonants",
        "word",
        "number",
        _count(lambda letter: letter not in VOWELS),
        (
            "count the consonants of {x}",
            "say how many consonants there are in {x}",
            "count the letters that are no vowels in {x}",
        ),
        ("the number of consonants in {x}", "the consonant count of {x}"),
    ),
    Primitive(
        "count_different_letters",
        "word",
        "number",
        lambda word: str(len(frozenset(word))),
        (
            "count the different letters of {x}",
            "say how many distinct letters there are in {x}",
            "count the letters of {x}, repeated ones only once",
        ),
        ("the number of different letters in {x}", "the count of distinct letters in {x}"),
        inputs="echoing word",
    ),
    Primitive(
        "next_letter",
        "letter",
        "letter",
        lambda letter: shifted(letter, 1),
        (
            "go one step forward in the alphabet from {x} (z goes to a)",
            "say which letter follows {x} in the alphabet (a follows z)",
            "take the letter right after {x} in the alphabet, or a after z",
        ),
        (
            "the next letter of the alphabet (z leads to a) after {x}",
            "the alphabet successor (a for z) of {x}",
        ),
    ),
    Primitive(
        "previous_letter",
        "letter",
        "letter",
        lambda letter: shifted(letter, -1),
        (
            "go one step back in the alphabet from {x} (a goes to z)",
            "say which letter precedes {x} in the alphabet (z precedes a)",
            "take the letter right before {x} in the alphabet, or z before a",
        ),
        (
            "the previous letter of the alphabet (a leads to z) before {x}",
            "the alphabet predecessor (z for a) of {x}",
        ),
    ),
    Primitive(
        "mirror_letter",
        "letter",
        "letter",
        mirrored,
        (
            "take the letter as far from z as {x} is from a",
            "mirror {x} in the alphabet: a and z trade places, b and y, and so on",
            "apply the atbash cipher to {x}",
        ),
        ("the alphabet's mirror image (a for z, b for y, ...) of {x}", "the atbash partner of {x}"),
    ),
    Primitive(
        "letter_position",
        "letter",
        "number",
        position,
        (
            "say at which position of the alphabet {x} stands (a is 1)",
            "convert {x} to its number in the alphabet (a=1, z=26)",
            "count the letters of the alphabet from a up to and including {x}",
        ),
        ("the position in the alphabet (a is 1) of {x}", "the alphabet number, a being 1 and z 26, of {x}"),
    ),
    Primitive(
        "triple_letter",
        "letter",
        "word",
        lambda letter: letter * 3,
        (
            "write {x} three times without spaces",
            "make a three-letter string of nothing but {x}",
            "give three copies, unseparated, of {x}",
        ),
        ("three unseparated copies of {x}", "the three-letter string made of nothing but {x}"),
    ),
    Primitive(
        "alphabet_from",
        "letter",
        TEXT,
        lambda letter: letter + shifted(letter, 1) + shifted(letter, 2),
        (
            "write the three letters of the alphabet that start with {x}, going round after z",
            "write {x} and the two letters after it in the alphabet (a follows z), without spaces",
            "give three letters in alphabet order (a after z), beginning with {x}",
        ),
        (
            "the run of three alphabet letters (a after z) that begins with {x}",
            "the three-letter piece of the alphabet (going round) starting at {x}",
        ),
    ),
)
