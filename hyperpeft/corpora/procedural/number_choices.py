"""From a list of numbers to one of them or to a new number."""

from collections.abc import Callable

from hyperpeft.corpora.procedural.choices import most_frequent, only_best
from hyperpeft.corpora.procedural.number_lists import as_numbers
from hyperpeft.corpora.procedural.primitive import Primitive


def _pick(
    name: str, function: Callable[[str], str], orders: tuple[str, ...], results: tuple[str, ...], *, inputs: str = ""
) -> Primitive:
    return Primitive(name, "numbers", "number", function, orders, results, keeps=True, inputs=inputs)


def _one(
    name: str,
    function: Callable[[list[int]], int],
    orders: tuple[str, ...],
    results: tuple[str, ...],
    *,
    inputs: str = "",
) -> Primitive:
    return Primitive(
        name, "numbers", "number", lambda text: str(function(as_numbers(text))), orders, results, inputs=inputs
    )


def _second_largest(text: str) -> str:
    numbers = sorted(as_numbers(text), reverse=True)
    return str(numbers[1]) if len(frozenset(numbers)) == len(numbers) > 1 else ""


NUMBER_CHOICES = (
    _one(
        "sum_numbers",
        sum,
        ("add up the numbers of {x}", "compute the total of {x}", "sum {x}"),
        ("the sum of {x}", "the total of the numbers in {x}"),
    ),
    _one(
        "count_numbers",
        len,
        ("count the numbers of {x}", "say how many numbers there are in {x}", "count the entries of {x}"),
        ("the number of entries in {x}", "the count of numbers in {x}"),
        inputs="long list number",
    ),
    _one(
        "count_even_numbers",
        lambda numbers: sum(number % 2 == 0 for number in numbers),
        (
            "count the even numbers of {x}",
            "say how many even numbers there are in {x}",
            "count every multiple of two in {x}",
        ),
        ("the number of even entries in {x}", "the count of even numbers in {x}"),
        inputs="long list number",
    ),
    _one(
        "spread",
        lambda numbers: max(numbers) - min(numbers),
        (
            "subtract the smallest from the largest number of {x}",
            "find the difference between maximum and minimum of {x}",
            "say how far apart the extremes are in {x}",
        ),
        ("the difference between largest and smallest number of {x}", "the range (maximum minus minimum) of {x}"),
    ),
    _one(
        "sum_of_ends",
        lambda numbers: numbers[0] + numbers[-1],
        (
            "add the first and the last number of {x}",
            "sum the two outer numbers of {x}",
            "compute the first plus the last number of {x}",
        ),
        ("the sum of the first and last number of {x}", "the first plus the last number of {x}"),
    ),
    _pick(
        "first_number",
        lambda text: text.split()[0],
        ("take the first number of {x}", "pick the number that opens {x}", "keep nothing but the first number of {x}"),
        ("the first number of {x}", "the opening number of {x}"),
    ),
    _pick(
        "last_number",
        lambda text: text.split()[-1],
        ("take the last number of {x}", "pick the number that closes {x}", "keep nothing but the last number of {x}"),
        ("the last number of {x}", "the closing number of {x}"),
    ),
    _pick(
        "largest_number",
        lambda text: str(max(as_numbers(text))),
        ("take the largest number of {x}", "find the maximum of {x}", "pick the highest number in {x}"),
        ("the largest number of {x}", "the maximum of {x}"),
    ),
    _pick(
        "smallest_number",
        lambda text: str(min(as_numbers(text))),
        ("take the smallest number of {x}", "find the minimum of {x}", "pick the lowest number in {x}"),
        ("the smallest number of {x}", "the minimum of {x}"),
    ),
    _pick(
        "second_largest_number",
        _second_largest,
        (
            "take the second largest number of {x}",
            "find the highest number except for the maximum in {x}",
            "pick the number that only one other exceeds in {x}",
        ),
        ("the second largest number of {x}", "the runner-up to the maximum of {x}"),
    ),
    _pick(
        "median",
        lambda text: str(sorted(as_numbers(text))[len(text.split()) // 2]) if len(text.split()) % 2 else "",
        (
            "take the median of {x}",
            "pick the number that is in the middle when sorted by size in {x}",
            "find the middle value by size in {x}",
        ),
        ("the median of {x}", "the middle value by size of {x}"),
        inputs="odd list number",
    ),
    _pick(
        "most_frequent_number",
        lambda text: most_frequent(text.split()),
        (
            "take the number that occurs most often in {x}",
            "pick the most frequent number of {x}",
            "find which number is there more often than any other in {x}",
        ),
        ("the most frequent number of {x}", "the number repeated the most in {x}"),
        inputs="repeated number",
    ),
    _pick(
        "nearest_to_thirty",
        lambda text: only_best(text.split(), lambda item: -abs(int(item) - 30)),
        (
            "take the number of {x} that is closest to 30",
            "find which number is nearest to thirty in {x}",
            "pick the number that differs least from 30 in {x}",
        ),
        ("the number nearest to 30 in {x}", "the number that differs least from thirty in {x}"),
    ),
)
