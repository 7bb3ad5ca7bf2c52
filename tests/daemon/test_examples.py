"""The examples of etc/examples, run to their ends against stand-ins on loopback: a web server, a hook, sshd."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.daemon import sshd
from tests.daemon.instance import REPOSITORY, Instance
from tests.daemon.scenario import items, states
from tests.daemon.site import Asked, Site
from tests.daemon.sshd import needs_sshd
from tests.waiting import wait_until

EXAMPLES = REPOSITORY / "etc" / "examples"


@pytest.fixture
def site() -> Iterator[Site]:
    with Site() as made:
        made.routes["/hook"] = lambda _: (200, "ok")
        yield made


@pytest.fixture
def host(instance: Instance, site: Site) -> Instance:
    """A daemon with the modules of the examples beside its workflows, and channels that lead to the site."""
    shutil.copytree(EXAMPLES / "python", instance.root / "python")
    channel = {"webhook": {"url": f"{site.url}/hook"}}
    instance.settings(channels={"oncall": channel, "deploys": channel})
    instance.start()
    return instance


def install(host: Instance, name: str, **replaced: str) -> None:
    """The example as it is, but for waits that a test has no time for."""
    text = (EXAMPLES / f"{name}.yaml").read_text()
    for old, new in {"delay: 1s": "delay: 10ms", **replaced}.items():
        text = text.replace(old, new)
    host.install(f"{name}.yaml", text)


def run(host: Instance, name: str, **params: object) -> Any:
    """The ended run."""
    words = [word for key, value in params.items() for word in ("-p", f"{key}={text(value)}")]
    done = host.ctl("-o", "json", "run", name, *words, "--wait", timeout_s=60)
    assert done.stdout, done.stderr
    return json.loads(done.stdout)


def text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def told(site: Site) -> str:
    """What the hook was told, once it was."""
    wait_until(lambda: site.paths("/hook"), "the hook is told")
    return site.paths("/hook")[-1].body.decode()


def test_lint_has_nothing_to_say_about_the_examples(instance: Instance) -> None:
    files = sorted(EXAMPLES.glob("*.yaml"))
    done = instance.ctl("-o", "json", "lint", *files)
    assert len(files) == 6
    assert json.loads(done.stdout) == []


# ---- nightly-backup -------------------------------------------------------------------------------------------------


class Backup:
    """Two folders with something in them, and where their backups go."""

    def __init__(self, folder: Path) -> None:
        self.source, self.target = folder / "data", folder / "backups"
        for name in ("app", "billing"):
            (self.source / name).mkdir(parents=True)
            (self.source / name / "numbers").write_bytes(os.urandom(20_000))

    def run(self, host: Instance, **params: object) -> Any:
        return run(host, "nightly-backup", source=str(self.source), target=str(self.target), **params)

    def days(self) -> list[Path]:
        return sorted(path for path in self.target.iterdir() if path.is_dir())


@pytest.fixture
def backup(host: Instance, tmp_path: Path) -> Backup:
    install(host, "nightly-backup")
    return Backup(tmp_path)


def test_a_backup_is_stored_tried_out_and_told(host: Instance, site: Site, backup: Backup) -> None:
    site.routes["/ping"] = lambda _: (200, "ok")
    old = [backup.target / f"2020-01-0{day}" for day in (1, 2, 3)]
    for folder in old:
        folder.mkdir(parents=True)
    ended = backup.run(host, full=True, keep=2, ping=f"{site.url}/ping")
    assert ended["state"] == "succeeded", ended["error"]
    assert set(states(ended).values()) == {"succeeded"}
    stored = backup.days()
    assert stored[0] == old[-1]
    assert sorted(path.name for path in stored[1].iterdir()) == ["app.tar.gz", "billing.tar.gz"]
    assert len(stored) == 2
    assert ended["handlers"]["ping"]["state"] == "succeeded"
    assert len(site.paths("/ping")) == 1
    assert site.paths("/hook") == []


def test_on_a_weekday_nothing_is_tried_out_and_the_oldest_go_all_the_same(host: Instance, backup: Backup) -> None:
    ended = backup.run(host)
    assert (ended["state"], states(ended)["try-out"], states(ended)["prune"]) == ("succeeded", "skipped", "succeeded")
    assert ended["handlers"]["ping"]["state"] == "skipped"


def test_a_pack_that_lost_its_content_is_not_stored_and_somebody_is_told(
    host: Instance, site: Site, backup: Backup
) -> None:
    backup.run(host)
    stored = {path: path.stat().st_mtime_ns for path in backup.days()[0].iterdir()}
    (backup.source / "app" / "numbers").write_bytes(b"")
    ended = backup.run(host)
    assert (ended["state"], states(ended)["look"], states(ended)["store"]) == ("failed", "failed", "upstream_failed")
    assert "app.tar.gz has" in ended["error"]
    assert "backup failed: look" in told(site)
    assert {path: path.stat().st_mtime_ns for path in backup.days()[0].iterdir()} == stored


def test_a_backup_that_cannot_be_restored_is_taken_back(host: Instance, site: Site, backup: Backup) -> None:
    """A FIFO is packed, but is never the same as its copy."""
    os.mkfifo(backup.source / "app" / "fifo")
    ended = backup.run(host, full=True)
    assert (ended["state"], states(ended)["try-out"], states(ended)["prune"]) == ("failed", "failed", "upstream_failed")
    assert ended["handlers"]["store.undo"]["state"] == "succeeded"
    assert backup.days() == []
    assert "backup failed: try-out" in told(site)


# ---- deploy-web -----------------------------------------------------------------------------------------------------


class Deploy:
    """The hosts of the example are all this one, by sshd on loopback; each has its own folder below the site."""

    def __init__(self, host: Instance, web: Site, server: sshd.Sshd, folder: Path) -> None:
        self.host, self.web, self.folder = host, web, folder
        self.server = server
        self.site = folder / "site"
        for name in ("src", "share", "site"):
            (folder / name).mkdir()
        (folder / "src" / "index.html").write_text("hello")
        web.routes["/healthz"] = self.health

    def health(self, asked: Asked) -> tuple[int, Any]:
        return 200, {"version": self.current("canary") or "none"}

    def current(self, host: str) -> str | None:
        link = self.site / host / "current"
        return os.readlink(link) if link.is_symlink() else None

    def install(self, **replaced: str) -> None:
        """What an ssh_config(5) would say is added: port, key, known hosts."""
        written = (EXAMPLES / "deploy-web.yaml").read_text()
        for old, new in replaced.items():
            written = written.replace(old, new)
        definition = yaml.safe_load(written)
        for found in ssh_of(definition):
            found |= {"port": self.server.port, "identity": self.server.identity, "options": self.server.options}
        self.host.install("deploy-web.json", json.dumps(definition))

    def start(self, ref: str) -> int:
        fleet = [{"name": name, "address": "127.0.0.1"} for name in ("web2", "web3")]
        params = {
            "ref": ref, "source": str(self.folder / "src"), "share": str(self.folder / "share"), "site": str(self.site),
            "health": f"{self.web.url}/healthz", "canary": "127.0.0.1", "fleet": json.dumps(fleet), "reason": "a trial",
        }  # fmt: skip
        words = [word for key, value in params.items() for word in ("-p", f"{key}={value}")]
        return self.host.run("deploy-web", *words)

    def answered(self, ref: str, answer: str) -> Any:
        """The ended run of `ref`, after `approve` or `reject`."""
        started = self.start(ref)
        self.host.wait_task(started, "approve", "running")
        done = self.host.ctl(answer, started, "approve")
        assert done.returncode == 0, done.stderr
        return self.host.wait_run(started)


def ssh_of(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        if isinstance(value.get("ssh"), dict):
            yield value["ssh"]
        for each in value.values():
            yield from ssh_of(each)


@pytest.fixture
def deploy(host: Instance, site: Site, tmp_path: Path) -> Iterator[Deploy]:
    with sshd.running(tmp_path / "sshd") as server:
        yield Deploy(host, site, server, tmp_path)


@needs_sshd
def test_a_deploy_that_is_approved_is_rolled_out_to_one_host_after_the_other(deploy: Deploy) -> None:
    deploy.install()
    ended = deploy.answered("v1.0.0", "approve")
    assert ended["state"] == "succeeded", ended["error"]
    assert [deploy.current(name) for name in ("canary", "web2", "web3")] == ["v1.0.0"] * 3
    assert (deploy.site / "web3" / "current" / "index.html").read_text() == "hello"
    first, second = ended["tasks"]["rollout"]["items"]
    assert second["started_at"] >= first["ended_at"]
    assert list(ended["handlers"]) == ["announce"]
    assert "v1.0.0 succeeded" in told(deploy.web)
    assert "a trial" in told(deploy.web)


@needs_sshd
def test_a_deploy_that_is_rejected_leaves_the_canary_as_it_was(deploy: Deploy) -> None:
    deploy.install()
    deploy.answered("v1.0.0", "approve")
    ended = deploy.answered("v1.1.0", "reject")
    assert (ended["state"], ended["tasks"]["approve"]["reason"]) == ("failed", "rejected")
    assert states(ended)["rollout"] == "upstream_failed"
    assert ended["handlers"]["canary.undo"]["state"] == "succeeded"
    assert [deploy.current(name) for name in ("canary", "web2", "web3")] == ["v1.0.0"] * 3


@needs_sshd
def test_a_deploy_that_nobody_answers_is_taken_back(deploy: Deploy) -> None:
    deploy.install(**{"timeout: 4h": "timeout: 100ms"})
    ended = deploy.host.wait_run(deploy.start("v1.0.0"))
    assert (ended["state"], ended["tasks"]["approve"]["reason"]) == ("failed", "rejected")
    assert "nobody answered" in ended["error"]
    assert deploy.current("canary") is None


@needs_sshd
def test_a_deploy_that_fails_midway_is_undone_newest_first_also_where_it_failed(deploy: Deploy) -> None:
    deploy.install()
    deploy.answered("v1.0.0", "approve")
    (deploy.site / "web3" / "v1.1.0").write_text("in the way")
    ended = deploy.answered("v1.1.0", "approve")
    assert ended["state"] == "failed"
    assert items(ended, "rollout") == {"web2": "succeeded", "web3": "failed"}
    undone = [name for name, task in ended["handlers"].items() if task["section"] == "undo"]
    assert undone == ["rollout.undo[web3]", "rollout.undo[web2]", "canary.undo"]
    begins = [ended["handlers"][name]["started_at"] for name in undone]
    assert begins == sorted(begins)
    assert [deploy.current(name) for name in ("canary", "web2", "web3")] == ["v1.0.0"] * 3
    wait_until(lambda: any(b"v1.1.0 failed" in each.body for each in deploy.web.paths("/hook")), "the hook is told")


# ---- orders-sync ----------------------------------------------------------------------------------------------------

ACCOUNTS = [f"a{n}" for n in range(20)]


class Crm:
    """A paged list of accounts, and two orders of each; `broken` ones answer with an error."""

    def __init__(self, site: Site, folder: Path) -> None:
        self.site, self.folder = site, folder
        self.broken: set[str] = set()
        site.routes["/accounts"] = self.accounts
        site.routes["/orders"] = self.orders

    def accounts(self, asked: Asked) -> tuple[int, Any]:
        page = int(asked.query.get("page", "0"))
        after = f"{self.site.url}/accounts?page={page + 1}" if page < 2 else None
        return 200, {"accounts": [{"id": name} for name in ACCOUNTS[page * 8 : page * 8 + 8]], "next": after}

    def orders(self, asked: Asked) -> tuple[int, Any]:
        account = asked.query["account"]
        if account in self.broken:
            return 500, "broken"
        orders = [{"id": f"{account}-{n}", "account": account, "cents": 100 * n} for n in (1, 2)]
        return 200, {"day": asked.query["day"], "orders": orders}

    def asked_for(self) -> set[str]:
        return {asked.query["account"] for asked in self.site.paths("/orders")}

    def run(self, host: Instance) -> Any:
        return run(host, "orders-sync", api=self.site.url, day="2026-03-01", folder=str(self.folder))

    def loaded(self) -> list[tuple[str, str]]:
        connection = sqlite3.connect(self.folder / "warehouse.db")
        try:
            return sorted(connection.execute("SELECT day, account FROM orders"))
        finally:
            connection.close()


@pytest.fixture
def crm(host: Instance, site: Site, tmp_path: Path) -> Crm:
    install(host, "warehouse-load")
    install(host, "orders-sync")
    return Crm(site, tmp_path / "orders")


def rows(*without: str) -> list[tuple[str, str]]:
    return sorted(("2026-03-01", name) for name in ACCOUNTS for _ in (1, 2) if name not in without)


def test_the_orders_of_all_accounts_of_all_pages_are_loaded(host: Instance, crm: Crm) -> None:
    ended = crm.run(host)
    assert ended["state"] == "succeeded", ended["error"]
    assert ended["outputs"] == {"rows": 40, "missing": []}
    assert [asked.query.get("page") for asked in crm.site.paths("/accounts")] == [None, "1", "2"]
    assert crm.loaded() == rows()


def test_of_few_failures_the_rest_is_loaded_and_a_rerun_asks_for_the_failed_ones_only(host: Instance, crm: Crm) -> None:
    crm.broken = {"a7"}
    first = crm.run(host)
    assert first["state"] == "succeeded", first["error"]
    assert first["outputs"] == {"rows": 38, "missing": ["a7"]}
    assert crm.loaded() == rows("a7")
    assert len([asked for asked in crm.site.paths("/orders") if asked.query["account"] == "a7"]) == 3
    crm.broken = set()
    crm.site.asked.clear()
    done = host.ctl("-o", "json", "rerun", first["run"], "--failed", "--wait", timeout_s=60)
    again = json.loads(done.stdout)
    assert again["state"] == "succeeded", again["error"]
    assert crm.asked_for() == {"a7"}
    assert crm.site.paths("/accounts") == []
    assert again["outputs"] == {"rows": 40, "missing": []}
    assert crm.loaded() == rows()


def test_of_many_failures_what_came_is_loaded_and_the_run_has_failed(host: Instance, crm: Crm) -> None:
    crm.broken = {"a0", "a1"}
    ended = crm.run(host)
    assert (ended["state"], ended["tasks"]["fetch"]["reason"]) == ("failed", "items_failed")
    assert (states(ended)["merge"], states(ended)["load"]) == ("succeeded", "succeeded")
    assert ended["tasks"]["merge"]["outputs"]["missing"] == ["a0", "a1"]
    assert crm.loaded()
    assert not {account for _, account in crm.loaded()} & crm.broken


def test_the_same_content_is_loaded_once(host: Instance, crm: Crm) -> None:
    assert [crm.run(host)["outputs"] for _ in range(2)] == [{"rows": 40, "missing": []}] * 2
    assert len(host.json("history", "warehouse-load")) == 1


# ---- invoice-archive ------------------------------------------------------------------------------------------------

CUSTOMERS = ("acme", "blue-sky", "corner-shop")
MONTH = "2026-02"


class Archive:
    """Who has the invoices, and where they go. It is mounted, and its secrets are stored, when it is told so."""

    def __init__(self, host: Instance, site: Site, folder: Path) -> None:
        self.host, self.site, self.folder = host, site, folder
        self.values = {"crm-token": "canary-token-of-the-service", "archive-key": "canary-key-of-the-archive"}
        self.broken: set[str] = set()
        site.routes["/invoices"] = self.invoices
        folder.mkdir()
        install(host, "invoice-archive", **{"/mnt/archive": str(folder), "every: 1m": "every: 50ms"})

    def store_secrets(self) -> None:
        folder = self.host.root / "secrets"
        folder.mkdir(mode=0o700)
        for name, value in self.values.items():
            path = folder / name
            path.touch(mode=0o600)
            path.write_text(f"{value}\n")

    def mount(self) -> None:
        (self.folder / ".mounted").touch()

    def invoices(self, asked: Asked) -> tuple[int, Any]:
        if asked.headers.get("Authorization") != f"Bearer {self.values['crm-token']}":
            return 401, "who are you?"
        if asked.query["customer"] in self.broken:
            return 500, "broken"
        return 200, {"month": asked.query["month"], "invoices": [{"of": asked.query["customer"], "cents": 100}]}

    def asked_for(self) -> list[str]:
        return sorted(asked.query["customer"] for asked in self.site.paths("/invoices"))

    def start(self) -> int:
        return self.host.run("invoice-archive", "-p", f"month={MONTH}", "-p", f"api={self.site.url}")

    def run(self) -> Any:
        return self.host.wait_run(self.start())

    def opened(self) -> Any:
        """What is in the archive, by its key."""
        command = ["openssl", "enc", "-d", "-aes-256-cbc", "-pbkdf2", "-pass", "env:KEY", "-in"]
        file = self.folder / f"invoices-{MONTH}.enc"
        env = {**os.environ, "KEY": self.values["archive-key"]}
        return json.loads(subprocess.run([*command, file], env=env, capture_output=True, check=True, timeout=30).stdout)


needs_openssl = pytest.mark.skipif(shutil.which("openssl") is None, reason="no openssl on this host")


@pytest.fixture
def archive(host: Instance, site: Site, tmp_path: Path) -> Archive:
    return Archive(host, site, tmp_path / "archive")


@needs_openssl
def test_invoices_are_fetched_sealed_and_archived_and_no_secret_is_left_anywhere(archive: Archive) -> None:
    archive.store_secrets()
    archive.mount()
    ended = archive.run()
    assert ended["state"] == "succeeded", ended["error"]
    assert archive.opened() == [[{"of": name, "cents": 100}] for name in CUSTOMERS]
    kept = [path for folder in ("log", "state", "run") for path in (archive.host.root / folder).rglob("*")]
    found = [path for path in kept if path.is_file() and b"canary-" in path.read_bytes()]
    assert found == []


@needs_openssl
def test_a_later_run_asks_for_those_invoices_only_that_did_not_come(archive: Archive) -> None:
    archive.store_secrets()
    archive.mount()
    archive.broken = {"blue-sky"}
    assert archive.run()["state"] == "failed"
    archive.broken = set()
    archive.site.asked.clear()
    ended = archive.run()
    assert (ended["state"], archive.asked_for()) == ("succeeded", ["blue-sky"])


@needs_openssl
def test_invoices_wait_for_the_archive_to_be_mounted(archive: Archive) -> None:
    archive.store_secrets()
    started = archive.start()
    wait_until(lambda: "waits for its gate" in archive.host.ctl("status", started).stdout, "the gate is looked at")
    assert archive.asked_for() == []
    archive.mount()
    assert archive.host.wait_run(started)["state"] == "succeeded"


@needs_openssl
def test_the_archive_is_written_by_one_at_a_time(archive: Archive) -> None:
    archive.store_secrets()
    archive.mount()
    holds = (
        "locks: archive\ntasks: {a: {run: 'until test -e done; do sleep 0.02; done', cwd: " + str(archive.folder) + "}}"
    )
    archive.host.install("other.yaml", holds)
    other = archive.host.run("other")
    archive.host.wait_task(other, "a", "running")
    started = archive.start()
    archive.host.wait_task(started, "store", "queued")
    assert not (archive.folder / f"invoices-{MONTH}.enc").exists()
    (archive.folder / "done").touch()
    assert archive.host.wait_run(started)["state"] == "succeeded"


def test_without_its_secret_a_task_fails_with_the_name_and_the_remedy(archive: Archive) -> None:
    archive.mount()
    ended = archive.run()
    assert (ended["state"], archive.asked_for()) == ("failed", [])
    [item, *_] = ended["tasks"]["fetch"]["items"]
    assert (item["reason"], item["error"].rpartition("; ")[2]) == (
        "secret_missing", "store it: pyflowctl secret set crm-token",
    )  # fmt: skip
