"""Learned gradient steps on the support as a part of generating."""

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from conftest import awake, color_episode, size_episode

from hyperpeft.adaptation import support_batches
from hyperpeft.backbones.prototypes import LABEL_GAIN
from hyperpeft.config import ConfigError
from hyperpeft.generator import Generator
from hyperpeft.objectives import Sft
from hyperpeft.refinement import PACE, Refinement
from hyperpeft.tasks import Episode
from hyperpeft.weights import AdapterWeights

BARE = color_episode(task="bare", support=())


@pytest.fixture
def plain(generator: Generator) -> Generator:
    return generator.eval()


def refinement(generator: Generator, **settings: Any) -> Refinement:
    return Refinement(generator.hypernetwork.shared_weights(1), **settings).eval()


def equal(one: AdapterWeights, two: AdapterWeights) -> bool:
    return all(torch.allclose(a, b, atol=1e-6) for (_, a), (_, b) in zip(one.named(), two.named(), strict=True))


def loss(generator: Generator, weights: Any, episodes: list[Episode]) -> torch.Tensor:
    with torch.no_grad(), generator.backbone.adapted(weights):
        return generator.backbone.loss(generator.backbone.support_batch(episodes))


@pytest.mark.parametrize("normalised", [True, False])
def test_one_step_is_the_gradient_times_the_step_size(plain: Generator, normalised: bool) -> None:
    episodes = [color_episode(), size_episode()]
    start = plain.generate(episodes)
    leaves = start.map(lambda leaf: leaf.clone().requires_grad_(True))
    with plain.backbone.adapted(leaves):
        plain.backbone.loss(plain.backbone.support_batch(episodes)).sum().backward()
    refine = refinement(plain, steps=1, size=0.01, normalised=normalised)
    made = dict(refine(plain.backbone, start, episodes, plain.shared(1)).named())
    for name, leaf in leaves.named():
        if normalised and name.startswith("readout:"):
            assert torch.equal(made[name], leaf.detach())
            continue
        for task in range(2):
            gradient = leaf.grad[task]  # type: ignore[index]
            unit = gradient / gradient.square().mean().sqrt() if normalised else gradient
            expected = leaf[task].detach() - 0.01 * unit
            assert torch.allclose(made[name][task], expected, atol=1e-5), name


def test_small_steps_lower_the_support_loss_and_tasks_do_not_mix(plain: Generator) -> None:
    episodes = [color_episode(), size_episode(), color_episode(task="other", support=color_episode().support[:2])]
    refine = refinement(plain, steps=3, size=1e-3)
    start = plain.generate(episodes)
    made = refine(plain.backbone, start, episodes, plain.shared(1))
    assert (loss(plain, made, episodes) < loss(plain, start, episodes)).all()
    for index, episode in enumerate(episodes):
        alone = refine(plain.backbone, start[index], [episode], plain.shared(1))
        for (name, one), (_, all_) in zip(alone.named(), made.named(), strict=True):
            assert torch.allclose(one[0], all_[index], atol=1e-4), name


def test_many_tasks_are_refined_in_parts(plain: Generator, monkeypatch: pytest.MonkeyPatch) -> None:
    episodes = [color_episode(), BARE, size_episode(), color_episode(task="other")]
    refine, start = refinement(plain, steps=2), plain.generate(episodes)
    sizes: list[int] = []

    def counted(backbone: Any, part: Any, settings: Any) -> Any:
        sizes.append(len(part))
        return support_batches(backbone, part, settings)

    monkeypatch.setattr("hyperpeft.refinement.support_batches", counted)
    whole = refine(plain.backbone, start, episodes, plain.shared(1))
    monkeypatch.setattr("hyperpeft.refinement.TASKS", 2)
    parts = refine(plain.backbone, start, episodes, plain.shared(1))
    assert sizes == [3, 2, 1]
    for (name, one), (_, two) in zip(whole.named(), parts.named(), strict=True):
        assert torch.allclose(one, two, atol=1e-5), name


def test_tasks_without_support_keep_their_weights(plain: Generator) -> None:
    episodes = [BARE, size_episode()]
    start = plain.generate(episodes)
    made = refinement(plain)(plain.backbone, start, episodes, plain.shared(1))
    for (name, before), (_, after) in zip(start.named(), made.named(), strict=True):
        assert torch.equal(before[0], after[0]), name
    assert any(
        not torch.equal(before[1], after[1])
        for (_, before), (_, after) in zip(start.named(), made.named(), strict=True)
    )
    assert refinement(plain)(plain.backbone, start[0], [BARE], plain.shared(1)) is not None


def test_the_query_is_not_seen(plain: Generator) -> None:
    refine, start = refinement(plain, steps=2), plain.generate([size_episode()])
    one = refine(plain.backbone, start, [size_episode()], plain.shared(1))
    two = refine(plain.backbone, start, [size_episode(query=())], plain.shared(1))
    assert all(torch.equal(a, b) for (_, a), (_, b) in zip(one.named(), two.named(), strict=True))


