"""An exported adapter scored by lm-evaluation-harness: its numbers are ours."""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
import torch
from export_checks import load_backbone, make

from hyperpeft.adapters import Lora
from hyperpeft.api import Adapter
from hyperpeft.exports import Exported

PYTHON = os.environ.get("HYPERPEFT_LM_EVAL_PYTHON", "")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not PYTHON, reason="set HYPERPEFT_LM_EVAL_PYTHON (docs/exports.md)"),
]
LABELS = ["green", "red"]
HELD_OUT = [(f"thing number {index}", LABELS[index % 2]) for index in range(12)]
TASK = """
task: colours
dataset_path: json
dataset_kwargs: {{data_files: {{test: {file}}}}}
test_split: test
output_type: multiple_choice
doc_to_text: "{{{{input}}}}\\n"
doc_to_choice: ["green", "red"]
doc_to_target: "{{{{label}}}}"
target_delimiter: ""
metric_list:
  - metric: acc
"""


@pytest.fixture
def exported(folders: dict[str, Path]) -> Exported:
    kind = Lora(rank=2, alpha=5.0, targets=["all-linear"])
    return make(load_backbone(folders["llama"]), kind)


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


def ours(adapter: Adapter) -> torch.Tensor:
    """Log-likelihood of each label's tokens after each input, without the end of sequence that lm-eval leaves out."""
    backbone: Any = adapter.backbone
    scores = []
    with torch.no_grad(), backbone.adapted(adapter.weights):
        for text, _ in HELD_OUT:
            prompt = backbone.tokenizer(f"{text}\n", add_special_tokens=False)["input_ids"]
            row = []
            for label in LABELS:
                answer = backbone.tokenizer(label, add_special_tokens=False)["input_ids"]
                logits = backbone.model(input_ids=torch.tensor([prompt + answer])).logits[0].log_softmax(-1)
                row.append(sum(float(logits[len(prompt) - 1 + i, token]) for i, token in enumerate(answer)))
            scores.append(row)
    return torch.tensor(scores)


def test_lm_eval_scores_the_adapter_as_we_do(exported: Exported, tmp_path: Path) -> None:
    adapter = Adapter(exported.weights, exported.episode, exported.backbone)
    found = lm_eval(exported.backbone.name, adapter.export(tmp_path / "adapter"), tmp_path)
    expected = ours(adapter)
    torch.testing.assert_close(torch.tensor(found["loglikelihoods"]), expected, atol=1e-3, rtol=1e-4)
    right = [LABELS[int(row.argmax())] == label for row, (_, label) in zip(expected, HELD_OUT, strict=True)]
    assert found["acc"] == pytest.approx(sum(right) / len(right))
    bare = lm_eval(exported.backbone.name, "-", tmp_path)
    assert (torch.tensor(bare["loglikelihoods"]) - expected).abs().max() > 0.1
