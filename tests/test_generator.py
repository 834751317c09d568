"""A generator: built from settings, saved to a folder, read again to the last bit."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import awake, color_episode, size_episode
from safetensors import safe_open

from hyperpeft.backbones import CausalLm, Encoder
from hyperpeft.config import ConfigError
from hyperpeft.generator import Generator
from hyperpeft.hypernetwork import HEADS
from hyperpeft.weights import AdapterWeights

EPISODES = [color_episode(), size_episode(), color_episode(descriptions=()), size_episode(support=())]
Settings = dict[str, dict[str, Any]]


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HYPERPEFT_CACHE", str(tmp_path / "cache"))


def assert_equal(one: AdapterWeights, two: AdapterWeights) -> None:
    for (name, leaf), (other, value) in zip(one.named(), two.named(), strict=True):
        assert name == other
        assert torch.equal(leaf, value), name


@pytest.mark.parametrize("head", HEADS)
def test_a_saved_generator_makes_the_same_weights(generator_settings: Settings, tmp_path: Path, head: str) -> None:
    generator_settings["hypernetwork"]["head"] = head
    generator = awake(Generator.build(generator_settings))
    generator.about = {"results": {"accuracy": 0.5}, "tasks": ["a", "b"]}
    folder = generator.save_pretrained(tmp_path / "générateur 1")
    loaded = Generator.from_pretrained(folder)
    assert_equal(loaded.generate(EPISODES), generator.generate(EPISODES))
    assert loaded.about == generator.about
    assert not loaded.training


def test_a_language_model_generator_is_saved_alike(
    generator_settings: Settings, folders: dict[str, Path], tmp_path: Path
) -> None:
    gpt2 = {"kind": "causal_lm", "model": str(folders["gpt2"]), "dtype": "float32", "max_tokens": 64}
    generator_settings["backbone"] = gpt2
    generator = awake(Generator.build(generator_settings))
    loaded = Generator.from_pretrained(generator.save_pretrained(tmp_path / "g"))
    assert loaded.backbone.settings() == generator.backbone.settings()
    assert_equal(loaded.generate(EPISODES), generator.generate(EPISODES))


def test_the_folder_holds_what_was_learned_and_no_more(generator: Generator, tmp_path: Path) -> None:
    folder = generator.save_pretrained(tmp_path / "g")
    assert sorted(path.name for path in folder.iterdir()) == ["README.md", "config.yaml", "model.safetensors"]
    with safe_open(folder / "model.safetensors", framework="pt") as file:
        names = set(file.keys())
    assert names == {name for name, _ in generator.named_parameters()}
    frozen = {id(parameter) for parameter in generator.backbone.model.parameters()}
    frozen |= {id(parameter) for parameter in generator.text_encoder.encoder.model.parameters()}
    assert not frozen & {id(parameter) for parameter in generator.parameters()}
    assert {name.split(".")[0] for name in names} == {"encoder", "hypernetwork"}


def test_saving_again_replaces_the_old(generator: Generator, tmp_path: Path) -> None:
    generator.save_pretrained(tmp_path / "g")
    with torch.no_grad():
        next(iter(generator.hypernetwork.shared.values())).mul_(2)
    generator.save_pretrained(tmp_path / "g")
    assert_equal(Generator.from_pretrained(tmp_path / "g").generate(EPISODES), generator.generate(EPISODES))


def test_a_failed_save_leaves_the_old_generator(
    generator: Generator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = generator.save_pretrained(tmp_path / "g")
    before = {path.name: path.read_bytes() for path in folder.iterdir()}

    def fail(*_: Any, **__: Any) -> None:
        raise OSError("no space left")

    monkeypatch.setattr("hyperpeft.weights.save_file", fail)
    generator.about = {"changed": True}
    with pytest.raises(OSError, match="no space left"):
        generator.save_pretrained(folder)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_the_card_tells_backbone_and_training(generator: Generator, tmp_path: Path) -> None:
    generator.about = {"meta_train_tasks": ["weather"]}
    card = (generator.save_pretrained(tmp_path / "g") / "README.md").read_text(encoding="utf-8")
    assert generator.backbone.identity in card
    assert "weather" in card


@pytest.mark.parametrize("name", ["config.yaml", "model.safetensors"])
def test_a_missing_file_is_named(generator: Generator, tmp_path: Path, name: str) -> None:
    folder = generator.save_pretrained(tmp_path / "g")
    (folder / name).unlink()
    with pytest.raises(ConfigError, match=f"is no generator folder: {name} is missing"):
        Generator.from_pretrained(folder)


@pytest.mark.parametrize("size", [0, 50, 1000, -1])
def test_truncated_weights_are_named(generator: Generator, tmp_path: Path, size: int) -> None:
    file = generator.save_pretrained(tmp_path / "g") / "model.safetensors"
    file.write_bytes(file.read_bytes()[:size])
    with pytest.raises(ConfigError, match=r"model\.safetensors does not fit config\.yaml"):
        Generator.from_pretrained(tmp_path / "g")


def test_weights_of_other_sizes_are_named(generator: Generator, tmp_path: Path) -> None:
    file = generator.save_pretrained(tmp_path / "g") / "config.yaml"
    file.write_text(file.read_text(encoding="utf-8").replace("d_hidden: 8", "d_hidden: 9"), encoding="utf-8")
    with pytest.raises(ConfigError, match=r"(?s)does not fit config\.yaml.*size mismatch"):
        Generator.from_pretrained(tmp_path / "g")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda text: "\n".join(text.splitlines()[:3]), r"config\.yaml lacks the section\(s\)"),
        (
            lambda text: text.replace("backbone_identity:", "identity:"),
            r"lacks the section\(s\) \['backbone_identity'\]",
        ),
        (lambda text: "backbone: [\n" + text, r"config\.yaml cannot be read as YAML"),
        (lambda text: "- a\n- b\n", r"config\.yaml lacks the section\(s\)"),
        (lambda text: "", r"config\.yaml lacks the section\(s\)"),
        (lambda text: text.replace("head: per_rank", "head: perrank"), r"Did you mean 'per_rank'"),
        (lambda text: text.replace("kind: lora", "kind: lorra"), r"adapter\.kind: there is no 'lorra'"),
    ],
)
def test_a_damaged_config_is_named(
    generator: Generator, tmp_path: Path, damage: Callable[[str], str], message: str
) -> None:
    file = generator.save_pretrained(tmp_path / "g") / "config.yaml"
    text = file.read_text(encoding="utf-8")
    assert damage(text) != text
    file.write_text(damage(text), encoding="utf-8")
    with pytest.raises(ConfigError, match=message):
        Generator.from_pretrained(tmp_path / "g")


def test_another_backbone_is_refused(
    generator: Generator, tmp_path: Path, llama: CausalLm, folders: dict[str, Path]
) -> None:
    folder = generator.save_pretrained(tmp_path / "g")
    changed = Encoder(str(folders["bert"]), dtype="float32")
    with torch.no_grad():
        changed.model.get_input_embeddings().weight[0, 0] += 1
    with pytest.raises(ConfigError, match=r"was trained for backbone .*its adapters would mean nothing"):
        Generator.from_pretrained(folder, changed)
    with pytest.raises(ConfigError, match="was trained for backbone"):
        Generator.from_pretrained(folder, llama)


def test_the_backbone_may_be_elsewhere_and_in_another_dtype(
    generator: Generator, tmp_path: Path, folders: dict[str, Path]
) -> None:
    folder = generator.save_pretrained(tmp_path / "g")
    (tmp_path / "moved").symlink_to(folders["bert"])
    moved = Encoder(str(tmp_path / "moved"), dtype="bfloat16")
    loaded = Generator.from_pretrained(folder, moved)
    assert loaded.backbone is moved
    with moved.adapted(loaded.generate(EPISODES[:1])):
        assert len(moved.predict(EPISODES[:1])[0]) == 3


def test_generating_is_the_same_in_train_mode_and_leaves_it(generator_settings: Settings) -> None:
    for section in ("encoder", "hypernetwork"):
        generator_settings[section]["dropout"] = 0.5
    generator = awake(Generator.build(generator_settings))
    generator.train()
    first = generator.generate(EPISODES)
    assert generator.training
    assert_equal(first, generator.generate(EPISODES))
    assert not any(leaf.requires_grad for _, leaf in first.named())
    path, tensors = next(iter(generator(EPISODES).tensors.items()))
    assert tensors["A"].requires_grad
    assert not torch.equal(tensors["A"], first.tensors[path]["A"])


def test_the_query_is_never_seen(generator: Generator) -> None:
    assert_equal(generator.generate([e.with_query(()) for e in EPISODES]), generator.generate(EPISODES))


def test_the_shared_part_is_the_same_for_each_task(generator: Generator) -> None:
    shared = generator.shared(3)
    assert shared.tasks == 3
    assert_equal(shared[0], shared[2])
    assert not any(leaf.requires_grad for _, leaf in shared.named())


@pytest.mark.parametrize(
    ("section", "key", "message"),
    [
        ("adapter", "rnak", "Did you mean 'rank'"),
        ("hypernetwork", "d_hiden", "d_hidden"),
        ("encoder", "d_tsk", "d_task"),
    ],
)
def test_a_mistyped_setting_is_named(generator_settings: Settings, section: str, key: str, message: str) -> None:
    generator_settings[section][key] = 4
    with pytest.raises(ConfigError, match=f"{section}.*{message}"):
        Generator.build(generator_settings)


def test_a_card_names_the_first_of_many_tasks(generator: Generator, tmp_path: Path) -> None:
    generator.about = {"meta_train_tasks": [f"task {number}" for number in range(400)]}
    card = (generator.save_pretrained(tmp_path) / "README.md").read_text(encoding="utf-8")
    assert "task 299\n" in card
    assert "task 300" not in card
    assert "and 100 more, in config.yaml" in card
