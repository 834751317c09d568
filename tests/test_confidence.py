"""Confidence: distance, leave-one-out, agreement of paraphrases, what is low and what then happens."""

import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from api_checks import equal, make
from conftest import color_episode

from hyperpeft import Generator, generate, generate_many, load_adapter
from hyperpeft.calibration import Calibration
from hyperpeft.confidence import Confidence, assess, judged
from hyperpeft.selection import choose_simple
from hyperpeft.tasks import Episode, Example, Task
from hyperpeft.trained_tasks import TrainedTasks

SUPPORT = tuple(Example(f"thing {n} {'leaf' if n % 2 else 'blood'}", "green" if n % 2 else "red") for n in range(6))
PAIRS = [(e.input, e.output) for e in SUPPORT]
WORDINGS = ("Say which colour the thing has.", "green: plants. red: everything else")
EPISODE = color_episode(support=SUPPORT, descriptions=WORDINGS)


@pytest.fixture(autouse=True)
def _cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HYPERPEFT_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))


@pytest.fixture(params=["encoder", "causal_lm"])
def generator(request: pytest.FixtureRequest, folders: dict[str, Path]) -> Generator:
    return knowing(make(folders, request.param, {"encoder": "bert", "causal_lm": "llama"}[request.param]))


@pytest.fixture
def classifier(folders: dict[str, Path]) -> Generator:
    return knowing(make(folders, "encoder", "bert"))


def knowing(generator: Generator, far: float = 2.0) -> Generator:
    """As calibrated: it holds three meta-train tasks."""
    tasks = [Task(text, (text,), (Example("a", "b"),)) for text in ("What size is it?", "Who wrote it?", "Count.")]
    generator.trained_tasks = TrainedTasks.of(tasks, generator.text_encoder)
    generator.calibration = Calibration({}, far)
    return generator


def answering(generator: Generator, monkeypatch: pytest.MonkeyPatch, answer: Any) -> list[Episode]:
    """The backbone answers `answer(episode, input)`; returns what it is asked as it is asked."""
    asked: list[Episode] = []

    def predict(episodes: Sequence[Episode]) -> list[list[str]]:
        asked.extend(episodes)
        return [[answer(episode, example.input) for example in episode.query] for episode in episodes]

    monkeypatch.setattr(generator.backbone, "predict", predict)
    return asked


def truth(_: Episode, text: str) -> str:
    return "green" if "leaf" in text else "red"


