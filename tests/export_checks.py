"""What the tests of exports share: adapters to export, and outputs of the models that load them."""

from pathlib import Path
from typing import Any

import torch
from conftest import color_episode, noise
from torch import Tensor
from transformers import AutoModel, AutoModelForCausalLM

from hyperpeft.adapters import Lora
from hyperpeft.backbones import Backbone, CausalLm, Encoder
from hyperpeft.exports import Exported

KINDS = {
    "plain": Lora(rank=4, alpha=4.0),
    "alpha": Lora(rank=2, alpha=5.0),
    "rslora": Lora(rank=3, alpha=5.0, rslora=True),
    "all-linear": Lora(rank=2, alpha=3.0, targets=["all-linear"]),
}


def load_backbone(folder: Path, dtype: str = "float32") -> Backbone[Any]:
    if folder.name == "bert":
        return Encoder(str(folder), dtype=dtype, max_tokens=64)
    return CausalLm(str(folder), dtype=dtype, max_tokens=64)


def make(backbone: Backbone[Any], adapter: Lora) -> Exported:
    return Exported(noise(backbone.start(adapter), 0, 0.1), backbone, color_episode(), "default", 3)


def outputs(model: Any) -> Tensor:
    ids = torch.arange(7, 27).reshape(2, 10)
    with torch.no_grad():
        made = model(input_ids=ids, attention_mask=torch.ones_like(ids))
    return made.logits if "logits" in made else made.last_hidden_state


def adapted_outputs(exported: Exported) -> Tensor:
    with exported.backbone.adapted(exported.weights):
        return outputs(exported.backbone.model)


def bare(backbone: Backbone[Any]) -> Any:
    auto = AutoModel if backbone.classifies else AutoModelForCausalLM
    return auto.from_pretrained(backbone.name, dtype=torch.float32)


def assert_same_outputs(found: Tensor, exported: Exported) -> None:
    expected = adapted_outputs(exported)
    assert (found - expected).norm() < 1e-4 * expected.norm()
    assert (outputs(exported.backbone.model) - expected).norm() > 1e-2 * expected.norm()
