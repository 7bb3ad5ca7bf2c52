"""The errors that a user may see, each with its code and its exit status.

    PyflowError
    ├── UsageError            2  the command line is wrong
    ├── NotFound              3  no such workflow, run or task
    ├── Unavailable           4  no daemon, no answer in time, no space, no keeper
    ├── Forbidden             5  the peer may not do this
    └── Refused               6  a bad definition, bad params, a conflict

An error takes data and builds its message: what, where, what to do. It knows nothing of how it is shown. Bugs are
not in this tree: they keep their traceback.
"""

from __future__ import annotations


class PyflowError(Exception):
    """Base of every expected error; `exit_status` is what `pyflowctl` ends with."""

    code = "error"
    exit_status = 1
    fatal = False
    """Whether the daemon must end: nothing may be acknowledged after it (rule I8)."""
    denied = False
    """Whether it is for lack of rights, though it may say that there is nothing."""


class UsageError(PyflowError):
    code = "usage"
    exit_status = 2


class NotFound(PyflowError):
    code = "not_found"
    exit_status = 3


class NoWorkflow(NotFound):
    """`known`: what whoever asks may know of."""

    def __init__(self, name: str, known: list[str]) -> None:
        self.name = name
        super().__init__(f'no workflow "{name}"{nearest(name, known)}; `pyflowctl list` names all')


class NoRun(NotFound):
    def __init__(self, run: int) -> None:
        super().__init__(f"no run {str(run)[:20]}; `pyflowctl history` shows what there is")


class NoBackfill(NotFound):
    def __init__(self, backfill: int) -> None:
        super().__init__(f"no backfill {backfill}; `pyflowctl backfills` shows what there is")


class Unavailable(PyflowError):
    code = "unavailable"
    exit_status = 4


class Forbidden(PyflowError):
    code = "forbidden"
    exit_status = 5
    denied = True


class Refused(PyflowError):
    code = "refused"
    exit_status = 6


def nearest(word: str, choices: list[str] | tuple[str, ...]) -> str:
    """`' (did you mean "x"?)'` for the choice nearest to `word`, or an empty string."""
    import difflib  # costs 2 ms; only an error needs it

    close = difflib.get_close_matches(word, choices, n=1, cutoff=0.6)
    if not close:
        lowered = {choice.lower(): choice for choice in choices}
        close = [lowered[word.lower()]] if word.lower() in lowered else []
    return f' (did you mean "{close[0]}"?)' if close else ""
