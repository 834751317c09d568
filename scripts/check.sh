#!/usr/bin/env bash
# Format, lint, types, import floors, tests: everything that a change must pass.
set -euo pipefail
cd "$(dirname "$0")/.."
ruff format --check .
ruff check .
mypy
lint-imports
python -m pytest "$@"
