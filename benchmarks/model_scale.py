"""A meta-training step on a model of 1 or 7 billion parameters with random weights, against plain PEFT LoRA's.

python benchmarks/model_scale.py --shape 1b                      # on a GPU, if there is one; 8 tasks x 2 x 256 tokens
python benchmarks/model_scale.py --shape 7b --checkpointing --compile
python benchmarks/model_scale.py --shape tiny --repeats 3        # in small, on any machine

Both train LoRA of rank 8 on query and value for the same tokens on the same frozen weights in bf16: hyperpeft's step
has an adapter for each task, generated; PEFT's one for all rows. Prints tokens a second (wall time on a GPU, CPU time
else) and the most memory held above the weights. Exits with 1 if a ratio is worse than its regression bound.
"""

import sys
from argparse import Namespace
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from measure import Spread, Target, Work, parsed, parser, save_llama, show, spread, verdict
from peft import LoraConfig, get_peft_model
from step_cost import RANK, Case, batch_for, meta_step

from hyperpeft.backbones import CausalLm
from hyperpeft.cost import Meter

THROUGHPUT = Target("tokens a second / PEFT LoRA's", goal=0.9, at_least=True)
MEMORY = Target("peak memory / PEFT LoRA's", goal=1.1)
SHAPES: dict[str, dict[str, int]] = {
    "tiny": {"hidden_size": 64, "intermediate_size": 172, "num_hidden_layers": 2, "num_attention_heads": 4},
    "1b": {"hidden_size": 2048, "intermediate_size": 8192, "num_hidden_layers": 16, "num_attention_heads": 32},
    "7b": {"hidden_size": 4096, "intermediate_size": 14336, "num_hidden_layers": 32, "num_attention_heads": 32},
}
GROUPED = {"num_key_value_heads": 8}


def big_llama(shape: str, folder: str, device: str, *, checkpointing: bool) -> CausalLm:
    """A backbone of the shape in bf16, on the device: Llama 3.2 1B's or Mistral 7B's, with fewer words."""
    with torch.device(device):
        save_llama(folder, torch.bfloat16, **SHAPES[shape], **(GROUPED if shape != "tiny" else {}))
    backbone = CausalLm(folder, dtype="bfloat16", gradient_checkpointing=checkpointing)
    backbone.to(device)
    return backbone


@contextmanager
def peft_lora(backbone: CausalLm) -> Iterator[None]:
    """Inside the `with`, the model has plain PEFT LoRA in place."""
    model: Any = backbone.model
    wrapped = get_peft_model(model, LoraConfig(r=RANK, lora_alpha=16, target_modules=["q_proj", "v_proj"]))
    if backbone.gradient_checkpointing:
        model.gradient_checkpointing_enable({"use_reentrant": False})
        model.train()
    try:
        yield
    finally:
        model.gradient_checkpointing_disable()
        wrapped.unload()
        model.requires_grad_(False).eval()


def measured(work: Work, repeats: int) -> tuple[list[float], int]:
    """Seconds of each repetition after two to warm up and compile, and peak bytes above what was held."""
    seconds, peaks = [], []
    for _ in range(repeats + 2):
        with Meter() as meter:
            work()
        seconds.append(meter.seconds if torch.cuda.is_available() else meter.cpu_seconds)
        peaks.append(meter.peak_bytes or 0)
    return seconds[2:], max(peaks[2:])


def compared(backbone: CausalLm, options: Namespace) -> dict[str, tuple[list[float], int]]:
    """Of hyperpeft's and PEFT's step: seconds and peak bytes."""
    case = Case(options.tasks, options.rows, options.tokens)
    batch = batch_for(backbone, case)
    if options.compile:
        backbone.model.compile()  # type: ignore[no-untyped-call]
    step, generator = meta_step(backbone, batch, case)
    found = {"hyperpeft": measured(step, options.repeats)}
    del step, generator
    torch.compiler.reset()
    with peft_lora(backbone):
        found["PEFT LoRA"] = measured(lambda: backbone.loss(batch).mean().backward(), options.repeats)
    return found


def main(argv: Sequence[str] | None = None) -> int:
    made = parser(__doc__, repeats=9)
    made.add_argument("--shape", choices=SHAPES, default="tiny")
    made.add_argument("--tasks", type=int, default=8)
    made.add_argument("--rows", type=int, default=2)
    made.add_argument("--tokens", type=int, default=256)
    made.add_argument("--checkpointing", action="store_true", help="compute layers again in backward")
    made.add_argument("--compile", action="store_true", help="torch.compile the frozen model")
    options = parsed(made, argv)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    with TemporaryDirectory() as folder:
        backbone = big_llama(options.shape, folder, device, checkpointing=options.checkpointing)
    found = compared(backbone, options)
    tokens = options.tasks * options.rows * options.tokens
    rows = [
        (name, f"{tokens / float(np.median(seconds)):.0f}", f"{peak / 2**30:.2f}")
        for name, (seconds, peak) in found.items()
    ]
    parameters = sum(parameter.numel() for parameter in backbone.model.parameters())
    how = [name for name in ("checkpointing", "compile") if getattr(options, name)]
    title = f"{options.shape}: {parameters / 1e9:.2f}e9 parameters, bf16, {device}, {' and '.join(how) or 'plain'}"
    show(title, ("step", "tokens a second", "peak memory above the weights, GiB"), rows)
    (ours, our_peak), (theirs, their_peak) = found["hyperpeft"], found["PEFT LoRA"]
    ratio: Spread = spread(theirs, ours)
    print(f"throughput, hyperpeft / PEFT LoRA: {ratio}")
    return verdict([(THROUGHPUT, ratio.median), (MEMORY, our_peak / max(1, their_peak))])


if __name__ == "__main__":
    sys.exit(main())
