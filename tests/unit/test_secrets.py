"""Providers of secrets and their order, the settings that name them, and what their errors never tell."""

from __future__ import annotations

import json
import logging
import os
import pickle
import shutil
import subprocess
import sys
import traceback
from pathlib import Path

import msgspec
import pytest

from pyflowd import paths, settings
from pyflowd.base.pool import Cancel
from pyflowd.clock import SystemClock
from pyflowd.errors import Refused
from pyflowd.protocol.requests import SetSecret
from pyflowd.secrets.secrets_model import (
    KEY_CREDENTIAL,
    Command,
    Credentials,
    Environment,
    Files,
    LocalStore,
    Provider,
    Secret,
    SecretError,
    Vault,
)
from pyflowd.secrets.secrets_resolver import Resolver

REPOSITORY = Path(__file__).resolve().parent.parent.parent
CANARY = "canary-5b1e77d0c94f4a2e"


def resolver(root: Path, *providers: Provider, default: bool = False, **environ: str) -> Resolver:
    (root / "state").mkdir(exist_ok=True)
    return Resolver(None if default else providers, "", paths.below(str(root)), environ, SystemClock())


def secret_file(folder: Path, name: str, content: str, mode: int = 0o600) -> Path:
    folder.mkdir(exist_ok=True, mode=0o700)
    path = folder / name
    path.write_text(content)
    path.chmod(mode)
    return path


def program(root: Path, text: str) -> Command:
    path = root / "program"
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return Command(argv=(str(path),))


# ---- What a secret looks like


@pytest.mark.parametrize("template", ["{}", "{0!r}", "{0!s:>9}", "{0:}", "{0!a}"])
def test_a_secret_is_shown_as_stars(template: str) -> None:
    secret = Secret(CANARY.encode())
    assert CANARY not in template.format(secret) + template.format([secret]) + template.format({"a": secret})


def test_a_secret_is_its_bytes_to_whoever_means_to_send_them() -> None:
    assert bytes(Secret(b"value")) == b"value"
    assert type(bytes(Secret(b"value"))) is bytes


@pytest.mark.parametrize("write", [pickle.dumps, msgspec.msgpack.encode, msgspec.json.encode, json.dumps])
def test_nothing_writes_a_secret_by_mistake(write: object) -> None:
    assert callable(write)
    with pytest.raises(TypeError):
        write(Secret(b"value"))


def test_a_request_that_holds_a_value_does_not_show_it() -> None:
    request = SetSecret(name="db", value=CANARY.encode())
    assert CANARY not in repr(request) + str(request) + f"{[request]}"


# ---- Which provider answers


def test_the_first_provider_that_has_the_name_answers(tmp_path: Path) -> None:
    secret_file(tmp_path / "one", "a", "first")
    secret_file(tmp_path / "two", "a", "second")
    secret_file(tmp_path / "two", "b", "other")
    found = resolver(tmp_path, Files(folder=str(tmp_path / "one")), Files(folder=str(tmp_path / "two")))
    assert found.resolve(["a", "b"], Cancel()) == {"a": b"first", "b": b"other"}


def test_a_provider_at_fault_ends_the_search(tmp_path: Path) -> None:
    """Another one may have an old value."""
    secret_file(tmp_path / "two", "a", "old")
    found = resolver(tmp_path, program(tmp_path, "exit 9"), Files(folder=str(tmp_path / "two")))
    with pytest.raises(SecretError, match="ended with exit code 9"):
        found.resolve(["a"], Cancel())


def test_a_provider_is_asked_only_for_the_names_that_it_is_for(tmp_path: Path) -> None:
    asked = program(tmp_path, f'echo "$1" >> {tmp_path}/asked; echo of-command')
    only = msgspec.structs.replace(asked, only=("db-*", "ftp"))
    secret_file(tmp_path / "files", "other", "of-file")
    found = resolver(tmp_path, only, Files(folder=str(tmp_path / "files")))
    assert found.resolve(["db-a", "other", "ftp"], Cancel()) == {
        "db-a": b"of-command", "ftp": b"of-command", "other": b"of-file",
    }  # fmt: skip
    assert (tmp_path / "asked").read_text().split() == ["db-a", "ftp"]


