"""Modules and weights that a model uses in several places."""

import copy
from pathlib import Path

import pytest
import torch
from conftest import character_tokenizer, color_episode, noise, size_episode
from families import SIZES, save_family
from kinds import KINDS
from transformers import AlbertConfig, AlbertModel

from hyperpeft.adapters import Lora
from hyperpeft.backbones import CausalLm, Encoder
from hyperpeft.config import ConfigError

EPISODES = [color_episode(), size_episode()]


@pytest.fixture(scope="module")
def albert(tmp_path_factory: pytest.TempPathFactory) -> Encoder:
    """One layer, computed three times."""
    folder = tmp_path_factory.mktemp("albert")
    torch.manual_seed(0)
    AlbertModel(AlbertConfig(embedding_size=16, max_position_embeddings=128, **SIZES)).save_pretrained(folder)
    character_tokenizer().save_pretrained(folder)
    return Encoder(str(folder), dtype="float32", max_tokens=64)


def test_a_module_that_is_computed_several_times_is_adapted_each_time(albert: Encoder) -> None:
    weights = noise(albert.start(Lora(rank=2, alpha=2.0, targets=["query", "value"])), 1)
    assert len(weights.tensors) == 2
    ids, merged = torch.arange(7, 15)[None], copy.deepcopy(albert.model)
    with torch.no_grad():
        for path, named in weights.tensors.items():
            merged.get_submodule(path).weight.add_((named["A"][0].T @ named["B"][0]).T)
        with albert.adapted(weights):
            found = albert.model(input_ids=ids).last_hidden_state
        torch.testing.assert_close(found, merged(input_ids=ids).last_hidden_state, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["prompt", "prefix"])
def test_gates_of_a_shared_layer_start_closed_and_learn(albert: Encoder, name: str) -> None:
    batch = albert.query_batch(EPISODES)
    start = albert.start(KINDS[name], tasks=2)
    weights = noise(start, 1).map(lambda leaf: leaf.requires_grad_(True))
    with torch.no_grad():
        bare = albert.loss(batch)
        with albert.adapted(start):
            torch.testing.assert_close(albert.loss(batch), bare, rtol=1e-5, atol=1e-5)
    with albert.adapted(weights):
        gradients = torch.autograd.grad(albert.loss(batch).sum(), [leaf for _, leaf in weights.named()])
    assert all(gradient.reshape(2, -1).abs().amax(1).gt(0).all() for gradient in gradients)


def test_tied_embeddings_stay_tied_and_are_no_target(tmp_path: Path) -> None:
    folder = save_family("qwen2", tmp_path / "qwen2", character_tokenizer())
    backbone = CausalLm(str(folder), dtype="float32", max_tokens=64)
    embeddings, head = backbone.model.get_input_embeddings(), backbone.model.get_output_embeddings()
    with backbone.adapted(noise(backbone.start(KINDS["prompt"]), 1)):
        backbone.predict(EPISODES[:1])
        assert embeddings.weight is head.weight
    assert embeddings.weight is head.weight
    with pytest.raises(ConfigError, match="no linear module ends in 'lm_head'"):
        backbone.targets(Lora(targets=["lm_head"]))
