"""PEFT folders: adapter_config.json, adapter_model.safetensors. One entry in PEFT_FORMS for each adapter kind."""

import warnings
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from safetensors.torch import save_file

from hyperpeft.exports.base import Exported
from hyperpeft.exports.classifier import classifier_code
from hyperpeft.exports.peft.base import PeftForm
from hyperpeft.exports.peft.dora import dora_config, dora_tensors
from hyperpeft.exports.peft.ia3 import ia3_config, ia3_tensors
from hyperpeft.exports.peft.lora import lora_config, lora_tensors
from hyperpeft.exports.peft.prompt import prompt_config, prompt_tensors
from hyperpeft.exports.peft.sparse import shira_config, shira_tensors

PEFT_FORMS: Mapping[str, PeftForm] = MappingProxyType(
    {
        "lora": PeftForm(lora_config, lora_tensors),
        "dora": PeftForm(dora_config, dora_tensors),
        "ia3": PeftForm(ia3_config, ia3_tensors),
        "prompt": PeftForm(prompt_config, prompt_tensors),
        "sparse": PeftForm(shira_config, shira_tensors),
    }
)

__all__ = ["PEFT_FORMS", "PeftForm", "peft_usage", "write_peft"]


def write_peft(exported: Exported, folder: Path) -> None:
    """Write what `PeftModel.from_pretrained` loads; `config.save_pretrained` is PEFT's own."""
    form = PEFT_FORMS[exported.weights.adapter.kind]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        form.config(exported).save_pretrained(str(folder))
    save_file(form.tensors(exported), folder / "adapter_model.safetensors", metadata={"format": "pt"})


def peft_usage(exported: Exported) -> str:
    """Code that loads it with transformers and peft alone."""
    if exported.backbone.classifies:
        load = (
            "model = PeftModel.from_pretrained(AutoModel.from_pretrained(base), folder).eval()\n"
            "tokenizer = AutoTokenizer.from_pretrained(base)"
        )
        imports = "from peft import PeftModel\nfrom transformers import AutoModel, AutoTokenizer"
        adapter: Any = exported.weights.adapter
        virtual = adapter.tokens if adapter.kind == "prompt" else 0
        return classifier_code(exported, load, imports=imports, virtual=virtual)
    auto = "AutoModelForSeq2SeqLM" if exported.backbone.model.config.is_encoder_decoder else "AutoModelForCausalLM"
    return (
        f"```python\nfrom peft import PeftModel\nfrom transformers import {auto}, AutoTokenizer\n\n"
        f'base, folder = "{exported.base_model}", "this folder"\n'
        f"model = PeftModel.from_pretrained({auto}.from_pretrained(base), folder).eval()\n"
        "tokenizer = AutoTokenizer.from_pretrained(base)\n```"
    )
