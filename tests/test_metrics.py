"""Metrics against hand counts, scikit-learn and a longest common subsequence."""

import math
from collections.abc import Sequence

import pytest
from sklearn.metrics import f1_score

from hyperpeft.metrics import METRICS, accuracy, exact_match, macro_f1, rouge_l

EXPECTED = ["red", "red", "green", "blue", "blue", "blue"]
PREDICTED = ["red", "green", "green", "blue", "blue", "teal"]


@pytest.mark.parametrize("name", METRICS)
class TestEveryMetric:
    def test_is_one_for_equal_texts_and_zero_for_unrelated_ones(self, name: str) -> None:
        assert METRICS[name](EXPECTED, EXPECTED) == 1.0
        assert METRICS[name](["teal"] * 6, EXPECTED) == 0.0

    def test_lies_between_for_some_right(self, name: str) -> None:
        assert 0.0 < METRICS[name](PREDICTED, EXPECTED) < 1.0

    def test_order_of_pairs_does_not_matter(self, name: str) -> None:
        turned = METRICS[name](PREDICTED[::-1], EXPECTED[::-1])
        assert turned == pytest.approx(METRICS[name](PREDICTED, EXPECTED))

    def test_an_empty_query_is_an_error(self, name: str) -> None:
        with pytest.raises(ValueError, match="the query set is empty"):
            METRICS[name]([], [])

    def test_unequal_numbers_are_an_error(self, name: str) -> None:
        with pytest.raises(ValueError, match=r"argument|inconsistent"):
            METRICS[name](["red"], ["red", "red"])


def test_accuracy_counts_equal_labels_to_the_letter() -> None:
    assert accuracy(PREDICTED, EXPECTED) == pytest.approx(4 / 6)
    assert accuracy(["Red", "red ", "red"], ["red"] * 3) == pytest.approx(1 / 3)


def test_macro_f1_weighs_labels_equally() -> None:
    """red 1, blue: precision 1 recall 1/2 -> 2/3, green: precision 1/2 recall 1 -> 2/3."""
    expected = ["red"] * 8 + ["blue"] * 2 + ["green"]
    predicted = ["red"] * 8 + ["blue", "green", "green"]
    assert macro_f1(predicted, expected) == pytest.approx((1 + 2 / 3 + 2 / 3) / 3)
    assert macro_f1(PREDICTED, EXPECTED) == pytest.approx(
        f1_score(EXPECTED, PREDICTED, average="macro", zero_division=0)
    )


@pytest.mark.parametrize(
    ("predicted", "expected"),
    [
        ("Paris", "paris"),
        ("Paris.", "paris"),
        ('  "Paris!" ', "Paris"),
        ("New\n  York", "new york"),
        ("**Paris**", "Paris"),
        ("(the) Hague", "the) hague"),
        ("...", "..."),
        ("-5.", "-5"),
    ],
)
def test_exact_match_ignores_case_space_and_what_dresses_the_ends(predicted: str, expected: str) -> None:
    assert exact_match([predicted], [expected]) == 1.0


@pytest.mark.parametrize(
    ("predicted", "expected"),
    [
        ("the cat", "cat"),
        ("newyork", "new york"),
        ("its", "it's"),
        ("5", "-5"),
        ("5", "$5"),
        ("5", "50%"),
        ("c", "c++"),
        ("5", ".5"),
        ("?", "!"),
        ("", "-"),
        ("", "."),
    ],
)
def test_exact_match_keeps_articles_signs_units_and_inner_punctuation(predicted: str, expected: str) -> None:
    assert exact_match([predicted, "same"], [expected, "same"]) == 0.5
    assert exact_match([expected], [predicted]) == 0.0


def common_subsequence(one: Sequence[str], two: Sequence[str]) -> int:
    if not one or not two:
        return 0
    if one[0] == two[0]:
        return 1 + common_subsequence(one[1:], two[1:])
    return max(common_subsequence(one[1:], two), common_subsequence(one, two[1:]))


@pytest.mark.parametrize(
    ("predicted", "expected"),
    [
        ("the cat sat on the mat", "a cat on the red mat"),
        ("red green blue", "blue green red"),
        ("one", "one two three four"),
    ],
)
def test_rouge_l_is_the_f_measure_of_the_longest_common_subsequence(predicted: str, expected: str) -> None:
    common = common_subsequence(predicted.split(), expected.split())
    precision, recall = common / len(predicted.split()), common / len(expected.split())
    assert math.isclose(rouge_l([predicted], [expected]), 2 * precision * recall / (precision + recall))


def test_rouge_l_compares_stems_and_takes_the_mean() -> None:
    assert rouge_l(["running dogs", "xyz"], ["runs dog", "abc"]) == pytest.approx(0.5)
