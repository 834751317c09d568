"""The contract of every task encoder, over the table, and the frozen text encoder below them."""

import sqlite3
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import color_episode, size_episode

from hyperpeft.config import ConfigError, build
from hyperpeft.cost import flops
from hyperpeft.encoders import ENCODERS, TaskEncoder, TextEncoder
from hyperpeft.tasks import Episode, Example

FULL = [color_episode(), size_episode()]
PARTIAL = [
    color_episode(descriptions=()),
    color_episode(support=()),
    color_episode(labels=(), metric="exact_match"),
    color_episode(descriptions=(), support=()),
    color_episode(descriptions=(), support=(), labels=()),
]


@pytest.fixture(params=sorted(ENCODERS))
def task_encoder(request: pytest.FixtureRequest, text_encoder: TextEncoder) -> TaskEncoder:
    torch.manual_seed(0)
    made: TaskEncoder = build(ENCODERS, {"kind": request.param}, name="encoder", text_encoder=text_encoder)
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.add_(0.05 * torch.randn(parameter.shape))
    return made.eval()


def test_one_finite_embedding_a_task(task_encoder: TaskEncoder) -> None:
    for episodes in (FULL, PARTIAL, FULL[:1]):
        z = task_encoder(episodes)
        assert z.shape == (len(episodes), task_encoder.d_task)
        assert z.isfinite().all()


def test_tasks_are_told_apart_and_do_not_depend_on_company(task_encoder: TaskEncoder) -> None:
    together = task_encoder(FULL)
    assert not torch.allclose(together[0], together[1])
    for task in range(2):
        torch.testing.assert_close(task_encoder(FULL[task : task + 1])[0], together[task])


@pytest.mark.parametrize("part", ["support", "descriptions"])
def test_order_does_not_matter(task_encoder: TaskEncoder, part: str) -> None:
    turned = [replace(episode, **{part: getattr(episode, part)[::-1]}) for episode in FULL]
    assert torch.equal(task_encoder(turned), task_encoder(FULL))


def test_the_query_is_not_seen(task_encoder: TaskEncoder) -> None:
    for query in ((), (Example("something else", "red"),)):
        assert torch.equal(task_encoder([episode.with_query(query) for episode in FULL]), task_encoder(FULL))


@torch.no_grad()
def test_its_operations_can_be_counted(task_encoder: TaskEncoder) -> None:
    assert flops(lambda: task_encoder(FULL)) > 0


def test_deterministic(task_encoder: TaskEncoder) -> None:
    assert torch.equal(task_encoder(FULL), task_encoder(FULL))


def test_what_is_missing_makes_a_difference(task_encoder: TaskEncoder) -> None:
    bare = task_encoder([PARTIAL[-1]])
    assert not torch.allclose(task_encoder(FULL[:1]), bare)


def test_gradient_reaches_every_parameter(task_encoder: TaskEncoder) -> None:
    z = task_encoder([*FULL, *PARTIAL])
    (z * torch.randn(z.shape, generator=torch.Generator().manual_seed(0))).sum().backward()
    for name, parameter in task_encoder.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().max() > 0, name


def test_settings_rebuild_an_equal_encoder(task_encoder: TaskEncoder, text_encoder: TextEncoder) -> None:
    again = build(ENCODERS, task_encoder.settings(), name="encoder", text_encoder=text_encoder).eval()
    again.load_state_dict(task_encoder.state_dict())
    assert again.settings() == task_encoder.settings()
    assert torch.equal(again(FULL), task_encoder(FULL))


def test_the_frozen_text_encoder_is_in_no_state(task_encoder: TaskEncoder, text_encoder: TextEncoder) -> None:
    frozen = {parameter.data_ptr() for parameter in text_encoder.encoder.model.parameters()}
    assert not frozen & {parameter.data_ptr() for parameter in task_encoder.parameters()}
    assert not any("text_encoder" in name for name in task_encoder.state_dict())


