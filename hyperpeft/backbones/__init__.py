"""Backbones: what is frozen; loss and predictions per model class."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from hyperpeft.backbones.base import Backbone, Scores
from hyperpeft.backbones.causal_lm import CausalLm
from hyperpeft.backbones.encoder import Encoder
from hyperpeft.backbones.pretrained import MINILM
from hyperpeft.backbones.seq2seq import Seq2Seq
from hyperpeft.backbones.vision import Vision

BACKBONES: Mapping[str, type[Backbone[Any]]] = MappingProxyType(
    {"encoder": Encoder, "causal_lm": CausalLm, "seq2seq": Seq2Seq, "vision": Vision}
)

__all__ = ["BACKBONES", "MINILM", "Backbone", "CausalLm", "Encoder", "Scores", "Seq2Seq", "Vision"]
