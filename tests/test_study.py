"""A benchmark from its configuration: starts, tuning, records and report in a folder that goes on where it stopped."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import awake
from omegaconf import OmegaConf

from hyperpeft.adapters import Lora
from hyperpeft.backbones import Encoder
from hyperpeft.baselines import METHODS, Materials, Method, Scratch
from hyperpeft.config import ConfigError, load_config, read_yaml
from hyperpeft.generator import SECTIONS, Generator
from hyperpeft.records import read_records
from hyperpeft.study import BenchmarkConfig, Study
from hyperpeft.tasks import Example, Task
from hyperpeft.tuning import TuningSettings, spread, tune

FAMILIES = {
    "colour": "train", "size": "train", "sound": "validation", "taste": "validation", "speed": "test", "weight": "test",
    "shape": "test",
}  # fmt: skip
FAST = ["no adapter", "from scratch", "shared multi-task adapter", "generated", "generated, wrong-task description"]


def make_task(name: str, examples: int = 16) -> Task:
    pairs = tuple(Example(f"{chr(97 + i) * 3} {name}", ("left", "right")[i % 2]) for i in range(examples))
    return Task(name, (f"Tell the {name} of it.", f"Which {name} is it?"), pairs, {"left": "", "right": ""}, name)


def write_corpus(folder: Path, sizes: dict[str, int] | None = None) -> Path:
    """A task a family; returns the folder, with its splits beside it."""
    folder.mkdir(parents=True)
    (folder / "corpus.yaml").write_text("format: folder\n")
    for name in FAMILIES:
        task = make_task(name, (sizes or {}).get(name, 16))
        fields = {
            "name": name,
            "family": name,
            "descriptions": list(task.descriptions),
            "labels": dict(task.labels),
            "examples": [[example.input, example.output] for example in task.examples],
        }
        (folder / f"{name}.yaml").write_text(json.dumps(fields))
    (folder.parent / "splits.yaml").write_text(json.dumps({"families": FAMILIES}))
    return folder


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, folders: dict[str, Path]) -> Path:
    """A folder with a corpus and a generator that says it was trained on it."""
    home = tmp_path_factory.mktemp("trained")
    corpus = write_corpus(home / "corpus")
    sections: dict[str, Any] = {
        **dict.fromkeys(SECTIONS),
        "backbone": {"kind": "encoder", "model": str(folders["bert"]), "dtype": "float32", "max_tokens": 16},
        "adapter": {"kind": "lora", "rank": 2},
        "text_encoder": {"model": str(folders["bert"]), "cache": ""},
        "encoder": {"kind": "joint", "d_task": 16},
        "hypernetwork": {"head": "per_rank", "d_hidden": 8},
    }
    generator = awake(Generator.build(sections))
    run = {
        **sections,
        "name": "mine",
        "seed": 0,
        "steps": 2,
        "corpus": {"kind": "folder", "path": str(corpus), "splits": str(home / "splits.yaml")},
        "episodes": {"tasks": 2, "rows": 8, "shots": [0, 1]},
        "validation": {"every": 2, "shots": [1], "queries": 4},
        "trainer": {"enable_progress_bar": False, "enable_model_summary": False, "accelerator": "cpu"},
    }
    generator.about = {"meta_train_tasks": ["colour", "size"], "run": run}
    generator.save_pretrained(home / "generator")
    return home


@pytest.fixture
def home(trained: Path, tmp_path: Path) -> Path:
    """A copy of that folder to work in; the corpus stays where it is."""
    shutil.copytree(trained / "generator", tmp_path / "generator")
    return tmp_path


def overrides(home: Path, *more: str) -> list[str]:
    return [
        f"output={home}/out",
        f"generator={home}/generator",
        "methods=[no adapter,from scratch,generated]",
        "evaluation.shots=[0,2]",
        "evaluation.steps=[0,2]",
        "evaluation.seeds=[0]",
        "evaluation.queries=6",
        "tuning.lrs=[1e-3,1e-1]",
        "tuning.shots=[2]",
        "tuning.steps=[2]",
        "tuning.queries=6",
        *more,
    ]


def study(home: Path, *more: str) -> Study:
    return Study(load_config(BenchmarkConfig, [], overrides(home, *more)))


pytestmark = pytest.mark.filterwarnings("ignore")  # Lightning has much to say about two steps


@pytest.fixture(scope="module")
def measured(trained: Path) -> Path:
    """A folder with a finished benchmark of five methods, one of which needed meta-training."""
    methods = ",".join(f"'{name}'" for name in FAST)
    study(trained, f"methods=[{methods}]", "evaluation.seeds=[0,1]").run()
    return trained


def test_a_study_leaves_records_report_and_what_they_come_from(measured: Path) -> None:
    folder = measured / "out" / "benchmark"
    records = read_records(folder / "records.jsonl")
    assert {record.method for record in records} == set(FAST)
    assert {record.task for record in records} == {"speed", "weight", "shape"}
    tuned = [r for r in records if r.method == "generated" and r.shots == 2 and r.task == "speed"]
    assert sorted({(r.steps, r.seed) for r in tuned}) == [(0, 0), (0, 1), (2, 0), (2, 1)]
    text = (folder / "report.md").read_text()
    assert "| shared multi-task adapter | 2 | 2 |" in text
    assert "2 shots: 3 tasks measured, 0 skipped." in text
    assert (folder / "figures" / "conditioning.svg").exists()
    start = yaml.safe_load((folder / "starts" / "shared" / "config.yaml").read_text())
    assert start["about"]["meta_train_tasks"] == ["colour", "size"]
    assert start["hypernetwork"]["head"] == "none"
    assert yaml.safe_load((folder / "sittings.yaml").read_text())[0]["machine"]["cores"]


def test_kept_starts_serve_generators_that_differ_in_what_starts_do_not_use(measured: Path) -> None:
    again = study(measured, "methods=['shared multi-task adapter']")
    again.generator.about["run"] |= {"refinement": {"apart": True}, "refining": {"steps": 2}, "label_reader": {}}
    del again.training
    start = measured / "out" / "benchmark" / "starts" / "shared" / "model.safetensors"
    before = start.stat().st_mtime_ns
    assert again.materials.learned("shared").about["run"]["refinement"] is None
    assert start.stat().st_mtime_ns == before


def test_step_sizes_are_chosen_on_validation_tasks_alone_and_used(measured: Path) -> None:
    folder = measured / "out" / "benchmark"
    found = yaml.safe_load((folder / "step_sizes.yaml").read_text())
    assert set(found) == {"from scratch", "shared multi-task adapter", "generated"}
    for lr in (1e-3, 1e-1):
        records = read_records(folder / "tuning" / f"lr-{lr:g}.jsonl")
        assert {record.task for record in records} == {"sound", "taste"}
        for name in found:
            scores = [r.score for r in records if r.method == name and r.steps]
            assert found[name]["scores"][lr] == pytest.approx(sum(scores) / len(scores))
    for tuned in found.values():
        assert tuned["scores"][tuned["chosen"]] == max(tuned["scores"].values())


class Counted(Scratch):
    """Scratch that counts how often it is asked."""

    name = "counted"
    asked = 0

    def adapt(self, *arguments: Any) -> Any:
        Counted.asked += 1
        return super().adapt(*arguments)


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> type[Counted]:
    """A method `counted` in the table."""
    Counted.asked = 0
    table = {**METHODS, "counted": lambda m: Counted(m.generator.hypernetwork.adapter)}
    monkeypatch.setattr("hyperpeft.study.study.METHODS", table)
    return Counted


def test_the_same_again_measures_nothing_and_a_new_method_only_itself(home: Path, counted: type[Counted]) -> None:
    first = study(home, "methods=[counted]").run()
    asked = counted.asked
    assert asked > 0
    assert study(home, "methods=[counted]").run() == first
    assert counted.asked == asked
    both = study(home, "methods=[counted,generated]").run()
    assert counted.asked == asked
    assert {record.method for record in both} == {"counted", "generated"}
    assert "counted" in (home / "out/benchmark/report.md").read_text()


@pytest.mark.parametrize("change", ["evaluation.queries=3", "tuning.lrs=[1e-2]", "split=validation"])
def test_other_settings_in_the_same_folder_are_refused(measured: Path, change: str) -> None:
    with pytest.raises(ValueError, match=f"other settings for .*{change.split('=')[0].split('.')[0]}.*another name"):
        study(measured, "evaluation.seeds=[0,1]", change)


def test_methods_report_and_threads_may_change_in_a_folder(measured: Path) -> None:
    study(measured, "evaluation.seeds=[0,1]", "report.rivals=[from scratch]", "threads=1", "methods=[no adapter]")


def test_more_shots_steps_and_seeds_are_added_to_a_folder(home: Path, counted: type[Counted]) -> None:
    small = study(
        home, "methods=[counted]", "evaluation.seeds=[0]", "evaluation.shots=[2]", "evaluation.steps=[0]"
    ).run()
    asked = counted.asked
    both = study(home, "methods=[counted]", "evaluation.seeds=[1]", "evaluation.shots=[0,2]", "evaluation.steps=[0,1]")
    records = both.run()
    assert records[: len(small)] == small
    assert counted.asked > asked
    assert {(r.shots, r.steps, r.seed) for r in records[len(small) :]} == {(0, 0, 1), (2, 0, 1), (2, 1, 1)}
    assert both.folder.settings()["evaluation"]["seeds"] == [0, 1]
    study(home, "methods=[no adapter]", "evaluation.seeds=[0]", "evaluation.shots=[2]", "evaluation.steps=[0]").run()
    report = (home / "out/benchmark/report.md").read_text()
    assert "2 shots, 0 steps: of 2 seeds fewer for no adapter (1)." in report
    assert "| counted |" in report
    assert "0.1: " in report


def test_a_report_may_be_of_some_tasks(measured: Path, home: Path) -> None:
    folder = copied(measured, home)
    whole = read_records(folder / "records.jsonl")
    some = sorted({record.task for record in whole})[0]
    assert study(home, f"report.tasks={some}").run() == [record for record in whole if record.task == some]
    assert read_records(folder / "records.jsonl") == whole
    assert (folder / "report.md").read_text().splitlines()[2].startswith("- 1 tasks")


@pytest.mark.parametrize(("pattern", "message"), [("(", "no regular expression"), ("none_such", "matches no task")])
def test_a_pattern_of_no_task_is_an_error(home: Path, pattern: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        study(home, f"report.tasks={pattern}")


def copied(measured: Path, home: Path) -> Path:
    """The finished benchmark's folder, as one of the generator in `home`."""
    folder = home / "out/benchmark"
    shutil.copytree(measured / "out", home / "out")
    settings = read_yaml(folder / "config.yaml")
    settings.generator = f"{home}/generator"
    OmegaConf.save(settings, folder / "config.yaml")
    return folder


