"""What a description says about one label."""

import pytest

from hyperpeft.encoders.notes import note


@pytest.mark.parametrize(
    ("description", "expected"),
    [
        ("Say which team answers. (A means billing; B means shipping; C means returns)", "means billing"),
        ("Which team? A: billing, B: shipping, C: returns.", "billing"),
        (
            "Answer A if it is billing, answer B if it is shipping, answer C if it is returns.",
            "Answer if it is billing",
        ),
        ("Write A for money matters. Write B for parcels. C otherwise.", "Write for money matters"),
    ],
)
def test_the_words_around_a_code(description: str, expected: str) -> None:
    assert note(description, "A", ("A", "B", "C")) == expected


def test_codes_are_matched_with_their_case_and_as_whole_words() -> None:
    assert note("A tram is a means of transport; B is a boat.", "B", ("A", "B")) == "is a boat"
    assert note("a means tall; b means short", "b", ("a", "b")) == "means short"
    assert note("Absolutely nothing is told here.", "A", ("A", "B")) == ""


def test_words_are_matched_without_case() -> None:
    assert note("Urgent: somebody is hurt. Normal: it can wait.", "urgent", ("urgent", "normal")) == "somebody is hurt"


@pytest.mark.parametrize("description", ["", "urgent", "Choose from: urgent, normal.", "urgent and normal"])
def test_a_bare_mention_says_little(description: str) -> None:
    assert len(note(description, "urgent", ("urgent", "normal")).split()) <= 2


def test_a_label_within_another_is_not_confused() -> None:
    labels = ("toxic", "not toxic")
    text = "not toxic means that nobody is insulted; toxic means that somebody is insulted"
    assert note(text, "not toxic", labels) == "means that nobody is insulted"
    assert "somebody" in note(text, "toxic", labels)


def test_labels_with_signs_of_patterns() -> None:
    assert note("(+) means praise; (-) means blame", "(+)", ("(+)", "(-)")) == "means praise"
