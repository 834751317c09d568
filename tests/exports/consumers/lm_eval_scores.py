"""Run by an environment that has lm-eval: accuracy of a base model with a PEFT adapter on a local task, as JSON."""

import json
import sys

import lm_eval
from lm_eval.models.huggingface import HFLM
from lm_eval.tasks import TaskManager

base, adapter, tasks, name = sys.argv[1:5]
arguments = {} if adapter == "-" else {"peft": adapter}
model = HFLM(pretrained=base, dtype="float32", device="cpu", batch_size=1, **arguments)
manager = TaskManager(include_path=tasks, include_defaults=False)
found = lm_eval.simple_evaluate(
    model=model, tasks=[name], task_manager=manager, bootstrap_iters=0, log_samples=True, random_seed=0
)
samples = sorted(found["samples"][name], key=lambda sample: sample["doc_id"])
scores = [[float(answer[0]) for answer in sample["filtered_resps"]] for sample in samples]
print(json.dumps({"acc": found["results"][name]["acc,none"], "loglikelihoods": scores}))
