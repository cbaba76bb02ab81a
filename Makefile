# `make chat` opens the chat, and `make test` runs the tests. Both first install their dependencies into .venv.
PYTHON ?= python3
# An interpreter that is set on the command line gets a separate environment: make test PYTHON=python3.13
ifeq ($(origin PYTHON),file)
VENV ?= .venv
else
VENV ?= .venv-$(shell $(PYTHON) -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null)
endif
BIN := $(VENV)/bin
STAMP := $(BIN)/.installed
# `auto` also installs what runs models on this machine's GPU; the size is printed before the download.
GPU ?= auto
INSTALL = @$(PYTHON) -m tools.install $(VENV)

.PHONY: chat test test-all test-newest newest check check-wheels fresh-machine debootstrap bench bench-gpu check-gpu \
	screens docs man format check-tag dist sbom audit clean

chat: $(STAMP)
	@$(BIN)/hermes chat

test: $(STAMP)-test
	@$(BIN)/python -m pytest -m "not long" -n logical --dist loadfile

test-all: $(STAMP)-test-all
	@$(BIN)/python -m pytest

# The tests with the newest versions that the requirements allow, not those in constraints.txt.
test-newest:
	@$(MAKE) VENV=.venv-newest newest

newest: $(STAMP)-test-all
	$(BIN)/python -m pip install --upgrade --only-binary :all: xllamacpp transformers
	$(BIN)/python -m pytest -m "not long" -n logical --dist loadfile

check: $(STAMP)-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

check-wheels: $(STAMP)
	$(BIN)/python -m tools.check_wheels

# Needs root. Runs the commands of the README on minimal installations of Debian releases.
RELEASE ?= 12 13 testing
fresh-machine:
	@$(SUDO) $(PYTHON) -m tools.fresh_machine $(RELEASE)

# On a Debian or Ubuntu without debootstrap, before `make fresh-machine`.
debootstrap:
	$(SUDO) apt-get update
	$(SUDO) apt-get install --yes debootstrap debian-archive-keyring

bench: $(STAMP)-bench
	$(BIN)/python -m benchmarks

# On a machine with a GPU: the tests, a short run with the time of each kernel, variants of the decode loop, then the rows.
check-gpu: $(STAMP)-bench
	-$(BIN)/python -m pytest tests/gpu tests/engines/test_llama_cpp_gpu.py
	-$(BIN)/python -m benchmarks.gpu --quick --profile
	-$(BIN)/python -m benchmarks.gpu --variants
	$(BIN)/python -m benchmarks.gpu

bench-gpu: $(STAMP)-bench
	$(BIN)/python -m benchmarks.gpu

screens: $(STAMP)-test
	$(BIN)/python -m screenshots

# Writes the generated tables, and builds the site into site/.
docs: $(STAMP)-dev
	$(BIN)/python -m tools.docs
	$(BIN)/zensical build --clean

man: $(STAMP)-test
	$(BIN)/python -m tools.man

# TAG must be the name of the version that the packages will have.
check-tag:
	@test "$$TAG" = "v$$($(PYTHON) -c 'import hermes_cli; print(hermes_cli.__version__)')" || { echo "hermes: the tag $$TAG does not name the version in hermes_cli/__init__.py" >&2; exit 1; }

# The wheel is built from the source distribution. Both have the time of the last commit, so that each build of a commit
# gives the same bytes.
dist: $(STAMP)-release
	rm -rf dist
	SOURCE_DATE_EPOCH=$${SOURCE_DATE_EPOCH:-$$(git log -1 --format=%ct)} $(BIN)/python -P -m build --no-isolation

# CycloneDX: every package in constraints.txt. Each file has a serial number, without which it cannot be attested, so no
# two are equal.
sbom: $(STAMP)-release
	mkdir -p sbom
	$(BIN)/cyclonedx-py requirements --pyproject pyproject.toml --output-file sbom/openhermes-cli.cdx.json constraints.txt

# Looks up the known vulnerabilities of every package in constraints.txt; fails if one cannot be looked up.
audit: $(STAMP)-release
	$(BIN)/pip-audit --requirement constraints.txt --no-deps --disable-pip --strict --progress-spinner off

format: $(STAMP)-dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf .venv .venv-* dist sbom site

# These checks must also work with a Python that is too old to run tools/install.py.
$(BIN)/python:
	@command -v $(PYTHON) >/dev/null || { echo "hermes: there is no $(PYTHON): install Python 3.11 or newer, or name another with PYTHON=…" >&2; exit 69; }
	@$(PYTHON) -c 'import sys; sys.exit("hermes: needs Python 3.11 or newer, and this is %d.%d: install a newer one and name it, such as PYTHON=python3.13" % sys.version_info[:2] if sys.version_info < (3, 11) else 0)'
	$(INSTALL)

# There is one stamp file for each set of extras, so packages are installed again only if the lists of packages change.
$(STAMP): $(BIN)/python pyproject.toml constraints.txt
	$(INSTALL) --gpu=$(GPU) .
	@touch $@

$(STAMP)-test: $(STAMP)
	$(INSTALL) '.[test]'
	@touch $@

$(STAMP)-test-all: $(STAMP)-test
	$(INSTALL) '.[test-all]'
	@touch $@

$(STAMP)-dev: $(STAMP)-test-all
	$(INSTALL) '.[test-all,dev]'
	@touch $@

$(STAMP)-release: $(STAMP)
	$(INSTALL) '.[release]'
	@touch $@

$(STAMP)-bench: $(STAMP)-test-all
	$(INSTALL) '.[test-all,bench]'
	@touch $@
