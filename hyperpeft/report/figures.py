"""The figures of a report, each as PNG and SVG. The same records give the same SVG, byte for byte."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any
from zlib import crc32

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from hyperpeft.baselines import METHODS, Generated
from hyperpeft.report.findings import BARE, CONTROLS, ReportSettings, standing
from hyperpeft.report.intervals import Column, Interval, Results, differences

STYLE: Any = {"svg.hashsalt": "hyperpeft", "font.size": 9, "axes.spines.top": False, "axes.spines.right": False}
OURS = "#c1121f"
CONTROL = "#6b7a8f"
RIVALS = ("#12355b", "#2a9d5c")
OTHERS = [color for place, color in enumerate(mpl.color_sequences["tab20"]) if place not in (6, 7)]  # no other reds
MARKERS = "osD^vP*X<>"
Draw = Callable[[Results, ReportSettings], Figure | None]


def write_figures(results: Results, settings: ReportSettings, folder: Path) -> list[str]:
    """Write every figure that the records have something for; returns their names (without ending)."""
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    with mpl.rc_context(STYLE):
        for name, draw in FIGURES.items():
            figure = draw(results, settings)
            if figure is not None:
                figure.savefig(folder / f"{name}.png", dpi=150, bbox_inches="tight")
                figure.savefig(folder / f"{name}.svg", metadata={"Date": None}, bbox_inches="tight")
                written.append(name)
    return written


def steps_to_quality(results: Results, settings: ReportSettings) -> Figure | None:
    """Mean score against fine-tune steps, a panel for each number of shots; dashed: methods that are not fine-tuned.

    Bands are 95 % intervals, of all methods if there are few, else of ours and its rivals.
    """
    shots = _tuned_shots(results)
    if not shots:
        return None
    figure, panels = _panels(shots, width=3.6, height=3.9)
    names = _uncontrolled(results)
    banded = names if len(names) <= 5 else [settings.ours, *settings.rivals]
    for count, axes in zip(shots, panels, strict=True):
        for name in names:
            _curve(axes, results, name, count, settings, band=name in banded)
        _step_axis(axes, results.steps(count))
        axes.set_title(_shots(count))
    panels[0].set_ylabel("mean score, %")
    _legend(figure, panels)
    return figure


def _curve(axes: Axes, results: Results, name: str, shots: int, settings: ReportSettings, *, band: bool) -> None:
    counts = results.steps(shots, name)
    means = [mean for step in counts if (mean := results.mean(name, (shots, step)))]
    if not means:
        return
    style = _style(name, settings)
    middle, low, high = (_percent(means, part) for part in ("mean", "low", "high"))
    if len(counts) == 1:
        dashes = (0, (2 + MARKERS.index(style["marker"]) % 4, 2))
        axes.axhline(middle[0], linestyle=dashes, linewidth=1.4, color=style["color"], label=name)
        return
    axes.plot(counts, middle, label=name, **style)
    if band:
        axes.fill_between(counts, low, high, color=style["color"], alpha=0.12, linewidth=0)


def quality_cost(results: Results, settings: ReportSettings) -> Figure | None:
    """Mean score against what adapting one task took, in CPU seconds on a log axis; a line joins a method's steps."""
    shots = _tuned_shots(results)
    if not shots:
        return None
    figure, panels = _panels(shots, width=3.6, height=3.9)
    for count, axes in zip(shots, panels, strict=True):
        for name in _uncontrolled(results):
            columns = [(count, step) for step in results.steps(count, name)]
            means = [mean for column in columns if (mean := results.mean(name, column))]
            spent = [float(np.mean([r.cpu_seconds for r in results.cells(name, column)])) for column in columns]
            if means:
                axes.plot(np.maximum(spent, 1e-4), _percent(means, "mean"), label=name, **_style(name, settings))
        axes.set_xscale("log")
        axes.set_xlabel("CPU seconds a task")
        axes.set_title(_shots(count))
        axes.grid(alpha=0.25)
    panels[0].set_ylabel("mean score, %")
    _legend(figure, panels)
    return figure


def wins_and_losses(results: Results, settings: ReportSettings) -> Figure | None:
    """Ours less the best baseline on each task, at the most steps that are at most 20; dots are the seeds."""
    found = {column: best_baseline(results, settings, column) for column in _late_columns(results, settings.ours)}
    pairs = {column: best for column, best in found.items() if best}
    rows = {c: differences(results.scores(settings.ours, c), results.scores(*best)) for c, best in pairs.items()}
    names = {task for row in rows.values() for task in row}
    if not names:
        return None
    mean = {
        task: float(np.mean([np.mean(list(r[task].values())) for r in rows.values() if task in r])) for task in names
    }
    tasks = sorted(names, key=lambda task: (mean[task], task))
    figure, panels = _panels(list(rows), width=2.6, height=1.2 + 0.17 * len(tasks), one_scale=True)
    for (column, row), axes in zip(rows.items(), panels, strict=True):
        _bars(axes, tasks, row)
        axes.set_title(f"{_shots(column[0])}, {column[1]} steps\nagainst {pairs[column][0]}", fontsize=8)
    panels[0].set_yticks(range(len(tasks)), tasks, fontsize=7)
    figure.supxlabel("difference in score, points", fontsize=9)
    return figure


def _bars(axes: Axes, tasks: Sequence[str], row: Mapping[str, Mapping[int, float]]) -> None:
    for place, task in enumerate(tasks):
        points = [100 * value for value in row[task].values()] if task in row else []
        if points:
            height = float(np.mean(points))
            axes.barh(place, height, color=OURS if height > 0 else CONTROL, alpha=0.75, height=0.7)
            axes.plot(points, [place] * len(points), ".", color="black", markersize=2.5)
    axes.axvline(0, color="black", linewidth=0.8)
    axes.set_ylim(-0.7, len(tasks) - 0.3)
    axes.grid(axis="x", alpha=0.25)


