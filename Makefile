# Two lines to remember: `make chat` talks, `make test` tests. Everything they need goes into .venv.
PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
STAMP := $(BIN)/.installed
# A machine with a graphics card gets the engine for it; torch for CUDA is several gigabytes.
ENGINE := $(if $(shell command -v nvidia-smi 2>/dev/null),[transformers])

.PHONY: chat test check bench bench-gpu screens format clean

chat: $(STAMP)
	@$(BIN)/hermes chat

test: $(STAMP)-test
	$(BIN)/python -m pytest

check: $(STAMP)-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(STAMP)-bench
	$(BIN)/python -m benchmarks

bench-gpu: $(STAMP)-bench
	$(BIN)/python -m benchmarks.gpu

screens: $(STAMP)-test
	$(BIN)/python -m screenshots

format: $(STAMP)-dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf .venv

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit("hermes needs Python 3.11 or newer: make PYTHON=python3.11 …" if sys.version_info < (3, 11) else 0)'
	@echo "Making .venv (once) …"
	@$(PYTHON) -m venv .venv
	@$(PIP) install --quiet --constraint constraints.txt --upgrade pip

# A stamp for each set of extras: nothing is done again until the files that say what to install change.
$(STAMP): $(BIN)/python pyproject.toml constraints.txt
	@echo "Installing hermes$(ENGINE) …"
	@$(PIP) install --quiet --constraint constraints.txt --editable '.$(ENGINE)'
	@touch $@

$(STAMP)-test: $(STAMP)
	@echo "Installing what the tests need …"
	@$(PIP) install --quiet --constraint constraints.txt --editable '.[test]'
	@touch $@

$(STAMP)-dev: $(STAMP)-test
	@echo "Installing the checkers …"
	@$(PIP) install --quiet --constraint constraints.txt --editable '.[test,dev]'
	@touch $@

# The tests' extra brings the transformers engine and what makes its weights.
$(STAMP)-bench: $(STAMP)-test
	@echo "Installing the peers …"
	@$(PIP) install --quiet --constraint constraints.txt --editable '.[test,bench]'
	@touch $@
