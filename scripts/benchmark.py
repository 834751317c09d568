"""Measure few-shot adaptation: python scripts/benchmark.py --config configs/benchmark_quick.yaml name=mine"""

from hyperpeft.study import benchmark

if __name__ == "__main__":
    benchmark()
