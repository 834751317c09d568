"""Exports: adapters in the formats that other programs read."""

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from hyperpeft.adapters import ADAPTERS
from hyperpeft.config import did_you_mean
from hyperpeft.exports.adapterhub import FORMS, adapterhub_usage, write_adapterhub
from hyperpeft.exports.base import Exported, Format
from hyperpeft.exports.card import model_card
from hyperpeft.exports.classifier import write_classifier
from hyperpeft.exports.files import MANIFEST, check_free, check_unchanged, written_at_once
from hyperpeft.exports.gguf import gguf_usage, write_gguf
from hyperpeft.exports.merged import MERGES, merged_usage, write_merged
from hyperpeft.exports.peft import PEFT_FORMS, peft_usage, write_peft
from hyperpeft.exports.safetensors import safetensors_usage, write_safetensors

EXPORTS: Mapping[str, Format] = MappingProxyType(
    {
        "peft": Format("PEFT, transformers, vLLM, SGLang (LoRA)", PEFT_FORMS, write_peft, peft_usage),
        "merged": Format("transformers", MERGES, write_merged, merged_usage),
        "adapterhub": Format("adapters (AdapterHub)", FORMS, write_adapterhub, adapterhub_usage),
        "gguf": Format("llama.cpp, Ollama", ("lora",), write_gguf, gguf_usage),
        "safetensors": Format("hyperpeft", ADAPTERS, write_safetensors, safetensors_usage),
    }
)

__all__ = [
    "EXPORTS",
    "MANIFEST",
    "Exported",
    "Format",
    "carried",
    "check_free",
    "check_unchanged",
    "model_card",
    "write_export",
    "written_at_once",
]


def write_export(exported: Exported, folder: Path, format_name: str) -> None:
    """Write one adapter into an existing folder: the format's files, the model card, the classifier of an encoder.

    Raises ValueError for an unknown format and for a kind of adapter that the format does not carry.
    """
    if format_name not in EXPORTS:
        raise ValueError(f"there is no export format {format_name!r}. {did_you_mean(format_name, EXPORTS)}")
    chosen, kind = EXPORTS[format_name], exported.weights.adapter.kind
    if kind not in chosen.kinds:
        others = [name for name, other in EXPORTS.items() if kind in other.kinds]
        raise ValueError(
            f"format {format_name!r} does not carry adapters of kind {kind!r}; it carries {sorted(chosen.kinds)}. "
            f"Kind {kind!r} is carried by {others}."
        )
    chosen.write(exported, folder)
    write_classifier(exported, folder)
    card = model_card(exported, format_name, chosen.usage(exported))
    (folder / "README.md").write_text(card, encoding="utf-8")


def carried() -> dict[str, dict[str, bool]]:
    """For each adapter kind, whether each format carries it."""
    return {kind: {name: kind in each.kinds for name, each in EXPORTS.items()} for kind in ADAPTERS}
