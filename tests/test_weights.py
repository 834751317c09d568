"""AdapterWeights: a plain value with a task axis, and its file."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from conftest import noise
from safetensors import safe_open
from safetensors.torch import save_file

from hyperpeft.adapters import Lora
from hyperpeft.backbones import Encoder
from hyperpeft.weights import AdapterWeights, load_weights, save_weights, stack


def equal(one: AdapterWeights, two: AdapterWeights) -> bool:
    names, others = dict(one.named()), dict(two.named())
    return names.keys() == others.keys() and all(torch.equal(names[name], others[name]) for name in names)


@pytest.fixture
def three(encoder: Encoder) -> AdapterWeights:
    """Weights of three tasks."""
    return noise(encoder.start(Lora(rank=2), tasks=3), 0)


def test_an_index_keeps_the_task_axis(three: AdapterWeights) -> None:
    assert len(three) == three.tasks == 3
    for index in range(-3, 3):
        one = three[index]
        assert one.tasks == 1
        assert all(torch.equal(leaf[0], dict(three.named())[name][index]) for name, leaf in one.named())
    assert equal(three[1:], stack([three[1], three[2]]))


@pytest.mark.parametrize("index", [3, -4])
def test_an_index_beyond_the_tasks_says_how_many_there_are(three: AdapterWeights, index: int) -> None:
    with pytest.raises(IndexError, match=f"no task {index}: these weights hold 3 task"):
        three[index]


def test_iteration_gives_each_task_and_ends(three: AdapterWeights) -> None:
    assert [one.tasks for one in three] == [1, 1, 1]
    assert equal(stack(list(three)), three)


def test_arithmetic_is_done_tensor_by_tensor(three: AdapterWeights) -> None:
    for (_, leaf), (_, twice), (_, doubled) in zip(
        three.named(), (three + three).named(), (three * 2.0).named(), strict=True
    ):
        torch.testing.assert_close(twice, 2 * leaf)
        assert torch.equal(twice, doubled)
    for (_, leaf), (_, mean) in zip(three.named(), three.mean().named(), strict=True):
        torch.testing.assert_close(mean[0], (leaf[0] + leaf[1] + leaf[2]) / 3)


def test_repeat_copies_no_memory(three: AdapterWeights) -> None:
    one = three[1]
    many = one.repeat(5)
    assert many.tasks == 5
    assert all(equal(many[task], one) for task in range(5))
    assert [leaf.data_ptr() for _, leaf in many.named()] == [leaf.data_ptr() for _, leaf in one.named()]


def test_count_is_the_number_of_parameters_a_task(encoder: Encoder, three: AdapterWeights) -> None:
    targets = encoder.targets(Lora(rank=2))
    assert three.count == sum(2 * (target.d_in + target.d_out) for target in targets) + len(encoder.readout_defaults())


def test_detach_and_to_leave_the_old_value_as_it_is(three: AdapterWeights) -> None:
    tracked = three.map(lambda leaf: leaf.clone().requires_grad_(True))
    assert not any(leaf.requires_grad for _, leaf in tracked.detach().named())
    assert all(leaf.requires_grad for _, leaf in tracked.named())
    assert {leaf.dtype for _, leaf in three.to(torch.float64).named()} == {torch.float64}
    assert {leaf.dtype for _, leaf in three.named()} == {torch.float32}


@pytest.mark.parametrize("combine", [lambda one, two: one + two, lambda one, two: stack([one, two])])
def test_weights_of_unlike_form_do_not_combine(
    encoder: Encoder, three: AdapterWeights, combine: Callable[[AdapterWeights, AdapterWeights], AdapterWeights]
) -> None:
    path = next(iter(three.tensors))
    fewer = replace(three, tensors={key: value for key, value in three.tensors.items() if key != path})
    for other, message in (
        (encoder.start(Lora(rank=3)), "rank=3"),
        (replace(three, backbone="elsewhere#0"), "elsewhere#0"),
        (fewer, path),
    ):
        with pytest.raises(ValueError, match=message):
            combine(three, other)


def test_nothing_to_stack_is_an_error_that_says_so() -> None:
    with pytest.raises(ValueError, match="at least one"):
        stack([])


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_file_holds_the_same_bits(three: AdapterWeights, dtype: torch.dtype, tmp_path: Path) -> None:
    weights = three.to(dtype)
    save_weights(weights, tmp_path / "new folder" / "gewichte ü.safetensors")
    loaded = load_weights(tmp_path / "new folder" / "gewichte ü.safetensors")
    assert equal(loaded, weights)
    assert (loaded.adapter, loaded.backbone) == (weights.adapter, weights.backbone)


def test_views_are_saved_too(three: AdapterWeights, tmp_path: Path) -> None:
    for number, weights in enumerate((three[0].repeat(4), three[1:], three.mean())):
        save_weights(weights, tmp_path / f"{number}.safetensors")
        assert equal(load_weights(tmp_path / f"{number}.safetensors"), weights)


def test_equal_values_are_equal_files(three: AdapterWeights, tmp_path: Path) -> None:
    """safetensors writes the entries of `__metadata__` in an order of chance; a name with an accent is no trouble."""
    files = [tmp_path / str(n) for n in range(8)]
    for file in files:
        save_weights(replace(three, backbone="caf\u00e9#1"), file)
    assert len({file.read_bytes() for file in files}) == 1
    assert load_weights(files[0]).backbone == "caf\u00e9#1"


def test_the_header_names_kind_settings_and_backbone(three: AdapterWeights, tmp_path: Path) -> None:
    save_weights(three, tmp_path / "a.safetensors")
    with safe_open(tmp_path / "a.safetensors", framework="pt") as file:
        header = file.metadata()
    assert json.loads(header["adapter"]) == three.adapter.settings()
    assert header["backbone"] == three.backbone


def test_a_file_can_be_read_by_whoever_may_read_plain_files(three: AdapterWeights, tmp_path: Path) -> None:
    (tmp_path / "plain").touch()
    save_weights(three, tmp_path / "a.safetensors")
    assert (tmp_path / "a.safetensors").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_a_failed_write_leaves_the_old_file_and_nothing_else(
    three: AdapterWeights, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_weights(three, tmp_path / "a.safetensors")

    def fail(tensors: object, path: Path, metadata: object) -> None:
        path.write_bytes(b"half")
        raise OSError("no space left")

    monkeypatch.setattr("hyperpeft.weights.save_file", fail)
    with pytest.raises(OSError, match="no space left"):
        save_weights(three * 2.0, tmp_path / "a.safetensors")
    assert [path.name for path in tmp_path.iterdir()] == ["a.safetensors"]
    assert equal(load_weights(tmp_path / "a.safetensors"), three)


@pytest.mark.parametrize("size", [0, 4, 100, -1])
def test_a_truncated_file_is_named(three: AdapterWeights, tmp_path: Path, size: int) -> None:
    file = tmp_path / "a.safetensors"
    save_weights(three, file)
    file.write_bytes(file.read_bytes()[:size])
    with pytest.raises(ValueError, match=r"a\.safetensors cannot be read as safetensors"):
        load_weights(file)


def test_a_missing_file_and_a_file_of_another_make_are_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"gone\.safetensors cannot be read"):
        load_weights(tmp_path / "gone.safetensors")
    save_file({"x": torch.zeros(1)}, tmp_path / "other.safetensors")
    with pytest.raises(ValueError, match=r"other\.safetensors was not written by hyperpeft"):
        load_weights(tmp_path / "other.safetensors")


def test_a_file_of_an_unknown_kind_says_which_kinds_there_are(three: AdapterWeights, tmp_path: Path) -> None:
    header = {"adapter": json.dumps({"kind": "lorra", "rank": 2}), "backbone": three.backbone}
    save_file({"x:A": torch.zeros(1)}, tmp_path / "a.safetensors", metadata=header)
    with pytest.raises(ValueError, match=r"a\.safetensors: adapter\.kind: there is no 'lorra'\. Did you mean 'lora'"):
        load_weights(tmp_path / "a.safetensors")
