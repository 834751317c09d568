"""The linear probe: it starts as the bare backbone and moves as AdamW says."""

from dataclasses import replace

import pytest
import torch
from conftest import color_episode, size_episode
from torch.nn import functional

from hyperpeft.adaptation import FinetuneSettings
from hyperpeft.adapters import Lora
from hyperpeft.backbones import Encoder
from hyperpeft.baselines import LinearProbe, ZeroShot
from hyperpeft.baselines.linear_probe import Probe
from hyperpeft.tasks import Episode

EPISODES = [color_episode(), size_episode()]


def probe(encoder: Encoder, episodes: list[Episode] = EPISODES) -> Probe:
    return LinearProbe().adapt(encoder, episodes)


@pytest.mark.parametrize("episodes", [EPISODES, [replace(episode, support=()) for episode in EPISODES]])
def test_without_steps_it_answers_as_the_bare_backbone(encoder: Encoder, episodes: list[Episode]) -> None:
    bare = ZeroShot(Lora(rank=2)).adapt(encoder, episodes).answers()
    for answer, expected in zip(probe(encoder, episodes).answers(), bare, strict=True):
        assert list(answer.texts) == list(expected.texts)
        torch.testing.assert_close(answer.probabilities, expected.probabilities, rtol=1e-3, atol=1e-5)


def test_the_first_step_is_the_learning_rate_against_the_gradient_of_the_cross_entropy(encoder: Encoder) -> None:
    """In closed form: the gradient of a row is the mean of (probability - target) times the features with a one."""
    start = probe(encoder)
    tuned = next(start.trained([1], FinetuneSettings(lr=0.01)))
    for shown, before, after in zip(start.shown, start.layers, tuned.layers, strict=True):
        points = torch.cat([functional.normalize(shown.examples, dim=-1), torch.ones(len(shown.labels), 1)], dim=1)
        target = functional.one_hot(shown.labels, len(before)).float()
        gradient = ((points @ before.T).softmax(1) - target).T @ points / len(points)
        clear = gradient.abs() > 1e-5
        assert clear.float().mean() > 0.3
        expected = before - 0.01 * gradient.sign()
        torch.testing.assert_close(after[clear], expected[clear], rtol=1e-2, atol=1e-4)


def test_enough_steps_learn_the_support_whatever_the_company(encoder: Encoder) -> None:
    asked = [episode.with_query(episode.support) for episode in EPISODES]
    settings = FinetuneSettings(lr=0.1)
    together = next(probe(encoder, asked).trained([100], settings)).answers()
    for episode, answer in zip(asked, together, strict=True):
        assert list(answer.texts) == [example.output for example in episode.support]
        alone = next(probe(encoder, [episode]).trained([100], settings)).answers()[0]
        torch.testing.assert_close(answer.probabilities, alone.probabilities, rtol=1e-3, atol=1e-4)


def test_a_row_of_features_and_a_bias_for_each_label(encoder: Encoder) -> None:
    start = probe(encoder)
    width = encoder.model.config.hidden_size
    assert [tuple(layer.shape) for layer in start.layers] == [(2, width + 1), (3, width + 1)]
    assert start.parameters == 3 * (width + 1)


def test_steps_need_examples(encoder: Encoder) -> None:
    start = probe(encoder, [replace(color_episode(), support=())])
    with pytest.raises(ValueError, match=r"'colors' has no examples to fine-tune on"):
        next(start.trained([1], FinetuneSettings()))
