"""Vectors and gains of labels, read from descriptions."""

from typing import Any

import pytest
import torch
from conftest import awake, color_episode, size_episode

from hyperpeft.backbones.prototypes import LABEL_GAIN, LABEL_VECTOR
from hyperpeft.config import ConfigError
from hyperpeft.encoders import TextEncoder
from hyperpeft.generator import Generator
from hyperpeft.label_reader import LabelReader
from hyperpeft.tasks import Episode, Example
from hyperpeft.weights import stack

CODED = Episode(
    task="coded",
    descriptions=("Name the colour. (A means green; B means red)", "The colour, please: A for green, B for red."),
    query=(Example("frog", "A"), Example("tomato", "B")),
    labels=("A", "B"),
    metric="accuracy",
)


@pytest.fixture
def reader(text_encoder: TextEncoder) -> LabelReader:
    torch.manual_seed(0)
    return LabelReader(text_encoder).eval()


@pytest.fixture
def reading(generator_settings: dict[str, dict[str, Any]]) -> Generator:
    generator_settings["label_reader"] = {}
    return awake(Generator.build(generator_settings)).eval()


def test_a_vector_and_a_gain_for_each_label(reader: LabelReader) -> None:
    read = reader([CODED, size_episode()])
    assert read[LABEL_VECTOR].shape == (2, 3, reader.text_encoder.d_text)
    assert read[LABEL_GAIN].shape == (2, 3)
    assert read[LABEL_VECTOR][0, :2].abs().sum() > 0
    assert read[LABEL_VECTOR][0, 2].abs().sum() == 0


def test_before_training_it_is_the_embedding_of_the_note(reader: LabelReader) -> None:
    (green, red) = reader([CODED.with_descriptions(["A means green; B means red"])])[LABEL_VECTOR][0]
    assert torch.allclose(green, reader.text_encoder(["means green"])[0], atol=1e-6)
    assert torch.allclose(red, reader.text_encoder(["means red"])[0], atol=1e-6)


def test_labels_that_nothing_is_said_about_get_zeros(reader: LabelReader) -> None:
    for episode in (color_episode(descriptions=()), color_episode(descriptions=("Look at the thing.",))):
        assert all(value.abs().sum() == 0 for value in reader([episode]).values())


def test_order_and_company_and_examples_do_not_matter(reader: LabelReader) -> None:
    alone = reader([CODED])
    turned = reader([CODED.with_descriptions(CODED.descriptions[::-1])])
    among = reader([size_episode(), CODED.with_query(())])
    for name, value in alone.items():
        assert torch.allclose(turned[name], value, atol=1e-6)
        assert torch.allclose(among[name][1:, :2], value, atol=1e-6)


def test_predictions_follow_the_key_in_the_description(reading: Generator) -> None:
    backbone = reading.backbone
    other = CODED.with_descriptions([text.translate(str.maketrans("AB", "BA")) for text in CODED.descriptions])
    with torch.no_grad():
        reading.label_reader.gates.bias.copy_(torch.tensor([1.0, -4.0]))  # type: ignore[union-attr]
    with backbone.adapted(reading.generate([CODED])):
        (straight,) = backbone.probabilities([CODED])
    with backbone.adapted(reading.generate([other])):
        (swapped,) = backbone.probabilities([other])
    assert not torch.allclose(straight, swapped, atol=1e-3)
    assert torch.allclose(straight, swapped.flip(1), atol=0.05)


def test_weights_of_tasks_of_other_sizes_stack_and_are_used_alone(reading: Generator) -> None:
    episodes = [CODED, size_episode()]
    together = reading.generate(episodes)
    apart = stack([reading.generate([episode]) for episode in episodes])
    backbone = reading.backbone
    for weights in (together, apart):
        for index, episode in enumerate(episodes):
            with backbone.adapted(weights[index]):
                (one,) = backbone.probabilities([episode])
            with backbone.adapted(weights):
                both = backbone.probabilities(episodes)[index]
            assert torch.allclose(one, both, atol=1e-5)


def test_save_and_load(reading: Generator, tmp_path: Any) -> None:
    loaded = Generator.from_pretrained(reading.save_pretrained(tmp_path / "g"), reading.backbone)
    for (name, one), (_, two) in zip(reading.generate([CODED]).named(), loaded.generate([CODED]).named(), strict=True):
        assert torch.allclose(one, two, atol=1e-6), name


def test_the_text_encoder_must_be_the_backbone(generator_settings: dict[str, Any], folders: dict[str, Any]) -> None:
    generator_settings["backbone"] = {"kind": "causal_lm", "model": str(folders["llama"]), "dtype": "float32"}
    generator_settings["label_reader"] = {}
    with pytest.raises(ConfigError, match=r"label_reader.*Set label_reader=null"):
        Generator.build(generator_settings)
