"""Local data files by way of Hugging Face `datasets`: formats, templates, labels and errors."""

import csv
import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import datasets
import pytest
import yaml

from hyperpeft.corpora import HfDatasets
from hyperpeft.tasks import Example, Task, TaskError

ROWS = [
    {"premise": "it rains", "hypothesis": "it is wet", "answer": "yes", "code": 1},
    {"premise": "it snows", "hypothesis": "it is hot", "answer": "no", "code": 0},
    {"premise": "it's {odd}", "hypothesis": "100 %", "answer": "no", "code": 0},
]
PAIRS = {Example(f"{row['premise']} || {row['hypothesis']}", row["answer"]) for row in ROWS}


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    datasets.disable_progress_bars()
    yield
    datasets.enable_progress_bars()


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """A folder with the rows as CSV, JSON lines and Parquet (there with class names)."""
    data = tmp_path / "data"
    data.mkdir()
    with (data / "rows.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, ROWS[0])
        writer.writeheader()
        writer.writerows(ROWS)
    (data / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    table = datasets.Dataset.from_list(ROWS).cast_column("code", datasets.ClassLabel(names=["no", "yes"]))
    table.to_parquet(data / "rows.parquet")
    return tmp_path


def mapping(folder: Path, **changes: Any) -> dict[str, Any]:
    load = {"path": "csv", "data_files": "data/rows.csv", "cache_dir": str(folder / "cache")}
    fields = {
        "name": "entails",
        "load": {**load, **changes.pop("load", {})},
        "input": "{premise} || {hypothesis}",
        "output": "answer",
        "descriptions": ["Does the second follow?"],
    }
    return {key: value for key, value in {**fields, **changes}.items() if value is not None}


def corpus(folder: Path, *mappings: dict[str, Any]) -> HfDatasets:
    (folder / "mapping.yaml").write_text(yaml.safe_dump(list(mappings)))
    return HfDatasets(str(folder / "mapping.yaml"))


def only(folder: Path, **changes: Any) -> Task:
    [task] = corpus(folder, mapping(folder, **changes)).read()
    return task


@pytest.mark.parametrize(("path", "file"), [("csv", "rows.csv"), ("json", "rows.jsonl"), ("parquet", "rows.parquet")])
def test_every_format_gives_the_same_examples_from_files_beside_the_mapping(path: str, file: str, files: Path) -> None:
    task = only(files, load={"path": path, "data_files": f"data/{file}"})
    assert set(task.examples) == PAIRS
    assert len(task.examples) == 3
    assert (task.labels, task.metric) == ({}, "exact_match")


def test_data_files_may_be_a_list_or_named_by_split(files: Path) -> None:
    listed = only(files, load={"data_files": ["data/rows.csv", "data/rows.csv"]})
    assert Counter(listed.examples) == Counter(list(PAIRS) * 2)
    named = only(files, load={"data_files": {"train": "data/rows.csv", "test": ["data/rows.csv"]}, "split": "test[:2]"})
    assert len(named.examples) == 2


def test_data_files_of_a_repository_or_folder_are_its_own(files: Path) -> None:
    task = only(files, load={"path": str(files / "data"), "data_files": "rows.csv"})
    assert set(task.examples) == PAIRS


def test_the_other_fields_arrive_and_tasks_keep_their_order(files: Path) -> None:
    first = mapping(files, family="f", metric="rouge_l", source="s", licence="MIT")
    tasks = list(corpus(files, first, mapping(files, name="second", input="premise")).read())
    assert [task.name for task in tasks] == ["entails", "second"]
    assert (tasks[0].family, tasks[0].metric, tasks[0].source, tasks[0].licence) == ("f", "rouge_l", "s", "MIT")
    assert tasks[0].descriptions == ("Does the second follow?",)
    assert {example.input for example in tasks[1].examples} == {"it rains", "it snows", "it's {odd}"}


def test_class_labels_have_their_own_names(files: Path) -> None:
    task = only(files, load={"path": "parquet", "data_files": "data/rows.parquet"}, output="code")
    assert (set(task.examples), task.labels, task.metric) == (PAIRS, {"no": "", "yes": ""}, "accuracy")


def test_integers_and_class_labels_are_named_by_the_mapping(files: Path) -> None:
    for load in ({}, {"path": "parquet", "data_files": "data/rows.parquet"}):
        task = only(files, load=load, output="code", labels=["false", "true"])
        assert task.labels == {"false": "", "true": ""}
        assert Counter(example.output for example in task.examples) == {"false": 2, "true": 1}
        assert Example("it rains || it is wet", "true") in task.examples


def test_text_labels_make_a_classification(files: Path) -> None:
    task = only(files, labels=["yes", "no", "maybe"])
    assert (set(task.examples), list(task.labels), task.metric) == (PAIRS, ["yes", "no", "maybe"], "accuracy")


def test_a_part_of_a_sorted_data_set_has_all_its_labels_and_is_the_same_each_time(files: Path) -> None:
    lines = [f"text {n},{n // 500}" for n in range(1000)]
    (files / "data" / "sorted.csv").write_text("\n".join(["text,label", *lines]))
    reader = corpus(
        files,
        mapping(
            files,
            load={"data_files": "data/sorted.csv"},
            input="text",
            output="label",
            labels=["a", "b"],
            max_examples=100,
        ),
    )
    [task] = reader.read()
    counts = Counter(example.output for example in task.examples)
    assert sum(counts.values()) == 100
    assert min(counts["a"], counts["b"]) > 25
    assert [task] == list(reader.read())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"input": "premis"}, r"no column 'premis'; there is \['answer', 'code', 'hypothesis', 'premise'\]"),
        ({"input": "{premis}"}, "no column 'premis'; there is"),
        ({"output": "label"}, "no column 'label'; there is"),
        ({"input": "{premise"}, "input '{premise' is no template over columns: "),
        ({"input": "{}"}, "input '{}' is no template over columns: "),
        ({"output": "code"}, r"an output is the number [01]: name the numbers 0, 1, ... with labels"),
        ({"output": "code", "labels": ["no"]}, r"an output is the number 1, but there are 1 labels: \['no'\]"),
        ({"labels": ["yes", "nope"]}, r"outputs \['no'\] are not in its label set"),
        ({"metric": "acuracy"}, r"metric 'acuracy' does not exist. Did you mean 'accuracy'\?"),
        ({"load": {"data_files": "data/none.csv"}}, "cannot be loaded: .*none.csv"),
        ({"load": {"pth": "csv"}}, "cannot be loaded: .*pth"),
        ({"load": {"split": "dev"}}, "cannot be loaded: .*dev"),
    ],
)
def test_what_does_not_fit_is_named_with_file_and_task(changes: dict[str, Any], message: str, files: Path) -> None:
    with pytest.raises(TaskError, match=f"mapping.yaml, task 'entails': .*{message}"):
        only(files, **changes)


