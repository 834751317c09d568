"""report.md: what was measured, what it says, and where it comes from."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import yaml

from hyperpeft.report.figures import write_figures
from hyperpeft.report.findings import (
    Claim,
    ReportSettings,
    Saving,
    calibration,
    claims,
    costs,
    recovered,
    savings,
)
from hyperpeft.report.intervals import Column, Results

CAPTIONS = {
    "steps_to_quality": "Mean score against fine-tune steps. Dashed: methods that are not fine-tuned.",
    "quality_against_cost": "Mean score against the CPU seconds that adapting one task took, answering not counted.",
    "wins_and_losses": "Each task: score of ours less that of the baseline with the best mean there (picked on these "
    "same tasks, so the comparison favours the baseline). Dots are seeds.",
    "conditioning": "What the generator makes of less, or of wrong, information: difference to telling it everything.",
}


@dataclass(frozen=True)
class Facts:
    """What a report states besides the records.

    too_few: for each number of shots the tasks left out. left_out: methods left out and why. step_sizes: those chosen,
    with every candidate's meta-validation score. sittings: the provenance of each sitting that measured.
    """

    title: str
    config: Mapping[str, Any]
    generator: str
    tasks: Sequence[str]
    too_few: Mapping[int, Sequence[str]]
    left_out: Mapping[str, str] = field(default_factory=dict)
    step_sizes: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    sittings: Sequence[Mapping[str, Any]] = ()


def write_report(results: Results, facts: Facts, settings: ReportSettings, folder: Path) -> Path:
    """Write `report.md` and `figures/` into the folder; returns the report's path. Same records, same report."""
    figures = write_figures(results, settings, folder / "figures")
    parts = [
        f"# {facts.title}",
        _opening(results, facts),
        *(f"![{name}](figures/{name}.png)\n\n*{CAPTIONS[name]}*" for name in figures),
        "## Scores",
        INTERVALS,
        *(_scores(results, shots) for shots in results.shots),
        *_claims(claims(results, settings.ours, settings.references), settings.ours),
        *_savings(savings(results, settings), settings.ours),
        *_recovered(results, settings),
        *_calibration(results),
        *_costs(results),
        *_step_sizes(facts),
        *_provenance(facts),
    ]
    file = folder / "report.md"
    file.write_text("\n\n".join(parts) + "\n", encoding="utf-8")
    return file


INTERVALS = (
    "Mean score in % over tasks, with its 95 % interval in brackets: percentile bootstrap in two stages, tasks with "
    "replacement, then within each drawn task its seeds with replacement. Differences are paired by task and seed. "
    "Intervals are not corrected for the number of comparisons: of twenty true zeros one is expected to look separated."
)


def _opening(results: Results, facts: Facts) -> str:
    seeds = len({record.seed for record in results.records})
    lines = [
        f"{len(facts.tasks)} tasks, {seeds} seeds, {len(results.methods)} methods, {len(results.records)} records."
    ]
    for shots, names in facts.too_few.items():
        measured = len(facts.tasks) - len(names)
        which = f" Left out, with too few examples: {', '.join(names)}." if names else ""
        lines.append(f"{shots} shots: {measured} tasks measured, {len(names)} skipped.{which}")
    lines += [*_fewer(results, "seed"), *_fewer(results, "task")]
    lines += [f"Method left out: {name} ({reason})." for name, reason in facts.left_out.items()]
    return "\n".join(f"- {line}" for line in lines)


def _fewer(results: Results, what: Literal["seed", "task"]) -> list[str]:
    """Which methods were measured with fewer seeds, or on fewer tasks, than others beside them."""
    found = []
    for column in results.columns:
        counts = {name: len({getattr(r, what) for r in results.cells(name, column)}) for name in results.methods}
        most = max(counts.values())
        few = [f"{name} ({count})" for name, count in counts.items() if 0 < count < most]
        if few:
            found.append(f"{_heading(column)}: of {most} {what}s fewer for {', '.join(few)}.")
    return found


def _scores(results: Results, shots: int) -> str:
    columns = [column for column in results.columns if column[0] == shots]
    rows = [
        [name, *(str(results.mean(name, column) or "-") for column in columns)]
        for name in results.methods
        if any(results.cells(name, column) for column in columns)
    ]
    return f"### {shots} shots\n\n" + pipe(["method", *(f"{steps} steps" for _, steps in columns)], rows)


def _claims(found: Sequence[Claim], ours: str) -> list[str]:
    if not found:
        return []
    header = ["against", "shots", "steps", "difference, points", "wins", "losses", "separated from zero", "worst task"]
    rows = [_claim(claim) for claim in found]
    note = (
        "\\* the other is not fine-tuned: it stays where it stands at 0 steps. Wins: % of tasks where ours is better."
    )
    return [f"## Claims for '{ours}'", pipe(header, rows), note]


def _claim(claim: Claim) -> list[str]:
    compared = claim.comparison
    shots, steps = claim.column
    found = compared.difference
    verdict = ("**yes, better**" if found.mean > 0 else "**yes, worse**") if found.separated else "no"
    shares = (f"{100 * share:.0f} %" for share in (compared.wins, compared.losses))
    against = claim.against + (" \\*" if claim.held else "")
    return [against, str(shots), str(steps), signed(found), *shares, verdict, f"{100 * compared.worst:+.1f}"]


