"""Scores as a table for the terminal, and as text for a model card."""

from collections.abc import Sequence

from rich.table import Table

from hyperpeft.records import Record
from hyperpeft.report.intervals import Column, Results


def score_table(records: Sequence[Record], *, title: str, reference: str) -> Table:
    """Methods by (shots, steps): mean score in percent with its interval, and the difference to the reference."""
    results = Results(records)
    tasks = len({record.task for record in records})
    seeds = len({record.seed for record in records})
    table = Table(
        title=title,
        caption=f"mean score in % over {tasks} tasks x {seeds} seeds [95 % bootstrap over tasks and seeds]; "
        f"d: paired difference to '{reference}'",
    )
    table.add_column("method")
    for shots, steps in results.columns:
        table.add_column(f"{shots} shots, {steps} steps", justify="right")
    for method in results.methods:
        table.add_row(method, *(_cell(results, method, reference, column) for column in results.columns))
    return table


def score_tables(records: Sequence[Record], *, title: str, reference: str) -> list[Table]:
    """One score table for each number of shots: what a terminal is wide enough for."""
    return [
        score_table([r for r in records if r.shots == shots], title=f"{title}: {shots} shots", reference=reference)
        for shots in Results(records).shots
    ]


def summary(records: Sequence[Record]) -> dict[str, dict[str, str]]:
    """Method -> `shots x steps` -> mean and interval as text: what a model card tells."""
    results = Results(records)
    found: dict[str, dict[str, str]] = {}
    for method in results.methods:
        for column in results.columns:
            if mean := results.mean(method, column):
                found.setdefault(method, {})[f"{column[0]} shots, {column[1]} steps"] = str(mean)
    return found


def _cell(results: Results, method: str, reference: str, column: Column) -> str:
    mean = results.mean(method, column)
    if mean is None:
        return "-"
    compared = None if method == reference else results.compare(method, column, reference)
    return f"{mean}\nd {compared.difference}" if compared else str(mean)
