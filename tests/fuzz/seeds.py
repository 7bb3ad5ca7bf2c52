"""What mutation begins with: sound input of each target, and words that its subject knows."""

from __future__ import annotations

import msgspec

from pyflowd.keeper import journal, logindex, wire
from pyflowd.keeper.wire import EXIT, FAILED
from pyflowd.protocol.frames import Command, Finish, Hello, Print
from pyflowd.protocol.requests import CancelRun, GetLogs, ListRuns, StartRun

_pack = msgspec.msgpack.Encoder().encode
_BACKUP = b"""# nightly
name: nightly
schedule: {cron: "30 2 * * 1-5", timezone: Europe/Berlin, dst: both}
overlap: queue
params:
  target: {type: string, default: /srv, pattern: "^/[a-z]+$"}
  day: {type: date}
  level: {type: integer, minimum: 1, enum: [1, 2, 3]}
env: {LANG: C, STAMP: "${{ run.id }}-${{ params.level }}"}
tasks:
  dump:
    run: |
      set -x
      echo "$PARAM_TARGET" > "$PYFLOW_OUTPUT"
    timeout: 1h
    retry: {attempts: 3, delay: 10s, factor: 2, max_delay: 5m, jitter: none, on_exit: [1, 75]}
    resources: {memory_max: 2GiB, nice: 10}
  copy: {needs: dump, argv: [rsync, -a, "${{ tasks.dump.outputs.path }}", host:/x], if: "params.level > 1"}
on_failure: {tell: {notify: {channel: ops, text: "${{ run.outcome }}"}}}
finally: {tidy: {file: {delete: /tmp/x}}}
"""
_FAN_OUT = b"""tasks:
  each: &base
    for_each: [a, b, "c d", {k: 1}]
    key: "${{ item }}"
    max_parallel: 2
    max_failures: 10%
    run: 'echo "$ITEM"'
  again: {repeat: {until: "${{ tasks.again.outputs.done }}", max: 5, delay: 1s}, run: ./poll.sh, trigger_rule: all_done}
"""
_KINDS = b"""tasks:
  get: {http: {url: "https://example.org/${{ params.p }}", method: POST, json: {a: [1, 2.5, null]}, expect: [200]}}
  ask: {approval: {message: go on?, timeout: 2d}}
  nap: {wait: 90s, needs: [get, ask]}
  far: {ssh: {host: web1, user: deploy, run: uptime}}
  sub: {workflow: {name: other, params: {x: 1}}}
  py: {python: "module:function", with: {n: 0x1F, s: ~}}
params: {p: {}}
"""


def _start() -> bytes:
    start = wire.Start("run/a/1", [b"/bin/sh", b"-c", b"true"], [b"A=1", b"PATH=/bin"], b"/", "nobody")
    start.masks, start.limits = (b"secret-of-a-task",), {"memory_max": 1 << 30}
    start.origin = ("/etc/pyflow/workflows/w.yaml", "0" * 64, "a")
    return wire.pack_start(start)


def _journal() -> bytes:
    lines = (
        journal.life_lines("e1", "b1", 1, 5, ("e0",)),
        journal.intent_line("a", 1 << 60, 7),
        journal.started_line("a", 42, 8),
        journal.end_line("a", (EXIT, ("0", "", *"12345", "", "0", "0"))),
        journal.orphans_line("a", 1, 2),
        journal.clear_line("a"),
        journal.acknowledged_line("a"),
    )
    return "".join(lines).encode()


def _index() -> bytes:
    kinds = (logindex.DATA, logindex.GAP, logindex.NOTE, logindex.CUT, logindex.END)
    return b"".join(logindex.pack(6 * n, 1_800_000_000_000_000 + n, kind, n) for n, kind in enumerate(kinds))


def _apart() -> bytes:
    streams = (logindex.STDOUT, logindex.STDERR, logindex.STDOUT)
    data = [logindex.pack(6 * n, 1_800_000_000_000_000, logindex.DATA, 0, stream) for n, stream in enumerate(streams)]
    return b"".join([*data, logindex.pack(18, 1_800_000_000_000_000, logindex.END)])


