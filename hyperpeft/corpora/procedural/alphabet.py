"""The alphabet: places, shifts and vowels."""

VOWELS = "aeiou"
ALPHABET = "abcdefghijklmnopqrstuvwxyz"


def shifted(letter: str, by: int) -> str:
    """The letter `by` places further in the alphabet, which goes round; anything else as it is."""
    return ALPHABET[(ALPHABET.index(letter) + by) % len(ALPHABET)] if letter in ALPHABET else letter


def mirrored(letter: str) -> str:
    """The letter as far from z as this one is from a; anything else as it is."""
    return ALPHABET[-1 - ALPHABET.index(letter)] if letter in ALPHABET else letter


def position(letter: str) -> str:
    """The place of a letter in the alphabet, from 1; nothing for anything else."""
    return str(ALPHABET.index(letter) + 1) if letter in ALPHABET else ""
