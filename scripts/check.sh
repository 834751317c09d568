#!/usr/bin/env bash
# Format, lint, types, import floors, tests: everything that a change must pass.
set -euo pipefail
shopt -s extglob
cd "$(dirname "$0")/.."
ruff format --check .
mdformat --check --wrap 120 --compact-tables --number *.md tasks/*.md docs/!(report_real|support).md  # those are printed
ruff check .
mypy
lint-imports
python -m pytest "$@"
