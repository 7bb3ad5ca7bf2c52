"""From a line of a crontab to a draft of a workflow that does the same: shell, environment, folder, input, times.

What cron does and a workflow does not is a remark, never left out in silence. Pure: which names are taken, and which
channels of mail there are, it is told.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping

from msgspec import Struct

from pyflowd.conversion import crontab_time
from pyflowd.conversion.crontab import Job
from pyflowd.conversion.draft import Draft, DraftTask, Trigger
from pyflowd.model.states import is_name

CRON_PATH = "/usr/bin:/bin"
CRON_SHELL = "/bin/sh"
"""What Debian's cron gives a job whose crontab says nothing."""
_SHORTER = 120
"""Characters of a description; a longer comment is cut at its first sentence, and kept whole at the head."""

_LOOKED_AT = 2000
"""Characters of a command in which its name is looked for."""

_MAIL = ("MAILTO", "MAILFROM", "CONTENT_TYPE", "CONTENT_TRANSFER_ENCODING")
_CONSUMED = frozenset({*_MAIL, "CRON_TZ", "RANDOM_DELAY", "LOGNAME"})
_ENV_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,254}", re.ASCII)
_SECRET = re.compile(r"PASS|SECRET|TOKEN|API_?KEY|PRIVATE", re.IGNORECASE)
_BACKGROUND = re.compile(
    r"(?<![&>|<0-9])&(?![&>0-9])|\b(?:nohup|setsid|disown|start-stop-daemon)\b|/etc/init\.d/|\bservice "
)

_WRAPPERS = frozenset(
    {"sudo", "nice", "ionice", "nohup", "setsid", "exec", "time", "timeout", "env", "command", "chronic", "flock",
     "taskset", "stdbuf", "systemd-cat", "chrt", "chpst", "setlock", "cronic", "eval", "unshare", "logger"}
)  # fmt: skip
"""Programs and words of the shell that only say how another program is run."""
_GO_ON = frozenset({"if", "then", "else", "elif", "do", "{", "(", "!", "while", "until"})
_NOT_IT = frozenset(
    {"cd", "test", "[", "[[", "fi", "for", "done", "case", "esac", "}", ")", ":", "sleep", "true", "false", "exit",
     "set", "export", "umask", "ulimit", ".", "source", "unset", "read", "wait", "mkdir", "trap"}
)  # fmt: skip
"""What is no job by itself."""
_INTERPRETERS = re.compile(r"(?:ba|da|k|z)?sh|python[0-9.]*|perl|ruby|php[0-9.]*|node|java|Rscript", re.ASCII)
_SUFFIX = re.compile(r"\.(?:sh|bash|py|pl|rb|php|js|cron|bin|jar)$")
_SUBCOMMAND = re.compile(r"[a-z][a-z-]{2,15}", re.ASCII)
_OPERATOR = re.compile(r"\|\||&&|[;|&\n]|`")


class Surroundings(Struct, frozen=True, kw_only=True):
    """What is known beside the crontab itself."""

    label: str
    """How the file is called in messages."""
    user: str = ""
    """Of a crontab without a user column."""
    channels: Mapping[str, tuple[str, ...]] = {}
    """Channels of mail in the settings: name to addresses."""


def draft(job: Job, around: Surroundings, name: str) -> Draft:
    """The workflow of a line. Raises ValueError where none can do the same."""
    remarks = [*job.remarks]
    env = _environment(job, remarks)
    user = job.user or around.user
    if job.times.never:
        remarks.append(f"{job.schedule} never comes: it has no schedule, and is started by hand")
    notify = _notify(job, around, remarks)
    shell = (job.env.get("SHELL") or CRON_SHELL, "-c")
    description = _description(job.comment)
    return Draft(
        name=name,
        source=_source(job, around, description),
        description=description,
        triggers=() if job.times.never else (_trigger(job, remarks),),
        overlap="" if job.times.never else "allow",
        user=user,
        shell=shell,
        cwd=_home(job, remarks),
        env=env,
        notify=notify,
        leftover="allow" if job.times.reboot or _BACKGROUND.search(job.command) else "",
        tasks=(DraftTask(name=name, run=job.command, stdin=None if job.stdin is None else escaped(job.stdin)),),
        remarks=tuple(remarks),
    )


