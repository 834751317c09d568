"""Word to word: letters added and letters replaced."""

from collections.abc import Callable

from hyperpeft.corpora.procedural.alphabet import VOWELS, mirrored, shifted
from hyperpeft.corpora.procedural.primitive import Primitive


def _step(name: str, function: Callable[[str], str], orders: tuple[str, ...], results: tuple[str, ...]) -> Primitive:
    return Primitive(name, "word", "word", function, orders, results)


def _by_letter(change: Callable[[str], str]) -> Callable[[str], str]:
    return lambda word: "".join(map(change, word))


def _next_vowel(letter: str) -> str:
    return VOWELS[(VOWELS.index(letter) + 1) % len(VOWELS)] if letter in VOWELS else letter


SPELLING = (
    _step(
        "double_letters",
        _by_letter(lambda letter: letter * 2),
        (
            "double every letter of {x}",
            "write each letter of {x} twice",
            "repeat every letter of {x} once, right where it is",
        ),
        ("the result of doubling each letter of {x}", "the doubled-letter spelling of {x}"),
    ),
    _step(
        "double_vowels",
        _by_letter(lambda letter: letter * 2 if letter in VOWELS else letter),
        (
            "double the vowels of {x}",
            "write {x} with every vowel twice",
            "turn each a, e, i, o or u in {x} into two of them",
        ),
        ("the result of doubling the vowels of {x}", "the spelling with two of each vowel of {x}"),
    ),
    _step(
        "double_consonants",
        _by_letter(lambda letter: letter if letter in VOWELS else letter * 2),
        (
            "double the consonants of {x}",
            "write {x} with every consonant twice",
            "write {x} with each letter that is no vowel doubled",
        ),
        ("the result of doubling the consonants of {x}", "the spelling with two of each consonant of {x}"),
    ),
    _step(
        "double_first_letter",
        lambda word: word[0] + word,
        (
            "double the first letter of {x}",
            "write {x} with its first letter twice",
            "stutter once on the first letter of {x}",
        ),
        ("the result of doubling the first letter of {x}", "the stuttered form (first letter twice) of {x}"),
    ),
    _step(
        "triple_last_letter",
        lambda word: word + word[-1] * 2,
        (
            "write {x} with its last letter three times in all",
            "triple the final letter of {x}",
            "append to {x} two more copies of its last letter",
        ),
        (
            "the result of tripling the last letter of {x}",
            "what you get by appending two more copies of the last letter to {x}",
        ),
    ),
    _step(
        "repeat_word",
        lambda word: word * 2,
        (
            "write {x} twice without a space between",
            "repeat {x} right after itself, as one word",
            "glue together two copies of {x}",
        ),
        ("two copies, glued into one word, of {x}", "the result of gluing together two copies of {x}"),
    ),
    _step(
        "mirror_word",
        lambda word: word + word[::-1],
        (
            "write {x} followed by its reversal, as one word",
            "append to {x} its own letters in reverse order",
            "make a palindrome by attaching the reversed letters to the end of {x}",
        ),
        ("the palindrome formed by adding the reversed letters after {x}", "the there-and-back spelling of {x}"),
    ),
    _step(
        "pig_latin",
        lambda word: word[1:] + word[0] + "ay",
        (
            'move the first letter of {x} to the end and add "ay"',
            'send the first letter of {x} to the back, followed by "ay"',
            'put the initial letter of {x} last and append "ay"',
        ),
        (
            'the simple pig latin form (first letter to the end, plus "ay") of {x}',
            'what you get by shifting the first letter to the end and adding "ay" in {x}',
        ),
    ),
    _step(
        "p_language",
        _by_letter(lambda letter: f"{letter}p{letter}" if letter in VOWELS else letter),
        (
            "after every vowel of {x}, insert a p and the vowel again",
            "replace each vowel by itself, p and itself again in {x}",
            "turn every a into apa, every e into epe and so on for all vowels in {x}",
        ),
        (
            "the p-language form (a becomes apa, e becomes epe, and so on) of {x}",
            "the result of adding p and the same vowel after each vowel of {x}",
        ),
    ),
    _step(
        "prepend_un",
        lambda word: "un" + word,
        ('put "un" in front of {x}', 'add the prefix "un" to {x}', 'write "un" and {x} as one word'),
        ('the form with the prefix "un" of {x}', 'the result of putting "un" before {x}'),
    ),
    _step(
        "append_ness",
        lambda word: word + "ness",
        ('add "ness" to the end of {x}', 'attach the suffix "ness" to {x}', 'extend {x} by "ness" at the end'),
        ('the form with the suffix "ness" of {x}', 'the result of adding "ness" to the end of {x}'),
    ),
    _step(
        "wrap_in_x",
        lambda word: f"x{word}x",
        (
            'put an "x" before and after {x}',
            'write the letter "x" at both ends of {x}',
            'enclose {x} between two letters "x"',
        ),
        ('the result of adding an "x" at both ends of {x}', 'the form enclosed between two letters "x" of {x}'),
    ),
    _step(
        "insert_o",
        lambda word: "o".join(word),
        (
            'insert an "o" between all neighbouring letters of {x}',
            'separate the letters of {x} by the letter "o"',
            'write {x} with an "o" in every gap between two letters',
        ),
        (
            'the letters, joined by the letter "o", of {x}',
            'the result of putting an "o" in every gap between letters of {x}',
        ),
    ),
    _step(
        "shift_letters",
        _by_letter(lambda letter: shifted(letter, 1)),
        (
            "replace every letter of {x} by the next one in the alphabet (z becomes a)",
            "move each letter of {x} one step forward in the alphabet",
            "apply a shift of plus one (a to b, b to c, ..., z to a) to the letters of {x}",
        ),
        ("the one-step-forward alphabet shift of {x}", "the caesar cipher with shift one of {x}"),
    ),
    _step(
        "shift_letters_back",
        _by_letter(lambda letter: shifted(letter, -1)),
        (
            "replace every letter of {x} by the one before it in the alphabet (a becomes z)",
            "move each letter of {x} one step back in the alphabet",
            "apply a shift of minus one (b to a, c to b, ..., a to z) to the letters of {x}",
        ),
        ("the one-step-backward alphabet shift of {x}", "the caesar cipher with shift minus one of {x}"),
    ),
    _step(
        "mirror_alphabet",
        _by_letter(mirrored),
        (
            "replace a by z, b by y, c by x and so on in {x}",
            "swap every letter of {x} with its mirror image in the alphabet (a with z, b with y, ...)",
            "apply the atbash cipher to {x}",
        ),
        ("the atbash cipher of {x}", "the mirrored-alphabet spelling (a for z, b for y, ...) of {x}"),
    ),
    _step(
        "next_vowels",
        _by_letter(_next_vowel),
        (
            "replace every vowel of {x} by the next vowel (a, e, i, o, u, then a again)",
            "change a to e, e to i, i to o, o to u and u to a in {x}",
            "move each vowel of {x} on to the following vowel, u to a",
        ),
        (
            "the result of moving each vowel one on (a to e, ..., u to a) in {x}",
            "what you get by replacing each vowel with the next vowel in {x}",
        ),
    ),
    _step(
        "vowels_to_x",
        _by_letter(lambda letter: "x" if letter in VOWELS else letter),
        (
            'replace every vowel of {x} with "x"',
            'put an "x" in place of each vowel of {x}',
            'blot out every vowel of {x} with an "x"',
        ),
        ('the spelling with "x" for the vowels of {x}', 'what you get by writing "x" for every vowel of {x}'),
    ),
    _step(
        "start_with_b",
        lambda word: "b" + word[1:],
        (
            'change the first letter of {x} to "b"',
            'replace the first letter of {x} by "b"',
            'make {x} start with "b" instead of its first letter',
        ),
        (
            'the form with "b" instead of the first letter of {x}',
            'what you get by writing "b" for the first letter of {x}',
        ),
    ),
    _step(
        "end_with_o",
        lambda word: word[:-1] + "o",
        (
            'change the last letter of {x} to "o"',
            'replace the last letter of {x} by "o"',
            'make {x} end in "o" instead of its last letter',
        ),
        (
            'the form with "o" instead of the last letter of {x}',
            'what you get by writing "o" for the final letter of {x}',
        ),
    ),
)
