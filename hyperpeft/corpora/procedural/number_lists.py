"""Lists of numbers to lists of numbers."""

from collections.abc import Callable
from itertools import pairwise

from hyperpeft.corpora.procedural.primitive import Primitive


def _list(
    name: str,
    function: Callable[[list[int]], list[int]],
    orders: tuple[str, ...],
    results: tuple[str, ...],
    *,
    keeps: bool = True,
    inputs: str = "",
) -> Primitive:
    def apply(text: str) -> str:
        return " ".join(map(str, function(as_numbers(text))))

    return Primitive(name, "numbers", "numbers", apply, orders, results, keeps, inputs)


def as_numbers(text: str) -> list[int]:
    """The numbers of a list written with spaces."""
    return [int(item) for item in text.split()]


def _running_total(numbers: list[int]) -> list[int]:
    return [sum(numbers[:end]) for end in range(1, len(numbers) + 1)]


def _steps(numbers: list[int]) -> list[int]:
    return [abs(after - before) for before, after in pairwise(numbers)]


def _without_one(text: str, best: Callable[[list[int]], int]) -> str:
    numbers = as_numbers(text)
    kept = [number for number in numbers if number != best(numbers)]
    return " ".join(map(str, kept)) if len(kept) == len(numbers) - 1 else ""


NUMBER_LISTS = (
    _list(
        "sort_numbers",
        sorted,
        (
            "sort the numbers of {x} from small to large",
            "put the numbers of {x} in increasing order",
            "arrange {x} from lowest to highest",
        ),
        ("the increasing ordering of {x}", "the small-to-large version of {x}"),
    ),
    _list(
        "sort_numbers_back",
        lambda numbers: sorted(numbers, reverse=True),
        (
            "sort the numbers of {x} from large to small",
            "put the numbers of {x} in decreasing order",
            "arrange {x} from highest to lowest",
        ),
        ("the decreasing ordering of {x}", "the large-to-small version of {x}"),
    ),
    _list(
        "reverse_numbers",
        lambda numbers: numbers[::-1],
        (
            "reverse the order of the numbers in {x}",
            "write {x} from the last number to the first",
            "turn {x} around, last number first",
        ),
        ("the reversed order of the numbers in {x}", "the last-to-first ordering of {x}"),
    ),
    _list(
        "drop_first_number",
        lambda numbers: numbers[1:],
        ("remove the first number of {x}", "drop the opening number of {x}", "write {x} without its first number"),
        ("all but the first number of {x}", "what is left after removing the first number of {x}"),
    ),
    _list(
        "drop_last_number",
        lambda numbers: numbers[:-1],
        ("remove the last number of {x}", "drop the closing number of {x}", "write {x} without its last number"),
        ("all but the last number of {x}", "what is left after removing the last number of {x}"),
    ),
    _list(
        "first_number_to_end",
        lambda numbers: numbers[1:] + numbers[:1],
        (
            "move the first number of {x} to the end",
            "rotate the numbers of {x} one place to the left",
            "take the first number off {x} and append it at the end",
        ),
        (
            "the rotation by one number to the left of {x}",
            "what you get by cutting off and then appending the first number of {x}",
        ),
    ),
    _list(
        "swap_end_numbers",
        lambda numbers: [numbers[-1], *numbers[1:-1], numbers[0]] if len(numbers) > 1 else [],
        (
            "swap the first and the last number of {x}",
            "exchange the two outer numbers of {x}",
            "let the first and the last number of {x} trade places",
        ),
        (
            "the result of swapping the first and last number of {x}",
            "what you get by exchanging the outer numbers of {x}",
        ),
    ),
    _list(
        "keep_even_numbers",
        lambda numbers: [number for number in numbers if number % 2 == 0],
        (
            "keep only the even numbers of {x}",
            "remove all odd numbers from {x}",
            "pick out every multiple of two from {x}",
        ),
        ("the even numbers of {x}", "what is left after removing the odd numbers from {x}"),
    ),
    _list(
        "keep_odd_numbers",
        lambda numbers: [number for number in numbers if number % 2],
        (
            "keep only the odd numbers of {x}",
            "remove all even numbers from {x}",
            "leave out every multiple of two from {x}",
        ),
        ("the odd numbers of {x}", "what is left after removing the even numbers from {x}"),
    ),
    _list(
        "keep_large_numbers",
        lambda numbers: [number for number in numbers if number > 20],
        (
            "keep only the numbers above 20 of {x}",
            "remove all numbers up to 20 from {x}",
            "pick out every number larger than twenty from {x}",
        ),
        ("the numbers greater than 20 in {x}", "what is left after removing numbers of at most twenty from {x}"),
    ),
    _list(
        "remove_repeated_numbers",
        lambda numbers: list(dict.fromkeys(numbers)),
        (
            "keep only the first occurrence of every number in {x}",
            "remove repeated numbers, keeping the first of each, from {x}",
            "delete each number that came before in {x}",
        ),
        ("the different numbers, in order of first appearance, of {x}", "the repetition-free version of {x}"),
        inputs="repeated number",
    ),
    Primitive(
        "drop_smallest",
        "numbers",
        "numbers",
        lambda text: _without_one(text, min),
        ("remove the smallest number of {x}", "leave out the minimum of {x}", "write {x} without its lowest number"),
        ("all but the smallest number of {x}", "what is left after removing the minimum of {x}"),
        keeps=True,
    ),
    Primitive(
        "drop_largest",
        "numbers",
        "numbers",
        lambda text: _without_one(text, max),
        ("remove the largest number of {x}", "leave out the maximum of {x}", "write {x} without its highest number"),
        ("all but the largest number of {x}", "what is left after removing the maximum of {x}"),
        keeps=True,
    ),
    _list(
        "running_total",
        _running_total,
        (
            "replace each number of {x} by the sum of all numbers up to and including it",
            "write the running totals of {x}",
            "add up {x} as you go along, writing every partial sum",
        ),
        ("the running totals of {x}", "the cumulative sums of {x}"),
        keeps=False,
    ),
    _list(
        "differences",
        _steps,
        (
            "write the differences, without sign, between neighbouring numbers of {x}",
            "say how far apart each number and the next are in {x}",
            "list the gaps between consecutive numbers of {x}",
        ),
        ("the gaps between consecutive numbers of {x}", "the differences (without sign) of neighbours in {x}"),
        keeps=False,
    ),
)
