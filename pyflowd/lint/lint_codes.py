"""Every code that a problem of a file may have: what it means, why it is told, and an example of it and of its remedy.

One table, from which `lint --codes`, `lint --explain`, the manual and the tests work: each example is linted, and shows
its code; its remedy does not. The rows are in `lint_codes_files` (what the daemon refuses or warns of, too) and
`lint_codes_advice` (what lint alone looks for).
"""

from __future__ import annotations

from pyflowd.lint.lint_code import Code
from pyflowd.lint.lint_codes_advice import ADVICE
from pyflowd.lint.lint_codes_files import FILES

CODES: dict[str, Code] = {code.name: code for code in sorted((*FILES, *ADVICE), key=lambda code: code.name)}
