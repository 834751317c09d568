"""What the tests of the main job in code share."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from conftest import awake

from hyperpeft import Adapter, Generator

DESCRIPTION = "Say which colour the thing has."
EXAMPLES = [("grass", "green"), ("blood", "red"), ("leaf", "green"), ("rose", "red")]
LABELS = ["green", "red"]
INPUTS = ["frog", "tomato", "fire engine"]
TASKS: list[dict[str, Any]] = [
    {"description": DESCRIPTION, "examples": EXAMPLES},
    {"description": [DESCRIPTION, "What colour?"], "labels": ["green", "red", "blue"]},
    {"examples": EXAMPLES[:2], "labels": {"green": "like grass", "red": "like blood"}},
]


def make(folders: Mapping[str, Path], kind: str, model: str) -> Generator:
    settings: dict[str, dict[str, Any]] = {
        "backbone": {"kind": kind, "model": str(folders[model]), "dtype": "float32"},
        "adapter": {"kind": "lora", "rank": 2},
        "text_encoder": {"model": str(folders["bert"]), "cache": ""},
        "encoder": {"kind": "joint", "d_task": 16},
        "hypernetwork": {"d_hidden": 8},
    }
    if kind == "causal_lm":
        settings["backbone"]["max_new_tokens"] = 4
    return awake(Generator.build(settings)).eval()


def equal(one: Adapter, two: Adapter) -> bool:
    found, others = dict(one.weights.named()), dict(two.weights.named())
    return found.keys() == others.keys() and all(torch.equal(found[name], others[name]) for name in found)
