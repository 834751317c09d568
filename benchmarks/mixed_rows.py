"""Throughput of a batch whose rows use many adapters, against the bare backbone and PEFT's `adapter_names`.

python benchmarks/mixed_rows.py                         # 16 adapters, 16 and 64 rows, prediction and generation
python benchmarks/mixed_rows.py --adapters 64 --rows 64 256 --dtype bfloat16

LoRA of rank 8 on a random Llama shape. Throughput ratios are those of the bare backbone's time to the method's:
medians of interleaved repetitions with quartiles. Exits with 1 if one is worse than its regression bound.
"""

import sys
from collections.abc import Callable, Sequence
from copy import deepcopy
from tempfile import TemporaryDirectory
from typing import Any

import torch
from measure import VOCABULARY, Target, Work, interleaved, parsed, parser, random_llama, show, spread, verdict
from peft import LoraConfig, PeftModel, get_peft_model
from torch import Tensor

from hyperpeft.adapters import Lora
from hyperpeft.backbones import CausalLm
from hyperpeft.backbones.grouping import grouped
from hyperpeft.weights import AdapterWeights

PREDICTION = Target("throughput, prediction", goal=0.9, at_least=True)
GENERATION = Target("throughput, generation", goal=0.9, at_least=True)
Forward = Callable[..., Any]


def peft_with(backbone: CausalLm, adapters: int) -> PeftModel:
    """The same model with so many random PEFT adapters."""
    config = LoraConfig(r=8, lora_alpha=16, target_modules=["q_proj", "v_proj"], init_lora_weights=False)
    model: PeftModel = get_peft_model(deepcopy(backbone.model), config, adapter_name="adapter0")
    for number in range(1, adapters):
        model.add_adapter(f"adapter{number}", config)
    return model.eval()


def random_weights(backbone: CausalLm, adapters: int) -> AdapterWeights:
    return backbone.start(Lora(rank=8), tasks=adapters).map(lambda leaf: 0.02 * torch.randn_like(leaf))


def works(backbone: CausalLm, model: PeftModel, ids: Tensor, adapters: int, new: int) -> dict[str, Work]:
    """Logits of every token for `new` of 0, else so many new tokens; the same rows for all."""
    weights, owners = random_weights(backbone, adapters), [row % adapters for row in range(len(ids))]
    names = [f"adapter{owner}" for owner in owners]
    length = {"max_new_tokens": new, "min_new_tokens": new, "do_sample": False, "pad_token_id": 0}

    def forward(of: Any, rows: Tensor, **more: Any) -> Tensor:
        if new:
            return of.generate(input_ids=rows, attention_mask=torch.ones_like(rows), **length, **more)
        return of(input_ids=rows, use_cache=False, **more).logits

    def mixed() -> Tensor:
        grouping = grouped(owners)
        with backbone.adapted(grouping.weights(weights)):
            return forward(backbone.model, ids[grouping.order])[grouping.place]

    return {
        "bare backbone": torch.no_grad()(lambda: forward(backbone.model, ids)),
        "hyperpeft": torch.no_grad()(mixed),
        "PEFT adapter_names": torch.no_grad()(lambda: forward(model, ids, adapter_names=names)),
    }


def main(argv: Sequence[str] | None = None) -> int:
    made = parser(__doc__, repeats=5)
    made.add_argument("--adapters", type=int, default=16)
    made.add_argument("--rows", type=int, nargs="+", default=[16, 64])
    made.add_argument("--tokens", type=int, default=64)
    made.add_argument("--new", type=int, default=16, help="tokens to generate")
    made.add_argument("--hidden", type=int, default=512)
    made.add_argument("--layers", type=int, default=8)
    made.add_argument("--dtype", default="float32", help="of the backbone: float32, bfloat16, auto")
    options = parsed(made, argv)
    with TemporaryDirectory() as folder:
        backbone = random_llama(folder, hidden=options.hidden, layers=options.layers, dtype=options.dtype)
    model = peft_with(backbone, options.adapters)
    table, least = [], {PREDICTION: float("inf"), GENERATION: float("inf")}
    for target, new in ((PREDICTION, 0), (GENERATION, options.new)):
        for rows in options.rows:
            ids = torch.randint(3, VOCABULARY, (rows, options.tokens))
            seconds = interleaved(works(backbone, model, ids, options.adapters, new), options.repeats)
            spreads = {name: spread(seconds["bare backbone"], own) for name, own in seconds.items()}
            table += [(target.name, rows, name, value) for name, value in spreads.items()]
            least[target] = min(least[target], spreads["hyperpeft"].median)
    title = f"{options.adapters} adapters, {options.tokens} tokens a row, {options.new} new, {options.dtype}"
    show(title, ("work", "rows", "method", "bare time / time (quartiles)"), table)
    return verdict(list(least.items()))


if __name__ == "__main__":
    sys.exit(main())
