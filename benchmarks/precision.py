"""Cost of steps on a backbone in bf16 against the same in fp32, in one run, and how far their losses lie apart.

python benchmarks/precision.py                          # random Llama shape, ~27M parameters, 8 tasks x 8 rows
python benchmarks/precision.py --backbone minilm
python benchmarks/precision.py --backbone minilm --quality 23     # and on so many held-out tasks of tasks/everyday

Adapters and hypernetwork are in fp32 either way. Time ratios are medians of interleaved repetitions with quartiles.
With `--quality` the generator inside the package makes adapters for held-out tasks on either backbone: accuracy in bf16
less that in fp32, with 95 % intervals over tasks and draws. Exits with 1 if a ratio is worse than its regression bound,
which supposes a processor with bf16 products.
"""

import sys
from argparse import Namespace
from collections.abc import Sequence
from importlib.resources import files
from tempfile import TemporaryDirectory
from typing import Any

import torch
from measure import EVERYDAY, Target, frozen_step, interleaved, parsed, parser, random_llama, show, spread, verdict
from step_cost import Case, batch_for, meta_step

from hyperpeft.backbones import Backbone, Encoder
from hyperpeft.baselines import Generated, ZeroShot
from hyperpeft.benchmark import EvaluationSettings, run_benchmark
from hyperpeft.corpora import Folder
from hyperpeft.generator import Generator
from hyperpeft.meta_splits import split_tasks
from hyperpeft.report.intervals import differences, interval

STEP = Target("meta-training step, bf16 time / fp32 time", goal=0.7)
LOSS = Target("largest relative difference of a task's loss", goal=0.02)
INSIDE = files("hyperpeft") / "generators" / "default"
DTYPES = ("float32", "bfloat16")


def backbones(options: Namespace, folder: str) -> dict[str, Backbone[Any]]:
    """The same weights in both dtypes."""
    if options.backbone == "minilm":
        return {dtype: Encoder(dtype=dtype) for dtype in DTYPES}
    sizes = {"hidden": options.hidden, "layers": options.layers}
    return {dtype: random_llama(f"{folder}/{dtype}", dtype=dtype, **sizes) for dtype in DTYPES}


def differences_in_quality(tasks: int) -> list[tuple[str, str, str]]:
    """Of each method, shots and steps: accuracy in bf16, and how much that is more than in fp32."""
    corpus = Folder(str(EVERYDAY))
    held_out = [task for task in split_tasks(list(corpus.read()), corpus.splits)["test"] if task.labels][:tasks]
    settings = EvaluationSettings(shots=[0, 4], steps=[0, 10], seeds=[0, 1], queries=32)
    cells: dict[tuple[str, int, int, str], dict[str, dict[int, float]]] = {}
    for dtype in DTYPES:
        generator = Generator.from_pretrained(str(INSIDE), Encoder(dtype=dtype))
        methods = [ZeroShot(generator.hypernetwork.adapter), Generated(generator)]
        for record in run_benchmark(methods, held_out, generator.backbone, settings):
            cell = cells.setdefault((record.method, record.shots, record.steps, dtype), {})
            cell.setdefault(record.task, {})[record.seed] = record.score
    rows = []
    for method, shots, steps in sorted({key[:3] for key in cells}):
        plain, short = (cells[method, shots, steps, dtype] for dtype in DTYPES)
        more = interval([list(scores.values()) for scores in differences(short, plain).values()])
        mean = interval([list(scores.values()) for scores in short.values()])
        rows.append((f"{method}, {shots} shots, {steps} steps", f"{100 * mean.mean:.1f}", str(more)))
    return rows


def main(argv: Sequence[str] | None = None) -> int:
    made = parser(__doc__, repeats=5)
    made.add_argument("--backbone", choices=("llama", "minilm"), default="llama")
    made.add_argument("--tasks", type=int, default=8)
    made.add_argument("--rows", type=int, default=8)
    made.add_argument("--tokens", type=int, default=64)
    made.add_argument("--hidden", type=int, default=512, help="width of the random Llama")
    made.add_argument("--layers", type=int, default=8, help="layers of the random Llama")
    made.add_argument("--quality", type=int, default=0, metavar="TASKS", help="measure accuracy on so many tasks too")
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
    if options.quality:
        columns = ("method", "accuracy in bf16, %", "more than in fp32 [95 % interval]")
        show(f"held-out tasks of {EVERYDAY.name}", columns, differences_in_quality(options.quality))
    plain, short = losses.values()
    apart = float(((short - plain) / plain).abs().max())
    return verdict([(STEP, ratios["meta-training step"].median), (LOSS, apart)])


if __name__ == "__main__":
    sys.exit(main())
