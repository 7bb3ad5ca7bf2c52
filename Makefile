# Two commands do all the set-up: `make demo` and `make test`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
SOURCES := $(shell find pyflowd pyflowctl bin -type f -not -name '*.pyc')

.PHONY: demo test check format long decades zones bench clean

demo: $(VENV)/installed  ## start a daemon on a throw-away root, run an example, show what happened
	@PATH="$(CURDIR)/$(BIN):$$PATH" sh etc/demo.sh

test: $(VENV)/dev  ## all tests, in parallel
	$(BIN)/python -m pytest -q -n 4 --dist worksteal $(ARGS)

long: $(VENV)/dev  ## the kill tests many times over
	PYFLOW_LONG=1 $(BIN)/python -m pytest -q -n 4 --dist worksteal tests/daemon/test_survival.py $(ARGS)

decades: $(VENV)/dev  ## a thousand simulated decades: every planned slot is one row
	PYFLOW_DECADES=1000 $(BIN)/python -m pytest -q -n 4 --dist worksteal tests/daemon/test_decade.py $(ARGS)

zones: $(VENV)/dev  ## every change of every zone from 2000 to 2040 against the slow oracle
	PYFLOW_LONG=1 $(BIN)/python -m pytest -q -n 4 --dist worksteal tests/unit/test_schedule_zones.py $(ARGS)

check: $(VENV)/dev  ## format, lint, strict types, floors
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/python -m pytest -q tests/test_floors.py

format: $(VENV)/dev  ## put the code into its format
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: $(VENV)/installed $(VENV)/dev  ## every benchmark, one line each
	$(BIN)/python -m benchmarks

$(VENV)/bin/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "PyFlow needs Python 3.11 or later; say: make PYTHON=python3.11")'
	$(PYTHON) -m venv $(VENV)

$(VENV)/installed: $(VENV)/bin/python pyproject.toml $(SOURCES)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check .
	@rm -rf build *.egg-info
	@touch $@

$(VENV)/dev: $(VENV)/bin/python pyproject.toml | $(VENV)/installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check '.[dev]'
	@rm -rf build *.egg-info
	@touch $@

clean:  ## take away the environment and every cache
	rm -rf $(VENV) build *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
