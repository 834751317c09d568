"""The backbone with the adapter added to its weights: a plain transformers folder."""

import copy
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from torch import nn
from transformers.pytorch_utils import Conv1D

from hyperpeft.exports.base import Exported
from hyperpeft.exports.classifier import classifier_code
from hyperpeft.exports.low_rank import low_rank

Merge = Callable[[Exported, nn.Module], None]


def write_merged(exported: Exported, folder: Path) -> None:
    """Write a model folder that `from_pretrained` loads, in fp32, tokenizer included.

    The sum is taken in fp32 and saved so, whatever the backbone's dtype here: rounding it would lose the adapter.
    """
    model = copy.deepcopy(exported.backbone.model).float().cpu()
    model.config._name_or_path = exported.base_model
    with torch.no_grad():
        MERGES[exported.weights.adapter.kind](exported, model)
    model.save_pretrained(folder)
    exported.backbone.tokenizer.save_pretrained(folder)


def _merge_lora(exported: Exported, model: nn.Module) -> None:
    """W + scale * B A."""
    for path, (A, B) in low_rank(exported).items():
        module: Any = model.get_submodule(path)
        module.weight += A.T @ B if isinstance(module, Conv1D) else B.T @ A


MERGES: Mapping[str, Merge] = MappingProxyType({"lora": _merge_lora})


def merged_usage(exported: Exported) -> str:
    """How to load it."""
    if exported.backbone.classifies:
        load = "model = AutoModel.from_pretrained(folder).eval()\ntokenizer = AutoTokenizer.from_pretrained(folder)"
        return classifier_code(exported, load, imports="from transformers import AutoModel, AutoTokenizer")
    auto = type(exported.backbone.model).__name__
    return (
        f"```python\nfrom transformers import AutoTokenizer, {auto}\n\n"
        f'model = {auto}.from_pretrained("this folder")\n'
        'tokenizer = AutoTokenizer.from_pretrained("this folder")\n```'
    )
