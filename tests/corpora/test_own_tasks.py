"""The corpora that the project ships: large, balanced and varied enough, and split without leaks."""

import re
from collections import Counter
from itertools import combinations
from pathlib import Path

import pytest
import yaml
from sklearn.feature_extraction.text import CountVectorizer

from hyperpeft.corpora import Folder
from hyperpeft.meta_splits import SPLITS, split_tasks
from hyperpeft.tasks import Task, unique_by_name

ROOT = Path(__file__).parents[2] / "tasks"
CODE = re.compile(r"[A-Z]|\d")


BALANCE = {"everyday": 1.3, "broad": 2.0}
NEAR, FEW_WORDS = 0.5, 6


@pytest.fixture(scope="module", params=BALANCE)
def corpus(request: pytest.FixtureRequest) -> Folder:
    return Folder(str(ROOT / request.param))


@pytest.fixture(scope="module")
def tasks(corpus: Folder) -> list[Task]:
    return unique_by_name(corpus.read())


@pytest.fixture(scope="module")
def everyday() -> list[Task]:
    return unique_by_name(Folder(str(ROOT / "everyday")).read())


def words(text: str) -> frozenset[str]:
    return frozenset(re.findall(r"[\w']+", text.lower()))


def inputs(tasks: list[Task]) -> set[str]:
    return {example.input for task in tasks for example in task.examples}


def test_there_are_many_tasks_with_many_examples_under_an_open_licence(tasks: list[Task]) -> None:
    assert len(tasks) >= 60
    assert {task.name: len(task.examples) for task in tasks if len(task.examples) < 48} == {}
    assert {task.licence for task in tasks} == {"Apache-2.0"}


def test_tasks_are_told_in_at_least_four_ways(tasks: list[Task]) -> None:
    told = {task.name: {" ".join(sorted(words(text))) for text in task.descriptions} for task in tasks}
    assert {name: len(ways) for name, ways in told.items() if len(ways) < 4} == {}
    everywhere = Counter(text for task in tasks for text in task.descriptions)
    assert [text for text, count in everywhere.items() if count > 1] == []


def test_labels_are_described_and_balanced(corpus: Folder, tasks: list[Task]) -> None:
    unbalanced = {}
    for task in (task for task in tasks if task.labels):
        counts = Counter(example.output for example in task.examples)
        sizes = [counts[label] for label in task.labels]
        if max(sizes) > BALANCE[corpus.path.name] * min(sizes):
            unbalanced[task.name] = sizes
    assert unbalanced == {}
    assert [task.name for task in tasks if not all(task.labels.values())] == []


def test_both_kinds_of_task_and_code_labels_are_there(everyday: list[Task]) -> None:
    coded = [task for task in everyday if task.labels and all(CODE.fullmatch(label) for label in task.labels)]
    assert len(coded) >= 10
    assert len({task.family for task in coded}) >= 5
    assert sum(not task.labels for task in everyday) >= 5


def test_no_input_is_nearly_another(tasks: list[Task]) -> None:
    """Jaccard similarity of word sets below one half, over all inputs of the corpus of more than a few words."""
    texts = sorted(inputs(tasks))
    having = CountVectorizer(analyzer=words).fit_transform(texts)
    common = (having @ having.T).tocoo()
    sizes = having.sum(axis=1).A1
    union = sizes[common.row] + sizes[common.col] - common.data
    near = (common.data >= NEAR * union) & (union > FEW_WORDS)
    pairs = zip(common.row[near], common.col[near], strict=True)
    assert [(texts[one], texts[two]) for one, two in pairs if one < two] == []


def test_no_task_repeats_an_input(tasks: list[Task]) -> None:
    assert [task.name for task in tasks if len(inputs([task])) < len(task.examples)] == []


def test_every_broad_family_asks_three_questions_and_one_by_codes() -> None:
    tasks = unique_by_name(Folder(str(ROOT / "broad")).read())
    plain = Counter(task.family for task in tasks if not task.name.endswith("_code"))
    assert min(plain.values()) >= 3
    assert {task.family for task in tasks if task.name.endswith("_code")} == set(plain)
    assert len({frozenset(inputs([task])) for task in tasks}) == len(plain)


def test_families_ask_several_questions_of_one_input(everyday: list[Task]) -> None:
    tasks = everyday
    asked: dict[str, Counter[str]] = {}
    for task in tasks:
        asked.setdefault(task.family, Counter()).update(example.input for example in task.examples)
    assert sum(max(counts.values()) >= 3 for counts in asked.values()) >= 2
    by_name = {task.name: task for task in tasks}
    answers = [{e.input: e.output for e in by_name[f"support_{part}"].examples} for part in ("topic", "tone")]
    assert answers[0].keys() == answers[1].keys()
    assert len(set(zip(answers[0].values(), answers[1].values(), strict=False))) > 4


def test_every_family_is_in_one_split_and_no_text_in_two(corpus: Folder, tasks: list[Task]) -> None:
    assert corpus.splits is not None
    assert Path(corpus.splits).samefile(ROOT / "splits" / f"{corpus.path.name}.yaml")
    families = yaml.safe_load(Path(corpus.splits).read_text())["families"]
    assert set(families) == {task.family for task in tasks}
    parts = split_tasks(tasks, corpus.splits)
    assert sum(map(len, parts.values())) == len(tasks)
    for one, two in combinations(SPLITS, 2):
        assert not {task.family for task in parts[one]} & {task.family for task in parts[two]}
        assert not inputs(parts[one]) & inputs(parts[two])
    assert all(len({task.family for task in parts[split]}) >= 3 for split in SPLITS)
