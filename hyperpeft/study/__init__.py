"""Benchmarks from a configuration."""

from hyperpeft.study.study import BenchmarkConfig, Study

__all__ = ["BenchmarkConfig", "Study"]
