"""Meta-trained starts of a run: the same recipe with another objective, kept, resumed and checked."""

from importlib.util import find_spec

import lightning
import pytest
import torch
from safetensors.torch import load_file
from test_training import parameters, run, run_overrides

from hyperpeft.config import ConfigError
from hyperpeft.run import OBJECTIVE, STEP_SIZES, Run
from hyperpeft.run_config import STARTS

__all__ = ["run_overrides"]
pytestmark = [
    pytest.mark.skipif(find_spec("learn2learn") is None, reason="learn2learn is not installed"),
    pytest.mark.filterwarnings("ignore"),
]


@pytest.mark.parametrize("name", sorted(STARTS))
def test_a_start_is_trained_kept_and_says_how(run_overrides: list[str], name: str) -> None:
    first = run(run_overrides)
    fresh = first.build_generator(head="none")
    made = first.train(name)
    assert made.hypernetwork.head == "none"
    moved = [not torch.equal(value, fresh.state_dict()[key]) for key, value in made.state_dict().items()]
    assert any(moved)
    recorded = made.about["run"]["objective"]
    assert recorded["kind"] == STARTS[name]
    assert recorded.get("steps") == (None if name == "shared" else 3)
    again = run(run_overrides).train(name)
    assert all(torch.equal(value, made.state_dict()[key]) for key, value in again.state_dict().items())
    assert (first.folder / name / OBJECTIVE).exists() == (name == "meta_sgd")


def test_starts_differ_only_by_what_they_are_trained_for(run_overrides: list[str]) -> None:
    first = run(run_overrides)
    made = [parameters(first.train(name)) for name in ("shared", "maml", "reptile")]
    assert [set(one) for one in made] == [set(made[0])] * 3
    for i, j in ((0, 1), (0, 2), (1, 2)):
        assert any(not torch.equal(made[i][key], made[j][key]) for key in made[i])


def test_step_sizes_are_learned_and_read_again(run_overrides: list[str]) -> None:
    first = run(run_overrides, "starts.meta_sgd.lr=0.05")
    sizes = first.train(STEP_SIZES).shared(2)
    assert (first.folder / "meta_sgd" / OBJECTIVE).stat().st_mode & 0o044
    saved = load_file(first.folder / "meta_sgd" / OBJECTIVE)
    values = torch.cat([value.flatten() for value in saved.values()])
    assert values.numel() == sizes.count
    assert (values != 0.05).any()
    torch.testing.assert_close(values, torch.full_like(values, 0.05), rtol=0, atol=0.05)
    again = run(run_overrides, "starts.meta_sgd.lr=0.05").train(STEP_SIZES).shared(2)
    assert all(torch.equal(one, two) for (_, one), (_, two) in zip(sizes.named(), again.named(), strict=True))


@pytest.mark.parametrize("name", ["maml", "meta_sgd"])
def test_a_resumed_start_equals_an_uninterrupted_one(
    run_overrides: list[str], monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    whole = run(run_overrides, "name=whole", "episodes.shots=[1]")
    part = STEP_SIZES if name == "meta_sgd" else name
    wanted = [whole.train(name), whole.train(part)]
    with monkeypatch.context() as patched:
        callbacks = Run._callbacks
        patched.setattr(Run, "_callbacks", lambda self: [*callbacks(self), _StopOn(2)])
        with pytest.raises(RuntimeError, match="pulled the plug"):
            run(run_overrides, "name=cut", "episodes.shots=[1]").train(name)
    cut = run(run_overrides, "name=cut", "episodes.shots=[1]")
    for one, two in zip(wanted, [cut.train(name), cut.train(part)], strict=True):
        assert all(torch.equal(value, two.state_dict()[key]) for key, value in one.state_dict().items())


class _StopOn(lightning.Callback):
    """Fails on the first step after so many."""

    def __init__(self, steps: int):
        self.steps = steps

    def on_train_batch_start(self, trainer: lightning.Trainer, *_: object) -> None:
        if trainer.global_step == self.steps:
            raise RuntimeError("pulled the plug")


def test_another_inner_loop_is_another_start(run_overrides: list[str]) -> None:
    run(run_overrides).train("maml")
    with pytest.raises(ConfigError, match=r"maml was trained with .*'lr': 0.1.*not .*'lr': 0.3"):
        run(run_overrides, "starts.maml.lr=0.3").train("maml")


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("starts.mamll.lr=1.0", r"starts: there is no 'mamll'. Did you mean 'maml'"),
        ("starts.maml.lrr=1.0", r"no setting 'lrr'. Did you mean 'lr'"),
        ("starts.maml.lr=fast", r"objective: Value 'fast'"),
    ],
)
def test_wrong_settings_of_a_start_are_named(run_overrides: list[str], override: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        run(run_overrides, override).train("maml")
