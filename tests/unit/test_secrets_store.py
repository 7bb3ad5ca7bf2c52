"""The encrypted store: what is in the file, what opens it, what is noticed, and what a crash leaves."""

from __future__ import annotations

import base64
import errno
import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pyflowd.crashpoints import OF_SECRETS
from pyflowd.errors import NotFound, Refused, Unavailable
from pyflowd.secrets.secrets_key import Keyring, key_id, new_key
from pyflowd.secrets.secrets_store import Rekeyed, SecretStore

REPOSITORY = Path(__file__).resolve().parent.parent.parent
CANARY = b"canary-7f3a9c51e2d84b06"


def store_in(folder: Path, credentials: str = "") -> SecretStore:
    (folder / "state").mkdir(exist_ok=True)
    return SecretStore(str(folder / "state"), Keyring(str(folder / "secrets.key"), credentials))


def file_of(store: SecretStore) -> bytes:
    return Path(store.path).read_bytes()


def written(key: bytes) -> bytes:
    return base64.b64encode(key) + b"\n"


def private(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    path.chmod(0o600)


# ---- Values


def test_a_value_comes_back_as_it_was_given(tmp_path: Path) -> None:
    store_in(tmp_path).set("db", b"\x00\xffone\ntwo\n", "anna", 7)
    assert store_in(tmp_path).fetch(["db", "other"]) == {"db": b"\x00\xffone\ntwo\n"}


@settings(max_examples=25, deadline=None)
@given(values=st.dictionaries(st.from_regex(r"\A[A-Za-z0-9][\w.-]{0,20}\Z", fullmatch=False), st.binary(min_size=1)))
def test_any_values_come_back_and_none_is_in_the_file(
    tmp_path_factory: pytest.TempPathFactory, values: dict[str, bytes]
) -> None:
    store = store_in(tmp_path_factory.mktemp("store"))
    for name, value in values.items():
        store.set(name, CANARY + value, "anna", 7)
    assert store.fetch(list(values)) == {name: CANARY + value for name, value in values.items()}
    assert not values or CANARY not in file_of(store)


def test_each_change_counts_the_version_and_says_when_and_who(tmp_path: Path) -> None:
    store = store_in(tmp_path)
    assert [store.set("db", b"one", "anna", 7), store.set("db", b"two", "bob", 8)] == [(1, True), (2, False)]
    entry = store.entries()["db"]
    assert (entry.version, entry.changed_by, entry.changed_us) == (2, "bob", 8)


def test_the_same_value_twice_is_sealed_differently(tmp_path: Path) -> None:
    store = store_in(tmp_path)
    store.set("a", b"same value", "anna", 7)
    store.set("b", b"same value", "anna", 7)
    one, two = store.entries().values()
    assert one.nonce != two.nonce
    assert one.sealed != two.sealed


def test_a_removed_value_is_gone(tmp_path: Path) -> None:
    store = store_in(tmp_path)
    store.set("db", b"value", "anna", 7)
    store.remove("db")
    assert store.fetch(["db"]) == {}


def test_what_is_not_there_cannot_be_removed(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match='there is no secret "db" in the store'):
        store_in(tmp_path).remove("db")


def test_file_and_key_are_for_the_eyes_of_their_owner_only(tmp_path: Path) -> None:
    store = store_in(tmp_path)
    before = os.umask(0)
    try:
        store.set("db", b"value", "anna", 7)
    finally:
        os.umask(before)
    modes = {stat.S_IMODE(os.stat(path).st_mode) for path in (store.path, store.keyring.path)}
    assert modes == {0o600}


def test_a_store_that_would_grow_too_large_stays_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = store_in(tmp_path)
    store.set("a", b"x" * 600, "anna", 7)
    before = file_of(store)
    monkeypatch.setattr("pyflowd.secrets.secrets_store.MOST_BYTES", 1000)
    with pytest.raises(Refused, match="larger than"):
        store.set("b", b"x" * 600, "anna", 7)
    assert file_of(store) == before


# ---- What does not open


def test_another_key_opens_nothing_and_the_store_is_left_as_it_is(tmp_path: Path) -> None:
    store = store_in(tmp_path)
    store.set("db", CANARY, "anna", 7)
    private(tmp_path / "secrets.key", written(new_key()))
    before = file_of(store)
    for call in (
        lambda: store.fetch(["db"]), lambda: store.set("b", b"v", "anna", 7), lambda: store.remove("db"), store.rekey
    ):  # fmt: skip
        with pytest.raises(Refused, match=r"was locked with another key than .*secrets.key; put the right key back"):
            call()
    assert file_of(store) == before


def test_a_key_that_is_gone_is_not_made_anew_while_there_is_a_store(tmp_path: Path) -> None:
    store = store_in(tmp_path)
    store.set("db", b"value", "anna", 7)
    (tmp_path / "secrets.key").unlink()
    with pytest.raises(Refused, match=r"is locked, and its key is gone: .*secrets.key; put the right key back"):
        store.set("b", b"v", "anna", 7)
    assert not (tmp_path / "secrets.key").exists()


def test_every_byte_that_is_changed_is_noticed(tmp_path: Path) -> None:
    store = store_in(tmp_path)
    store.set("db", b"value", "anna", 7)
    store.set("ftp", b"other", "anna", 7)
    whole = file_of(store)
    opened = []
    for at in range(len(whole)):
        private(Path(store.path), whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        try:
            store.fetch(["db"])
        except Refused:
            continue
        opened.append(at)
    assert opened == []


def test_a_value_cannot_be_put_under_another_name(tmp_path: Path) -> None:
    """Also by somebody who can make the tag over the whole: each value is bound to its own name."""
    from cryptography.exceptions import InvalidTag

    from pyflowd.secrets.secrets_store import _cipher, _unseal

    store = store_in(tmp_path)
    store.set("test", b"value", "anna", 7)
    cipher = _cipher(store.keyring.all()[0])
    with pytest.raises(InvalidTag):
        _unseal(cipher, "prod", store.entries()["test"])


@pytest.mark.parametrize("content", [b"", b"pyflow secrets 2\nxyz", b"not at all", b"pyflow secrets 1\n"])
def test_what_is_no_store_is_refused_and_left_as_it_is(tmp_path: Path, content: bytes) -> None:
    store = store_in(tmp_path)
    private(tmp_path / "secrets.key", written(new_key()))
    private(Path(store.path), content)
    with pytest.raises(Refused, match="put a backup in its place"):
        store.set("db", b"value", "anna", 7)
    assert file_of(store) == content


@pytest.mark.parametrize("content", [b"", b"\n", b"no base64!\n", b"c2hvcnQ=\n"])
def test_what_is_no_key_is_refused(tmp_path: Path, content: bytes) -> None:
    private(tmp_path / "secrets.key", content)
    with pytest.raises(Refused, match=r"put the right (file|key) back"):
        store_in(tmp_path).set("db", b"value", "anna", 7)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o601])
