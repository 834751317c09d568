import os
import re
import string
import subprocess
import sys
from collections import Counter
from itertools import islice, pairwise
from pathlib import Path
from random import Random

import pytest

from hyperpeft.corpora.procedural import Procedural
from hyperpeft.corpora.procedural.catalogue import BASES, HELD_OUT, LIFTED, PRIMITIVES, base_name
from hyperpeft.corpora.procedural.composition import JOINT, compose, compositions, parse
from hyperpeft.corpora.procedural.inputs import LONGEST, SOURCES
from hyperpeft.corpora.procedural.sieve import Sieve
from hyperpeft.corpora.procedural.tables import TABLES
from hyperpeft.corpora.procedural.wording import describe
from hyperpeft.metrics import exact_match
from hyperpeft.tasks import TaskError

PAIRS = [
    line.replace(": ", " -> ", 1).split(" -> ")
    for line in (Path(__file__).parent / "procedural_pairs.txt").read_text().splitlines()
]


@pytest.fixture(scope="module")
def tasks():
    return list(Procedural(tasks=900, depth=3).read())


def bases_of(name):
    return [base_name(part) for part in name.split(JOINT)]


@pytest.mark.parametrize(("name", "text", "output"), PAIRS)
def test_primitives_do_what_was_written_down_by_hand(name, text, output):
    assert PRIMITIVES[name].function(text) == output


def test_every_base_has_a_hand_written_pair():
    assert {name for name, _, _ in PAIRS} == {primitive.name for primitive in BASES}


@pytest.mark.parametrize("lifted", LIFTED, ids=lambda primitive: primitive.name)
def test_lifted_primitives_act_on_each_element(lifted):
    base = PRIMITIVES[base_name(lifted.name)]
    inputs = [text for name, text, _ in PAIRS if name == base.name]
    assert lifted.function(" ".join([*inputs, inputs[0]])) == " ".join(map(base.function, [*inputs, inputs[0]]))


@pytest.mark.parametrize("primitive", PRIMITIVES.values(), ids=lambda primitive: primitive.name)
def test_phrasings_have_one_place_and_results_nest(primitive):
    assert len({*primitive.orders, *primitive.results}) >= 4
    assert all(phrase.count("{x}") == 1 for phrase in (*primitive.orders, *primitive.results))
    assert all(result.endswith("{x}") for result in primitive.results)


def test_plurals_and_capitals_have_one_way_back():
    assert len(TABLES["singular"]) == len(TABLES["plural"])
    assert len(TABLES["country_of_capital"]) == len(TABLES["capital"])
    assert all(TABLES["opposite"][TABLES["opposite"][word]] == word for word in TABLES["opposite"])


def test_names_are_unique():
    assert len(PRIMITIVES) == len(BASES) + len(LIFTED)


@pytest.mark.parametrize("source", SOURCES.values(), ids=list(SOURCES))
@pytest.mark.parametrize("many", [False, True])
def test_inputs_are_short_lower_case_words_or_numbers(source, many):
    random = Random("inputs")
    drawn = [source.draw(many, random) for _ in range(200)]
    assert all(0 < len(text) <= LONGEST for text in drawn)
    assert set("".join(drawn)) <= set(string.ascii_lowercase + string.digits + " ")
    assert max(Counter(drawn).values()) < 100


def test_default_is_300_tasks_with_64_examples_where_the_inputs_allow():
    tasks = list(Procedural().read())
    assert len(tasks) == len({task.name for task in tasks}) == 300
    assert all(16 <= len(task.examples) <= 64 for task in tasks)
    assert sum(len(task.examples) == 64 for task in tasks) > 240
    assert {task.family for task in tasks} == {"seen", "new_composition", "new_primitive"}


def test_examples_are_distinct_short_and_right(tasks):
    for task in tasks:
        assert len({example.input for example in task.examples}) == len(task.examples) >= 16
        for example in task.examples:
            assert parse(task.name)(example.input) == example.output
            assert all(0 < len(text) <= LONGEST for text in (example.input, example.output))
            assert set(example.output) <= set(string.ascii_lowercase + string.digits + " -")


def test_the_metric_tells_the_outputs_of_a_task_apart(tasks):
    for task in tasks:
        outputs = sorted({example.output for example in task.examples})
        assert not any(exact_match([one], [other]) for one, other in pairwise(outputs))


def test_singles_come_first_and_all_bases_are_tasks(tasks):
    names = [task.name for task in tasks]
    assert set(names[: len(BASES)]) == {primitive.name for primitive in BASES}
    assert {name.count(JOINT) + 1 for name in names} == {1, 2, 3}
    assert all(not task.labels and task.metric == "exact_match" for task in tasks)


def test_every_task_has_at_least_four_different_descriptions(tasks):
    for task in tasks:
        assert len(task.descriptions) == len(set(task.descriptions)) >= 4
        for description in task.descriptions:
            assert re.fullmatch(r"[A-Z][^{}]*\.", description)


