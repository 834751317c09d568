"""Lists of words to lists of the same words: order, choice and repetition."""

from collections.abc import Callable

from hyperpeft.corpora.procedural.alphabet import VOWELS
from hyperpeft.corpora.procedural.primitive import Primitive


def _step(
    name: str,
    function: Callable[[list[str]], list[str]],
    orders: tuple[str, ...],
    results: tuple[str, ...],
    *,
    inputs: str = "",
) -> Primitive:
    def apply(text: str) -> str:
        return " ".join(function(text.split()))

    return Primitive(name, "words", "words", apply, orders, results, keeps=True, inputs=inputs)


def _swap_pairs(words: list[str]) -> list[str]:
    pairs = [words[start : start + 2] for start in range(0, len(words), 2)]
    return [word for pair in pairs for word in reversed(pair)]


LISTS = (
    _step(
        "reverse_list",
        lambda words: words[::-1],
        (
            "reverse the order of the words in {x}",
            "write the words of {x} in reverse order",
            "list the words of {x} from last to first",
        ),
        ("the reversed word order of {x}", "the last-to-first ordering of {x}"),
    ),
    _step(
        "sort_words",
        sorted,
        (
            "sort the words of {x} alphabetically",
            "put the words of {x} in alphabetical order",
            "arrange {x} from a to z",
        ),
        ("the alphabetical ordering of {x}", "the alphabetically sorted version of {x}"),
    ),
    _step(
        "sort_words_back",
        lambda words: sorted(words, reverse=True),
        (
            "sort the words of {x} in reverse alphabetical order",
            "arrange {x} from z to a",
            "sort {x} so that the alphabetically latest word comes first",
        ),
        ("the reverse alphabetical ordering of {x}", "the version sorted from z to a of {x}"),
    ),
    _step(
        "sort_by_length",
        lambda words: sorted(words, key=len),
        (
            "sort the words of {x} from shortest to longest, leaving equally long ones in their order",
            "order {x} by word length, short words first (ties stay as they are)",
            "arrange the words of {x} by increasing length, ties in their old order",
        ),
        ("the shortest-to-longest ordering (ties as they were) of {x}", "the version sorted by word length of {x}"),
    ),
    _step(
        "first_word_to_end",
        lambda words: words[1:] + words[:1],
        (
            "move the first word of {x} to the end",
            "rotate the words of {x} one place to the left",
            "take the first word off {x} and append it at the end",
        ),
        (
            "the rotation by one word to the left of {x}",
            "what you get by cutting off and then appending the first word of {x}",
        ),
    ),
    _step(
        "last_word_to_front",
        lambda words: words[-1:] + words[:-1],
        (
            "move the last word of {x} to the front",
            "rotate the words of {x} one place to the right",
            "take the last word off {x} and put it first",
        ),
        (
            "the rotation by one word to the right of {x}",
            "what you get by cutting off and then putting in front the last word of {x}",
        ),
    ),
    _step(
        "swap_end_words",
        lambda words: [words[-1], *words[1:-1], words[0]] if len(words) > 1 else [],
        (
            "swap the first and the last word of {x}",
            "exchange the two outer words of {x}",
            "let the first and the last word of {x} trade places",
        ),
        (
            "the result of swapping the first and last word of {x}",
            "what you get by exchanging the outer words of {x}",
        ),
    ),
    _step(
        "swap_word_pairs",
        _swap_pairs,
        (
            "swap the words of {x} two by two: first with second, third with fourth, and so on",
            "exchange the two words in each consecutive pair of words in {x}",
            "cut {x} into pairs of words and flip each pair",
        ),
        (
            "the result of flipping each consecutive pair of words in {x}",
            "what you get by swapping words one and two, three and four, and so on, in {x}",
        ),
    ),
    _step(
        "drop_first_word",
        lambda words: words[1:],
        ("remove the first word of {x}", "drop the opening word of {x}", "write {x} without its first word"),
        ("all but the first word of {x}", "what is left after removing the first word of {x}"),
    ),
    _step(
        "drop_last_word",
        lambda words: words[:-1],
        ("remove the last word of {x}", "drop the closing word of {x}", "write {x} without its last word"),
        ("all but the last word of {x}", "what is left after removing the last word of {x}"),
    ),
    _step(
        "first_two_words",
        lambda words: words[:2] if len(words) > 2 else [],
        (
            "keep only the first two words of {x}",
            "cut off everything after the second word of {x}",
            "shorten {x} to its two opening words",
        ),
        ("the first two words of {x}", "the opening pair of words of {x}"),
    ),
    _step(
        "last_two_words",
        lambda words: words[-2:] if len(words) > 2 else [],
        (
            "keep only the last two words of {x}",
            "cut off everything before the final two words of {x}",
            "shorten {x} to its two closing words",
        ),
        ("the last two words of {x}", "the closing pair of words of {x}"),
    ),
    _step(
        "every_other_word",
        lambda words: words[::2],
        (
            "keep every other word of {x}, starting with the first",
            "keep the first, third, fifth word and so on of {x}",
            "remove the second, fourth, sixth word and so on of {x}",
        ),
        ("the words at odd positions (first, third, ...) in {x}", "every other word, from the first on, of {x}"),
    ),
    _step(
        "double_words",
        lambda words: [word for word in words for _ in range(2)],
        (
            "write each word of {x} twice in a row",
            "double every word of {x}, as in a a b b",
            "repeat each word of {x} right after itself",
        ),
        (
            "the list with every word written twice in a row of {x}",
            "the stuttering version (a a b b) of {x}",
        ),
        inputs="short list word",
    ),
    _step(
        "first_word_again",
        lambda words: words + words[:1],
        (
            "repeat the first word of {x} at the end",
            "append to {x} a copy of its first word",
            "close the circle: add the first word once more at the end of {x}",
        ),
        (
            "the result of adding the first word once more at the end of {x}",
            "the closed circle (first word again at the end) of {x}",
        ),
    ),
    _step(
        "remove_repeated_words",
        lambda words: list(dict.fromkeys(words)),
        (
            "keep only the first occurrence of every word in {x}",
            "remove repeated words, keeping the first of each, from {x}",
            "delete each word that came before in {x}",
        ),
        ("the different words, in order of first appearance, of {x}", "the repetition-free version of {x}"),
        inputs="repeated word",
    ),
    _step(
        "keep_vowel_words",
        lambda words: [word for word in words if word[0] in VOWELS],
        (
            "keep only the words that start with a vowel in {x}",
            "remove every word that starts with a consonant from {x}",
            "pick out all words beginning with a, e, i, o or u from {x}",
        ),
        (
            "the words starting with a vowel in {x}",
            "what is left after removing words that begin with a consonant from {x}",
        ),
        inputs="vowel word",
    ),
    _step(
        "keep_long_words",
        lambda words: [word for word in words if len(word) > 4],
        (
            "keep only the words of more than four letters in {x}",
            "remove every word of four letters or fewer from {x}",
            "pick out all words with at least five letters from {x}",
        ),
        (
            "the words longer than four letters in {x}",
            "what is left after removing words of up to four letters from {x}",
        ),
    ),
)
