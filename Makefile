# make train: set up and run the main job.  make test: set up and pass the tests.
PYTHON ?= python3
BIN := .venv/bin
export HF_HUB_OFFLINE ?= 1
export TOKENIZERS_PARALLELISM ?= false

.PHONY: setup train test check bench clean

setup: .venv/.installed

.venv/.installed: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "hyperpeft needs Python 3.11 or newer; choose one: make PYTHON=python3.12 $(MAKECMDGOALS)")'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet -c constraints.txt -e ".[dev,offline]"
	$(BIN)/python -m pip install --quiet --no-deps --use-pep517 --config-settings=--build-option=build_ext learn2learn==0.2.0
	touch $@

train: setup
	$(BIN)/python scripts/train_hyper.py --config configs/default.yaml

test: setup
	$(BIN)/python -m pytest

check: setup
	PATH="$(CURDIR)/$(BIN):$$PATH" bash scripts/check.sh

bench: setup
	@failed=0; \
	for command in \
		"step_cost.py --all --hidden 256 --layers 4 --tokens 32 --repeats 3" \
		"generation_cost.py --repeats 3" \
		"finetune_cost.py --repeats 3" \
		"mixed_rows.py --hidden 256 --layers 4 --repeats 3" \
		"growth.py --repeats 3"; \
	do \
		echo "benchmarks/$$command"; \
		$(BIN)/python benchmarks/$$command || failed=1; \
	done; \
	exit $$failed

clean:
	rm -rf .venv