def test_nothing_speaks_against_a_task_that_is_answered_right(
    generator: Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = answering(generator, monkeypatch, truth)
    found = assess(generator, EPISODE)
    assert found == Confidence(found.distance, 1.0, 1.0, False, "nothing speaks against it")
    assert generator.trained_tasks is not None
    assert found.distance == pytest.approx(generator.trained_tasks.distance(WORDINGS, generator.text_encoder), abs=1e-6)
    for episode in asked:
        assert not {e.input for e in episode.query} & {e.input for e in episode.support}
        assert len(episode.query) + len(episode.support) == len(SUPPORT)


def test_each_example_is_left_out_once(classifier: Generator, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = answering(classifier, monkeypatch, truth)
    assess(classifier, replace(EPISODE, descriptions=()))
    assert sorted(e.input for episode in asked for e in episode.query) == sorted(e.input for e in SUPPORT)
    assert len(asked) == len(SUPPORT)
    many = tuple(Example(f"{n} {'leaf' if n % 2 else 'blood'}", "green" if n % 2 else "red") for n in range(40))
    asked.clear()
    assess(classifier, replace(EPISODE, descriptions=(), support=many))
    assert len(asked) == 16
    assert sum(len(episode.query) for episode in asked) == 40


@pytest.mark.parametrize(("right", "low"), [(6, False), (3, False), (2, True), (0, True)])
def test_worse_than_the_commonest_answer_is_low(
    classifier: Generator, monkeypatch: pytest.MonkeyPatch, right: int, low: bool
) -> None:
    known = {e.input for e in SUPPORT[:right]}
    flip = {"green": "red", "red": "green"}
    answering(classifier, monkeypatch, lambda e, text: truth(e, text) if text in known else flip[truth(e, text)])
    found = assess(classifier, EPISODE)
    assert found.leave_one_out == pytest.approx(right / 6)
    assert found.low is low
    assert ("left out" in found.reason) is low


def test_paraphrases_that_disagree_are_low(classifier: Generator, monkeypatch: pytest.MonkeyPatch) -> None:
    odd = SUPPORT[0].input, SUPPORT[1].input

    def answer(episode: Episode, text: str) -> str:
        return "green" if episode.descriptions == WORDINGS[1:] and text in odd else truth(episode, text)

    answering(classifier, monkeypatch, answer)
    found = assess(classifier, EPISODE)
    assert found.agreement == pytest.approx(5 / 6)
    assert not found.low
    unlabelled = assess(classifier, EPISODE, [odd[0], "a leaf", "blood"])
    assert unlabelled.agreement == pytest.approx(2 / 3)
    assert unlabelled.low
    assert "paraphrases" in unlabelled.reason
    with pytest.raises(TypeError, match=r"pass \[text\]"):
        assess(classifier, EPISODE, "one text")


def test_paraphrases_without_examples_are_asked_of_given_inputs(generator: Generator) -> None:
    bare = replace(EPISODE, support=())
    assert assess(generator, bare).agreement is None
    found = assess(generator, bare, ["frog", "tomato"])
    assert found.agreement in (0.0, 0.5, 1.0)
    assert found.leave_one_out is None


def test_what_is_not_known_is_said(classifier: Generator) -> None:
    found = assess(classifier, replace(EPISODE, descriptions=(), support=SUPPORT[:1]))
    assert (found.distance, found.leave_one_out, found.agreement, found.low) == (None, None, None, False)
    assert all(word in found.reason for word in ("Not known", "distance", "leave-one-out", "agreement"))
    classifier.trained_tasks = None
    assert assess(classifier, EPISODE).distance is None


def test_distance_counts_only_against_a_limit() -> None:
    near, far = (judged(0.5, limit, None, None, EPISODE) for limit in (0.6, 0.4))
    assert (near.low, far.low, judged(0.5, None, None, None, EPISODE).low) == (False, True, False)
    assert "far from every meta-train task" in far.reason


def test_it_costs_nothing_before_it_is_asked_for(classifier: Generator, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[int] = []
    whole = classifier.generate
    monkeypatch.setattr(classifier, "generate", lambda episodes: made.append(len(episodes)) or whole(episodes))
    adapter = generate(WORDINGS, PAIRS, generator=classifier)
    assert made == [1]
    first = adapter.confidence
    assert len(made) > 1
    count = len(made)
    assert adapter.confidence is first
    assert len(made) == count
    assert first == assess(classifier, adapter.episode)


def test_low_confidence_is_a_warning_and_falls_back_if_asked(
    classifier: Generator, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    knowing(classifier, far=0.0)
    with caplog.at_level(logging.WARNING):
        adapter = generate(WORDINGS, PAIRS, generator=classifier)
    assert adapter.choice == "generated"
    assert "is far from every meta-train task" in caplog.text
    assert adapter.confidence.low
    assert "low confidence" in caplog.text
    backed = generate(WORDINGS, PAIRS, generator=classifier, fallback=True)
    assert backed.choice == "shared adapter"
    assert "falls back to: shared adapter" in caplog.text
    _, shared = choose_simple(classifier, adapter.episode, adapter.weights)
    assert equal(backed, replace(adapter, weights=shared))
    assert generate(WORDINGS, PAIRS, generator=classifier, select="auto").choice == "generated"
    assert load_adapter(backed.save(tmp_path / "a"), classifier.backbone).choice == "shared adapter"
    tuned = generate(WORDINGS, PAIRS, generator=classifier, fallback=True, finetune_steps=2)
    assert (tuned.choice, tuned.finetune_steps) == ("shared adapter", 0)


def test_with_examples_enough_the_fallback_is_the_better_simple_start(
    classifier: Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    knowing(classifier, far=0.0)
    more = [*PAIRS, *((f"more {text}", label) for text, label in PAIRS)]
    adapter = generate(WORDINGS, more, generator=classifier, fallback=True)
    assert adapter.choice in ("shared adapter", "no adapter")
    ruined = classifier.shared(1).map(lambda leaf: leaf * 0 - 3)
    monkeypatch.setattr(classifier, "shared", lambda tasks: ruined.repeat(tasks))
    assert generate(WORDINGS, more, generator=classifier, fallback=True).choice == "no adapter"


def test_high_confidence_keeps_the_generated_adapter(classifier: Generator, monkeypatch: pytest.MonkeyPatch) -> None:
    answering(classifier, monkeypatch, truth)
    assert generate(WORDINGS, PAIRS, generator=classifier, fallback=True).choice == "generated"


def test_a_loaded_adapter_knows_its_distance_only(classifier: Generator, tmp_path: Path) -> None:
    (adapter,) = generate_many([{"description": WORDINGS, "examples": PAIRS}], generator=classifier)
    loaded = load_adapter(adapter.save(tmp_path / "a"), classifier.backbone)
    assert loaded.distance == adapter.distance
    found = loaded.confidence
    assert found.distance == adapter.confidence.distance
    assert (found.leave_one_out, found.agreement) == (None, None)
    assert "no generator at hand" in found.reason
