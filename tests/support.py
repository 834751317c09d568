"""Whether an adapter kind works on a backbone, by trying: for the table that scripts/support_table.py prints."""

import math
from typing import Any

import torch
from conftest import wake
from kinds import KINDS

from hyperpeft.adaptation import FinetuneSettings, finetune
from hyperpeft.backbones import Backbone
from hyperpeft.hypernetwork import Hypernetwork
from hyperpeft.tasks import Episode
from hyperpeft.weights import AdapterWeights


def tried(backbone: Backbone[Any], kind: str, episodes: list[Episode]) -> str:
    """`yes` if a hypernetwork's adapter computes, and two steps of fine-tuning improve on a fresh one."""
    if kind not in backbone.kinds():
        return "no"
    adapter = KINDS[kind]
    targets, readout = backbone.targets(adapter), backbone.readout_defaults()
    made = wake(Hypernetwork(adapter, targets, backbone.identity, readout, d_task=4, d_hidden=8))(torch.randn(2, 4))
    fresh = backbone.start(adapter, tasks=2)
    tuned = finetune(backbone, fresh, episodes, FinetuneSettings(steps=2, lr=1e-3))
    generated, before, after = (loss(backbone, weights, episodes) for weights in (made, fresh, tuned))
    return "yes" if math.isfinite(generated) and after < before else "FAILS"


def loss(backbone: Backbone[Any], weights: AdapterWeights, episodes: list[Episode]) -> float:
    """Of the support of all episodes."""
    with torch.no_grad(), backbone.adapted(weights):
        return float(backbone.loss(backbone.support_batch(episodes)).sum())
