"""An encoder's adapter classifies with transformers and peft alone, by the code on its card."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import color_episode, noise
from export_checks import KINDS, load_backbone, make

from hyperpeft import load_generator
from hyperpeft.adapter import Adapter
from hyperpeft.adapters import Prompt
from hyperpeft.backbones import Encoder
from hyperpeft.exports import Exported, write_export

pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")
INPUTS = ["frog", "tomato", "a fire engine that is quite long, and red", "x"]


@pytest.fixture
def exported(folders: dict[str, Path]) -> Exported:
    return make(load_backbone(folders["bert"]), KINDS["alpha"])


def snippet(folder: Path, base: str, inputs: list[str]) -> str:
    """The card's code, its two place holders filled in, printing JSON."""
    card = (folder / "README.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"```python\n(.*?)```", card, flags=re.DOTALL)
    assert "hyperpeft" not in code
    code = re.sub(r"^base, folder = .*$", f"base, folder = {base!r}, {str(folder)!r}", code, flags=re.MULTILINE)
    assert '["a text"]' in code
    code = code.replace('["a text"]', repr(inputs))
    return code + "print(json.dumps(logits.softmax(-1).tolist()))\n"


def run(code: str) -> tuple[list[str], torch.Tensor]:
    done = subprocess.run([sys.executable, "-W", "error::UserWarning", "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    first, last = done.stdout.strip().split("\n")[0], done.stdout.strip().split("\n")[-1]
    return re.findall(r"'(.*?)'", first.split("]")[0]), torch.tensor(json.loads(last))


@pytest.mark.parametrize("name", ["peft", "merged"])
def test_the_cards_code_reproduces_predict(exported: Exported, name: str, tmp_path: Path) -> None:
    write_export(exported, tmp_path, name)
    adapter = Adapter(exported.weights, exported.episode, exported.backbone)
    labels, probabilities = run(snippet(tmp_path, exported.backbone.name, INPUTS))
    assert labels == adapter.predict(INPUTS)
    expected = torch.tensor([list(row.values()) for row in adapter.predict_proba(INPUTS)])
    torch.testing.assert_close(probabilities, expected, atol=1e-4, rtol=1e-3)
    code = snippet(tmp_path, "", INPUTS)
    assert len([line for line in code.split("\n") if line.strip() and "import" not in line]) <= 14


def test_the_cards_code_leaves_virtual_tokens_out(folders: dict[str, Path], tmp_path: Path) -> None:
    backbone = load_backbone(folders["bert"])
    weights = noise(backbone.start(Prompt(tokens=3, gated=False)), 0, 0.3)
    adapter = Adapter(weights, color_episode(), backbone)
    labels, probabilities = run(snippet(adapter.export(tmp_path / "a"), backbone.name, INPUTS))
    assert labels == adapter.predict(INPUTS)
    expected = torch.tensor([list(row.values()) for row in adapter.predict_proba(INPUTS)])
    torch.testing.assert_close(probabilities, expected, atol=1e-4, rtol=1e-3)


def test_the_rule_depends_on_the_adapter(exported: Exported, tmp_path: Path) -> None:
    rules = []
    for index, weights in enumerate([exported.weights, exported.backbone.start(KINDS["alpha"])]):
        folder = tmp_path / str(index)
        folder.mkdir()
        write_export(Exported(weights, exported.backbone, exported.episode), folder, "peft")
        rules.append(json.loads((folder / "classifier.json").read_text(encoding="utf-8")))
    assert rules[0]["labels"] == rules[1]["labels"] == ["green", "red"]
    assert rules[0]["scale"] != rules[1]["scale"]
    assert rules[0]["prototypes"] != rules[1]["prototypes"]
    assert torch.tensor(rules[0]["prototypes"]).norm(dim=1).tolist() == pytest.approx([1, 1], abs=1e-4)


def test_prototypes_say_the_probabilities(encoder: Encoder) -> None:
    episode = color_episode()
    (expected,) = encoder.probabilities([episode])
    with torch.no_grad():
        vectors, scale = encoder.prototypes(episode)
        inputs = encoder.inputs([[]], [[example.input for example in episode.query]], 3)
        features = encoder.row_features(inputs)[0]
    found = (scale * features @ vectors.T).softmax(-1)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-4)


def test_a_language_model_has_no_classifier(folders: dict[str, Path], tmp_path: Path) -> None:
    write_export(make(load_backbone(folders["llama"]), KINDS["plain"]), tmp_path, "peft")
    assert not (tmp_path / "classifier.json").exists()


@pytest.mark.slow
def test_the_shipped_generators_adapter_is_reproduced(minilm: str, tmp_path: Path) -> None:
    import hyperpeft

    examples: Any = [("charged twice for one order", "billing"), ("the app crashes", "technical")]
    adapter = hyperpeft.generate("Route each message to a team.", examples, generator=load_generator())
    inputs = ["where is my refund?", "it freezes on the start screen", "I want my money back", "login fails"]
    labels, _ = run(snippet(adapter.export(tmp_path / "a"), minilm, inputs))
    assert labels == adapter.predict(inputs)
