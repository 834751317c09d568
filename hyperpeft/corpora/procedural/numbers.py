"""Number to number: arithmetic and digits. Numbers are never negative; what would be is undefined."""

from collections.abc import Callable

from hyperpeft.corpora.procedural.primitive import Primitive


def _step(
    name: str,
    function: Callable[[int], int],
    orders: tuple[str, ...],
    results: tuple[str, ...],
    *,
    inputs: str = "",
) -> Primitive:
    def apply(text: str) -> str:
        result = function(int(text))
        return str(result) if result >= 0 else ""

    return Primitive(name, "number", "number", apply, orders, results, inputs=inputs)


def digits(number: int) -> list[int]:
    """The decimal digits, the highest first."""
    return [int(digit) for digit in str(number)]


def _reverse(number: int) -> int:
    return int(str(number)[::-1]) if number % 10 else -1


NUMBERS = (
    _step(
        "add_one",
        lambda number: number + 1,
        ("add 1 to {x}", "increase {x} by one", "say which whole number comes right after {x}"),
        ("the whole number right after {x}", "one more than {x}"),
    ),
    _step(
        "add_five",
        lambda number: number + 5,
        ("add 5 to {x}", "increase {x} by five", "count on five steps from {x}"),
        ("the sum of 5 and {x}", "five more than {x}"),
    ),
    _step(
        "add_ten",
        lambda number: number + 10,
        ("add 10 to {x}", "increase {x} by ten", "make {x} larger by ten"),
        ("the sum of 10 and {x}", "ten more than {x}"),
    ),
    _step(
        "add_hundred",
        lambda number: number + 100,
        ("add 100 to {x}", "increase {x} by one hundred", "make {x} larger by a hundred"),
        ("the sum of 100 and {x}", "one hundred more than {x}"),
    ),
    _step(
        "subtract_one",
        lambda number: number - 1,
        ("subtract 1 from {x}", "decrease {x} by one", "say which whole number comes right before {x}"),
        ("the whole number right before {x}", "one less than {x}"),
    ),
    _step(
        "subtract_three",
        lambda number: number - 3,
        ("subtract 3 from {x}", "decrease {x} by three", "take three away from {x}"),
        ("three less than {x}", "what is left after taking three away from {x}"),
    ),
    _step(
        "double_number",
        lambda number: number * 2,
        ("double {x}", "multiply {x} by 2", "give the sum of {x} and itself"),
        ("the double of {x}", "two times {x}"),
    ),
    _step(
        "triple_number",
        lambda number: number * 3,
        ("triple {x}", "multiply {x} by 3", "make {x} three times as large"),
        ("the triple of {x}", "three times {x}"),
    ),
    _step(
        "halve_number",
        lambda number: number // 2,
        ("halve {x}, rounding down", "divide {x} by 2 and drop any fraction", "take half of {x}, rounded down"),
        ("half, rounded down, of {x}", "the whole part of one half of {x}"),
    ),
    _step(
        "times_ten",
        lambda number: number * 10,
        ("multiply {x} by 10", "give the product of 10 and {x}", "make {x} ten times as large"),
        ("ten times {x}", "the tenfold of {x}"),
    ),
    _step(
        "square_number",
        lambda number: number * number,
        ("square {x}", "multiply {x} by itself", "raise {x} to the power of two"),
        ("the square of {x}", "the second power of {x}"),
        inputs="small number",
    ),
    _step(
        "last_digit",
        lambda number: number % 10,
        ("keep only the last digit of {x}", "take the ones digit of {x}", "give the remainder of {x} divided by 10"),
        ("the last digit of {x}", "the ones digit of {x}"),
    ),
    _step(
        "first_digit",
        lambda number: digits(number)[0],
        ("keep only the first digit of {x}", "take the leading digit of {x}", "say which digit {x} starts with"),
        ("the first digit of {x}", "the leading digit of {x}"),
    ),
    _step(
        "largest_digit",
        lambda number: max(digits(number)),
        (
            "find the largest digit of {x}",
            "say which digit is the highest in {x}",
            "take the biggest of the digits of {x}",
        ),
        ("the largest digit of {x}", "the highest digit in {x}"),
    ),
    _step(
        "digit_sum",
        lambda number: sum(digits(number)),
        ("add up the digits of {x}", "sum the digits of {x}", "compute the cross sum of {x}"),
        ("the digit sum of {x}", "the sum of the digits of {x}"),
    ),
    _step(
        "reverse_digits",
        _reverse,
        ("reverse the digits of {x}", "write the digits of {x} backwards", "read {x} from right to left"),
        ("the digit reversal of {x}", "the number with the digits in reverse order of {x}"),
    ),
    _step(
        "round_to_ten",
        lambda number: (number + 5) // 10 * 10,
        (
            "round {x} to the nearest multiple of ten, a final 5 upwards",
            "round {x} to tens (5 goes up)",
            "find the closest multiple of 10, the larger of two equally close ones, to {x}",
        ),
        ("the nearest multiple of ten (5 rounds up) to {x}", "the value rounded to tens (5 goes up) of {x}"),
    ),
    _step(
        "next_multiple_of_five",
        lambda number: -(-number // 5) * 5,
        (
            "round {x} up to a multiple of five",
            "find the smallest multiple of 5 that is not below {x}",
            "round {x} up so that it ends in 0 or 5, if it does not already",
        ),
        ("the smallest multiple of five not below {x}", "the value rounded up to a multiple of 5 of {x}"),
    ),
    _step(
        "up_to_hundred",
        lambda number: 100 - number,
        (
            "subtract {x} from 100",
            "say how much {x} lacks to make one hundred",
            "find what added to {x} makes 100",
        ),
        ("one hundred minus {x}", "the complement to one hundred of {x}"),
    ),
    _step(
        "distance_to_fifty",
        lambda number: abs(number - 50),
        (
            "say how far {x} is from 50, above or below",
            "find the distance between 50 and {x}",
            "take the difference, without sign, between {x} and fifty",
        ),
        ("the distance from fifty to {x}", "the difference (without sign) between 50 and {x}"),
    ),
    _step(
        "remainder_by_three",
        lambda number: number % 3,
        (
            "divide {x} by 3 and keep the remainder",
            "give the remainder of {x} divided by three",
            "say what is left over when {x} is shared among three",
        ),
        ("the remainder, on division by three, of {x}", "the residue modulo 3 of {x}"),
    ),
)
