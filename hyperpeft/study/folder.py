"""The folder of a benchmark: what it remembers, and what may not be mixed in it."""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import yaml
from omegaconf import OmegaConf

from hyperpeft.config import ConfigError, read_yaml
from hyperpeft.records import Record, read_records
from hyperpeft.tuning import Tuned

FREE = ("methods", "report", "threads", "output")
GROWING = ("shots", "steps", "seeds")


class StudyFolder:
    """config.yaml, generator.txt, sittings.yaml, step_sizes.yaml, tuning/, starts/, materials/, records.jsonl, and the
    report with its figures/."""

    def __init__(self, path: Path):
        self.path = path
        self.records = path / "records.jsonl"
        self._config = path / "config.yaml"

    def check(self, settings: Mapping[str, Any], generator: str) -> None:
        """Raise ConfigError if it holds measurements of other settings or of another generator.

        FREE settings may change, and other shots, steps and seeds (GROWING) are cells beside those that it holds.
        """
        if not self._config.exists():
            return
        before, now = _lasting(self.settings()), _lasting(settings)
        changed = sorted(key for key in now if before.get(key) != now[key])
        if (self.path / "generator.txt").read_text(encoding="utf-8") != generator:
            changed.append("generator (its weights have changed)")
        if changed:
            raise ConfigError(
                f"{self.path} holds a benchmark with other settings for {', '.join(changed)}. "
                "Choose another name=..., or remove the folder."
            )

    def begin(self, settings: Mapping[str, Any], generator: str, sitting: Mapping[str, Any]) -> None:
        """Write down what is measured, and a sitting of a new kind (versions, commit, machine)."""
        self.path.mkdir(parents=True, exist_ok=True)
        (self.path / "generator.txt").write_text(generator, encoding="utf-8")
        self._write("config.yaml", {**settings, "evaluation": self._grown(settings["evaluation"])})
        if sitting not in self.sittings():
            self._write("sittings.yaml", [*self.sittings(), dict(sitting)])

    def sittings(self) -> list[dict[str, Any]]:
        """The kinds of sittings that measured, in order."""
        return self._read("sittings.yaml") if (self.path / "sittings.yaml").exists() else []

    def settings(self) -> dict[str, Any]:
        """What was asked for last, with the shots, steps and seeds of all sittings."""
        return self._read("config.yaml")

    def write_step_sizes(self, found: Mapping[str, Tuned]) -> None:
        """Add the chosen step sizes, with the score of each candidate, to those of earlier sittings."""
        self._write("step_sizes.yaml", {**self.step_sizes(), **{name: asdict(tuned) for name, tuned in found.items()}})

    def step_sizes(self) -> dict[str, Any]:
        """By the method's name."""
        return self._read("step_sizes.yaml") if (self.path / "step_sizes.yaml").exists() else {}

    def measured(self) -> list[Record]:
        """The records so far."""
        return read_records(self.records) if self.records.exists() else []

    def _grown(self, evaluation: Mapping[str, Any]) -> dict[str, Any]:
        before = self.settings()["evaluation"] if self._config.exists() else evaluation
        return {**evaluation, **{name: list(dict.fromkeys([*before[name], *evaluation[name]])) for name in GROWING}}

    def _read(self, name: str) -> Any:
        """Raises ConfigError for a damaged file."""
        return OmegaConf.to_container(read_yaml(self.path / name))

    def _write(self, name: str, values: Any) -> None:
        """All of it or nothing: later sittings read it."""
        partial = self.path / f"{name}.partial"
        partial.write_text(yaml.safe_dump(values, sort_keys=False, allow_unicode=True), encoding="utf-8")
        partial.replace(self.path / name)


def _lasting(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings that one folder's records share."""
    kept = {name: value for name, value in settings.items() if name not in FREE}
    kept["evaluation"] = {name: value for name, value in settings.get("evaluation", {}).items() if name not in GROWING}
    return kept
