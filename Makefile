# Two commands do all the set-up: `make demo` and `make test`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
SOURCES := $(shell find pyflowd pyflowctl bin -type f -not -name '*.pyc')

.PHONY: demo test screenshots test-faults fuzz check format long decades zones bench clean install uninstall wheels deb test-systemd test-qemu

demo: $(VENV)/installed  ## start a daemon on a throw-away root, run an example, show what happened
	@PATH="$(CURDIR)/$(BIN):$$PATH" sh etc/demo.sh

test: $(VENV)/dev  ## all tests but those of test-systemd, in parallel
	$(BIN)/python -m pytest -q -n 5 --dist worksteal --ignore=tests/systemd $(ARGS)

long: $(VENV)/dev  ## the kill tests many times over
	PYFLOW_LONG=1 $(BIN)/python -m pytest -q -n 4 --dist worksteal tests/daemon/test_survival.py $(ARGS)

test-faults: $(VENV)/dev  ## every fault, as long as LENGTH says: short, normal, long, or a number; the table goes to faults.txt
	PYFLOW_FAULTS=$(or $(LENGTH),normal) PYFLOW_FIGURES=$(CURDIR)/faults.txt \
		$(BIN)/python -m pytest -q -n 2 --dist worksteal tests/faults $(ARGS)

fuzz: $(VENV)/dev  ## bad input to every parser for TIME seconds; with atheris installed: python -m tests.fuzz.guided TARGET
	$(BIN)/python -m tests.fuzz $(or $(TIME),60)

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

screenshots: $(VENV)/dev  ## pictures of the dashboard, for the README: docs/screenshots, made by its tests
	mkdir -p docs/screenshots
	PYFLOW_SCREENSHOTS=$(CURDIR)/docs/screenshots $(BIN)/python -m pytest -q tests/browser/test_pages.py -k complains

install:  ## on this host: sudo make install; offline: PIP_NO_INDEX=1 PIP_FIND_LINKS=FOLDER (made by make wheels)
	@sh etc/install.sh install

uninstall:  ## PURGE=1: settings, accounts and what is remembered, too
	@sh etc/install.sh uninstall

WHEELS ?= wheels
wheels:  ## a folder with all that an installation without network needs
	@WHEELS="$(WHEELS)" sh etc/wheels.sh

deb:  ## a package for this release of Debian or Ubuntu, in dist/
	@sh etc/make-deb.sh

test-qemu: $(VENV)/dev  ## limits and out of memory in a virtual machine whose cgroups have all controllers: needs root, qemu
	PYTHON=$(abspath $(BIN)/python) tests/systemd/vm.sh $(ARGS)

test-systemd: $(VENV)/dev  ## installed, under a booted systemd: needs root
	$(BIN)/python -m pytest -q -n 2 --dist loadfile tests/systemd $(ARGS)

$(VENV)/bin/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "PyFlow needs Python 3.11 or later; say: make PYTHON=python3.11")'
	$(PYTHON) -m venv $(VENV)

$(VENV)/installed: $(VENV)/bin/python pyproject.toml $(SOURCES)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check '.[web]'
	@rm -rf build *.egg-info
	@touch $@

$(VENV)/dev: $(VENV)/bin/python pyproject.toml | $(VENV)/installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check '.[dev,ics,web]'
	@rm -rf build *.egg-info
	@touch $@

clean:  ## take away the environment and every cache
	rm -rf $(VENV) build *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
