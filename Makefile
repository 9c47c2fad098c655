# `make` prints the recipes. Each sets up what it needs by itself.

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/.ready
# pip's own options pass through, e.g. PIP_ARGS="--extra-index-url ..." for a CPU build of torch (README, "Install").
PIP_ARGS ?=
HOME_FOLDER ?= $(or $(SORTIMENT_HOME),.sortiment)

.DEFAULT_GOAL := help
.PHONY: help setup demo test check ui bench clean

help:  ## print the recipes
	@grep -hE '^[a-z]+: .*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):[^#]*## /  make \1\t/' | expand -t 16

setup: $(READY)  ## create .venv and install the project with its tests and its AWS part

$(READY): pyproject.toml
	@command -v $(PYTHON) >/dev/null || { echo "make: $(PYTHON) is not there; install Python 3.11 or name one: make PYTHON=..."; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "make: Python 3.11 or newer is needed, $(PYTHON) is `$(PYTHON) -V`; name another: make PYTHON=python3.11"; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "Installing Sortiment into $(VENV) (torch, openvino and dagster: a few minutes the first time)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check $(PIP_ARGS) --editable '.[aws,dev]'
	@touch $(READY)

demo: setup  ## the main job, end to end: make demo [FEED="spec.yaml other.yaml"]
	@SORTIMENT_HOME="$(HOME_FOLDER)" $(BIN)/sortiment demo $(foreach spec,$(FEED),--feed "$(spec)")

test: setup  ## the whole test suite
	@$(BIN)/python -m pytest $(ARGS)

check: setup  ## style: ruff, mypy, import-linter
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

ui: setup  ## the Dagster UI on what the demo made: http://127.0.0.1:3000
	@SORTIMENT_HOME="$(HOME_FOLDER)" $(BIN)/sortiment ui

bench: setup  ## the benchmarks, small: make bench [ARGS="sampling --rows 1e7"]
	@SORTIMENT_HOME="$(HOME_FOLDER)" $(BIN)/sortiment bench $(or $(ARGS),sampling --rows 1e6)

clean:  ## remove the virtual environment and every cache; the home with its models stays
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache build *.egg-info
