"""Procedural tasks: text functions over words, lists and numbers, and their compositions."""

from hyperpeft.corpora.procedural.composition import JOINT
from hyperpeft.corpora.procedural.procedural import Procedural

__all__ = ["JOINT", "Procedural"]
