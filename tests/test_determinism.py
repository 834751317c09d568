"""The same seed makes the same weights in any process."""

import os
import subprocess
import sys
from pathlib import Path

SCRIPT = """
import hashlib, sys
from hyperpeft import Episode, Example, Generator
from hyperpeft.adaptation import FinetuneSettings, finetune

settings = {
    "backbone": {"kind": "encoder", "model": sys.argv[1], "dtype": "float32"},
    "adapter": {"kind": "lora", "rank": 2, "targets": ["value", "query", "dense"]},
    "text_encoder": {"model": sys.argv[1], "cache": ""},
    "encoder": {"kind": "joint", "d_task": 16},
    "hypernetwork": {"head": "per_rank", "d_hidden": 8},
}
generator = Generator.build(settings)
support = tuple(Example(text, label) for text, label in [("ant", "small"), ("whale", "big"), ("bee", "small")])
episode = Episode("size", ("Is it big?",), support, (), ("big", "small"))
weights = finetune(generator.backbone, generator.generate([episode]), [episode], FinetuneSettings(steps=2))
digest = hashlib.sha256()
for name, tensor in weights.named():
    digest.update(name.encode() + tensor.numpy().tobytes())
print(digest.hexdigest())
"""


def test_weights_do_not_depend_on_the_hash_seed(folders: dict[str, Path]) -> None:
    digests = {
        subprocess.run(
            [sys.executable, "-c", SCRIPT, str(folders["bert"])],
            env={**os.environ, "PYTHONHASHSEED": seed, "OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
            check=True,
            timeout=120,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(digests) == 1
    assert len(digests.pop().strip()) == 64