@pytest.mark.parametrize("name", ["config.yaml", "step_sizes.yaml", "sittings.yaml"])
def test_a_damaged_file_of_a_folder_is_named(home: Path, measured: Path, name: str) -> None:
    (copied(measured, home) / name).write_text("a: [")
    with pytest.raises(ConfigError, match=f"{name} cannot be read as YAML"):
        study(home, "evaluation.seeds=[0,1]").run()


def test_a_folder_of_something_else_is_refused(home: Path, measured: Path) -> None:
    (copied(measured, home) / "config.yaml").write_text("other: 1\n")
    with pytest.raises(ConfigError, match="other settings for"):
        study(home)


def test_another_generator_under_the_same_path_is_refused(home: Path, measured: Path) -> None:
    copied(measured, home)
    study(home, "evaluation.seeds=[0,1]")
    other = Generator.from_pretrained(home / "generator")
    for parameter in other.hypernetwork.parameters():
        parameter.data.add_(0.5)
    other.save_pretrained(home / "generator")
    with pytest.raises(ValueError, match="its weights have changed"):
        study(home, "evaluation.seeds=[0,1]")


def test_materials_keep_the_splits_apart(home: Path) -> None:
    materials = study(home).materials
    trained = {task.name for task in materials.train}
    assert trained == {"colour", "size"}
    assert set(materials.measured) == {"sound", "taste", "speed", "weight", "shape"}
    inputs = {example.input for task in materials.train for example in task.examples}
    assert not inputs & {example.input for task in materials.measured.values() for example in task.examples}


