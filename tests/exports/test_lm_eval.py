"""An exported adapter scored by lm-evaluation-harness: its numbers are ours."""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import color_episode
from export_checks import load_backbone, make

from hyperpeft.adapter import Adapter
from hyperpeft.adapters import Lora
from hyperpeft.tasks import Example

PYTHON = os.environ.get("HYPERPEFT_LM_EVAL_PYTHON", "")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not PYTHON, reason="set HYPERPEFT_LM_EVAL_PYTHON (docs/exports.md)"),
]
LABELS = ("green", "black")  # of equally many tokens, as lm-eval ranks by sums where we rank by means
ANSWER_TOKENS = 6  # five characters and the end of sequence
HELD_OUT = [(f"thing number {index}", LABELS[index % 2]) for index in range(12)]
TASK = """
task: colours
dataset_path: json
dataset_kwargs: {{data_files: {{test: {file}}}}}
test_split: test
output_type: multiple_choice
doc_to_text: "{{{{input}}}}\\n"
doc_to_choice: ["green</s>", "black</s>"]
doc_to_target: "{{{{label}}}}"
target_delimiter: ""
metric_list:
  - metric: acc
"""


@pytest.fixture
def adapter(folders: dict[str, Path]) -> Adapter:
    backbone = load_backbone(folders["llama"])
    support = (Example("grass", "green"), Example("coal", "black"))
    weights = make(backbone, Lora(rank=2, alpha=5.0, targets=["all-linear"])).weights
    return Adapter(weights, color_episode(support=support, labels=LABELS), backbone)


def lm_eval(base: str, adapter: Path | str, tmp_path: Path) -> dict[str, Any]:
    rows = [{"input": text, "label": LABELS.index(label)} for text, label in HELD_OUT]
    (tmp_path / "test.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "tasks").mkdir(exist_ok=True)
    (tmp_path / "tasks" / "colours.yaml").write_text(TASK.format(file=tmp_path / "test.jsonl"))
    script = Path(__file__).parent / "consumers" / "lm_eval_scores.py"
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_DATASETS_CACHE": str(tmp_path / "cache")}
    done = subprocess.run(
        [PYTHON, str(script), base, str(adapter), str(tmp_path / "tasks"), "colours"],
        capture_output=True, text=True, env=environment,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.strip().splitlines()[-1])  # type: ignore[no-any-return]


def probabilities(loglikelihoods: list[list[float]]) -> torch.Tensor:
    """Ours: softmax of the mean over the answer's tokens. The line break that lm-eval counts as answer cancels out."""
    return (torch.tensor(loglikelihoods) / ANSWER_TOKENS).softmax(-1)


def test_lm_eval_scores_the_adapter_as_we_do(adapter: Adapter, tmp_path: Path) -> None:
    found = lm_eval(adapter.backbone.name, adapter.export(tmp_path / "adapter"), tmp_path)
    ours = torch.tensor([list(row.values()) for row in adapter.predict_proba([text for text, _ in HELD_OUT])])
    torch.testing.assert_close(probabilities(found["loglikelihoods"]), ours, atol=1e-4, rtol=1e-3)
    assert found["acc"] == pytest.approx(adapter.evaluate(HELD_OUT))
    bare = lm_eval(adapter.backbone.name, "-", tmp_path)
    assert (probabilities(bare["loglikelihoods"]) - ours).abs().max() > 0.01
