"""web.yaml: what is taken, what is refused and with which words; the manual and the sample say the same keys."""

from __future__ import annotations

import os
import re
import socket
from pathlib import Path

import pytest

from pyflowd.errors import Refused, Unavailable
from pyflowd.web import listening
from pyflowd.web.settings import SETTINGS, TLS, Address, Settings, default_path, load, parse, parse_address
from tests.unit.test_man import keys, section

REPOSITORY = Path(__file__).resolve().parent.parent.parent
BEYOND = "listen: 0.0.0.0:8321\nurl: https://flow.example.com\ntls: {certificate: /c, key: /k}\n"


def refused(text: str) -> str:
    with pytest.raises(Refused) as told:
        parse("web.yaml", text.encode())
    return str(told.value)


def test_an_empty_or_absent_file_is_a_working_front_on_loopback(tmp_path: Path) -> None:
    assert load(str(tmp_path / "web.yaml")) == parse("web.yaml", b"# nothing\n") == Settings()
    assert Settings().listen == Address(host="127.0.0.1", port=8321)
    assert default_path("/etc/pyflow/pyflowd.yaml") == "/etc/pyflow/web.yaml"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("lissen: 127.0.0.1:1\n", ["web.yaml:1:1", 'no key "lissen"', 'did you mean "listen"']),
        ("port: 80\n", ['did you mean "listen"']),
        ("listen: 8321\n", ["web.yaml:1:9", "expected text"]),
        ("listen: localhost\n", ["there is no port", "127.0.0.1:8321"]),
        ("listen: example.com:80\n", ['"example.com" is no address']),
        ("listen: 127.0.0.1:65536\n", ["there is no port"]),
        ("listen: unix:web.sock\n", ["no absolute path"]),
        ("hosts: [a b]\n", ['"a b" is no name of a host']),
        ("url: https://x/y\n", ["without a path"]),
        ("url: ftp://x\n", ["https://flow.example.com"]),
        ("url: 'https://user@x'\n", ["names no host"]),
        ("proxy_header: 'a b'\nlisten: unix:/s\nurl: https://x\n", ["no name of a header"]),
        ("idle: 10\n", ["no unit", '"10s"']),
        ("idle: 30d\n", ["at most 7 days"]),
        ("tls: {certificate: /c}\n", ["there is no key"]),
        ("tls: {certificate: c, key: /k}\n", ["no absolute path"]),
        ("metrics: maybe\n", ["true or false"]),
        # what does not fit together
        ("listen: 0.0.0.0:8321\n", ["web.yaml:1:9", "in the clear", "set tls"]),
        ("listen: '[::]:8321'\n", ["in the clear"]),
        ("listen: 0.0.0.0:1\ntls: {certificate: /c, key: /k}\n", ["set url"]),
        ("listen: unix:/run/x.sock\n", ["set url"]),
        ("url: http://flow.example.com\n", ["in the clear", "https"]),
        ("proxy_header: X-User\n", ["name any account", "unix:"]),
    ],
)
def test_what_is_wrong_is_told_with_its_place_and_what_to_write(text: str, words: list[str]) -> None:
    told = refused(text)
    assert not [word for word in words if word not in told], told
    assert len(told.splitlines()) == 1


def test_what_may_be_written() -> None:
    assert parse("w", BEYOND.encode()).tls is not None
    found = parse("w", b"listen: unix:/run/web.sock\nurl: https://Flow.example.com\nproxy_header: X-User\nidle: 0s\n")
    assert (found.listen.path, found.url, found.proxy_header) == ("/run/web.sock", "https://flow.example.com", "x-user")
    assert found.idle_s == 0
    assert str(parse_address("[::1]:80")) == "[::1]:80"


# ---- Names, and sockets


def test_on_loopback_its_names_are_served_and_no_others() -> None:
    assert listening.origins(Settings(), Address(host="127.0.0.1", port=9)) == {
        "http://127.0.0.1:9", "http://localhost:9", "http://[::1]:9",
    }  # fmt: skip


