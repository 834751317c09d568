"""Word to word: letters moved and letters left out."""

from collections.abc import Callable

from hyperpeft.corpora.procedural.alphabet import VOWELS
from hyperpeft.corpora.procedural.primitive import Primitive


def _step(
    name: str,
    function: Callable[[str], str],
    orders: tuple[str, ...],
    results: tuple[str, ...],
    *,
    inputs: str = "",
) -> Primitive:
    return Primitive(name, "word", "word", function, orders, results, inputs=inputs)


def _swap_ends(word: str) -> str:
    return word[-1] + word[1:-1] + word[0] if len(word) > 1 else ""


def _swap_pairs(word: str) -> str:
    pairs = [word[start : start + 2] for start in range(0, len(word), 2)]
    return "".join(pair[::-1] for pair in pairs)


def _swap_halves(word: str) -> str:
    half = len(word) // 2
    return "" if len(word) % 2 else word[half:] + word[:half]


def _vowels_first(word: str) -> str:
    return "".join(sorted(word, key=lambda letter: letter not in VOWELS))


STRINGS = (
    _step(
        "reverse_word",
        lambda word: word[::-1],
        ("reverse the letters of {x}", "write {x} backwards", "spell {x} from its last letter to its first"),
        ("the reversal of {x}", "the backward spelling of {x}"),
    ),
    _step(
        "sort_letters",
        lambda word: "".join(sorted(word)),
        (
            "sort the letters of {x} from a to z",
            "alphabetize the letters of {x}",
            "put {x} in alphabetical letter order",
        ),
        ("the alphabetically sorted letters of {x}", "what you get by alphabetizing the letters of {x}"),
    ),
    _step(
        "sort_letters_back",
        lambda word: "".join(sorted(word, reverse=True)),
        (
            "sort the letters of {x} from z to a",
            "put the letters of {x} in reverse alphabetical order",
            "arrange the letters of {x} with the latest in the alphabet first",
        ),
        ("the reverse-alphabetically sorted letters of {x}", "the letters, sorted from z to a, of {x}"),
    ),
    _step(
        "swap_end_letters",
        _swap_ends,
        (
            "swap the first and the last letter of {x}",
            "exchange the two outer letters of {x}",
            "let the first and last letter of {x} trade places",
        ),
        (
            "the result of swapping the first and last letter of {x}",
            "what you get by exchanging the outer letters of {x}",
        ),
    ),
    _step(
        "swap_letter_pairs",
        _swap_pairs,
        (
            "swap the letters of {x} two by two (first with second, third with fourth, and so on)",
            "exchange the two letters in each consecutive pair of letters in {x}",
            "cut {x} into pairs of letters and flip each pair",
        ),
        (
            "the result of flipping each consecutive pair of letters in {x}",
            "what you get by swapping letters one and two, three and four, and so on, in {x}",
        ),
    ),
    _step(
        "first_letter_to_end",
        lambda word: word[1:] + word[0],
        (
            "move the first letter of {x} to the end",
            "take the first letter off {x} and put it at the end",
            "rotate the letters of {x} one place to the left",
        ),
        (
            "the left rotation by one letter of {x}",
            "what you get by cutting off and then appending the first letter of {x}",
        ),
    ),
    _step(
        "last_letter_to_front",
        lambda word: word[-1] + word[:-1],
        (
            "move the last letter of {x} to the front",
            "take the last letter off {x} and put it at the beginning",
            "rotate the letters of {x} one place to the right",
        ),
        (
            "the right rotation by one letter of {x}",
            "what you get by cutting off and then putting in front the last letter of {x}",
        ),
    ),
    _step(
        "swap_halves",
        _swap_halves,
        (
            "swap the two halves of {x}",
            "move the first half of {x} behind the second half",
            "cut {x} in the middle and write the second half before the first",
        ),
        ("the result of swapping the two halves of {x}", "what you get by exchanging the first and second half of {x}"),
    ),
    _step(
        "drop_first_letter",
        lambda word: word[1:],
        ("remove the first letter of {x}", "drop the initial letter of {x}", "write {x} without its first letter"),
        ("all but the first letter of {x}", "what is left after removing the first letter of {x}"),
    ),
    _step(
        "drop_last_letter",
        lambda word: word[:-1],
        ("remove the last letter of {x}", "cut off the final letter of {x}", "write {x} without its last letter"),
        ("all but the last letter of {x}", "what is left after cutting off the final letter of {x}"),
    ),
    _step(
        "drop_end_letters",
        lambda word: word[1:-1],
        (
            "remove both the first and the last letter of {x}",
            "strip the two outer letters off {x}",
            "keep only the inside of {x}, without its first and last letters",
        ),
        ("all but the first and last letters of {x}", "what is left after removing both end letters of {x}"),
    ),
    _step(
        "first_half",
        lambda word: word[: len(word) // 2],
        (
            "keep only the first half of {x}, rounded down to whole letters",
            "cut off the second half of {x} (a middle letter goes too)",
            "keep the opening half of {x}, without any middle letter",
        ),
        ("the first half (without a middle letter) of {x}", "the opening half, rounded down to whole letters, of {x}"),
    ),
    _step(
        "odd_letters",
        lambda word: word[::2],
        (
            "keep every other letter of {x}, starting with the first",
            "keep letters one, three, five and so on of {x}",
            "remove the second, fourth, sixth letter and so on of {x}",
        ),
        ("the letters at odd positions (first, third, ...) in {x}", "every other letter, from the first on, of {x}"),
    ),
    _step(
        "even_letters",
        lambda word: word[1::2],
        (
            "keep every other letter of {x}, starting with the second",
            "keep letters two, four, six and so on of {x}",
            "remove the first, third, fifth letter and so on of {x}",
        ),
        (
            "the letters at even positions (second, fourth, ...) in {x}",
            "every other letter, from the second on, of {x}",
        ),
    ),
    _step(
        "first_three_letters",
        lambda word: word[:3] if len(word) >= 3 else "",
        (
            "keep only the first three letters of {x}",
            "shorten {x} to its first three letters",
            "cut off everything after the third letter of {x}",
        ),
        ("the first three letters of {x}", "the three-letter beginning of {x}"),
    ),
    _step(
        "last_three_letters",
        lambda word: word[-3:] if len(word) >= 3 else "",
        (
            "keep only the last three letters of {x}",
            "shorten {x} to its last three letters",
            "cut off everything before the final three letters of {x}",
        ),
        ("the last three letters of {x}", "the three-letter ending of {x}"),
    ),
    _step(
        "remove_vowels",
        lambda word: "".join(letter for letter in word if letter not in VOWELS),
        (
            "remove the vowels from {x}",
            "delete every a, e, i, o and u in {x}",
            "keep only the consonants of {x}",
        ),
        ("the consonants, in order, of {x}", "what is left after deleting the vowels of {x}"),
    ),
    _step(
        "keep_vowels",
        lambda word: "".join(letter for letter in word if letter in VOWELS),
        (
            "keep only the vowels of {x}",
            "remove all consonants from {x}",
            "delete every letter other than a, e, i, o and u in {x}",
        ),
        ("the vowels, in order, of {x}", "what is left after deleting the consonants of {x}"),
    ),
    _step(
        "vowels_first",
        _vowels_first,
        (
            "move the vowels of {x} to the front, leaving the order otherwise as it is",
            "write first the vowels and then the consonants of {x}",
            "put all vowels before all consonants, each in their old order, in {x}",
        ),
        ("the vowels followed by the consonants of {x}", "the vowels-first spelling of {x}"),
    ),
    _step(
        "unique_letters",
        lambda word: "".join(dict.fromkeys(word)),
        (
            "keep only the first occurrence of every letter of {x}",
            "delete every letter of {x} that already occurred further left in it",
            "remove repeated letters, keeping the first of each, from {x}",
        ),
        ("the different letters, in order of first appearance, of {x}", "the repetition-free spelling of {x}"),
        inputs="echoing word",
    ),
)
