"""Every kind that PEFT has computes what PEFT computes with the same numbers; the others follow their formula."""

import copy
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import character_tokenizer, noise
from einops import rearrange
from families import load_family, save_family
from peft import (
    AdaptionPromptConfig,
    IA3Config,
    LoraConfig,
    PeftConfig,
    PrefixTuningConfig,
    PromptTuningConfig,
    ShiraConfig,
    TaskType,
    get_peft_model,
)
from peft.tuners.shira.mask_functions import random_mask
from torch import Tensor, nn
from torch.nn import functional
from transformers.pytorch_utils import Conv1D

from hyperpeft.adapters import Bias, Bottleneck, Dora, Ia3, Lora, Prefix, Prompt, Sparse
from hyperpeft.adapters.base import frozen_weight
from hyperpeft.adapters.sparse import places
from hyperpeft.backbones import Backbone, CausalLm, Encoder
from hyperpeft.weights import AdapterWeights

IDS = torch.randint(6, 60, (2, 7), generator=torch.Generator().manual_seed(0))
MASK = torch.tensor([[1] * 7, [1] * 5 + [0] * 2])
TASK_TYPES = {"encoder": TaskType.FEATURE_EXTRACTION, "causal_lm": TaskType.CAUSAL_LM}


def ours(backbone: Backbone[Any], weights: AdapterWeights, **inputs: Any) -> Tensor:
    with torch.no_grad(), backbone.adapted(weights):
        return visible(backbone.model(input_ids=IDS, attention_mask=MASK, **inputs))


def visible(output: Any, skip: int = 0) -> Tensor:
    """Logits or features at the visible tokens; the first `skip` positions are virtual tokens."""
    return output[0][:, skip:][MASK.bool()]


def peft(backbone: Backbone[Any], config: PeftConfig, fill: Callable[[Any], None], skip: int = 0) -> Tensor:
    """What PEFT computes with a copy of the model, its numbers set by `fill`."""
    config.task_type = TASK_TYPES[backbone.settings()["kind"]]
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        model = wrapped(backbone, config)
        fill(model)
        return visible(model(input_ids=IDS, attention_mask=MASK), skip)


