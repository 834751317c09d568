"""Benchmarks from a configuration."""

from hyperpeft.study.recipe import config_of
from hyperpeft.study.study import BenchmarkConfig, Study

__all__ = ["BenchmarkConfig", "Study", "config_of"]
