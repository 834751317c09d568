"""SetFit: what its own package does, and nothing left behind."""

import sys
import tempfile
from pathlib import Path

import pytest
import torch
from conftest import color_episode, size_episode
from datasets import Dataset

from hyperpeft.backbones import Encoder
from hyperpeft.baselines import SetFit
from hyperpeft.tasks import Episode, Example

EPISODES = [color_episode(), size_episode()]
MANY = tuple(
    Example(text, label)
    for label, texts in (("green", "grass leaf frog moss"), ("red", "blood rose brick ruby"))
    for text in texts.split()
)


@pytest.fixture
def _package() -> None:
    pytest.importorskip("setfit")


def probabilities(method: SetFit, encoder: Encoder, episodes: list[Episode]) -> list[torch.Tensor]:
    return [answer.probabilities for answer in method.adapt(encoder, episodes).answers()]  # type: ignore[misc]


@pytest.mark.filterwarnings("ignore")
def test_the_numbers_are_those_of_the_packages_own_trainer(encoder: Encoder, tmp_path: Path) -> None:
    setfit = pytest.importorskip("setfit")
    episode = color_episode(support=MANY)
    model = setfit.SetFitModel.from_pretrained(encoder.name)
    model.model_body.max_seq_length = 64
    data = Dataset.from_dict(
        {
            "text": [example.input for example in episode.support],
            "label": [episode.labels.index(example.output) for example in episode.support],
        }
    )
    settings = setfit.TrainingArguments(output_dir=str(tmp_path), seed=3, report_to="none", save_strategy="no")
    setfit.Trainer(model=model, args=settings, train_dataset=data).train()
    expected = model.predict_proba([example.input for example in episode.query])
    found = probabilities(SetFit(seed=3), encoder, [size_episode(), episode])[1]
    torch.testing.assert_close(found, expected.double(), rtol=1e-5, atol=1e-6)
    assert not torch.equal(probabilities(SetFit(seed=4), encoder, [episode])[0], found)


@pytest.mark.usefixtures("_package")
@pytest.mark.parametrize(("support", "moved"), [(color_episode().support[:2], False), (MANY, True)])
def test_a_support_of_few_pairs_trains_the_head_only(
    encoder: Encoder, support: tuple[Example, ...], moved: bool
) -> None:
    """The package warms up from a step size of 0 and takes 16 pairs a step: a single step moves nothing."""
    body = SetFit().adapt(encoder, [color_episode(support=support)]).models[0].model_body
    trained = dict(body[0].auto_model.named_parameters())
    name = "encoder.layer.0.attention.self.query.weight"
    assert torch.equal(trained[name], dict(encoder.model.named_parameters())[name]) != moved


@pytest.mark.usefixtures("_package")
def test_texts_are_cut_where_the_backbone_cuts_them_and_nothing_is_left_behind(
    encoder: Encoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    adaptation = SetFit().adapt(encoder, EPISODES)
    adaptation.answers()
    assert list(tmp_path.iterdir()) == []
    assert [model.model_body.max_seq_length for model in adaptation.models] == [64, 64]
    printed = capfd.readouterr()
    assert "loss" not in printed.out + printed.err
    assert "it/s" not in printed.out + printed.err


@pytest.mark.usefixtures("_package")
def test_a_label_without_an_example_has_no_probability(encoder: Encoder) -> None:
    found = probabilities(SetFit(), encoder, [size_episode()])[0]
    assert found.shape == (2, 3)
    assert (found[:, 2] == 0).all()


@pytest.mark.usefixtures("_package")
def test_parameters_are_those_of_body_and_head(encoder: Encoder) -> None:
    body = sum(value.numel() for value in encoder.model.parameters())
    assert SetFit().adapt(encoder, EPISODES[:1]).parameters == body + encoder.model.config.hidden_size + 1


def test_a_support_of_one_label_is_refused(encoder: Encoder) -> None:
    with pytest.raises(ValueError, match="'sizes' shows one label only"):
        SetFit().adapt(encoder, [color_episode(), size_episode(support=size_episode().support[:1])])


def test_a_missing_package_is_named_with_its_install_command(encoder: Encoder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "setfit", None)
    with pytest.raises(ImportError, match=r"pip install 'hyperpeft\[peers\]'"):
        SetFit().adapt(encoder, EPISODES)
