"""The `adapters` library of AdapterHub: bottlenecks and LoRA, written without it (it needs transformers 4)."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from safetensors.torch import save_file
from torch import Tensor

from hyperpeft.exports.base import Exported, plain
from hyperpeft.exports.low_rank import low_rank

NAME = "hyperpeft"
VERSION = "adapters.1.3.0"
ATTENTION = {"q": ("q_proj", "query"), "k": ("k_proj", "key"), "v": ("v_proj", "value")}
Settings = dict[str, Any]


@dataclass(frozen=True)
class Places:
    """Where a model type has what `adapters` adds, as ends of paths: ours to theirs."""

    attention: tuple[str, str]
    output: tuple[str, str]
    layer: tuple[str, str]
    intermediate: str


# model types whose module paths are those of transformers 4.57, which `adapters` knows; both tested against it
PLACES: Mapping[str, Places] = MappingProxyType(
    {
        "llama": Places(
            ("self_attn.o_proj", "attention_adapters"), ("mlp.down_proj", "output_adapters"), ("", "output_adapters"),
            "mlp.up_proj",
        ),
        "bert": Places(
            ("attention.output.dense", "attention.output"), ("output.dense", "output"), ("output.LayerNorm", "output"),
            "intermediate.dense",
        ),
    }
)  # fmt: skip


def write_adapterhub(exported: Exported, folder: Path) -> None:
    """Write `adapter_config.json` and `adapter.safetensors` for `load_adapter(folder, use_safetensors=True)`.

    Raises ValueError for model types and targets that `adapters` has no place for.
    """
    config = exported.backbone.model.config
    if config.model_type not in PLACES:
        raise ValueError(
            f"format 'adapterhub' does not know models of type {config.model_type!r}; it knows {sorted(PLACES)}. "
            "Use format 'safetensors'."
        )
    settings, tensors = FORMS[exported.weights.adapter.kind](exported, PLACES[config.model_type])
    about = {
        "config": settings,
        "hidden_size": config.hidden_size,
        "model_class": type(exported.backbone.model).__name__,
        "model_name": exported.base_model,
        "model_type": config.model_type,
        "name": NAME,
        "version": VERSION,
    }
    (folder / "adapter_config.json").write_text(json.dumps(about, indent=2, sort_keys=True), encoding="utf-8")
    save_file(tensors, folder / "adapter.safetensors", metadata={"format": "pt"})


def _bottleneck(exported: Exported, places: Places) -> tuple[Settings, dict[str, Tensor]]:
    """`double_seq_bn` (Houlsby) or `seq_bn` (Pfeiffer)."""
    adapter: Any = exported.weights.adapter
    houlsby = adapter.placement == "houlsby"
    ends = (places.attention, places.output) if houlsby else (places.layer,)
    tensors: dict[str, Tensor] = {}
    for path, named in exported.weights.tensors.items():
        prefix = f"{_moved(path, ends)}.adapters.{NAME}"
        tensors[f"{prefix}.adapter_down.0.weight"] = plain(named["down"])
        tensors[f"{prefix}.adapter_down.0.bias"] = plain(named["down_bias"])[0]
        tensors[f"{prefix}.adapter_up.weight"] = plain(named["up"]).T.contiguous()
        tensors[f"{prefix}.adapter_up.bias"] = plain(named["up_bias"])[0]
    expected = len(ends) * exported.backbone.model.config.num_hidden_layers
    if len(exported.weights.tensors) != expected:
        raise ValueError(f"AdapterHub's bottlenecks are in all layers: {expected} places, not {len(tensors) // 4}.")
    return _bottleneck_settings(adapter, houlsby), tensors


def _bottleneck_settings(adapter: Any, houlsby: bool) -> Settings:
    """What the library cannot know by itself; it fills up the rest with its own defaults."""
    return {
        "mh_adapter": houlsby,
        "output_adapter": True,
        "reduction_factor": adapter.reduction_factor,
        "non_linearity": adapter.nonlinearity,
        "original_ln_before": not houlsby,
        "original_ln_after": True,
        "residual_before_ln": True,
        "adapter_residual_before_ln": False,
        "ln_before": False,
        "ln_after": False,
        "is_parallel": False,
        "scaling": 1.0,
        "use_gating": False,
    }


def _moved(path: str, ends: tuple[tuple[str, str], ...]) -> str:
    """The path with our end replaced by theirs; the longest end that fits counts."""
    for ours, theirs in sorted(ends, key=lambda pair: -len(pair[0])):
        if not ours:
            return f"{path}.{theirs}"
        if path.endswith("." + ours):
            return path.removesuffix(ours) + theirs
    raise ValueError(f"AdapterHub has no bottleneck at {path}. Use the placement's own targets, or 'safetensors'.")


def _lora(exported: Exported, places: Places) -> tuple[Settings, dict[str, Tensor]]:
    """LoRA with alpha = r, the scale in B. Raises ValueError for modules that the library's LoRA does not know."""
    matrices = low_rank(exported)
    letters, intermediate, output = set(), False, False
    tensors: dict[str, Tensor] = {}
    for path, (A, B) in matrices.items():
        last = path.rsplit(".", 1)[-1]
        found = [letter for letter, names in ATTENTION.items() if last in names]
        is_middle = path.endswith("." + places.intermediate)
        is_output = path.endswith("." + places.output[0]) and not path.endswith("." + places.attention[0])
        if not (found or is_middle or is_output):
            raise ValueError(f"AdapterHub's LoRA does not adapt {path}. Choose other targets, or format 'peft'.")
        letters.update(found)
        intermediate, output = intermediate or is_middle, output or is_output
        tensors[f"{path}.loras.{NAME}.lora_A"] = A
        tensors[f"{path}.loras.{NAME}.lora_B"] = B.T.contiguous()
    rank = next(iter(matrices.values()))[0].shape[0]
    settings = {
        "architecture": "lora",
        "selfattn_lora": bool(letters),
        "attn_matrices": sorted(letters),
        "intermediate_lora": intermediate,
        "output_lora": output,
        "r": rank,
        "alpha": rank,
        "dropout": 0.0,
        "composition_mode": "add",
        "use_gating": False,
    }
    return settings, tensors


Form = Callable[[Exported, Places], tuple[Settings, dict[str, Tensor]]]
FORMS: Mapping[str, Form] = MappingProxyType({"bottleneck": _bottleneck, "lora": _lora})


def adapterhub_usage(exported: Exported) -> str:
    """How to load it."""
    auto = type(exported.backbone.model).__name__
    return (
        f"```python\nimport adapters\nfrom transformers import {auto}\n\n"
        f'model = {auto}.from_pretrained("{exported.base_model}")\nadapters.init(model)\n'
        'model.load_adapter("this folder", use_safetensors=True, set_active=True)\n```'
    )
