"""From a word to several words, to numbers, and to text that only ends a task."""

from hyperpeft.corpora.procedural.alphabet import VOWELS, position
from hyperpeft.corpora.procedural.primitive import TEXT, Primitive


def _yes(condition: bool) -> str:
    return "yes" if condition else "no"


def _positions(word: str) -> str:
    return " ".join(map(position, word))


def _beginnings(word: str) -> str:
    return " ".join(word[:end] for end in range(1, len(word) + 1))


def _halves(word: str) -> str:
    half = len(word) // 2
    return "" if len(word) % 2 else f"{word[:half]} {word[half:]}"


EXPANSIONS = (
    Primitive(
        "word_and_reverse",
        "word",
        "words",
        lambda word: f"{word} {word[::-1]}",
        (
            "write {x}, a space, and the same letters backwards",
            "give {x} and then, as a second word, its reversal",
            "append to {x} its reversal as a second word",
        ),
        ("the two-word pair of original and reversal of {x}", "the list of original and backward spelling of {x}"),
    ),
    Primitive(
        "say_twice",
        "word",
        "words",
        lambda word: f"{word} {word}",
        ("write {x} two times with a space between", "say {x} twice, as two words", "give two separate copies of {x}"),
        ("two copies, with a space between, of {x}", "the list of two separate copies of {x}"),
    ),
    Primitive(
        "beginnings",
        "word",
        "words",
        _beginnings,
        (
            "list all beginnings of {x}, from the first letter alone to the whole",
            "build {x} up letter by letter: one letter, two letters, and so on",
            "write the first letter, the first two letters, and so on up to all of {x}",
        ),
        (
            "the ever longer beginnings (one letter, two letters, ...) of {x}",
            "the list of all prefixes, shortest first, of {x}",
        ),
        inputs="short word",
    ),
    Primitive(
        "split_halves",
        "word",
        "words",
        _halves,
        (
            "cut {x} into two halves with a space between",
            "put a space in the middle of {x}",
            "write the first and the second half of {x} as two words",
        ),
        ("the two halves, as separate words, of {x}", "the result of putting a space in the middle of {x}"),
    ),
    Primitive(
        "letter_numbers",
        "word",
        "numbers",
        _positions,
        (
            "replace each letter of {x} by its position in the alphabet (a is 1, z is 26)",
            "write the alphabet positions of the letters of {x} with spaces between",
            "turn the letters of {x} into numbers: a=1, b=2, c=3 and so on",
        ),
        (
            "the alphabet positions (a is 1, z is 26) of the letters of {x}",
            "the list of letter numbers, a being 1, of {x}",
        ),
    ),
    Primitive(
        "space_letters",
        "word",
        TEXT,
        " ".join,
        (
            "put a space between all letters of {x}",
            "spell {x} out letter by letter, with spaces",
            "write the letters of {x} with spaces between",
        ),
        ("the letters, separated by spaces, of {x}", "the spaced-out spelling of {x}"),
    ),
    Primitive(
        "hyphenate_letters",
        "word",
        TEXT,
        "-".join,
        (
            "put a hyphen between all letters of {x}",
            "join the letters of {x} with hyphens",
            "spell {x} with a hyphen after each letter but the last",
        ),
        ("the letters, joined by hyphens, of {x}", "the hyphenated letter-by-letter spelling of {x}"),
    ),
    Primitive(
        "starts_with_vowel",
        "word",
        TEXT,
        lambda word: _yes(word[0] in VOWELS),
        (
            "say yes if the first letter of {x} is a vowel and no if not",
            "answer yes if {x} starts with a vowel, else no",
            "tell whether {x} begins with a vowel, yes or no",
        ),
        (
            "yes or no, for whether a vowel starts {x}",
            "the yes-or-no answer to whether there is a vowel at the start of {x}",
        ),
        inputs="vowel word",
    ),
    Primitive(
        "ends_with_vowel",
        "word",
        TEXT,
        lambda word: _yes(word[-1] in VOWELS),
        (
            "say yes if the last letter of {x} is a vowel and no if not",
            "answer yes if {x} ends with a vowel, else no",
            "tell whether {x} ends in a vowel, yes or no",
        ),
        (
            "yes or no, for whether a vowel ends {x}",
            "the yes-or-no answer to whether there is a vowel at the end of {x}",
        ),
        inputs="vowel word",
    ),
    Primitive(
        "contains_a",
        "word",
        TEXT,
        lambda word: _yes("a" in word),
        (
            'say yes if there is an "a" in {x} and no if not',
            'answer yes if {x} contains the letter "a", else no',
            'tell whether the letter "a" occurs in {x}, yes or no',
        ),
        (
            'yes or no, for whether there is an "a" in {x}',
            'the yes-or-no answer to whether the letter "a" occurs in {x}',
        ),
        inputs="word with a",
    ),
)