def test_behind_a_proxy_on_a_unix_socket_only_its_names_are_served() -> None:
    settings = Settings(url="https://flow.example.com", hosts=("other.example.com:8443", "third.example.com:443"))
    assert listening.origins(settings, Address(path="/s")) == {
        "https://flow.example.com", "https://other.example.com:8443", "https://third.example.com",
    }  # fmt: skip


def test_beyond_loopback_no_name_of_loopback_is_served() -> None:
    found = listening.origins(parse("w", BEYOND.encode()), Address(host="0.0.0.0", port=8321))
    assert found == {"https://flow.example.com"}


@pytest.mark.parametrize("at", [Address(host="0.0.0.0", port=1), Address(host="::", port=1)])
def test_a_socket_that_is_handed_over_is_judged_as_one_that_is_made(at: Address) -> None:
    with pytest.raises(Refused, match=r"listen: .* in the clear"):
        listening.judge(Settings(), at)


def test_a_proxy_is_believed_only_where_nobody_else_may_connect(tmp_path: Path) -> None:
    settings = Settings(url="https://x", proxy_header="x-user", listen=Address(path=str(tmp_path / "s")))
    with listening.listen(settings.listen) as made:
        assert os.stat(tmp_path / "s").st_mode & 0o777 == 0o660
        listening.judge_mode(settings, listening.address_of(made))
        os.chmod(tmp_path / "s", 0o666)
        with pytest.raises(Refused, match="SocketMode=0660"):
            listening.judge_mode(settings, listening.address_of(made))


def test_a_socket_that_was_left_behind_is_no_hindrance_and_one_in_use_is(tmp_path: Path) -> None:
    at = Address(path=str(tmp_path / "s"))
    listening.listen(at).close()
    with listening.listen(at), pytest.raises(Unavailable, match="cannot listen on unix:"):
        listening.listen(at)
    (tmp_path / "file").write_text("mine")
    with pytest.raises(Unavailable):
        listening.listen(Address(path=str(tmp_path / "file")))
    assert (tmp_path / "file").read_text() == "mine"


def test_a_port_that_is_taken_is_told() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(Unavailable, match=rf"cannot listen on 127\.0\.0\.1:{port}: .*web\.yaml"):
            listening.listen(Address(host="127.0.0.1", port=port))


# ---- The manual, and the sample


def test_every_setting_and_no_other_stands_in_the_manual() -> None:
    assert keys("pyflow-web.8", "SETTINGS") == {*SETTINGS.keys, *TLS.keys}


def test_the_examples_of_the_manual_are_settings() -> None:
    lines = re.findall(r"^Example:\n(.+)$", section("pyflow-web.8", "SETTINGS"), re.MULTILINE)
    found = parse("web.yaml", "\n".join(lines).encode())
    assert (len(lines), found.idle_s, found.hooks) == (len(SETTINGS.keys), 3600.0, False)


def test_the_sample_holds_every_key_and_is_settings_when_its_comments_are_taken_away() -> None:
    text = (REPOSITORY / "etc" / "web.yaml").read_text()
    lines = re.findall(r"^# ([a-z_]+: .*)$", text, re.MULTILINE)
    assert {line.partition(":")[0] for line in lines} == set(SETTINGS.keys)
    parse("web.yaml", "\n".join(line for line in lines if not line.startswith("proxy_header")).encode())


def test_every_option_stands_in_the_manual() -> None:
    main = pytest.importorskip("pyflowd.web.main")
    options = {name for action in main.parser()._actions for name in action.option_strings}
    text = section("pyflow-web.8", "OPTIONS")
    assert not [name for name in options if name not in text]


def test_an_answer_does_not_wait_for_the_receipt_of_its_head() -> None:
    """Nagle's algorithm keeps what comes after the head back until the browser confirms that, 40 ms later."""
    with (
        listening.prompt(listening.listen(Address(host="127.0.0.1", port=0))) as listener,
        socket.create_connection(listener.getsockname()),
    ):
        taken, _ = listener.accept()
        with taken:
            assert taken.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
