# Two commands on a fresh machine with Python ≥ 3.11 and make:
#
#   make demo    install, run the embedded example, print its summary
#   make test    install, run the tests
#
# GPU machines: make setup ENV=cuda

# What was set up stays, unless ENV says otherwise.
ENV ?= $(shell cat .venv/environment 2>/dev/null || echo cpu)
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed-$(ENV)
LOCK := envs/requirements-$(ENV).lock
# The SLURM plugin where the lock itself cannot hold it; its header says why.
PLUGIN_LOCK := $(wildcard envs/requirements-$(ENV)-slurm.lock)

.PHONY: help setup doctor demo test test-slow lint format benchmarks clean

help:  ## what there is to do
	@awk -F':.*## ' '/^[a-z-]+:.*## /{printf "make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(STAMP)  ## make .venv from the lock (ENV=cpu or ENV=cuda)

$(STAMP): $(LOCK) $(PLUGIN_LOCK)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "error: $(PYTHON) is $$($(PYTHON) --version 2>&1)"; \
		echo "  expected: Python 3.11 or newer"; \
		echo "  to mend:  make $(MAKECMDGOALS) PYTHON=/path/to/python3.11"; exit 2; }
	$(PYTHON) -m venv --clear $(VENV)
	@echo $(ENV) > $(VENV)/environment
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r $(LOCK)
	$(if $(PLUGIN_LOCK),$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps -r $(PLUGIN_LOCK))
	@# matplotlib lists the fonts once; parallel first jobs would each do it.
	@$(BIN)/python -c "import matplotlib.font_manager"
	@touch $@

# Not after setup: it has to tell what is wrong with what is there.
doctor:  ## is this machine ready? what is not, with its mend (ARGS="--profile slurm")
	@if [ -x $(BIN)/python ]; then python=$(BIN)/python; else python=$(PYTHON); fi; $$python scripts/doctor.py $(ARGS)

demo: setup  ## run the embedded example and print its summary
	$(BIN)/snakemake --cores all --show-failed-logs --quiet rules host reason
	@cat results/arithmetic/summary.md
	@echo
	@echo "figures   results/arithmetic/summary.png"
	@echo "          results/arithmetic/diagnostics/step-*/<alpha>/n-*/*.png"
	@echo "data      results/arithmetic/training_data/"
	@echo "ledgers   results/arithmetic/selected/"

test: setup  ## unit, property and end-to-end tests: under 10 minutes on 2 cores
	$(BIN)/python -m pytest -m "not slow"

test-slow: setup  ## kill-and-resume, invariance, the whole demo
	$(BIN)/python -m pytest -m slow

lint: setup  ## ruff, mypy --strict, snakefmt
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/snakefmt --check Snakefile rules

format: setup  ## format Python and Snakefiles
	$(BIN)/ruff format .
	$(BIN)/snakefmt Snakefile rules

benchmarks: setup  ## quick figures of this machine
	for program in benchmarks/*.py; do $(BIN)/python $$program --quick || exit 1; done

clean:  ## remove the results of the embedded example
	rm -rf results/arithmetic
