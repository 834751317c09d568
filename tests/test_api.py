"""The main job in code, as a user does it."""

from pathlib import Path
from typing import Any

import pytest
import torch
from api_checks import DESCRIPTION, EXAMPLES, INPUTS, LABELS, TASKS, equal, make

from hyperpeft import Generator, TaskError, generate, generate_many, load_generator
from hyperpeft.config import ConfigError


@pytest.fixture(autouse=True)
def _cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HYPERPEFT_CACHE", str(tmp_path_factory.getbasetemp() / "api-cache"))


@pytest.fixture(scope="module")
def classifier(folders: dict[str, Path]) -> Generator:
    return make(folders, "encoder", "bert")


@pytest.fixture(scope="module")
def writer(folders: dict[str, Path]) -> Generator:
    return make(folders, "causal_lm", "llama")


@pytest.fixture(params=["classifier", "writer"])
def generator(request: pytest.FixtureRequest) -> Generator:
    return request.getfixturevalue(request.param)  # type: ignore[no-any-return]


def test_description_examples_or_both_give_a_working_adapter(generator: Generator) -> None:
    adapters = [
        generate(DESCRIPTION, labels=LABELS, generator=generator),
        generate(examples=EXAMPLES, labels=LABELS, generator=generator),
        generate(DESCRIPTION, EXAMPLES, labels=LABELS, generator=generator),
    ]
    for adapter in adapters:
        assert adapter.labels == ("green", "red")
        assert adapter.weights.tasks == 1
        assert len(adapter.predict(INPUTS)) == 3
        assert set(adapter.predict(INPUTS)) <= set(LABELS)
    assert not equal(adapters[0], adapters[1])
    assert not equal(adapters[1], adapters[2])
    assert not equal(adapters[0], adapters[2])


def test_same_request_same_adapter(generator: Generator) -> None:
    one, two = (generate(DESCRIPTION, EXAMPLES, labels=LABELS, generator=generator) for _ in range(2))
    assert equal(one, two)
    assert one.predict_proba(INPUTS) == two.predict_proba(INPUTS)


def test_a_classifying_backbone_reads_the_labels_from_the_examples(classifier: Generator) -> None:
    assert generate(examples=EXAMPLES, generator=classifier).labels == ("green", "red")


def test_a_language_model_without_labels_writes_text(writer: Generator) -> None:
    adapter = generate(DESCRIPTION, EXAMPLES, generator=writer)
    assert adapter.labels == ()
    texts = adapter.predict(INPUTS)
    assert len(texts) == 3
    assert all(isinstance(text, str) and len(text) <= 8 for text in texts)
    assert any(text not in LABELS for text in texts)
    assert 0.0 <= adapter.evaluate(EXAMPLES, metric="rouge_l") <= 1.0
    with pytest.raises(ValueError, match=r"no label set.*Pass labels"):
        adapter.predict_proba(INPUTS)


@pytest.mark.parametrize("finetune_steps", [0, 2])
def test_many_at_once_equal_one_by_one(generator: Generator, finetune_steps: int) -> None:
    tasks = [task for task in TASKS if task.get("examples")] if finetune_steps else TASKS
    together = generate_many(tasks, generator=generator, finetune_steps=finetune_steps)
    assert generate_many([], generator=generator) == []
    for task, adapter in zip(tasks, together, strict=True):
        arguments = {"task_description": task.get("description"), **{k: task[k] for k in task if k != "description"}}
        alone = generate(**arguments, generator=generator, finetune_steps=finetune_steps)
        assert alone.labels == adapter.labels
        assert alone.finetune_steps == adapter.finetune_steps == finetune_steps
        for (name, leaf), (_, value) in zip(adapter.weights.named(), alone.weights.named(), strict=True):
            torch.testing.assert_close(leaf, value, rtol=1e-4, atol=1e-5, msg=name)


