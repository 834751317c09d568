"""Cost of one meta-training step against the same frozen backbone's own forward and backward, in one run.

python benchmarks/step_cost.py                 # 8 tasks x 8 rows, 64 tokens, ~27M parameters, per_rank head
python benchmarks/step_cost.py --tasks 16 --rows 4 --head large --kind bottleneck --repeats 15
python benchmarks/step_cost.py --backbone minilm
python benchmarks/step_cost.py --all           # every head, shape, adapter kind and MiniLM: one table

Prints medians of interleaved repetitions as ratios to the frozen step with their quartiles, and the memory saved for
backward (distinct storages, parameters left out) as ratios. Plain PEFT LoRA, one adapter for all rows, runs beside.
Exits with 1 if a ratio is worse than its regression bound.
"""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from tempfile import TemporaryDirectory
from typing import Any

import torch
from measure import (
    VOCABULARY,
    Spread,
    Target,
    Work,
    everyday,
    frozen_step,
    interleaved,
    parsed,
    parser,
    random_llama,
    saved_bytes,
    show,
    spread,
    verdict,
)
from peft import LoraConfig, get_peft_model
from torch import nn

from hyperpeft.adapters import ADAPTERS, AdapterKind
from hyperpeft.backbones import Backbone, CausalLm, Encoder
from hyperpeft.backbones.causal_lm import CausalLmBatch
from hyperpeft.hypernetwork import HEADS, Hypernetwork

TIME = Target("step time, LoRA", goal=1.15)
MEMORY = Target("saved memory, LoRA", goal=1.25)
KIND_TIME = Target("step time, other kinds", goal=1.25)
KIND_MEMORY = Target("saved memory, other kinds", goal=1.25)
D_TASK, RANK = 256, 8


@dataclass(frozen=True)
class Case:
    """One step to measure."""

    tasks: int = 8
    rows: int = 8
    tokens: int = 64
    head: str = "per_rank"
    kind: str = "lora"
    rank: int = RANK
    targets: tuple[str, ...] | None = None
    d_hidden: int = 128

    def __str__(self) -> str:
        return f"{self.kind}, {self.head}, {self.tasks} x {self.rows}"

    def adapter(self) -> AdapterKind:
        if self.kind != "lora":
            return ADAPTERS[self.kind]()
        return ADAPTERS["lora"](rank=self.rank, targets=list(self.targets) if self.targets else None)


@dataclass(frozen=True)
class Cost:
    """Of a step, as ratios to the frozen one."""

    time: Spread
    memory: float
    seconds: float


