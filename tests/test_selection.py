"""The choice among starts by cross-validation on a task's own examples."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from conftest import awake, color_episode

import hyperpeft
from hyperpeft.adaptation import FinetuneSettings
from hyperpeft.calibration import Calibration
from hyperpeft.generator import Generator
from hyperpeft.selection import FOLDS, choose, cross_validated, folds, preferred
from hyperpeft.tasks import Episode, Example

SUPPORT = tuple(Example(f"thing {n} {'leaf' if n % 2 else 'blood'}", "green" if n % 2 else "red") for n in range(10))
EPISODE = color_episode(support=SUPPORT)
NO_STEPS = FinetuneSettings(steps=0)


def test_folds_part_the_support_and_spread_labels() -> None:
    parts = folds(EPISODE, seed=0)
    assert len(parts) == FOLDS
    assert sorted(e.input for part in parts for e in part.query) == sorted(e.input for e in SUPPORT)
    for part in parts:
        assert not set(part.query) & set(part.support)
        assert len(part.query) + len(part.support) == len(SUPPORT)
        assert {e.output for e in part.support} == {"green", "red"}
    assert parts == folds(EPISODE, seed=0) != folds(EPISODE, seed=1)


def test_losses_are_those_of_left_out_examples_at_the_temperature_of_the_start(generator: Generator) -> None:
    backbone = generator.eval().backbone
    generator.calibration = Calibration({"shared adapter": 2.0})
    starts = {"shared adapter": lambda episodes: generator.shared(len(episodes))}
    expected = []
    for part in folds(EPISODE, seed=3):
        with torch.no_grad(), backbone.adapted(generator.shared(1)):
            (probabilities,) = backbone.probabilities([part])
        flatter = probabilities.sqrt() / probabilities.sqrt().sum(-1, keepdim=True)
        expected += [-float(flatter[i, part.labels.index(e.output)].log()) for i, e in enumerate(part.query)]
    found = cross_validated(generator, EPISODE, starts, seed=3)["shared adapter"]
    assert found.tolist() == pytest.approx(expected, rel=1e-3)


def test_what_examples_cannot_tell_apart_is_decided_for_the_simpler_start() -> None:
    simple = torch.tensor([1.0, 0.2, 1.0, 0.2, 1.0, 0.2, 1.0, 0.2])
    assert preferred({"simple": simple, "dear": simple - 0.1}) == "dear"  # a little, but always
    noisy = simple + torch.tensor([0.3, -0.5, 0.3, -0.5, 0.3, -0.5, 0.3, -0.5])
    assert noisy.mean() < simple.mean()
    assert preferred({"simple": simple, "dear": noisy}) == "simple"
    assert preferred({"simple": simple, "dear": simple + 0.1}) == "simple"
    assert preferred({"simple": simple * float("nan"), "dear": simple}) == "dear"


def test_no_start_sees_the_example_it_is_judged_by(generator: Generator) -> None:
    seen: list[Episode] = []

    def watched(episodes: Any) -> Any:
        seen.extend(episodes)
        return generator.shared(len(episodes))

    cross_validated(generator, EPISODE, {"watched": watched}, seed=0)
    assert all(not episode.query for episode in seen)
    assert [len(episode.support) for episode in seen] == [len(part.support) for part in folds(EPISODE, 0)]


def test_the_best_start_is_chosen(generator: Generator) -> None:
    """A generated part that ruins the features loses; one that equals the shared part is not worth its price."""
    generator.eval()
    ruined = generator.generate([EPISODE]).map(lambda leaf: leaf * 0 - 3)
    generator.generate = lambda episodes: ruined.repeat(len(episodes))  # type: ignore[method-assign]
    name, weights = choose(generator, EPISODE, ruined, NO_STEPS)
    assert name in ("no adapter", "shared adapter")
    assert weights.tasks == 1
    generator.generate = lambda episodes: generator.shared(len(episodes))  # type: ignore[method-assign]
    assert choose(generator, EPISODE, generator.shared(1), NO_STEPS)[0] != "generated"


def test_too_few_examples_cannot_choose(generator: Generator) -> None:
    few = replace(EPISODE, support=SUPPORT[:4])
    with pytest.raises(ValueError, match="has 4 examples: to choose takes 8"):
        choose(generator, few, generator.shared(1), NO_STEPS)


def test_through_the_front_door(generator_settings: dict[str, Any], tmp_path: Any) -> None:
    generator_settings["label_reader"] = {}  # type: ignore[assignment]
    generator = awake(Generator.build(generator_settings)).eval()
    pairs = [(e.input, e.output) for e in SUPPORT]
    adapter = hyperpeft.generate("green means plants; red means blood", pairs, generator=generator, select="auto")
    assert adapter.choice in ("no adapter", "shared adapter", "generated")
    assert set(adapter.predict(["leaf", "blood"])) <= {"green", "red"}
    tuned = hyperpeft.generate(None, pairs, generator=generator, select="auto", finetune_steps=2)
    assert (tuned.choice == "fine-tuned") == (tuned.finetune_steps == 2)
    loaded = hyperpeft.load_adapter(adapter.save(tmp_path / "adapter"), generator.backbone)
    assert loaded.choice == adapter.choice
    assert hyperpeft.generate(None, pairs[:4], generator=generator, select="auto").choice == "generated"
    with pytest.raises(ValueError, match="select is 'best'"):
        hyperpeft.generate(None, pairs, generator=generator, select="best")  # type: ignore[arg-type]
