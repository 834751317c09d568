"""The generator `letters` inside the package: loads without a network and does what a description says."""

from pathlib import Path
from random import Random
from statistics import mean

import pytest

from hyperpeft.baselines import Generated
from hyperpeft.benchmark import EvaluationSettings, run_benchmark
from hyperpeft.corpora import Procedural
from hyperpeft.loading import load_generator
from hyperpeft.tasks import Task


@pytest.fixture(scope="module")
def unseen() -> list[Task]:
    """Compositions of the test part, of which the generator has seen the steps alone or otherwise joined."""
    corpus = Procedural(tasks=2100, depth=2, examples=16, novel="new_composition", inputs=["word", "letter"])
    tasks = [task for task in corpus.read() if corpus.split(task.name) == "test" and task.family == "new_composition"]
    return Random(0).sample(tasks, 24)


@pytest.mark.usefixtures("minilm")
def test_new_compositions_are_done_by_description_and_examples(
    unseen: list[Task], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HYPERPEFT_CACHE", str(tmp_path))
    generator = load_generator("letters")
    assert generator.backbone.name == "hyperpeft/letters"
    methods = [Generated(generator), Generated(generator, "wrong-task description")]
    settings = EvaluationSettings(shots=[4], steps=[0], seeds=[0], queries=4)
    records = run_benchmark(methods, unseen, generator.backbone, settings)
    right, wrong = (mean(r.score for r in records if r.method == method.name) for method in methods)
    assert right > 0.1
    assert wrong < 0.02
