"""Messages: what they say, who is told, when another try is made; the channels and rules that files may name."""

from __future__ import annotations

from email import message_from_bytes
from email.policy import default
from zoneinfo import ZoneInfo

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyflowd import settings
from pyflowd.clock import US
from pyflowd.errors import Refused
from pyflowd.language.definition_notify import build_notify, read_notify, read_notify_rules
from pyflowd.language.document_yaml import parse_yaml
from pyflowd.language.fields import Report, Wrong
from pyflowd.model.kinds import Notify
from pyflowd.model.states import Reason, RunState, TaskState
from pyflowd.model.workflow import NotifyRule
from pyflowd.notify import notify, notify_payload
from pyflowd.notify.notify import (
    LONGEST_DELAY_S,
    MOST_TRIES,
    SUBJECT_MAX,
    TEXT_MAX,
    Ended,
    FailedTask,
    HostRule,
    Message,
    body_text,
    delay_s,
    of_run,
    subject_line,
    told,
)
from pyflowd.notify.notify_channels import Hook, Mail, Shape, Tls
from pyflowd.notify.notify_mail import mime

AT = 1_772_330_400 * US
MESSAGE = Message(channel="c", subject="s", text="t", at_us=AT, host="h")
BOTH = (RunState.FAILED, RunState.CANCELLED)


# ---- Words


@given(st.text(max_size=1000))
def test_a_subject_is_one_printable_line_of_bounded_length(text: str) -> None:
    line = subject_line(text)
    assert line.isprintable()
    assert len(line) <= SUBJECT_MAX


@given(st.text(max_size=300))
def test_nothing_in_a_message_begins_a_header_of_its_own(text: str) -> None:
    """Header injection: whatever a message holds, its mail has the same headers."""
    mail = Mail(to=("a@example.com",))
    message = Message(channel="c", subject=subject_line(text), text=body_text(text), at_us=AT, host=text, workflow="w")
    made = message_from_bytes(mime(mail, message, ("i-1",)), policy=default)
    assert made.keys() == [
        "From", "To", "Subject", "Date", "Message-ID", "Auto-Submitted", "X-PyFlow-Workflow",
        "Content-Type", "Content-Transfer-Encoding", "MIME-Version",
    ]  # fmt: skip
    assert made["To"] == "a@example.com"


def test_a_text_that_is_too_long_is_cut_and_says_so() -> None:
    cut = body_text("x" * (TEXT_MAX + 5))
    assert cut.endswith("x\n… (cut: 5 characters more)")


def test_controls_of_a_text_do_not_reach_anybodys_terminal() -> None:
    assert body_text("a\x1b[31mb\r\nc\td\x00") == "a\ufffd[31mb\nc\td\ufffd"


def test_a_message_about_a_run_tells_what_happened_and_where_to_look() -> None:
    ended = Ended(
        state=RunState.FAILED,
        reason=Reason.TASK_FAILED,
        started_us=AT,
        ended_us=AT + 671 * US,
        failed=(
            FailedTask(task="dump", state=TaskState.FAILED, reason=Reason.EXIT_CODE, error="exit code 1"),
            FailedTask(task="ship", state=TaskState.UPSTREAM_FAILED),
        ),
    )
    message = of_run("oncall", "nightly", 42, "at-night", ended, "web1", ZoneInfo("Europe/Berlin"))
    assert message.subject == "nightly failed on web1 (run 42)"
    assert message.text.split("\n") == [
        "nightly: run 42 failed on web1: task failed",
        "",
        "started   2026-03-01 03:00:00 CET",
        "ended     2026-03-01 03:11:11 CET, after 11m11s",
        "trigger   at-night",
        "failed    dump: exit code 1",
        "          ship: upstream failed",
        "",
        "pyflowctl status 42",
        "pyflowctl logs 42",
    ]
    assert (message.workflow, message.run, message.state) == ("nightly", 42, "failed")


def test_of_many_failed_tasks_the_first_are_named() -> None:
    failed = tuple(FailedTask(task=f"t{n}", state=TaskState.FAILED) for n in range(1000))
    ended = Ended(state=RunState.FAILED, ended_us=AT, failed=failed)
    message = of_run("c", "w", 1, "manual", ended, "h", ZoneInfo("UTC"))
    assert "          and 980 more\n" in message.text


# ---- Who is told


