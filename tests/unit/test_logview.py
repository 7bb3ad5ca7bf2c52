"""Output of attempts as people and programs see it: from logs with their index, at rest and while they grow."""

from __future__ import annotations

import json
import os
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pyflowctl import logtext, thin
from pyflowctl.logsource import LogSource, tail_offset
from pyflowctl.logview import LogOptions, LogView, show_logs
from pyflowctl.packing import unpack
from pyflowctl.thin import Frames
from pyflowd.keeper.logindex import CUT, DATA, END, GAP, NOTE, pack
from pyflowd.protocol.frames import Finish, Print, frame
from pyflowd.protocol.views import LogClose, LogOpen
from tests.unit.fakedaemon import DEADLINE_S, send_with_files

BASE_US = 1_772_400_000_000_000  # 2026-03-01T21:20:00Z
SECOND_US = 1_000_000


@pytest.fixture(autouse=True)
def in_utc(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Local times of these tests are UTC, and no day is today."""
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    logtext._seconds.clear()
    monkeypatch.setattr(logtext, "today", lambda _: "2026-03-01")
    yield
    monkeypatch.undo()
    time.tzset()
    logtext._seconds.clear()


class Log:
    """A log that a test writes as the logger would."""

    def __init__(self, folder: Path, task: str = "dump", attempt: int = 1) -> None:
        self.task, self.attempt = task, attempt
        self.log = folder / f"{task}.{attempt}.log"
        self.index = folder / f"{task}.{attempt}.idx"
        self.log.touch()
        self.index.touch()

    def says(self, text: bytes, after_s: float, kind: int = DATA, value: int = 0) -> Log:
        at = self.log.stat().st_size
        with self.log.open("ab") as log:
            log.write(text)
        self.notes(at, after_s, kind, value)
        return self

    def notes(self, offset: int, after_s: float, kind: int, value: int = 0) -> Log:
        with self.index.open("ab") as index:
            index.write(pack(offset, BASE_US + int(after_s * SECOND_US), kind, value))
        return self

    def ends(self, after_s: float) -> Log:
        return self.notes(self.log.stat().st_size, after_s, END)

    def files(self) -> tuple[int, int]:
        return os.open(self.log, os.O_RDONLY), os.open(self.index, os.O_RDONLY)

    def source(self) -> LogSource:
        return LogSource(42, self.task, self.attempt, *self.files())


class Daemon:
    """The daemon's end of a connection, for `show_logs` at the other."""

    def __init__(self, *, terminal: bool = False, colour: bool = False) -> None:
        self._ours, self._clients = socket.socketpair()
        self._thread = threading.Thread(target=self._show, args=(terminal, colour), daemon=True)
        self.status: int | None = None

    def _show(self, terminal: bool, colour: bool) -> None:
        frames = Frames(self._clients)
        first = frames.next(DEADLINE_S)
        assert first is not None
        self.status = show_logs(frames, first, DEADLINE_S, terminal, colour)

    def opens(self, log: Log, *, live: bool = False, **options: object) -> None:
        view = LogOpen(run=42, task=log.task, attempt=log.attempt, live=live, **options)  # type: ignore[arg-type]
        files = log.files()
        send_with_files(self._ours, frame(view), files)
        for fd in files:
            os.close(fd)

    def start(self) -> None:
        self._thread.start()

    def closes(self, log: Log) -> None:
        self._ours.sendall(frame(LogClose(task=log.task, attempt=log.attempt)))

    def sends(self, data: bytes) -> None:
        self._ours.sendall(data)

    def finishes(self, status: int = 0) -> None:
        self._ours.sendall(frame(Finish(status)))
        self.is_over(status)

    def is_over(self, status: int = 0) -> None:
        self._thread.join(DEADLINE_S)
        assert not self._thread.is_alive()
        self._ours.close()
        self._clients.close()
        assert self.status == status


def shown(
    capfd: pytest.CaptureFixture[str], *logs: Log, terminal: bool = False, colour: bool = False, **options: object
) -> str:
    daemon = Daemon(terminal=terminal, colour=colour)
    for log in logs:
        daemon.opens(log, **options)
    daemon.start()
    daemon.finishes()
    return capfd.readouterr().out


def wait_for(capfd: pytest.CaptureFixture[str], text: str) -> str:
    """Output up to the moment when `text` has come."""
    deadline_s = time.monotonic() + DEADLINE_S
    seen = ""
    while text not in seen:
        assert time.monotonic() < deadline_s, f"{text!r} never came: {seen!r}"
        seen += capfd.readouterr().out
        threading.Event().wait(0.005)
    return seen


# ---- At rest --------------------------------------------------------------------------------------------------------


def test_each_line_has_the_time_at_which_it_came(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    log = Log(tmp_path).says(b"one\ntwo\n", 0).says(b"three\n", 1.5).ends(2)
    assert shown(capfd, log) == "21:20:00.000  one\n21:20:00.000  two\n21:20:01.500  three\n"


def test_a_line_of_another_day_has_its_date(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    log = Log(tmp_path).says(b"late\n", 86_400).ends(86_401)
    assert shown(capfd, log) == "2026-03-02 21:20:00.000  late\n"


def test_a_line_that_came_in_parts_has_the_time_of_its_first(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    log = Log(tmp_path).says(b"do", 0).says(b"ne\nnext\n", 3).ends(4)
    assert shown(capfd, log) == "21:20:00.000  done\n21:20:03.000  next\n"


def test_a_line_that_came_in_three_parts_is_whole(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    log = Log(tmp_path).says(b"a", 0).says(b"b", 1).says(b"c\n", 2).ends(4)
    assert shown(capfd, log) == "21:20:00.000  abc\n"


def test_a_last_line_without_an_end_is_shown(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    log = Log(tmp_path).says(b"a\nb", 0).ends(1)
    assert shown(capfd, log) == "21:20:00.000  a\n21:20:00.000  b\n"


def test_tasks_are_merged_by_time(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    one = Log(tmp_path, "dump").says(b"1\n", 1).says(b"3\n", 3).ends(5)
    two = Log(tmp_path, "verify").says(b"2\n", 2).says(b"4\n", 4).ends(5)
    lines = shown(capfd, one, two, label_width=6).splitlines()
    assert [line.split(maxsplit=1)[1] for line in lines] == ["dump    1", "verify  2", "dump    3", "verify  4"]


def test_lines_are_not_torn_by_the_merge(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    one = Log(tmp_path, "dump").says(b"be", 1).says(b"gin\n", 3).ends(5)
    two = Log(tmp_path, "verify").says(b"mid\n", 2).ends(5)
    assert "begin\n" in shown(capfd, one, two, label_width=6)


def test_a_later_attempt_is_named_as_such(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    logs = [Log(tmp_path, "dump", number).says(b"x\n", number).ends(number) for number in (1, 2)]
    assert shown(capfd, *logs, label_width=6) == "21:20:01.000  dump    x\n21:20:02.000  dump#2  x\n"


def test_an_item_is_told_by_its_key(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    log = Log(tmp_path, "fetch[we b1]").says(b"x\n", 1).ends(2)
    assert shown(capfd, log, label_width=14) == "21:20:01.000  fetch[we b1]    x\n"


def test_the_key_of_an_item_cannot_command_the_terminal(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    log = Log(tmp_path, "fetch[\x1b[2J\n]").says(b"x\n", 1).ends(2)
    assert shown(capfd, log, label_width=10) == "21:20:01.000  fetch[?[2J?]  x\n"


def test_the_key_of_an_item_is_json(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    log = Log(tmp_path, 'fetch["a"]').says(b"x\n", 1).ends(2)
    assert json.loads(shown(capfd, log, as_json=True))["task"] == 'fetch["a"]'


def test_an_attempt_that_is_read_to_its_end_is_let_go_before_the_next(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    view = LogView(LogOptions(["log_open", 42, "a", 1, False, 5], terminal=False, colour=False))
    for number in range(5):
        log = Log(tmp_path, f"t{number}").says(b"x\n", number).ends(number + 0.5)
        view.open(["log_open", 42, log.task, 1, False], *log.files())
    assert len(view.sources) == 1
    view.finish()
    assert capfd.readouterr().out.count(" x\n") == 5


def test_raw_gives_the_bytes(tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    data = bytes(range(256)) * 40
    log = Log(tmp_path).says(data[:5000], 0).says(data[5000:], 1).ends(2)
    daemon = Daemon()
    daemon.opens(log, raw=True)
    daemon.start()
    daemon.finishes()
    assert capfdbinary.readouterr().out == data


@pytest.mark.parametrize("size", [1, 4095, 70_000, 3_000_000])
def test_long_output_comes_whole(tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes], size: int) -> None:
    data = (b"0123456789" * 9 + b"\n") * (size // 91 + 1)
    log = Log(tmp_path)
    for number, at in enumerate(range(0, len(data), 700_001)):
        log.says(data[at : at + 700_001], number)
    daemon = Daemon()
    daemon.opens(log.ends(9), raw=True)
    daemon.start()
    daemon.finishes()
    assert capfdbinary.readouterr().out == data


def test_json_is_an_object_a_line(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    log = Log(tmp_path).says(b'say "hi"\xff\n\n', 0.25).ends(1)
    lines = [json.loads(line) for line in shown(capfd, log, as_json=True).splitlines()]
    base = {"run": 42, "task": "dump", "attempt": 1, "time": "2026-03-01T21:20:00.250000+00:00"}
    assert lines == [{**base, "text": 'say "hi"\\xff'}, {**base, "text": ""}]


def test_the_last_lines_are_the_last_of_all_tasks(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    one = Log(tmp_path, "dump").says(b"a\nb\n", 1).says(b"e\n", 5).ends(9)
    two = Log(tmp_path, "ship").says(b"c\nd\n", 3).ends(9)
    lines = shown(capfd, one, two, label_width=4, tail=3).splitlines()
    assert [line[-1] for line in lines] == ["c", "d", "e"]


def test_no_last_lines_is_nothing(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert shown(capfd, Log(tmp_path).says(b"a\nb\n", 1).ends(2), tail=0) == ""


def test_since_leaves_out_what_is_older(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    log = Log(tmp_path).says(b"old\n", 0).says(b"new\n", 60).ends(61)
    assert shown(capfd, log, since_us=BASE_US + 30 * SECOND_US) == "21:21:00.000  new\n"


@pytest.mark.parametrize("ending", [b"", b"\n"])
@pytest.mark.parametrize("lines", [1, 2, 7, 5000, 5001, 9999])
def test_the_begin_of_the_last_lines_is_found(tmp_path: Path, lines: int, ending: bytes) -> None:
    text = b"\n".join(b"line %d" % number for number in range(5000)) + ending
    path = tmp_path / "text"
    path.write_bytes(text)
    fd = os.open(path, os.O_RDONLY)
    kept = text[tail_offset(fd, len(text), lines) :]
    os.close(fd)
    assert kept == b"\n".join(b"line %d" % number for number in range(max(0, 5000 - lines), 5000)) + ending


# ---- What is missing ------------------------------------------------------------------------------------------------


def test_a_gap_without_a_note_is_told(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    log = Log(tmp_path).says(b"before\n", 0).notes(7, 1, GAP, 65_536).says(b"after\n", 2).ends(3)
    assert shown(capfd, log).splitlines()[1] == (
        "21:20:01.000  pyflow: 65536 bytes of output, or fewer, are missing here"
    )


def test_a_gap_with_the_loggers_note_is_told_once(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    log = Log(tmp_path).says(b"before\n", 0).notes(7, 1, GAP, 10)
    log.says(b"pyflow: 10 bytes lost\n", 1, NOTE, 22).says(b"after\n", 2).ends(3)
    assert [line[14:] for line in shown(capfd, log).splitlines()] == ["before", "pyflow: 10 bytes lost", "after"]


def test_a_hole_is_told_and_passed_over(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    log = Log(tmp_path).says(b"head\n" + b"." * 4091, 0)
    os.truncate(log.log, 4096 + (8 << 20))
    if (fd := os.open(log.log, os.O_RDONLY)) and os.lseek(fd, 0, os.SEEK_HOLE) != 4096:
        os.close(fd)
        pytest.skip("this file system has no holes")
    os.close(fd)
    log.notes(4096, 1, CUT, 2048).says(b"tail\n", 2).ends(3)
    lines = [line[14:] for line in shown(capfd, log).splitlines()]
    assert [lines[0], *lines[2:]] == [
        "head",
        "pyflow: 8.0 MiB are left out here to keep the quota of the log",
        "tail",
    ]


def test_bytes_that_no_record_tells_of_are_shown(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    log = Log(tmp_path).says(b"told\n", 0)
    with log.log.open("ab") as file:
        file.write(b"untold\n")
    assert shown(capfd, log) == "21:20:00.000  told\n21:20:00.000  untold\n"


# ---- While it grows -------------------------------------------------------------------------------------------------


def test_what_comes_later_is_shown_as_it_comes(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    log = Log(tmp_path).says(b"first\n", 0)
    daemon = Daemon()
    daemon.opens(log, live=True)
    daemon.start()
    wait_for(capfd, "first\n")
    log.says(b"second\n", 1)
    assert wait_for(capfd, "second\n") == "21:20:01.000  second\n"
    log.ends(2)
    daemon.closes(log)
    daemon.finishes()


def test_bytes_that_share_a_record_are_shown_as_they_come(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    log = Log(tmp_path).says(b"first\n", 0)
    daemon = Daemon()
    daemon.opens(log, live=True)
    daemon.start()
    wait_for(capfd, "first\n")
    with log.log.open("ab") as file:
        file.write(b"more\n")
    wait_for(capfd, "more\n")
    log.says(b"last\n", 2).ends(3)
    daemon.closes(log)
    daemon.finishes()
    assert capfd.readouterr().out == "21:20:02.000  last\n"


def test_bytes_that_came_late_to_a_record_keep_its_time(tmp_path: Path) -> None:
    log = Log(tmp_path).says(b"first\n", 0)
    source = log.source()
    seen = source.pieces()
    with log.log.open("ab") as file:
        file.write(b"late\n")
    log.says(b"new\n", 5)
    seen += source.pieces()
    source.close()
    assert seen == [(BASE_US, b"first\n"), (BASE_US, b"late\n"), (BASE_US + 5 * SECOND_US, b"new\n")]


def test_a_line_without_an_end_is_shown_while_nothing_else_comes(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    log = Log(tmp_path).says(b"50 %", 0)
    daemon = Daemon()
    daemon.opens(log, live=True)
    daemon.start()
    seen = wait_for(capfd, "50 %")
    log.says(b" 100 %\n", 1).ends(2)
    daemon.closes(log)
    daemon.finishes()
    assert seen + capfd.readouterr().out == "21:20:00.000  50 % 100 %\n"


def test_the_last_words_of_an_ended_attempt_are_waited_for(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pyflowctl.logview.END_RECORD_WAIT_S", DEADLINE_S)
    log = Log(tmp_path).says(b"first\n", 0)
    daemon = Daemon()
    daemon.opens(log, live=True)
    daemon.start()
    daemon.closes(log)
    daemon.sends(frame(Finish(0)))
    wait_for(capfd, "first\n")
    log.says(b"last words\n", 1).ends(2)
    daemon.is_over()
    assert capfd.readouterr().out == "21:20:01.000  last words\n"


def test_an_end_record_that_never_comes_is_given_up(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pyflowctl.logview.END_RECORD_WAIT_S", 0.05)
    log = Log(tmp_path).says(b"first\n", 0)
    daemon = Daemon()
    daemon.opens(log, live=True)
    daemon.start()
    daemon.closes(log)
    daemon.finishes()
    assert capfd.readouterr().out == "21:20:00.000  first\n"


def test_text_of_the_daemon_stands_after_the_output_before_it(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    log = Log(tmp_path).says(b"output\n", 0).ends(1)
    daemon = Daemon()
    daemon.opens(log)
    daemon.sends(frame(Print(1, b"summary\n")))
    daemon.start()
    daemon.finishes(7)
    assert capfd.readouterr().out == "21:20:00.000  output\nsummary\n"


def test_logs_without_their_files_are_one_line(capfd: pytest.CaptureFixture[str]) -> None:
    ours, clients = socket.socketpair()
    with ours, clients:
        first = unpack(frame(LogOpen(run=1, task="a", attempt=1, live=False))[4:])
        assert isinstance(first, list)
        with pytest.raises(thin.ClientError, match="without its files"):
            show_logs(Frames(clients), first, 1.0, False, False)


# ---- On a terminal --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("output", "seen"),
    [
        (b"plain\ttext\n", b"plain\ttext\n"),
        ("Grüße 你好\n".encode(), "Grüße 你好\n".encode()),
        (b"\x1b]0;title\x07\n", b"\\x1b]0;title\\x07\n"),
        (b"\x1b[2Jgone\n", b"\\x1b[2Jgone\n"),
        (b"\x1b[8mhidden\n", b"\\x1b[8mhidden\n"),
        (b"\x1b[31mred\n", b"\x1b[31mred\x1b[0m\n"),
        (b"\x1b[38;5;8mgrey\n", b"\x1b[38;5;8mgrey\x1b[0m\n"),
        (b"\x1b[38;5;1;8mhidden\n", b"\\x1b[38;5;1;8mhidden\n"),
        (b"10%\r20%\r\n", b"10%\n20%\n"),
        (b"\xff\xfe\n", b"\\xff\\xfe\n"),
        ("a\u009b2Jb\u202ec\n".encode(), b"a\\x9b2Jb\\u202ec\n"),
    ],
)
def test_output_cannot_command_the_terminal(output: bytes, seen: bytes) -> None:
    assert logtext.for_terminal(output, True) == seen


def test_colours_are_taken_out_where_they_are_not_wanted() -> None:
    assert logtext.for_terminal(b"\x1b[1;31mred\x1b[0m.\n", False) == b"red.\n"


def test_output_to_a_pipe_is_left_as_it_is(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert shown(capfd, Log(tmp_path).says(b"\x1b[2J\n", 0).ends(1)) == "21:20:00.000  \x1b[2J\n"


def test_a_task_has_its_colour(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    log = Log(tmp_path).says(b"x\n", 0).ends(1)
    text = shown(capfd, log, terminal=True, colour=True, label_width=4)
    assert text == f"\x1b[2m21:20:00.000\x1b[0m  \x1b[{logtext.name_colour('dump')}mdump  \x1b[0mx\n"


# ---- Files that somebody has cut ------------------------------------------------------------------------------------


def test_a_log_without_its_index_is_shown_with_the_time_of_its_last_change(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    log = Log(tmp_path).says(b"one\ntwo\n", 0)
    log.index.write_bytes(b"")
    os.utime(log.log, ns=(0, (BASE_US + 3 * SECOND_US) * 1000))
    assert shown(capfd, log) == "21:20:03.000  one\n21:20:03.000  two\n"


def test_a_log_that_was_emptied_under_its_index_ends_at_once(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    log = Log(tmp_path).says(b"one\n" * 100, 0).says(b"two\n", 1).ends(2)
    log.log.write_bytes(b"one\n")
    assert shown(capfd, log) == "21:20:00.000  one\n"


def test_a_time_that_is_none_does_not_keep_output_from_being_shown(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    log = Log(tmp_path)
    log.log.write_bytes(b"one\n")
    log.index.write_bytes(pack(0, (1 << 64) - 1, DATA) + pack(4, BASE_US, END))
    assert shown(capfd, log).endswith("one\n")
