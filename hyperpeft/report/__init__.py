"""Records as tables, findings, figures and a report."""

from hyperpeft.report.findings import ReportSettings
from hyperpeft.report.intervals import Comparison, Interval, Results, interval
from hyperpeft.report.markdown import Facts, write_report
from hyperpeft.report.provenance import provenance
from hyperpeft.report.tables import score_table, score_tables, summary

__all__ = [
    "Comparison",
    "Facts",
    "Interval",
    "ReportSettings",
    "Results",
    "interval",
    "provenance",
    "score_table",
    "score_tables",
    "summary",
    "write_report",
]
