"""Frozen weights in 8 or 4 bits, by the libraries that transformers knows."""

from collections.abc import Callable, Mapping
from importlib.util import find_spec
from types import MappingProxyType
from typing import Any

import torch
from torch import nn
from transformers import BitsAndBytesConfig, TorchAoConfig

from hyperpeft.config import ConfigError, did_you_mean

# bitsandbytes.nn.Linear4bit
PACKS = "support_avx512bf16_for_cpu"


def _bitsandbytes_8(dtype: torch.dtype) -> Any:
    return BitsAndBytesConfig(load_in_8bit=True)


def _bitsandbytes_4(dtype: torch.dtype) -> Any:
    """NF4 with doubly quantised scales, as in QLoRA. Dettmers et al. 2023, arXiv:2305.14314."""
    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=dtype,
    )


def _torchao(name: str) -> Callable[[torch.dtype], Any]:
    def make(dtype: torch.dtype) -> Any:
        from torchao import quantization  # type: ignore[import-not-found]

        return TorchAoConfig(quant_type=vars(quantization)[name]())

    return make


# setting: (libraries, its configuration for the dtype of the computation)
LOAD_IN: Mapping[str, tuple[tuple[str, ...], Callable[[torch.dtype], Any]]] = MappingProxyType(
    {
        "bitsandbytes-8bit": (("bitsandbytes",), _bitsandbytes_8),
        "bitsandbytes-4bit": (("bitsandbytes",), _bitsandbytes_4),
        "torchao-8bit": (("torchao",), _torchao("Int8WeightOnlyConfig")),
        # torchao 0.18 computes plain 4-bit weights by mslk, on GPUs
        "torchao-4bit": (("torchao", "mslk"), _torchao("Int4WeightOnlyConfig")),
    }
)


def quantisation(load_in: str, dtype: torch.dtype) -> dict[str, Any]:
    """Arguments for `from_pretrained`: none for `full`.

    Raises ConfigError for an unknown setting, and where the library is not installed.
    """
    if load_in == "full":
        return {}
    if load_in not in LOAD_IN:
        raise ConfigError(f"load_in {load_in!r} does not exist. {did_you_mean(load_in, ['full', *LOAD_IN])}")
    libraries, make = LOAD_IN[load_in]
    missing = " ".join(library for library in libraries if find_spec(library) is None)
    if missing:
        raise ConfigError(
            f"load_in={load_in} needs {missing}, which is not installed: pip install {missing}. "
            "load_in=full works without."
        )
    return {"quantization_config": make(dtype)}


def keep_gradients(model: nn.Module) -> None:
    """Stop bitsandbytes from packing 4-bit weights anew at their first forward without gradient.

    It does so on CPUs with AVX512-BF16; the packed product has no backward, so that adapters below it would get wrong
    gradients ever after, without an error, and the fingerprint of the weights would change.
    """
    for module in model.modules():
        if PACKS in vars(module):
            module.__dict__[PACKS] = False
