"""Run by an environment that has llama-cpp-python: logits of every token, as JSON."""

import json
import sys

from llama_cpp import Llama

base, adapter, tokens = sys.argv[1], sys.argv[2], json.loads(sys.argv[3])
model = Llama(
    base,
    lora_path=None if adapter == "-" else adapter,
    logits_all=True,
    n_ctx=64,
    n_threads=1,
    type_k=0,  # fp32 keys and values
    type_v=0,
    verbose=False,
)
model.eval(tokens)
print(json.dumps(model.scores[: len(tokens)].tolist()))
