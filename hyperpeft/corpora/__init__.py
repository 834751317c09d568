"""Corpora: readers that turn files into tasks."""

from collections.abc import Mapping
from itertools import chain
from math import inf
from types import MappingProxyType
from typing import Any

from hyperpeft.config import ConfigError, build
from hyperpeft.corpora.base import Corpus
from hyperpeft.corpora.folder import Folder
from hyperpeft.corpora.hf_datasets import HfDatasets
from hyperpeft.corpora.images import Images
from hyperpeft.corpora.natural_instructions import NaturalInstructions
from hyperpeft.corpora.procedural import Procedural

CORPORA: Mapping[str, type[Corpus]] = MappingProxyType(
    {
        "folder": Folder,
        "natural_instructions": NaturalInstructions,
        "hf_datasets": HfDatasets,
        "procedural": Procedural,
        "images": Images,
    }
)

__all__ = ["CORPORA", "Corpus", "Folder", "HfDatasets", "Images", "NaturalInstructions", "Procedural", "open_corpora"]


def open_corpora(settings: Mapping[str, Any], name: str = "corpus") -> list[Corpus]:
    """The corpora of a settings section: one `{kind, ...}`, or those of `{kind: mixture, parts: {name: section}}`.

    `weight` in a part: how often its families are drawn for meta-training, 1 unless told; a mixture's multiplies that
    of its parts. Raises ConfigError for one that is no number above 0.
    """
    weight, settings = settings.get("weight", 1.0), {key: settings[key] for key in settings if key != "weight"}
    if not isinstance(weight, int | float) or not 0 < weight < inf:
        raise ConfigError(f"{name}.weight is {weight!r}: give a number above 0; 2 draws its families twice as often.")
    whole = settings.get("kind") != "mixture"
    corpora = [build(CORPORA, settings, name=name)] if whole else _parts(settings, name)
    for corpus in corpora:
        corpus.weight *= weight
    return corpora


def _parts(settings: Mapping[str, Any], name: str) -> list[Corpus]:
    parts = settings.get("parts")
    if not parts:
        raise ConfigError(f"{name} is a mixture without parts. Give {name}.parts: {{name: {{kind: ...}}, ...}}.")
    return list(chain.from_iterable(open_corpora(part, f"{name}.parts.{key}") for key, part in parts.items()))
