"""The command line as a user calls it: results on stdout, the rest on stderr, exit codes."""

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from api_checks import DESCRIPTION, EXAMPLES, INPUTS, LABELS, make
from typer.testing import CliRunner, Result

import hyperpeft.cli
from hyperpeft import Generator, generate, load_adapter
from hyperpeft.cli import app
from hyperpeft.exports import EXPORTS
from hyperpeft.exports.serving import SERVERS
from hyperpeft.metrics import METRICS
from hyperpeft.pretraining import Sequences

COMMANDS = (
    *("pretrain", "train", "calibrate", "benchmark", "info"),
    *("generate", "finetune", "predict", "evaluate", "export"),
)


@pytest.fixture(autouse=True)
def _place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory, folders: dict[str, Path]
) -> None:
    """A working directory in which the backbones are, as saved adapters name them."""
    for name, folder in folders.items():
        (tmp_path / name).symlink_to(folder)
    monkeypatch.setenv("HYPERPEFT_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))
    monkeypatch.setenv("TERM", "dumb")
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="module")
def generator(folders: dict[str, Path]) -> Generator:
    return make(folders, "encoder", "bert")


@pytest.fixture(scope="module")
def generator_folder(generator: Generator, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return generator.save_pretrained(tmp_path_factory.mktemp("generator") / "g")


@pytest.fixture(scope="module")
def adapter(generator: Generator, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return generate(DESCRIPTION, EXAMPLES, generator=generator).save(tmp_path_factory.mktemp("adapters") / "colours")


def call(*arguments: object, stdin: str | bytes | None = None) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments], input=stdin)


def done(*arguments: object, stdin: str | bytes | None = None) -> str:
    result = call(*arguments, stdin=stdin)
    assert result.exit_code == 0, result.stderr
    return result.stdout


def rows(*arguments: object, stdin: str | bytes | None = None) -> list[dict[str, Any]]:
    return [json.loads(line) for line in done(*arguments, "--json", stdin=stdin).splitlines()]


def wrong(*arguments: object, stdin: str | bytes | None = None) -> str:
    result = call(*arguments, stdin=stdin)
    assert result.exit_code == 2
    assert result.stdout == ""
    return " ".join(result.stderr.split())


def csv(path: Path, pairs: list[tuple[str, str]] = EXAMPLES) -> Path:
    path.write_text("input,output\n" + "".join(f"{x},{y}\n" for x, y in pairs), encoding="utf-8")
    return path


# ---- the whole way


def test_from_a_description_and_a_file_to_predictions(generator_folder: Path, tmp_path: Path) -> None:
    file = csv(tmp_path / "mes exemples é.csv")
    (made,) = rows("generate", "-d", DESCRIPTION, "-e", file, "-g", generator_folder, "-o", "out/ä b")
    assert (made["adapter"], made["kind"], made["labels"], made["examples"]) == ("out/ä b", "lora", LABELS, 4)
    expected = generate(DESCRIPTION, EXAMPLES, generator=generator_folder)
    assert done("predict", "out/ä b", *INPUTS).splitlines() == expected.predict(INPUTS)
    found = rows("predict", "out/ä b", *INPUTS, "--probabilities")
    assert [row["input"] for row in found] == INPUTS
    assert [row["probabilities"] for row in found] == expected.predict_proba(INPUTS)
    (tuned,) = rows("finetune", "out/ä b", "--steps", 2, "-o", "out/tuned")
    assert tuned["finetune_steps"] == 2
    assert load_adapter("out/tuned").predict_proba(INPUTS) == expected.finetune(steps=2).predict_proba(INPUTS)
    (chosen,) = rows("finetune", "out/ä b", "--steps", "auto", "-o", "out/auto")
    schedule = load_adapter("out/auto").schedule
    assert schedule is not None
    assert (chosen["finetune_steps"], chosen["schedule"]["how"]) == (schedule.steps, schedule.how)
    assert "neither a number" in wrong("finetune", "out/ä b", "--steps", "0", "-o", "out/none")
    (score,) = rows("evaluate", "out/tuned", "-e", file)
    assert score == {"metric": "accuracy", "score": load_adapter("out/tuned").evaluate(EXAMPLES), "examples": 4}
    assert f"accuracy {score['score']:.4f} (4 examples)" in done("evaluate", "out/tuned", "-e", file)


