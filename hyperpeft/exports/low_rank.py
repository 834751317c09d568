"""LoRA's two matrices as plain arrays with every scale folded into B: what all formats of LoRA are written from."""

import math
from typing import Any

from torch import Tensor
from torch.nn import functional

from hyperpeft.exports.base import Exported, plain


def low_rank(exported: Exported) -> dict[str, tuple[Tensor, Tensor]]:
    """A `[r d_in]` and B `[r d_out]` by target, of one rank r: y + x A^T B is what the adapter computes.

    Smaller ranks are filled up with rows of zeros to the largest one.
    """
    adapter: Any = exported.weights.adapter
    ranks = {path: named["A"].shape[1] for path, named in exported.weights.tensors.items()}
    rank = max(ranks.values())
    return {
        path: (
            filled(plain(named["A"]), rank),
            filled(_scale(adapter, named["A"].shape[1]) * plain(named["B"]), rank),
        )
        for path, named in exported.weights.tensors.items()
    }


def _scale(adapter: Any, rank: int) -> float:
    """alpha / rank, or alpha / sqrt(rank) for rslora."""
    return float(adapter.alpha / (math.sqrt(rank) if adapter.rslora else rank))


def filled(tensor: Tensor, rank: int) -> Tensor:
    """`[r d]` with rows of zeros added up to the rank."""
    return functional.pad(tensor, (0, 0, 0, rank - tensor.shape[0]))