def best_baseline(results: Results, settings: ReportSettings, column: Column) -> tuple[str, Column] | None:
    """The baseline with the highest mean in a column (the oracle and the controls are none), and where it stands."""
    left_out = {settings.ours, settings.oracle, *CONTROLS}
    places = {name: standing(results, name, column) for name in results.methods if name not in left_out}
    means = {(n, place): mean.mean for n, place in places.items() if place and (mean := results.mean(n, place))}
    return max(means, key=lambda key: means[key]) if means else None


def conditioning(results: Results, settings: ReportSettings) -> Figure | None:
    """What changes when the generator is told less, or something else: paired differences to all of it, at 0 steps."""
    told = [*CONTROLS, "shared multi-task adapter", BARE]
    shots = [k for k in results.shots if any(results.cells(name, (k, 0)) for name in CONTROLS)]
    rows = [name for name in told if name in results.methods]
    if not shots or settings.ours != Generated.name_of("joint"):
        return None
    figure, panels = _panels(shots, width=2.5, height=1.1 + 0.28 * len(rows), one_scale=True)
    for count, axes in zip(shots, panels, strict=True):
        for place, name in enumerate(reversed(rows)):
            compared = results.compare(name, (count, 0), settings.ours)
            if compared:
                _whisker(
                    axes, compared.difference, place, CONTROL if name in CONTROLS else _style(name, settings)["color"]
                )
        axes.axvline(0, color=OURS, linewidth=1)
        axes.set_ylim(-0.6, len(rows) - 0.4)
        axes.set_title(_shots(count))
        axes.grid(axis="x", alpha=0.25)
    panels[0].set_yticks(range(len(rows)), [name.removeprefix("generated, ") for name in reversed(rows)])
    figure.supxlabel("score less that of 'generated' with everything told, points", fontsize=9)
    return figure


def _whisker(axes: Axes, found: Interval, place: int, color: object) -> None:
    axes.plot([100 * found.low, 100 * found.high], [place, place], color=color, linewidth=1.5)
    axes.plot(100 * found.mean, place, "o", color=color, markersize=5)


def _late_columns(results: Results, method: str) -> list[Column]:
    steps = {shots: [n for n in results.steps(shots, method) if n <= 20] for shots in results.shots}
    return [(shots, max(counts)) for shots, counts in steps.items() if counts]


def _tuned_shots(results: Results) -> list[int]:
    return [shots for shots in results.shots if len(results.steps(shots)) > 1]


def _uncontrolled(results: Results) -> list[str]:
    return [name for name in results.methods if name not in CONTROLS]


def _shots(count: int) -> str:
    return f"{count} shot" if count == 1 else f"{count} shots"


def _panels(
    parts: Sequence[object], *, width: float, height: float, one_scale: bool = False
) -> tuple[Figure, list[Axes]]:
    figure = Figure(figsize=(width * len(parts) + 0.6, height), layout="constrained")
    return figure, list(figure.subplots(1, len(parts), sharey=True, sharex=one_scale, squeeze=False)[0])


def _style(name: str, settings: ReportSettings) -> dict[str, Any]:
    """One look for a method in all figures, by its place in METHODS (others by a hash of their name)."""
    if name == settings.ours:
        return {"color": OURS, "marker": "o", "markersize": 5, "linewidth": 2.4, "zorder": 3}
    if name == settings.oracle:
        return {"color": "black", "marker": "*", "markersize": 7, "linewidth": 1.3, "linestyle": "--"}
    if name in settings.rivals[: len(RIVALS)]:
        color = RIVALS[settings.rivals.index(name)]
        return {"color": color, "marker": "s", "markersize": 4.5, "linewidth": 1.8, "zorder": 2.5}
    known = [method for method in METHODS if method not in CONTROLS and method != settings.ours]
    place = known.index(name) if name in known else len(known) + crc32(name.encode())
    other: Any = OTHERS[(2 * place + place // 9) % len(OTHERS)]
    line = ("-", "-.")[place // 9 % 2]
    return {
        "color": other,
        "marker": MARKERS[place % len(MARKERS)],
        "markersize": 4,
        "linewidth": 1.3,
        "linestyle": line,
    }


def _step_axis(axes: Axes, steps: Sequence[int]) -> None:
    first = min(step for step in steps if step)
    axes.set_xscale("symlog", linthresh=first)
    axes.set_xlim(-0.15 * first, 1.2 * max(steps))
    axes.set_xticks(list(steps), [str(step) for step in steps])
    axes.minorticks_off()
    axes.set_xlabel("fine-tune steps")
    axes.grid(alpha=0.25)


def _legend(figure: Figure, panels: Sequence[Axes]) -> None:
    handles = {
        label: handle for axes in panels for handle, label in zip(*axes.get_legend_handles_labels(), strict=True)
    }
    figure.legend(list(handles.values()), list(handles), loc="outside right center", frameon=False, fontsize=8)


def _percent(means: Sequence[Interval], part: str) -> list[float]:
    return [100 * {"mean": mean.mean, "low": mean.low, "high": mean.high}[part] for mean in means]


FIGURES: Mapping[str, Draw] = MappingProxyType(
    {
        "steps_to_quality": steps_to_quality,
        "quality_against_cost": quality_cost,
        "wins_and_losses": wins_and_losses,
        "conditioning": conditioning,
    }
)
