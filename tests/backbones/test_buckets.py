import logging
from collections.abc import Sequence
from random import Random

import pytest
import torch
from conftest import noise
from torch import Tensor

from hyperpeft.adapters import AdapterKind, Bottleneck, Lora, Sparse
from hyperpeft.backbones import Encoder
from hyperpeft.backbones.buckets import bucket
from hyperpeft.backbones.tokens import Tokens, pad
from hyperpeft.weights import AdapterWeights

GROUPS = [
    [[7, 8, 9], [10], [11] * 20, [12, 13], [14] * 9],
    [[20], [21, 22], [23] * 30, [24], [25, 26, 27, 28], [29] * 5, [30] * 30],
    [[31] * 30],
]


def test_features_come_back_in_order_each_by_the_weights_of_its_task(encoder: Encoder) -> None:
    weights = noise(encoder.start(Lora(rank=2), tasks=3), 1, size=0.5)
    buckets = bucket(GROUPS, 8, 0)
    with torch.no_grad():
        with encoder.adapted(weights):
            found = encoder.row_features(buckets)
        assert found.shape[:2] == (3, 8)
        for task, group in enumerate(GROUPS):
            assert not found[task, len(group) :].any()
            for row, tokens in enumerate(group):
                with encoder.adapted(weights[task]):
                    alone = encoder.features(*pad([tokens], 0))[0]
                torch.testing.assert_close(found[task, row], alone, rtol=1e-4, atol=1e-4)
        assert not torch.allclose(found[1, 6], found[0, 2], atol=1e-3)


@pytest.mark.parametrize(
    "kind", [Lora(rank=2), Bottleneck(reduction_factor=8.0), Sparse(rank=1)], ids=lambda kind: kind.kind
)
def test_gradients_are_those_of_each_task_alone(encoder: Encoder, kind: AdapterKind) -> None:
    weights = noise(encoder.start(kind, tasks=3), 1, size=0.5)
    together = _gradients(encoder, weights, GROUPS)
    for task, group in enumerate(GROUPS):
        alone = _gradients(encoder, weights[task], [group])
        for many, one in zip(together, alone, strict=True):
            torch.testing.assert_close(many[task], one[0], rtol=1e-3, atol=1e-5)


def _gradients(encoder: Encoder, weights: AdapterWeights, groups: Sequence[Sequence[Sequence[int]]]) -> list[Tensor]:
    leaves = weights.map(lambda leaf: leaf.detach().requires_grad_(True))
    with encoder.adapted(leaves):
        features = encoder.row_features(bucket(groups, 8, 0))
    parameters = [leaf for name, leaf in leaves.named() if not name.startswith("readout")]
    return list(torch.autograd.grad(features.square().cumsum(-1).sum(), parameters))


def test_equal_lengths_are_one_bucket_and_hardly_anything_is_padding() -> None:
    assert len(bucket([[[1] * 8] * 5, [[2] * 8] * 3], 5, 0).parts) == 1
    random = Random(0)
    many = [[[1] * random.randint(3, 60) for _ in range(random.choice([4, 40]))] for _ in range(8)]
    buckets = bucket(many, 40, 0)
    assert buckets.padding < 0.2
    rows = sum(len(group) for group in many)
    assert sorted(buckets.place.flatten().tolist())[:rows] == list(range(rows))


def test_a_lonely_length_joins_longer_texts_where_that_is_cheaper() -> None:
    assert len(bucket([[[1] * 16] * 8 + [[1] * 8] * 2], 10, 0).parts) == 1
    assert len(bucket([[[1] * 16] * 8 + [[1] * 8] * 20], 28, 0).parts) == 2


def test_long_texts_are_warned_of_once(encoder: Encoder, caplog: pytest.LogCaptureFixture) -> None:
    tokens = Tokens(encoder.tokenizer, max_tokens=8)
    with caplog.at_level(logging.WARNING):
        tokens(["a" * 20, "b" * 12, "c"])
        tokens(["d" * 15])
        assert [record.getMessage()[:32] for record in caplog.records] == ["2 text(s) of up to 20 tokens are"]
        tokens(["e" * 40])
    assert "40 tokens" in caplog.records[-1].getMessage()
