"""Adapters as folders: saved and loaded, exported one by one and together."""

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from api_checks import DESCRIPTION, EXAMPLES, INPUTS, LABELS, TASKS, equal, make
from peft import PeftModel
from transformers import AutoModel

from hyperpeft import Generator, export_many, generate, generate_many, load_adapter
from hyperpeft.config import ConfigError
from hyperpeft.exports import written_at_once
from hyperpeft.loading import load_backbone
from hyperpeft.weights import load_weights

pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")


@pytest.fixture(autouse=True)
def _cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HYPERPEFT_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))


@pytest.fixture(scope="module")
def classifier(folders: dict[str, Path]) -> Generator:
    return make(folders, "encoder", "bert")


@pytest.fixture(scope="module")
def writer(folders: dict[str, Path]) -> Generator:
    return make(folders, "causal_lm", "llama")


@pytest.fixture(params=["classifier", "writer"])
def generator(request: pytest.FixtureRequest) -> Generator:
    return request.getfixturevalue(request.param)  # type: ignore[no-any-return]


def test_a_saved_adapter_predicts_the_same(generator: Generator, tmp_path: Path) -> None:
    tuned = generate(DESCRIPTION, EXAMPLES, labels=LABELS, generator=generator).finetune(steps=1)
    path = tuned.save(tmp_path / "mein Adapter ü")
    for loaded in (load_adapter(path, generator.backbone.name), load_adapter(path, generator.backbone)):
        assert equal(loaded, tuned)
        assert loaded.predict_proba(INPUTS) == tuned.predict_proba(INPUTS)
        assert loaded.episode == tuned.episode
        assert loaded.finetune_steps == 1
        assert equal(loaded.finetune(steps=1), tuned.finetune(steps=1))
    files = ["README.md", "adapter.json", "adapter.safetensors", "hyperpeft.json"]
    assert sorted(file.name for file in path.iterdir()) == files
    with pytest.raises(FileExistsError, match="overwrite=True"):
        tuned.save(path)
    tuned.save(path, overwrite=True)


def test_a_text_adapter_is_saved_alike(writer: Generator, tmp_path: Path) -> None:
    adapter = generate("Continue: naïve — 文", EXAMPLES, generator=writer)
    loaded = load_adapter(adapter.save(tmp_path / "a"), writer.backbone)
    assert loaded.predict(INPUTS) == adapter.predict(INPUTS)
    assert loaded.episode == adapter.episode


def test_an_adapter_folder_of_another_backbone_is_refused(
    classifier: Generator, writer: Generator, tmp_path: Path
) -> None:
    path = generate(DESCRIPTION, EXAMPLES, generator=classifier).save(tmp_path / "a")
    with pytest.raises(ConfigError, match=r"is an adapter for backbone .*bert#.*; loaded is .*llama#"):
        load_adapter(path, writer.backbone)


