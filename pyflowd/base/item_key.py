"""What an item of a fan-out is known by where its task gives no `key:` (rule F1). Pure; made of the item alone."""

from __future__ import annotations

import hashlib
import json
from typing import Any

KEY_MAX = 200
"""Characters of an item's key; a longer one made by us ends with a hash."""


def default_key(value: Any) -> str:
    """The item itself; of a mapping its plain values, and a hash where it has lists or mappings beside them.

    Stable: the order of a mapping's keys counts only where all its values are plain, as they are then what is shown.
    """
    if not isinstance(value, dict) or not value:
        return _bounded(_word(value))
    plain = [part for part in value.values() if not isinstance(part, (dict, list))]
    text = ", ".join(map(_word, plain))
    if len(plain) == len(value):
        return _bounded(text)
    whole = json.dumps(value, ensure_ascii=False, separators=(",", ":"), sort_keys=True)
    return f"{_printable(text)}#{_digest(whole)}" if text else _bounded(whole)


def _bounded(text: str) -> str:
    if text and len(text) <= KEY_MAX and text.isprintable():
        return text
    return f"{_printable(text)}#{_digest(text)}"


def _printable(text: str) -> str:
    """The begin of `text`, for people."""
    return "".join(letter if letter.isprintable() else "?" for letter in text[: KEY_MAX // 2])


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def _word(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, separators=(",", ":"))