def test_a_key_that_others_may_read_or_change_is_not_used(tmp_path: Path, mode: int) -> None:
    private(tmp_path / "secrets.key", written(new_key()))
    (tmp_path / "secrets.key").chmod(mode)
    with pytest.raises(Refused, match=r"secrets.key: others may read or change it; chmod 600"):
        store_in(tmp_path).set("db", b"value", "anna", 7)


def test_a_folder_that_cannot_be_written_changes_nothing_and_is_told(tmp_path: Path) -> None:
    store = SecretStore(str(tmp_path / "not-there"), Keyring(str(tmp_path / "secrets.key")))
    with pytest.raises(Unavailable, match=r"secrets.store: cannot be written: No such file or directory"):
        store.set("db", b"value", "anna", 7)


# ---- Keys


def test_rekey_seals_all_under_a_new_key_and_forgets_the_old_one(tmp_path: Path) -> None:
    store = store_in(tmp_path)
    store.set("a", b"one", "anna", 7)
    store.set("b", b"two", "anna", 8)
    (old,) = store.keyring.all()
    assert store.rekey() == Rekeyed(count=2, old_key_in="")
    (new,) = store.keyring.all()
    assert new != old
    assert store.fetch(["a", "b"]) == {"a": b"one", "b": b"two"}
    assert {name: entry.version for name, entry in store.entries().items()} == {"a": 1, "b": 1}


def test_the_old_key_opens_nothing_after_rekey(tmp_path: Path) -> None:
    store = store_in(tmp_path)
    store.set("a", b"one", "anna", 7)
    (old,) = store.keyring.all()
    store.rekey()
    private(tmp_path / "secrets.key", written(old))
    with pytest.raises(Refused, match="another key"):
        store.fetch(["a"])


def test_the_key_of_a_systemd_credential_comes_first(tmp_path: Path) -> None:
    given, credentials = new_key(), tmp_path / "credentials"
    credentials.mkdir()
    private(credentials / "pyflow-secrets-key", written(given))
    store = store_in(tmp_path, str(credentials))
    assert store.set("a", b"one", "anna", 7) == (1, False)
    assert not (tmp_path / "secrets.key").exists()
    assert key_id(given) in file_of(store)


