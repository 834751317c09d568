"""Nearest prototype, logistic regression, ridge on layers: frozen features into scikit-learn's own numbers."""

import numpy as np
import pytest
import torch
from conftest import color_episode, size_episode
from scipy.special import softmax
from sklearn.linear_model import LogisticRegression as Reference
from sklearn.linear_model import RidgeClassifierCV
from sklearn.model_selection import StratifiedKFold, cross_val_score
from sklearn.neighbors import NearestCentroid

from hyperpeft.adaptation import FinetuneSettings
from hyperpeft.backbones import Encoder
from hyperpeft.baselines import LayerRidge, LogisticRegression, Method, NearestPrototype
from hyperpeft.baselines.layer_ridge import SHARPNESS
from hyperpeft.baselines.layer_ridge import STRENGTHS as PENALTIES
from hyperpeft.baselines.logistic_regression import FOLDS, STRENGTHS
from hyperpeft.tasks import Episode, Example

METHODS = [NearestPrototype(), LogisticRegression()]
EPISODES = [color_episode(), size_episode()]


def features(encoder: Encoder, texts: list[str]) -> np.ndarray:
    """One text at a time."""
    with torch.no_grad():
        rows = [
            encoder.features(ids, torch.ones_like(ids))
            for ids in map(torch.tensor, ([i] for i in encoder.tokens(texts)))
        ]
    return torch.cat(rows).double().numpy()


def support(encoder: Encoder, episode: Episode) -> tuple[np.ndarray, list[int]]:
    labels = [episode.labels.index(example.output) for example in episode.support]
    return features(encoder, [example.input for example in episode.support]), labels


def query(encoder: Encoder, episode: Episode) -> np.ndarray:
    return features(encoder, [example.input for example in episode.query])


def probabilities(method: Method, encoder: Encoder, episodes: list[Episode]) -> list[np.ndarray]:
    answers = method.adapt(encoder, episodes).answers()
    return [answer.probabilities.double().numpy() for answer in answers]  # type: ignore[union-attr]


def many(per_label: int) -> Episode:
    words = ("grass", "leaf", "frog", "moss", "fern", "blood", "rose", "brick", "cherry", "ruby")
    pairs = [Example(word, "green" if n < 5 else "red") for n, word in enumerate(words)]
    return color_episode(support=tuple(pairs[:per_label] + pairs[5 : 5 + per_label]))


def test_the_nearest_prototype_is_scikit_learns_nearest_centroid(encoder: Encoder) -> None:
    episode = many(4)
    model = NearestCentroid().fit(*support(encoder, episode))
    answers = NearestPrototype().adapt(encoder, [episode]).answers()[0]
    assert list(answers.texts) == [episode.labels[index] for index in model.predict(query(encoder, episode))]


def test_prototype_probabilities_are_a_softmax_of_scaled_squared_distances(encoder: Encoder) -> None:
    episode = color_episode()
    points, labels = support(encoder, episode)
    means = np.stack([points[np.array(labels) == label].mean(0) for label in (0, 1)])
    distances = ((query(encoder, episode)[:, None] - means[None]) ** 2).sum(-1)
    expected = softmax(-np.exp(encoder.readout_defaults()["log_scale"]) / 2 * distances, axis=1)
    found = probabilities(NearestPrototype(), encoder, [episode, size_episode()])[0]
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-5)


def test_with_few_examples_the_regression_is_scikit_learns_at_its_default_strength(encoder: Encoder) -> None:
    for episode in (color_episode(), many(3)):
        model = Reference(C=1.0).fit(*support(encoder, episode))
        found = probabilities(LogisticRegression(), encoder, [size_episode(), episode])[1]
        np.testing.assert_allclose(found, model.predict_proba(query(encoder, episode)), atol=1e-4)


@pytest.mark.parametrize("per_label", [4, 5])
def test_with_enough_examples_the_strength_is_cross_validated(encoder: Encoder, per_label: int) -> None:
    episode = many(per_label)
    points, labels = support(encoder, episode)
    folds = StratifiedKFold(min(FOLDS, per_label))
    scores = {
        strength: cross_val_score(
            Reference(C=strength, max_iter=1000), points, labels, scoring="neg_log_loss", cv=folds
        ).mean()
        for strength in STRENGTHS
    }
    best = max(scores, key=lambda strength: scores[strength])
    assert best != 1.0
    model = Reference(C=best, max_iter=1000).fit(points, labels)
    found = probabilities(LogisticRegression(), encoder, [episode])[0]
    np.testing.assert_allclose(found, model.predict_proba(query(encoder, episode)), atol=1e-2)


def layers(encoder: Encoder, texts: list[str]) -> np.ndarray:
    """The unit-length mean of each layer's states, joined; one text at a time."""
    rows = []
    for text in texts:
        (ids,) = encoder.tokens([text])
        with torch.no_grad():
            states = encoder.model(input_ids=torch.tensor([ids]), output_hidden_states=True).hidden_states[1:]
        means = [hidden[0].double().mean(0) for hidden in states]
        rows.append(torch.cat([mean / mean.norm() for mean in means]) / len(means) ** 0.5)
    return torch.stack(rows).numpy()


@pytest.mark.parametrize("episode", [many(3), size_episode()], ids=["two labels", "three labels, one not shown"])
def test_the_ridge_is_scikit_learns_with_label_texts_as_examples(encoder: Encoder, episode: Episode) -> None:
    texts = [*episode.labels, *(example.input for example in episode.support)]
    places = [*range(len(episode.labels)), *(episode.labels.index(example.output) for example in episode.support)]
    model = RidgeClassifierCV(alphas=PENALTIES).fit(layers(encoder, texts), places)
    values = model.decision_function(layers(encoder, [example.input for example in episode.query]))
    both = np.stack([-values, values], axis=1) if values.ndim == 1 else values
    adaptation = LayerRidge().adapt(encoder, [color_episode(), episode])
    found = adaptation.answers()[1].probabilities.double().numpy()  # type: ignore[union-attr]
    np.testing.assert_allclose(found, softmax(SHARPNESS * both, axis=1), atol=1e-3)
    assert adaptation.parameters > 0


@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.name)
def test_a_label_without_an_example_is_never_chosen(encoder: Encoder, method: Method) -> None:
    found = probabilities(method, encoder, EPISODES)[1]
    assert found.shape == (2, 3)
    assert (found[:, 2] == 0).all()
    assert (found[:, :2] > 0).all()
    alone = size_episode(support=size_episode().support[:1])
    np.testing.assert_array_equal(probabilities(method, encoder, [alone])[0], [[1, 0, 0], [1, 0, 0]])


@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.name)
def test_names_of_labels_and_descriptions_do_not_matter(encoder: Encoder, method: Method) -> None:
    renamed = {"green": "x", "red": "y"}
    other = color_episode(
        descriptions=("Something else.",),
        labels=("x", "y"),
        support=tuple(Example(e.input, renamed[e.output]) for e in color_episode().support),
    )
    first, second = (probabilities(method, encoder, [episode])[0] for episode in (color_episode(), other))
    np.testing.assert_allclose(first, second, rtol=1e-4)


@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.name)
def test_there_are_no_steps_after_it(encoder: Encoder, method: Method) -> None:
    with pytest.raises(TypeError, match="fitted in one go"):
        method.adapt(encoder, EPISODES).trained([1], FinetuneSettings())


def test_what_was_fitted_is_counted(encoder: Encoder) -> None:
    width = encoder.model.config.hidden_size
    assert LogisticRegression().adapt(encoder, EPISODES).parameters == width + 1
    assert NearestPrototype().adapt(encoder, EPISODES).parameters == 0
