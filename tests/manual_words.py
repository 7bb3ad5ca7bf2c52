"""What keys mean, in the words of the manual: from the pages in man/ to `pyflowd/schema/schema_words.json`.

The manual is the one source; the file is how the words come along with the package. `python -m tests.manual_words`
writes it anew, and a test fails where it has been forgotten.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

from pyflowd.language.definition import RETENTION, WORKFLOW
from pyflowd.language.definition_events import FILE_TRIGGER
from pyflowd.language.definition_expect import EXPECT
from pyflowd.language.definition_fan_out import REPEAT
from pyflowd.language.definition_http import HTTP
from pyflowd.language.definition_notify import NOTIFY
from pyflowd.language.definition_outputs import OUTPUT
from pyflowd.language.definition_params import PARAM
from pyflowd.language.definition_process import OPERATIONS, SSH
from pyflowd.language.definition_reboot import REBOOT
from pyflowd.language.definition_resources import RESOURCES
from pyflowd.language.definition_task import DEFAULTS, RETRY, TASK
from pyflowd.language.definition_triggers import SCHEDULE
from pyflowd.language.definition_waiting import APPROVAL, CALL, WAIT
from pyflowd.language.fields import Table
from pyflowd.notify import notify_channels as channels
from pyflowd.settings import RETENTION as HOST_RETENTION
from pyflowd.settings import SETTINGS

REPOSITORY = Path(__file__).resolve().parent.parent
FILE = REPOSITORY / "pyflowd" / "schema" / "schema_words.json"
_WORKFLOW, _SETTINGS = "pyflow-workflow.5", "pyflowd.yaml.5"

SECTIONS: list[tuple[str, str, Table]] = [
    (_WORKFLOW, "KEYS OF A WORKFLOW", WORKFLOW),
    (_WORKFLOW, "KEYS OF A TASK", TASK),
    (_WORKFLOW, "KEYS OF A TASK", DEFAULTS),
    (_WORKFLOW, "SCHEDULES", SCHEDULE),
    (_WORKFLOW, "EVENTS", FILE_TRIGGER),
    (_WORKFLOW, "PARAMS", PARAM),
    (_WORKFLOW, "RETRIES", RETRY),
    (_WORKFLOW, "RESOURCES", RESOURCES),
    (_WORKFLOW, "LOOPS", REPEAT),
    (_WORKFLOW, "OUTPUTS", OUTPUT),
    (_WORKFLOW, "CALLS", CALL),
    (_WORKFLOW, "APPROVALS", APPROVAL),
    (_WORKFLOW, "WAITS", WAIT),
    (_WORKFLOW, "MESSAGES", NOTIFY),
    (_WORKFLOW, "EXPECTATIONS", EXPECT),
    (_WORKFLOW, "SSH", SSH),
    (_WORKFLOW, "RESTARTING THE HOST", REBOOT),
    (_WORKFLOW, "HTTP", HTTP),
    *((_WORKFLOW, "FILE OPERATIONS", table) for table in OPERATIONS.values()),
    (_SETTINGS, "SETTINGS", SETTINGS),
    (_SETTINGS, "SETTINGS", HOST_RETENTION),
    (_SETTINGS, "SETTINGS", RETENTION),
    (_SETTINGS, "CHANNELS", channels.MAIL),
    (_SETTINGS, "CHANNELS", channels.CHAT),
    (_SETTINGS, "CHANNELS", channels.WEBHOOK),
]
"""Page, section, and the table whose keys have their paragraphs there."""


def plain(text: str) -> str:
    """Text of a page without its escapes and fonts."""
    text = re.sub(r"\\f[BIRP]|\\&", "", text)
    for escape, char in ((r"\(dq", '"'), (r"\(aq", "'"), (r"\(lq", '"'), (r"\(rq", '"'), (r"\-", "-"), (r"\e", "\\")):
        text = text.replace(escape, char)
    return re.sub(r"^\.(?:B|BR|RB|I|IR|RI) (.*)$", lambda found: _joined(found[1]), text, flags=re.MULTILINE)


def _joined(arguments: str) -> str:
    """A line of alternating fonts is printed without its quotes and the space between words."""
    return "".join(quoted or word for quoted, word in re.findall(r'"([^"]*)"|(\S+)', arguments))


def entries(page: str, heading: str) -> dict[str, str]:
    """Key to the first paragraph of what is said of it."""
    text = (REPOSITORY / "man" / page).read_text("utf-8").split(f"\n.SH {heading}\n")[1].split("\n.SH ")[0]
    found: dict[str, str] = {}
    for tag, body in re.findall(
        r"^\.TP\n(.+)\n((?:(?!\.TP|\.SH|\.SS|\.RS|\.RE|\.PP|\.IP|\.br|Example:).*\n)*)", text, re.M
    ):
        said = " ".join(plain(body).split())
        for key in re.findall(r"[a-z_]+", plain(tag).split(" (")[0].split("(")[0].split('"')[0]):
            found.setdefault(key, said)
    return found


def collected() -> dict[str, dict[str, str]]:
    """By table, in the order of its keys."""
    words: dict[str, dict[str, str]] = {}
    for page, heading, table in SECTIONS:
        said = entries(page, heading)
        words.setdefault(table.what, {}).update({key: said[key] for key in table.keys if said.get(key)})
    return words


def written() -> str:
    return json.dumps(collected(), indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    FILE.write_text(written(), "utf-8")
