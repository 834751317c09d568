"""Logistic regression on frozen features."""

import warnings
from collections import Counter
from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from sklearn.base import ClassifierMixin
from sklearn.dummy import DummyClassifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression as SklearnLogisticRegression
from sklearn.model_selection import GridSearchCV, StratifiedKFold
from torch import Tensor
from torch.nn import functional

from hyperpeft.backbones import Backbone
from hyperpeft.baselines.base import Method
from hyperpeft.baselines.features import Classified, Shown, has_features, support_features, with_features
from hyperpeft.baselines.fitted import check_support, spread
from hyperpeft.tasks import Episode

STRENGTHS = (0.1, 1.0, 10.0, 100.0, 1000.0)
ENOUGH = 4
FOLDS = 5


class LogisticRegression(Method):
    """scikit-learn's logistic regression on unit-length frozen features; label texts and descriptions are not used.

    C is the one of STRENGTHS with the lowest cross-validated log loss on the support (stratified, FOLDS folds at most)
    where every shown label has ENOUGH examples, else 1. A label without an example is never chosen.
    """

    name = "logistic regression"
    trainable = False
    needs_support = True

    def adapt(self, backbone: Backbone[Any], episodes: Sequence[Episode]) -> Classified:
        """A fitted model for each task. Raises ValueError without support."""
        check_support(episodes, self.name)
        featured = with_features(backbone)
        models = [fit(shown) for shown in support_features(featured, episodes)]
        pairs = zip(models, episodes, strict=True)
        heads = [partial(_probabilities, model=model, labels=len(episode.labels)) for model, episode in pairs]
        return Classified(featured, episodes, heads, parameters=max(map(_count, models)))

    def suits(self, backbone: Backbone[Any]) -> bool:
        """Backbones with features."""
        return has_features(backbone)


def fit(shown: Shown) -> ClassifierMixin:
    """The model of one task's support; a constant one where a single label is shown."""
    features = functional.normalize(shown.examples, dim=-1).double().cpu().numpy()
    labels = shown.labels.cpu().numpy()
    counts = Counter(labels.tolist())
    if len(counts) == 1:
        return DummyClassifier().fit(features, labels)
    model = SklearnLogisticRegression(C=1.0, max_iter=1000)
    least = min(counts.values())
    if least < ENOUGH:
        return model.fit(features, labels)
    search = GridSearchCV(
        model, {"C": STRENGTHS}, scoring="neg_log_loss", cv=StratifiedKFold(min(FOLDS, least)), error_score="raise"
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # at the largest C, near-separable folds may stop early
        return search.fit(features, labels).best_estimator_


def _probabilities(queries: Tensor, model: Any, labels: int) -> Tensor:
    """`[query label]`."""
    found = model.predict_proba(queries.double().cpu().numpy())
    return spread(torch.from_numpy(np.asarray(found)), model.classes_.tolist(), labels)


def _count(model: ClassifierMixin) -> int:
    """Numbers that were fitted; for several tasks the most of any."""
    return model.coef_.size + model.intercept_.size if isinstance(model, SklearnLogisticRegression) else 0