def test_the_workflow_and_the_host_tell_one_channel_once_the_workflows_first() -> None:
    own = (NotifyRule(channel="b"), NotifyRule(channel="a", on=(RunState.SUCCEEDED,)))
    host = (HostRule(channel="c", on=BOTH), HostRule(channel="b"))
    assert told(own, host, "w", {}, RunState.FAILED) == ["b", "c"]


@pytest.mark.parametrize(
    ("rule", "state", "heard"),
    [
        (HostRule(channel="c"), RunState.FAILED, True),
        (HostRule(channel="c"), RunState.CANCELLED, False),
        (HostRule(channel="c", on=BOTH), RunState.CANCELLED, True),
        (HostRule(channel="c", workflows=("night*",)), RunState.FAILED, True),
        (HostRule(channel="c", workflows=("day*", "*ly")), RunState.FAILED, True),
        (HostRule(channel="c", workflows=("Night*",)), RunState.FAILED, False),
        (HostRule(channel="c", labels={"tier": "critical"}), RunState.FAILED, True),
        (HostRule(channel="c", labels={"tier": "critical", "team": "x"}), RunState.FAILED, False),
        (HostRule(channel="c", labels={"tier": "low"}), RunState.FAILED, False),
    ],
)
def test_a_rule_of_the_host_chooses_workflows_by_name_label_and_outcome(
    rule: HostRule, state: RunState, heard: bool
) -> None:
    assert told((), (rule,), "nightly", {"tier": "critical"}, state) == (["c"] if heard else [])


# ---- When


def test_the_back_off_doubles_from_ten_seconds_to_an_hour_and_lasts_a_day() -> None:
    delays = [delay_s(tries) for tries in range(1, MOST_TRIES)]
    known = [delay for delay in delays if delay is not None]
    assert known[:4] == [10.0, 20.0, 40.0, 80.0]
    assert max(known) == LONGEST_DELAY_S
    assert 23 * 3600 < sum(known) < 25 * 3600
    assert (len(known), delay_s(MOST_TRIES)) == (MOST_TRIES - 1, None)


def test_a_server_that_asks_for_more_time_gets_it_but_no_more_than_an_hour() -> None:
    assert (delay_s(1, 30.0), delay_s(1, 1.0), delay_s(1, 1e6)) == (30.0, 10.0, LONGEST_DELAY_S)


# ---- Payloads


def test_a_card_for_teams_is_bounded_in_lines_and_in_bytes() -> None:
    for text in ("x\n" * 5000, "ü" * TEXT_MAX, "<" * TEXT_MAX):
        card = notify_payload.teams(msgspec.structs.replace(MESSAGE, text=text))
        assert len(msgspec.json.encode(card)) < 28 * 1024


def test_a_text_for_slack_is_bounded() -> None:
    text = notify_payload.slack(msgspec.structs.replace(MESSAGE, text="x" * TEXT_MAX))["text"]
    assert len(text) < 40_000


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("ftp://host/", "it begins neither with https:// nor with http://"),
        ("host/x", "it begins neither with https:// nor with http://"),
        ("https:///x", "it names no host"),
        ("https://user:s3cret@host/", "it holds a user's name; give an Authorization header instead"),
        ("https://host:99999/", "it is no URL"),
        ("https://host/a b", "it holds characters that must be written as %XX"),
        ("https://host/ü", "it holds characters that must be written as %XX"),
        ("https://host\r\nX: y/", "it "),
    ],
)
def test_a_url_that_cannot_be_posted_to_is_refused_without_repeating_it(url: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason) as raised:
        notify_payload.target(url)
    assert "s3cret" not in str(raised.value)


def test_a_url_is_taken_apart() -> None:
    target = notify_payload.target("https://[::1]:8443/a?b=c")
    assert (target.host, target.port, target.path, target.authority) == ("::1", 8443, "/a?b=c", "[::1]:8443")
    assert notify_payload.target("http://h").authority == "h"


def test_a_digest_names_what_it_stands_for() -> None:
    digest = notify.digest([msgspec.structs.replace(MESSAGE, subject=f"run {n}") for n in range(3)])
    assert digest.subject == "3 messages from h: run 0"
    assert digest.text.endswith("\n* run 0\n* run 1\n* run 2")


# ---- In a definition


