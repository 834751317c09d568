"""Corpora: readers that turn files into tasks."""

from collections.abc import Mapping
from itertools import chain
from types import MappingProxyType
from typing import Any

from hyperpeft.config import build
from hyperpeft.corpora.base import Corpus
from hyperpeft.corpora.folder import Folder
from hyperpeft.corpora.hf_datasets import HfDatasets
from hyperpeft.corpora.natural_instructions import NaturalInstructions

# PROC

CORPORA: Mapping[str, type[Corpus]] = MappingProxyType(
    {
        "folder": Folder,
        "natural_instructions": NaturalInstructions,
        "hf_datasets": HfDatasets,
        # PROC2
    }
)

__all__ = ["CORPORA", "Corpus", "Folder", "HfDatasets", "NaturalInstructions", "open_corpora"]


def open_corpora(settings: Mapping[str, Any]) -> list[Corpus]:
    """The corpora of a settings section: one `{kind, ...}`, or several as `{kind: mixture, parts: {name: {kind, ...}}}`."""
    if settings.get("kind") != "mixture":
        return [build(CORPORA, settings, name="corpus")]
    parts = settings.get("parts") or {}
    return list(chain.from_iterable(open_corpora(part) for part in parts.values()))