def batch_for(backbone: Backbone[Any], case: Case) -> Any:
    """Random tokens for a language model, the second half of each row scored; real texts for an encoder."""
    if not isinstance(backbone, CausalLm):
        return backbone.support_batch(everyday(case.tasks, case.rows))
    ids = torch.randint(2, VOCABULARY, (case.tasks * case.rows, case.tokens), device=backbone.device)
    targets = ids.where(torch.arange(case.tokens, device=ids.device) >= case.tokens // 2, -100)
    return CausalLmBatch(ids, torch.ones_like(ids), targets, case.tasks)


def meta_step(backbone: Backbone[Any], batch: Any, case: Case) -> tuple[Work, nn.Module]:
    """Generate the adapters of all tasks, forward, backward into the hypernetwork."""
    adapter = case.adapter()
    targets, readout = backbone.targets(adapter), backbone.readout_defaults()
    sizes = {"head": case.head, "d_hidden": case.d_hidden}
    made = Hypernetwork(adapter, targets, backbone.identity, readout, d_task=D_TASK, **sizes).to(backbone.device)
    z = torch.randn(case.tasks, D_TASK, device=backbone.device)

    def step() -> None:
        with backbone.adapted(made(z), train=True):
            backbone.loss(batch).mean().backward()

    return step, made


def peft_step(backbone: Backbone[Any], batch: Any) -> tuple[Work, nn.Module]:
    """Plain PEFT LoRA of the same rank at the same targets, one adapter for all rows."""
    plain = type(backbone)(backbone.name, dtype=backbone.settings()["dtype"])  # type: ignore[call-arg]
    names = sorted({target.name for target in backbone.targets(Case().adapter())})
    plain.model = get_peft_model(plain.model, LoraConfig(r=RANK, lora_alpha=16, target_modules=names))
    return lambda: plain.loss(batch).mean().backward(), plain.model


def costs(backbone: Backbone[Any], case: Case, repeats: int, *, peft: bool = False) -> dict[str, Cost]:
    """Of our step, and of PEFT's if asked for."""
    batch = batch_for(backbone, case)
    step, made = meta_step(backbone, batch, case)
    works, modules = {"frozen backbone": frozen_step(backbone, batch), "hyperpeft": step}, [backbone.model, made]
    if peft:
        works["PEFT LoRA"], plain = peft_step(backbone, batch)
        modules.append(plain)
    memory = {name: saved_bytes(work, *modules) for name, work in works.items()}
    seconds = interleaved(works, repeats)
    base = seconds["frozen backbone"]
    return {
        name: Cost(spread(own, base), memory[name] / memory["frozen backbone"], sorted(own)[len(own) // 2])
        for name, own in seconds.items()
    }


def every_case(one: Case) -> list[Case]:
    """Heads, shapes and kinds, each changed by itself."""
    shapes = [replace(one, tasks=tasks, rows=rows) for tasks, rows in ((16, 4), (32, 2), (4, 16))]
    heads = [replace(one, head=head) for head in HEADS if head != one.head]
    return [one, *shapes, *heads, *(replace(one, kind=kind) for kind in ("bottleneck", "ia3", "prompt"))]


def measured(options: argparse.Namespace, folder: str) -> list[tuple[str, Case, dict[str, Cost]]]:
    one = Case(options.tasks, options.rows, options.tokens, options.head, options.kind)
    names = ("llama", "minilm") if options.all else (options.backbone,)
    found = []
    for name in names:
        backbone: Backbone[Any] = (
            random_llama(folder, hidden=options.hidden, layers=options.layers, dtype=options.dtype)
            if name == "llama"
            else Encoder(dtype=options.dtype)
        )
        for case in every_case(one) if options.all and name == "llama" else [one]:
            found.append((name, case, costs(backbone, case, options.repeats, peft=case is one)))
    return found


def main(argv: Sequence[str] | None = None) -> int:
    made = parser(__doc__, repeats=9)
    made.add_argument("--tasks", type=int, default=8)
    made.add_argument("--rows", type=int, default=8)
    made.add_argument("--tokens", type=int, default=64)
    made.add_argument("--head", choices=HEADS, default="per_rank")
    made.add_argument("--kind", choices=sorted(ADAPTERS), default="lora")
    made.add_argument("--backbone", choices=("llama", "minilm"), default="llama")
    made.add_argument("--hidden", type=int, default=512, help="width of the random Llama")
    made.add_argument("--layers", type=int, default=8, help="layers of the random Llama")
    made.add_argument("--dtype", default="float32", help="of the backbone: float32, bfloat16, auto")
    made.add_argument("--all", action="store_true", help="every head, shape, kind and MiniLM")
    options = parsed(made, argv)
    with TemporaryDirectory() as folder:
        found = measured(options, folder)
    rows = [
        (backbone, case if name == "hyperpeft" else name, cost.time, f"{cost.memory:.2f}", f"{cost.seconds:.3f}")
        for backbone, case, each in found
        for name, cost in each.items()
    ]
    columns = ("backbone", "step", "time ratio (quartiles)", "saved memory ratio", "CPU seconds")
    show(f"{options.tokens} tokens, {options.dtype}, {options.threads} thread(s)", columns, rows)
    worst: dict[Target, float] = {}
    for _, case, each in found:
        plain = case.kind == "lora"
        for target, value in (
            (TIME if plain else KIND_TIME, each["hyperpeft"].time.median),
            (MEMORY if plain else KIND_MEMORY, each["hyperpeft"].memory),
        ):
            worst[target] = max(worst.get(target, 0.0), value)
    return verdict(list(worst.items()))


if __name__ == "__main__":
    sys.exit(main())
