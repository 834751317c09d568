"""Corpora: readers that turn files into tasks."""

from collections.abc import Mapping
from itertools import chain
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
    """The corpora of a settings section: one `{kind, ...}`, or those of `{kind: mixture, parts: {name: section}}`."""
    if settings.get("kind") != "mixture":
        return [build(CORPORA, settings, name=name)]
    parts = settings.get("parts")
    if not parts:
        raise ConfigError(f"{name} is a mixture without parts. Give {name}.parts: {{name: {{kind: ...}}, ...}}.")
    return list(chain.from_iterable(open_corpora(part, f"{name}.parts.{key}") for key, part in parts.items()))
