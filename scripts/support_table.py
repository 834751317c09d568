"""Which adapter kind works on which family of backbone, tried out: python scripts/support_table.py > docs/support.md"""

import logging
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
from conftest import character_tokenizer, color_episode, size_episode
from families import FAMILIES, draw_images, load_family, save_family, shown
from support import tried

from hyperpeft.adapters import ADAPTERS, Target
from hyperpeft.exports import carried

INTRODUCTION = """# What works with what

Printed by `python scripts/support_table.py`; small random models, each cell tried: an adapter made by a hypernetwork
computes, and a fresh one is fine-tuned. `tests/adapters/test_families.py` tests identity at the start, gradients and
tasks apart for every cell. `no`: with default settings an error says what is missing.
"""
KINDS = """
## Kinds

Parameters: of a target of 1024 x 1024, default settings. Format peft carries `prompt` with gated=false.
"""
PLACE = Target("any", 1024, 1024, sort="model")

if __name__ == "__main__":
    logging.disable(logging.WARNING)
    torch.manual_seed(0)
    print(INTRODUCTION)
    print(f"| family | backbone | {' | '.join(ADAPTERS)} |\n|{'---|' * (2 + len(ADAPTERS))}")
    with TemporaryDirectory() as folder:
        images = draw_images(Path(folder) / "images")
        for family, (sort, _) in FAMILIES.items():
            backbone = load_family(family, save_family(family, Path(folder) / family, character_tokenizer()))
            texts = [color_episode(), size_episode()]
            episodes = [shown(episode, images) for episode in texts] if sort == "vision" else texts
            cells = [tried(backbone, kind, episodes) for kind in ADAPTERS]
            print(f"| {family} | {sort} | {' | '.join(cells)} |")
    print(KINDS)
    print("| kind | parameters | export formats |\n|---|---|---|")
    for kind, formats in carried().items():
        able = ", ".join(name for name, is_carried in formats.items() if is_carried)
        print(f"| {kind} | {ADAPTERS[kind]().count(PLACE)} | {able} |")
