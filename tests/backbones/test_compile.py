"""torch.compile of the frozen model: one graph for any adapters, with or without checkpointed layers."""

from pathlib import Path

import pytest
import torch
from conftest import color_episode, noise, size_episode

from hyperpeft.adapters import AdapterKind, Bottleneck, Ia3, Lora
from hyperpeft.backbones import CausalLm

EPISODES = [color_episode(), size_episode()]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.parametrize(
    ("kind", "checkpointing"),
    [(Lora(rank=2), False), (Lora(rank=2), True), (Ia3(), False), (Bottleneck(reduction_factor=8), True)],
    ids=["lora", "lora, checkpointed", "ia3", "bottleneck, checkpointed"],
)
def test_a_compiled_model_computes_any_adapters_in_one_graph(
    folders: dict[str, Path], kind: AdapterKind, checkpointing: bool
) -> None:
    llama = CausalLm(str(folders["llama"]), dtype="float32", max_tokens=64, gradient_checkpointing=checkpointing)
    batch = llama.query_batch(EPISODES)

    def gradients(seed: int) -> tuple[torch.Tensor, ...]:
        weights = noise(llama.start(kind, tasks=2), seed).map(lambda leaf: leaf.requires_grad_(True))
        with llama.adapted(weights, train=True):
            loss = llama.loss(batch).sum()
        return torch.autograd.grad(loss, [leaf for _, leaf in weights.named()])

    expected = [gradients(seed) for seed in (1, 2)]
    torch.compiler.reset()
    torch._dynamo.utils.counters.clear()
    llama.model.compile(backend="aot_eager", fullgraph=True)  # type: ignore[no-untyped-call]
    for seed, plain in zip((1, 2), expected, strict=True):
        for made, exact in zip(gradients(seed), plain, strict=True):
            torch.testing.assert_close(made, exact, rtol=1e-4, atol=1e-6)
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == 1
