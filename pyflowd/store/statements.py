"""Named SQL statements, read from `.sql` files: each begins with a line `-- name: NAME`; comments may follow."""

from __future__ import annotations

from importlib import resources


def read(file: str) -> dict[str, str]:
    """The statements of one file of this package, by name."""
    statements: dict[str, str] = {}
    for part in (resources.files("pyflowd.store") / file).read_text().split("-- name: ")[1:]:
        name, _, sql = part.partition("\n")
        statements[name.strip()] = sql.strip().rstrip(";")
    return statements


def migrations() -> list[str]:
    """The numbered migrations in order; number one is the first of the list."""
    folder = resources.files("pyflowd.store") / "migrations"
    return [entry.read_text() for entry in sorted(folder.iterdir(), key=lambda entry: entry.name)]