def test_step_sizes_and_start_get_gradients(generator_settings: dict[str, Any]) -> None:
    generator_settings["refinement"] = {"steps": 2}
    generator = awake(Generator.build(generator_settings))
    episodes = [color_episode(), size_episode()]
    with generator.backbone.adapted(generator(episodes)):
        generator.backbone.loss(generator.backbone.query_batch(episodes)).sum().backward()
    assert generator.refinement is not None
    assert generator.refinement.log_size.grad.abs().sum() > 0  # type: ignore[union-attr]
    assert generator.refinement.trust.grad.abs().sum() > 0  # type: ignore[union-attr]
    shared = [value.grad.abs().sum() for value in generator.hypernetwork.shared.values()]  # type: ignore[union-attr]
    assert all(total > 0 for total in shared)
    assert all(parameter.grad is None for parameter in generator.backbone.model.parameters())


def test_a_start_of_its_own_is_an_offset_from_the_weights(plain: Generator) -> None:
    episodes = [color_episode(), size_episode()]
    start = plain.generate(episodes)
    joint, apart = (refinement(plain, steps=2, normalised=False, apart=own) for own in (False, True))
    assert not joint.offset
    assert equal(
        joint(plain.backbone, start, episodes, plain.shared(1)), apart(plain.backbone, start, episodes, plain.shared(1))
    )
    with torch.no_grad():
        for value in apart.offset:  # type: ignore[union-attr]
            value.fill_(0.02)
    made = apart(plain.backbone, start, [BARE, size_episode()], plain.shared(1))
    moved = start.map(lambda leaf: leaf + 0.02)
    assert equal(made[1], joint(plain.backbone, moved[1], [size_episode()], plain.shared(1)))
    assert equal(made[0], start[0])


@pytest.mark.parametrize("share", [0.0, 0.5])
def test_a_start_of_its_own_keeps_a_share_of_the_generated_part(generator: Generator, share: float) -> None:
    plain = awake(generator).eval()
    episodes = [color_episode(), size_episode()]
    start, shared = plain.generate(episodes), plain.shared(2)
    assert not equal(start, shared)
    apart = refinement(plain, steps=2, normalised=False, apart=True, share=share)
    between = shared.zip(start, lambda one, two: one.lerp(two, share))
    joint = refinement(plain, steps=2, normalised=False)
    made = apart(plain.backbone, start, episodes, plain.shared(1))
    assert equal(made, joint(plain.backbone, between, episodes, plain.shared(1)))


@pytest.mark.parametrize(("share", "alike"), [(0.0, True), (1.0, False)])
def test_without_its_share_the_description_is_not_heard(
    generator_settings: dict[str, Any], share: float, alike: bool
) -> None:
    generator_settings["refinement"] = {"steps": 1, "normalised": False, "apart": True, "share": share}
    generator = awake(Generator.build(generator_settings)).eval()
    told, other = color_episode(), color_episode(descriptions=("Count the vowels of each word.",))
    assert equal(generator.generate([told]), generator.generate([other])) is alike


def test_what_is_read_of_labels_stays_whole(plain: Generator) -> None:
    start = plain.generate([size_episode()])
    read = replace(start, readout={**start.readout, LABEL_GAIN: torch.full((1, 3), 0.5)})
    made = refinement(plain, apart=True, share=0.5)._start(read, plain.shared(1))
    assert torch.equal(made.readout[LABEL_GAIN], read.readout[LABEL_GAIN])


@pytest.mark.parametrize(("share", "apart"), [(0.5, False), (-0.1, True), (1.1, True)])
def test_a_share_that_cannot_be_is_refused(plain: Generator, share: float, apart: bool) -> None:
    with pytest.raises(ConfigError, match="a share is between 0 and 1"):
        refinement(plain, share=share, apart=apart)


def test_no_gradient_passes_a_start_of_its_own(generator_settings: dict[str, Any]) -> None:
    generator_settings["refinement"] = {"steps": 2, "normalised": False, "apart": True}
    generator = awake(Generator.build(generator_settings))
    Sft()(generator, [color_episode(), size_episode()]).loss.sum().backward()
    reached = {name for name, value in generator.named_parameters() if value.grad is not None and value.grad.any()}
    assert {name.split(".")[0] for name in reached} == {"refinement"}
    assert sum("offset" in name for name in reached) == len(generator.refinement.names)  # type: ignore[union-attr]


def test_step_sizes_begin_as_set(plain: Generator) -> None:
    made = refinement(plain, steps=2, size=0.02)
    assert torch.allclose((PACE * made.log_size).exp(), torch.tensor(0.02))
    assert math.isclose(made.settings()["size"], 0.02)


def test_a_refining_generator_is_saved_and_loaded(generator_settings: dict[str, Any], tmp_path: Any) -> None:
    generator_settings["refinement"] = {"steps": 2, "rows": 8, "normalised": False, "apart": True, "share": 0.5}
    generator = awake(Generator.build(generator_settings)).eval()
    loaded = Generator.from_pretrained(generator.save_pretrained(tmp_path / "g"), generator.backbone)
    episodes = [color_episode(), BARE]
    for (name, one), (_, two) in zip(
        generator.generate(episodes).named(), loaded.generate(episodes).named(), strict=True
    ):
        assert torch.allclose(one, two, atol=1e-6), name
