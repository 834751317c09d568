"""How many steps, how large: chosen by the examples themselves, in one run, and recorded."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from api_checks import equal, make
from conftest import color_episode, noise

import hyperpeft.schedule
from hyperpeft import Generator, generate, load_adapter
from hyperpeft.adaptation import FinetuneSettings, finetune
from hyperpeft.adapters import Lora
from hyperpeft.backbones import Backbone
from hyperpeft.schedule import FACTORS, STEPS, choose_schedule
from hyperpeft.selection import divisible, folds
from hyperpeft.tasks import Episode, Example
from hyperpeft.weights import AdapterWeights

SUPPORT = tuple(Example(f"thing {n} {'leaf' if n % 2 else 'blood'}", "green" if n % 2 else "red") for n in range(8))
EPISODE = color_episode(support=SUPPORT)
PAIRS = [(e.input, e.output) for e in SUPPORT]
SETTINGS = FinetuneSettings(lr=1e-2)


@pytest.fixture(autouse=True)
def _short(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    monkeypatch.setattr(hyperpeft.schedule, "STEPS", (0, 2, 4))
    monkeypatch.setenv("HYPERPEFT_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))


def plain_start(backbone: Backbone[Any]) -> AdapterWeights:
    return noise(backbone.start(Lora(rank=2)), 0, 0.05)


def judged_one_by_one(backbone: Backbone[Any], seed: int = 0) -> dict[tuple[int, float], float]:
    """The losses that the batched run should find: each fold, step size and number of steps by itself."""
    losses = {}
    for steps in (0, 2, 4):
        for factor in FACTORS:
            total = 0.0
            for part in folds(EPISODE, seed):
                settings = FinetuneSettings(steps=steps, lr=factor * SETTINGS.lr)
                tuned = finetune(backbone, plain_start(backbone), [part], settings)
                with torch.no_grad(), backbone.adapted(tuned):
                    total += float(backbone.loss(backbone.query_batch([part]))) * len(part.query)
            losses[steps, factor * SETTINGS.lr] = total / len(SUPPORT)
    return losses


def test_the_batched_choice_is_that_of_single_runs(backbone: Backbone[Any]) -> None:
    start = plain_start(backbone)
    found = choose_schedule(backbone, EPISODE, lambda parts: start.repeat(len(parts)), SETTINGS)
    losses = judged_one_by_one(backbone)
    batched = hyperpeft.schedule._losses(
        backbone, folds(EPISODE, 0), lambda parts: start.repeat(len(parts)), SETTINGS, [f * 1e-2 for f in FACTORS]
    )
    assert batched.keys() == losses.keys()
    for cell, loss in losses.items():
        assert batched[cell] == pytest.approx(loss, rel=1e-3), cell
    best = min(batched, key=lambda cell: batched[cell])
    assert found.steps == best[0]
    assert found.lr == (best[1] if best[0] else SETTINGS.lr)
    assert len({round(loss, 4) for loss in losses.values()}) > 3
    assert found == choose_schedule(backbone, EPISODE, lambda parts: start.repeat(len(parts)), SETTINGS)


def test_no_fold_starts_from_or_trains_on_what_judges_it(encoder: Backbone[Any]) -> None:
    seen: list[Episode] = []

    def watched(episodes: Sequence[Episode]) -> AdapterWeights:
        seen.extend(episodes)
        return plain_start(encoder).repeat(len(episodes))

    choose_schedule(encoder, EPISODE, watched, SETTINGS)
    assert [(e.query, e.support) for e in seen] == [((), part.support) for part in folds(EPISODE, 0)]


def test_each_label_stays_in_every_fold() -> None:
    """Four labels of two examples each: no fold leaves out both of one label."""
    labels = ("a", "b", "c", "d")
    support = tuple(Example(f"{label} {n}", label) for label in labels for n in range(2))
    for seed in range(20):
        for part in folds(color_episode(support=support, labels=labels), seed):
            assert {e.output for e in part.support} == set(labels)
            assert len(part.query) == 2


def test_too_few_examples_take_the_default(encoder: Backbone[Any]) -> None:
    one_red = replace(EPISODE, support=SUPPORT[1::2] + SUPPORT[:1])
    assert not divisible(one_red)
    assert divisible(replace(one_red, labels=())) != divisible(replace(one_red, labels=(), support=SUPPORT[:3]))
    found = choose_schedule(encoder, one_red, lambda _: pytest.fail("nothing to try"), SETTINGS)
    assert (found.steps, found.lr) == (20, 1e-2)
    assert "default" in found.how


@pytest.fixture(scope="module")
def classifier(folders: dict[str, Path]) -> Generator:
    return make(folders, "encoder", "bert")


def test_through_the_front_door(classifier: Generator, tmp_path: Path) -> None:
    adapter = generate("green means plants", PAIRS, generator=classifier)
    tuned = adapter.finetune(steps="auto", lr=1e-2)
    assert tuned.schedule is not None
    assert "cross-validated on 8 examples" in tuned.schedule.how
    assert "had seen" not in tuned.schedule.how
    assert tuned.finetune_steps == tuned.schedule.steps
    assert equal(tuned, adapter.finetune(steps=tuned.schedule.steps, lr=tuned.schedule.lr))
    assert adapter.schedule is None
    loaded = load_adapter(tuned.save(tmp_path / "a"), classifier.backbone)
    assert loaded.schedule == tuned.schedule
    assert adapter.finetune(PAIRS[:2], steps="auto").finetune_steps == 20
    with pytest.raises(ValueError, match="steps is 'all'"):
        adapter.finetune(steps="all")  # type: ignore[arg-type]


def test_folds_are_generated_again_where_that_can_be(
    classifier: Generator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    adapter = generate("green means plants", PAIRS, generator=classifier)
    loaded = load_adapter(adapter.save(tmp_path / "a"), classifier.backbone)
    asked: list[int] = []
    whole = classifier.generate
    monkeypatch.setattr(classifier, "generate", lambda episodes: asked.append(len(episodes)) or whole(episodes))
    adapter.finetune(steps="auto")
    assert asked == [4]
    told = loaded.finetune(steps="auto").schedule
    assert told is not None
    assert "had seen them" in told.how
    fresh = [(f"other {text}", label) for text, label in PAIRS]
    told = loaded.finetune(fresh, steps="auto").schedule
    assert told is not None
    assert "had seen" not in told.how
    told = loaded.finetune([*fresh, *PAIRS[:1]], steps="auto").schedule
    assert told is not None
    assert "had seen them" in told.how
    told = loaded.finetune(PAIRS[:2], steps="auto").schedule
    assert told is not None
    assert "had seen" not in told.how
    assert asked == [4]


def test_a_text_task_is_scheduled_alike(folders: dict[str, Path]) -> None:
    writer = make(folders, "causal_lm", "llama")
    adapter = generate("Say the colour.", PAIRS, generator=writer)
    assert adapter.labels == ()
    tuned = adapter.finetune(steps="auto", lr=1e-2)
    assert tuned.schedule is not None
    assert tuned.finetune_steps == tuned.schedule.steps > 0


def test_the_choices_are_what_the_docs_say() -> None:
    assert STEPS == (0, 5, 10, 20, 40)
    assert FACTORS == (0.3, 1.0, 3.0)