def test_no_description_fits_two_tasks(tasks):
    counts = Counter(description for task in tasks for description in task.descriptions)
    assert counts.most_common(1)[0][1] == 1


@pytest.mark.parametrize("name", ["reverse_word", "first_word__then__plural", "each_reverse_word__then__last_word"])
def test_descriptions_vary_the_wording_not_only_the_frame(name):
    composition = parse(name)
    last = composition.steps[-1]
    described = describe(composition, 6, Random("wording"))
    wordings = [re.escape(phrase).replace(r"\{x\}", ".*") for phrase in (*last.orders, *last.results)]
    used = {wording for wording in wordings for text in described if re.search(wording, text, re.IGNORECASE)}
    assert len(used) >= 3


def test_no_task_is_constant_unchanged_or_as_good_as_one_with_a_step_less(tasks):
    for task in tasks:
        inputs, outputs = [e.input for e in task.examples], [e.output for e in task.examples]
        assert Counter(outputs).most_common(1)[0][1] <= 0.85 * len(outputs), task.name
        assert sum(i == o for i, o in zip(inputs, outputs, strict=True)) <= 0.85 * len(outputs), task.name
        steps = parse(task.name).steps
        for left_out in range(len(steps)) if len(steps) > 1 else ():
            shorter = compose([*steps[:left_out], *steps[left_out + 1 :]])
            if (
                shorter
                and shorter.many == parse(task.name).many
                and shorter.element in (parse(task.name).element, "word")
            ):
                assert list(map(shorter, inputs)) != outputs, task.name


@pytest.mark.parametrize(
    "name",
    [
        "reverse_word__then__reverse_word",
        "sort_words__then__sort_words",
        "reverse_word__then__sort_letters",
        "shift_letters__then__shift_letters_back",
        "capital__then__country_of_capital",
        "remove_vowels__then__count_vowels",
        "sort_numbers__then__last_number",
        "drop_first_letter__then__drop_last_letter",
        "reverse_word__then__double_letters__then__reverse_word",
        "plural__then__singular__then__spanish",
    ],
)
def test_trivial_compositions_are_recognised(name):
    assert not Sieve().passes(parse(name))


def test_no_two_tasks_do_the_same(tasks):
    sieve = Sieve()
    behaviours = Counter(sieve.behaviour(parse(task.name)) for task in tasks)
    assert behaviours.most_common(1)[0][1] == 1


def test_types_fit_from_step_to_step():
    assert compose([PRIMITIVES["count_letters"], PRIMITIVES["reverse_word"]]) is None
    assert compose([PRIMITIVES["initials"], PRIMITIVES["plural"]]) is None
    assert parse("first_word__then__plural").element == "noun"
    assert parse("remove_repeated_words__then__each_plural").source == "plural"
    assert parse("capital__then__reverse_word")("peru") == "amil"
    assert parse("longest_word__then__count_letters__then__spell_number")("fig banana kiwi") == "six"


def test_there_are_thousands_of_compositions():
    assert sum(1 for _ in compositions(2)) > 10_000
    assert len(list(islice(Procedural(tasks=1500).read(), 1500))) == 1500


def test_unknown_and_unfitting_names_are_errors_that_help():
    with pytest.raises(TaskError, match="reverse_word"):
        Procedural().sample("reverse_wrod", 1, 0)
    with pytest.raises(TaskError, match="do not fit"):
        Procedural().split_of("count_letters__then__reverse_word")
    with pytest.raises(TaskError, match="raise depth"):
        list(Procedural(tasks=2000, depth=1).read())
    with pytest.raises(TaskError, match="depth is 4"):
        Procedural(depth=4)
    with pytest.raises(TaskError, match="has an output"):
        Procedural().sample("times_ten__then__reverse_digits", 1, 0)


def test_sample_goes_on_as_long_as_one_likes():
    corpus = Procedural()
    drawn = corpus.sample("reverse_word__then__double_letters", 3000, seed=7)
    assert 1000 < len({example.input for example in drawn}) <= len(drawn) == 3000
    assert drawn[:10] == corpus.sample("reverse_word__then__double_letters", 10, seed=7)
    assert drawn[:10] != corpus.sample("reverse_word__then__double_letters", 10, seed=8)
    assert all(parse("reverse_word__then__double_letters")(example.input) == example.output for example in drawn)
    assert len(corpus.sample("next_letter", 100, seed=0)) == 100


def test_more_tasks_extend_fewer_and_names_keep_their_function():
    few, many = Procedural(tasks=220), Procedural(tasks=400)
    assert list(few.read()) == list(many.read())[:220]
    deep, other = Procedural(tasks=400, depth=3), Procedural(tasks=400, depth=3, seed=1)
    assert deep.names() != other.names()
    shared = sorted(set(deep.names()) & set(many.names()) & set(other.names()))
    assert len(shared) >= len(BASES)
    for name in shared:
        assert deep.sample(name, 3, 0) == many.sample(name, 3, 0) == other.sample(name, 3, 0)
        assert deep.split(name) == many.split(name) == other.split(name)