def test_the_backbones_folder_is_said_where_it_is_not_here(
    adapter: Path, generator_folder: Path, folders: dict[str, Path]
) -> None:
    Path("bert").unlink()
    assert "--backbone FOLDER" in wrong("predict", adapter, "frog")
    said = ("--backbone", folders["bert"])
    (row,) = rows("predict", adapter, "frog", *said)
    assert row["output"] in LABELS
    done("evaluate", adapter, "-e", csv(Path("e.csv")), *said)
    done("finetune", adapter, "--steps", 1, "-o", "tuned", *said)
    done("export", "tuned", "-o", "peft", *said)
    made = call("generate", "-d", DESCRIPTION, "-l", "green", "-l", "red", "-g", generator_folder, "-o", "a b")
    assert f"Next: hyperpeft predict 'a b' 'a text' --backbone {folders['bert']}" in " ".join(made.stderr.split())


def test_the_start_is_chosen_by_the_examples(generator_folder: Path, generator: Generator) -> None:
    file = csv(Path("e.csv"), [*EXAMPLES, *((f"{x} two", y) for x, y in EXAMPLES)])
    arguments = ("generate", "-e", file, "-g", generator_folder)
    (made,) = rows(*arguments, "-o", "auto", "--select", "auto", "--finetune-steps", 1)
    pairs = load_adapter("auto").episode.support
    expected = generate(examples=pairs, generator=generator, select="auto", finetune_steps=1)
    assert made["choice"] == load_adapter("auto").choice == expected.choice
    assert made["choice"] in ("no adapter", "shared adapter", "fine-tuned")
    (made,) = rows(*arguments, "-o", "plain")
    assert made["choice"] == "generated"
    assert "not one of 'generated'" in wrong(*arguments, "-o", "b", "--select", "best")


def test_generation_from_labels_and_several_wordings(generator_folder: Path) -> None:
    done("generate", "-d", DESCRIPTION, "-d", "What colour?", *("-l", "green", "-l", "red"), "-g", generator_folder,
         "-o", "a")  # fmt: skip
    episode = load_adapter("a").episode
    assert (episode.descriptions, episode.labels, episode.support) == ((DESCRIPTION, "What colour?"), tuple(LABELS), ())


def test_generation_from_a_task_file(generator_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "task.yaml").write_text(
        'name: t\ndescriptions: ["Which colour?"]\nlabels: {"green": "like grass", "red": ""}\n'
        'examples: [["grass", "green"], ["blood", "red"]]\n'
    )
    done("generate", "--task", "task.yaml", "-g", generator_folder, "-o", "a")
    episode = load_adapter("a").episode
    assert episode.label_descriptions == ("like grass", "")
    assert len(episode.support) == 2
    assert "give it alone" in wrong("generate", "--task", "task.yaml", "-d", "x", "-o", "b")


@pytest.mark.parametrize("format_name", sorted(EXPORTS))
def test_export_writes_each_format(folders: dict[str, Path], format_name: str) -> None:
    writer = make(folders, "causal_lm", "llama")
    generate(DESCRIPTION, EXAMPLES, generator=writer).save("a")
    (found,) = rows("export", "a", "-f", format_name, "-o", "out")
    assert found == {"folder": "out", "format": format_name, "warnings": []}
    assert (Path("out") / "README.md").is_file()
    assert "--force" in wrong("export", "a", "-f", format_name, "-o", "out")
    done("export", "a", "-f", format_name, "-o", "out", "--force")


def test_export_of_several_in_one_call_with_a_check(adapter: Path, generator: Generator) -> None:
    generate(examples=EXAMPLES, generator=generator).save("second")
    found = rows("export", adapter, "second", "-o", "all", "--server", "vllm")
    assert [row["folder"] for row in found] == ["all/colours", "all/second"]
    assert all("serves language models" in row["warnings"][0] for row in found)
    assert "one name" in wrong("export", adapter, adapter, "-o", "none")


