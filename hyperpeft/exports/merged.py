"""The backbone with the adapter added to its weights: a plain transformers folder."""

import copy
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from einops import rearrange
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from hyperpeft.exports.base import Exported, plain
from hyperpeft.exports.classifier import classifier_code
from hyperpeft.exports.low_rank import low_rank

Merge = Callable[[Exported, nn.Module], None]


def write_merged(exported: Exported, folder: Path) -> None:
    """Write a model folder that `from_pretrained` loads, in fp32, tokenizer included.

    The sum is taken in fp32 and saved so, whatever the backbone's dtype here: rounding it would lose the adapter.
    """
    if not all(parameter.is_floating_point() for parameter in exported.backbone.model.parameters()):
        raise ValueError("the backbone is quantised: its weights are not exact. Load it whole and export again.")
    model = copy.deepcopy(exported.backbone.model).float().cpu()
    model.config._name_or_path = exported.base_model
    with torch.no_grad():
        MERGES[exported.weights.adapter.kind](exported, model)
    model.save_pretrained(folder)
    exported.backbone.tokenizer.save_pretrained(folder)


def _merge_lora(exported: Exported, model: nn.Module) -> None:
    """W + scale * B A."""
    for path, (A, B) in low_rank(exported).items():
        _set(model, path, _weight(model, path) + B.T @ A)


def _merge_dora(exported: Exported, model: nn.Module) -> None:
    """m (W + scale * B A) / ||W + scale * B A||, norms over each output's row, m = ||W|| (1 + magnitude)."""
    for path, (A, B) in low_rank(exported).items():
        W = _weight(model, path)
        whole = W + B.T @ A
        magnitude = W.norm(dim=1) * (1 + plain(exported.weights.tensors[path]["magnitude"])[0])
        _set(model, path, rearrange(magnitude / whole.norm(dim=1), "o -> o 1") * whole)


def _merge_ia3(exported: Exported, model: nn.Module) -> None:
    """Columns times 1 + l_in, or rows and bias times 1 + l_out."""
    for path, named in exported.weights.tensors.items():
        if "l_in" in named:
            _set(model, path, _weight(model, path) * (1 + plain(named["l_in"])))
            continue
        factors = 1 + plain(named["l_out"])[0]
        _set(model, path, _weight(model, path) * rearrange(factors, "o -> o 1"))
        module: Any = model.get_submodule(path)
        if module.bias is not None:
            module.bias *= factors


def _merge_sparse(exported: Exported, model: nn.Module) -> None:
    """W + S."""
    adapter: Any = exported.weights.adapter
    for path, named in exported.weights.tensors.items():
        W = _weight(model, path)
        _set(model, path, W + adapter.dense(named["values"].detach().cpu().float(), *W.shape)[0])


def _merge_bias(exported: Exported, model: nn.Module) -> None:
    """bias + change. Raises ValueError if a module of the model class has no bias: its folder could not hold one."""
    for path, named in exported.weights.tensors.items():
        module: Any = model.get_submodule(path)
        if module.bias is None:
            raise ValueError(f"{path} has no bias in this model, so 'merged' cannot hold one. Use 'safetensors'.")
        module.bias += plain(named["bias"])[0]


def _weight(model: nn.Module, path: str) -> Tensor:
    """`[d_out d_in]`."""
    module: Any = model.get_submodule(path)
    return module.weight.T if isinstance(module, Conv1D) else module.weight


def _set(model: nn.Module, path: str, weight: Tensor) -> None:
    module: Any = model.get_submodule(path)
    module.weight.copy_(weight.T if isinstance(module, Conv1D) else weight)


MERGES: Mapping[str, Merge] = MappingProxyType(
    {"lora": _merge_lora, "dora": _merge_dora, "ia3": _merge_ia3, "sparse": _merge_sparse, "bias": _merge_bias}
)


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
