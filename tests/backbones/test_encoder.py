import logging

import pytest
import torch
from conftest import color_episode, size_episode
from torch.nn import functional

from hyperpeft.backbones import Encoder
from hyperpeft.tasks import Example


def test_scores_equal_prototypes_computed_by_hand(encoder: Encoder) -> None:
    episode = color_episode()

    def feature(text: str) -> torch.Tensor:
        ids = torch.tensor(encoder.tokens([text]))
        with torch.no_grad():
            hidden = encoder.model(input_ids=ids).last_hidden_state[0]
        return functional.normalize(hidden.mean(0), dim=0)

    prototypes = [
        feature(label) + sum(feature(e.input) for e in episode.support if e.output == label) for label in episode.labels
    ]
    numbers = encoder.readout_defaults()
    cosines = torch.stack(
        [torch.stack([functional.cosine_similarity(feature(q.input), p, 0) for p in prototypes]) for q in episode.query]
    )
    expected = (cosines * torch.tensor(numbers["log_scale"]).exp()).softmax(1)
    torch.testing.assert_close(encoder.probabilities([episode])[0], expected, rtol=1e-4, atol=1e-5)


def test_support_is_scored_with_itself_left_out(encoder: Encoder) -> None:
    """The support loss equals the query loss of each support example against the support without it."""
    episode = color_episode()
    with torch.no_grad():
        together = encoder.loss(encoder.support_batch([episode]))[0]
        alone = [
            encoder.loss(
                encoder.query_batch(
                    [color_episode(support=tuple(s for s in episode.support if s != left), query=(left,))]
                )
            )[0]
            for left in episode.support
        ]
    torch.testing.assert_close(together, torch.stack(alone).mean(), rtol=1e-4, atol=1e-5)


def test_order_and_padding_do_not_matter(encoder: Encoder) -> None:
    long = size_episode(
        query=tuple(Example("a very long winded question about " * k + "ants", "small") for k in (1, 2))
    )
    with torch.no_grad():
        alone = encoder.loss(encoder.query_batch([color_episode()]))[0]
        padded = encoder.loss(encoder.query_batch([color_episode(), long]))[0]
        turned = encoder.loss(encoder.query_batch([color_episode(support=color_episode().support[::-1])]))[0]
    torch.testing.assert_close(alone, padded, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(alone, turned, rtol=1e-4, atol=1e-5)


def test_a_task_without_two_labels_is_refused(encoder: Encoder) -> None:
    with pytest.raises(ValueError, match=r"needs|chooses among at least two"):
        encoder.check(color_episode(labels=("green",)))


def test_a_very_long_input_is_cut_with_a_warning(encoder: Encoder, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        ids = encoder.tokens(["x" * 500])[0]
    assert len(ids) == 64
    assert "500 tokens" in caplog.text


def test_label_descriptions_change_the_label_texts(encoder: Encoder) -> None:
    told = color_episode(support=(), label_descriptions=("like grass", "like blood"))
    plain = color_episode(support=())
    assert not torch.allclose(encoder.probabilities([told])[0], encoder.probabilities([plain])[0])
