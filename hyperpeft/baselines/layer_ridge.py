"""Ridge regression on frozen features of every layer."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from einops import rearrange
from sklearn.linear_model import RidgeClassifierCV
from torch import Tensor
from torch.nn import functional

from hyperpeft.backbones import Backbone, Encoder
from hyperpeft.backbones.prototypes import QUERY_ROWS
from hyperpeft.backbones.tokens import pad
from hyperpeft.baselines.base import Answers, Method, labelled
from hyperpeft.baselines.fitted import Fitted, check_support
from hyperpeft.tasks import Episode

STRENGTHS = (0.03, 0.1, 0.3, 1.0, 3.0)
SHARPNESS = 4.0


@dataclass(frozen=True)
class LayerRidges(Fitted):
    """A fitted classifier a task."""

    backbone: Encoder
    episodes: Sequence[Episode]
    models: Sequence[RidgeClassifierCV]

    @property
    def parameters(self) -> int:  # type: ignore[override]
        """Numbers that were fitted for the task with most labels."""
        return max(model.coef_.size + model.intercept_.size for model in self.models)

    def answers(self) -> list[Answers]:
        """Softmax of the decision values (near -1 and 1) times SHARPNESS."""
        return [self._answers(episode, model) for episode, model in zip(self.episodes, self.models, strict=True)]

    def _answers(self, episode: Episode, model: RidgeClassifierCV) -> Answers:
        inputs = [example.input for example in episode.query]
        values = torch.from_numpy(model.decision_function(_features(self.backbone, inputs).numpy()))
        logits = torch.stack([-values, values], dim=1) if values.ndim == 1 else values
        return labelled(episode, (SHARPNESS * logits).softmax(-1))


class LayerRidge(Method):
    """scikit-learn's ridge classifier on the pooled states of all layers, each of unit length, joined; no adapter.

    Label texts are one more example each; descriptions are not used. The strength is the one of STRENGTHS with the
    least leave-one-out error, in closed form. What the last layer alone has forgotten (grammar, word forms) the ones
    before it still tell.
    """

    name = "ridge on all layers"
    trainable = False
    needs_support = True

    def adapt(self, backbone: Backbone[Any], episodes: Sequence[Episode]) -> LayerRidges:
        """A fitted model for each task. Raises ValueError without support or for another backbone than an encoder."""
        check_support(episodes, self.name)
        if not isinstance(backbone, Encoder):
            raise ValueError(f"backbone {backbone.name} is not a text encoder, which {self.name} needs: take one.")
        return LayerRidges(backbone, episodes, [_fit(backbone, episode) for episode in episodes])

    def suits(self, backbone: Backbone[Any]) -> bool:
        """Text encoders."""
        return isinstance(backbone, Encoder)


def _fit(backbone: Encoder, episode: Episode) -> RidgeClassifierCV:
    points = _features(backbone, [*episode.labels, *(example.input for example in episode.support)])
    shown = [episode.labels.index(example.output) for example in episode.support]
    return RidgeClassifierCV(alphas=STRENGTHS).fit(points.numpy(), [*range(len(episode.labels)), *shown])


@torch.no_grad()
def _features(backbone: Encoder, texts: Sequence[str]) -> Tensor:
    """`[text (layer d)]` of unit length, in double precision; QUERY_ROWS texts at once, as states of all are large."""
    parts = [_states(backbone, texts[start : start + QUERY_ROWS]) for start in range(0, len(texts), QUERY_ROWS)]
    layers = functional.normalize(torch.cat(parts).double(), dim=-1)
    return functional.normalize(rearrange(layers, "text layer d -> text (layer d)"), dim=-1).cpu()


def _states(backbone: Encoder, texts: Sequence[str]) -> Tensor:
    """Pooled states after each layer of the bare model, `[text layer d]`."""
    ids, mask = pad(backbone.tokens(texts), backbone.tokenizer.pad_token_id or 0)
    ids, mask = ids.to(backbone.device), mask.to(backbone.device)
    states = backbone.model(input_ids=ids, attention_mask=mask, output_hidden_states=True).hidden_states
    return torch.stack([backbone.pooling(hidden, mask) for hidden in states[1:]], dim=1)