@pytest.mark.parametrize(
    ("kind", "changed", "seen"),
    [
        ("description", color_episode(support=()), False),
        ("description", color_episode(descriptions=("Something else.",)), True),
        ("description", color_episode(descriptions=(*color_episode().descriptions, "Zebras are seen too.")), True),
        ("reading", color_episode(support=()), False),
        ("reading", color_episode(descriptions=("Something else.",)), True),
        ("reading", color_episode(descriptions=(*color_episode().descriptions, "Zebras are seen too.")), True),
        ("support", color_episode(descriptions=()), False),
        ("support", color_episode(labels=("red", "green")), False),
        ("support", color_episode(support=color_episode().support[:3]), True),
        ("support", color_episode(labels=("green", "red", "blue")), True),
        ("joint", color_episode(descriptions=("Something else.",)), True),
        ("joint", color_episode(support=color_episode().support[:3]), True),
    ],
)
def test_each_encoder_sees_its_part(text_encoder: TextEncoder, kind: str, changed: Episode, seen: bool) -> None:
    encoder = build(ENCODERS, {"kind": kind}, name="encoder", text_encoder=text_encoder).eval()
    assert torch.equal(encoder([changed]), encoder([color_episode()])) is not seen


def test_which_output_belongs_to_which_input_is_seen(text_encoder: TextEncoder) -> None:
    episode = color_episode()
    outputs = [example.output for example in episode.support][::-1]
    crossed = [Example(e.input, output) for e, output in zip(episode.support, outputs, strict=True)]
    encoder = build(ENCODERS, {"kind": "support"}, name="encoder", text_encoder=text_encoder).eval()
    assert not torch.allclose(encoder([episode]), encoder([color_episode(support=tuple(crossed))]))


def texts() -> list[str]:
    text = "say which colour the thing has and tell the size of the animal then route it"
    return [text[start : start + length] for length in (1, 5, 17, 40, 62) for start in (0, 4, 10, 15)]


def fresh(folders: dict[str, Path], cache: Path | str = "", dtype: str = "float32") -> TextEncoder:
    return TextEncoder(str(folders["bert"]), max_tokens=64, cache=str(cache), dtype=dtype)


def test_an_embedding_does_not_depend_on_company_to_the_last_bit(folders: dict[str, Path]) -> None:
    encoder = fresh(folders)
    together = encoder([*texts(), *(f"company {number}" for number in range(30))])
    for text, value in zip(texts(), together, strict=False):
        assert torch.equal(fresh(folders)([text])[0], value), text
    assert torch.equal(fresh(folders)(texts()[::-1]).flip(0), together[: len(texts())])


def test_an_embedding_is_the_normalised_mean_of_the_hidden_states(folders: dict[str, Path]) -> None:
    encoder = fresh(folders)
    ids = torch.tensor(encoder.encoder.tokens(["which colour"]))
    with torch.no_grad():
        mean = encoder.encoder.model(input_ids=ids).last_hidden_state[0].mean(0)
    made = encoder(["which colour", "a", "which colour"])
    torch.testing.assert_close(made[0], mean / mean.norm(), rtol=1e-4, atol=1e-5)
    assert torch.equal(made[0], made[2])
    assert made.shape == (3, encoder.d_text)


def test_means_are_those_of_each_group(folders: dict[str, Path]) -> None:
    encoder = fresh(folders)
    means = encoder.means([["a", "which colour"], [], ["a"]])
    torch.testing.assert_close(means[0], encoder(["a", "which colour"]).mean(0))
    assert torch.equal(means[1], torch.zeros(encoder.d_text))
    assert torch.equal(means[2], encoder(["a"])[0])


def test_no_text_and_the_empty_text_are_legal(folders: dict[str, Path]) -> None:
    encoder = fresh(folders)
    assert encoder([]).shape == (0, encoder.d_text)
    assert encoder([""]).isfinite().all()


@pytest.mark.parametrize("depth", [0, 3])
def test_token_states_are_those_of_a_layer(folders: dict[str, Path], depth: int) -> None:
    encoder = fresh(folders)
    ids = torch.tensor(encoder.encoder.tokens(["which colour"]))
    with torch.no_grad():
        expected = encoder.encoder.model(input_ids=ids, output_hidden_states=True).hidden_states[depth][0]
    short, long, again = encoder.states(["", "which colour", "which colour"], depth)
    torch.testing.assert_close(long, expected, rtol=1e-2, atol=1e-2)
    assert torch.equal(long, again)
    assert short.shape == (1, encoder.d_text)