def read(text: str, reader: object) -> tuple[object, list[str]]:
    document = parse_yaml(text.encode())
    report = Report("f", document)
    try:
        value = reader(document.root, report)  # type: ignore[operator]
    except Wrong as wrong:
        return None, [wrong.message]
    return value, [f"{problem.line}:{problem.column} {problem.message}" for problem in report.problems]


def test_a_task_names_its_channel_its_text_and_its_subject() -> None:
    value, problems = read("{channel: oncall, text: 'it ${{ run.outcome }}', subject: s}", read_notify)
    assert not problems
    assert isinstance(value, dict)
    assert build_notify(value, {}) == Notify(channel="oncall", text="it ${{ run.outcome }}", subject="s")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("oncall", 'expected a mapping (key: value), found the text "oncall"'),
        ("{text: x}", "there is no channel"),
        ("{channel: c}", "there is no text"),
        ("{channel: c, text: ' '}", "1:20 text: the text is empty"),
        ("{channel: '${{ x }}', text: x}", "1:11 channel: an expression may not stand in a name"),
        ("{channel: c, text: x, title: y}", '1:23 notify has no key "title" (did you mean "subject"?)'),
    ],
)
def test_a_task_that_cannot_tell_anybody_is_refused(text: str, problem: str) -> None:
    assert read(text, read_notify)[1] == [problem]


@pytest.mark.parametrize(
    ("text", "rules"),
    [
        ("oncall", (NotifyRule(channel="oncall"),)),
        ("{channel: oncall, on: [failed, cancelled]}", (NotifyRule(channel="oncall", on=BOTH),)),
        (
            "[a, {channel: b, on: succeeded}]",
            (NotifyRule(channel="a"), NotifyRule(channel="b", on=(RunState.SUCCEEDED,))),
        ),
        ("[]", ()),
    ],
)
def test_rules_have_a_short_form_and_a_long_one(text: str, rules: tuple[NotifyRule, ...]) -> None:
    assert read(text, read_notify_rules) == (rules, [])


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("7", "expected the name of a channel or a rule, found the number 7"),
        ("{on: failed}", "a rule needs a channel"),
        ("[a, 7]", "1:5 notify: expected the name of a channel or a rule, found the number 7"),
        ("{channel: a, on: failure}",
         '1:18 on: expected one of failed, cancelled, succeeded, found the text "failure" (did you mean "failed"?)'),
        ("{channel: a, on: [running]}", '1:19 expected one of failed, cancelled, succeeded, found the text "running"'),
        ("{channel: a, on: []}", "1:18 on: the list is empty"),
        ("{channel: a, when: failed}", '1:14 a rule of notify has no key "when" (did you mean "on"?)'),
    ],
)  # fmt: skip
def test_a_rule_that_is_wrong_is_refused_with_its_place(text: str, problem: str) -> None:
    assert read(text, read_notify_rules)[1] == [problem]


# ---- In the settings


def parsed(text: str) -> settings.Settings:
    return settings.parse("s.yaml", text.encode())


def test_every_sort_of_channel_is_read() -> None:
    found = parsed(
        """
channels:
  oncall: {mail: {to: [a@example.com, b@example.com], from: p@example.com, smtp: mail.example.com, user: u,
           password_file: /etc/pyflow/smtp, ca_file: /etc/pyflow/ca.pem}}
  deploys: {slack: {url_file: /etc/pyflow/slack}}
  chat: {teams: {url: "https://example.com/x"}}
  hook: {webhook: {url: "http://127.0.0.1:9/x?y=z", method: PUT, headers: {Authorization: Bearer t}}}
notify:
  - {channel: oncall, on: [failed, cancelled], workflows: ["nightly-*", dump], labels: {tier: critical}}
"""
    )
    assert found.channels == {
        "oncall": Mail(
            to=("a@example.com", "b@example.com"), sender="p@example.com", host="mail.example.com", port=587,
            tls=Tls.STARTTLS, user="u", password_file="/etc/pyflow/smtp", ca_file="/etc/pyflow/ca.pem",
        ),
        "deploys": Hook(shape=Shape.SLACK, url_file="/etc/pyflow/slack"),
        "chat": Hook(shape=Shape.TEAMS, url="https://example.com/x"),
        "hook": Hook(
            shape=Shape.WEBHOOK, url="http://127.0.0.1:9/x?y=z", method="PUT", headers={"Authorization": "Bearer t"}
        ),
    }  # fmt: skip
    assert found.notify == (
        HostRule(channel="oncall", on=BOTH, workflows=("nightly-*", "dump"), labels={"tier": "critical"}),
    )


