"""Full fine-tuning: ordinary training of a copy, whatever happens to the shared backbone."""

import copy
from pathlib import Path
from typing import Any

import torch
from conftest import color_episode, size_episode

from hyperpeft.adaptation import FinetuneSettings
from hyperpeft.adapters import Lora
from hyperpeft.backbones import Backbone, Encoder
from hyperpeft.baselines import FullFinetune, ZeroShot
from hyperpeft.baselines.full_finetune import Values, WholeModel
from hyperpeft.tasks import Episode
from hyperpeft.weights import AdapterWeights

EPISODES = [color_episode(), size_episode()]
LORA = Lora(rank=2)


def adapted(backbone: Backbone[Any], episodes: list[Episode] = EPISODES) -> WholeModel:
    return FullFinetune(LORA).adapt(backbone, episodes)


def bfloat16(folders: dict[str, Path]) -> Encoder:
    return Encoder(str(folders["bert"]), dtype="bfloat16", max_tokens=64)


def test_without_steps_it_is_the_bare_backbone_in_any_dtype(encoder: Encoder, folders: dict[str, Path]) -> None:
    for backbone in (encoder, bfloat16(folders)):
        bare = [ZeroShot(LORA).adapt(backbone, [episode]).answers()[0] for episode in EPISODES]
        none = next(adapted(backbone).trained([0], FinetuneSettings()))
        for answers in (adapted(backbone).answers(), none.answers()):
            for answer, expected in zip(answers, bare, strict=True):
                assert torch.equal(answer.probabilities, expected.probabilities)  # type: ignore[arg-type]


def plainly(backbone: Backbone[Any], episode: Episode, steps: int, settings: FinetuneSettings) -> list[torch.Tensor]:
    """The textbook loop on one task: backward, step, zero_grad."""
    private = copy.copy(backbone)
    private.model = copy.deepcopy(backbone.model).requires_grad_(True)
    readout = {name: value.requires_grad_(True) for name, value in backbone.readout_start(1).items()}
    optimizer = torch.optim.AdamW([*private.model.parameters(), *readout.values()], lr=settings.lr, weight_decay=0.0)
    for _ in range(steps):
        with private.adapted(AdapterWeights(LORA, backbone.identity, {}, readout)):
            private.loss(private.support_batch([episode])).sum().backward()
        optimizer.step()
        optimizer.zero_grad()
    return [value.detach() for value in (*private.model.parameters(), *readout.values())]


def numbers(values: Values) -> list[torch.Tensor]:
    return [*values.parameters, *values.readout.readout.values()]


def test_steps_are_those_of_the_textbook_loop_for_each_task(backbone: Backbone[Any]) -> None:
    settings = FinetuneSettings(lr=1e-3)
    first, third = adapted(backbone).trained([1, 3], settings)
    for tuned, steps in ((first, 1), (third, 3)):
        for episode, values in zip(EPISODES, tuned.values, strict=True):
            expected = plainly(backbone, episode, steps, settings)
            for one, two in zip(numbers(values), expected, strict=True):
                torch.testing.assert_close(one, two, rtol=1e-5, atol=1e-6)


def test_every_part_that_the_loss_reaches_moves(encoder: Encoder) -> None:
    values = next(adapted(encoder).trained([2], FinetuneSettings(lr=1e-3))).values[0]
    named = dict(encoder.model.named_parameters())
    still = [name for (name, old), new in zip(named.items(), values.parameters, strict=True) if torch.equal(old, new)]
    assert all(name.startswith("pooler") for name in still), still
    assert all(value != encoder.readout_defaults()[name] for name, value in values.readout.readout.items())


def test_small_steps_add_up_in_a_bfloat16_model(folders: dict[str, Path]) -> None:
    """A step far below the rounding of a weight is kept in fp32: without that no number of them would move it."""
    backbone = bfloat16(folders)
    one, many = adapted(backbone, EPISODES[:1]).trained([1, 60], FinetuneSettings(lr=1e-4))
    name = "encoder.layer.0.attention.self.value.weight"
    place = [key for key, _ in backbone.model.named_parameters()].index(name)
    before, early, late = (
        values.parameters[place].float() for values in (adapted(backbone).values[0], one.values[0], many.values[0])
    )
    large = before.abs() > 0.06
    assert large.sum() > 20
    assert late.dtype == torch.float32
    assert many.values[0].parameters[place].dtype == torch.bfloat16
    assert (early[large] != before[large]).float().mean() < 0.5
    assert (late[large] != before[large]).float().mean() > 0.9


def test_parameters_are_those_of_the_model_and_its_readout(backbone: Backbone[Any]) -> None:
    expected = sum(value.numel() for value in backbone.model.parameters()) + len(backbone.readout_defaults())
    assert adapted(backbone).parameters == expected
