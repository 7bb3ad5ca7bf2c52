"""Which kinds of value the functions of expressions take and give, for checks without evaluating them.

One line for each function; a test calls each with a value of every kind and compares. An empty set: anything.
"""

from __future__ import annotations

from msgspec import Struct


class Signature(Struct, frozen=True):
    """Kinds of each argument by its place, and of what the function gives."""

    arguments: tuple[frozenset[str], ...]
    result: frozenset[str]
    named: dict[str, frozenset[str]] = {}
    many: frozenset[str] = frozenset()
    """Of each argument, where there are several in place of one list."""


_WORDS = {"0": "null", "b": "a boolean", "n": "a number", "t": "a text", "l": "a list", "m": "a map"}


def _kinds(letters: str) -> frozenset[str]:
    return frozenset(_WORDS[letter] for letter in letters)


def _signature(arguments: str, result: str, named: str = "", many: str = "") -> Signature:
    """`t t` are two texts, `bt` is a boolean or a text, `.` is anything; `name=t` is an argument with a name."""
    places = tuple(_kinds("" if each == "." else each) for each in arguments.split())
    pairs = [each.partition("=") for each in named.split()]
    return Signature(places, _kinds(result), {name: _kinds(kinds) for name, _, kinds in pairs}, _kinds(many))


SIGNATURES: dict[str, Signature] = {
    "text": _signature("bntlm", "t"),
    "str": _signature("bntlm", "t"),
    "int": _signature("nt", "n"),
    "float": _signature("nt", "n"),
    "bool": _signature("bt", "b"),
    "json": _signature(".", "t"),
    "from_json": _signature("t", ""),
    "len": _signature("tlm", "n"),
    "join": _signature("l t", "t"),
    "split": _signature("t t", "l"),
    "lines": _signature("t", "l"),
    "trim": _signature("t", "t"),
    "upper": _signature("t", "t"),
    "lower": _signature("t", "t"),
    "replace": _signature("t t t", "t"),
    "starts_with": _signature("t t", "b"),
    "ends_with": _signature("t t", "b"),
    "contains": _signature("tlm .", "b"),
    "matches": _signature("t t", "b"),
    "hash": _signature("bntlm", "t"),
    "base64": _signature("t", "t"),
    "from_base64": _signature("t", "t"),
    "url_encode": _signature("t", "t"),
    "basename": _signature("t", "t"),
    "dirname": _signature("t", "t"),
    "min": _signature("l", "nt", many="nt"),
    "max": _signature("l", "nt", many="nt"),
    "sum": _signature("l", "n"),
    "abs": _signature("n", "n"),
    "round": _signature("n n", "n", "digits=n"),
    "floor": _signature("n", "n"),
    "ceil": _signature("n", "n"),
    "sort": _signature("l 0t", "l", "by=0t"),
    "unique": _signature("l", "l"),
    "reverse": _signature("l", "l"),
    "flatten": _signature("l", "l"),
    "first": _signature("l", ""),
    "last": _signature("l", ""),
    "slice": _signature("tl n 0n", "tl", "end=0n"),
    "range": _signature("n 0n n", "l", "end=0n step=n"),
    "chunk": _signature("l n", "l"),
    "keys": _signature("m", "l"),
    "values": _signature("m", "l"),
    "items": _signature("m", "l"),
    "merge": _signature("m", "m", many="m"),
    "pick": _signature("l t", "l"),
    "where": _signature("l", "l"),
    "count": _signature("l", "n"),
    "any": _signature("l", "b"),
    "all": _signature("l", "b"),
    "date": _signature("t t 0t", "t", "form=t zone=0t"),
    "add_days": _signature("t n 0t", "t", "zone=0t"),
    "add": _signature("t t", "t"),
    "timestamp": _signature("t 0t", "n", "zone=0t"),
}
"""All but `default`, which gives what its arguments are."""