def test_families_are_decided_by_the_primitives(tasks):
    for task in tasks:
        held_out = not HELD_OUT.isdisjoint(bases_of(task.name))
        assert (task.family == "new_primitive") == held_out
        assert task.family == Procedural().split_of(task.name)
        if JOINT not in task.name and not held_out:
            assert task.family == "seen"


def test_neighbours_that_are_held_out_are_never_seen_in_any_order_or_length(tasks):
    pairs = {family: set() for family in ("seen", "new_composition", "new_primitive")}
    for task in tasks:
        pairs[task.family] |= {frozenset(pair) for pair in pairwise(bases_of(task.name))}
    fresh = [task for task in tasks if task.family == "new_composition"]
    assert fresh
    for task in fresh:
        assert any(frozenset(pair) not in pairs["seen"] for pair in pairwise(bases_of(task.name)))


def test_about_a_fifth_of_the_pairs_of_seen_primitives_is_held_out():
    corpus = Procedural()
    names = [composition.name for composition in islice(compositions(2), 0, None, 5)]
    parts = Counter(map(corpus.split_of, names))
    assert 0.15 < parts["new_composition"] / (parts["new_composition"] + parts["seen"]) < 0.25


def test_each_kind_of_input_and_output_has_held_out_primitives():
    plain = {"word", "words", "number", "numbers"}
    held_out = [PRIMITIVES[name] for name in sorted(HELD_OUT)]
    assert plain <= {primitive.takes for primitive in held_out}
    assert plain <= {primitive.gives for primitive in held_out}
    assert len(BASES) / 9 < len(held_out) < len(BASES) / 7


def test_meta_splits_train_on_what_is_seen_and_halve_the_rest():
    corpus = Procedural(tasks=900)
    splits = corpus.meta_splits()
    assert list(splits) == corpus.names()
    for name, split in splits.items():
        assert (split == "train") == (corpus.split_of(name) == "seen")
    counts = Counter(splits.values())
    assert set(counts) == {"train", "validation", "test"}
    assert 0.35 < counts["test"] / (counts["test"] + counts["validation"]) < 0.65
    for family in ("new_composition", "new_primitive"):
        inside = {splits[name] for name in splits if corpus.split_of(name) == family}
        assert inside == {"validation", "test"}


def test_orders_and_lifts_of_the_same_primitives_share_a_split():
    corpus = Procedural()
    forth, back = "reverse_word__then__append_ness", "append_ness__then__reverse_word"
    lifted = "each_append_ness__then__each_reverse_word"
    assert corpus.split_of(forth) == corpus.split_of(back) == corpus.split_of(lifted)
    assert corpus.split(forth) == corpus.split(back) == corpus.split(lifted)


PRINT_ALL = """
from hyperpeft.corpora.procedural import Procedural
corpus = Procedural(tasks=260, depth=3, examples=16)
for task in corpus.read():
    print(task)
print(corpus.meta_splits(), corpus.sample("sort_words", 5, 3))
"""


def test_nothing_depends_on_the_hash_seed():
    started = [
        subprocess.Popen(
            [sys.executable, "-c", PRINT_ALL],
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            stdout=subprocess.PIPE,
            text=True,
        )
        for hash_seed in ("0", "4711")
    ]
    outputs = [process.communicate(timeout=300)[0] for process in started]
    assert outputs[0] == outputs[1]
    assert outputs[0].count("\n") == 261


def test_one_novel_family_alone_is_measured() -> None:
    corpus = Procedural(tasks=400, novel="new_composition")
    splits = corpus.meta_splits()
    families = {name: corpus.split_of(name) for name in splits}
    assert {families[name] for name, split in splits.items() if split in ("validation", "test")} == {"new_composition"}
    assert {families[name] for name, split in splits.items() if split == "excluded"} == {"new_primitive"}
    assert splits == {
        name: split if families[name] != "new_primitive" else "excluded"
        for name, split in Procedural(tasks=400).meta_splits().items()
    }
    with pytest.raises(TaskError, match="novel is 'seen'"):
        Procedural(novel="seen")


def test_only_the_types_of_input_that_are_wanted() -> None:
    corpus = Procedural(tasks=300, inputs=["word", "letter"])
    assert {parse(name).takes for name in corpus.names()} == {"word", "letter"}
    assert all(" " not in example.input for task in corpus.read() for example in task.examples)
    assert {parse(name).takes for name in Procedural(tasks=30, inputs=["numbers"]).names()} == {"numbers"}
    with pytest.raises(TaskError, match=r"depth 2 with inputs \['letter'\], 20000 are asked for"):
        Procedural(tasks=20_000, inputs=["letter"]).names()
    with pytest.raises(TaskError, match="Did you mean 'words'"):
        Procedural(inputs=["wordss"])
