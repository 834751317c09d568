"""The contract of every head of the hypernetwork, on every sort of backbone."""

from typing import Any

import pytest
import torch
from conftest import color_episode, size_episode, wake

from hyperpeft.adapters import Lora
from hyperpeft.backbones import Backbone
from hyperpeft.config import ConfigError
from hyperpeft.generator import Generator
from hyperpeft.hypernetwork import HEADS, Hypernetwork
from hyperpeft.weights import AdapterWeights

EPISODES = [color_episode(), size_episode()]
GENERATING = [head for head in HEADS if head != "none"]
EMITTING = [head for head in GENERATING if head not in ("mixture", "linear")]
D_TASK = 12


def make(backbone: Backbone[Any], head: str, **settings: Any) -> Hypernetwork:
    adapter = Lora(rank=2)
    torch.manual_seed(0)
    targets, readout = backbone.targets(adapter), backbone.readout_defaults()
    settings = {"d_hidden": 8, **settings}
    return Hypernetwork(adapter, targets, backbone.identity, readout, D_TASK, head=head, **settings)


def embeddings(tasks: int = 2) -> torch.Tensor:
    return torch.randn(tasks, D_TASK, generator=torch.Generator().manual_seed(3))


def generated(hypernetwork: Hypernetwork, z: torch.Tensor) -> AdapterWeights:
    """What depends on the task: the whole less the shared part."""
    with torch.no_grad():
        return hypernetwork(z) + hypernetwork.shared_weights(len(z)) * -1.0


@pytest.mark.parametrize("head", HEADS)
def test_backbone_is_unchanged_at_the_start(backbone: Backbone[Any], head: str) -> None:
    hypernetwork = make(backbone, head)
    batch = backbone.query_batch(EPISODES)
    with torch.no_grad():
        bare, probable = backbone.loss(batch), backbone.probabilities(EPISODES)
        with backbone.adapted(hypernetwork(embeddings())):
            assert torch.equal(backbone.loss(batch), bare)
            assert all(map(torch.equal, backbone.probabilities(EPISODES), probable))
        with backbone.adapted(wake(hypernetwork)(embeddings())):
            assert not torch.allclose(backbone.loss(batch), bare)


@pytest.mark.parametrize("head", HEADS)
def test_weights_have_the_form_of_a_fresh_adapter(backbone: Backbone[Any], head: str) -> None:
    weights, fresh = make(backbone, head)(embeddings(3)), backbone.start(Lora(rank=2), tasks=3)
    assert {name: leaf.shape for name, leaf in weights.named()} == {name: leaf.shape for name, leaf in fresh.named()}
    assert (weights.adapter, weights.backbone, weights.tasks) == (fresh.adapter, fresh.backbone, 3)


@pytest.mark.parametrize("head", HEADS)
def test_gradient_reaches_every_parameter(backbone: Backbone[Any], head: str) -> None:
    hypernetwork = wake(make(backbone, head))
    z = embeddings().requires_grad_(True)
    with backbone.adapted(hypernetwork(z)):
        backbone.loss(backbone.query_batch(EPISODES)).sum().backward()
    for name, parameter in hypernetwork.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().max() > 0, name
    assert (z.grad is None) == (head == "none")


def test_the_first_step_moves_shared_and_generated_part(backbone: Backbone[Any]) -> None:
    """Zero outputs are no dead end: the gradient at the start is not zero for B, shared and generated."""
    hypernetwork = make(backbone, "large")
    with backbone.adapted(hypernetwork(embeddings())):
        backbone.loss(backbone.query_batch(EPISODES)).sum().backward()
    for parameters in (hypernetwork.shared, hypernetwork.heads):
        for key in (key for key in parameters if key.startswith("B_")):
            assert parameters[key].grad.abs().max() > 0, key


@pytest.mark.parametrize("head", GENERATING)
def test_each_tensor_of_each_task_target_and_rank_is_its_own(backbone: Backbone[Any], head: str) -> None:
    hypernetwork = wake(make(backbone, head))
    part = generated(hypernetwork, embeddings())
    vectors: dict[int, list[torch.Tensor]] = {}
    for _, leaf in part.named():
        if leaf.ndim == 3:
            vectors.setdefault(leaf.shape[-1], []).extend(leaf.flatten(0, 1))
    for same_size in vectors.values():
        distances = torch.cdist(torch.stack(same_size), torch.stack(same_size))
        distances.fill_diagonal_(1.0)
        assert distances.min() > 1e-4


@pytest.mark.parametrize("head", EMITTING)
@pytest.mark.parametrize("part", ["of_target", "of_tensor", "of_rank"])
def test_an_embedding_speaks_for_its_target_tensor_or_rank_alone(backbone: Backbone[Any], head: str, part: str) -> None:
    hypernetwork = wake(make(backbone, head))
    before = hypernetwork(embeddings())
    with torch.no_grad():
        getattr(hypernetwork, part).weight[0].add_(1)
    after = hypernetwork(embeddings())
    for index, (path, named) in enumerate(before.tensors.items()):
        for name, tensor in named.items():
            for rank in range(2):
                meant = {"of_target": index == 0, "of_tensor": name == "A", "of_rank": head != "per_rank" or rank == 0}
                moved = not torch.equal(after.tensors[path][name][:, rank], tensor[:, rank])
                assert moved == meant[part], (path, name, rank)


