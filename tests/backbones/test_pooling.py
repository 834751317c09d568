import json
from pathlib import Path
from shutil import copytree

import pytest
import torch
from conftest import color_episode
from torch.nn import functional

from hyperpeft.backbones import Encoder
from hyperpeft.backbones.pooling import MODES, Pooling, read_pooling
from hyperpeft.config import ConfigError

HIDDEN = torch.tensor([[[1.0, -2.0], [3.0, 4.0], [8.0, 8.0]], [[5.0, 0.0], [7.0, 1.0], [3.0, 5.0]]])
MASK = torch.tensor([[1, 1, 0], [1, 1, 1]])
BY_HAND = {
    "mean": [[2.0, 1.0], [5.0, 2.0]],
    "cls": [[1.0, -2.0], [5.0, 0.0]],
    "max": [[3.0, 4.0], [7.0, 5.0]],
    "lasttoken": [[3.0, 4.0], [3.0, 5.0]],
    "mean_sqrt_len_tokens": [[4 / 2**0.5, 2 / 2**0.5], [15 / 3**0.5, 6 / 3**0.5]],
    "weightedmean": [[7 / 3, 2.0], [28 / 6, 17 / 6]],
}


def sentence_folder(source: Path, place: Path, kinds: list[str], pooling: dict[str, object]) -> Path:
    """A sentence-transformers folder: the model's files and those that say what follows it."""
    copytree(source, place)
    modules = [
        {"idx": index, "name": str(index), "path": f"{index}_{kind}" if index else "", "type": f"models.{kind}"}
        for index, kind in enumerate(["Transformer", *kinds])
    ]
    (place / "modules.json").write_text(json.dumps(modules), encoding="utf-8")
    for index, kind in enumerate(kinds, start=1):
        (place / f"{index}_{kind}").mkdir()
    (place / "1_Pooling" / "config.json").write_text(json.dumps(pooling), encoding="utf-8")
    return place


@pytest.mark.parametrize("mode", sorted(MODES))
def test_each_mode_equals_its_formula(mode: str) -> None:
    expected = torch.tensor(BY_HAND[mode])
    torch.testing.assert_close(Pooling(mode, unit=False)(HIDDEN, MASK), expected)
    torch.testing.assert_close(Pooling(mode)(HIDDEN, MASK), functional.normalize(expected, dim=1))


@pytest.mark.parametrize(
    ("kinds", "pooling", "expected"),
    [
        (["Pooling", "Normalize"], {"pooling_mode_cls_token": True}, Pooling("cls", unit=True)),
        (["Pooling"], {"pooling_mode_mean_tokens": True}, Pooling("mean", unit=False)),
        (["Pooling", "Normalize"], {"pooling_mode": "lasttoken"}, Pooling("lasttoken", unit=True)),
        (["Pooling"], {"pooling_mode": ["max"]}, Pooling("max", unit=False)),
    ],
)
def test_pooling_and_normalisation_come_from_the_folder(folders, tmp_path, kinds, pooling, expected) -> None:
    place = sentence_folder(folders["bert"], tmp_path / "st", kinds, pooling)
    assert Encoder(str(place), dtype="float32", max_tokens=64).pooling == expected


def test_a_plain_encoder_takes_the_unit_mean(folders) -> None:
    assert read_pooling(str(folders["bert"])) == Pooling("mean", unit=True)


def test_a_dense_module_is_named_as_unsupported(folders, tmp_path) -> None:
    place = sentence_folder(folders["bert"], tmp_path / "st", ["Pooling", "Dense"], {"pooling_mode": "mean"})
    with pytest.raises(ConfigError, match=r"ends in Dense, which is not supported.*Transformer, Pooling, Normalize"):
        Encoder(str(place), dtype="float32", max_tokens=64)
    assert Encoder(str(place), dtype="float32", max_tokens=64, pooling="mean").pooling == Pooling("mean")


def test_joined_poolings_are_named_as_unsupported(folders, tmp_path) -> None:
    both = {"pooling_mode_cls_token": True, "pooling_mode_max_tokens": True}
    place = sentence_folder(folders["bert"], tmp_path / "st", ["Pooling"], both)
    with pytest.raises(ConfigError, match="joins the poolings"):
        read_pooling(str(place))


def test_an_unknown_mode_says_what_exists(folders) -> None:
    with pytest.raises(ConfigError, match=r"pooling 'means' does not exist.*Did you mean 'mean'"):
        Encoder(str(folders["bert"]), dtype="float32", max_tokens=64, pooling="means")


def test_scores_are_cosines_also_for_features_of_any_length(folders, tmp_path) -> None:
    """Prototypes are sums of the features as they are; a support example is left out of its own."""
    place = sentence_folder(folders["bert"], tmp_path / "st", ["Pooling"], {"pooling_mode": "mean_sqrt_len_tokens"})
    encoder = Encoder(str(place), dtype="float32", max_tokens=64)
    episode = color_episode()

    def feature(text: str) -> torch.Tensor:
        ids = torch.tensor(encoder.tokens([text]))
        return encoder.features(ids, torch.ones_like(ids))[0]

    with torch.no_grad():
        scores = encoder.logits(encoder.support_batch([episode]))[0, 2:]
        for row, left in enumerate(episode.support):
            for column, label in enumerate(episode.labels):
                others = [feature(s.input) for s in episode.support if s.output == label and s != left]
                prototype = feature(label) + sum(others)
                cosine = functional.cosine_similarity(feature(left.input), prototype, 0)
                expected = cosine * torch.tensor(encoder.readout_defaults()["log_scale"]).exp()
                torch.testing.assert_close(scores[row, column], expected, rtol=1e-4, atol=1e-4)


def test_more_tokens_than_learned_positions_are_refused(folders) -> None:
    with pytest.raises(ConfigError, match=r"max_tokens is 200, but bert model .* has learned 128 positions"):
        Encoder(str(folders["bert"]), dtype="float32", max_tokens=200)
