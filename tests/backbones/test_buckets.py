import logging

import pytest
import torch

from hyperpeft.backbones import Encoder
from hyperpeft.backbones.buckets import bucket
from hyperpeft.backbones.tokens import Tokens, pad

GROUPS = [
    [[7, 8, 9], [10], [11] * 20, [12, 13], [14] * 9, []],
    [[20], [21, 22], [23] * 30, [24], [25, 26, 27, 28], [29] * 5],
]


def test_features_come_back_in_order_whatever_the_bucket(encoder: Encoder) -> None:
    buckets = bucket(GROUPS, 0)
    assert len(buckets.parts) == 2
    with torch.no_grad():
        found = buckets.features(encoder.features)
        for task, group in enumerate(GROUPS):
            for row, tokens in enumerate(group):
                if tokens:
                    alone = encoder.features(*pad([tokens], 0))[0]
                    torch.testing.assert_close(found[task, row], alone, rtol=1e-4, atol=1e-5)


def test_buckets_hold_less_padding_than_one_rectangle() -> None:
    _, mask = pad([row for group in GROUPS for row in group], 0)
    assert bucket(GROUPS, 0).padding < 1 - float(mask.float().mean())


def test_long_texts_are_warned_of_once(encoder: Encoder, caplog: pytest.LogCaptureFixture) -> None:
    tokens = Tokens(encoder.tokenizer, max_tokens=8)
    with caplog.at_level(logging.WARNING):
        tokens(["a" * 20, "b" * 12, "c"])
        tokens(["d" * 15])
        assert [record.getMessage()[:32] for record in caplog.records] == ["2 text(s) of up to 20 tokens are"]
        tokens(["e" * 40])
    assert "40 tokens" in caplog.records[-1].getMessage()
