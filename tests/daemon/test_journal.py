"""The host's journal, as a real daemon with its keeper and logger writes to it: what is there, what never is."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pyflowd.keeper.journald import LEFT_OUT_ID, OUTPUT_ID
from pyflowd.keeper.maskforms import forms
from pyflowd.render.journal_entries import MESSAGE_IDS
from tests.daemon.instance import Instance
from tests.journal import Entry, FakeJournal
from tests.waiting import wait_until

CANARY = "canary-5f2c9d7e81b64a03"


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[FakeJournal]:
    found = FakeJournal(tmp_path)
    yield found
    found.close()


@pytest.fixture
def told(instance: Instance, journal: FakeJournal) -> Callable[..., list[Entry]]:
    """Entries with these fields, once there are as many as asked for."""
    known: list[Entry] = []

    def look(count: int = 1, **fields: str) -> list[Entry]:
        def found() -> list[Entry]:
            known.extend(journal.entries())
            return [each for each in known if all(each.get(name) == value.encode() for name, value in fields.items())]

        return wait_until(lambda: found() if len(found()) >= count else [], str(fields))  # type: ignore[no-any-return]

    instance.settings(journal="always")
    instance.start(PYFLOW_JOURNAL_SOCKET=journal.path)
    return look


def test_each_event_of_a_run_is_an_entry_with_the_words_of_the_events(
    instance: Instance, told: Callable[..., list[Entry]]
) -> None:
    instance.install(
        "nightly.yaml", "tasks: {dump: {run: exit 3, retry: {attempts: 2, delay: 0s}}, after: {run: x, needs: dump}}\n"
    )
    instance.ctl("run", "nightly", "--wait")
    (ended,) = told(PYFLOW_RUN="1", MESSAGE_ID=MESSAGE_IDS["run_ended"])
    assert ended["PRIORITY"] == b"3"
    assert ended["PYFLOW_STATE"] == b"failed"
    assert ended["PYFLOW_WORKFLOW"] == b"nightly"
    first, second = told(2, PYFLOW_RUN="1", MESSAGE_ID=MESSAGE_IDS["attempt_ended"])
    assert [first["PYFLOW_ATTEMPT"], second["PYFLOW_ATTEMPT"]] == [b"1", b"2"]
    assert first["PYFLOW_EXIT_CODE"] == b"3"
    assert first["MESSAGE"] == b"nightly: run 1: dump: attempt 1 ended with exit code 3"
    (created,) = told(PYFLOW_RUN="1", MESSAGE_ID=MESSAGE_IDS["run_created"])
    assert created["PYFLOW_TRIGGER"] == b"manual"
    assert created["PYFLOW_USER"].decode() in instance.ctl("-o", "json", "status", "1").stdout
    events = [json.loads(line) for line in instance.ctl("-o", "json", "events").stdout.splitlines()]
    said = {each["event"]: each["text"] for each in events if each["run"] == 1}
    entries = {int(each["PYFLOW_EVENT"]): each["MESSAGE"].decode() for each in told(len(said), PYFLOW_RUN="1")}
    assert entries.keys() == said.keys()
    assert [text for number, text in said.items() if not entries[number].endswith(text)] == []


def test_facts_of_the_host_are_told_with_who_asked(instance: Instance, told: Callable[..., list[Entry]]) -> None:
    instance.install("w.yaml", "tasks: {a: {run: 'true'}}\n")
    instance.ctl("pause", "w")
    (paused,) = told(MESSAGE_ID=MESSAGE_IDS["workflow_paused"])
    assert (paused["PYFLOW_WORKFLOW"], paused["PRIORITY"]) == (b"w", b"5")
    assert paused["MESSAGE"] == b"w: paused by " + paused["PYFLOW_USER"]
    instance.write("bad.yaml", "tasks: {a: {rum: x}}\n")
    (refused,) = told(MESSAGE_ID=MESSAGE_IDS["definition_refused"])
    assert (refused["PYFLOW_WORKFLOW"], refused["PRIORITY"]) == (b"bad", b"4")
    instance.stop()
    (stopped,) = told(MESSAGE_ID=MESSAGE_IDS["daemon_stopped"])
    assert stopped["MESSAGE"] == b"pyflowd stopped"
    assert told(PYFLOW_ACTION="stopped")
    assert "refused" not in instance.log_text(), "with a journal, standard error is for what comes before it"


def test_the_last_lines_of_a_failed_attempt_follow_its_end(
    instance: Instance, told: Callable[..., list[Entry]]
) -> None:
    instance.install("w.yaml", "tasks: {a: {run: 'seq 1 30; printf \"\\\\377 raw\"; exit 1'}, b: {run: echo fine}}\n")
    instance.ctl("run", "w", "--wait")
    lines = told(20, MESSAGE_ID=OUTPUT_ID)
    assert [each["MESSAGE"] for each in lines] == [b"%d" % n for n in range(12, 31)] + [b"\xff raw"]
    assert {(each["PYFLOW_TASK"], each["PYFLOW_ATTEMPT"], each["PRIORITY"]) for each in lines} == {(b"a", b"1", b"4")}
    assert lines[0]["SYSLOG_IDENTIFIER"] == b"pyflow-task"


def test_all_lines_of_a_task_come_as_it_says_them_and_none_of_one_that_wants_none(
    instance: Instance, told: Callable[..., list[Entry]]
) -> None:
    instance.install(
        "w.yaml",
        f"cwd: {instance.root}\ntasks:\n"
        "  talks: {run: 'echo one; read x < gate; echo two', log: {journal: all}}\n"
        "  silent: {run: echo secretive; exit 1, log: {journal: none}}\n",
    )
    os.mkfifo(instance.root / "gate")
    instance.ctl("run", "w")
    (line,) = told(MESSAGE="one")
    assert (line["PYFLOW_WORKFLOW"], line["PYFLOW_RUN"], line["PYFLOW_TASK"]) == (b"w", b"1", b"talks")
    (instance.root / "gate").write_text("go\n")
    told(MESSAGE="two")
    told(MESSAGE_ID=MESSAGE_IDS["run_ended"])
    instance.stop()
    assert [each["MESSAGE"] for each in told(MESSAGE_ID=OUTPUT_ID)] == [b"one", b"two"]


def test_no_secret_reaches_the_journal(instance: Instance, journal: FakeJournal) -> None:
    folder = instance.root / "secrets"
    folder.mkdir(mode=0o700)
    (folder / "token").touch(mode=0o600)
    (folder / "token").write_text(CANARY)
    instance.settings(journal="always")
    instance.start(PYFLOW_JOURNAL_SOCKET=journal.path)
    run = "'echo begin $T end; printf %s $T | base64; echo $T > $PYFLOW_OUTPUT.error; exit 1'"
    env = "{T: '${{ secrets.token }}'}"
    for name in ("all", "failed"):
        instance.install(f"{name}.yaml", f"tasks: {{a: {{run: {run}, env: {env}, log: {{journal: {name}}}}}}}\n")
        instance.ctl("run", name, "--wait")
    found: list[bytes] = []

    def both() -> bool:
        found.extend(journal.take())
        return sum(b"begin *** end" in each for each in found) == 2

    wait_until(both, "the line of both")
    instance.stop()
    found.extend(journal.take())
    assert not [each for each in found for form in forms(CANARY.encode()) if form in each]


def test_a_flood_of_lines_neither_holds_the_task_up_nor_goes_unsaid(
    instance: Instance, told: Callable[..., list[Entry]]
) -> None:
    instance.install("w.yaml", "tasks: {a: {run: seq 1 50000, log: {journal: all}}}\n")
    assert instance.ctl("run", "w", "--wait").returncode == 0
    wait_until(
        lambda: (
            sum(int(each["MESSAGE"].split()[1]) for each in told(MESSAGE_ID=LEFT_OUT_ID))
            + len(told(MESSAGE_ID=OUTPUT_ID))
            == 50_000
        ),
        "each line is there or counted",
    )


def test_a_journald_that_stops_reading_stops_nothing_and_nothing_is_lost(
    instance: Instance, told: Callable[..., list[Entry]]
) -> None:
    """The kernel's queue fills, then ours; all of it comes when it reads again."""
    told(MESSAGE_ID=MESSAGE_IDS["daemon_started"])
    tasks = ", ".join(f"t{n}: {{argv: [/bin/true]}}" for n in range(200))
    instance.install("w.yaml", f"tasks: {{{tasks}}}\n")
    assert instance.ctl("run", "w", "--wait").returncode == 0
    assert len(told(200, MESSAGE_ID=MESSAGE_IDS["attempt_ended"])) == 200
    assert told(MESSAGE_ID=MESSAGE_IDS["run_ended"])


def test_without_a_journal_standard_error_has_a_line_for_a_run_that_failed(instance: Instance) -> None:
    instance.start()
    instance.install("w.yaml", "tasks: {a: {run: exit 3}}\n")
    instance.ctl("run", "w", "--wait")
    assert "ERROR   w: run 1 failed: a: exit code 3 action=run_failed" in instance.log_text()


def test_a_stop_does_not_wait_for_a_journald_that_does_not_read(instance: Instance, journal: FakeJournal) -> None:
    instance.settings(journal="always")
    instance.start(PYFLOW_JOURNAL_SOCKET=journal.path)
    instance.install("w.yaml", f"tasks: {{{', '.join(f't{n}: {{argv: [/bin/true]}}' for n in range(300))}}}\n")
    instance.ctl("run", "w", "--wait")
    assert instance.process is not None
    instance.process.send_signal(signal.SIGTERM)
    assert instance.wait_dead() == 0