def test_measured_tasks_that_were_trained_on_are_refused(home: Path) -> None:
    about = yaml.safe_load((home / "generator/config.yaml").read_text())
    about["about"]["meta_train_tasks"].append("speed")
    (home / "generator/config.yaml").write_text(yaml.safe_dump(about))
    with pytest.raises(ValueError, match=r"was meta-trained on \['speed'\]"):
        study(home)


def test_another_corpus_can_be_measured(home: Path) -> None:
    write_corpus(home / "elsewhere" / "corpus")
    splits = {"families": {**FAMILIES, "colour": "excluded", "size": "excluded", "shape": "train"}}
    (home / "elsewhere/splits.yaml").write_text(json.dumps(splits))
    path = home / "elsewhere"
    made = study(home, "corpus.kind=folder", f"corpus.path={path}/corpus", f"corpus.splits={path}/splits.yaml")
    assert {task.name for task in made.tasks} == {"speed", "weight"}
    assert {task.name for task in made.materials.train} == {"colour", "size"}


def test_without_the_training_corpus_only_methods_that_need_it_are_left_out(home: Path) -> None:
    corpus = write_corpus(home / "here" / "corpus")
    change = ["corpus.kind=folder", f"corpus.path={corpus}", f"corpus.splits={home}/here/splits.yaml"]
    settings = yaml.safe_load((home / "generator/config.yaml").read_text())
    settings["about"]["run"]["corpus"]["path"] = str(home / "nowhere")
    (home / "generator/config.yaml").write_text(yaml.safe_dump(settings))
    with pytest.raises(ValueError, match="cannot be read here"):
        study(home)
    study(home, *change, "methods=[generated]").run()
    with pytest.raises(ValueError, match="'shared multi-task adapter' cannot run: what the generator was meta-trained"):
        study(home, *change, "methods=['shared multi-task adapter']").run()


