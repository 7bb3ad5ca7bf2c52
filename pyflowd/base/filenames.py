"""Which files of the folder are definitions, by their names (rule D4). Pure text."""

from __future__ import annotations

SUFFIXES = (".yaml", ".yml", ".json")
_NOT_OURS = (".", "~", "#")
"""Names that begin so are hidden files and editors' temporaries. Other leftovers (`x.yaml~`, `#x.yaml#`, `4913`,
`.swp`, `.tmp`, `.part`, `.bak`, `.dpkg-old`, `.rpmsave`, ...) do not end like a definition."""


def is_definition_name(file: str) -> bool:
    return file.endswith(SUFFIXES) and not file.startswith(_NOT_OURS) and "/" not in file


def looks_like_definition(file: str) -> bool:
    """Whether whoever put it there may have meant a definition: as above, or but for capital letters."""
    return file.lower().endswith(SUFFIXES) and not file.startswith(_NOT_OURS)


def split_name(file: str) -> tuple[str, bool]:
    """Stem of a file's name, which names its workflow, and whether it is JSON."""
    for suffix in SUFFIXES:
        if file.endswith(suffix):
            return file.removesuffix(suffix), suffix == ".json"
    return file, False


def is_drop_in_folder(name: str) -> bool:
    """`NAME.yaml.d`: what lies over `NAME.yaml`."""
    return name.endswith(".d") and is_definition_name(name.removesuffix(".d"))
