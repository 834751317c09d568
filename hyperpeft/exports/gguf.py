"""LoRA as a GGUF file for llama.cpp and what is built on it (Ollama, LM Studio, ...)."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from einops import rearrange
from torch import Tensor

from hyperpeft.config import ConfigError
from hyperpeft.exports.base import Exported
from hyperpeft.exports.low_rank import low_rank

FILE = "adapter.gguf"


@dataclass(frozen=True)
class Family:
    """A llama.cpp architecture, and the modules whose outputs it keeps in another order within each head.

    llama.cpp rotates neighbouring pairs where transformers rotates halves, so its Llama weights are reordered.
    """

    architecture: str
    reordered: tuple[str, ...] = ()


# model types of transformers; all were compared with llama.cpp itself (tests/exports/test_gguf.py, marked slow)
FAMILIES: Mapping[str, Family] = MappingProxyType(
    {
        "llama": Family("LLAMA", ("q_proj", "k_proj")),
        "mistral": Family("LLAMA", ("q_proj", "k_proj")),
        "qwen2": Family("QWEN2"),
        "qwen3": Family("QWEN3"),
        "gpt2": Family("GPT2"),
    }
)


def write_gguf(exported: Exported, folder: Path) -> None:
    """Write `adapter.gguf`: lora_a `[r d_in]` and lora_b `[d_out r]` of each target in fp32, the scale in lora_b.

    Raises ConfigError without the package `gguf`, ValueError for a model type or module that is not translated.
    """
    gguf = _library()
    config = exported.backbone.model.config
    if config.model_type not in FAMILIES:
        raise ValueError(
            f"format 'gguf' does not know models of type {config.model_type!r}; it knows {sorted(FAMILIES)}. "
            "Use format 'peft', or 'merged' and llama.cpp's own converter."
        )
    family = FAMILIES[config.model_type]
    architecture = gguf.MODEL_ARCH[family.architecture]
    names = gguf.get_tensor_name_map(architecture, config.num_hidden_layers)
    matrices = low_rank(exported)
    writer = gguf.GGUFWriter(folder / FILE, gguf.MODEL_ARCH_NAMES[architecture])
    try:
        writer.add_type(gguf.GGUFType.ADAPTER)
        writer.add_string(gguf.Keys.Adapter.TYPE, "lora")
        writer.add_float32(gguf.Keys.Adapter.LORA_ALPHA, float(next(iter(matrices.values()))[0].shape[0]))
        for path, (A, B) in matrices.items():
            name = _name(names, path)
            writer.add_tensor(f"{name}.weight.lora_a", A.numpy())
            writer.add_tensor(f"{name}.weight.lora_b", _ordered(B, path, family, config).T.contiguous().numpy())
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
    finally:
        writer.close()


def _library() -> Any:
    try:
        import gguf
    except ImportError as error:
        raise ConfigError("format 'gguf' needs the package gguf: pip install 'hyperpeft[gguf]'.") from error
    return gguf


def _name(names: Any, path: str) -> str:
    name: str | None = names.get_name(path)
    if name is None:
        raise ValueError(f"llama.cpp has no tensor for the module {path}: adapt other modules, or use format 'peft'.")
    return name


def _ordered(B: Tensor, path: str, family: Family, config: Any) -> Tensor:
    """`[r d_out]` with the outputs of each head in llama.cpp's order."""
    last = path.rsplit(".", 1)[-1]
    if last not in family.reordered:
        return B
    heads = config.num_key_value_heads if last == "k_proj" else config.num_attention_heads
    return rearrange(B, "r (head half pair) -> r (head pair half)", head=heads, half=2)


def gguf_usage(exported: Exported) -> str:
    """How to load it."""
    return (
        "Convert the base model with llama.cpp's `convert_hf_to_gguf.py`, then:\n\n"
        f"```bash\nllama-cli -m base.gguf --lora {FILE}\n```"
    )
