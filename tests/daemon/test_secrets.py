"""`pyflowctl secret` with a real daemon: what it stores, who is told what, and that a value is nowhere else."""

from __future__ import annotations

import base64
import json
import os
import secrets
import shutil
import subprocess
import sys
from pathlib import Path
from urllib.parse import quote

import pytest

from pyflowctl.secretvalue import MOST_BYTES
from pyflowd.base.pool import Cancel
from pyflowd.clock import SystemClock
from pyflowd.crashpoints import OF_SECRETS
from pyflowd.errors import Refused
from pyflowd.paths import below
from pyflowd.protocol.requests import ListSecrets, SetSecret
from pyflowd.protocol.views_host import SecretPage
from pyflowd.secrets.secrets_resolver import Resolver
from tests.daemon.instance import REPOSITORY, Instance
from tests.waiting import wait_until


def ctl(
    daemon: Instance, *arguments: object, value: bytes | None = None, **options: object
) -> subprocess.CompletedProcess[bytes]:
    """A command line whose standard input is `value`."""
    return subprocess.run(
        [sys.executable, "-m", "pyflowctl", "--root", str(daemon.root), *map(str, arguments)], input=value or b"",
        env={**os.environ, "PYTHONPATH": str(REPOSITORY), "TZ": "UTC", "NO_COLOR": "1"}, timeout=30,
        capture_output=True, check=False, cwd="/",
    )  # fmt: skip


def resolve(daemon: Instance, *names: str) -> dict[str, bytes]:
    """As the daemon resolves them, its settings left at their defaults."""
    resolver = Resolver(None, "", below(str(daemon.root)), {}, SystemClock())
    return {name: bytes(value) for name, value in resolver.resolve(names, Cancel()).items()}


# ---- The commands


def test_a_value_that_is_piped_is_stored_without_its_newline(daemon: Instance) -> None:
    done = ctl(daemon, "secret", "set", "db", value=b"the value\n")
    assert (done.returncode, done.stderr) == (0, b"")
    assert resolve(daemon, "db") == {"db": b"the value"}


def test_a_value_is_read_from_a_file_by_the_client(daemon: Instance, tmp_path: Path) -> None:
    (tmp_path / "value").write_bytes(b"\x00\xff of a file\n\n")
    assert ctl(daemon, "secret", "set", "db", "--file", tmp_path / "value").returncode == 0
    assert resolve(daemon, "db") == {"db": b"\x00\xff of a file\n"}


def test_a_value_that_is_typed_is_not_shown(daemon: Instance) -> None:
    if shutil.which("setsid") is None:
        pytest.skip("no setsid(1) to give a process its terminal")
    ours, theirs = os.openpty()
    command = [sys.executable, "-m", "pyflowctl", "--root", str(daemon.root), "secret", "set", "db"]
    with subprocess.Popen(
        ["setsid", "--ctty", "--wait", *command], stdin=theirs, stdout=theirs, stderr=theirs, cwd="/",
        env={**os.environ, "PYTHONPATH": str(REPOSITORY), "NO_COLOR": "1"},
    ) as process:  # fmt: skip
        os.close(theirs)
        shown = read_until(ours, b"Value of db: ")
        os.write(ours, b"typed unseen\n")
        shown += read_until(ours, b"The same again: ")
        os.write(ours, b"typed unseen\n")
        shown += read_until(ours, b"secret list")
        assert process.wait(20) == 0
    os.close(ours)
    assert b"typed unseen" not in shown
    assert resolve(daemon, "db") == {"db": b"typed unseen"}


def read_until(descriptor: int, expected: bytes) -> bytes:
    read = b""

    def more() -> bool:
        nonlocal read
        read += os.read(descriptor, 4096)
        return expected in read

    wait_until(more, f"{expected!r} is shown")
    return read


def test_the_list_names_secrets_and_no_command_prints_a_value(daemon: Instance) -> None:
    shown = [ctl(daemon, "secret", "set", "db", value=b"hidden-value-1")]
    shown += [ctl(daemon, "secret", "set", "db", value=b"hidden-value-2")]
    shown += [ctl(daemon, "-o", "json", *words) for words in (["secret", "list"], ["secret", "rekey"])]
    shown += [ctl(daemon, *words) for words in (["secret", "list"], ["events"], ["doctor"], ["status"])]
    listed = json.loads(shown[2].stdout)["secrets"]
    assert [(each["secret"], each["provider"], each["version"]) for each in listed] == [("db", "store", 2)]
    assert all(done.returncode == 0 for done in shown)
    assert b"hidden-value" not in b"".join(done.stdout + done.stderr for done in shown)