def wrapped(backbone: Backbone[Any], config: PeftConfig) -> Any:
    """A copy of the model as a PEFT model; PEFT's own deprecation warnings are not ours."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return get_peft_model(copy.deepcopy(backbone.model), config).eval()


def put(model: Any, path: str, name: str, value: Tensor) -> None:
    holder = getattr(model.get_submodule(f"base_model.model.{path}"), name)
    slot = holder["default"]
    (slot if isinstance(slot, Tensor) else slot.weight).data.copy_(value)


def names_of(weights: AdapterWeights) -> list[str]:
    return sorted(weights.tensors)


@pytest.mark.parametrize("rslora", [False, True])
def test_lora_with_a_rank_for_each_module(backbone: Backbone[Any], rslora: bool) -> None:
    first, second = (target.name for target in backbone.linear_modules()[:2])
    kind = Lora(rank=2, alpha=3.0, rslora=rslora, targets=[first, second], ranks={second: 4})
    weights = noise(backbone.start(kind), 1)
    assert {tensors["A"].shape[1] for tensors in weights.tensors.values()} == {2, 4}
    config = LoraConfig(
        r=2, lora_alpha=3, use_rslora=rslora, target_modules=names_of(weights), rank_pattern={rf".*\.{second}": 4}
    )

    def fill(model: Any) -> None:
        for path, named in weights.tensors.items():
            put(model, path, "lora_A", named["A"][0])
            put(model, path, "lora_B", named["B"][0].T)

    torch.testing.assert_close(ours(backbone, weights), peft(backbone, config, fill), rtol=1e-4, atol=1e-4)


def test_dora(backbone: Backbone[Any]) -> None:
    weights = noise(backbone.start(Dora(rank=2, alpha=3.0)), 1)
    config = LoraConfig(r=2, lora_alpha=3, use_dora=True, target_modules=names_of(weights))

    def fill(model: Any) -> None:
        for path, named in weights.tensors.items():
            put(model, path, "lora_A", named["A"][0])
            put(model, path, "lora_B", named["B"][0].T)
            norms = frozen_weight(backbone.model.get_submodule(path)).norm(dim=1)
            put(model, path, "lora_magnitude_vector", norms * (1 + named["magnitude"][0, 0]))

    torch.testing.assert_close(ours(backbone, weights), peft(backbone, config, fill), rtol=1e-4, atol=1e-4)


def test_dora_gradients_are_those_of_peft(llama: CausalLm) -> None:
    weights = noise(llama.start(Dora(rank=2, alpha=3.0)), 1).map(lambda leaf: leaf.requires_grad_(True))
    with llama.adapted(weights, train=True):
        visible(llama.model(input_ids=IDS, attention_mask=MASK)).square().sum().backward()
    config = LoraConfig(r=2, lora_alpha=3, use_dora=True, target_modules=names_of(weights), task_type="CAUSAL_LM")
    model = wrapped(llama, config)
    for path, named in weights.tensors.items():
        put(model, path, "lora_A", named["A"][0].detach())
        put(model, path, "lora_B", named["B"][0].T.detach())
        norms = frozen_weight(llama.model.get_submodule(path)).norm(dim=1)
        put(model, path, "lora_magnitude_vector", (norms * (1 + named["magnitude"][0, 0])).detach())
    visible(model(input_ids=IDS, attention_mask=MASK)).square().sum().backward()
    for path, named in weights.tensors.items():
        layer = model.get_submodule(f"base_model.model.{path}")
        norms = frozen_weight(llama.model.get_submodule(path)).norm(dim=1)
        theirs = {
            "A": layer.lora_A["default"].weight.grad,
            "B": layer.lora_B["default"].weight.grad.T,
            "magnitude": (layer.lora_magnitude_vector["default"].weight.grad * norms)[None],
        }
        for name, gradient in theirs.items():
            assert gradient.abs().max() > 0
            torch.testing.assert_close(named[name].grad[0], gradient, rtol=1e-3, atol=1e-3)


def test_ia3(backbone: Backbone[Any]) -> None:
    weights = noise(backbone.start(Ia3()), 1)
    inward = [path for path, named in weights.tensors.items() if "l_in" in named]
    assert inward
    config = IA3Config(target_modules=names_of(weights), feedforward_modules=inward)

    def fill(model: Any) -> None:
        for path, named in weights.tensors.items():
            (values,) = named.values()
            put(model, path, "ia3_l", 1 + (values[0] if "l_in" in named else values[0].T))

    torch.testing.assert_close(ours(backbone, weights), peft(backbone, config, fill), rtol=1e-4, atol=1e-4)


def test_ia3_takes_the_modules_that_peft_takes(backbone: Backbone[Any]) -> None:
    config = IA3Config(task_type=TASK_TYPES[backbone.settings()["kind"]])
    model = wrapped(backbone, config)
    layers = {p.removeprefix("base_model.model."): m for p, m in model.named_modules() if hasattr(m, "ia3_l")}
    chosen = {target.path: Ia3().shapes(target) for target in backbone.targets(Ia3())}
    assert {path: layer.is_feedforward for path, layer in layers.items()} == {p: "l_in" in s for p, s in chosen.items()}


@pytest.mark.parametrize("name", ["encoder", "llama"])
def test_sparse(name: str, request: pytest.FixtureRequest) -> None:
    """PEFT's SHiRA knows no transposed linear layers, so GPT-2 is not compared."""
    backbone: Backbone[Any] = request.getfixturevalue(name)
    weights = noise(backbone.start(Sparse(rank=2, seed=5)), 1)
    config = ShiraConfig(r=2, random_seed=5, target_modules=names_of(weights))

    def fill(model: Any) -> None:
        for path, named in weights.tensors.items():
            put(model, path, "shira_weight", named["values"][0].flatten())

    torch.testing.assert_close(ours(backbone, weights), peft(backbone, config, fill), rtol=1e-4, atol=1e-4)


def test_sparse_places_are_pefts() -> None:
    mask = random_mask(nn.Linear(12, 20), 3, random_seed=7)
    assert torch.equal(places(20, 12, 3 * 32, 7), mask.flatten().nonzero()[:, 0])


@pytest.mark.parametrize("name", ["encoder", "llama", "gpt2"])
def test_prompt(name: str, folders: dict[str, Path]) -> None:
    backbone = load(name, folders)
    weights = noise(backbone.start(Prompt(tokens=3, gated=False)), 1)
    (named,) = weights.tensors.values()
    config = PromptTuningConfig(num_virtual_tokens=3)

    def fill(model: Any) -> None:
        model.prompt_encoder["default"].embedding.weight.data.copy_(named["prompt"][0])

    expected = peft(backbone, config, fill, skip=3)
    torch.testing.assert_close(ours(backbone, weights), expected, rtol=1e-4, atol=1e-4)
    with torch.no_grad():
        assert not torch.allclose(visible(backbone.model(input_ids=IDS, attention_mask=MASK)), expected, atol=1e-2)