def test_skipped_tasks_are_counted_and_too_few_is_said_beforehand(home: Path) -> None:
    corpus = write_corpus(home / "uneven" / "corpus", {"speed": 4, "shape": 4})
    change = ["corpus.kind=folder", f"corpus.path={corpus}", f"corpus.splits={home}/uneven/splits.yaml"]
    made = study(home, *change, "evaluation.shots=[1]", "name=uneven")
    assert made.too_few == {1: []}
    with pytest.raises(ValueError, match="of 3 tasks, 2 have too few examples for 2 shots"):
        study(home, *change, "evaluation.shots=[1,2]")
    write_corpus(home / "one" / "corpus", {"speed": 4})
    change = ["corpus.kind=folder", f"corpus.path={home}/one/corpus", f"corpus.splits={home}/one/splits.yaml"]
    study(home, *change, "methods=[no adapter]", "name=one").run()
    text = (home / "out/one/report.md").read_text()
    assert "2 shots: 2 tasks measured, 1 skipped. Left out, with too few examples: speed." in text


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("methods=[generatd]", "no 'generatd'. Did you mean 'generated'"),
        ("split=train", "measure `test`, or `validation`"),
        ("evaluation.seeds=[]", "evaluation.seeds is"),
        ("evaluation.shots=[-1]", "numbers of 0 or more"),
        ("tuning.lrs=[0]", "step sizes above 0"),
        ("tuning.shots=[0]", "shots and of steps above 0"),
    ],
)
def test_wrong_settings_are_named(home: Path, change: str, message: str) -> None:
    with pytest.raises(ValueError, match=message.replace("(", r"\(")):
        study(home, change)


# ---- methods that cannot be used


class Needy(Scratch):
    """Needs a package that nobody has."""

    name = "needy"
    requires = ("no_such_package",)


class Foreign(Scratch):
    """For no backbone."""

    name = "foreign"

    def suits(self, backbone: Any) -> bool:
        return False


def _unlearnable(materials: Materials) -> Method:
    raise ImportError("learn2learn is missing")


