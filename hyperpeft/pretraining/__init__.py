"""Pretraining of a tiny language model on tasks without their descriptions: a backbone for laptops."""

from hyperpeft.pretraining.codes import code_prompts
from hyperpeft.pretraining.run import PretrainConfig, pretrain
from hyperpeft.pretraining.sequences import Sequences, SequenceSettings, codes_of
from hyperpeft.pretraining.tiny import character_tokenizer, small_llama

__all__ = [
    "PretrainConfig",
    "SequenceSettings",
    "Sequences",
    "character_tokenizer",
    "code_prompts",
    "codes_of",
    "pretrain",
    "small_llama",
]
