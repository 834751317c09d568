from pathlib import Path

import pytest
import torch
from conftest import character_tokenizer, color_episode
from families import save_family

from hyperpeft.adapters import Lora
from hyperpeft.backbones import Seq2Seq
from hyperpeft.tasks import Example


@pytest.fixture(scope="module", params=["t5", "bart"])
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_family(request.param, tmp_path_factory.mktemp("seq2seq") / request.param, character_tokenizer())


@pytest.fixture(scope="module")
def backbone(folder: Path) -> Seq2Seq:
    return Seq2Seq(str(folder), dtype="float32", max_tokens=64, max_new_tokens=4)


def test_loss_equals_transformers_own_on_the_decoders_tokens(backbone: Seq2Seq) -> None:
    ids = torch.tensor([backbone.prompt_ids("grass")])
    labels = torch.tensor([[*backbone.tokenizer("green")["input_ids"], backbone.tokenizer.eos_token_id]])
    episodes = [color_episode(query=(Example("grass", "green"),)), color_episode()]
    with torch.no_grad():
        expected = backbone.model(input_ids=ids, labels=labels).loss
        ours = backbone.loss(backbone.query_batch(episodes))[0]
    torch.testing.assert_close(ours, expected, rtol=1e-4, atol=1e-5)


def test_label_scores_are_mean_token_log_probabilities(backbone: Seq2Seq) -> None:
    episode = color_episode(query=(Example("frog", "green"),))
    with torch.no_grad():
        losses = [
            backbone.loss(backbone.query_batch([color_episode(query=(Example("frog", label),))]))[0]
            for label in episode.labels
        ]
    expected = (-torch.stack(losses)).softmax(0)
    torch.testing.assert_close(backbone.probabilities([episode])[0][0], expected, rtol=1e-4, atol=1e-5)


def test_targets_are_in_the_encoder_and_in_the_decoder(backbone: Seq2Seq) -> None:
    paths = [target.path for target in backbone.targets(Lora())]
    for part in ("encoder.", "decoder."):
        assert [path for path in paths if path.removeprefix("model.").startswith(part)]


def test_the_template_surrounds_the_input(folder: Path) -> None:
    backbone = Seq2Seq(str(folder), dtype="float32", max_tokens=64, template="colour of {input}:")
    assert backbone.prompt_ids("grass") == backbone.tokenizer("colour of grass:")["input_ids"]
    with pytest.raises(ValueError, match=r"must contain \{input\}"):
        Seq2Seq(str(folder), template="colour")
