"""Draws of episodes: a function of seed and number alone; support and query stay apart."""

import hashlib
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import pytest

from hyperpeft.episodes import EpisodeSettings, EpisodeSource, draw_episode
from hyperpeft.recoding import KEYS, recode
from hyperpeft.tasks import Episode, Example, Task, TaskError

PLAIN = EpisodeSettings(tasks=4, rows=64, shots=[2], no_description=0, codes=0, siblings=0, label_descriptions=0)


def choice(name: str, words: Sequence[str] = ("yes", "no"), each: int = 20, **changes: Any) -> Task:
    """A task with `each` examples a label; every input text names its task, label and number."""
    fields: dict[str, Any] = {
        "name": name,
        "descriptions": tuple(f"{name} told in way {way}" for way in range(3)),
        "examples": tuple(Example(f"{name} {word} {n}", word) for word in words for n in range(each)),
        "labels": {word: f"what {word} means" for word in words},
        "metric": "accuracy",
    }
    return Task(**{**fields, **changes})


def text(name: str, count: int = 20, **changes: Any) -> Task:
    examples = tuple(Example(f"{name} {n}", str(n)) for n in range(count))
    return Task(**{"name": name, "descriptions": (f"{name} told",), "examples": examples, **changes})


def drawn(source: EpisodeSource, count: int) -> list[Episode]:
    return [source[index] for index in range(count)]


@pytest.mark.parametrize("shots", [0, 1, 5])
def test_an_evaluation_episode_has_its_shots_of_every_label_and_a_query_apart(shots: int) -> None:
    task = choice("t", ("a", "b", "c"))
    episode = draw_episode(task, shots=shots, queries=10, seed=0)
    assert Counter(example.output for example in episode.support) == Counter(dict.fromkeys("abc", shots))
    assert len(episode.query) == 10
    assert not {example.input for example in episode.support} & {example.input for example in episode.query}
    assert {*episode.support, *episode.query} <= set(task.examples)
    assert (episode.labels, episode.metric, episode.descriptions) == (("a", "b", "c"), "accuracy", task.descriptions)


def test_text_to_text_shots_are_counted_a_task() -> None:
    episode = draw_episode(text("t"), shots=5, queries=100, seed=0)
    assert (len(episode.support), len(episode.query), episode.labels) == (5, 15, ())


def test_equal_arguments_draw_equal_episodes_and_other_seeds_others() -> None:
    task = choice("t")
    first = draw_episode(task, shots=2, queries=5, seed=0)
    assert first == draw_episode(task, shots=2, queries=5, seed=0)
    assert first.support != draw_episode(task, shots=2, queries=5, seed=1).support
    longer = draw_episode(task, shots=2, queries=8, seed=0)
    assert (longer.support, longer.query[:5]) == (first.support, first.query)


def test_one_paraphrase_can_be_chosen_and_changes_nothing_else() -> None:
    task = choice("t")
    episode = draw_episode(task, shots=2, queries=5, seed=0)
    for way, description in enumerate(task.descriptions):
        chosen = draw_episode(task, shots=2, queries=5, seed=0, paraphrase=way)
        assert chosen == episode.with_descriptions([description])


def test_a_repeated_input_is_not_both_shown_and_asked() -> None:
    examples = tuple(Example(f"text {n % 6}", "yes" if n % 2 else "no") for n in range(60))
    task = choice("t", examples=examples)
    for seed in range(20):
        episode = draw_episode(task, shots=2, queries=60, seed=seed)
        assert episode.query
        assert not {example.input for example in episode.support} & {example.input for example in episode.query}


@pytest.mark.parametrize(
    ("task", "message"),
    [
        (
            choice("few", each=2),
            r"task 'few' has too few examples for 3 shots and a query: it has \{'yes': 2, 'no': 2\}",
        ),
        (choice("exact", each=3), "task 'exact' has too few examples for 3 shots and a query"),
        (choice("uneven", labels={"yes": "", "no": "", "maybe": ""}), r"too few.*'maybe': 0"),
        (text("short", 3), "task 'short' has too few examples for 3 shots and a query: it has 3"),
    ],
    ids=lambda value: getattr(value, "name", ""),
)
def test_too_few_examples_are_an_error_that_counts_them(task: Task, message: str) -> None:
    with pytest.raises(TaskError, match=message):
        draw_episode(task, shots=3, queries=5, seed=0)


RICH = EpisodeSettings(tasks=4, shots=[0, 1, 2, 4], codes=0.3, no_description=0.3, siblings=0.5)
MANY = [choice(f"t{n}", tuple("abcdefghijkl"[: 2 + n]), family=f"f{n // 2}") for n in range(10)] + [text("words")]


