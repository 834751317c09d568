"""Cost of one meta-training step against the same frozen backbone's own forward and backward, in one run.

python benchmarks/step_cost.py                 # 8 tasks x 8 rows, 64 tokens, ~27M parameters, per_rank head
python benchmarks/step_cost.py --tasks 16 --rows 4 --head large --repeats 15

Prints medians of interleaved repetitions as ratios to the frozen step with their quartiles, and the memory saved for
backward (distinct storages, parameters left out) as ratios. Plain PEFT LoRA, one adapter for all rows, runs beside.
Exits with 1 if a target ratio is missed by more than 15 %.
"""

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from tempfile import TemporaryDirectory

import torch
from peft import LoraConfig, get_peft_model
from rich.console import Console
from rich.table import Table
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from torch import Tensor, nn
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from hyperpeft.adapters import Lora
from hyperpeft.backbones import CausalLm
from hyperpeft.backbones.causal_lm import CausalLmBatch
from hyperpeft.hypernetwork import HEADS, Hypernetwork

TARGET_TIME, TARGET_MEMORY, SLACK = 1.25, 1.30, 1.15
Step = Callable[[], None]


def random_llama(folder: str) -> CausalLm:
    """A Llama-shaped model of about 27M parameters with random weights, loaded as a backbone in fp32."""
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=2000, hidden_size=512, intermediate_size=1376, num_hidden_layers=8, num_attention_heads=8
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    words = Tokenizer(WordLevel({"<pad>": 0, "<s>": 1}, unk_token="<pad>"))
    PreTrainedTokenizerFast(tokenizer_object=words, pad_token="<pad>").save_pretrained(folder)
    return CausalLm(folder, dtype="float32")


def saved_bytes(step: Step, parameters: set[int]) -> int:
    """Bytes of distinct storages kept for backward, parameters left out."""
    kept: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in parameters:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        step()
    return sum(kept.values())


def storages(*modules: nn.Module) -> set[int]:
    return {parameter.untyped_storage().data_ptr() for module in modules for parameter in module.parameters()}


def make_steps(backbone: CausalLm, options: argparse.Namespace) -> tuple[dict[str, Step], set[int]]:
    rows = options.tasks * options.rows
    ids = torch.randint(2, 2000, (rows, options.tokens))
    targets = ids.where(torch.arange(options.tokens) >= options.tokens // 2, -100)
    batch = CausalLmBatch(ids, torch.ones_like(ids), targets, options.tasks)
    adapter = Lora(rank=8)
    made = Hypernetwork(adapter, backbone.targets(adapter), backbone.identity, {}, d_task=256, head=options.head)
    z = torch.randn(options.tasks, 256)
    embeddings = backbone.model.get_input_embeddings()

    def frozen() -> None:
        handle = embeddings.register_forward_hook(lambda module, inputs, output: output.requires_grad_(True))
        backbone.loss(batch).mean().backward()
        handle.remove()

    def ours() -> None:
        with backbone.adapted(made(z), train=True):
            backbone.loss(batch).mean().backward()

    plain = CausalLm(backbone.name, dtype="float32")
    plain.model = get_peft_model(plain.model, LoraConfig(r=8, lora_alpha=16, task_type="CAUSAL_LM"))

    def peft() -> None:
        plain.loss(batch).mean().backward()

    return {"frozen backbone": frozen, "hyperpeft": ours, "PEFT LoRA": peft}, storages(
        backbone.model, plain.model, made
    )


def interleaved(steps: dict[str, Step], repeats: int) -> dict[str, list[float]]:
    """Seconds of each repetition; the methods take turns, so that noise of the machine meets all alike."""
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    for repeat in range(repeats + 2):
        for name, step in steps.items():
            begun = time.perf_counter()
            step()
            if repeat >= 2:
                seconds[name].append(time.perf_counter() - begun)
    return seconds


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", type=int, default=8)
    parser.add_argument("--rows", type=int, default=8)
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--head", choices=HEADS, default="per_rank")
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    with TemporaryDirectory() as folder:
        backbone = random_llama(folder)
        steps, parameters = make_steps(backbone, options)
    memory = {name: saved_bytes(step, parameters) for name, step in steps.items()}
    seconds = interleaved(steps, options.repeats)

    table = Table(title=f"{options.tasks} tasks x {options.rows} rows x {options.tokens} tokens, head {options.head}")
    for column in ("step", "time ratio (median)", "quartiles", "saved memory ratio", "seconds"):
        table.add_column(column)
    ratios = {}
    for name, values in seconds.items():
        each = [value / base for value, base in zip(values, seconds["frozen backbone"], strict=True)]
        low, middle, high = statistics.quantiles(each, n=4)
        ratios[name] = (middle, memory[name] / memory["frozen backbone"])
        spread, wall = f"{low:.2f} - {high:.2f}", f"{statistics.median(values):.2f}"
        table.add_row(name, f"{middle:.2f}", spread, f"{ratios[name][1]:.2f}", wall)
    Console().print(table)
    time_ratio, memory_ratio = ratios["hyperpeft"]
    print(f"targets: time <= {TARGET_TIME}, saved memory <= {TARGET_MEMORY}; now {time_ratio:.2f}, {memory_ratio:.2f}")
    return int(time_ratio > TARGET_TIME * SLACK or memory_ratio > TARGET_MEMORY * SLACK)


if __name__ == "__main__":
    sys.exit(main())