def _source(job: Job, around: Surroundings, description: str) -> tuple[str, ...]:
    lines = [f"From {around.label}, line {job.line}, by pyflowctl import cron"]
    said = " ".join(line for line in job.comment if line)
    if said and said != description:
        lines += ["", *job.comment]
    return tuple(lines)


def escaped(text: str) -> str:
    """As a text in which expressions may stand, and none does."""
    return text.replace("${{", "$${{")


# ---- When -----------------------------------------------------------------------------------------------------------


def _trigger(job: Job, remarks: list[str]) -> Trigger:
    return Trigger(cron=job.schedule, timezone=_timezone(job, remarks), jitter_s=_jitter_s(job, remarks))


def _timezone(job: Job, remarks: list[str]) -> str | None:
    name = job.env.get("CRON_TZ")
    if not name:
        return None
    remarks.append("CRON_TZ is read as cronie does, as the zone of the times; Debian's cron takes it for any variable")
    return name


def _jitter_s(job: Job, remarks: list[str]) -> int:
    text = job.env.get("RANDOM_DELAY")
    if not text:
        return 0
    if not (text.isascii() and text.isdigit() and int(text[:6]) <= 10_080):
        raise ValueError(f"RANDOM_DELAY={text[:40]}: write a number of minutes, at most 10080 (a week)")
    remarks.append(
        "RANDOM_DELAY is read as cronie does, as up to so many minutes later; here it is the same delay each time"
    )
    return int(text) * 60


# ---- Environment ----------------------------------------------------------------------------------------------------


def _environment(job: Job, remarks: list[str]) -> dict[str, str]:
    env = {"PATH": CRON_PATH}
    for name, value in job.env.items():
        if name in _CONSUMED:
            continue
        if not _ENV_NAME.fullmatch(name):
            raise ValueError(f"{name[:40]}={value[:40]}: a variable's name has letters, digits and _ only")
        if name.startswith(("PYFLOW_", "PARAM_")):
            raise ValueError(f"{name[:40]}: variables that begin with PYFLOW_ or PARAM_ are made by PyFlow: rename it")
        if _SECRET.search(name) and value:
            remarks.append(f"{name} looks like a secret: whoever may read the file can read it")
        if name == "TZ":
            remarks.append("TZ is the command's zone, as with Debian's cron: the times are those of the host")
        env[name] = escaped(value)
    if "LOGNAME" in job.env:
        remarks.append("LOGNAME cannot be set, as with cron: it is the user's")
    return env


def _home(job: Job, remarks: list[str]) -> str:
    """Cron begins in $HOME, also where the crontab sets it."""
    home = job.env.get("HOME", "")
    if home and not home.startswith("/"):
        remarks.append(f"HOME={home} is no absolute path: it begins in the user's home folder")
        return ""
    return escaped(home)


def _notify(job: Job, around: Surroundings, remarks: list[str]) -> str:
    """The channel that MAILTO becomes; empty where there is none."""
    given = (name for name in _MAIL[1:] if name in job.env)
    remarks.extend(f"{name} is left out: PyFlow sends no mail of what a job prints" for name in given)
    mail = job.env.get("MAILTO")
    if not mail:
        return ""
    wanted = [address.strip() for address in mail.split(",") if address.strip()]
    for channel, addresses in around.channels.items():
        known = {*addresses, *(address.partition("@")[0] for address in addresses)}
        if known.issuperset(wanted):
            remarks.append(f"MAILTO={mail}: cron mails what a job prints; here {channel} is told of runs that failed")
            return channel
    remarks.append(
        f"MAILTO={mail}: cron mails what a job prints; PyFlow keeps it (pyflowctl logs) and tells a channel of runs "
        "that failed: add a channel of mail to the settings, and notify: with its name here"
    )
    return ""


