"""Typed settings: YAML files, dotted overrides, and construction of kinds from tables.

The signature of a constructor is its schema: settings are `{kind: name, **arguments}`, checked against the
parameters of the class that the table holds under that name.
"""

import dataclasses
import difflib
import inspect
import typing
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException


class ConfigError(ValueError):
    """A setting that cannot be used: says which, what exists, and what to do."""


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """A hint naming the closest known name (if any) and all of them, sorted."""
    names = sorted(known)
    close = difflib.get_close_matches(name, names, n=1)
    hint = f"Did you mean {close[0]!r}? " if close else ""
    return f"{hint}There is: {', '.join(map(repr, names)) or 'nothing'}."


def schema(make: Callable[..., Any], without: Iterable[str] = ()) -> type:
    """A dataclass type with the annotated parameters of a constructor, less those that code passes itself."""
    hints = typing.get_type_hints(make.__init__ if isinstance(make, type) else make)  # type: ignore[misc]
    fields: list[Any] = []
    for name, parameter in inspect.signature(make).parameters.items():
        if name in without:
            continue
        required = parameter.default is inspect.Parameter.empty
        fields.append((name, hints[name], _field(parameter.default, required=required)))
    return dataclasses.make_dataclass(getattr(make, "__name__", "settings"), fields, kw_only=True)


def _field(default: object, *, required: bool) -> Any:
    if required:
        return dataclasses.field()
    return dataclasses.field(default_factory=lambda: default)


def build(table: Mapping[str, Callable[..., Any]], settings: Mapping[str, Any], *, name: str, **given: Any) -> Any:
    """Construct `table[settings["kind"]]` from the other settings.

    `given` are arguments that code supplies: those that the constructor names are passed, and settings may not set
    them. `name` is where the settings stand, for errors (`adapter`, `encoder`, ...).
    Raises ConfigError for an unknown kind, an unknown or missing argument and a value of the wrong type.
    """
    arguments = dict(settings)
    if "kind" not in arguments:
        raise ConfigError(f"{name} has no 'kind'. {did_you_mean('', table)}")
    kind = arguments.pop("kind")
    if kind not in table:
        raise ConfigError(f"{name}.kind: there is no {kind!r}. {did_you_mean(str(kind), table)}")
    make = table[kind]
    passed = {key: value for key, value in given.items() if key in inspect.signature(make).parameters}
    checked = typed(schema(make, without=passed), arguments, name=name)
    return make(**passed, **checked)


def typed(settings_type: type, values: Mapping[str, Any], *, name: str) -> dict[str, Any]:
    """The values as plain containers, completed with defaults and checked against a dataclass type."""
    known = [field.name for field in dataclasses.fields(settings_type)]
    for key in values:
        if key not in known:
            raise ConfigError(f"{name} has no setting {key!r}. {did_you_mean(str(key), known)}")
    try:
        merged = OmegaConf.merge(OmegaConf.structured(settings_type), dict(values))
        missing = sorted(map(str, OmegaConf.missing_keys(merged)))
        if missing:
            raise ConfigError(f"{name} needs {', '.join(map(repr, missing))}: no default exists.")
        return typing.cast(dict[str, Any], OmegaConf.to_container(merged, resolve=True))
    except OmegaConfBaseException as error:
        raise ConfigError(f"{name}: {_one_line(error)}") from error


def load_config(settings_type: type, files: Sequence[Path | str], overrides: Sequence[str]) -> DictConfig:
    """Merge defaults, YAML files (left to right) and `dotted.key=value` overrides into a typed config.

    Sections whose type is a dict (`adapter`, `trainer`, ...) are checked where they are used; switching the `kind` of
    such a section drops the arguments of the former kind.
    Raises ConfigError naming the file or override, with the closest existing key.
    """
    config = OmegaConf.structured(settings_type)
    for file in files:
        config = _merged(config, read_yaml(Path(file)), str(file))
    return overridden(typing.cast(DictConfig, config), overrides)


def overridden(config: DictConfig, overrides: Sequence[str]) -> DictConfig:
    """The config with `dotted.key=value` overrides; raises ConfigError naming the one that does not fit."""
    for override in overrides:
        if "=" not in override:
            raise ConfigError(f"{override!r} is not an override. Write key=value, for example optim.lr=3e-4.")
        config = _merged(config, _read_override(override), override)
    return config


def _merged(config: Any, change: Any, source: str) -> Any:
    try:
        return OmegaConf.merge(_without_former_kinds(config, change), change)
    except OmegaConfBaseException as error:
        raise ConfigError(f"{source}: {_one_line(error)}") from error


def _without_former_kinds(config: Any, change: Any) -> Any:
    if not isinstance(change, DictConfig):
        raise OmegaConfBaseException("the file is not a mapping of sections")
    kept = config.copy()
    for key in change.keys() & kept.keys():
        before, after = _kind(kept[key]), _kind(change[key])
        if before and after and before != after:
            kept[key] = {}
    return kept


def _kind(section: Any) -> Any:
    return section["kind"] if isinstance(section, DictConfig) and "kind" in section else None


def read_yaml(path: Path) -> Any:
    """What a YAML file holds. Raises ConfigError naming the file if it cannot be read."""
    try:
        return OmegaConf.load(path)
    except FileNotFoundError as error:
        raise ConfigError(f"there is no config file {path}.") from error
    except (ValueError, OSError, yaml.YAMLError) as error:
        raise ConfigError(f"{path} cannot be read as YAML: {_one_line(error)}") from error


def _read_override(override: str) -> Any:
    try:
        return OmegaConf.from_dotlist([override.lstrip("-")])
    except yaml.YAMLError as error:
        raise ConfigError(f"the value of {override!r} cannot be read as YAML: {_one_line(error)}") from error


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