def test_training_episodes_keep_support_and_query_apart_and_within_the_rows() -> None:
    tasks = {task.name: task for task in MANY}
    for episode in drawn(EpisodeSource(MANY, RICH, 0), 200):
        shown, asked = ({example.input for example in part} for part in (episode.support, episode.query))
        assert asked
        assert not shown & asked
        assert shown | asked <= {example.input for example in tasks[episode.task].examples}
        assert len(episode.labels) + len(episode.support) + len(episode.query) <= RICH.rows
        assert len(episode.labels) <= RICH.max_labels
        assert {example.output for example in (*episode.support, *episode.query)} <= set(
            episode.labels
        ) or not episode.labels


def test_shots_are_equal_within_a_meta_batch_and_vary_between() -> None:
    settings = replace(PLAIN, shots=[0, 1, 3])
    tasks = [choice("two"), choice("three", ("a", "b", "c")), text("free", family="x"), text("free2")]
    seen = []
    for batch in EpisodeSource(tasks, settings, 0).batches(30):
        shots = {n for e in batch for n in (Counter(x.output for x in e.support).values() or [0]) if e.labels}
        shots |= {len(e.support) for e in batch if not e.labels}
        assert len(shots) == 1
        seen += shots
    assert set(seen) == {0, 1, 3}


def test_no_label_gets_more_shots_than_another() -> None:
    for episode in drawn(EpisodeSource(MANY[:10], RICH, 1), 100):
        counts = Counter(example.output for example in episode.support)
        assert len({counts[label] for label in episode.labels}) == 1


def test_families_are_drawn_evenly_and_tasks_evenly_within_one() -> None:
    tasks = [choice(f"big{n}", family="big") for n in range(9)] + [choice("lone"), choice("small", family="small")]
    for siblings in (0.0, 0.5):
        source = EpisodeSource(tasks, replace(PLAIN, siblings=siblings), 0)
        counts = Counter(episode.task for episode in drawn(source, 3000))
        assert abs(counts["lone"] - 1000) < 120  # four standard deviations, more for siblings
        assert abs(counts["small"] - 1000) < 120
        assert all(abs(counts[f"big{n}"] - 111) < 50 for n in range(9))


def test_families_are_drawn_by_their_weights() -> None:
    heavy = [replace(choice(f"t{n}", family="heavy"), weight=3.0) for n in range(2)]
    source = EpisodeSource([*heavy, choice("lone"), choice("other")], PLAIN, 0)
    counts = Counter(episode.task for episode in drawn(source, 3000))
    assert abs(counts["t0"] + counts["t1"] - 1800) < 110  # four standard deviations
    assert abs(counts["t0"] - 900) < 110
    assert abs(counts["lone"] - 600) < 90


def test_equal_weights_change_no_draw() -> None:
    heavier = [replace(task, weight=7.0) for task in MANY]
    assert drawn(EpisodeSource(heavier, RICH, 0), 40) == drawn(EpisodeSource(MANY, RICH, 0), 40)


def test_siblings_are_other_tasks_of_the_family_before() -> None:
    tasks = [choice(f"t{n}", family=f"f{n // 3}") for n in range(12)] + [choice("alone", family="single")]
    family = {task.name: task.family for task in tasks}
    episodes = drawn(EpisodeSource(tasks, replace(PLAIN, siblings=1.0), 0), 200)
    pairs = list(zip(episodes[::2], episodes[1::2], strict=True))
    assert all(family[one.task] == family[two.task] for one, two in pairs)
    assert all(one.task != two.task for one, two in pairs if one.task != "alone")
    apart = drawn(EpisodeSource(tasks, PLAIN, 0), 200)
    assert any(family[one.task] != family[two.task] for one, two in zip(apart[::2], apart[1::2], strict=True))


def test_order_of_tasks_does_not_matter_and_seed_does() -> None:
    episodes = drawn(EpisodeSource(MANY, RICH, 3), 40)
    assert drawn(EpisodeSource(MANY[::-1], RICH, 3), 40) == episodes
    assert drawn(EpisodeSource(MANY, RICH, 4), 40) != episodes


def test_an_episode_does_not_depend_on_those_drawn_before() -> None:
    source = EpisodeSource(MANY, RICH, 3)
    late = source[37]
    assert [episode for batch in source.batches(10) for episode in batch][37] == late