def test_each_change_is_an_event_that_says_who(daemon: Instance) -> None:
    ctl(daemon, "secret", "set", "db", value=b"one")
    ctl(daemon, "secret", "rekey")
    ctl(daemon, "secret", "rm", "db")
    said = [event["text"] for event in map(json.loads, daemon.ctl("-o", "json", "events").stdout.splitlines())]
    me = json.loads(ctl(daemon, "-o", "json", "events").stdout.splitlines()[-1])["text"].split()[-1]
    assert said[-3:] == [
        f"secret db: set by {me}, version 1",
        f"1 secret sealed under another key, asked for by {me}",
        f"secret db: removed by {me}",
    ]


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        (["set", "a/b"], 2, b"cannot be the name of a secret"),
        (["set", "db", "hunter2"], 2, b"a value is never an argument"),
        (["set"], 2, b"secret set needs NAME"),
        (["list", "db"], 2, b"secret list takes no name"),
        (["rm", "db", "--file", "x"], 2, b"--file goes with set only"),
        (["ste", "db"], 2, b'did you mean "set"?'),
        (["rm", "db"], 3, b'there is no secret "db" in the store'),
        (["rekey"], 3, b"there is no store yet"),
        (["set", "db"], 6, b"the value is empty"),
        (["set", "db", "--file", "/not/there"], 3, b"/not/there: there is no such file"),
        (["set", "pyflow-secrets-key", "--file", "/etc/hostname"], 6, b"this name is for the key of the store"),
    ],
)
def test_a_mistake_is_one_line_that_does_not_repeat_a_value(
    shared_daemon: Instance, words: list[str], status: int, said: bytes
) -> None:
    done = ctl(shared_daemon, "secret", *words)
    assert (done.returncode, done.stdout) == (status, b"")
    assert said in done.stderr
    assert done.stderr.count(b"\n") == 1
    assert b"hunter2" not in done.stderr


def test_a_value_that_is_too_long_is_not_sent(shared_daemon: Instance) -> None:
    done = ctl(shared_daemon, "secret", "set", "long", value=b"x" * (MOST_BYTES + 1))
    assert (done.returncode, done.stderr) == (
        6,
        b"pyflowctl: the value is longer than 64 KiB, which no secret may be\n",
    )


def test_a_typed_client_sets_and_lists(daemon: Instance) -> None:
    with daemon.client() as client:
        list(client.ask(SetSecret(name="db", value=b"as it is\n")))
        pages = [page for page in client.ask(ListSecrets()) if isinstance(page, SecretPage)]
    assert [view.name for page in pages for view in page.secrets] == ["db"]
    assert resolve(daemon, "db") == {"db": b"as it is\n"}


def test_providers_that_hide_a_name_or_are_at_fault_are_told(instance: Instance) -> None:
    folder = instance.root / "files"
    folder.mkdir(mode=0o700)
    (folder / "db").write_text("v")
    (folder / "db").chmod(0o600)
    instance.settings(
        secrets=[{"file": str(folder)}, {"store": True}, {"command": ["/bin/true"]}, {"file": str(folder / "gone")}]
    )
    instance.start()
    stored = ctl(instance, "secret", "set", "db", value=b"v")
    assert b"is asked before the store, and may have another value" in stored.stdout
    shown = json.loads(ctl(instance, "-o", "json", "secret", "list").stdout)
    assert [(each["secret"], each["hidden"]) for each in shown["secrets"]] == [("db", False), ("db", True)]
    assert [note.partition(":")[0] for note in shown["notes"]] == ["command /bin/true", f"file {folder}/gone"]


def test_the_list_names_the_workflows_that_use_a_secret_and_what_no_provider_has(instance: Instance) -> None:
    instance.start()
    ctl(instance, "secret", "set", "db", value=b"v")
    instance.install("env.yaml", 'tasks: {a: {run: "true", env: {A: "${{ secrets.db }}", B: "${{ secrets.gone }}"}}}')
    instance.install("file.yaml", 'finally: {z: {run: "true", credentials: {pw: db}}}\ntasks: {a: {run: "true"}}')
    shown = json.loads(ctl(instance, "-o", "json", "secret", "list").stdout)
    assert [(each["secret"], each["workflows"]) for each in shown["secrets"]] == [("db", ["env", "file"])]
    assert shown["notes"] == [
        "gone is named by env, and no provider has it; store it: pyflowctl secret set gone",
    ]
    checks = instance.json("doctor")["checks"]
    assert [check["found"] for check in checks if check["subject"] == "secrets"] == shown["notes"]


def test_what_a_provider_that_cannot_tell_may_have_is_not_called_missing(instance: Instance) -> None:
    instance.settings(secrets=[{"store": True}, {"command": ["/bin/true"], "only": "team-*"}])
    instance.start()
    env = "{A: '${{ secrets.team-db }}', B: '${{ secrets.other }}'}"
    instance.install("w.yaml", f'tasks: {{a: {{run: "true", env: {env}}}}}')
    notes = json.loads(ctl(instance, "-o", "json", "secret", "list").stdout)["notes"]
    assert [note.partition(" ")[0] for note in notes] == ["command", "other"]


