"""From a number to words, to several numbers, to a letter, and to text that only ends a task."""

from hyperpeft.corpora.procedural.alphabet import ALPHABET
from hyperpeft.corpora.procedural.primitive import TEXT, Primitive

ONES = (
    *("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"),
    *("ten", "eleven", "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen"),
)
TENS = ("twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
ROMAN = ((100, "c"), (90, "xc"), (50, "l"), (40, "xl"), (10, "x"), (9, "ix"), (5, "v"), (4, "iv"), (1, "i"))


def in_words(number: int) -> str:
    """The English name of a number below 1000, without hyphens or "and"; nothing for larger ones."""
    if number >= 1000:
        return ""
    if number >= 100:
        rest = f" {in_words(number % 100)}" if number % 100 else ""
        return f"{ONES[number // 100]} hundred{rest}"
    if number >= 20:
        rest = f" {ONES[number % 10]}" if number % 10 else ""
        return TENS[number // 10 - 2] + rest
    return ONES[number]


def _roman(text: str) -> str:
    left, numeral = int(text), ""
    if left >= 400:
        return ""
    for value, sign in ROMAN:
        numeral += sign * (left // value)
        left %= value
    return numeral


def _ordinal(text: str) -> str:
    teen = text[-2:] in ("11", "12", "13")
    return text + ("th" if teen else {"1": "st", "2": "nd", "3": "rd"}.get(text[-1], "th"))


def _letter(text: str) -> str:
    return ALPHABET[int(text) - 1] if 1 <= int(text) <= len(ALPHABET) else ""


def _tens_and_ones(text: str) -> str:
    tens, ones = divmod(int(text), 10)
    return f"{tens * 10} {ones}" if tens else ""


def _neighbours(text: str) -> str:
    return f"{int(text) - 1} {int(text) + 1}" if int(text) else ""


def _row(text: str, step: int) -> str:
    numbers = [int(text) + step * place for place in range(3)]
    return " ".join(map(str, numbers)) if min(numbers) >= 0 else ""


def _multiples(text: str) -> str:
    return " ".join(str(int(text) * factor) for factor in (1, 2, 3))


NUMERALS = (
    Primitive(
        "spell_number",
        "number",
        "words",
        lambda text: in_words(int(text)),
        (
            'write {x} in English words, without hyphens or "and"',
            'spell {x} out in number words (no hyphens, no "and")',
            "say {x} in words, as in one hundred twenty three",
        ),
        (
            'the English number words (no hyphens, no "and") for {x}',
            "the spelled-out form, like one hundred five, of {x}",
        ),
    ),
    Primitive(
        "digit_words",
        "number",
        "words",
        lambda text: " ".join(ONES[int(digit)] for digit in text),
        (
            "write each digit of {x} as a word",
            "read out {x} digit by digit in words",
            "replace the digits of {x} by their names, as in four two for 42",
        ),
        ("the names of the digits of {x}", "the digit-by-digit reading in words of {x}"),
    ),
    Primitive(
        "roman_numeral",
        "number",
        "word",
        _roman,
        (
            "write {x} as a roman numeral in lower case",
            "convert {x} to roman numerals (i, v, x, l, c)",
            "write {x} the roman way, in small letters",
        ),
        ("the lower-case roman numeral for {x}", "the roman numeral (i, v, x, l, c) of {x}"),
    ),
    Primitive(
        "split_digits",
        "number",
        "numbers",
        " ".join,
        (
            "put a space between the digits of {x}",
            "list the digits of {x} one by one",
            "take {x} apart into single digits",
        ),
        ("the list of the digits of {x}", "the digits, separated by spaces, of {x}"),
    ),
    Primitive(
        "tens_and_ones",
        "number",
        "numbers",
        _tens_and_ones,
        (
            "split {x} into tens and ones, as in 42 into 40 2",
            "write the full tens and then the ones digit of {x}",
            "separate {x} into its tens and its last digit, as in 130 7 for 137",
        ),
        ("the full tens followed by the ones of {x}", "the split into tens and ones (like 40 2) of {x}"),
    ),
    Primitive(
        "count_on",
        "number",
        "numbers",
        lambda text: _row(text, 1),
        (
            "write three numbers counting up from {x}",
            "write {x} and the two numbers after it",
            "count on by ones, three numbers in all, starting at {x}",
        ),
        ("the three consecutive numbers starting at {x}", "the list of three numbers that counts up from {x}"),
    ),
    Primitive(
        "count_back",
        "number",
        "numbers",
        lambda text: _row(text, -1),
        (
            "write three numbers counting down from {x}",
            "write {x} and the two numbers before it, downwards",
            "count back by ones, three numbers in all, starting at {x}",
        ),
        ("the three numbers going down by one from {x}", "the list of three numbers that counts down from {x}"),
    ),
    Primitive(
        "neighbours",
        "number",
        "numbers",
        _neighbours,
        (
            "write the number before and the number after {x}",
            "write one less and then one more than {x}",
            "give the two neighbours of {x}, smaller one first",
        ),
        ("the numbers right before and right after {x}", "the two neighbours (smaller one first) of {x}"),
    ),
    Primitive(
        "multiples",
        "number",
        "numbers",
        _multiples,
        (
            "write {x}, its double and its triple",
            "list the first three multiples of {x}, from one times it on",
            "write one, two and three times {x}",
        ),
        (
            "the first three multiples (one, two and three times) of {x}",
            "the single, the double and the triple of {x}",
        ),
    ),
    Primitive(
        "letter_at_position",
        "number",
        "letter",
        _letter,
        (
            "say which letter has {x} as its position in the alphabet (a is 1)",
            "convert {x} to a letter, with 1 for a and 26 for z",
            "find the letter whose place in the alphabet is {x}",
        ),
        ("the letter whose position in the alphabet is {x}", "the letter (a for 1, z for 26) with number {x}"),
        inputs="small number",
    ),
    Primitive(
        "even_or_odd",
        "number",
        TEXT,
        lambda text: "odd" if int(text) % 2 else "even",
        (
            "answer even or odd for {x}",
            "say whether {x} is even or odd",
            "write even if {x} is a multiple of two and odd if not",
        ),
        ("the parity, even or odd, of {x}", "even or odd, whichever describes {x}"),
    ),
    Primitive(
        "ordinal",
        "number",
        TEXT,
        _ordinal,
        (
            "write {x} as an ordinal, like 1st, 2nd, 3rd or 4th",
            "add st, nd, rd or th, as English ordinals do, to {x}",
            "turn {x} into an ordinal with its ending (st, nd, rd, th)",
        ),
        ("the ordinal form (like 1st or 22nd) of {x}", "the digits plus ordinal ending (st, nd, rd, th) of {x}"),
    ),
    Primitive(
        "binary",
        "number",
        TEXT,
        lambda text: f"{int(text):b}",
        ("write {x} in binary", "convert {x} to base two", "express {x} in base 2, with the digits 0 and 1 only"),
        ("the binary form of {x}", "the base two notation of {x}"),
    ),
    Primitive(
        "four_digits",
        "number",
        TEXT,
        lambda text: text.zfill(4) if len(text) < 4 else "",
        (
            "fill {x} up with leading zeros to four digits",
            "write {x} with four digits, zeros in front",
            "put zeros before {x} until there are four digits",
        ),
        ("the four-digit form, with leading zeros, of {x}", "the zero-padded (to four digits) form of {x}"),
    ),
)