def test_a_seed_draws_the_same_episodes_in_every_version() -> None:
    """Otherwise a run could not be continued, nor a result repeated, after an upgrade. Changed only on purpose."""
    tasks = [*MANY, text("g1", family="g"), text("g2", family="g"), choice("f1", family="f"), choice("f2", family="f")]
    episodes = [drawn(EpisodeSource(tasks, replace(RICH, choices=part), 5), 100) for part in (0.0, 0.5)]
    assert hashlib.sha256(repr(episodes).encode()).hexdigest()[:16] == "f487326f0b25a3e8"


def test_draws_do_not_depend_on_the_hash_seed() -> None:
    code = "import test_episodes as t; print(t.drawn(t.EpisodeSource(t.MANY, t.RICH, 5), 40))"
    path = os.pathsep.join([str(Path(__file__).parent), str(Path(__file__).parents[1])])
    other = "2" if os.environ.get("PYTHONHASHSEED") == "1" else "1"
    environment = {**os.environ, "PYTHONHASHSEED": other, "PYTHONPATH": path}
    output = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, check=True, text=True)
    assert output.stdout == f"{drawn(EpisodeSource(MANY, RICH, 5), 40)}\n"


def test_the_query_grows_to_the_rows_or_the_words_but_never_below_four() -> None:
    def queries(**changes: int) -> set[int]:
        settings = replace(PLAIN, shots=[3], **changes)
        return {len(episode.query) for episode in drawn(EpisodeSource([choice("t", each=40)], settings, 0), 20)}

    assert queries(rows=30, words=10**6) == {30 - 2 - 6}
    assert queries(rows=10, words=10**6) == queries(rows=10**6, words=1) == {4}
    assert queries(rows=10**6, words=10**6) == {80 - 6}
    long, short = choice("long", each=40), choice("short", each=40)
    long = replace(long, examples=tuple(Example(e.input + " and on" * 10, e.output) for e in long.examples))
    sizes: dict[str, set[int]] = {"long": set(), "short": set()}
    for episode in drawn(EpisodeSource([long, short], replace(PLAIN, shots=[0], words=200), 0), 40):
        sizes[episode.task].add(len(episode.query))
    assert max(sizes["long"]) < min(sizes["short"])


def test_large_label_sets_are_cut_to_various_parts() -> None:
    episodes = drawn(EpisodeSource(MANY[9:10], replace(PLAIN, max_labels=5), 0), 60)
    assert {len(episode.labels) for episode in episodes} == {2, 3, 4, 5}
    assert len({episode.labels for episode in episodes}) > 20
    assert set().union(*(episode.labels for episode in episodes)) == set("abcdefghijk")


def test_labels_without_examples_never_leave_an_episode_without_a_query() -> None:
    task = choice("t", labels=dict.fromkeys(["yes", "no", *map(str, range(20))], ""))
    assert all(episode.query for episode in drawn(EpisodeSource([task], PLAIN, 0), 40))


@pytest.mark.parametrize("each", [1, 2, 5])
def test_small_tasks_keep_a_query(each: int) -> None:
    source = EpisodeSource([choice("t", each=each), text("u", each)], replace(PLAIN, shots=[16]), 0)
    assert all(episode.query for episode in drawn(source, 30))


def test_what_is_told_follows_the_settings() -> None:
    told = EpisodeSettings(shots=[2], paraphrases=2, codes=0, no_description=0.0, label_descriptions=1.0)
    episodes = drawn(EpisodeSource(MANY[:5], told, 0), 60)
    assert {len(set(episode.descriptions)) for episode in episodes} == {1, 2}
    for episode in episodes:
        assert episode.label_descriptions == tuple(f"what {label} means" for label in episode.labels)
    silent = EpisodeSource(MANY[:5], replace(told, no_description=1.0, label_descriptions=0.0), 0)
    assert all(not episode.descriptions and not episode.label_descriptions for episode in drawn(silent, 60))
    unshown = EpisodeSource(MANY[:5], replace(told, no_description=1.0, shots=[0]), 0)
    assert all(episode.descriptions for episode in drawn(unshown, 60))
    some = drawn(EpisodeSource(MANY[:5], replace(told, no_description=0.25), 0), 400)
    assert abs(sum(not episode.descriptions for episode in some) - 100) < 35


def test_tasks_without_descriptions_can_be_drawn_and_are_then_not_renamed() -> None:
    source = EpisodeSource([choice("t", descriptions=())], EpisodeSettings(shots=[0, 2], codes=1.0), 0)
    episodes = drawn(source, 40)
    assert all(episode.descriptions == () for episode in episodes)
    assert {bool(episode.support): set(episode.labels) == {"yes", "no"} for episode in episodes} == {
        True: False,
        False: True,
    }