def test_a_saved_adapter_names_no_path_of_this_machine(
    classifier: Generator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    adapter = generate(DESCRIPTION, EXAMPLES, generator=classifier)
    model = Path(classifier.backbone.name)
    path = adapter.save(tmp_path / "a")
    assert model.is_absolute()
    for file in path.iterdir():
        assert not [place for place in (model.parent, tmp_path, Path.cwd()) if str(place).encode() in file.read_bytes()]
    with pytest.raises(ConfigError, match=r"for the model bert#\w+, which was in a folder; .* 'bert'.*--backbone"):
        load_adapter(path)
    monkeypatch.chdir(model.parent)
    assert equal(load_adapter(path), adapter)
    inside = replace(adapter, backbone=load_backbone(json.dumps({**classifier.backbone.settings(), "model": "./bert"})))
    assert json.loads((inside.save(tmp_path / "b") / "adapter.json").read_text())["backbone"]["model"] == "./bert"


def test_a_missing_or_damaged_adapter_folder_is_named(classifier: Generator, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nowhere is no saved adapter: adapter\.json is missing"):
        load_adapter(tmp_path / "nowhere")
    folder = generate(DESCRIPTION, EXAMPLES, generator=classifier).save(tmp_path / "a")
    before = load_adapter(folder, classifier.backbone).predict_proba(INPUTS)
    for name in ("adapter.json", "adapter.safetensors"):
        whole = (folder / name).read_bytes()
        flipped = bytes([*whole[:-20], whole[-20] ^ 1, *whole[-19:]])
        for damaged in (whole[:-20], b"", b"[]", flipped):
            (folder / name).write_bytes(damaged)
            with pytest.raises(ConfigError, match=rf"{name} is damaged or was changed"):
                load_adapter(folder, classifier.backbone)
        (folder / name).unlink()
        with pytest.raises(ConfigError, match=rf"{name} is missing"):
            load_adapter(folder, classifier.backbone)
        (folder / name).write_bytes(whole)
    assert load_adapter(folder, classifier.backbone).predict_proba(INPUTS) == before


def test_an_adapter_file_of_another_make_is_named(classifier: Generator, tmp_path: Path) -> None:
    whole = generate(DESCRIPTION, EXAMPLES, generator=classifier).save(tmp_path / "a") / "adapter.json"
    text = whole.read_text(encoding="utf-8")
    for number, other in enumerate((json.dumps({"episode": {}}), "[]", text.replace("descriptions", "describtions"))):
        with written_at_once(tmp_path / str(number)) as folder:
            (folder / "adapter.json").write_text(other, encoding="utf-8")
            (folder / "adapter.safetensors").write_bytes((tmp_path / "a" / "adapter.safetensors").read_bytes())
        with pytest.raises(ConfigError, match=r"adapter\.json is damaged or of another make"):
            load_adapter(tmp_path / str(number))


def test_export_by_name(classifier: Generator, tmp_path: Path) -> None:
    adapter = generate(DESCRIPTION, EXAMPLES, generator=classifier)
    peft = adapter.export(tmp_path / "peft")
    names = {"adapter_config.json", "adapter_model.safetensors", "README.md", "hyperpeft.json", "classifier.json"}
    assert {file.name for file in peft.iterdir()} == names
    card = (peft / "README.md").read_text(encoding="utf-8")
    assert DESCRIPTION in card
    assert "`green`, `red`" in card
    own = load_weights(adapter.export(tmp_path / "own", format="safetensors") / "adapter.safetensors")
    assert all(torch.equal(x, dict(adapter.weights.named())[name]) for name, x in own.named())
    AutoModel.from_pretrained(adapter.export(str(tmp_path / "merged"), format="merged"))
    with pytest.raises(FileExistsError, match="overwrite=True"):
        adapter.export(tmp_path / "peft")
    adapter.export(tmp_path / "peft", overwrite=True)


def test_our_own_format_is_read_as_its_card_says_and_not_if_it_was_changed(
    classifier: Generator, tmp_path: Path
) -> None:
    adapter = generate(DESCRIPTION, EXAMPLES, generator=classifier)
    folder = adapter.export(tmp_path / "own", format="safetensors")
    (code,) = re.findall(r"```python\n(.*?)```", (folder / "README.md").read_text(encoding="utf-8"), flags=re.DOTALL)
    code = code.replace('"this folder"', repr(str(folder)))
    names: dict[str, Any] = {}
    exec(code, names)
    assert all(torch.equal(x, dict(adapter.weights.named())[name]) for name, x in names["weights"].named())
    file = folder / "adapter.safetensors"
    whole = file.read_bytes()
    file.write_bytes(bytes([*whole[:-1], whole[-1] ^ 1]))
    with pytest.raises(ConfigError, match=r"adapter\.safetensors is damaged or was changed"):
        exec(code, {})


def test_several_adapters_in_one_call(classifier: Generator, tmp_path: Path) -> None:
    adapters = dict(zip(["één", "two words"], generate_many(TASKS[:2], generator=classifier), strict=True))
    folder = export_many(adapters, tmp_path / "all")
    model = PeftModel.from_pretrained(AutoModel.from_pretrained(classifier.backbone.name), folder / "één", "één")
    model.load_adapter(folder / "two words", "two words")
    for name, adapter in adapters.items():
        model.set_adapter(name)
        ids = torch.arange(7, 27).reshape(2, 10)
        with torch.no_grad(), classifier.backbone.adapted(adapter.weights):
            expected = classifier.backbone.model(input_ids=ids).last_hidden_state
        with torch.no_grad():
            torch.testing.assert_close(model(input_ids=ids).last_hidden_state, expected, atol=1e-4, rtol=1e-4)
    export_many(adapters, tmp_path / "all", overwrite=True)
    for name in ("a/b", "..", ".hidden", ""):
        with pytest.raises(ValueError, match="no name for an adapter's folder"):
            export_many({name: adapters["één"]}, tmp_path / "none")
    assert not (tmp_path / "none").exists()


def test_of_several_adapters_all_are_written_or_none(classifier: Generator, tmp_path: Path) -> None:
    good = generate(DESCRIPTION, EXAMPLES, generator=classifier)
    bad = replace(good, weights=good.weights.repeat(2))
    with pytest.raises(ValueError, match="one task's adapter"):
        export_many({"good": good, "bad": bad}, tmp_path / "all")
    assert not (tmp_path / "all").exists()
