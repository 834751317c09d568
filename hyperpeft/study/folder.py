"""The folder of a benchmark: what it remembers, and what may not be mixed in it."""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import yaml

from hyperpeft.benchmark import Record, read_records
from hyperpeft.config import ConfigError, read_yaml
from hyperpeft.tuning import Tuned

FREE = ("methods", "report", "threads", "output")


class StudyFolder:
    """config.yaml, generator.txt, sittings.yaml, step_sizes.yaml, tuning/, starts/, materials/, records.jsonl, and the
    report with its figures/."""

    def __init__(self, path: Path):
        self.path = path
        self.records = path / "records.jsonl"

    def check(self, settings: Mapping[str, Any], generator: str) -> None:
        """Raise ConfigError if it holds measurements of other settings (FREE ones apart) or of another generator."""
        file = self.path / "config.yaml"
        if not file.exists():
            return
        before = read_yaml(file)
        changed = sorted(key for key in settings if key not in FREE and before.get(key) != settings[key])
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
        self._write("config.yaml", dict(settings))
        if sitting not in self.sittings():
            self._write("sittings.yaml", [*self.sittings(), dict(sitting)])

    def sittings(self) -> list[dict[str, Any]]:
        """The kinds of sittings that measured, in order."""
        file = self.path / "sittings.yaml"
        return yaml.safe_load(file.read_text(encoding="utf-8")) if file.exists() else []

    def write_step_sizes(self, found: Mapping[str, Tuned]) -> None:
        """The chosen step sizes with the score of each candidate."""
        self._write("step_sizes.yaml", {name: asdict(tuned) for name, tuned in found.items()})

    def measured(self) -> list[Record]:
        """The records so far."""
        return read_records(self.records) if self.records.exists() else []

    def _write(self, name: str, values: Any) -> None:
        text = yaml.safe_dump(values, sort_keys=False, allow_unicode=True)
        (self.path / name).write_text(text, encoding="utf-8")
