"""A daemon with a web front on a free port of loopback, and workflows of every sort in it. Knows no browser."""

from __future__ import annotations

import json
import unicodedata
from pathlib import Path

from pyflowctl.client import connect
from tests.corpus import CORPUS
from tests.daemon.front import Front
from tests.daemon.instance import Instance
from tests.waiting import wait_until

LONG = "a-workflow-" + "x" * 52
"""The longest name that there may be, without a place to break it."""
MARKUP = "\"><script>pwned=1</script><img src=x onerror=pwned=1><svg onload=pwned=1>'{{7*7}}</textarea></title>"

BACKUP = """\
description: Dumps databases and files, sends them away
schedule: {cron: "30 2 * * *", timezone: Europe/Berlin}
params:
  target: {type: string, enum: [backup-02, backup-03], default: backup-02}
  keep_days: {type: integer, default: 30, minimum: 1, maximum: 365}
tasks:
  check: {run: "echo space: ok; echo 31 GiB free"}
  dump:
    needs: check
    for_each: [app, orders, crm]
    env: {ITEM: "${{ item }}"}
    run: echo dumped "$ITEM"
  files: {needs: check, run: "seq 1 400 | sed 's/^/srv file /'"}
  upload:
    needs: [dump, files]
    retry: {attempts: 3, delay: 10ms}
    run: |
      echo "sending 1.4 GiB"
      echo "rsync: write failed: No space left on device (28)" >&2
      exit 11
  prune: {needs: upload, run: "true"}
  report: {needs: upload, trigger_rule: all_done, run: echo told}
"""
DEPLOY = """\
overlap: allow
tasks:
  build: {run: echo built}
  production: {needs: build, approval: {message: Ship it to production?}}
  ship: {needs: production, run: echo shipped}
"""
GATED = """\
overlap: allow
tasks:
  first: {run: echo first}
  gate: {needs: first, run: "while [ ! -e GATE ]; do sleep 0.05; done; exit 3"}
  last: {needs: gate, run: echo last}
"""
GOOD = """\
schedule: {cron: "0 3 * * *"}
tasks:
  count: {run: "echo rows=42 >> $PYFLOW_OUTPUT"}
  show: {needs: count, run: "echo shown"}
"""
LONG_TASK = "a-task-" + "x" * 56
LONG_FAILS = f"""\
schedule: {{cron: "0 3 * * *", timezone: Asia/Tokyo}}
tasks:
  {LONG_TASK}: {{run: "echo error: {"y" * 300}; exit 4"}}
"""
MIXED = """\
tasks:
  each: {for_each: [a, b, c], env: {ITEM: "${{ item }}"}, run: 'test "$ITEM" != b'}
  after: {needs: each, run: "true"}
"""
SLOW = "overlap: allow\ntasks: {wait: {run: sleep 600}}\n"


LONG_RUNS = 14