@pytest.mark.parametrize(
    ("mail", "host", "port", "tls"),
    [
        ("", "localhost", 25, Tls.NONE),
        ("smtp: localhost", "localhost", 25, Tls.NONE),
        ("smtp: mx", "mx", 587, Tls.STARTTLS),
        ("smtp: mx, tls: tls", "mx", 465, Tls.TLS),
        ("smtp: 'mx:2525', tls: none", "mx", 2525, Tls.NONE),
        ("smtp: '[::1]:26'", "::1", 26, Tls.NONE),
    ],
)
def test_tls_is_the_rule_but_on_this_host_and_the_port_follows(mail: str, host: str, port: int, tls: Tls) -> None:
    found = parsed(f"channels: {{c: {{mail: {{to: a@b, {mail}}}}}}}").channels["c"]
    assert isinstance(found, Mail)
    assert (found.host, found.port, found.tls) == (host, port, tls)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("channels: [a]", "channels: expected a mapping"),
        ("channels: {a b: {mail: {to: a@b}}}", '1:12: "a b": "a b" is no name'),
        ("channels: {c: {}}", '"c": a channel is exactly one of mail, slack, teams, webhook'),
        ("channels: {c: {mail: {to: a@b}, slack: {url: 'http://h'}}}", '"c": a channel is exactly one of'),
        ("channels: {c: {email: {to: a@b}}}", 'a channel has no key "email" (did you mean "mail"?)'),
        ("channels: {c: {mail: {from: a@b}}}", "mail: it names nobody to write to"),
        ("channels: {c: {mail: {to: []}}}", "mail: it names nobody to write to"),
        ("channels: {c: {mail: {to: 'A <a@b>'}}}", '1:27: to: "A <a@b>" is no address of mail'),
        ('channels: {c: {mail: {to: "a@b\\r\\nBcc: c@d"}}}', "is no address of mail"),
        ("channels: {c: {mail: {to: a@b, smtp: 'mx:0'}}}", 'smtp: the text "mx:0" is no server'),
        ("channels: {c: {mail: {to: a@b, user: u}}}", "mail: user and password_file go together"),
        ("channels: {c: {mail: {to: a@b, user: u, password: p}}}", "mail: without TLS the password could be read"),
        ("channels: {c: {mail: {to: a@b, user: u, password: p, password_file: /p}}}", "mail: both password and"),
        ("channels: {c: {mail: {to: a@b, smtp: mx, user: ü, password: p}}}", "mail: user and password must be plain"),
        ("channels: {c: {mail: {to: a@b, password_file: p}}}", '"p" is no absolute path'),
        ("channels: {c: {slack: {}}}", "slack: it has no url"),
        ("channels: {c: {slack: {url: 'http://h', url_file: /f}}}", "slack: both url and url_file"),
        ("channels: {c: {slack: {url: s3cret}}}", "url: it begins neither with https:// nor with http://"),
        ("channels: {c: {slack: {url: 'http://h', headers: {}}}}", 'a chat\'s webhook has no key "headers"'),
        ("channels: {c: {webhook: {url: 'http://h', method: GET}}}", "method: expected one of POST, PUT, PATCH"),
        ('channels: {c: {webhook: {url: "http://h", headers: {A: "b\\nC: d"}}}}', '"A": a header\'s value is one line'),
        ("channels: {c: {webhook: {url: 'http://h', headers: {'A B': c}}}}", '"A B": no name of a header'),
        ("channels: {c: {webhook: {url: 'http://h', headers: {host: c}}}}", '"host": this header is made by PyFlow'),
        ("notify: oncall", '1:9: notify: there is no channel "oncall" (add it under channels:)'),
        ("channels: {oncall: {mail: {to: a@b}}}\nnotify: oncal", 'no channel "oncal" (did you mean "oncall"?)'),
        ("channels: {c: {mail: {to: a@b}}}\nnotify: {channel: c, workflows: a/b}", '"a/b" matches no workflow\'s name'),
    ],
)  # fmt: skip
def test_a_channel_or_rule_that_is_wrong_is_refused_with_its_place(text: str, problem: str) -> None:
    with pytest.raises(Refused) as raised:
        parsed(text)
    (line,) = str(raised.value).split("\n")
    assert problem in line
    assert line.startswith("s.yaml:")
    assert "s3cret" not in line
