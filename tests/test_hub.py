"""Generators and adapters on the Hub: what is sent, what is fetched, and what happens without a network."""

import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from huggingface_hub import HfApi
from huggingface_hub.errors import LocalEntryNotFoundError, OfflineModeIsEnabled

import hyperpeft.hub
from hyperpeft import Generator, generate, load_adapter, load_generator
from hyperpeft.config import ConfigError
from hyperpeft.hub import fetched

EXAMPLES = [("grass", "green"), ("blood", "red")]


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder in the place of the Hub: the network calls of huggingface_hub write and read it."""
    root = tmp_path / "hub"

    def upload(self: HfApi, *, repo_id: str, folder_path: Path, **options: Any) -> str:
        shutil.copytree(folder_path, root / repo_id)
        return f"https://huggingface.co/{repo_id}/commit/1"

    def snapshot(repo_id: str, revision: str | None, allow_patterns: list[str]) -> str:
        if not (root / repo_id).exists():
            raise LocalEntryNotFoundError("no such thing")
        return str(root / repo_id)

    monkeypatch.setattr(HfApi, "create_repo", lambda self, repo_id, **options: SimpleNamespace(repo_id=repo_id))
    monkeypatch.setattr(HfApi, "upload_folder", upload)
    monkeypatch.setattr(hyperpeft.hub, "snapshot_download", snapshot)
    monkeypatch.chdir(tmp_path)
    return root


def test_a_generator_comes_back_from_the_hub(hub: Path, generator: Generator) -> None:
    assert generator.push_to_hub("ann/colours") == "https://huggingface.co/ann/colours/commit/1"
    folder = generator.backbone.name
    with pytest.raises(ConfigError, match=Path(folder).name):
        load_generator("ann/colours")
    for backbone in (folder, generator.backbone):
        loaded = Generator.from_pretrained("ann/colours", backbone, text_encoder=folder)
        found, expected = loaded.state_dict(), generator.state_dict()
        assert found.keys() == expected.keys()
        assert all(torch.equal(found[name], expected[name]) for name in expected)
    card = (hub / "ann" / "colours" / "README.md").read_text(encoding="utf-8")
    assert card.startswith("---\nlibrary_name: hyperpeft")
    for file in (hub / "ann" / "colours").iterdir():
        assert str(Path(folder).parent).encode() not in file.read_bytes()


def test_a_generator_of_a_model_on_the_hub_comes_back_by_its_name(
    hub: Path, generator: Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    generator.about["run"] = {"corpus": {"path": "/home/ann/tasks"}, "steps": 3}
    generator.push_to_hub("ann/mine", private=True)
    monkeypatch.chdir(Path(generator.backbone.name).parent)
    loaded = load_generator("ann/mine")
    assert loaded.about["run"] == {"corpus": {"path": "tasks"}, "steps": 3}
    assert loaded.backbone.identity == generator.backbone.identity


def test_an_adapter_comes_back_from_the_hub(hub: Path, generator: Generator) -> None:
    adapter = generate("Which colour?", EXAMPLES, generator=generator)
    adapter.push_to_hub("ann/adapter")
    loaded = load_adapter("ann/adapter", generator.backbone)
    assert loaded.predict_proba(["frog"]) == adapter.predict_proba(["frog"])
    assert loaded.episode == adapter.episode
    for file in (hub / "ann" / "adapter").iterdir():
        assert str(Path(generator.backbone.name).parent).encode() not in file.read_bytes()
        assert file.suffix in {".json", ".md", ".safetensors"}


def test_what_is_neither_a_folder_nor_on_the_hub_is_named(hub: Path) -> None:
    for read in (load_generator, load_adapter, Generator.from_pretrained):
        with pytest.raises(ConfigError, match=r"no folder 'ann/nothing', and the Hub's repository.*without a network"):
            read("ann/nothing")
    assert fetched("a/b/c") == Path("a/b/c")
    assert fetched("plain") == Path("plain")


def test_offline_nothing_is_asked_and_the_error_says_so(generator: Generator) -> None:
    with pytest.raises(ConfigError, match="without a network"):
        load_generator("ann/nothing-in-the-cache")
    with pytest.raises(ConfigError, match="HF_HUB_OFFLINE is set"):
        generator.push_to_hub("ann/colours")


def test_offline_errors_are_the_ones_that_are_handled() -> None:
    with pytest.raises(OfflineModeIsEnabled):
        HfApi().create_repo("ann/colours")
