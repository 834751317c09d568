"""SetFit, by its own package."""

import gc
import importlib
import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from tempfile import TemporaryDirectory
from types import ModuleType
from typing import Any

import torch
from lightning.pytorch.utilities.seed import isolate_rng
from sklearn.linear_model import LogisticRegression
from transformers import ProgressCallback
from transformers.utils import logging as transformers_logging

from hyperpeft.backbones import Backbone, Encoder
from hyperpeft.backbones.pretrained import resolve
from hyperpeft.baselines.base import Answers, Method, labelled
from hyperpeft.baselines.fitted import Fitted, check_support, spread
from hyperpeft.tasks import Episode

INSTALL = "pip install 'hyperpeft[peers]'"


@dataclass(frozen=True)
class SetFitModels(Fitted):
    """A trained SetFitModel (body and logistic head) for each task, all held in memory."""

    episodes: Sequence[Episode]
    models: Sequence[Any]

    @property
    def parameters(self) -> int:  # type: ignore[override]
        """Numbers in one task's body and head, of the task with most labels."""
        heads = [model.model_head.coef_.size + model.model_head.intercept_.size for model in self.models]
        return sum(value.numel() for value in self.models[0].model_body.parameters()) + max(heads)

    def answers(self) -> list[Answers]:
        """The package's own predictions."""
        return [_answers(model, episode) for model, episode in zip(self.models, self.episodes, strict=True)]


class SetFit(Method):
    """SetFit on the backbone's own folder: contrastive pairs of the support, then a logistic head.

    Tunstall et al. 2022, arXiv:2209.11055, as the package `setfit` does it by default (one epoch over all pairs, its
    step size and sampling) with texts cut at the backbone's `max_tokens`. Works in fp32; descriptions and label texts
    are not used; a label without an example is never chosen. Its steps are its own: it is measured at 0 fine-tune
    steps. No logs, no checkpoints, no network. Cost grows with the square of the support: 300 examples are 45,000
    pairs, and the benchmark asks for no more. The package warms up from a step size of 0 over the first tenth of the
    steps, so that a support of 16 pairs or fewer (1 shot of two labels) trains the head alone.
    """

    name = "SetFit"
    trainable = False
    needs_support = True
    most_support = 300
    requires = ("setfit", "sentence_transformers")

    def __init__(self, seed: int = 0):
        self.seed = seed

    def adapt(self, backbone: Backbone[Any], episodes: Sequence[Episode]) -> SetFitModels:
        """A trained model for each task.

        Raises ImportError with the install command if the package is missing, ValueError for a support of fewer than
        two labels or a backbone that is not a text encoder.
        """
        check_support(episodes, self.name)
        if not isinstance(backbone, Encoder):
            raise ValueError(f"backbone {backbone.name} is not a text encoder: SetFit trains sentence encoders.")
        for episode in episodes:
            if len({example.output for example in episode.support}) < 2:
                raise ValueError(f"SetFit: the support of task {episode.task!r} shows one label only; it needs two.")
        with _quiet():
            return SetFitModels(episodes, [self._train(backbone, episode) for episode in episodes])

    def suits(self, backbone: Backbone[Any]) -> bool:
        """Text encoders."""
        return isinstance(backbone, Encoder)

    def _train(self, backbone: Encoder, episode: Episode) -> Any:
        setfit = _package("setfit")
        model = setfit.SetFitModel(model_body=_body(backbone), model_head=LogisticRegression())
        texts = [example.input for example in episode.support]
        labels = [episode.labels.index(example.output) for example in episode.support]
        with TemporaryDirectory() as folder, isolate_rng():
            settings = setfit.TrainingArguments(
                output_dir=folder, seed=self.seed, report_to="none", save_strategy="no", logging_strategy="no",
                show_progress_bar=False,
            )  # fmt: skip
            trainer = setfit.Trainer(model=model, args=settings)
            trainer.remove_callback(ProgressCallback)
            trainer.st_trainer.args.dataloader_pin_memory = False
            # the two halves of Trainer.train, which beside them only describes the data for a model card
            trainer.train_embeddings(texts, labels, args=settings)
            trainer.train_classifier(texts, labels, args=settings)
        return model


def _body(backbone: Encoder) -> Any:
    """The backbone's folder as the sentence-transformers package reads it."""
    body = _package("sentence_transformers").SentenceTransformer(
        resolve(backbone.name),
        device=str(backbone.device),
        local_files_only=True,
        trust_remote_code=backbone.settings()["trust_remote_code"],
        model_kwargs={"dtype": torch.float32},
    )
    body.max_seq_length = backbone.tokens.max_tokens
    return body


def _answers(model: Any, episode: Episode) -> Answers:
    inputs = [example.input for example in episode.query]
    found = model.predict_proba(inputs, show_progress_bar=False)
    return labelled(episode, spread(found, model.model_head.classes_.tolist(), len(episode.labels)))


def _package(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise ImportError(f"SetFit needs the package {name}, which cannot be imported ({error}): {INSTALL}") from error


@contextmanager
def _quiet() -> Iterator[None]:
    """No progress bars, announcements or needless waits of setfit and transformers for the length of a `with`."""
    bars = transformers_logging.is_progress_bar_enabled()
    _package("setfit")  # sets its own loggers to chatter when it is imported
    logger = logging.getLogger("setfit")
    level = logger.level
    logger.setLevel(logging.WARNING)
    transformers_logging.disable_progress_bar()
    gc.freeze()  # its trainer collects the whole process's garbage at each end: a second that is not SetFit's cost
    try:
        yield
    finally:
        gc.unfreeze()
        logger.setLevel(level)
        if bars:
            transformers_logging.enable_progress_bar()
