"""Cost of steps on a backbone in bf16 against the same in fp32, in one run, and how far their losses lie apart.

python benchmarks/precision.py                          # random Llama shape, ~27M parameters, 8 tasks x 8 rows
python benchmarks/precision.py --backbone minilm

Adapters and hypernetwork are in fp32 either way. Time ratios are medians of interleaved repetitions with quartiles.
Exits with 1 if a ratio is worse than its regression bound, which supposes a processor with bf16 products.
"""

import sys
from argparse import Namespace
from collections.abc import Sequence
from tempfile import TemporaryDirectory
from typing import Any

import torch
from measure import Target, frozen_step, interleaved, parsed, parser, random_llama, show, spread, verdict
from step_cost import Case, batch_for, meta_step

from hyperpeft.backbones import Backbone, Encoder

STEP = Target("meta-training step, bf16 time / fp32 time", goal=0.7)
LOSS = Target("largest relative difference of a task's loss", goal=0.02)
DTYPES = ("float32", "bfloat16")


def backbones(options: Namespace, folder: str) -> dict[str, Backbone[Any]]:
    """The same weights in both dtypes."""
    if options.backbone == "minilm":
        return {dtype: Encoder(dtype=dtype) for dtype in DTYPES}
    sizes = {"hidden": options.hidden, "layers": options.layers}
    return {dtype: random_llama(f"{folder}/{dtype}", dtype=dtype, **sizes) for dtype in DTYPES}


def main(argv: Sequence[str] | None = None) -> int:
    made = parser(__doc__, repeats=5)
    made.add_argument("--backbone", choices=("llama", "minilm"), default="llama")
    made.add_argument("--tasks", type=int, default=8)
    made.add_argument("--rows", type=int, default=8)
    made.add_argument("--tokens", type=int, default=64)
    made.add_argument("--hidden", type=int, default=512, help="width of the random Llama")
    made.add_argument("--layers", type=int, default=8, help="layers of the random Llama")
    options = parsed(made, argv)
    case = Case(options.tasks, options.rows, options.tokens)
    works, losses = {}, {}
    with TemporaryDirectory() as folder:
        for dtype, backbone in backbones(options, folder).items():
            torch.manual_seed(0)
            batch = batch_for(backbone, case)
            works[f"frozen step, {dtype}"] = frozen_step(backbone, batch)
            works[f"meta-training step, {dtype}"], _ = meta_step(backbone, batch, case)
            with torch.no_grad():
                losses[dtype] = backbone.loss(batch)
    seconds = interleaved(works, options.repeats)
    ratios = {
        step: spread(seconds[f"{step}, bfloat16"], seconds[f"{step}, float32"])
        for step in ("frozen step", "meta-training step")
    }
    show(f"{options.backbone}, {case}", ("step", "bf16 time / fp32 time (quartiles)"), list(ratios.items()))
    plain, short = losses.values()
    apart = float(((short - plain) / plain).abs().max())
    return verdict([(STEP, ratios["meta-training step"].median), (LOSS, apart)])


if __name__ == "__main__":
    sys.exit(main())