@pytest.fixture
def odd_methods(monkeypatch: pytest.MonkeyPatch) -> None:
    table = {
        "no adapter": METHODS["no adapter"],
        "needy": lambda m: Needy(m.generator.hypernetwork.adapter),
        "foreign": lambda m: Foreign(m.generator.hypernetwork.adapter),
        "unlearnable": _unlearnable,
    }
    monkeypatch.setattr("hyperpeft.study.study.METHODS", table)


@pytest.mark.usefixtures("odd_methods")
def test_of_all_methods_those_that_cannot_run_are_left_out_and_named(home: Path) -> None:
    made = study(home, "methods=null")
    records = made.run()
    assert {record.method for record in records} == {"no adapter"}
    assert made.left_out["needy"] == "not installed: no_such_package"
    assert "kind encoder" in made.left_out["foreign"]
    text = (home / "out/benchmark/report.md").read_text()
    assert "Method left out: unlearnable (learn2learn is missing)." in text


@pytest.mark.usefixtures("odd_methods")
@pytest.mark.parametrize("name", ["needy", "unlearnable"])
def test_a_method_asked_for_whose_package_is_missing_is_an_error(home: Path, name: str) -> None:
    with pytest.raises(ValueError, match=f"the method '{name}' cannot run"):
        study(home, f"methods=[{name}]").methods()


# ---- cost beforehand


def test_the_estimate_counts_what_is_left_and_trains_nothing(home: Path) -> None:
    methods = "methods=[no adapter,shared multi-task adapter,nearest training task]"
    before = study(home, methods).estimate()
    assert "6 groups of cells to measure" in before
    assert "1 starts to meta-train (shared)" in before
    assert not (home / "out").exists()
    study(home, "methods=[no adapter]").run()
    assert "4 groups of cells" in study(home, methods).estimate()


# ---- tuning


def test_candidate_tasks_are_spread_over_families() -> None:
    tasks = [make_task(name) for name in ("d", "a", "c", "b", "e")]
    assert [task.name for task in spread(tasks, 2)] == ["a", "c"]
    assert [task.name for task in spread(tasks, 9)] == ["a", "b", "c", "d", "e"]


def test_of_equal_scores_the_lower_loss_wins(encoder: Encoder, tmp_path: Path) -> None:
    method = Scratch(Lora(rank=2))
    settings = TuningSettings(lrs=[1e-9, 1e-2], shots=[2], steps=[1, 4], queries=6)
    tasks = [make_task(name) for name in ("sound", "taste")]
    found = tune([method], tasks, encoder, settings, tmp_path)[method.name]
    records = {lr: read_records(tmp_path / f"lr-{lr:g}.jsonl") for lr in settings.lrs}
    losses = {lr: sum(r.loss for r in rows if r.steps) for lr, rows in records.items()}
    best = max(found.scores.values())
    equal = [lr for lr, score in found.scores.items() if score == best]
    assert found.chosen == min(equal, key=losses.__getitem__)


# ---- what is shown


def test_a_terminal_gets_a_table_for_each_number_of_shots(measured: Path) -> None:
    made = study(measured, "evaluation.seeds=[0,1]")
    tables = made.tables(read_records(made.folder.records))
    assert [table.title for table in tables] == ["Benchmark benchmark: 0 shots", "Benchmark benchmark: 2 shots"]
    assert "'shared multi-task adapter'" in str(tables[0].caption)


@pytest.mark.parametrize("name", ["benchmark", "benchmark_quick"])
def test_the_shipped_configurations_are_valid(name: str) -> None:
    config = load_config(BenchmarkConfig, [Path(__file__).parent.parent / f"configs/{name}.yaml"], [])
    assert not set(config.methods or ()) - set(METHODS)
    assert set(config.report.rivals) | {config.report.oracle, config.report.ours} <= set(METHODS)


def test_the_oracle_is_left_out_where_labels_are_codes(home: Path) -> None:
    """The task's other data has the labels that were renamed."""
    with pytest.raises(ConfigError, match="'task oracle' cannot run: labels are codes here"):
        study(home, "methods=[task oracle]", "evaluation.labels=codes").methods()