def test_token_states_are_kept_unless_told(folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    encoder = fresh(folders)
    kept = encoder.states(["which colour"], 2)[0]
    with encoder.together(keep=False):
        encoder.states(["a new text"], 2)
    monkeypatch.setattr(encoder.encoder, "model", None)
    assert torch.equal(encoder.states(["which colour"], 2)[0], kept)
    for text, depth in (("a new text", 2), ("which colour", 1)):
        with pytest.raises(TypeError):
            encoder.states([text], depth)


def test_a_layer_that_is_not_there_is_named(folders: dict[str, Path]) -> None:
    with pytest.raises(ConfigError, match="has 3 layers: there is no depth 4"):
        fresh(folders).states(["a"], 4)


def test_the_disk_cache_gives_the_same_bits_without_the_model(
    folders: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cold = fresh(folders, tmp_path / "cache")(texts())
    assert torch.equal(cold, fresh(folders)(texts()))
    warm = fresh(folders, tmp_path / "cache")

    def fail(*_: Any) -> None:
        raise AssertionError("computed again")

    monkeypatch.setattr(warm.encoder, "features", fail)
    assert torch.equal(warm(texts()), cold)
    with pytest.raises(AssertionError, match="computed again"):
        warm(["a new text"])


def test_together_is_as_one_by_one_and_kept_in_memory_alone(
    folders: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = fresh(folders)(texts())
    encoder = fresh(folders, tmp_path / "cache")
    with encoder.together(keep=False):
        torch.testing.assert_close(encoder(texts()), expected, rtol=1e-4, atol=1e-5)
        with encoder.together():  # inside it nothing is kept either
            encoder(texts())
    calls = []
    features = encoder.encoder.features
    monkeypatch.setattr(encoder.encoder, "features", lambda *given: calls.append(given) or features(*given))
    with encoder.together():
        first = encoder(texts())
        assert 0 < len(calls) < len(texts())
        calls.clear()
        assert torch.equal(encoder(texts()), first)
    assert not calls
    assert torch.equal(encoder(texts()), expected)  # by itself again, whatever was computed together
    assert torch.equal(fresh(folders, tmp_path / "cache")(texts()), expected)
    with encoder.together():  # what is known is not computed again
        assert torch.equal(encoder(texts()), expected)


def test_another_model_or_length_has_another_cache(folders: dict[str, Path], tmp_path: Path) -> None:
    fresh(folders, tmp_path)(["a text"])
    TextEncoder(str(folders["bert"]), max_tokens=32, cache=str(tmp_path), dtype="float32")(["a text"])
    assert len(list(tmp_path.glob("*.sqlite"))) == 2


def test_in_bf16_it_is_nearly_the_same_and_kept_apart(folders: dict[str, Path], tmp_path: Path) -> None:
    exact = fresh(folders, tmp_path)(texts())
    for _ in range(2):  # computed, then read
        rounded = fresh(folders, tmp_path, "bfloat16")(texts())
        assert rounded.dtype == torch.float32
        assert 0 < (rounded - exact).norm(dim=1).max() < 0.05
        assert torch.allclose(rounded.norm(dim=1), torch.ones(len(rounded)))
    assert torch.equal(fresh(folders, tmp_path)(texts()), exact)
    assert len(list(tmp_path.glob("*.sqlite"))) == 2


def test_beside_a_gpu_it_computes_in_what_its_cpu_does_fast(
    folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: True)
    for fast, dtype in ((False, torch.float32), (True, torch.bfloat16)):
        monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda fast=fast: fast)
        monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)
        assert fresh(folders, dtype="auto").encoder.model.dtype == dtype


def test_without_a_cache_nothing_is_written(
    folders: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HYPERPEFT_CACHE", str(tmp_path / "elsewhere"))
    fresh(folders)(["a text"])
    assert not list(tmp_path.iterdir())
    TextEncoder(str(folders["bert"]), max_tokens=64)(["a text"])
    assert list((tmp_path / "elsewhere").glob("*.sqlite"))


def test_a_cache_that_cannot_be_used_says_what_to_do(folders: dict[str, Path], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(ConfigError, match=r"embedding cache .*file.* cannot be used.*HYPERPEFT_CACHE"):
        fresh(folders, tmp_path / "file")
    fresh(folders, tmp_path / "cache")
    database = next((tmp_path / "cache").glob("*.sqlite"))
    database.write_bytes(b"no database, but long enough to be taken for one" * 30)
    with pytest.raises(ConfigError, match=r"\.sqlite cannot be used.*remove"):
        fresh(folders, tmp_path / "cache")


def test_the_cache_is_closed_after_use(
    folders: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[sqlite3.Connection] = []
    connect = sqlite3.connect
    monkeypatch.setattr(sqlite3, "connect", lambda *a, **k: opened.append(connect(*a, **k)) or opened[-1])
    fresh(folders, tmp_path)(["a text"])
    assert opened
    for connection in opened:
        with pytest.raises(sqlite3.ProgrammingError, match="closed"):
            connection.execute("select 1")
