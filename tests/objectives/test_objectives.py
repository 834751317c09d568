"""Objectives with an inner loop: learn2learn's numbers against closed forms and against the plain inner loop."""

from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
import torch
from conftest import awake, color_episode, size_episode
from torch import Tensor

from hyperpeft.adaptation import inner_loop
from hyperpeft.backbones import Backbone, Scores
from hyperpeft.config import ConfigError, build
from hyperpeft.generator import Generator
from hyperpeft.hypernetwork import Hypernetwork
from hyperpeft.objectives import (
    OBJECTIVES,
    Maml,
    MetaSgd,
    Objective,
    Reconstruction,
    Reptile,
    Sft,
    ThroughFinetune,
    save_adapters,
)
from hyperpeft.tasks import Episode, TaskError

pytestmark = pytest.mark.skipif(find_spec("learn2learn") is None, reason="learn2learn is not installed")

EPISODES = [color_episode(), size_episode()]
BARE = [color_episode(support=()), size_episode(support=())]
LR = 0.05


@pytest.fixture(params=["encoder", "causal_lm"])
def start(request: pytest.FixtureRequest, generator_settings: dict[str, dict[str, Any]], folders: Any) -> Generator:
    """A generator of one start for all tasks, of which no number is zero."""
    generator_settings["hypernetwork"]["head"] = "none"
    if request.param == "causal_lm":
        generator_settings["backbone"] = {"kind": "causal_lm", "model": str(folders["llama"]), "dtype": "float32"}
    return awake(Generator.build(generator_settings))


def make(kind: str, generator: Generator) -> Objective:
    if kind == "sft":
        return Sft()
    if kind == "reconstruction":
        return reconstruction(generator, steps=0)
    return MetaSgd(generator, lr=LR) if kind == "meta_sgd" else OBJECTIVES[kind](lr=LR)  # type: ignore[call-arg]


def reconstruction(generator: Generator, **settings: Any) -> Reconstruction:
    """Towards two adapters of which no number is that of the generator's start."""
    known = generator.shared(2).map(lambda leaf: leaf + torch.arange(1, 3).reshape(2, *[1] * (leaf.ndim - 1)))
    with TemporaryDirectory() as folder:
        save_adapters([episode.task for episode in EPISODES], known, Path(folder))
        return Reconstruction(generator, folder, **settings)


def gradients(objective: Objective, generator: Generator, episodes: list[Episode]) -> dict[str, Tensor]:
    """Of the mean loss, as meta-training takes it, by the name of the generator's parameter."""
    generator.zero_grad()
    objective(generator, episodes).loss.mean().backward()
    return {name: value.grad.clone() for name, value in generator.named_parameters() if value.grad is not None}


def assert_all_close(one: dict[str, Tensor], two: dict[str, Tensor]) -> None:
    assert one.keys() == two.keys()
    assert one
    for name, value in one.items():
        torch.testing.assert_close(
            value, two[name], rtol=1e-3, atol=1e-6, msg=lambda text, name=name: f"{name}: {text}"
        )


class Plain(Sft):
    """The query loss after the differentiable inner loop of hyperpeft.adaptation, which has tests of its own."""

    def __init__(self, steps: int, *, second_order: bool):
        super().__init__()
        self.steps, self.second_order = steps, second_order

    def weights(self, generator: Generator, episodes: Any) -> Any:
        sizes = [LR] * self.steps
        return inner_loop(generator.backbone, generator(episodes), episodes, sizes, second_order=self.second_order)


@pytest.mark.parametrize("first_order", [True, False])
def test_maml_is_the_query_loss_after_steps_on_the_support(start: Generator, first_order: bool) -> None:
    one, two = Maml(steps=2, lr=LR, first_order=first_order), Plain(2, second_order=not first_order)
    torch.testing.assert_close(one(start, EPISODES).loss, two(start, EPISODES).loss)
    assert_all_close(gradients(one, start, EPISODES), gradients(two, start, EPISODES))


@pytest.mark.parametrize("first_order", [True, False])
def test_checkpointed_layers_change_no_gradient(
    start: Generator, monkeypatch: pytest.MonkeyPatch, first_order: bool
) -> None:
    objective = Maml(steps=2, lr=LR, first_order=first_order)
    plain = gradients(objective, start, EPISODES)
    monkeypatch.setattr(start.backbone, "gradient_checkpointing", True)
    start.train()
    assert_all_close(gradients(objective, start, EPISODES), plain)


