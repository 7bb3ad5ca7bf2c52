"""What is said of the code of a problem."""

from __future__ import annotations

from msgspec import Struct

from pyflowd.model.problem import Severity


class Code(Struct, frozen=True, kw_only=True):
    """`meaning`: one line, for the table; `why`: what it does to whoever leaves it so, and what to do.

    `bad` and `good` are whole files, where a file of some lines can show it; `shown` says in words what cannot be
    written down, such as a file in another encoding.
    """

    name: str
    meaning: str
    why: str
    severity: Severity = Severity.ERROR
    bad: str = ""
    good: str = ""
    shown: str = ""
