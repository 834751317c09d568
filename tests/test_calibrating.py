"""A generator calibrated on meta-validation tasks: what it looks at, keeps, changes and leaves alone."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from api_checks import make
from safetensors import safe_open

from hyperpeft import Generator, generate, load_adapter
from hyperpeft.adaptation import FinetuneSettings
from hyperpeft.baselines import Generated
from hyperpeft.baselines.selected import Selected
from hyperpeft.calibrating import CalibrationSettings, calibrate
from hyperpeft.calibration import BOUNDS, REGIMES, Calibration, tempered
from hyperpeft.config import ConfigError
from hyperpeft.tasks import Example, Task
from hyperpeft.weights import AdapterWeights

SETTINGS = CalibrationSettings(tasks=3, shots=[0, 2], queries=6, finetune_shots=2, steps=[1, 2])
TEMPERATURES = {"description": 1.5, "examples": 2.0, "fine-tuned": 4.0, "shared adapter": 3.0, "no adapter": 0.5}
DESCRIPTION = "Say which colour the thing has."
PAIRS = [("grass", "green"), ("blood", "red"), ("leaf", "green"), ("rose", "red")]
INPUTS = ["frog", "tomato", "fire engine"]


@pytest.fixture(autouse=True)
def _cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HYPERPEFT_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))


def make_task(name: str, *, labels: bool = True) -> Task:
    pairs = tuple(Example(f"{chr(97 + i) * 3} {name}", ("left", "right")[i % 2]) for i in range(16))
    told = {"left": "", "right": ""} if labels else {}
    return Task(name, (f"Tell the {name} of it.", f"Which {name}?"), pairs, told, name)


TRAIN = [make_task(name) for name in ("colour", "size")]
VALIDATION = [make_task(name) for name in ("sound", "taste", "speed", "weight")]


@pytest.fixture(params=["encoder", "causal_lm"])
def generator(request: pytest.FixtureRequest, folders: dict[str, Path]) -> Generator:
    return make(folders, request.param, {"encoder": "bert", "causal_lm": "llama"}[request.param])


@pytest.fixture
def classifier(folders: dict[str, Path]) -> Generator:
    return make(folders, "encoder", "bert")


def test_every_regime_gets_a_temperature_that_does_not_raise_the_loss(generator: Generator) -> None:
    before = {name: value.clone() for name, value in generator.state_dict().items()}
    calibrate(generator, TRAIN, VALIDATION, SETTINGS)
    assert generator.calibration is not None
    assert set(generator.calibration.temperatures) == set(REGIMES)
    assert all(BOUNDS[0] <= value <= BOUNDS[1] for value in generator.calibration.temperatures.values())
    about = generator.about["calibration"]
    assert len(about["meta_validation_tasks"]) == 3
    for name, effect in about["before and after, on these tasks themselves"].items():
        raw, fitted = effect["negative log-likelihood"]
        assert fitted <= raw + 1e-4, name
    assert any(abs(value - 1) > 0.05 for value in generator.calibration.temperatures.values())
    losses = about["calibrated loss after a fine-tune, by step size"]
    assert list(losses) == SETTINGS.lrs
    assert generator.calibration.lr == min(losses, key=losses.get)
    assert all(torch.equal(value, before[name]) for name, value in generator.state_dict().items())


@pytest.mark.parametrize("none", [{"finetune_shots": 0}, {"lrs": []}])
def test_without_fine_tunes_there_is_no_step_size(classifier: Generator, none: dict[str, Any]) -> None:
    calibrate(classifier, TRAIN, VALIDATION, replace(SETTINGS, **none))
    assert classifier.calibration is not None
    assert classifier.calibration.lr is None
    assert set(classifier.calibration.temperatures) == set(REGIMES) - {"fine-tuned"}


def test_it_is_the_same_again_and_looks_at_no_training_answers(classifier: Generator) -> None:
    calibrate(classifier, TRAIN, VALIDATION, SETTINGS)
    first, about = classifier.calibration, classifier.about["calibration"]
    turned = [replace(task, examples=tuple(Example(e.input, "left") for e in task.examples)) for task in TRAIN]
    calibrate(classifier, turned, VALIDATION, SETTINGS)
    assert (classifier.calibration, classifier.about["calibration"]) == (first, about)


def test_tasks_without_labels_have_no_temperature(folders: dict[str, Path]) -> None:
    writer = make(folders, "causal_lm", "llama")
    calibrate(writer, TRAIN, [make_task("sound", labels=False)], SETTINGS)
    assert writer.calibration is not None
    assert writer.calibration.temperatures == {}
    assert writer.calibration.far is not None
    adapter = generate(DESCRIPTION, PAIRS, generator=writer)
    with pytest.raises(ValueError, match="no label set"):
        adapter.predict_proba(INPUTS)
    assert len(adapter.predict(INPUTS)) == 3


def test_far_is_what_most_meta_validation_tasks_stay_within(classifier: Generator) -> None:
    calibrate(classifier, TRAIN, VALIDATION, SETTINGS)
    assert classifier.calibration is not None
    assert classifier.trained_tasks is not None
    distances = [classifier.trained_tasks.distance(t.descriptions, classifier.text_encoder) for t in VALIDATION]
    assert sorted(d for d in distances if d is not None)[-2] <= (classifier.calibration.far or 0) <= max(distances)  # type: ignore[type-var]


def test_probabilities_are_tempered_and_predictions_stay(generator: Generator) -> None:
    labels = ["green", "red"]
    raw = generate(DESCRIPTION, PAIRS, labels=labels, generator=generator)
    generator.calibration = Calibration(TEMPERATURES)
    for name, adapter in {
        "examples": generate(DESCRIPTION, PAIRS, labels=labels, generator=generator),
        "description": generate(DESCRIPTION, labels=labels, generator=generator),
        "fine-tuned": generate(DESCRIPTION, PAIRS, labels=labels, generator=generator).finetune(steps=1),
        "no adapter": replace(raw, choice="no adapter", calibration=generator.calibration),
    }.items():
        bare = replace(adapter, calibration=None)
        rows = [torch.tensor([list(row.values()) for row in one.predict_proba(INPUTS)]) for one in (bare, adapter)]
        torch.testing.assert_close(rows[1], tempered(rows[0], TEMPERATURES[name]), atol=1e-5, rtol=1e-4, msg=name)
        assert not torch.allclose(rows[0], rows[1], atol=1e-4)
        assert bare.predict(INPUTS) == adapter.predict(INPUTS)
        assert [max(row, key=lambda label: row[label]) for row in adapter.predict_proba(INPUTS)] == bare.predict(INPUTS)


def test_a_fine_tune_takes_the_calibrated_step_size_unless_told(classifier: Generator) -> None:
    def tuned(lr: float | None) -> AdapterWeights:
        return generate(DESCRIPTION, PAIRS, generator=classifier).finetune(steps=2, lr=lr).weights

    plain, usual, large = tuned(None), tuned(1e-3), tuned(0.1)
    classifier.calibration = Calibration(TEMPERATURES, lr=0.1)
    assert same(plain, usual)
    assert not same(usual, large)
    assert same(tuned(None), large)
    assert same(tuned(1e-3), usual)
    assert same(generate(DESCRIPTION, PAIRS, generator=classifier, finetune_steps=2).weights, large)


def same(one: AdapterWeights, two: AdapterWeights) -> bool:
    return all(torch.equal(a, b) for (_, a), (_, b) in zip(one.named(), two.named(), strict=True))


def test_an_adapter_keeps_its_temperatures_in_its_folder(classifier: Generator, tmp_path: Path) -> None:
    classifier.calibration = Calibration(TEMPERATURES, far=0.5)
    adapter = generate(DESCRIPTION, PAIRS, generator=classifier)
    loaded = load_adapter(adapter.save(tmp_path / "a"), classifier.backbone)
    assert loaded.calibration == adapter.calibration
    assert loaded.predict_proba(INPUTS) == adapter.predict_proba(INPUTS)


def test_an_exported_classifier_is_as_sure_as_the_adapter(classifier: Generator, tmp_path: Path) -> None:
    raw = generate(DESCRIPTION, PAIRS, generator=classifier)
    calibrated = replace(raw, calibration=Calibration(TEMPERATURES))
    files = [one.export(tmp_path / str(n)) / "classifier.json" for n, one in enumerate((raw, calibrated))]
    bare, warm = (json.loads(file.read_text(encoding="utf-8")) for file in files)
    assert bare["scale"] / warm["scale"] == pytest.approx(TEMPERATURES["examples"])
    assert bare["prototypes"] == warm["prototypes"]
    assert calibrated.finetune(steps=1)._exported().temperature == TEMPERATURES["fine-tuned"]


def test_the_benchmark_is_calibrated_if_the_generator_is(classifier: Generator) -> None:
    episodes = [generate(DESCRIPTION, PAIRS, generator=classifier).episode.with_query([Example(x, "") for x in INPUTS])]
    backbone = classifier.backbone
    raw = Generated(classifier).adapt(backbone, episodes)
    (raw_tuned,) = raw.trained([2], FinetuneSettings())
    classifier.calibration = Calibration(TEMPERATURES)
    warm = Generated(classifier).adapt(backbone, episodes)
    tuned_zero, tuned = warm.trained([0, 2], FinetuneSettings())
    (selected,) = Selected(classifier).adapt(backbone, episodes).answers()
    pairs = [(raw, warm, "examples"), (raw, tuned_zero, "examples"), (raw_tuned, tuned, "fine-tuned")]
    for bare, calibrated, name in pairs:
        (one,), (two,) = bare.answers(), calibrated.answers()
        assert one.probabilities is not None
        assert two.probabilities is not None
        torch.testing.assert_close(two.probabilities, tempered(one.probabilities, TEMPERATURES[name]))
        assert one.texts == two.texts
    assert selected.probabilities is not None


def test_the_folder_holds_it_and_older_folders_load_as_before(classifier: Generator, tmp_path: Path) -> None:
    classifier.save_pretrained(tmp_path / "old")
    old = Generator.from_pretrained(tmp_path / "old", classifier.backbone)
    assert (old.calibration, old.trained_tasks) == (None, None)
    assert old.generate([generate(DESCRIPTION, PAIRS, generator=old).episode]).tasks == 1
    calibrate(classifier, TRAIN, VALIDATION, SETTINGS)
    folder = classifier.save_pretrained(tmp_path / "new")
    names = ["README.md", "config.yaml", "meta_train_tasks.safetensors", "model.safetensors"]
    assert sorted(file.name for file in folder.iterdir()) == names
    assert len({file.stat().st_mode for file in folder.iterdir()}) == 1
    new = Generator.from_pretrained(folder, classifier.backbone)
    assert new.calibration == classifier.calibration
    assert new.trained_tasks is not None
    assert new.trained_tasks.names == ("colour", "size")
    with safe_open(folder / "model.safetensors", framework="pt") as file:
        assert set(file.keys()) == set(classifier.state_dict())
    old.save_pretrained(folder)
    assert Generator.from_pretrained(folder, classifier.backbone).trained_tasks is None


def test_a_damaged_section_is_named(classifier: Generator, tmp_path: Path) -> None:
    classifier.calibration = Calibration(TEMPERATURES)
    config = classifier.save_pretrained(tmp_path / "g") / "config.yaml"
    config.write_text(config.read_text(encoding="utf-8").replace("fine-tuned: 4.0", "finetuned: 4.0"), encoding="utf-8")
    with pytest.raises(ConfigError, match="calibration: temperatures"):
        Generator.from_pretrained(tmp_path / "g", classifier.backbone)


def test_settings_default_to_what_the_docs_say() -> None:
    settings: Any = CalibrationSettings()
    assert (settings.tasks, settings.shots, settings.steps) == (24, [0, 1, 4], [5, 20])