@pytest.mark.parametrize("first_order", [True, False])
def test_through_finetune_is_the_mean_along_the_way(start: Generator, first_order: bool) -> None:
    one = ThroughFinetune([0, 1, 3], lr=LR, first_order=first_order)
    parts = [Plain(steps, second_order=not first_order) for steps in (0, 1, 3)]
    torch.testing.assert_close(one(start, EPISODES).loss, sum(part(start, EPISODES).loss for part in parts) / 3)
    each = [gradients(part, start, EPISODES) for part in parts]
    assert_all_close(gradients(one, start, EPISODES), {name: sum(g[name] for g in each) / 3 for name in each[0]})


def test_through_finetune_from_settings() -> None:
    made = build(OBJECTIVES, {"kind": "through_finetune", "after": [0, 2], "lr": 0.3}, name="objective")
    assert isinstance(made, ThroughFinetune)
    assert made.after == (0, 2)
    assert made.settings.lr == 0.3


@pytest.mark.parametrize("after", [[], [3, 0], [-1], [1, 1]])
def test_through_finetune_goes_forward(after: list[int]) -> None:
    with pytest.raises(ValueError, match="each larger than the one before"):
        ThroughFinetune(after)


def test_orders_differ_in_the_gradient_alone(start: Generator) -> None:
    first, second = Maml(lr=1.0), Maml(lr=1.0, first_order=False)
    torch.testing.assert_close(first(start, EPISODES).loss, second(start, EPISODES).loss)
    one, two = gradients(first, start, EPISODES), gradients(second, start, EPISODES)
    assert any(not torch.allclose(one[name], two[name], rtol=1e-2, atol=1e-5) for name in one)


def test_meta_sgd_with_equal_step_sizes_is_maml(start: Generator) -> None:
    for first_order in (True, False):
        one, two = Maml(2, LR, first_order), MetaSgd(start, 2, LR, first_order)
        torch.testing.assert_close(one(start, EPISODES).loss, two(start, EPISODES).loss)
        assert_all_close(gradients(one, start, EPISODES), gradients(two, start, EPISODES))


def loss_gradient(backbone: Backbone[Any], weights: Any, batch: Any) -> list[Tensor]:
    leaves = weights.map(lambda leaf: leaf.detach().clone().requires_grad_(True))
    with backbone.adapted(leaves):
        return list(torch.autograd.grad(backbone.loss(batch).sum(), [leaf for _, leaf in leaves.named()]))


def test_a_step_size_is_pulled_by_how_far_support_and_query_agree(start: Generator) -> None:
    """d loss / d step size = - (support gradient at the start) * (query gradient after it), summed over tasks."""
    backbone, objective = start.backbone, MetaSgd(start, steps=1, lr=LR)
    before = start.shared(2)
    support = loss_gradient(backbone, before, backbone.support_batch(EPISODES))
    moved = iter(support)
    query = loss_gradient(backbone, before.map(lambda leaf: leaf - LR * next(moved)), backbone.query_batch(EPISODES))
    objective(start, EPISODES).loss.sum().backward()
    sizes = objective.step_sizes.shared_weights(1)
    got = torch.autograd.grad(
        objective(start, EPISODES).loss.sum(), list(objective.step_sizes.parameters()), allow_unused=False
    )
    expected = torch.autograd.grad(
        [leaf for _, leaf in sizes.named()],
        list(objective.step_sizes.parameters()),
        [-(s * q).sum(0, keepdim=True) for s, q in zip(support, query, strict=True)],
    )
    for one, two in zip(got, expected, strict=True):
        torch.testing.assert_close(one, two, rtol=1e-3, atol=1e-6)


def test_step_sizes_are_apart_from_the_start_and_reach_every_number(start: Generator) -> None:
    objective = MetaSgd(start, lr=LR)
    assert isinstance(objective.step_sizes, Hypernetwork)
    assert all((value == LR).all() for value in objective.parameters())
    assert not {id(value) for value in objective.parameters()} & {id(value) for value in start.parameters()}
    for episodes in (EPISODES, BARE):
        objective.zero_grad()
        objective(start, episodes).loss.mean().backward()
        assert all(value.grad is not None for value in objective.parameters())
        assert any(value.grad.any() for value in objective.parameters()) == (episodes is EPISODES)


def test_meta_sgd_learns_one_start(generator: Generator) -> None:
    with pytest.raises(ConfigError, match=r"head is 'per_rank'.*head=none"):
        MetaSgd(generator)


