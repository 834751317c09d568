"""The backbone with the adapter added to its weights: a plain transformers folder."""

import copy
from pathlib import Path

import torch
from transformers.pytorch_utils import Conv1D

from hyperpeft.exports.base import Exported

KINDS = ("lora",)


def write_merged(exported: Exported, folder: Path) -> None:
    """Write a model folder that `from_pretrained` loads: W + scale * B A in fp32, tokenizer included.

    The sum is taken in fp32 and saved so, whatever the backbone's dtype here: rounding it would lose the adapter.
    """
    exported.require(KINDS, "merged")
    model = copy.deepcopy(exported.backbone.model).float().cpu()
    scale = exported.weights.adapter.scale  # type: ignore[attr-defined]
    with torch.no_grad():
        for path, named in exported.weights.tensors.items():
            module = model.get_submodule(path)
            delta = scale * named["B"][0].cpu().float().T @ named["A"][0].cpu().float()
            module.weight += delta.T if isinstance(module, Conv1D) else delta  # type: ignore[operator]
    model.save_pretrained(folder)
    exported.backbone.tokenizer.save_pretrained(folder)
    (folder / "README.md").write_text(exported.card, encoding="utf-8")
