"""Typed settings: merging, kinds, and errors that say where, what exists and what to do."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf

from hyperpeft.config import ConfigError, build, did_you_mean, load_config, schema, typed


@dataclass
class Inner:
    lr: float = 0.1
    shots: list[int] = field(default_factory=lambda: [1, 2])


@dataclass
class Settings:
    seed: int = 0
    name: str | None = None
    inner: Inner = field(default_factory=Inner)
    shape: dict[str, Any] = field(default_factory=lambda: {"kind": "box", "width": 2})


class Box:
    def __init__(self, seed: int, width: int, height: float = 1.5, names: list[str] | None = None):
        self.values = (seed, width, height, names)


class Ball:
    def __init__(self, radius: float = 1.0):
        self.radius = radius


SHAPES: Mapping[str, type] = {"box": Box, "ball": Ball}


def plain(config: Any) -> Any:
    return OmegaConf.to_container(config, resolve=True)


def written(tmp_path: Path, text: str, name: str = "a.yaml") -> Path:
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    return path


def test_a_hint_names_the_closest_and_all() -> None:
    assert did_you_mean("lroa", ["mlp", "lora"]) == "Did you mean 'lora'? There is: 'lora', 'mlp'."
    assert did_you_mean("zzz", ["mlp", "lora"]) == "There is: 'lora', 'mlp'."
    assert did_you_mean("zzz", []) == "There is: nothing."


def test_build_passes_settings_defaults_and_what_code_gives() -> None:
    box = build(SHAPES, {"kind": "box", "width": 3, "names": ["a"]}, name="shape", seed=7, unused="never looked at")
    assert box.values == (7, 3, 1.5, ["a"])
    assert type(build(SHAPES, {"kind": "ball", "radius": 2}, name="shape", seed=7).radius) is float


def test_build_does_not_share_or_change_what_it_is_given() -> None:
    settings = {"kind": "box", "width": 3, "names": ["a"]}
    box = build(SHAPES, settings, name="shape", seed=7)
    box.values[3].append("b")
    assert settings == {"kind": "box", "width": 3, "names": ["a"]}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"width": 3}, "shape has no 'kind'. There is: 'ball', 'box'"),
        ({"kind": "boxx"}, r"shape.kind: there is no 'boxx'. Did you mean 'box'\? There is: 'ball', 'box'"),
        (
            {"kind": "box", "widht": 3},
            r"shape has no setting 'widht'. Did you mean 'width'\? There is: 'height', 'names', 'width'",
        ),
        ({"kind": "box"}, "shape needs 'width': no default exists"),
        ({"kind": "box", "width": "wide"}, "shape: .*'wide'.*Integer.*width"),
        ({"kind": "box", "width": 2.5}, "shape: .*'2.5'.*Integer.*width"),
        ({"kind": "box", "width": None}, "shape: .*'None'.*int.*width"),
        ({"kind": "box", "width": 3, "names": "a"}, "shape: .*names"),
        ({"kind": "box", "width": 3, "seed": 1}, "shape has no setting 'seed'"),
        ({"kind": "box", "width": "${nowhere}"}, "shape: .*nowhere"),
    ],
)
def test_build_says_where_what_is_wrong_and_what_there_is(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        build(SHAPES, settings, name="shape", seed=7)


def test_the_signature_is_the_schema() -> None:
    made = schema(Box, without=["seed"])
    assert typed(made, {"width": 4}, name="box") == {"width": 4, "height": 1.5, "names": None}
    assert typed(Settings, {}, name="settings")["inner"] == {"lr": 0.1, "shots": [1, 2]}


def test_files_then_overrides_win_from_left_to_right(tmp_path: Path) -> None:
    one = written(tmp_path, "seed: 1\ninner: {lr: 0.5}\nname: one")
    two = written(tmp_path, "seed: 2\n", "b.yaml")
    config = load_config(Settings, [one, two], ["inner.lr=3e-4", "--inner.shots=[4]", "name=null", "inner.lr=0.25"])
    assert plain(config) == {
        "seed": 2,
        "name": None,
        "inner": {"lr": 0.25, "shots": [4]},
        "shape": {"kind": "box", "width": 2},
    }


def test_no_files_are_the_defaults_and_configs_are_apart() -> None:
    config = load_config(Settings, [], [])
    config.inner.shots.append(3)
    assert plain(load_config(Settings, [], [])) == plain(OmegaConf.structured(Settings))


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        (["shape.kind=ball"], {"kind": "ball"}),
        (["shape.kind=ball", "shape.radius=3"], {"kind": "ball", "radius": 3}),
        (["shape.kind=box"], {"kind": "box", "width": 2}),
        (["shape.width=5"], {"kind": "box", "width": 5}),
    ],
)
def test_another_kind_drops_the_arguments_of_the_former(overrides: list[str], expected: dict[str, Any]) -> None:
    assert plain(load_config(Settings, [], overrides))["shape"] == expected


def test_a_file_may_switch_the_kind_too(tmp_path: Path) -> None:
    file = written(tmp_path, "shape: {kind: ball, radius: 2}")
    assert plain(load_config(Settings, [file], []))["shape"] == {"kind": "ball", "radius": 2}


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("seed", "'seed' is not an override. Write key=value"),
        ("sede=3", "^sede=3: .*'sede'.*Did you mean.*'seed'"),
        ("inner.lrr=3", "^inner.lrr=3: .*'lrr'.*Did you mean.*'lr'"),
        ("seed=x", "^seed=x: .*'x'.*Integer.*seed"),
        ("seed=2.5", "^seed=2.5: .*Integer"),
        ("inner.shots=3", "^inner.shots=3: .*shots"),
        ("inner.kind=box", "^inner.kind=box: Key 'kind' not in 'Inner'"),
        ("shape=3", "^shape=3: .*shape"),
        ("name=[", r"the value of 'name=\[' cannot be read as YAML"),
    ],
)
def test_a_wrong_override_is_named(override: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load_config(Settings, [], [override])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("sede: 3", "'sede'.*Did you mean.*'seed'"),
        ("seed: [1", r"cannot be read as YAML: .*line 1"),
        ("- seed: 1", "the file is not a mapping of sections"),
        ("inner: {lr: fast}", "'fast'.*Float.*inner.lr"),
    ],
)
def test_a_wrong_file_is_named(tmp_path: Path, text: str, message: str) -> None:
    file = written(tmp_path, text)
    with pytest.raises(ConfigError, match=f"^{file}.*{message}"):
        load_config(Settings, [file], [])


def test_an_absent_file_and_one_that_is_no_text_are_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"there is no config file .*none.yaml"):
        load_config(Settings, [tmp_path / "none.yaml"], [])
    (tmp_path / "raw.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match=r"raw.yaml cannot be read as YAML: 'utf-8'"):
        load_config(Settings, [tmp_path / "raw.yaml"], [])


def test_an_empty_file_changes_nothing(tmp_path: Path) -> None:
    assert plain(load_config(Settings, [written(tmp_path, "# nothing yet\n")], [])) == plain(
        load_config(Settings, [], [])
    )