def test_reptile_moves_by_the_sum_of_the_gradients_on_its_way(start: Generator) -> None:
    backbone, weights, total = start.backbone, start.shared(2), None
    batches = [backbone.support_batch(EPISODES)] * 2 + [backbone.query_batch(EPISODES)]
    for batch in batches:
        gradient = loss_gradient(backbone, weights, batch)
        total = gradient if total is None else [a + b for a, b in zip(total, gradient, strict=True)]
        moved = iter(gradient)
        weights = weights.map(lambda leaf, moved=moved: leaf - LR * next(moved))
    assert total is not None
    parameters = [value for value in start.parameters() if value.requires_grad]
    made = [leaf for _, leaf in start(EPISODES).named()]
    pulled = torch.autograd.grad(made, parameters, [leaf / 2 for leaf in total])
    loss = Reptile(steps=2, lr=LR)(start, EPISODES).loss.mean()
    for one, two in zip(torch.autograd.grad(loss, parameters), pulled, strict=True):
        torch.testing.assert_close(one, two, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("kind", sorted(OBJECTIVES))
def test_without_support_every_objective_is_supervised(start: Generator, kind: str) -> None:
    objective = make(kind, start)
    assert_scores_close(objective(start, BARE), Sft()(start, BARE))
    assert_all_close(gradients(objective, start, BARE), gradients(Sft(), start, BARE))


def assert_scores_close(one: Scores, two: Scores) -> None:
    torch.testing.assert_close(one.loss, two.loss, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(one.accuracy.float(), two.accuracy.float())


@pytest.mark.parametrize("kind", sorted(OBJECTIVES))
def test_tasks_do_not_mix_and_may_lack_support(start: Generator, kind: str) -> None:
    objective = make(kind, start)
    mixed = [color_episode(), size_episode(support=()), size_episode()]
    together = objective(start, mixed).loss
    alone = torch.cat([objective(start, [episode]).loss for episode in mixed])
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", sorted(OBJECTIVES))
def test_validation_scores_what_is_trained_for(start: Generator, kind: str) -> None:
    objective, reference = make(kind, start), Plain(0 if kind in ("sft", "reconstruction") else 3, second_order=False)
    with torch.inference_mode():  # as Lightning validates
        found = objective.validate(start.eval(), EPISODES)
    assert not found.loss.requires_grad
    expected = reference(start, EPISODES)
    if kind == "through_finetune":
        bare = Sft()(start, EPISODES)
        expected = Scores((bare.loss + expected.loss) / 2, (bare.accuracy.float() + expected.accuracy.float()) / 2)
    assert_scores_close(found, expected)


@pytest.mark.parametrize("kind", sorted(OBJECTIVES))
def test_the_backbone_is_left_as_it_was(start: Generator, kind: str) -> None:
    model = start.backbone.model
    before = {name: value.clone() for name, value in model.state_dict().items()}
    gradients(make(kind, start), start, EPISODES)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(value.grad is None for value in model.parameters())
    assert not [module for module in model.modules() if type(module).__name__.startswith("Adapted")]


@pytest.mark.parametrize("kind", ["maml", "meta_sgd", "reptile"])
def test_inner_steps_are_at_least_one(start: Generator, kind: str) -> None:
    given = {"generator": start} if kind == "meta_sgd" else {}
    with pytest.raises(ValueError, match="steps=0"):
        OBJECTIVES[kind](**given, steps=0)


def test_reconstruction_is_the_missed_variance_and_the_contrast(start: Generator) -> None:
    scores = reconstruction(start, steps=1, sharpness=0.1)(start, EPISODES)
    # known are start + 1 and start + 2: variance 1/4 a number, squared distances 1 and 4; the first is the nearest
    contrast = -torch.tensor([-0.4, -1.6]).log_softmax(0)
    torch.testing.assert_close(scores.loss, torch.tensor([4.0, 16.0]) + contrast, rtol=1e-3, atol=1e-3)
    assert scores.accuracy.tolist() == [True, False]


def test_after_its_steps_reconstruction_asks_the_query(start: Generator) -> None:
    objective = reconstruction(start, steps=2)
    first, second, third = (objective(start, EPISODES) for _ in range(3))
    torch.testing.assert_close(first.loss, second.loss)
    assert_scores_close(third, Sft()(start, EPISODES))
    resumed = reconstruction(start, steps=2)
    resumed.load_state_dict(objective.state_dict())
    assert_scores_close(resumed(start, EPISODES), third)
    assert_scores_close(objective.validate(start, EPISODES), third)


def test_reconstruction_says_what_does_not_fit(start: Generator, tmp_path: Path) -> None:
    with pytest.raises(TaskError, match="no known adapter for the task"):
        reconstruction(start)(start, [color_episode(task="unheard_of")])
    with pytest.raises(ConfigError, match=r"has no adapters\.safetensors and no tasks\.json"):
        Reconstruction(start, str(tmp_path))
    save_adapters(["a", "b"], start.shared(2), tmp_path)
    with pytest.raises(ConfigError, match="all the same"):
        Reconstruction(start, str(tmp_path))
    save_adapters(["a", "b"], replace(start.shared(2), backbone="other#0123456789"), tmp_path)
    with pytest.raises(ConfigError, match="for other#0123456789; the generator makes"):
        Reconstruction(start, str(tmp_path))