def test_an_unlabelled_row_is_not_given_the_last_label(files: Path) -> None:
    """Class -1 is the convention for hidden test labels."""
    (files / "data" / "hidden.csv").write_text("text,label\na,0\nb,-1\n")
    with pytest.raises(TaskError, match="an output is the number -1, but there are 2 labels"):
        only(files, load={"data_files": "data/hidden.csv"}, input="text", output="label", labels=["x", "y"])


def test_an_empty_cell_is_named_by_its_column(files: Path) -> None:
    (files / "data" / "gap.csv").write_text("text,label\na,x\nb,\n")
    with pytest.raises(TaskError, match=r"task 'entails': rows\[\d\]: the output is None, of type NoneType"):
        only(files, load={"data_files": "data/gap.csv"}, input="text", output="label")


def test_a_malformed_data_file_is_named_with_the_reason(files: Path) -> None:
    (files / "data" / "bad.jsonl").write_text('{"a": 1\n{"')
    with pytest.raises(TaskError, match=r"mapping.yaml, task 'entails': .*bad.jsonl.* cannot be loaded: .*JSON"):
        only(files, load={"path": "json", "data_files": "data/bad.jsonl"})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("- [", "mapping.yaml cannot be read as YAML: .*line"),
        ("name: a", "mapping.yaml: a YAML list with one mapping a task is needed"),
        ("- a", "mapping.yaml: a YAML list with one mapping a task is needed"),
        ("- {name: a}", r"mapping.yaml\[0\] needs 'descriptions', 'input', 'load', 'output': no default exists"),
        ("- {name: a, metrc: b}", r"mapping.yaml\[0\] has no setting 'metrc'. Did you mean 'metric'\?"),
        ("- {name: a, max_examples: many}", r"mapping.yaml\[0\]: .*'many'.*Integer.*max_examples"),
    ],
)
def test_a_wrong_mapping_file_is_named(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "mapping.yaml").write_text(text)
    with pytest.raises(TaskError, match=message):
        HfDatasets(str(tmp_path / "mapping.yaml")).read()


def test_an_absent_mapping_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(TaskError, match=r"none.yaml cannot be read as YAML: .*No such file"):
        HfDatasets(str(tmp_path / "none.yaml")).read()