@pytest.mark.parametrize("head", HEADS)
def test_a_task_does_not_depend_on_its_company(backbone: Backbone[Any], head: str) -> None:
    hypernetwork = wake(make(backbone, head))
    together = hypernetwork(embeddings(3))
    for task in range(3):
        alone = hypernetwork(embeddings(3)[task : task + 1])
        for (name, leaf), (_, other) in zip(together[task].named(), alone.named(), strict=True):
            torch.testing.assert_close(leaf, other, msg=name)


def test_head_none_gives_every_task_the_shared_adapter(backbone: Backbone[Any]) -> None:
    hypernetwork = wake(make(backbone, "none"))
    weights, shared = hypernetwork(embeddings()), hypernetwork.shared_weights(2)
    for (name, leaf), (_, other) in zip(weights.named(), shared.named(), strict=True):
        assert torch.equal(leaf, other), name
        assert torch.equal(leaf[0], leaf[1]), name


@pytest.mark.parametrize("head", EMITTING)
@pytest.mark.parametrize("d_hidden", [16, 256])
def test_adam_moves_the_output_by_about_its_learning_rate_at_any_width(
    backbone: Backbone[Any], head: str, d_hidden: int
) -> None:
    hypernetwork, lr = make(backbone, head, d_hidden=d_hidden), 1e-3
    optimizer = torch.optim.Adam(hypernetwork.heads.parameters(), lr=lr)
    z = embeddings(1)
    sum(leaf.sum() for _, leaf in hypernetwork(z).named()).backward()
    optimizer.step()
    moved = torch.cat([leaf.flatten() for name, leaf in generated(hypernetwork, z).named() if name.endswith(":B")])
    assert 0.3 * lr < moved.abs().mean() < 1.5 * lr


def test_a_mixture_is_the_shared_adapter_and_the_sum_of_its_components(backbone: Backbone[Any]) -> None:
    hypernetwork = wake(make(backbone, "mixture", components=3))
    numbers, part = hypernetwork.mixture(embeddings()), generated(hypernetwork, embeddings())
    assert numbers.shape == (2, 3)
    one_up = make(backbone, "mixture", components=3)
    one_up.load_state_dict(hypernetwork.state_dict())
    with torch.no_grad():
        for parameter in one_up.components.values():
            parameter[:, 1] = 0
    without = generated(one_up, embeddings())
    for (_, leaf), (_, other) in zip(part.named(), without.named(), strict=True):
        if leaf.ndim == 3:
            ratio = (leaf - other)[1] / (leaf - other)[0]
            torch.testing.assert_close(ratio, (numbers[1, 1] / numbers[0, 1]).expand_as(ratio), rtol=0.02, atol=0.02)


def test_dropout_draws_one_mixture_for_all_tensors_of_a_task(backbone: Backbone[Any]) -> None:
    hypernetwork = wake(make(backbone, "mixture", components=1, dropout=0.5)).train()
    part = generated(hypernetwork, embeddings())
    ratios = [leaf[1].flatten()[0] / leaf[0].flatten()[0] for _, leaf in part.named() if leaf.ndim == 3]
    torch.testing.assert_close(torch.stack(ratios), ratios[0].expand(len(ratios)), rtol=1e-2, atol=1e-2)


def test_a_mixture_of_no_components_is_refused(backbone: Backbone[Any]) -> None:
    with pytest.raises(ConfigError, match="components is 0"):
        make(backbone, "mixture", components=0)


@pytest.mark.parametrize("settings", [{"head": "shared", "d_hidden": 6}, {"head": "mixture", "components": 3}])
def test_settings_rebuild_an_equal_hypernetwork(backbone: Backbone[Any], settings: dict[str, Any]) -> None:
    first = make(backbone, **settings, dropout=0.1, seed=5)
    settings = first.settings()
    again = make(backbone, settings.pop("head"), **settings)
    assert again.settings() == first.settings()
    assert all(torch.equal(again.state_dict()[name], value) for name, value in first.state_dict().items())


def test_unknown_head_says_what_there_is(backbone: Backbone[Any]) -> None:
    with pytest.raises(ConfigError, match=r"there is no 'per-rank'\. Did you mean 'per_rank'\? There is: 'large'"):
        make(backbone, "per-rank")


@pytest.mark.parametrize("head", HEADS)
def test_same_seed_same_weights_whatever_was_drawn_before(
    generator_settings: dict[str, dict[str, Any]], head: str
) -> None:
    def build(seed: int) -> dict[str, torch.Tensor]:
        hypernetwork = {**generator_settings["hypernetwork"], "head": head, "seed": seed}
        return Generator.build({**generator_settings, "hypernetwork": hypernetwork}).state_dict()

    first = build(1)
    torch.rand(7)
    second, other = build(1), build(2)
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert any(not torch.equal(first[name], other[name]) for name in first if "shared.A" in name)


def test_building_leaves_the_callers_random_numbers_alone(generator_settings: dict[str, dict[str, Any]]) -> None:
    torch.manual_seed(11)
    expected = torch.rand(3)
    torch.manual_seed(11)
    Generator.build(generator_settings)
    assert torch.equal(torch.rand(3), expected)
