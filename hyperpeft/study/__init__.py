"""Benchmarks from a configuration."""

from hyperpeft.study.command import benchmark
from hyperpeft.study.study import BenchmarkConfig, Study

__all__ = ["BenchmarkConfig", "Study", "benchmark"]
