"""The tiny language model before it has learned anything: characters as tokens, and a small Llama."""

import string
from collections.abc import Mapping
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, pre_tokenizers, processors
from tokenizers.models import WordLevel
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from hyperpeft.config import ConfigError, did_you_mean

PAD, UNKNOWN, BEGIN, END = SPECIALS = ("<pad>", "<unk>", "<s>", "</s>")
CHARACTERS = string.ascii_letters + string.digits + string.punctuation + " \n"


def character_tokenizer() -> PreTrainedTokenizerFast:
    """One token a printable ASCII character, after a begin token; any other character is unknown."""
    vocabulary = {token: index for index, token in enumerate([*SPECIALS, *CHARACTERS])}
    tokenizer = Tokenizer(WordLevel(vocabulary, unk_token=UNKNOWN))
    tokenizer.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    tokenizer.decoder = decoders.Fuse()
    begin = [(BEGIN, vocabulary[BEGIN])]
    tokenizer.post_processor = processors.TemplateProcessing(single=f"{BEGIN} $A", special_tokens=begin)
    names = {"pad_token": PAD, "unk_token": UNKNOWN, "bos_token": BEGIN, "eos_token": END}
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, clean_up_tokenization_spaces=False, **names)


def small_llama(
    tokenizer: PreTrainedTokenizerFast, settings: Mapping[str, Any], *, seed: int, extra: int = 0
) -> LlamaForCausalLM:
    """A fresh Llama in fp32 for the tokenizer and so many extra tokens; `settings` are arguments of LlamaConfig.

    Raises ConfigError for a setting that LlamaConfig does not have.
    """
    known = LlamaConfig().to_dict()
    for name in settings:
        if name not in known:
            raise ConfigError(f"model: LlamaConfig has no setting {name!r}. {did_you_mean(name, known)}")
    ids = {
        "pad_token_id": tokenizer.pad_token_id,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
    }
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        return LlamaForCausalLM(LlamaConfig(vocab_size=len(tokenizer) + extra, **ids, **settings))
