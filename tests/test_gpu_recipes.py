"""The recipes for GPUs: each is loaded and takes its first steps with a small random model of the same class."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import character_tokenizer
from families import save_family
from omegaconf import OmegaConf

from hyperpeft.config import load_config
from hyperpeft.run import Run
from hyperpeft.run_config import RunConfig

CONFIGS = Path(__file__).parent.parent / "configs"
# recipe: the family in tests/families.py whose class its model is of
FAMILIES = {
    "gpu_qwen3_0.6b": "qwen3",
    "gpu_llama3.2_1b": "llama",
    "gpu_gemma2_2b": "gemma2",
    "gpu_phi4_mini": "phi3",
    "gpu_qwen3_4b": "qwen3",
    "gpu_mistral_7b": "mistral",
    "gpu_llama3.1_8b": "llama",
}
SMALL = ["steps=2", "workers=0", "encoder.d_task=16", "hypernetwork.d_hidden=8", "validation.queries=2"]
SHORT = [
    "backbone.max_tokens=64",
    "backbone.dtype=float32",
    "validation.every=1",
    "text_encoder.cache=''",
    "text_encoder.max_tokens=64",
]
QUIET = ["trainer.accelerator=cpu", "trainer.log_every_n_steps=1", "trainer.enable_progress_bar=false"]


def test_every_recipe_is_tested() -> None:
    assert {file.stem for file in CONFIGS.glob("gpu_*.yaml")} == set(FAMILIES)


def write_instructions(folder: Path) -> None:
    """Twelve text-to-text and classification tasks in the layout of Super-NaturalInstructions, with splits."""
    (folder / "tasks").mkdir(parents=True)
    (folder / "splits").mkdir()
    names = [f"task{number:03}" for number in range(12)]
    for number, name in enumerate(names):
        outputs = ("yes", "no") if number % 2 else ("first answer", "second answer", "third answer", "fourth answer")
        instances = [{"input": f"{name} asks {i}", "output": [outputs[i % len(outputs)]]} for i in range(12)]
        fields = {"Definition": [f"Do what {name} says."], "Categories": [f"kind {number}"], "Instances": instances}
        (folder / "tasks" / f"{name}.json").write_text(json.dumps(fields))
    (folder / "splits" / "train_tasks.txt").write_text("\n".join(names[:11]))
    (folder / "splits" / "test_tasks.txt").write_text(names[11])


@pytest.mark.parametrize("name", sorted(FAMILIES))
def test_first_steps(name: str, tmp_path: Path, folders: dict[str, Path]) -> None:
    write_instructions(tmp_path / "ni")
    model = save_family(FAMILIES[name], tmp_path / "model", character_tokenizer())
    places = [
        f"output={tmp_path}/out",
        f"corpus.path={tmp_path}/ni/tasks",
        f"corpus.splits={tmp_path}/ni/splits",
        f"backbone.model={model}",
        f"text_encoder.model={folders['bert']}",
    ]
    run = Run(load_config(RunConfig, [CONFIGS / f"{name}.yaml"], [*places, *SMALL, *SHORT, *QUIET]))
    generator = run.train()
    heads: Any = generator.hypernetwork.heads
    assert all(torch.isfinite(head).all() for head in heads.values())
    assert max(head.abs().max() for head in heads.values()) > 0
    assert (tmp_path / "out" / name / "generator" / "model.safetensors").is_file()


@pytest.mark.parametrize("name", sorted(FAMILIES))
def test_the_header_says_what_it_costs(name: str) -> None:
    text = (CONFIGS / f"{name}.yaml").read_text()
    config: Any = OmegaConf.load(CONFIGS / f"{name}.yaml")
    assert config.name == name
    assert config.backbone.model in text.splitlines()[0]
    assert "estimated, not measured" in text
    episodes = config.episodes
    batches = config.trainer.get("accumulate_grad_batches", 1)
    assert episodes.tasks * batches == 8
    assert f"{episodes.tasks} tasks x {episodes.rows} texts x 250 tokens" in text
