"""What descriptions say about each label."""

import pytest

from hyperpeft.encoders.notes import notes


@pytest.mark.parametrize(
    ("description", "expected"),
    [
        ("Say which team answers. (A means billing; B means shipping; C means returns)", "means billing"),
        ("Which team? A: billing, B: shipping, C: returns.", "billing"),
        (
            "Answer A if it is billing, answer B if it is shipping, answer C if it is returns.",
            "Answer if it is billing",
        ),
        ("Write A for money matters. Write B for parcels. Otherwise C.", "Write for money matters"),
        ("Which team is it: billing (A), shipping (B) or returns (C)?", "billing"),
        ("Choose A (billing, unless it is late), B (shipping) or C (returns).", "billing, unless it is late"),
        ("Is it billing? A. Is it shipping? B. Anything else? C.", "Is it billing"),
        ("Billing, shipping or returns? Answer A, B or C in that order.", "Billing"),
        ("The letters C, A and B stand for returns, billing and shipping.", "billing"),
    ],
)
def test_the_words_around_a_code(description: str, expected: str) -> None:
    assert notes([description], ("A", "B", "C"))[0] == [expected]


def test_codes_are_matched_with_their_case_and_as_whole_words() -> None:
    assert notes(["A tram is a means of transport; B is a boat."], ("A", "B"))[1] == ["is a boat"]
    assert notes(["a means tall; b means short"], ("a", "b")) == [["means tall"], ["means short"]]


@pytest.mark.parametrize(
    "description",
    [
        "+ for praise; ! for an order; ? for doubt",
        "A plus is praise, an exclamation mark an order, a question mark doubt.",
    ],
)
def test_labels_that_are_signs_do_not_end_sentences_and_have_names(description: str) -> None:
    praise, order, doubt = (" ".join(told) for told in notes([description], ("+", "!", "?")))
    for note, own, others in [
        (praise, "praise", ("order", "doubt")),
        (order, "order", ("praise", "doubt")),
        (doubt, "doubt", ("praise", "order")),
    ]:
        assert own in note
        assert not any(other in note for other in others)


def test_a_list_of_as_many_other_things_needs_a_word_of_order() -> None:
    assert notes(["Mind the food, the service and the price. Answer A, B or C."], ("A", "B", "C")) == [[], [], []]


def test_words_are_matched_without_case() -> None:
    text = "Urgent: somebody is hurt. Normal: it can wait."
    assert notes([text], ("urgent", "normal")) == [["somebody is hurt"], ["it can wait"]]


@pytest.mark.parametrize(
    "description",
    [
        "",
        "urgent",
        "Choose from: urgent, normal.",
        "Answer with urgent or normal, nothing else.",
        "Possible answers are urgent and normal to a letter.",
        "Only the labels urgent, and normal, are allowed.",
    ],
)
def test_a_list_of_labels_says_nothing(description: str) -> None:
    assert notes([description], ("urgent", "normal")) == [[], []]


def test_nothing_counts_unless_something_is_said_of_every_label() -> None:
    told, silent = "Urgent means that somebody is hurt.", "All others are normal."
    assert notes([told], ("urgent", "normal")) == [[], []]
    assert notes([told, silent], ("normal", "urgent")) == [["All others are"], ["means that somebody is hurt"]]


def test_all_descriptions_count_in_any_order() -> None:
    texts = ["A means praise, B means blame.", "Praise is A and blame is B."]
    assert (
        notes(texts, ("A", "B"))
        == notes(texts[::-1], ("A", "B"))
        == [["Praise is", "means praise"], ["blame is", "means blame"]]
    )


def test_a_label_within_another_is_not_confused() -> None:
    text = "not toxic means that nobody is insulted; toxic means that somebody is insulted"
    told = [["means that somebody is insulted"], ["means that nobody is insulted"]]
    assert notes([text], ("toxic", "not toxic")) == told


def test_labels_with_signs_of_patterns() -> None:
    assert notes(["(+) means praise; (-) means blame"], ("(+)", "(-)")) == [["means praise"], ["means blame"]]


@pytest.mark.parametrize(
    ("description", "expected"),
    [
        ("Decide whether the guest is angry. Answer 'Yes' or 'No'.", "the guest is angry"),
        (
            "You read a complaint, and you need to decide if the guest is angry; answer with one label.",
            "the guest is angry",
        ),
        ("Here is a complaint. Is the guest angry? Yes or No?", "Is the guest angry"),
    ],
)
def test_labels_that_affirm_and_deny_answer_what_is_asked(description: str, expected: str) -> None:
    assert notes([description], ("No", "Yes")) == [["something else"], [expected]]
    assert notes([description, description], ("yes.", "no."))[0] == [expected, expected]
    assert notes([description], ("angry", "calm")) == [[], []]
    assert notes([description], ("Yes", "No", "Unclear")) == [[], [], []]


def test_what_only_the_label_that_denies_is_said_to_mean_is_not_what_is_asked() -> None:
    assert notes(["Answer no if the guest is calm."], ("yes", "no")) == [[], []]
    text = "Is the guest angry? Answer no if the guest is calm."
    assert notes([text], ("yes", "no")) == [["Is the guest angry"], ["something else"]]


def test_what_is_said_of_labels_that_affirm_and_deny_goes_before_what_is_asked() -> None:
    text = "Decide whether the guest is angry: yes means a complaint, no means praise."
    assert notes([text], ("yes", "no")) == [["means a complaint"], ["means praise"]]
    assert notes(["Name the colour."], ("yes", "no")) == [[], []]


@pytest.mark.timeout(10)
def test_a_long_text_without_marks_is_read_in_a_moment() -> None:
    assert notes(["word " * 30_000], ("A", "B")) == notes(["word " * 30_000], ("yes", "no")) == [[], []]