def test_probabilities_sum_to_one_and_lead_the_prediction(generator: Generator) -> None:
    adapter = generate(DESCRIPTION, EXAMPLES, labels=LABELS, generator=generator)
    rows = adapter.predict_proba(INPUTS)
    assert [max(row, key=lambda label: row[label]) for row in rows] == adapter.predict(INPUTS)
    for row in rows:
        assert list(row) == LABELS
        assert sum(row.values()) == pytest.approx(1, abs=1e-5)


def test_evaluate_is_the_share_of_right_predictions(generator: Generator) -> None:
    adapter = generate(DESCRIPTION, EXAMPLES, labels=LABELS, generator=generator)
    first, *others = adapter.predict(INPUTS)
    wrong = next(label for label in LABELS if label != first)
    examples = list(zip(INPUTS, [wrong, *others], strict=True))
    assert adapter.evaluate(examples) == pytest.approx(2 / 3)
    assert adapter.evaluate(iter(examples)) == pytest.approx(2 / 3)
    assert adapter.evaluate([{"input": x, "output": y} for x, y in examples], metric="accuracy") == pytest.approx(2 / 3)


def test_finetune_gives_a_new_adapter(generator: Generator) -> None:
    adapter = generate(DESCRIPTION, EXAMPLES, labels=LABELS, generator=generator)
    before = adapter.predict_proba(INPUTS)
    tuned = adapter.finetune(steps=3).finetune(steps=2)
    assert (adapter.finetune_steps, tuned.finetune_steps) == (0, 5)
    assert not equal(adapter, tuned)
    assert adapter.predict_proba(INPUTS) == before
    assert equal(adapter.finetune(steps=3), adapter.finetune(EXAMPLES, steps=3))


def test_finetune_on_other_examples_uses_those(generator: Generator) -> None:
    adapter = generate(DESCRIPTION, EXAMPLES, labels=LABELS, generator=generator)
    tuned = adapter.finetune([("sky", "green"), ("sea", "red")], steps=2)
    assert [example.input for example in tuned.episode.support] == ["sky", "sea"]
    assert not equal(tuned, adapter.finetune(steps=2))


