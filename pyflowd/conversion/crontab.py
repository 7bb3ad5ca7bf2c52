"""A crontab, read: jobs with what stands above them, and the lines that are neither job nor assignment. Pure.

The dialect is that of Debian's cron, crontab(5); what cronie and BSD add and can be told apart is taken with a remark:
`CRON_TZ`, `RANDOM_DELAY`, `-` before a line, `user:group`. A line that cron itself would refuse is a fault, and does
not harm its neighbours. It knows nothing of workflows and of which users there are.
"""

from __future__ import annotations

import re

from msgspec import Struct

from pyflowd.conversion import crontab_time
from pyflowd.conversion.crontab_time import Times

MAX_BYTES = 8 << 20
"""As of a definition (rule D5); cron once read crontabs of any size (CVE-2019-9704)."""
_ASSIGNMENT = re.compile(r"""[ \t]*(?:"([^"]*)"|'([^']*)'|([^ \t="'][^ \t=]*))[ \t]*=[ \t]*(.*)""", re.DOTALL)
_QUOTED_VALUE = re.compile(r"""(?:"([^"]*)"|'([^']*)')[ \t]*""", re.DOTALL)
_USER = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,31}\$?", re.ASCII)
_TIME_WORD = re.compile(r"[0-9*][0-9*,/-]*[ \t]", re.ASCII)
_TIMES = re.compile(
    r"(?:@[a-z]+|(?:[0-9*][0-9a-z*,/-]*[ \t]+){4}[0-9a-z*][0-9a-z*,/-]*)[ \t]+\S", re.ASCII | re.IGNORECASE
)
_VARIABLE = re.compile(r"\$[A-Za-z_{]")


class Job(Struct, frozen=True, kw_only=True):
    """One line that cron would run."""

    line: int
    schedule: str
    """The five fields with single blanks, or the nickname."""
    times: Times
    user: str | None
    """None in a user's own crontab."""
    group: str | None = None
    command: str
    """What the shell is given, `%` already dealt with."""
    stdin: str | None = None
    """What follows the first bare `%`, as lines."""
    env: dict[str, str] = {}
    """The assignments above the line, all of them."""
    quiet: bool = False
    comment: tuple[str, ...] = ()
    """Lines of comment right above it."""
    remarks: tuple[str, ...] = ()
    """What cron would do otherwise than its reader may think."""


class Fault(Struct, frozen=True, kw_only=True):
    line: int
    reason: str


class Crontab(Struct, frozen=True, kw_only=True):
    jobs: tuple[Job, ...] = ()
    faults: tuple[Fault, ...] = ()
    remarks: tuple[str, ...] = ()
    """About the file as a whole."""


def read(data: bytes, *, system: bool) -> Crontab:
    """All lines of a crontab; `system`: with a user column, as /etc/crontab and files of cron.d have it."""
    if len(data) > MAX_BYTES:
        fault = Fault(line=1, reason=f"the file has {len(data)} bytes, no crontab has more than {MAX_BYTES}")
        return Crontab(faults=(fault,))
    jobs: list[Job] = []
    faults: list[Fault] = []
    env: dict[str, str] = {}
    comment: list[str] = []
    for number, raw in enumerate(data.split(b"\n"), 1):
        try:
            line = _text(raw)
            if not line.strip(" \t"):
                comment = []
            elif line.lstrip(" \t").startswith("#"):
                comment.append(line.strip(" \t")[1:].strip())
            elif assigned := _assignment(line):
                env[assigned[0]] = assigned[1]
                comment = []
            else:
                jobs.append(_job(number, line, dict(env), tuple(comment), system))
                comment = []
        except ValueError as wrong:
            faults.append(Fault(line=number, reason=str(wrong)))
            comment = []
    return Crontab(jobs=tuple(jobs), faults=tuple(faults), remarks=tuple(_about(data, jobs)))


def _text(raw: bytes) -> str:
    if b"\0" in raw:
        raise ValueError("a NUL: this is no text")
    try:
        return raw.removesuffix(b"\r").decode()
    except UnicodeDecodeError:
        raise ValueError("not UTF-8: convert the file, as with iconv -f latin1 -t utf-8") from None


def _about(data: bytes, jobs: list[Job]) -> list[str]:
    """What is to be said of the file."""
    found = []
    if b"\r\n" in data:
        found.append("its lines end as on Windows: cron would give each command a carriage return; they are left out")
    if data and not data.endswith(b"\n"):
        found.append("the last line does not end: Debian's cron ignores such a file")
    commented = [line for line in data.split(b"\n") if line.lstrip().startswith(b"#") and _looks_like_job(line)]
    if commented:
        few = "1 line that is" if len(commented) == 1 else f"{len(commented)} lines that are"
        found.append(f"{few} commented out, and would be a job otherwise: not imported")
    return found