def test_the_table_of_formats_is_printed() -> None:
    text = done("export", "--formats")
    assert all(name in text for name in (*EXPORTS, "lora"))


def test_info_says_versions_devices_and_generators() -> None:
    (facts,) = rows("info")
    assert facts["versions"]["hyperpeft"] == hyperpeft.__version__
    assert facts["versions"]["python"] == sys.version.split()[0]
    assert "cpu" in facts["devices"]
    assert facts["fast dtype"] in ("float32", "bfloat16")
    assert facts["generators"]["default"]["backbone"].startswith("sentence-transformers/all-MiniLM-L6-v2#")
    assert facts["generators"]["default"]["meta-train tasks"] > 0
    assert "best step" in done("info")


# ---- input


@pytest.mark.parametrize(
    ("arguments", "stdin"),
    [
        ((), "frog\n\ntomato\r\nfire engine\n"),
        (("--inputs", "-"), "frog\ntomato\nfire engine"),
        (("--file-format", "jsonl"), "".join(json.dumps({"input": text}) + "\n" for text in INPUTS)),
        (("--file-format", "csv", "--input-column", "thing"), 'thing,x\nfrog,1\ntomato,2\n"fire engine",3\n'),
        (("--file-format", "tsv"), "input\tx\nfrog\t1\ntomato\t2\nfire engine\t3\n"),
    ],
)
def test_inputs_come_from_standard_input(adapter: Path, arguments: tuple[str, ...], stdin: str) -> None:
    assert [row["input"] for row in rows("predict", adapter, *arguments, stdin=stdin)] == INPUTS