@pytest.fixture(scope="module", params=["t5", "mt5", "bart", "nllb"])
def coupled(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """An encoder with a decoder."""
    folder = tmp_path_factory.mktemp("coupled") / request.param
    return load_family(request.param, save_family(request.param, folder, character_tokenizer()))


def answered(model: Any) -> Tensor:
    with torch.no_grad():
        return model(input_ids=IDS, attention_mask=MASK, decoder_input_ids=IDS[:, :3]).logits


def test_prompt_of_an_encoder_with_a_decoder(coupled: Backbone[Any]) -> None:
    """Virtual tokens before the encoder's text, where the decoder sees them too; generation the same."""
    weights = noise(coupled.start(Prompt(tokens=3, gated=False)), 1)
    (named,) = weights.tensors.values()
    d = named["prompt"].shape[-1]
    config = PromptTuningConfig(
        num_virtual_tokens=3,
        token_dim=d,
        num_layers=3,
        num_attention_heads=4,
        num_transformer_submodules=1,
        task_type=TaskType.SEQ_2_SEQ_LM,
    )
    model = wrapped(coupled, config)
    model.prompt_encoder["default"].embedding.weight.data.copy_(named["prompt"][0])
    with coupled.adapted(weights):
        found = answered(coupled.model)
        made = coupled.model.generate(IDS, attention_mask=MASK, max_new_tokens=5, do_sample=False)
    torch.testing.assert_close(found, answered(model), rtol=1e-4, atol=1e-4)
    assert not torch.allclose(found, answered(coupled.model), atol=1e-2)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = model.generate(input_ids=IDS, attention_mask=MASK, max_new_tokens=5, do_sample=False)
    assert torch.equal(theirs, made)


@pytest.mark.parametrize("name", ["llama", "gpt2"])
def test_prefix(name: str, folders: dict[str, Path]) -> None:
    """PEFT gives the text the positions after the prefix; given those, ours is the same."""
    backbone = load(name, folders)
    weights = noise(backbone.start(Prefix(tokens=3, gated=False)), 1)
    kv = next(iter(weights.tensors.values()))["K"].shape[-1]
    heads = 2 if name == "llama" else 4
    config = PrefixTuningConfig(num_virtual_tokens=3, token_dim=kv, num_attention_heads=heads)
    paths = sorted(weights.tensors, key=lambda path: next(int(part) for part in path.split(".") if part.isdigit()))

    def fill(model: Any) -> None:
        layers = [weights.tensors[path][part][0] for path in paths for part in ("K", "V")]
        model.prompt_encoder["default"].embedding.weight.data.copy_(torch.cat(layers, dim=1))

    expected = peft(backbone, config, fill)
    positions = 3 + torch.arange(7).expand(2, -1)
    torch.testing.assert_close(ours(backbone, weights, position_ids=positions), expected, rtol=1e-4, atol=1e-4)


def test_a_gated_prefix_of_projected_vectors_is_pefts_adaption_prompt(llama: CausalLm) -> None:
    weights = noise(llama.start(Prefix(tokens=3)), 1)
    paths = names_of(weights)
    vectors = torch.randn(len(paths), 3, llama.model.config.hidden_size, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        for path, vector in zip(paths, vectors, strict=True):
            module = llama.model.get_submodule(path)
            weights.tensors[path]["K"][0] = module.k_proj(vector)
            weights.tensors[path]["V"][0] = module.v_proj(vector)
    config = AdaptionPromptConfig(adapter_len=3, adapter_layers=len(paths))

    def fill(model: Any) -> None:
        for path, vector in zip(paths, vectors, strict=True):
            module = model.get_submodule(f"base_model.model.{path}")
            module.adaption_prompt.data.copy_(vector[None])
            module.adaption_gate.data.copy_(weights.tensors[path]["gate"][0, 0])

    torch.testing.assert_close(ours(llama, weights), peft(llama, config, fill), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", ["llama", "gpt2"])
def test_a_gated_prompt_is_a_gated_prefix_of_its_own_keys_and_values(name: str, folders: dict[str, Path]) -> None:
    """In a causal model, whose virtual tokens see no text."""
    backbone = load(name, folders)
    prompt = noise(backbone.start(Prompt(tokens=3)), 1)
    prefix = backbone.start(Prefix(tokens=3))
    vectors = next(named["prompt"] for named in prompt.tensors.values() if "prompt" in named)
    with torch.no_grad():
        cache = backbone.model(inputs_embeds=vectors, use_cache=True).past_key_values
    for path, named in prefix.tensors.items():
        layer = cache.layers[next(int(part) for part in path.split(".") if part.isdigit())]
        named["K"], named["V"] = (rearrange(t, "1 k n d -> 1 n (k d)") for t in (layer.keys, layer.values))
        named["gate"] = prompt.tensors[path]["gate"]
    found = ours(backbone, prompt)
    torch.testing.assert_close(found, ours(backbone, prefix), rtol=1e-4, atol=1e-4)
    assert not torch.allclose(found, ours(backbone, backbone.start(Prompt(tokens=3))), atol=1e-2)


def test_bias_is_a_change_of_the_modules_biases(backbone: Backbone[Any]) -> None:
    weights = noise(backbone.start(Bias()), 1)
    model = copy.deepcopy(backbone.model)
    for path, named in weights.tensors.items():
        module = model.get_submodule(path)
        change = named["bias"][0, 0]
        module.bias = nn.Parameter(change if module.bias is None else module.bias + change)
    with torch.no_grad():
        expected = visible(model(input_ids=IDS, attention_mask=MASK))
    torch.testing.assert_close(ours(backbone, weights), expected, rtol=1e-4, atol=1e-4)


def bottleneck(x: Tensor, named: Any, function: Callable[[Tensor], Tensor]) -> Tensor:
    narrow = function(x @ named["down"][0].T + named["down_bias"][0])
    return narrow @ named["up"][0] + named["up_bias"][0]


def hooked(backbone: Backbone[Any], hooks: dict[str, Callable[..., Any]]) -> Tensor:
    handles = [backbone.model.get_submodule(path).register_forward_hook(hook) for path, hook in hooks.items()]
    try:
        with torch.no_grad():
            return visible(backbone.model(input_ids=IDS, attention_mask=MASK))
    finally:
        for handle in handles:
            handle.remove()


def test_houlsby_bottlenecks_follow_both_output_projections(backbone: Backbone[Any]) -> None:
    weights = noise(backbone.start(Bottleneck(reduction_factor=8)), 1)
    assert len(weights.tensors) == 6
    hooks = {
        path: lambda module, args, y, named=named: y + bottleneck(y, named, functional.silu)
        for path, named in weights.tensors.items()
    }
    torch.testing.assert_close(ours(backbone, weights), hooked(backbone, hooks), rtol=1e-4, atol=1e-4)
    assert {isinstance(backbone.model.get_submodule(path), nn.Linear | Conv1D) for path in weights.tensors} == {True}


def test_pfeiffer_bottlenecks_of_bert_are_between_two_normalisations(encoder: Encoder) -> None:
    """AdapterHub: LN(h + up(f(down(LN(h + input)))) + input) with h the output of the feed-forward."""
    weights = noise(encoder.start(Bottleneck(reduction_factor=8, placement="pfeiffer", nonlinearity="relu")), 1)
    assert len(weights.tensors) == 3

    def hook(module: Any, args: Any, y: Tensor, named: Any) -> Tensor:
        h, given = module.dense(args[0]), args[1]
        return module.LayerNorm(h + bottleneck(module.LayerNorm(h + given), named, torch.relu) + given)

    hooks = {
        path.removesuffix(".LayerNorm"): lambda module, args, y, named=named: hook(module, args, y, named)
        for path, named in weights.tensors.items()
    }
    torch.testing.assert_close(ours(encoder, weights), hooked(encoder, hooks), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", ["llama", "gpt2"])
def test_pfeiffer_bottlenecks_of_language_models_follow_the_layer(name: str, folders: dict[str, Path]) -> None:
    backbone = load(name, folders)
    weights = noise(backbone.start(Bottleneck(reduction_factor=8, placement="pfeiffer", nonlinearity="relu")), 1)

    def hook(y: Any, named: Any) -> Any:
        return y + bottleneck(y, named, torch.relu)

    hooks = {path: lambda module, args, y, named=named: hook(y, named) for path, named in weights.tensors.items()}
    torch.testing.assert_close(ours(backbone, weights), hooked(backbone, hooks), rtol=1e-4, atol=1e-4)


def load(name: str, folders: dict[str, Path]) -> Backbone[Any]:
    if name == "encoder":
        return Encoder(str(folders["bert"]), dtype="float32", max_tokens=64)
    return CausalLm(str(folders[name]), dtype="float32", max_tokens=64)
