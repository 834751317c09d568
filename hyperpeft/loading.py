"""Generators, backbones and saved adapters, read from folders: each once a process where it is large."""

import json
from functools import lru_cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from hyperpeft.backbones import BACKBONES, Backbone
from hyperpeft.calibration import Calibration
from hyperpeft.config import ConfigError, build
from hyperpeft.generator import Generator
from hyperpeft.hub import fetched
from hyperpeft.schedule import Schedule
from hyperpeft.tasks import Episode, as_examples


@lru_cache(maxsize=4)
def load_backbone(settings: str) -> Backbone[Any]:
    """The backbone of JSON settings, loaded once a process."""
    return build(BACKBONES, json.loads(settings), name="backbone")  # type: ignore[no-any-return]


def load_generator(generator: str | Path | None = None) -> Generator:
    """The generator in a folder, of a repository on the Hub, or inside the package by its name; loaded once a process.

    None is `default`; `hyperpeft info` lists those inside. A folder of that name comes first.
    """
    folder = _inside(generator) or fetched(str(generator))
    config = folder / "config.yaml"
    return _load_generator(folder.resolve(), config.stat().st_mtime_ns if config.exists() else 0)


def _inside(name: str | Path | None) -> Path | None:
    """The folder of a generator inside the package; None where the name means another folder or repository."""
    if name is not None and (Path(name).exists() or not str(name).isidentifier()):
        return None
    folder = Path(str(files("hyperpeft") / "generators" / str(name or "default")))
    return folder if name is None or folder.is_dir() else None


@lru_cache(maxsize=4)
def _load_generator(folder: Path, changed: int) -> Generator:
    return Generator.from_pretrained(folder)


def read_about(file: Path) -> tuple[dict[str, Any], Episode]:
    """What Adapter.save wrote beside the weights, and the episode in it; folders of older versions lack some of it.

    Raises ConfigError if it is damaged.
    """
    try:
        about = json.loads(file.read_text(encoding="utf-8"))
        fields = about["episode"]
        lists = {key: tuple(fields[key]) for key in ("descriptions", "labels", "label_descriptions")}
        support = as_examples(fields["support"])
        episode = Episode(task=fields["task"], support=support, metric=fields["metric"], **lists)
        kept = {key: about[key] for key in ("backbone", "backbone_from", "generator", "finetune_steps", "choice")}
        schedule = about.get("schedule")
        kept["schedule"] = Schedule(**schedule) if schedule else None
        kept["calibration"] = Calibration.read(about.get("calibration"))
        return {**kept, "distance": about.get("distance")}, episode
    except (ValueError, KeyError, TypeError) as error:
        raise ConfigError(f"{file} is damaged or of another make ({error!r}). Adapter.save writes it.") from error