@pytest.mark.parametrize(
    ("tasks", "changes", "message"),
    [
        ([], {}, "no meta-train tasks"),
        (
            [choice("a"), Task("bare", ("told only",), ())],
            {},
            r"tasks without examples cannot be trained on: \['bare'\]",
        ),
        ([choice("a")], {"shots": []}, "shots at least one number"),
        ([choice("a")], {"tasks": 0}, "tasks must be at least 1"),
        ([choice("a")], {"max_labels": 1}, "max_labels at least 2"),
    ],
)
def test_what_cannot_be_drawn_from_is_an_error_at_once(
    tasks: list[Task], changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(TaskError, match=message):
        EpisodeSource(tasks, replace(PLAIN, **changes), 0)


@pytest.mark.parametrize("labels", [2, 5, 26, 30])
def test_recoding_renames_labels_one_to_one_and_tells_the_key(labels: int) -> None:
    episode = draw_episode(
        choice("t", tuple(f"label{n:02}x" for n in range(labels)), each=3), shots=1, queries=50, seed=0
    )
    found = set()
    for seed in range(30):
        coded = recode(episode, Random(seed))
        before, after = (*episode.support, *episode.query), (*coded.support, *coded.query)
        assert [example.input for example in after] == [example.input for example in before]
        code = {old.output: new.output for old, new in zip(before, after, strict=True)}
        assert all(code[old.output] == new.output for old, new in zip(before, after, strict=True))
        assert len(set(code.values())) == len(code) == labels
        assert set(coded.labels) == set(code.values())
        assert list(coded.labels) == sorted(coded.labels)
        assert not set(coded.labels) & set(episode.labels)
        assert coded.label_descriptions == ()
        for description, told in zip(episode.descriptions, coded.descriptions, strict=True):
            assert description in told
            for label, name in code.items():
                assert any(key.format(code=name, label=label) in told for key in KEYS)
        found.add(tuple(sorted(code.items())))
    assert len(found) > 5


def test_recoding_is_told_by_examples_alone_where_there_is_no_description() -> None:
    episode = draw_episode(choice("t"), shots=2, queries=4, seed=0).with_descriptions([])
    coded = recode(episode, Random(0))
    assert coded.descriptions == ()
    assert {example.output for example in coded.support} == set(coded.labels)


def test_the_share_of_recoded_episodes_follows_the_settings() -> None:
    def share(codes: float) -> float:
        episodes = drawn(EpisodeSource([choice("t")], replace(PLAIN, codes=codes), 0), 400)
        return sum("yes" not in episode.labels for episode in episodes) / 400

    assert share(0.0) == 0
    assert share(1.0) == 1
    assert abs(share(0.3) - 0.3) < 0.1


def test_free_text_is_asked_as_a_choice_among_outputs_that_keep_a_query() -> None:
    facts = text("capitals", count=40)
    repeated = text("jobs", examples=tuple(Example(f"jobs {n}", f"job {n % 6}") for n in range(60)))
    settings = replace(PLAIN, choices=0.5, max_labels=8, shots=[0, 2])
    source = EpisodeSource([choice("a"), facts, repeated], settings, seed=0)
    episodes = drawn(source, 200)
    asked = Counter(episode.task for episode in episodes)
    assert 70 < asked["a"] < 130
    for episode in (e for e in episodes if e.task != "a"):
        assert 4 <= len(episode.labels) <= 8
        assert len(episode.query) >= 4
        assert {e.output for e in (*episode.support, *episode.query)} <= set(episode.labels)
        assert episode.metric == "accuracy"
        examples = {"capitals": facts, "jobs": repeated}[episode.task].examples
        assert {*episode.support, *episode.query} <= set(examples)
    assert not any(episode.support for episode in episodes if episode.task == "capitals")
    assert any(episode.support for episode in episodes if episode.task == "jobs")


def test_free_text_stays_free_text_without_choices_and_long_outputs_are_no_choice() -> None:
    assert not any(episode.labels for episode in drawn(EpisodeSource([text("t")], PLAIN, seed=0), 8))
    long = text(
        "long", examples=tuple(Example(f"long {n}", f"a sentence of many words, number {n}, " * 2) for n in range(20))
    )
    source = EpisodeSource([choice("a"), long], replace(PLAIN, choices=0.9), seed=0)
    assert {episode.task for episode in drawn(source, 20)} == {"a"}
    with pytest.raises(TaskError, match="no task has labels of its own"):
        EpisodeSource([text("t")], replace(PLAIN, choices=0.5), seed=0)