def test_no_arguments_print_help() -> None:
    result = call()
    assert all(command in result.output for command in COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_with_an_example(command: str) -> None:
    text = done(command, "--help")
    assert "Example" in text
    assert f"hyperpeft {command}" in text


def test_the_help_names_what_there_is() -> None:
    text = done("export", "--help")
    assert all(name in text for name in (*EXPORTS, *SERVERS))
    assert all(name in done("evaluate", "--help") for name in METRICS)


def test_help_and_version_do_not_import_torch() -> None:
    asked = [["--help"], ["--version"], *([command, "--help"] for command in COMMANDS)]
    code = (
        "import sys\nfrom typer.testing import CliRunner\nfrom hyperpeft.cli import app\n"
        f"print([CliRunner().invoke(app, arguments).exit_code for arguments in {asked!r}])\n"
        "print({'torch', 'transformers', 'numpy', 'sklearn', 'lightning'} & sys.modules.keys())"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert found.stdout.splitlines() == [str([0] * len(asked)), "set()"], found.stderr


# ---- mistakes


def test_mistakes_are_one_line_on_stderr_and_exit_code_2(adapter: Path, generator_folder: Path) -> None:
    assert "error: nowhere is no saved adapter" in wrong("predict", "nowhere", "x")
    assert "given twice" in wrong("predict", adapter, "x", "--inputs", "f.txt")
    assert "neither a description nor examples" in wrong("generate", "-g", generator_folder, "-o", "a")
    assert "no metric 'acuracy'. Did you mean 'accuracy'" in wrong(
        "evaluate", adapter, "-e", csv(Path("e.csv")), "--metric", "acuracy"
    )
    assert "no export format 'pefft'. Did you mean 'peft'" in wrong("export", adapter, "-f", "pefft", "-o", "x")
    assert "no server 'vlm' to check for. Did you mean 'vllm'" in wrong("export", adapter, "-o", "y", "--server", "vlm")
    assert "x cannot be written: e.csv is no folder to write in" in wrong(
        "generate", "-d", "x", "-l", "a", "-l", "b", "-g", generator_folder, "-o", "e.csv/x"
    )
    assert "optim.lrr" in wrong("train", "--config", write_config(), "optim.lrr=1")
    assert "No such option: --what" in wrong("predict", adapter, "--what")
    assert not Path("a").exists()
    assert not Path("x").exists()
    assert not Path("y").exists()


def test_a_taken_folder_is_refused_before_the_work(
    adapter: Path, generator_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("a").mkdir()
    monkeypatch.setattr("hyperpeft.adapter.Adapter.finetune", None)
    monkeypatch.setattr("hyperpeft.generator.Generator.generate", None)
    assert "a exists already" in wrong("generate", "-e", csv(Path("e.csv")), "-g", generator_folder, "-o", "a")
    assert "a exists already" in wrong("finetune", adapter, "-o", "a")


def test_what_the_file_system_refuses_is_no_bug(adapter: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied", "somewhere")

    monkeypatch.setattr("hyperpeft.adapter.Adapter.export", refuse)
    assert "Permission denied: 'somewhere'" in wrong("export", adapter, "-o", "x")


def write_config() -> Path:
    Path("c.yaml").write_text("name: c\n")
    return Path("c.yaml")


def test_traceback_shows_where() -> None:
    result = call("--traceback", "predict", "nowhere", "x")
    assert isinstance(result.exception, ValueError)


def test_an_interruption_is_exit_code_130(adapter: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("hyperpeft.adapter.Adapter.predict", stop)
    result = call("predict", adapter, "x")
    assert (result.exit_code, result.stdout) == (130, "")
    assert "interrupted" in result.stderr


# ---- train and benchmark


@pytest.mark.parametrize("command", ["pretrain", "train", "benchmark"])
def test_print_config_merges_files_and_overrides(command: str) -> None:
    text = done(command, "--config", write_config(), "--print-config", "threads=1")
    assert "name: c\n" in text
    assert "threads: 1\n" in text


def test_the_script_calls_the_same_command(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        hyperpeft.cli.train(["--config", str(write_config()), "--print-config", "steps=7"])
    assert stop.value.code == 0
    assert "steps: 7\n" in capsys.readouterr().out


@pytest.mark.filterwarnings("ignore")
def test_an_interrupted_pretraining_goes_on_to_a_backbone_and_the_next_command(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2}
    corpus = ["corpus.tasks=60", "corpus.examples=16", "sequences.tokens=300"]
    asked = ["output=out", "steps=2", "every=1", *corpus, *(f"model.{name}={size}" for name, size in sizes.items())]
    asked += ["trainer.accelerator=cpu", "trainer.enable_progress_bar=false", "trainer.log_every_n_steps=1"]
    command = ["pretrain", "--config", str(write_config()), *asked]

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(Sequences, "batch", stop)
        result = call(*command)
    assert (result.exit_code, result.stdout) == (130, "")
    assert "the same command goes on" in result.stderr
    place = Path("out/c/backbone")
    assert not place.exists()
    said = done(*command)
    assert f"The backbone is in {place}" in said
    (command_line,) = [line for line in said.splitlines() if "hyperpeft train" in line]
    next_command = shlex.split(command_line)
    assert next_command[5:7] == [f"backbone.model={place}", "objective.adapters=out/c/codes"]
    assert json.loads(next_command[7].removeprefix("corpus="))["tasks"] == 60
    assert (place / "model.safetensors").exists()
    assert Path("out/c/codes").is_dir()
    (found,) = rows(*command)
    assert found == {"backbone": str(place)}


# ---- the process


def test_the_process_ends_with_the_code_and_without_colours_when_piped() -> None:
    environment = {**os.environ, "PYTHONWARNINGS": "ignore"}
    environment.pop("TERM", None)
    python = [sys.executable, "-c", "from hyperpeft.cli import main; main()"]
    bad = subprocess.run([*python, "predict", "nowhere", "x"], capture_output=True, text=True, env=environment)
    assert (bad.returncode, bad.stdout) == (2, "")
    assert "error: nowhere is no saved adapter" in bad.stderr
    assert "\x1b[" not in bad.stderr


@pytest.mark.parametrize(("typed", "found"), [("ge", ["generate"]), ("e", ["evaluate", "export"])])
def test_the_shell_completes_commands(typed: str, found: list[str]) -> None:
    asked = {"_HYPERPEFT_COMPLETE": "complete_bash", "COMP_WORDS": f"hyperpeft {typed}", "COMP_CWORD": "1"}
    result = CliRunner().invoke(app, [], env=asked, prog_name="hyperpeft")
    assert result.stdout.split() == found
