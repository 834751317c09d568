"""Measure few-shot adaptation: python scripts/benchmark.py --config configs/benchmark_quick.yaml name=mine"""

import sys

from hyperpeft.cli import main

if __name__ == "__main__":
    main(["benchmark", *sys.argv[1:]])