def test_texts_are_embedded_once_for_all_that_is_asked_of_an_adapter(
    classifier: Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    adapter = generate("Tell the colour, told anew.", EXAMPLES, generator=classifier)

    def fail(*_: Any) -> None:
        raise AssertionError("computed again")

    monkeypatch.setattr(classifier.text_encoder.encoder, "features", fail)
    assert adapter.confidence.leave_one_out is not None
    assert adapter.finetune(steps="auto").schedule is not None
    assert generate("Tell the colour, told anew.", EXAMPLES * 2, generator=classifier, select="auto").choice


def test_a_generator_folder_is_loaded_once_and_again_when_it_changes(classifier: Generator, tmp_path: Path) -> None:
    classifier.save_pretrained(tmp_path / "g")
    adapter = generate(DESCRIPTION, EXAMPLES, generator=tmp_path / "g")
    assert equal(adapter, generate(DESCRIPTION, EXAMPLES, generator=classifier))
    assert adapter.generator == "g"
    assert load_generator(tmp_path / "g") is load_generator(str(tmp_path / "g"))
    first = load_generator(tmp_path / "g")
    classifier.save_pretrained(tmp_path / "g")
    assert load_generator(tmp_path / "g") is not first


def test_printing_an_adapter_prints_no_tensors(classifier: Generator) -> None:
    text = repr(generate(DESCRIPTION, EXAMPLES, generator=classifier))
    assert DESCRIPTION in text
    assert len(text) < 1500


# ---- mistakes


@pytest.mark.parametrize(
    ("request_", "error", "message"),
    [
        ({}, TaskError, "neither a description nor examples"),
        ({"task_description": "  ", "labels": LABELS}, TaskError, "neither a description nor examples"),
        ({"task_description": [], "examples": []}, TaskError, "neither a description nor examples"),
        ({"task_description": 5}, TaskError, "the description is 5: give a text or a list of texts"),
        ({"task_description": [DESCRIPTION, 5]}, TaskError, "give a text or a list of texts"),
        ({"examples": ["grass", "blood"]}, TaskError, r"examples\[0\] is 'grass': give \(input, output\) pairs"),
        ({"examples": "grass"}, TaskError, r"examples is 'grass': give \(input, output\) pairs"),
        ({"examples": 5}, TaskError, r"examples is 5: give \(input, output\) pairs"),
        ({"examples": [("grass", "green", "red")]}, TaskError, r"give \(input, output\) pairs"),
        ({"examples": [("grass", "green"), ("one", 1)]}, TaskError, r"examples\[1\]: the output is 1, of type int"),
        ({"examples": [("", "green")]}, TaskError, "the input is empty"),
        ({"examples": [{"input": "grass", "label": "green"}]}, TaskError, r"examples\[0\] has no 'output'"),
        ({"examples": EXAMPLES, "labels": ["gren", "red"]}, TaskError, "'green'.*not among the labels.*mean 'gren'"),
        ({"examples": EXAMPLES, "labels": "green"}, TaskError, r"labels is 'green': give a list"),
        ({"examples": EXAMPLES, "labels": 5}, TaskError, r"labels is 5: give a list"),
        ({"examples": EXAMPLES, "labels": ["green", "red", 3]}, TaskError, r"labels is .*3\]: give a list of texts"),
        ({"examples": EXAMPLES, "labels": ["green", "red", "red"]}, TaskError, "label 'red' is given twice"),
        ({"examples": EXAMPLES, "labels": ["green", "red", ""]}, TaskError, "a label is empty"),
        ({"examples": EXAMPLES[:1]}, ValueError, r"has 1 label\(s\).*at least two.*Pass labels"),
        ({"task_description": DESCRIPTION}, ValueError, r"has 0 label\(s\).*Pass labels"),
    ],
)
def test_a_request_that_cannot_be_met_says_why(
    classifier: Generator, request_: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        generate(**request_, generator=classifier)


def test_a_mistyped_key_of_a_task_is_named(classifier: Generator) -> None:
    with pytest.raises(TaskError, match=r"task 1 has no 'label'.*Did you mean 'labels'"):
        generate_many([{"examples": EXAMPLES}, {"examples": EXAMPLES, "label": LABELS}], generator=classifier)


def test_a_generator_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nowhere is no generator folder: config\.yaml is missing"):
        generate(DESCRIPTION, EXAMPLES, generator=tmp_path / "nowhere")


def test_mistakes_in_use_say_what_to_do(classifier: Generator, tmp_path: Path) -> None:
    adapter = generate(DESCRIPTION, EXAMPLES, generator=classifier)
    for ask in (adapter.predict, adapter.predict_proba):
        with pytest.raises(TypeError, match=r"inputs must be a list of texts, got 'frog'.*\[text\]"):
            ask("frog")  # type: ignore[operator]
        with pytest.raises(TypeError, match="inputs must be a list of texts"):
            ask([1, 2])  # type: ignore[operator]
        with pytest.raises(ValueError, match="inputs is empty"):
            ask([])  # type: ignore[operator]
    with pytest.raises(ValueError, match=r"no metric 'accurracy'.*Did you mean 'accuracy'"):
        adapter.evaluate(EXAMPLES, metric="accurracy")
    with pytest.raises(TaskError, match=r"'blue'.*is not among the labels"):
        adapter.evaluate([("sky", "blue")])
    with pytest.raises(TaskError, match=r"'blue'.*is not among the labels"):
        adapter.finetune([("sky", "blue")])
    with pytest.raises(ValueError, match=r"no export format 'pefft'.*Did you mean 'peft'"):
        adapter.export(tmp_path / "a", format="pefft")
    described = generate(DESCRIPTION, labels=LABELS, generator=classifier)
    with pytest.raises(ValueError, match="has no examples to fine-tune on"):
        described.finetune()
    with pytest.raises(ValueError, match=r"steps is -1"):
        adapter.finetune(steps=-1)
