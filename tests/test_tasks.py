"""Examples, tasks and episodes as plain text values."""

from dataclasses import FrozenInstanceError, fields

import pytest

from hyperpeft.tasks import Episode, Example, Task, TaskError, as_example, as_examples, unique_by_name

PAIR = Example("grass", "green")


@pytest.mark.parametrize(
    "item", [("grass", "green"), ["grass", "green"], {"output": "green", "input": "grass", "source": 3}, PAIR]
)
def test_pairs_mappings_and_examples_all_become_examples(item: object) -> None:
    assert as_examples([item, PAIR]) == (PAIR, PAIR)


def test_pairs_may_come_from_any_iterable() -> None:
    assert as_examples((text, text) for text in "ab") == (Example("a", "a"), Example("b", "b"))
    assert as_examples([]) == ()


@pytest.mark.parametrize(
    ("item", "message"),
    [
        ({"input": "grass", "label": "green"}, r"rows\[1\] has no 'output'; it has \['input', 'label'\]"),
        ("grass green", r"rows\[1\] is 'grass green': give \(input, output\) pairs"),
        (("a", "b", "c"), r"rows\[1\] is \('a', 'b', 'c'\): give"),
        (7, r"rows\[1\] is 7: give"),
        (("grass", 1), r"rows\[1\]: the output is 1, of type int. Quote it"),
        ((False, "green"), r"rows\[1\]: the input is False, of type bool. Quote it"),
        ({"input": None, "output": "green"}, r"rows\[1\]: the input is None, of type NoneType"),
        (("grass", " \n"), r"rows\[1\]: the output is empty"),
    ],
)
def test_what_is_no_pair_of_texts_is_named_by_its_place(item: object, message: str) -> None:
    with pytest.raises(TaskError, match=message):
        as_examples([PAIR, item], where="rows")


def test_a_single_example_is_named_by_the_callers_words() -> None:
    assert as_example(("grass", "green"), where="line 3") == PAIR
    with pytest.raises(TaskError, match=r"^line 3: the input is empty"):
        as_example(("", "green"), where="line 3")


def test_a_task_needs_a_description_or_examples() -> None:
    assert Task("described", ("Name the colour.",), ()).examples == ()
    assert Task("shown", (), (PAIR,)).descriptions == ()
    with pytest.raises(TaskError, match="task 'neither' has neither a description nor examples"):
        Task("neither", (), ())


def test_outputs_outside_the_label_set_are_listed() -> None:
    with pytest.raises(
        TaskError, match=r"task 'c': outputs \['green', 'teal'\] are not in its label set \['blue', 'red'\]"
    ):
        Task("c", (), (PAIR, Example("sea", "teal"), Example("rose", "red")), labels={"red": "", "blue": ""})
    assert Task("c", (), (PAIR,), labels={"green": "", "unused": ""}).labels.keys() == {"green", "unused"}


@pytest.mark.parametrize("value", [PAIR, Task("t", ("d",), ()), Episode("t")], ids=lambda value: type(value).__name__)
def test_values_are_frozen(value: object) -> None:
    with pytest.raises(FrozenInstanceError):
        setattr(value, fields(value)[0].name, "changed")  # type: ignore[arg-type]


def test_a_changed_episode_differs_in_one_field_and_leaves_the_first_alone() -> None:
    episode = Episode("colors", ("Say the colour.",), (PAIR,), (Example("sea", "blue"),), ("green", "blue"))
    wrong = episode.with_descriptions(["Say the size."])
    other = episode.with_query([PAIR])
    assert episode.descriptions == ("Say the colour.",)
    assert wrong.descriptions == ("Say the size.",)
    assert other.query == (PAIR,)
    for changed, name in ((wrong, "descriptions"), (other, "query")):
        assert [f.name for f in fields(Episode) if getattr(changed, f.name) != getattr(episode, f.name)] == [name]


def test_names_of_tasks_are_unique() -> None:
    one, two = Task("a", ("d",), (), family="f"), Task("b", ("d",), (), family="f")
    assert unique_by_name(iter([two, one])) == [two, one]
    with pytest.raises(TaskError, match=r"two tasks are named 'a' \(families 'f' and 'g'\).*rename one"):
        unique_by_name([one, two, Task("a", ("e",), (), family="g")])