# ---- Words for people -----------------------------------------------------------------------------------------------


def _description(comment: tuple[str, ...]) -> str:
    words = [line for line in comment if re.search(r"[A-Za-z]{3}", line) and not _is_table_head(line)]
    said = " ".join(" ".join(words).split())
    if len(said) <= _SHORTER:
        return said
    first = re.split(r"(?<=[.!?]) ", said, maxsplit=1)[0]
    return first if len(first) <= 2 * _SHORTER else ""


def _is_table_head(line: str) -> bool:
    """`m h dom mon dow command`, and lines that are jobs themselves."""
    words = line.split()
    try:
        crontab_time.read(words[:1] if line.startswith("@") else words[:5])
    except ValueError:
        return bool({"dom", "dow"} & set(words))
    return True


def names(jobs: tuple[Job, ...], taken: set[str]) -> list[str]:
    """A name for each job, of its command, unlike those in `taken`, to which they are added."""
    found = []
    for job in jobs:
        wanted = name = suggest(job.command)
        count = 1
        while name.lower() in taken:
            count += 1
            name = f"{wanted[:58]}-{count}"
        taken.add(name.lower())
        found.append(name)
    return found


def suggest(command: str) -> str:
    """A name made of the first program of a command that does something, and its first word."""
    for part in _OPERATOR.split(_without_substitutions(command[:_LOOKED_AT])):
        program, rest = _program(_words(part))
        name = _SUFFIX.sub("", program.rstrip("/").rpartition("/")[2])
        name = re.sub(r"[^A-Za-z0-9_-]+", "-", name).strip("-_")
        if not name:
            continue
        if rest and _SUBCOMMAND.fullmatch(rest[0]) and name not in ("tar", "echo"):
            name = f"{name}-{rest[0]}"
        if is_name(name[:58]):
            return name[:58]
    return "job"


def _without_substitutions(command: str) -> str:
    """What `$(...)` runs only makes a word of the command proper."""
    if "$(" not in command:
        return command
    shorter, before = re.sub(r"'[^']*'", "''", command), ""
    while shorter != before:
        before, shorter = shorter, re.sub(r"\$?\([^()]*\)", "_", shorter)
    return shorter


def _words(part: str) -> list[str]:
    try:
        return shlex.split(part, comments=True)
    except ValueError:
        return part.split()


def _program(words: list[str]) -> tuple[str, list[str]]:
    """The program, and what follows; empty where a part is only a test, a `cd` or the like."""
    left = list(words)
    while left:
        word = left.pop(0)
        base = word.rpartition("/")[2]
        if word in _GO_ON or re.match(r"\w+=", word):
            continue
        if base in _NOT_IT:
            return "", []
        if base not in _WRAPPERS:
            return _script(base, left) or (word, left)
        left = _wrapped(left)
        if left and " " in left[0]:  # flock FILE -c "COMMAND"
            return _program(_words(left[0]))
    return "", []


def _wrapped(words: list[str]) -> list[str]:
    """What follows the options of a wrapper, with its lock file, its number, its variables."""
    left = list(words)
    while left and (left[0].startswith(("-", "+")) or re.fullmatch(r"[0-9.]+[smhd]?|/\S*\.lo?ck|\w+=.*", left[0])):
        has_value = left.pop(0) in ("-n", "-c", "-u", "-w", "-k", "-s") and len(left) > 1
        if has_value and " " not in left[0] and not left[0].startswith("/"):
            left.pop(0)
    return left


def _script(base: str, left: list[str]) -> tuple[str, list[str]] | None:
    """The script that an interpreter runs, or the folder of run-parts; None for any other program."""
    plain = [word for word in left if not word.startswith("-")]
    if base == "run-parts":
        return (plain[-1] if plain else base), []
    if not (_INTERPRETERS.fullmatch(base) and left):
        return None
    if "-c" in left or "-e" in left:
        return ("", []) if plain and "sleep" in plain[0] else (base, [])
    return (plain[0] if plain else base), []