def test_a_file_that_others_may_read_is_told_in_the_list(instance: Instance) -> None:
    folder = instance.root / "secrets"
    folder.mkdir(mode=0o700)
    (folder / "db").write_text("v")
    (folder / "db").chmod(0o644)
    instance.start()
    shown = json.loads(ctl(instance, "-o", "json", "secret", "list").stdout)
    assert [note.partition("; ")[0] for note in shown["notes"]] == [f"{folder}/db: others may read or change it"]


def test_variables_with_secrets_are_not_handed_on(instance: Instance) -> None:
    instance.settings(secrets=[{"environment": "SECRET_"}])
    instance.start(SECRET_DB="canary-of-the-environment")
    instance.install("w.yaml", "tasks: {a: {run: env}}")
    run = instance.run("w")
    instance.wait_run(run)
    shown = json.loads(ctl(instance, "-o", "json", "secret", "list").stdout)
    assert [each["secret"] for each in shown["secrets"]] == ["db"]
    assert "canary" not in instance.ctl("logs", run, "--raw").stdout
    keeper = Path(f"/proc/{instance.keeper().pid}/environ").read_bytes()
    assert b"canary-of-the-environment" not in keeper


def test_a_daemon_whose_secrets_lie_beside_the_key_does_not_start(instance: Instance) -> None:
    instance.settings(secrets=[{"file": str(instance.root)}])
    instance.start(wait=False)
    assert instance.wait_dead() == Refused.exit_status
    assert "holds the store's key, too" in instance.log_text()


# ---- Canaries


def forms(value: bytes) -> set[bytes]:
    """A value as it may be written: raw, in hex, base64 at each alignment, URL, UTF-16."""
    found = {value, value.hex().encode(), quote(value).encode(), value.decode("latin-1").encode("utf-16-le")}
    for skip in range(3):
        whole = base64.b64encode(value[skip:][: (len(value) - skip) // 3 * 3])
        found |= {whole, whole.replace(b"+", b"-").replace(b"/", b"_")}
    return found


def written(daemon: Instance) -> dict[Path, bytes]:
    files = [path for path in daemon.root.rglob("*") if path.is_file()]
    return {path: path.read_bytes() for path in [*files, daemon.log]}


def assert_nowhere(daemon: Instance, values: set[bytes]) -> None:
    contents = written(daemon)
    assert any(path.name == "secrets.store" for path in contents)
    hits = [
        (path, value) for path, text in contents.items() for value in values if any(f in text for f in forms(value))
    ]
    assert not hits


def test_the_search_finds_a_value_that_is_written(daemon: Instance) -> None:
    """A checker that never failed proves nothing."""
    ctl(daemon, "secret", "set", "db", value=b"x")
    value = secrets.token_bytes(24)
    for number, form in enumerate(sorted(forms(value))):
        (daemon.root / "state" / f"leak{number}").write_bytes(b"before" + form + b"after")
        with pytest.raises(AssertionError):
            assert_nowhere(daemon, {value})
        (daemon.root / "state" / f"leak{number}").unlink()


def test_values_are_nowhere_after_rotation_removal_a_wrong_key_and_kills(instance: Instance) -> None:
    instance.options = ("--verbose",)
    ever: set[bytes] = set()

    def put(name: str) -> subprocess.CompletedProcess[bytes]:
        value = secrets.token_urlsafe(24).encode() if len(ever) % 2 else secrets.token_bytes(24).strip(b"\n")
        ever.add(value)
        values[name] = value
        return ctl(instance, "secret", "set", name, value=value + b"\n")

    values: dict[str, bytes] = {}
    instance.start()
    for name in ("a", "b", "c", "a"):
        assert put(name).returncode == 0
    assert ctl(instance, "secret", "rm", "c").returncode == 0
    assert ctl(instance, "secret", "rekey").returncode == 0
    assert resolve(instance, "a", "b") == {"a": values["a"], "b": values["b"]}
    for point in OF_SECRETS:
        instance.stop()
        instance.start(PYFLOWD_CRASH=f"{point}:1")
        before = values["a"]
        assert put("a").returncode == 4
        instance.wait_dead()
        instance.start()
        assert resolve(instance, "a")["a"] in (before, values["a"])
        assert put("a").returncode == 0
    key = instance.root / "secrets.key"
    right = key.read_bytes()
    key.write_bytes(base64.b64encode(secrets.token_bytes(32)) + b"\n")
    assert b"was locked with another key" in put("a").stderr
    last = values.pop("a")
    key.write_bytes(right)
    assert last not in resolve(instance, "a", "b").values()
    instance.stop()
    assert_nowhere(instance, ever)
