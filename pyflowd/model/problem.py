"""What is wrong with a file, and where."""

from __future__ import annotations

from enum import StrEnum

from msgspec import Struct


class Severity(StrEnum):
    ERROR = "error"
    WARNING = "warning"


class Problem(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One finding about a file. `line` and `column` count from 1; 0: no place. The message is one line."""

    file: str
    line: int = 0
    column: int = 0
    severity: Severity = Severity.ERROR
    code: str
    message: str
    fix: str = ""

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}:{self.column}" if self.line else self.file
        return f"{place}: {self.message}" + (f" ({self.fix})" if self.fix else "")
