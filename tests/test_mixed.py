"""Rows of one batch, each with its own adapter: the same answers as one adapter at a time."""

from random import Random
from typing import Any

import pytest
import torch
from conftest import color_episode, noise, size_episode

from hyperpeft.adapters import Lora, Prompt
from hyperpeft.backbones import Backbone, CausalLm
from hyperpeft.backbones.grouping import grouped
from hyperpeft.mixed import predict_rows
from hyperpeft.weights import AdapterWeights

EPISODES = [color_episode(), size_episode(), color_episode(task="more colors", labels=("red", "green"))]
TEXTS = ["frog", "ant", "sky", "elephant", "fire engine", "mouse", "sea"]


def one_by_one(backbone: Backbone[Any], weights: AdapterWeights, episodes: Any, rows: list[tuple[int, str]]) -> Any:
    outputs = []
    for adapter, text in rows:
        with backbone.adapted(weights[adapter]):
            outputs.append(
                backbone.predict([episodes[adapter].with_query([type(EPISODES[0].query[0])(text, "")])])[0][0]
            )
    return outputs


def draws(count: int) -> list[tuple[int, str]]:
    random = Random(0)
    return [(random.choice([0, 1, 1, 1, 2]), random.choice(TEXTS)) for _ in range(count)]


def test_labels_are_those_of_each_adapter_alone(backbone: Backbone[Any]) -> None:
    weights = noise(backbone.start(Lora(rank=2), tasks=3), 1)
    rows = draws(13)
    outputs = predict_rows(backbone, weights, EPISODES, rows)
    assert outputs == one_by_one(backbone, weights, EPISODES, rows)
    assert len(set(outputs)) > 1


@pytest.mark.parametrize("kind", [Lora(rank=2), Prompt(tokens=2)], ids=lambda kind: kind.kind)
def test_text_is_generated_by_each_adapter(llama: CausalLm, kind: Any) -> None:
    weights = noise(llama.start(kind, tasks=3), 1, size=1.0)
    free = [color_episode(labels=()), size_episode(labels=()), color_episode(task="more", labels=())]
    rows = [(adapter, "the same text") for adapter in (2, 0, 1, 1, 0, 1)]
    outputs = predict_rows(llama, weights, free, rows)
    assert outputs == one_by_one(llama, weights, free, rows)
    assert outputs[0] != outputs[1]
    assert outputs[1] == outputs[4]


def test_tasks_with_and_without_labels_go_together(llama: CausalLm) -> None:
    weights = noise(llama.start(Lora(rank=2), tasks=2), 1, size=1.0)
    both = [color_episode(), size_episode(labels=())]
    rows = [(1, "ant"), (0, "frog"), (1, "whale"), (0, "sky")]
    assert predict_rows(llama, weights, both, rows) == one_by_one(llama, weights, both, rows)


def test_a_batch_of_ones_own_is_ordered_and_put_back(llama: CausalLm) -> None:
    """What a user does with a model's own forward: order the rows, compute, put them back."""
    weights = noise(llama.start(Lora(rank=2), tasks=3), 1)
    adapters = [2, 0, 0, 1, 2, 2, 0]
    ids = torch.randint(6, 60, (7, 5), generator=torch.Generator().manual_seed(0))
    grouping = grouped(adapters)
    with torch.no_grad():
        with llama.adapted(grouping.weights(weights)):
            together = llama.model(input_ids=ids[grouping.order]).logits[grouping.place]
        for row, adapter in enumerate(adapters):
            with llama.adapted(weights[adapter]):
                alone = llama.model(input_ids=ids[row : row + 1]).logits[0]
            torch.testing.assert_close(together[row], alone, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    "adapters", [[0], [3, 3, 3], [5, 1, 5, 1], [0] * 40 + [1, 2, 3], list(range(9)), [1] * 7 + [0] * 5]
)
def test_every_row_is_in_one_group_of_its_adapter(adapters: list[int]) -> None:
    for split in (True, False):
        grouping = grouped(adapters, split=split)
        assert sorted(row for rows in grouping.rows for row in rows) == list(range(len(adapters)))
        assert all(
            adapters[row] == adapter
            for adapter, rows in zip(grouping.adapters, grouping.rows, strict=True)
            for row in rows
        )
        assert len(grouping.order) == len(grouping.adapters) * grouping.width
        assert [grouping.order[place] for place in grouping.place] == list(range(len(adapters)))
        assert split or len(grouping.adapters) == len(set(adapters))


def test_uneven_rows_cost_little_padding() -> None:
    adapters = [0] * 40 + [1, 2, 3]
    assert len(grouped(adapters, split=False).order) == 160
    assert len(grouped(adapters).order) <= 48


def test_wrong_rows_are_named(llama: CausalLm) -> None:
    weights = llama.start(Lora(rank=2), tasks=2)
    with pytest.raises(IndexError, match="no adapter 2: these weights hold 2"):
        predict_rows(llama, weights, EPISODES[:2], [(2, "x")])
    with pytest.raises(ValueError, match="2 adapters need as many episodes; these are 3"):
        predict_rows(llama, weights, EPISODES, [(0, "x")])
    with pytest.raises(ValueError, match="no rows"):
        grouped([])
    assert predict_rows(llama, weights, EPISODES[:2], []) == []