def test_a_name_that_nobody_has_is_told_with_all_that_were_asked_and_the_remedy(tmp_path: Path) -> None:
    folder = str(tmp_path / "files")
    Path(folder).mkdir()
    found = resolver(tmp_path, Files(folder=folder), LocalStore())
    with pytest.raises(SecretError) as raised:
        found.resolve(["db"], Cancel())
    assert str(raised.value) == (f'secret "db": not found in file {folder}, store; store it: pyflowctl secret set db')


@pytest.mark.parametrize("name", ["../x", "a/b", ".hidden", "", "a\n", "x" * 64, KEY_CREDENTIAL])
def test_what_is_no_name_of_a_secret_is_asked_of_nobody(tmp_path: Path, name: str) -> None:
    asked = program(tmp_path, f"touch {tmp_path}/asked; echo value")
    with pytest.raises(SecretError):
        resolver(tmp_path, asked).resolve([name], Cancel())
    assert not (tmp_path / "asked").exists()


def test_without_settings_files_beside_them_come_before_the_store_and_systemd(tmp_path: Path) -> None:
    secret_file(tmp_path / "credentials", "a", "systemd")
    secret_file(tmp_path / "credentials", "b", "systemd")
    secret_file(tmp_path / "credentials", "c", "systemd")
    found = resolver(tmp_path, default=True, CREDENTIALS_DIRECTORY=str(tmp_path / "credentials"))
    assert set(found.resolve(["a", "b", "c"], Cancel()).values()) == {b"systemd"}
    found.set("a", b"store", "anna", 7)
    found.set("b", b"store", "anna", 7)
    secret_file(tmp_path / "secrets", "a", "file")
    assert found.resolve(["a", "b", "c"], Cancel()) == {"a": b"file", "b": b"store", "c": b"systemd"}


def test_a_value_that_changed_is_seen_at_the_next_call(tmp_path: Path) -> None:
    found = resolver(tmp_path, Files(folder=str(tmp_path / "files")))
    secret_file(tmp_path / "files", "a", "one")
    assert found.resolve(["a"], Cancel()) == {"a": b"one"}
    secret_file(tmp_path / "files", "a", "two")
    assert found.resolve(["a"], Cancel()) == {"a": b"two"}


def test_a_call_that_nobody_waits_for_asks_no_further(tmp_path: Path) -> None:
    secret_file(tmp_path / "files", "a", "one")
    cancel = Cancel()
    cancel.set()
    with pytest.raises(SecretError, match="nobody waits"):
        resolver(tmp_path, Files(folder=str(tmp_path / "files"))).resolve(["a"], cancel)


# ---- Files


@pytest.mark.parametrize(
    ("content", "value"), [("v\n", b"v"), ("v", b"v"), ("v\n\n", b"v\n"), (" v \n", b" v "), ("a\nb\n", b"a\nb")]
)
def test_of_a_file_one_newline_at_the_end_is_dropped(tmp_path: Path, content: str, value: bytes) -> None:
    secret_file(tmp_path / "files", "a", content)
    assert resolver(tmp_path, Files(folder=str(tmp_path / "files"))).resolve(["a"], Cancel()) == {"a": value}


@pytest.mark.parametrize("mode", [0o640, 0o644, 0o620, 0o606, 0o601])
def test_a_file_that_others_may_read_or_change_is_no_secret(tmp_path: Path, mode: int) -> None:
    secret_file(tmp_path / "files", "a", CANARY, mode)
    with pytest.raises(SecretError, match="others may read or change it; chmod 600") as raised:
        resolver(tmp_path, Files(folder=str(tmp_path / "files"))).resolve(["a"], Cancel())
    assert CANARY not in str(raised.value)


def test_a_folder_that_others_may_change_holds_no_secrets(tmp_path: Path) -> None:
    secret_file(tmp_path / "files", "a", "v")
    (tmp_path / "files").chmod(0o770)
    with pytest.raises(SecretError, match=r"files: others may change it; .* chmod go-w"):
        resolver(tmp_path, Files(folder=str(tmp_path / "files"))).resolve(["a"], Cancel())


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    target = secret_file(tmp_path / "elsewhere", "b", CANARY)
    (tmp_path / "files").mkdir(mode=0o700)
    (tmp_path / "files" / "a").symlink_to(target)
    with pytest.raises(SecretError, match="symbolic link"):
        resolver(tmp_path, Files(folder=str(tmp_path / "files"))).resolve(["a"], Cancel())


