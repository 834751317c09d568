"""How an encoder's adapter classifies, as plain numbers: `classifier.json` and code that needs no hyperpeft."""

import json
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from torch import Tensor

from hyperpeft.backbones import Encoder
from hyperpeft.exports.base import Exported
from hyperpeft.tasks import Episode

CLASSIFIER = "classifier.json"
POOLING = {
    "mean": "pooled = (hidden * mask).sum(1) / mask.sum(1)",
    "cls": "pooled = hidden[:, 0]",
    "max": "pooled = hidden.masked_fill(mask == 0, -torch.inf).amax(1)",
}


@runtime_checkable
class HasPrototypes(Protocol):
    """A backbone that classifies by prototypes and says which."""

    def prototypes(self, episode: Episode) -> tuple[Tensor, float]:
        """`[label d]` and a scale: logits are scale * unit feature @ prototypes.T, under the installed weights."""


def write_classifier(exported: Exported, folder: Path) -> None:
    """Write labels, prototypes `[label d]` and scale, as the backbone's own prediction computes them, calibrated.

    Nothing is written for a backbone that does not classify by prototypes.
    """
    backbone = exported.backbone
    if not isinstance(backbone, HasPrototypes):
        return
    with backbone.adapted(exported.weights):
        vectors, scale = backbone.prototypes(exported.episode)
    rule: dict[str, Any] = {
        "labels": list(exported.episode.labels),
        "scale": scale / exported.temperature,
        **_reading(exported),
    }
    text = json.dumps({**rule, "prototypes": vectors.cpu().float().tolist()}, ensure_ascii=False)
    (folder / CLASSIFIER).write_text(text, encoding="utf-8")


def _reading(exported: Exported) -> dict[str, Any]:
    """How texts become features; nothing for images."""
    backbone = exported.backbone
    if not isinstance(backbone, Encoder):
        return {}
    return {"pooling": backbone.pooling.mode, "max_tokens": backbone.tokens.max_tokens}


def classifier_code(exported: Exported, load: str, *, imports: str, virtual: int = 0) -> str:
    """Markdown: code that predicts with the classifier; `load` makes `model`, which puts out so many virtual tokens."""
    backbone = exported.backbone
    if not isinstance(backbone, Encoder) or backbone.pooling.mode not in POOLING:
        return f"Labels, prototypes and scale are in `{CLASSIFIER}`: logits are scale * unit feature @ prototypes.T."
    return (
        f"```python\nimport json, torch\n{imports}\n\n"
        f'base, folder = "{exported.base_model}", "this folder"\n'
        f'rule = json.load(open(f"{{folder}}/{CLASSIFIER}", encoding="utf-8"))\n{load}\n'
        'batch = tokenizer(["a text"], padding=True, truncation=True, max_length=rule["max_tokens"], '
        'return_tensors="pt")\n'
        f"with torch.no_grad():\n    hidden = model(**batch).last_hidden_state{f'[:, {virtual}:]' if virtual else ''}\n"
        f'mask = batch["attention_mask"].unsqueeze(-1)\n{POOLING[backbone.pooling.mode]}\n'
        'logits = rule["scale"] * torch.nn.functional.normalize(pooled, dim=-1) @ '
        'torch.tensor(rule["prototypes"]).T\n'
        'print([rule["labels"][index] for index in logits.argmax(-1)], logits.softmax(-1))\n```'
    )