class Site:
    """`start`, then `url`; `end` in the fixture."""

    def __init__(self, root: Path) -> None:
        self.daemon = Instance(root)
        self.front = Front(self.daemon)
        self._listen = "127.0.0.1:0"
        self.runs: dict[str, int] = {}
        """Newest run of a workflow by its name."""

    @property
    def url(self) -> str:
        return self.front.origin

    def start(self) -> None:
        self.daemon.start()
        self.start_web()

    def start_web(self) -> None:
        self.front.start(listen=self._listen)
        self._listen = self.front.host  # the same when it is started again

    def stop_web(self) -> None:
        self.front.stop()

    def end(self) -> None:
        try:
            self.front.end()
        finally:
            self.daemon.end()

    def session(self) -> str:
        """The text of a browser's cookie."""
        return self.front.session()

    # ---- Life

    def populate(self) -> None:
        """Workflows of every sort, with a run of each that has one."""
        daemon = self.daemon
        gate = daemon.root / "gate"
        texts = {
            "nightly-backup": BACKUP, "deploy-web": DEPLOY, "orders": GOOD, "slow": SLOW, "paused": GOOD,
            LONG: LONG_FAILS, "mixed": MIXED,
            "gated": GATED.replace("GATE", str(gate)), "hostile": hostile(), "stale": GOOD,
        }  # fmt: skip
        for name, text in texts.items():
            daemon.write(f"{name}.json" if text.startswith("{") else f"{name}.yaml", text)
        wait_until(
            lambda: {each["workflow"] for each in daemon.json("list")} >= set(texts), lambda: daemon.log_text()[-2000:]
        )
        daemon.ctl("pause", "paused")
        daemon.write("stale.yaml", GOOD.replace("needs: count", "needs: cuont"))
        params = {"text": MARKUP, "texts": json.dumps(naughty()[:60])}
        given = [word for key, value in params.items() for word in ("-p", f"{key}={value}")]
        self.runs = {
            "nightly-backup": daemon.run("nightly-backup"), "deploy-web": daemon.run("deploy-web"),
            "orders": daemon.run("orders"), LONG: daemon.run(LONG), "slow": daemon.run("slow"),
            "hostile": daemon.run("hostile", *given), "mixed": daemon.run("mixed"),
        }  # fmt: skip
        for _ in range(LONG_RUNS - 1):  # as many columns as make a phone scroll
            self.runs[LONG] = daemon.run(LONG)
        for name in ("nightly-backup", "orders", LONG, "hostile", "mixed"):
            daemon.wait_run(self.runs[name])
        daemon.wait_task(self.runs["deploy-web"], "production", "running")
        wait_until(
            lambda: any(each["workflow"] == "stale" and each["state"] == "stale" for each in daemon.json("list")),
            "the newer stale.yaml is refused",
        )

    def _digest(self, workflow: str) -> str:
        with connect(root=str(self.daemon.root)) as client:
            return client.definition(workflow).digest

    def pages(self) -> dict[str, str]:
        """Every page by a short name, as web-design has them."""
        failed, good = self.runs["nightly-backup"], self.runs["orders"]
        return {
            "overview": "/", "workflows": "/workflows", "workflow": "/workflows/nightly-backup", "runs": "/runs",
            "workflow-stale": "/workflows/stale", "edit": "/workflows/nightly-backup/edit", "new": "/new",
            "run-failed": f"/runs/{failed}", "run-list": f"/runs/{failed}?task=upload&view=list",
            "run-good": f"/runs/{good}", "run-waits": f"/runs/{self.runs['deploy-web']}",
            "run-live": f"/runs/{self.runs['slow']}", "log": f"/runs/{failed}/log/upload", "slots": "/slots",
            "long-edit": f"/workflows/{LONG}/edit", "long-runs": f"/runs?workflow={LONG}",
            "long-slots": f"/slots?workflow={LONG}", "long-version": f"/workflows/{LONG}/versions/{self._digest(LONG)}",
            "system": "/system", "long": f"/workflows/{LONG}", "run-long": f"/runs/{self.runs[LONG]}",
            "hostile": "/workflows/hostile", "run-hostile": f"/runs/{self.runs['hostile']}?task=say",
            "log-hostile": f"/runs/{self.runs['hostile']}/log/say", "edit-hostile": "/workflows/hostile/edit",
        }  # fmt: skip


def naughty() -> list[str]:
    """Strings that have broken others' pages; without the corpus the worst of their kinds."""
    if CORPUS is None:
        return [MARKUP, "javascript:alert(1)", "\u202eevil", "\u0000\u001b[31m", "{{7*7}}", "${{ params.x }}"]
    found = json.loads((CORPUS / "nasty" / "naughty_strings.json").read_text())["strings"]
    return [each for each in found if "\0" not in each]


def legal() -> list[str]:
    """Those that a definition may hold."""
    return [each for each in naughty() if not any(unicodedata.category(char) in ("Cc", "Cs") for char in each)]


def hostile() -> str:
    """A definition whose every free text is hostile."""
    said = "\n".join([MARKUP, *legal()])
    return json.dumps(
        {
            "description": MARKUP,
            "labels": {"team": "x"},
            "params": {
                "text": {"type": "string", "default": MARKUP, "description": MARKUP},
                "texts": {"type": "array", "default": legal()},
            },
            "tasks": {
                "say": {"env": {"SAID": said}, "run": r'printf "%s\n" "$SAID"; printf "\033[31mred\033[0m \033]8;;http://evil.test\007link\007\n"'},
                "each": {
                    "needs": "say", "for_each": [each for each in legal() if each.strip()][:40],
                    "env": {"X": "${{ item }}"}, "run": 'printf "%s\\n" "$X"',
                },
                "fails": {"needs": "say", "env": {"M": MARKUP}, "run": 'echo "$M" >&2; exit 1'},
            },
        },
        ensure_ascii=True,
    )  # fmt: skip