def test_rekey_moves_a_store_from_the_file_to_the_credential(tmp_path: Path) -> None:
    store_in(tmp_path).set("a", b"one", "anna", 7)
    given, credentials = new_key(), tmp_path / "credentials"
    credentials.mkdir()
    private(credentials / "pyflow-secrets-key", written(given))
    moved = store_in(tmp_path, str(credentials))
    assert moved.fetch(["a"]) == {"a": b"one"}
    assert moved.rekey().old_key_in == str(tmp_path / "secrets.key")
    (tmp_path / "secrets.key").unlink()
    assert moved.fetch(["a"]) == {"a": b"one"}


def test_rekey_under_a_credential_needs_a_new_first_line(tmp_path: Path) -> None:
    old, new, credentials = new_key(), new_key(), tmp_path / "credentials"
    credentials.mkdir()
    private(credentials / "pyflow-secrets-key", written(old))
    store = store_in(tmp_path, str(credentials))
    store.set("a", b"one", "anna", 7)
    with pytest.raises(Refused, match="put a new one on its first line"):
        store.rekey()
    private(credentials / "pyflow-secrets-key", written(new) + written(old))
    store.rekey()
    private(credentials / "pyflow-secrets-key", written(new))
    assert store.fetch(["a"]) == {"a": b"one"}


def test_without_a_store_there_is_nothing_to_rekey(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="there is no store yet"):
        store_in(tmp_path).rekey()


class ReadOnly(Keyring):
    """A key file below /etc, where the daemon's account writes nothing."""

    def write(self, keys: list[bytes]) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))


def read_only(folder: Path) -> SecretStore:
    (folder / "state").mkdir(exist_ok=True)
    return SecretStore(str(folder / "state"), ReadOnly(str(folder / "secrets.key")))


def test_a_key_that_cannot_be_written_is_to_be_made_by_root(tmp_path: Path) -> None:
    store = read_only(tmp_path)
    with pytest.raises(
        Unavailable, match=r"secrets.key: the key .* cannot be written: Read-only .*; as root, make it:"
    ):
        store.set("a", b"one", "anna", 7)
    assert not store.exists()


def test_rekey_with_a_key_file_that_only_root_writes_uses_the_line_that_was_put_first(tmp_path: Path) -> None:
    old, new = new_key(), new_key()
    private(tmp_path / "secrets.key", written(old))
    store = read_only(tmp_path)
    store.set("a", b"one", "anna", 7)
    with pytest.raises(Unavailable, match="as root, put one on its first line"):
        store.rekey()
    private(tmp_path / "secrets.key", written(new) + written(old))
    assert store.rekey() == Rekeyed(count=1, old_key_in=str(tmp_path / "secrets.key"))
    private(tmp_path / "secrets.key", written(new))
    assert store.fetch(["a"]) == {"a": b"one"}


# ---- kill -9

SCRIPT = """
import os, sys
from pathlib import Path
from pyflowd.crashpoints import arm
from tests.unit.test_secrets_store import store_in
arm(dict(os.environ))
store = store_in(Path(sys.argv[1]))
match sys.argv[2]:
    case "first" | "set": store.set("a", b"new value", "bob", 9)
    case "remove": store.remove("a")
    case "rekey": store.rekey()
"""
WRITES = {"first": 2, "set": 1, "remove": 1, "rekey": 3}
"""How many files each of them writes."""


@pytest.mark.parametrize("passing", [1, 2, 3])
@pytest.mark.parametrize("point", OF_SECRETS)
@pytest.mark.parametrize("action", WRITES)
def test_a_kill_in_the_middle_leaves_old_or_new_and_it_goes_on(
    tmp_path: Path, action: str, point: str, passing: int
) -> None:
    store = store_in(tmp_path)
    if action != "first":
        store.set("a", b"old value", "anna", 7)
        store.set("b", b"other", "anna", 7)
    environ = {**os.environ, "PYTHONPATH": str(REPOSITORY), "PYFLOWD_CRASH": f"{point}:{passing}"}
    done = subprocess.run([sys.executable, "-c", SCRIPT, tmp_path, action], env=environ, check=False, timeout=60)
    assert done.returncode == (-signal.SIGKILL if passing <= WRITES[action] else 0)
    after = store.fetch(["a", "b"])
    expected = {"first": (None, b"new value"), "set": (b"old value", b"new value"), "remove": (b"old value", None),
                "rekey": (b"old value",)}  # fmt: skip
    assert after.get("a") in expected[action]
    assert action == "first" or after["b"] == b"other"
    store.set("a", b"again", "anna", 10)
    store.rekey()
    assert store.fetch(["a"]) == {"a": b"again"}
    assert len(store.keyring.all()) == 1
    assert not [path.name for path in tmp_path.rglob(".*.new")]
