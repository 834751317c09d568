"""Benchmarks from a configuration."""

from hyperpeft.study.config import BenchmarkConfig
from hyperpeft.study.recipe import config_of
from hyperpeft.study.study import Study

__all__ = ["BenchmarkConfig", "Study", "config_of"]
