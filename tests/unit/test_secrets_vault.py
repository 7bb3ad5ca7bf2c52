"""HashiCorp Vault: what is asked, what its answers come to, and that its token goes nowhere else. Real sockets."""

from __future__ import annotations

import shutil
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pyflowd.base.pool import Cancel
from pyflowd.secrets.secrets_model import SecretError, Vault
from pyflowd.secrets.secrets_vault import fetch
from tests.daemon.mailserver import certificate
from tests.unit.web import Handler, Seen, Web, web

TOKEN = "hvs.canary-token-93c1"
CANARY = "canary-19aa3c7be0d5"


@pytest.fixture
def server() -> Iterator[Web]:
    with web() as made:
        yield made


def vault(server: Web, tmp_path: Path, **changes: Any) -> Vault:
    token = tmp_path / "token"
    token.write_text(f"{TOKEN}\n")
    token.chmod(0o600)
    return Vault(**{"address": server.url, "token_file": str(token), **changes})


def kv(data: dict[str, object] | None) -> object:
    return {"request_id": "1", "data": {"data": data, "metadata": {"version": 3}}, "warnings": None}


def test_the_field_of_the_newest_version_is_the_value(server: Web, tmp_path: Path) -> None:
    server.routes["/v1/secret/data/db"] = lambda handler, _: handler.json(kv({"value": CANARY, "user": "x"}))
    assert fetch(vault(server, tmp_path), "db", Cancel()) == CANARY.encode()
    (seen,) = server.seen
    assert (seen.method, seen.headers["x-vault-token"]) == ("GET", TOKEN)
    assert "x-vault-namespace" not in seen.headers


def test_mount_path_field_and_namespace_are_those_of_the_settings(server: Web, tmp_path: Path) -> None:
    server.routes["/v1/kv/v2/data/apps/web/db"] = lambda handler, _: handler.json(kv({"pw": CANARY}))
    asked = vault(server, tmp_path, mount="kv/v2", path="apps/web", field="pw", namespace="ops")
    assert fetch(asked, "db", Cancel()) == CANARY.encode()
    assert server.seen[0].headers["x-vault-namespace"] == "ops"


def test_what_vault_does_not_have_is_not_found(server: Web, tmp_path: Path) -> None:
    def deleted(handler: Handler, _: Seen) -> None:
        handler.json(kv(None), status=404)

    server.routes["/v1/secret/data/deleted"] = deleted
    assert fetch(vault(server, tmp_path), "db", Cancel()) is None
    assert fetch(vault(server, tmp_path), "deleted", Cancel()) is None


@pytest.mark.parametrize(
    ("status", "body", "said"),
    [
        (
            403,
            {"errors": ["permission denied"]},
            "answers 403: its token may not read secret/db, or is no longer valid",
        ),
        (503, {"errors": ["Vault is sealed"]}, "answers 503: Vault is sealed"),
        (500, "no JSON of ours", "answers 500"),
        (307, {}, "answers 307: it sends us elsewhere"),
        (200, {"data": {"value": CANARY}}, "answers otherwise than KV version 2 does; see mount: secret"),
        (200, [CANARY], "answers otherwise than KV version 2"),
        (200, kv({"other": CANARY}), "db has no field value; see field:"),
        (200, kv({"value": [CANARY]}), "the field value of db is no text"),
        (200, kv({"value": ""}), "is empty"),
        (200, kv({"value": CANARY * 4000}), "longer than 64 KiB"),
    ],
)
def test_an_answer_that_is_no_value_is_told_without_what_it_holds(
    server: Web, tmp_path: Path, status: int, body: object, said: str
) -> None:
    server.routes["/v1/secret/data/db"] = lambda handler, _: handler.json(body, status, Location=f"{server.url}/other")
    with pytest.raises(SecretError) as raised:
        fetch(vault(server, tmp_path), "db", Cancel())
    assert said in str(raised.value)
    assert CANARY not in str(raised.value)
    assert TOKEN not in str(raised.value)
    assert len(server.seen) == 1


def test_a_server_that_is_not_there_is_told(server: Web, tmp_path: Path) -> None:
    server.close()
    with pytest.raises(SecretError, match=r"vault: 127.0.0.1:\d+: Connection refused"):
        fetch(vault(server, tmp_path), "db", Cancel())


def test_a_call_that_nobody_waits_for_ends_while_the_server_drips(server: Web, tmp_path: Path) -> None:
    cancel = Cancel()

    def drip(handler: Handler, _: Seen) -> None:
        cancel.set()
        handler.drip(b"HTTP/1.1 200 OK\r\n\r\n")

    server.routes["/v1/secret/data/db"] = drip
    with pytest.raises(SecretError, match="stopped with the daemon"):
        fetch(vault(server, tmp_path), "db", cancel)


@pytest.mark.parametrize("content", ["", "\n", "tok\x00en\n", "tök\n", "a\r\nX-Other: b"])
def test_what_is_no_token_is_not_sent(server: Web, tmp_path: Path, content: str) -> None:
    asked = vault(server, tmp_path)
    Path(asked.token_file).write_text(content)
    with pytest.raises(SecretError, match="it holds no token"):
        fetch(asked, "db", Cancel())
    assert not server.seen


def test_a_token_that_others_may_read_is_not_sent(server: Web, tmp_path: Path) -> None:
    asked = vault(server, tmp_path)
    Path(asked.token_file).chmod(0o644)
    with pytest.raises(SecretError, match="others may read or change it"):
        fetch(asked, "db", Cancel())
    assert not server.seen


def test_over_tls_only_a_server_with_a_trusted_certificate_gets_the_token(tmp_path: Path) -> None:
    if shutil.which("openssl") is None:
        pytest.skip("no openssl(1) to make a certificate with")
    made = certificate(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(made.path, made.key)
    with web(context) as server:
        server.routes["/v1/secret/data/db"] = lambda handler, _: handler.json(kv({"value": CANARY}))
        address = f"https://localhost:{server.port}"
        with pytest.raises(SecretError, match="its certificate is not trusted"):
            fetch(vault(server, tmp_path, address=address), "db", Cancel())
        assert not server.seen
        trusted = vault(server, tmp_path, address=address, ca_file=str(made.path))
        assert fetch(trusted, "db", Cancel()) == CANARY.encode()