SEEDS: dict[str, list[bytes]] = {
    "control-frames": [
        _pack(one)
        for one in (Hello(), Command(argv=["run", "w"], files={"f": b"x"}), StartRun(workflow="w", params={"a": [1]}),
                    CancelRun(run=1), GetLogs(of="w"), ListRuns(limit=5))
    ],
    "client-frames": [_pack(Print(1, b"text")), _pack(Finish(3)), _pack(["log_open", 1, "a", 1, True])],
    "keeper-frames": [
        _start(), wire.frame(wire.HELLO, b"1"), wire.frame(wire.STOP, b"run/a/1", b"1000"),
        wire.pack_end("run/a/1", (FAILED, ("exec", "2", "no such file", "1"))),
    ],
    "keeper-journal": [_journal()],
    "definition": [_BACKUP, _FAN_OUT, _KINDS, b'{"tasks": {"a": {"argv": ["true"]}}}'],
    "cron": [b"*/5 0-6,22 L,15W * MON-FRI", b"30 2 1 1 *", b"@daily", b"0 0 ? * 5#2", b"0 0 LW 2 5L"],
    "expression": [
        b"params.n + 1 > 3 and params.name in ['app', 'x']", b"${{ default(tasks.a.outputs.x, 'y') }}/${{ params.n }}",
        b"[x for x in params.list if x > 1]", b"params.list[0] if params.n else None", b"$${{ not }} ${{ 'a' * 3 }}",
    ],
    "webhook": [
        b"X-Hub-Signature-256: sha256=00\nContent-Type: application/json\n\n{\"a\": [1, 2]}",
        b"Stripe-Signature: t=1800000000,v1=00,v1=11\n\n{\"id\": \"evt\"}",
        b"X-Pyflow-Signature: v1=0\nX-Pyflow-Timestamp: 1800000000\nX-Pyflow-Delivery: d-1\n\na=1&b=2",
        b"Content-Type: application/x-www-form-urlencoded\nX-Gitlab-Token: x\n\na=1&b=2",
        b"X-Gitlab-Token: t\nContent-Type: text/plain\n\n\xff",
    ],
    "terminal": [
        b"\x1b[31mred\x1b[0m \x1b]0;title\x07 \x1b[2J\x1b[?25l a\rb\r\n\xe2\x80\xae \x9b1m \xff \x00\t\x08",
        b"\x1b[38;5;196mx\x1b[48;2;1;2;3my\x1b[5mz\x1b[;m\x1b[m",
    ],
    "log-index": [_index(), _apart(), b""],
}  # fmt: skip

WORDS: dict[str, list[bytes]] = {
    "definition": [
        b"tasks:", b"needs:", b"run:", b"schedule:", b"retry:", b"if:", b"${{", b"}}", b"*a", b"<<:", b"!!python",
        b"---", b"?", b"|", b"undo:",
        b"&a ", b"\t", b"\xef\xbb\xbf", b"[" * 70, b"9" * 400, b"\0", b"\xe2\x80\xa8",
    ],
    "cron": [b"L", b"W", b"#", b"?", b"@", b"/0", b"60", b"7", b"-", b"DEC", b"\xd9\xa3"],
    "expression": [
        b"(", b"[" * 40, b"for", b"**", b"9" * 40, b"1e999", b"'", b"\\u", b".", b"default(", b"map", b"not ",
    ],
    "webhook": [b"sha256=", b"t=", b"v1=", b":", b"\n\n", b"\xb2", b"9" * 20, b"application/json\n\n" + b"[" * 200],
    "terminal": [b"\x1b[", b"\x1b]", b"\xc2\x9b", b"\r", b"38;5;", b"\xe2\x81\xa6", b"m", b"\x1b[999999m"],
    "keeper-journal": [b"\n", b"\t", b"E\t", b"S\t", b"9" * 5000, b"\xb2", b"-1"],
    "log-index": [b"\xff" * 8, b"\x00" * 24, b"\x02\x00\x00\x00"],
}  # fmt: skip