def _savings(found: Sequence[Saving], ours: str) -> list[str]:
    if not found:
        return []
    header = ["rival", "shots", f"'{ours}' after", "score, %", "rival needs", "CPU seconds, ours", "CPU seconds, rival"]
    rows = [_saving(saving) for saving in found]
    note = (
        "How long a rival takes to the mean score that ours has after some steps: first crossing of the line through "
        "its measured steps. The CPU seconds are those of adapting one task, linear between the same points."
    )
    return ["## Steps and cost saved at equal quality", pipe(header, rows), note]


def _saving(saving: Saving) -> list[str]:
    steps, seconds = saving.steps, saving.rival_seconds
    return [
        saving.rival,
        str(saving.column[0]),
        f"{saving.column[1]} steps",
        f"{100 * saving.target:.1f}",
        f"> {saving.most} steps" if steps is None else f"{steps:.1f} steps",
        f"{saving.ours_seconds:.3g}",
        "-" if seconds is None else f"{seconds:.3g}",
    ]


def _recovered(results: Results, settings: ReportSettings) -> list[str]:
    found = recovered(results, settings)
    if not found:
        return []
    header = ["method", "shots", "steps", "gain over no adapter", f"gain of '{settings.oracle}'", "share"]
    rows = [
        [r.method, *map(str, r.column), signed(r.gain), signed(r.possible), "-" if r.share is None else _share(r.share)]
        for r in found
    ]
    return ["## Share of the possible gain", pipe(header, rows)]


def _share(share: float) -> str:
    return f"{100 * share:.0f} %"


def _calibration(results: Results) -> list[str]:
    found = {(c.method, c.column): c for c in calibration(results)}
    if not found:
        return []
    columns = sorted({column for _, column in found})
    rows = []
    for name in results.methods:
        cells = [found.get((name, column)) for column in columns]
        if any(cells):
            rows.append([name, *("-" if c is None else f"{100 * c.gap:+.0f} / {100 * c.ece:.0f}" for c in cells)])
    note = (
        "Mean confidence less accuracy (positive: too sure) / expected calibration error in ten bins, both in points."
    )
    return ["## Calibration", pipe(["method", *map(_heading, columns)], rows), note]


def _costs(results: Results) -> list[str]:
    found = costs(results)
    measured = [spent for spent in found if spent.joules is not None]
    header = ["method", "shots", "steps", "CPU s", "wall s", "GFLOP", "peak MB", "parameters"]
    header += ["joules"] if measured else []
    rows = []
    for spent in found:
        peak = "-" if spent.peak_bytes is None else f"{spent.peak_bytes / 2**20:.0f}"
        row = [spent.method, *map(str, spent.column), f"{spent.cpu_seconds:.3g}", f"{spent.seconds:.3g}"]
        row += [f"{spent.flops / 1e9:.3g}", peak, f"{spent.parameters:,}"]
        row += [] if not measured else ["-" if spent.joules is None else f"{spent.joules:.3g}"]
        rows.append(row)
    energy = (
        "Joules are of the processor package (RAPL)."
        if measured
        else "This machine does not expose its energy meter: CPU seconds stand in for energy."
    )
    note = (
        "Of adapting one task, on average, without answering and without meta-training. GFLOP: matrix products in "
        f"torch, 0 where it is done elsewhere. Peak: above what was held before, of a group of tasks. {energy}"
    )
    return ["## Cost", pipe(header, rows), note]


def _step_sizes(facts: Facts) -> list[str]:
    if not facts.step_sizes:
        return []
    rows = [
        [name, _chosen(found), ", ".join(f"{lr:g}: {100 * score:.1f}" for lr, score in found["scores"].items())]
        for name, found in facts.step_sizes.items()
    ]
    header = ["method", "step size", "mean score on meta-validation tasks by candidate, %"]
    return ["## Step sizes, chosen on meta-validation tasks", pipe(header, rows)]


def _chosen(found: Mapping[str, Any]) -> str:
    edge = found["chosen"] in (min(found["scores"]), max(found["scores"]))
    return f"{found['chosen']:g}" + (" (at the edge of the candidates)" if edge else "")


def _provenance(facts: Facts) -> list[str]:
    sittings = [f"```yaml\n{_yaml(sitting)}```" for sitting in facts.sittings]
    note = f"Generator: `{facts.generator}`. {len(sittings)} kind(s) of sitting (version, commit, machine):"
    return ["## Where this comes from", note, *sittings, "Configuration:", f"```yaml\n{_yaml(facts.config)}```"]


def _yaml(values: Mapping[str, Any]) -> str:
    return yaml.safe_dump(dict(values), sort_keys=False, allow_unicode=True, width=110)


def _heading(column: Column) -> str:
    return f"{column[0]} shots, {column[1]} steps"


def signed(found: Any) -> str:
    """An interval in points, with the sign of its mean."""
    return f"{100 * found.mean:+.1f} [{100 * found.low:.1f}, {100 * found.high:.1f}]"


def pipe(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