def test_a_fifo_or_a_folder_blocks_nobody(tmp_path: Path) -> None:
    (tmp_path / "files").mkdir(mode=0o700)
    os.mkfifo(tmp_path / "files" / "fifo", 0o600)
    (tmp_path / "files" / "folder").mkdir(mode=0o700)
    for name in ("fifo", "folder"):
        with pytest.raises(SecretError, match="it is no file"):
            resolver(tmp_path, Files(folder=str(tmp_path / "files"))).resolve([name], Cancel())


@pytest.mark.parametrize(("size", "reason"), [(0, "is empty"), (65_537, "longer than 64 KiB"), (200_000, "64 KiB")])
def test_an_empty_or_endless_file_is_no_secret(tmp_path: Path, size: int, reason: str) -> None:
    secret_file(tmp_path / "files", "a", "x" * size)
    with pytest.raises(SecretError, match=reason):
        resolver(tmp_path, Files(folder=str(tmp_path / "files"))).resolve(["a"], Cancel())


def test_the_longest_secret_is_taken(tmp_path: Path) -> None:
    secret_file(tmp_path / "files", "a", "x" * 65_536 + "\n")
    found = resolver(tmp_path, Files(folder=str(tmp_path / "files"))).resolve(["a"], Cancel())
    assert found == {"a": b"x" * 65_536}


def test_a_folder_of_the_settings_that_is_not_there_is_a_fault(tmp_path: Path) -> None:
    with pytest.raises(SecretError, match="gone is not there; make it, or take it out of the settings"):
        resolver(tmp_path, Files(folder=str(tmp_path / "gone"))).resolve(["a"], Cancel())


def test_secrets_do_not_lie_beside_the_key_of_the_store(tmp_path: Path) -> None:
    with pytest.raises(Refused, match="holds the store's key, too"):
        resolver(tmp_path, Files(folder=str(tmp_path)))


# ---- systemd and the environment


def test_the_key_of_the_store_is_no_secret_of_systemd(tmp_path: Path) -> None:
    secret_file(tmp_path / "credentials", KEY_CREDENTIAL, "key")
    found = resolver(tmp_path, Credentials(), CREDENTIALS_DIRECTORY=str(tmp_path / "credentials"))
    with pytest.raises(SecretError, match="this name is for the key of the store"):
        found.resolve([KEY_CREDENTIAL], Cancel())
    assert [known for _, known in found.known()] == [[]]


def test_variables_are_taken_out_of_the_environment_when_the_daemon_starts(tmp_path: Path) -> None:
    environ = {"SECRET_DB_PASSWORD": CANARY, "HOME": "/", "SECRETIVE": "x"}
    (tmp_path / "state").mkdir()
    found = Resolver((Environment(prefix="SECRET_"),), "", paths.below(str(tmp_path)), environ, SystemClock())
    assert environ == {"HOME": "/", "SECRETIVE": "x"}
    assert found.resolve(["db-password"], Cancel()) == {"db-password": CANARY.encode()}


def test_a_variable_that_is_not_there_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(SecretError, match="not found in environment SECRET_"):
        resolver(tmp_path, Environment(prefix="SECRET_"), SECRET_A="v").resolve(["b"], Cancel())


# ---- A program


def test_a_program_gets_the_name_and_prints_the_value(tmp_path: Path) -> None:
    found = resolver(tmp_path, program(tmp_path, 'echo "value of $1"'))
    assert found.resolve(["db"], Cancel()) == {"db": b"value of db"}


