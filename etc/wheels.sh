#!/bin/sh
# Fills the folder WHEELS with all that `make install` needs where there is no network: for the Python of this host
# (PYTHON, default /usr/bin/python3), so run it on one like the other. PIP_* reach pip.
set -eu

PYTHON=${PYTHON:-/usr/bin/python3}
export PIP_DISABLE_PIP_VERSION_CHECK=1
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"$PYTHON" -m venv "$work/venv"
"$PYTHON" - > "$work/requirements" << 'END'
import tomllib

with open("pyproject.toml", "rb") as file:
    project = tomllib.load(file)
web = project["project"]["optional-dependencies"]["web"]
print(*project["build-system"]["requires"], *project["project"]["dependencies"], *web, sep="\n")
END
"$work/venv/bin/python" -m pip wheel --quiet --wheel-dir "$WHEELS" -r "$work/requirements"
