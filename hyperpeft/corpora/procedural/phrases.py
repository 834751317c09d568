"""From a list of words to one of them, to a new word, to a number, and to text that only ends a task."""

from collections.abc import Callable

from hyperpeft.corpora.procedural.choices import most_frequent, only_best
from hyperpeft.corpora.procedural.primitive import TEXT, Primitive


def _pick(
    name: str,
    function: Callable[[list[str]], str],
    orders: tuple[str, ...],
    results: tuple[str, ...],
    *,
    inputs: str = "",
) -> Primitive:
    return Primitive(name, "words", "word", _on_words(function), orders, results, keeps=True, inputs=inputs)


def _make(
    name: str,
    gives: str,
    function: Callable[[list[str]], str],
    orders: tuple[str, ...],
    results: tuple[str, ...],
    *,
    inputs: str = "",
) -> Primitive:
    return Primitive(name, "words", gives, _on_words(function), orders, results, inputs=inputs)


def _on_words(function: Callable[[list[str]], str]) -> Callable[[str], str]:
    return lambda text: function(text.split())


def _swap_initials(words: list[str]) -> str:
    if len(words) < 2:
        return ""
    first, *middle, last = words
    return " ".join([last[0] + first[1:], *middle, first[0] + last[1:]])


def _numbered(words: list[str]) -> str:
    return " ".join(f"{place} {word}" for place, word in enumerate(words, start=1))


PHRASES = (
    _pick(
        "first_word",
        lambda words: words[0],
        ("take the first word of {x}", "pick the word that opens {x}", "keep nothing but the first word of {x}"),
        ("the first word of {x}", "the opening word of {x}"),
    ),
    _pick(
        "second_word",
        lambda words: words[1] if len(words) > 1 else "",
        ("take the second word of {x}", "pick word number two of {x}", "keep nothing but the second word of {x}"),
        ("the second word of {x}", "word number two of {x}"),
    ),
    _pick(
        "last_word",
        lambda words: words[-1],
        ("take the last word of {x}", "pick the word that closes {x}", "keep nothing but the last word of {x}"),
        ("the last word of {x}", "the closing word of {x}"),
    ),
    _pick(
        "middle_word",
        lambda words: words[len(words) // 2] if len(words) % 2 else "",
        (
            "take the word in the middle of {x}",
            "pick the word with as many words before it as after it in {x}",
            "keep nothing but the middle word of {x}",
        ),
        ("the middle word of {x}", "the central word of {x}"),
        inputs="odd list word",
    ),
    _pick(
        "longest_word",
        lambda words: only_best(words, len),
        ("take the longest word of {x}", "pick the word with the most letters in {x}", "find the longest word in {x}"),
        ("the longest word of {x}", "the word with the most letters in {x}"),
    ),
    _pick(
        "shortest_word",
        lambda words: only_best(words, lambda word: -len(word)),
        (
            "take the shortest word of {x}",
            "pick the word with the fewest letters in {x}",
            "find the shortest word in {x}",
        ),
        ("the shortest word of {x}", "the word with the fewest letters in {x}"),
    ),
    _pick(
        "alphabetically_first_word",
        min,
        (
            "take the word of {x} that comes first in the alphabet",
            "pick the word a dictionary would list first in {x}",
            "find the alphabetically earliest word in {x}",
        ),
        ("the alphabetically first word of {x}", "the word that a dictionary would list first in {x}"),
    ),
    _pick(
        "alphabetically_last_word",
        max,
        (
            "take the word of {x} that comes last in the alphabet",
            "pick the word a dictionary would list last in {x}",
            "find the alphabetically latest word in {x}",
        ),
        ("the alphabetically last word of {x}", "the word that a dictionary would list last in {x}"),
    ),
    _pick(
        "most_frequent_word",
        most_frequent,
        (
            "take the word that occurs most often in {x}",
            "pick the most frequent word of {x}",
            "find which word is there more often than any other in {x}",
        ),
        ("the most frequent word of {x}", "the word repeated the most in {x}"),
        inputs="repeated word",
    ),
    _make(
        "join_words",
        "word",
        "".join,
        (
            "join the words of {x} without spaces",
            "remove the spaces from {x}",
            "glue all words of {x} together into one word",
        ),
        ("the result of gluing together the words of {x}", "the single word made by removing the spaces from {x}"),
    ),
    _make(
        "initials",
        "word",
        lambda words: "".join(word[0] for word in words),
        (
            "join the first letters of all words of {x}",
            "write the acronym of {x}",
            "write the initials of the words in {x} as one word",
        ),
        ("the acronym of {x}", "the word formed by the first letters of the words in {x}"),
    ),
    _make(
        "last_letters",
        "word",
        lambda words: "".join(word[-1] for word in words),
        (
            "join the last letters of all words of {x}",
            "write the final letters of the words in {x} as one word",
            "take the last letter of each word of {x} and glue these letters together",
        ),
        ("the word formed by the last letters of the words in {x}", "the acronym-like word of final letters of {x}"),
    ),
    _make(
        "swap_initials",
        "words",
        _swap_initials,
        (
            "swap the first letters of the first and the last word of {x}",
            "make a spoonerism: exchange the initials of the first and the last word in {x}",
            "let the outer two words trade their first letters in {x}",
        ),
        (
            "the spoonerism (initials of the first and last word swapped) of {x}",
            "the result of exchanging the initials of the first and last word in {x}",
        ),
    ),
    _make(
        "count_words",
        "number",
        lambda words: str(len(words)),
        ("count the words of {x}", "say how many words there are in {x}", "measure the length in words of {x}"),
        ("the number of words in {x}", "the length in words of {x}"),
        inputs="long list word",
    ),
    _make(
        "count_different_words",
        "number",
        lambda words: str(len(frozenset(words))),
        (
            "count the different words of {x}",
            "say how many distinct words there are in {x}",
            "count the words of {x}, repeated ones only once",
        ),
        ("the number of different words in {x}", "the count of distinct words in {x}"),
        inputs="repeated word",
    ),
    _make(
        "count_all_letters",
        "number",
        lambda words: str(sum(map(len, words))),
        (
            "count the letters of all words together in {x}",
            "say how many letters, without spaces, there are in {x}",
            "add up the lengths of the words of {x}",
        ),
        ("the total number of letters in {x}", "the sum of the word lengths of {x}"),
    ),
    _make(
        "join_with_and",
        TEXT,
        " and ".join,
        (
            'put "and" between all words of {x}',
            'join the words of {x} with "and"',
            'connect each word of {x} to the next by "and"',
        ),
        ('the words, joined by "and", of {x}', 'the result of writing "and" between the words of {x}'),
    ),
    _make(
        "join_with_hyphens",
        TEXT,
        "-".join,
        (
            "replace the spaces by hyphens in {x}",
            "join the words of {x} with hyphens",
            "link all words of {x} by hyphens",
        ),
        ("the words, joined by hyphens, of {x}", "the hyphenated compound of the words of {x}"),
    ),
    _make(
        "number_words",
        TEXT,
        _numbered,
        (
            "write before each word of {x} its position, counting from 1",
            "number the words of {x}: 1, the first word, 2, the second word, and so on",
            "put 1, 2, 3 and so on in front of the words of {x}",
        ),
        (
            "the numbered version (1 first 2 second ...) of {x}",
            "the result of putting 1, 2, 3 ... before the words of {x}",
        ),
    ),
)