def _looks_like_job(line: bytes) -> bool:
    return bool(_TIMES.match(line.decode(errors="replace").lstrip(" \t").lstrip("#").lstrip(" \t")))


# ---- Assignments ----------------------------------------------------------------------------------------------------


def _assignment(line: str) -> tuple[str, str] | None:
    """Name and value; None if the line is none. Nothing in a value is expanded."""
    found = _ASSIGNMENT.fullmatch(line)
    if found is None:
        return None
    name = next(part for part in found.group(1, 2, 3) if part is not None)
    value = found[4].strip(" \t")
    if value[:1] in ("'", '"'):
        quoted = _QUOTED_VALUE.fullmatch(value)
        if quoted is None:
            raise ValueError(f"{name}: the value begins with a quote, and does not end with it: cron refuses the line")
        value = quoted[1] if quoted[1] is not None else quoted[2]
    if not name:
        raise ValueError("an assignment to a variable without a name")
    return name, value


# ---- Jobs -----------------------------------------------------------------------------------------------------------


def _job(number: int, line: str, env: dict[str, str], comment: tuple[str, ...], system: bool) -> Job:
    rest = line.lstrip(" \t")
    remarks = []
    quiet = rest.startswith("-")
    if quiet:
        rest = rest[1:]
        remarks.append("the - before the line, which keeps it out of the log of other crons, means nothing here")
    words, rest = _times(rest)
    user = group = None
    if system:
        user, group, rest = _user(rest)
        if group:
            remarks.append(f"group {group} is not taken over: the job gets the groups of {user}")
    if not rest:
        raise ValueError(f"there is no command after {user}" if system else "there is no command")
    if _TIME_WORD.match(rest):
        remarks.append("the command begins like a sixth field of time: cron has five, and takes it for the command")
    command, stdin = percent(rest)
    if stdin is not None:
        remarks.append("a bare % ends the command, what follows is its standard input (write \\% where % is meant)")
    if command.endswith("\\"):
        remarks.append("the line ends with a backslash: cron joins no lines")
    remarks += [
        f"{name} holds a $, which cron does not expand: it is kept as it is"
        for name, value in env.items()
        if _VARIABLE.search(value)
    ]
    return Job(
        line=number,
        schedule=" ".join(words),
        times=crontab_time.read(words),
        user=user,
        group=group,
        command=command,
        stdin=stdin,
        env=env,
        quiet=quiet,
        comment=comment,
        remarks=tuple(remarks),
    )


def _times(line: str) -> tuple[list[str], str]:
    """The words that say when, and the rest of the line."""
    count = 1 if line.startswith("@") else 5
    words = re.split(r"[ \t]+", line.rstrip(" \t"), maxsplit=count)
    rest = words.pop() if len(words) > count else ""
    if "=" in line and len(words) < count + 1 and re.match(r"(?:export|set|setenv)[ \t]", line):
        raise ValueError(f"cron knows no {words[0]}: write NAME=VALUE")
    if len(words) < count:
        raise ValueError(f"neither a job nor an assignment: a job has five fields of time, here are {len(words)}")
    crontab_time.read(words)
    return words, rest


def _user(rest: str) -> tuple[str, str | None, str]:
    """User, group and what follows of a line with a user column."""
    name, _, command = rest.replace("\t", " ", 1).partition(" ") if "\t" in rest.split(" ")[0] else rest.partition(" ")
    user, _, group = name.partition(":")
    if not name:
        raise ValueError("there is no user, and no command")
    if not _USER.fullmatch(user):
        raise ValueError(f"{name[:40]} stands where the user should: is this a user's crontab? then leave out --system")
    return user, group or None, command.lstrip(" \t")


def percent(text: str) -> tuple[str, str | None]:
    r"""Command and standard input: `\%` is `%`, the first bare `%` ends the command, each later one a line."""
    command: list[str] = []
    at, escaped = 0, False
    while at < len(text) and (escaped or text[at] != "%"):
        if escaped and text[at] == "%":
            command.pop()
        command.append(text[at])
        escaped = text[at] == "\\" and not escaped
        at += 1
    given = text[at + 1 :]
    if not given:
        return "".join(command), None
    lines = re.sub(r"(\\)?%", lambda found: "%" if found[1] else "\n", given)
    return "".join(command), lines if lines.endswith("\n") else lines + "\n"


# ---- Which sort -----------------------------------------------------------------------------------------------------


def looks_like_system(jobs: tuple[Job, ...], accounts: frozenset[str]) -> str:
    """Why a crontab that was read without a user column seems to have one; empty if it does not."""
    if not jobs:
        return ""
    first = [re.split(r"[ \t]+", job.command, maxsplit=1) for job in jobs]
    if all(len(words) == 2 and words[0] in accounts for words in first):
        return f"each command begins with the name of a user ({first[0][0]})"
    return ""