def test_a_program_has_a_clean_environment_and_no_input(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOKEN", CANARY)
    found = resolver(tmp_path, program(tmp_path, "env | sed 's/=.*//' | sort | grep -v '^_$'; cat; pwd"))
    lines = found.resolve(["db"], Cancel())["db"].decode().split()
    assert set(lines) <= {"HOME", "LANG", "LOGNAME", "PATH", "PWD", "USER", "SHLVL", "OLDPWD", "/"}
    assert "PATH" in lines


def test_a_program_that_fails_is_told_by_its_last_line_of_errors_and_never_by_its_output(tmp_path: Path) -> None:
    text = f"echo {CANARY}; echo one >&2; printf 'no\\033[31m such thing\\n' >&2; exit 4"
    with pytest.raises(SecretError, match=r"program ended with exit code 4: no.* such thing$") as raised:
        resolver(tmp_path, program(tmp_path, text)).resolve(["db"], Cancel())
    assert CANARY not in str(raised.value)
    assert "\033" not in str(raised.value)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "what command .* printed is empty"),
        ("kill -9 $$", "was ended by signal 9"),
        ("exec yes", "printed more than 64 KiB"),
        ("exec yes >&2", "did not end within 0.5 s"),
        ("sleep 60", "did not end within 0.5 s"),
        ("exec >&- 2>&-; sleep 60", "did not end within 0.5 s"),
    ],
)
def test_a_program_that_does_not_do_as_it_should_is_stopped(
    tmp_path: Path, text: str, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pyflowd.secrets import secrets_command

    command = program(tmp_path, text)
    with pytest.raises(SecretError, match=reason):
        secrets_command.fetch(command.argv, "db", Cancel(), SystemClock(), timeout_s=0.5)


def test_a_program_that_leaves_children_behind_is_not_waited_for(tmp_path: Path) -> None:
    found = resolver(tmp_path, program(tmp_path, "sleep 60 & echo value"))
    assert found.resolve(["db"], Cancel()) == {"db": b"value"}


def test_a_program_is_stopped_when_nobody_waits_any_more(tmp_path: Path) -> None:
    import threading

    from pyflowd.secrets import secrets_command

    command = program(tmp_path, f"touch {tmp_path}/began; sleep 60")
    cancel = Cancel()

    def stop() -> None:
        while not (tmp_path / "began").exists() and not cancel.wait(0.01):
            pass
        cancel.set()

    thread = threading.Thread(target=stop)
    thread.start()
    with pytest.raises(SecretError, match="was stopped"):
        secrets_command.fetch(command.argv, "db", cancel, SystemClock(), timeout_s=30)
    cancel.set()
    thread.join()


def test_a_program_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(SecretError, match="command /not/there cannot be started: No such file"):
        resolver(tmp_path, Command(argv=("/not/there",))).resolve(["db"], Cancel())


# ---- Changes


def test_a_store_that_is_not_asked_takes_nothing(tmp_path: Path) -> None:
    with pytest.raises(Refused, match=r"add {store: true} to secrets:"):
        resolver(tmp_path, Credentials()).set("db", b"v", "anna", 7)
    assert not (tmp_path / "secrets.key").exists()


def test_whoever_stores_a_value_is_told_who_is_asked_before(tmp_path: Path) -> None:
    secret_file(tmp_path / "secrets", "db", "v")
    changed = resolver(tmp_path, default=True).set("db", b"w", "anna", 7)
    assert any(note.startswith(f"file {tmp_path}/secrets is asked before the store") for note in changed.notes)


def test_the_first_change_tells_of_the_key_that_it_made(tmp_path: Path) -> None:
    found = resolver(tmp_path, default=True)
    notes = [found.set(name, b"v", "anna", 7).notes for name in ("a", "b")]
    assert notes == [(f"a key was made for the store: {tmp_path}/secrets.key; keep a copy of it elsewhere",), ()]


@pytest.mark.parametrize(("value", "reason"), [(b"", "is empty"), (b"x" * 65_537, "longer than 64 KiB")])
def test_a_value_that_cannot_be_meant_is_not_stored(tmp_path: Path, value: bytes, reason: str) -> None:
    with pytest.raises(Refused, match=reason):
        resolver(tmp_path, default=True).set("db", value, "anna", 7)


# ---- What is told


def test_no_error_and_no_traceback_tells_a_value(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    found = resolver(tmp_path, default=True, SECRET_X=CANARY)
    found.set("a", CANARY.encode(), "anna", 7)
    (tmp_path / "secrets.key").write_text("x")
    try:
        found.resolve(["a"], Cancel())
    except SecretError:
        logging.getLogger("test").exception("it failed")
        shown = "".join(traceback.TracebackException(*sys.exc_info(), capture_locals=True).format())
    assert CANARY not in shown
    assert CANARY not in caplog.text


def test_a_daemon_without_secrets_does_not_load_cryptography() -> None:
    script = "import sys, pyflowd.cli; print(*sorted(sys.modules))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert not {"cryptography", "pyflowd.secrets.secrets_vault"} & set(done.stdout.split())
    assert "pyflowd.secrets.secrets_store" in done.stdout.split()


def test_nobody_of_the_same_account_looks_into_a_process_that_closes_its_memory() -> None:
    who = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"] if os.geteuid() == 0 else []
    if who and shutil.which("setpriv") is None:
        pytest.skip("no setpriv(1) to be another account with")
    script = "import sys; sys.path.insert(0, sys.argv[1]); from pyflowd.keeper.memory import close_memory; "
    script += "assert close_memory(); print(flush=True); sys.stdin.read()"
    environ = {**os.environ, "SECRET_X": CANARY}
    with subprocess.Popen(
        [*who, sys.executable, "-c", script, REPOSITORY], env=environ, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        if not process.stdout.readline():
            pytest.skip("another account cannot run this interpreter")
        look = subprocess.run([*who, "cat", f"/proc/{process.pid}/environ"], capture_output=True, check=False)
    assert (look.returncode, look.stdout) == (1, b"")
    assert b"Permission denied" in look.stderr


# ---- Settings


def parsed(text: str) -> settings.Settings:
    return settings.parse("s.yaml", text.encode())


def test_all_providers_can_be_named_in_the_settings() -> None:
    found = parsed(
        "secrets_key: /etc/pyflow/key\n"
        "secrets:\n"
        "- {file: /etc/pyflow/secrets, only: [a*, b]}\n"
        "- {systemd: true}\n"
        "- {environment: SECRET_}\n"
        "- {store: true}\n"
        "- {command: [/usr/bin/pass, show], only: db-*}\n"
        "- vault: {address: 'https://vault.example.com:8200/', token_file: /run/token, mount: kv, path: /apps/web/,\n"
        "          field: pw, ca_file: /etc/ca.pem, namespace: ops/}\n"
    )
    assert found.secrets_key == "/etc/pyflow/key"
    assert found.secrets == (
        Files(folder="/etc/pyflow/secrets", only=("a*", "b")),
        Credentials(),
        Environment(prefix="SECRET_"),
        LocalStore(),
        Command(argv=("/usr/bin/pass", "show"), only=("db-*",)),
        Vault(
            address="https://vault.example.com:8200", token_file="/run/token", mount="kv", path="apps/web",
            field="pw", ca_file="/etc/ca.pem", namespace="ops",
        ),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("secrets: {store: true}", "s.yaml:1:10: secrets: expected a list of providers, found a mapping"),
        ("secrets: [{stor: true}]", 'has no key "stor" (did you mean "store"?)'),
        ("secrets: [{env: X_}]", '(did you mean "environment"?)'),
        ("secrets: [{store: false}]", "false says nothing"),
        ("secrets: [{store: true, systemd: true}]", "a provider is exactly one of these"),
        ("secrets: [{only: a}]", "a provider is exactly one of these"),
        ("secrets: [store]", 'expected a mapping (key: value), found the text "store"'),
        ("secrets: [{file: secrets}]", '"secrets" is no absolute path'),
        ("secrets: [{environment: ''}]", '"" is no prefix of variables'),
        ("secrets: [{environment: 'a b'}]", "is no prefix of variables"),
        ("secrets: [{command: pass}]", "expected a list"),
        ("secrets: [{command: [pass]}]", '"pass" is no absolute path'),
        ("secrets: [{store: true, only: 'a b'}]", '"a b" is no pattern of names'),
        ("secrets: [{vault: {address: 'https://v:8200'}}]", "it has no token_file"),
        ("secrets: [{vault: {address: 'http://v:8200', token_file: /t}}]", "without TLS the token"),
        ("secrets: [{vault: {address: 'https://v:8200/v1', token_file: /t}}]", "an address has no path"),
        ("secrets: [{vault: {address: 'https://v', token_file: /t, path: a/../b}}]", "is no path of Vault"),
        ("secrets: [{vault: {address: 'https://v', token: abc}}]", '(did you mean "token_file"?)'),
        ("secrets_key: key", '"key" is no absolute path'),
    ],
)
def test_a_mistake_in_the_settings_is_told_with_its_place(text: str, said: str) -> None:
    with pytest.raises(Refused) as raised:
        parsed(text)
    assert said in str(raised.value)
    assert str(raised.value).startswith("s.yaml:1:")
