"""Whole numbers as addresses and forms have them: decimal, without a sign, of no more digits than fit. Pure."""

from __future__ import annotations

from pyflowd.errors import UsageError

DIGITS_MAX = 18
"""What fits 64 bits, whatever the digits."""


def whole(text: str) -> int | None:
    """None: it is no such number."""
    return int(text) if text.isascii() and text.isdigit() and len(text) <= DIGITS_MAX else None


def asked(text: str, what: str) -> int:
    """Raises UsageError, which names `what` it should have been."""
    found = whole(text)
    if found is None:
        raise UsageError(f"{what} is no number: {text[:40]!r}")
    return found
