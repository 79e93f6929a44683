# Everything a newcomer needs: `make demo`, `make test`, `make lint`. `make` alone lists the rest.
# A fresh machine needs Python >= 3.11, git and make; whatever else is wanted goes into $(VENV).

VENV   ?= .venv
DEMO   ?= perfmodel estimate llama-3.1-70b --cluster dgx-h100 --devices 512 --tp 8 --pp 4 --vpp 5 --sequence-parallel \
          --micro-batch 1 --global-batch 512 --sequence-length 8192 --software nemo --as-run
GOLDEN ?= tests/golden/measurements/training.jsonl
PYTEST_ARGS ?=
ORACLE ?= $(BIN)/python
ORACLE_ARGS ?=

BIN  := $(VENV)/bin
CORE := $(VENV)/.core-installed
DEV  := $(VENV)/.dev-installed

# the first Python that runs and is new enough (a name on PATH may be a shim with nothing behind it)
NEW_ENOUGH := import sys; sys.exit(sys.version_info < (3, 11))
PYTHON ?= $(shell for p in python3.13 python3.12 python3.11 python3 python; do \
            $$p -c '$(NEW_ENOUGH)' >/dev/null 2>&1 && { echo $$p; break; }; done)

# no build isolation where hatchling is at hand: then nothing is fetched, and it works offline
define install
@test -x $(BIN)/python || '$(or $(PYTHON),false)' -c '$(NEW_ENOUGH)' 2>/dev/null || \
 { echo "perfmodel needs Python >= 3.11, tried $(or $(PYTHON),python3.13 to python3). Name one: make PYTHON=/path/to/python3.11 $(MAKECMDGOALS)"; exit 1; }
@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
@echo "installing perfmodel$(1) into $(VENV) (once)"
@$(BIN)/python -c 'import hatchling' 2>/dev/null && alone=--no-build-isolation; \
 $(BIN)/python -m pip install -qq --disable-pip-version-check $$alone --editable '.$(1)'
endef

.DEFAULT_GOAL := help
.PHONY: help demo test lint format accuracy validate oracles bench speed notebooks clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: $(CORE) ## estimate one training step (core install only; DEMO="..." for another command)
	@echo '$$ $(strip $(DEMO))'
	@$(BIN)/$(strip $(DEMO))

test: $(DEV) ## tests, doctests and notebooks, in parallel
	$(BIN)/python -m pytest -n logical $(PYTEST_ARGS)

lint: $(DEV) ## ruff, its formatter and mypy; changes nothing
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(DEV) ## let ruff mend what it can
	$(BIN)/ruff check --fix-only .
	$(BIN)/ruff format .

accuracy: $(DEV) ## fit the software sets again, hold each run out, and print every table of README and docs
	$(BIN)/python tools/stacks.py
	$(BIN)/python tools/engines.py
	$(BIN)/python tools/readme.py

validate: $(CORE) ## predictions against the measured runs in tests/golden (GOLDEN=file for others)
	$(BIN)/perfmodel validate $(GOLDEN)

oracles: ## count a sample of the golden files again with torch and transformers (ORACLE=python that has them)
	PYTHONPATH=. $(ORACLE) tools/oracles.py $(ORACLE_ARGS)

bench: $(DEV) ## speed: the files in benchmarks/, which are no part of the tests
	$(BIN)/python -m pytest benchmarks --benchmark-enable --benchmark-timer=benchmarks.clock.cpu_time $(PYTEST_ARGS)

speed: $(DEV) ## the same, and its table in docs/speed.md
	$(BIN)/python tools/speed.py

notebooks: $(DEV) ## execute the notebooks
	$(BIN)/python -m pytest -n logical notebooks/*.ipynb $(PYTEST_ARGS)

clean: ## remove the environment, caches and builds
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis .benchmarks
	find perfmodel tests benchmarks notebooks -name __pycache__ -type d -prune -exec rm -rf {} + 2>/dev/null || true

$(CORE): pyproject.toml
	$(call install,)
	@touch $@

$(DEV): pyproject.toml
	$(call install,[dev])
	@touch $(CORE) $@
