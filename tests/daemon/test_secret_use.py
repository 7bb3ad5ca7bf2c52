"""Rule P6 on a real daemon: secrets reach tasks and servers, and nothing else, whatever dies meanwhile."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pyflowd.keeper.maskforms import forms
from tests.daemon.checker import check_fold
from tests.daemon.instance import Instance
from tests.daemon.site import Asked, Site
from tests.waiting import wait_until

LONG = bool(os.environ.get("PYFLOW_LONG"))
VALUE = "s3cret value: äöü'\"$x"
GO = "until [ -e go ]; do sleep 0.01; done"


def put(instance: Instance, name: str, value: str | bytes) -> None:
    """A secret where the default settings look for it."""
    folder = instance.root / "secrets"
    folder.mkdir(mode=0o700, exist_ok=True)
    path = folder / name
    path.touch(mode=0o600)
    path.write_bytes(value if isinstance(value, bytes) else value.encode())


def install(instance: Instance, name: str, text: str) -> None:
    instance.install(f"{name}.yaml", f"cwd: {instance.root}\n{text}")


def finished(instance: Instance, workflow: str, *more: object) -> Any:
    return instance.wait_run(instance.run(workflow, *more))


def logs(instance: Instance, run: Any) -> str:
    return instance.ctl("logs", run["run"]).stdout


@pytest.fixture
def vault(instance: Instance) -> Instance:
    """A root with the secret `tok`, and its daemon."""
    put(instance, "tok", VALUE)
    instance.start()
    return instance


@pytest.fixture
def site() -> Iterator[Site]:
    with Site() as made:
        yield made


# ---- Where they go --------------------------------------------------------------------------------------------------


def test_a_secret_is_in_the_environment_of_the_task_and_masked_in_all_that_comes_back(vault: Instance) -> None:
    install(
        vault, "w",
        "env: {TOK: '${{ secrets.tok }}'}\ntasks:\n"
        "  a:\n"
        "    env: {AUTH: 'Bearer ${{ env.TOK }}'}\n"
        "    run: |\n"
        "      printf %s \"$TOK\" | sha256sum > digest; printf %s \"$AUTH\" | sha256sum >> digest\n"
        "      echo \"plain $TOK\"; printf %s \"$TOK\" | base64 -w0; echo\n"
        "      quoted=\"$(printf %s \"$TOK\" | python3 -c 'import json,sys; print(json.dumps(sys.stdin.read()))')\"\n"
        "      printf '{\"x\": [%s]}' \"$quoted\""
        " > $PYFLOW_OUTPUT\n"
        "  b: {needs: a, run: 'echo \"$TOK\" >&2; exit 3'}\n",
    )  # fmt: skip
    run = finished(vault, "w")
    digests = [line.split()[0] for line in (vault.root / "digest").read_text().splitlines()]
    assert digests == [hashlib.sha256(text.encode()).hexdigest() for text in (VALUE, f"Bearer {VALUE}")]
    assert run["tasks"]["a"]["outputs"] == {"x": ["***"]}
    said = logs(vault, run)
    assert "plain ***" in said
    assert VALUE not in said
    assert base64.b64encode(VALUE.encode()).decode() not in said


def test_what_a_python_task_says_of_its_failure_is_masked(vault: Instance) -> None:
    (vault.root / "python").mkdir()
    (vault.root / "python" / "mine.py").write_text(
        "import os\ndef f():\n    raise ValueError('no access with ' + os.environ['TOK'])\n"
    )
    install(vault, "w", "tasks: {a: {python: 'mine:f', env: {TOK: '${{ secrets.tok }}'}}}\n")
    assert finished(vault, "w")["tasks"]["a"]["error"] == "ValueError: no access with ***"


def test_a_server_gets_a_secret_and_what_it_answers_is_masked(vault: Instance, site: Site) -> None:
    def echo(asked: Asked) -> tuple[int, Any]:
        return 200, {"auth": asked.headers["Authorization"], "body": asked.body.decode()}

    put(vault, "plain", "plain-secret-of-ascii")
    site.routes["/"] = echo
    install(
        vault, "w",
        f"tasks: {{a: {{http: {{url: {site.url}/, method: POST, auth: {{bearer: '${{{{ secrets.plain }}}}'}}, "
        "json: {t: '${{ secrets.tok }}'}}}}\n",
    )  # fmt: skip
    run = finished(vault, "w")
    assert run["state"] == "succeeded", run["tasks"]
    assert site.asked[0].headers["Authorization"] == "Bearer plain-secret-of-ascii"
    assert json.loads(site.asked[0].body) == {"t": VALUE}
    assert run["tasks"]["a"]["outputs"]["body"] == {"auth": "Bearer ***", "body": '{"t":"***"}'}
    assert "plain-secret" not in logs(vault, run)


def test_a_secret_may_be_named_by_a_param(vault: Instance) -> None:
    install(
        vault, "w",
        "params: {which: {type: secret, required: true}}\n"
        "tasks: {a: {run: 'echo ${#T}', env: {T: '${{ secrets[params.which] }}'}}}\n",
    )  # fmt: skip
    assert logs(vault, finished(vault, "w", "-p", "which=tok")).split()[-1] == str(len(VALUE))
    done = vault.ctl("run", "w", "-p", "which=a value, no name")
    assert (done.returncode, "name of a secret" in done.stderr, "a value" in done.stderr) == (6, True, False)


@pytest.mark.parametrize(
    "task",
    [
        "{argv: [echo, '${{ secrets.tok }}']}",
        "{run: 'true', if: \"secrets.tok == 'x'\"}",
        "{http: 'http://127.0.0.1:1/${{ secrets.tok }}'}",
        "{python: 'a:b', with: {x: '${{ secrets.tok }}'}}",
        "{run: 'true', cwd: '/tmp/${{ secrets.tok }}'}",
        "{approval: {message: '${{ secrets.tok }}'}}",
        "{argv: [echo, '${{ env.T }}'], env: {T: '${{ secrets.tok }}'}}",
    ],
)
def test_where_a_secret_would_be_kept_or_shown_it_is_refused(vault: Instance, task: str) -> None:
    (vault.root / "workflows" / "w.yaml").write_text(f"tasks: {{a: {task}}}\n")
    done = vault.ctl("run", "w")
    assert (done.returncode, "may not stand here" in done.stderr) == (6, True), done.stderr


def test_credentials_are_files_for_the_task_alone_and_gone_when_it_has_ended(vault: Instance) -> None:
    put(vault, "binary", b"\xff\x00binary value")
    install(
        vault, "w",
        "tasks:\n  a:\n    credentials: {key: tok, raw: binary}\n    run: |\n"
        "      cd $CREDENTIALS_DIRECTORY; pwd > HERE/where; sha256sum key raw > HERE/sums\n"
        "      stat -c %a . key raw > HERE/modes\n"
        "      cat key\n".replace("HERE", str(vault.root)),
    )  # fmt: skip
    run = finished(vault, "w")
    assert run["state"] == "succeeded", run["tasks"]
    sums = [line.split()[0] for line in (vault.root / "sums").read_text().splitlines()]
    assert sums == [hashlib.sha256(value).hexdigest() for value in (VALUE.encode(), b"\xff\x00binary value")]
    assert (vault.root / "modes").read_text().split() == ["500", "400", "400"]
    assert "***" in logs(vault, run)
    where = Path((vault.root / "where").read_text().strip())
    wait_until(lambda: not where.exists(), "its folder is removed")
    assert list(where.parent.iterdir()) == []


def test_what_a_killed_keeper_left_of_credentials_is_gone_when_the_next_one_starts(vault: Instance) -> None:
    install(vault, "w", f"tasks: {{a: {{credentials: tok, run: '{GO}'}}}}\n")
    run = vault.run("w")
    vault.wait_task(run, "a", "running")
    folder = vault.root / "run" / "credentials"
    assert len(list(folder.iterdir())) == 1
    vault.keeper().kill()
    assert vault.wait_run(run)["tasks"]["a"]["reason"] == "lost"
    assert list(folder.iterdir()) == []


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_another_user_gets_its_credentials_and_nobody_else_does(vault: Instance) -> None:
    for folder in (vault.root, *list(vault.root.parents)[:-1]):
        folder.chmod(folder.stat().st_mode | 0o011)
    read = "cat $FOLDER/tok 2> /dev/null || echo denied"
    wait = GO.replace("-e go", f"-e {vault.root}/go")
    mine = f"{wait}; sha256sum < $CREDENTIALS_DIRECTORY/tok"
    install(vault, "w", f"tasks: {{mine: {{user: nobody, cwd: /, credentials: tok, run: '{mine}'}}}}\n")
    install(
        vault, "x",
        "params: {folder: {}}\n"
        "tasks: {a: {user: daemon, cwd: /, env: {FOLDER: '${{ params.folder }}'}, capture: stdout, "
        f"run: '{read}'}}}}\n",
    )  # fmt: skip
    run = vault.run("w")
    vault.wait_task(run, "mine", "running")
    (folder,) = (vault.root / "run" / "credentials").iterdir()
    other = finished(vault, "x", "-p", f"folder={folder}")
    assert other["tasks"]["a"]["outputs"] == {"stdout": "denied"}
    (vault.root / "go").touch()
    assert hashlib.sha256(VALUE.encode()).hexdigest() in logs(vault, vault.wait_run(run))


# ---- When they cannot be had ----------------------------------------------------------------------------------------


def test_a_secret_that_is_missing_fails_the_task_with_the_remedy_and_a_later_attempt_finds_it(vault: Instance) -> None:
    install(
        vault, "w",
        "tasks: {a: {run: 'echo ${#T}', env: {T: '${{ secrets.late }}'}, "
        "retry: {attempts: 2, delay: 1h, jitter: none}}}\n",
    )  # fmt: skip
    run = vault.run("w")
    vault.wait_task(run, "a", "retrying")
    task = vault.status(run)["tasks"]["a"]
    assert task["reason"] == "secret_missing"
    assert "pyflowctl secret set late" in task["error"]
    vault.ctl("cancel", run)
    vault.wait_run(run)


def hanging(instance: Instance, *, until: str = "go") -> None:
    """Settings with a provider that waits for a file and then gives a value."""
    script = instance.root / "provider"
    wait = f"until [ -e {instance.root}/{until} ]; do sleep 0.01; done"
    value = f"echo {secrets.token_hex(4)}-value"
    script.write_text(f"#!/bin/sh\necho asked >> {instance.root}/asked\n{wait}\n{value}\n")
    script.chmod(0o700)
    instance.settings(secrets=[{"command": [str(script)]}])


def test_an_attempt_that_waits_for_its_secrets_can_be_cancelled(instance: Instance) -> None:
    hanging(instance)
    instance.start()
    install(instance, "w", "tasks: {a: {run: 'echo started >> started', env: {T: '${{ secrets.x }}'}}}\n")
    run = instance.run("w")
    wait_until((instance.root / "asked").exists, "the provider is asked")
    instance.ctl("cancel", run)
    assert instance.wait_run(run)["state"] == "cancelled"
    assert not (instance.root / "started").exists()


def test_a_daemon_that_dies_while_it_waits_for_secrets_starts_the_attempt_once(instance: Instance) -> None:
    hanging(instance)
    instance.start()
    install(instance, "w", "tasks: {a: {run: 'echo started >> started', env: {T: '${{ secrets.x }}'}}}\n")
    run = instance.run("w")
    wait_until((instance.root / "asked").exists, "the provider is asked")
    instance.kill()
    (instance.root / "go").touch()
    instance.start()
    assert instance.wait_run(run)["state"] == "succeeded"
    assert (instance.root / "started").read_text() == "started\n"


def test_outputs_are_masked_although_the_daemon_was_killed_while_the_task_ran(vault: Instance) -> None:
    install(
        vault, "w",
        f"tasks: {{a: {{run: '{GO}; echo \"x=$T\" >> $PYFLOW_OUTPUT; echo \"$T\"', "
        "env: {T: '${{ secrets.tok }}'}}}\n",
    )  # fmt: skip
    run = vault.run("w")
    vault.wait_task(run, "a", "running")
    vault.kill()
    vault.start()
    (vault.root / "go").touch()
    ended = vault.wait_run(run)
    assert ended["tasks"]["a"]["outputs"] == {"x": "***"}
    assert VALUE not in logs(vault, ended)


def test_outputs_are_not_taken_where_nobody_can_tell_what_is_secret_in_them(vault: Instance) -> None:
    install(
        vault, "w",
        f"tasks: {{a: {{run: '{GO}; echo \"x=$T\" >> $PYFLOW_OUTPUT', env: {{T: '${{{{ secrets.tok }}}}'}}}}}}\n",
    )  # fmt: skip
    run = vault.run("w")
    vault.wait_task(run, "a", "running")
    vault.kill()
    (vault.root / "secrets" / "tok").unlink()
    vault.start()
    (vault.root / "go").touch()
    task = vault.wait_run(run)["tasks"]["a"]
    assert (task["state"], task["reason"], task["outputs"]) == ("failed", "output_invalid", {})
    assert "what is secret in them" in task["error"]


# ---- Canaries -------------------------------------------------------------------------------------------------------

EVERYTHING = """
params: {which: {type: secret, default: c1}}
env: {A: "${{ secrets.c0 }}", B: "x${{ secrets[params.which] }}y"}
tasks:
  say:
    run: |
      echo "$A"; echo "$B" >&2; printf %s "$A" | base64; printf %s "$B" | od -An -tx1 | tr -d ' \\n'; echo
      for c in $(printf %s "$A" | sed 's/./& /g'); do printf %s "$c"; done; echo
      echo "a=$A" >> $PYFLOW_OUTPUT
      set -x; : "$A"
    stdin: none of it
  printed: {run: 'echo "$A"', capture: stdout, needs: say}
  carried: {run: 'echo "$C"; echo "$A" >&2; exit 1', env: {C: "${{ tasks.printed.outputs.stdout }}"}, needs: printed,
            retry: {attempts: 2, delay: 10ms}, continue_on_error: true}
  web: {needs: carried, http: {url: URL, method: PUT, headers: {X-Token: "${{ secrets.c2 }}"},
        auth: {basic: {user: me, password: "${{ secrets.c3 }}"}}, form: {t: "${{ secrets.c4 }}"}}}
  each: {needs: web, for_each: [1, 2], run: 'echo "$A"; sleep 0.02', cache: {key: x, ttl: 1h}}
  files: {needs: each, credentials: {a: c3, b: "${{ params.which }}"}, run: 'cat $CREDENTIALS_DIRECTORY/*; sleep 0.02'}
  child: {needs: files, workflow: called}
finally:
  end: {run: 'echo "$A" "$RESULT"', env: {RESULT: "${{ tasks.child.outputs }}"}}
"""
CALLED = """
tasks: {t: {run: 'echo "$A"; echo "v=$A" >> $PYFLOW_OUTPUT', env: {A: '${{ secrets.c0 }}'}}}
outputs: {v: '${{ tasks.t.outputs.v }}'}
"""


@pytest.mark.parametrize("seed", range(10 if LONG else 1))
def test_random_secrets_are_in_no_byte_that_is_written_anywhere(instance: Instance, site: Site, seed: int) -> None:
    values = {f"c{n}": secrets.token_urlsafe(18 + n).encode() for n in range(5)}
    for name, value in values.items():
        put(instance, name, value)
    site.routes["/"] = lambda asked: (200, {"got": asked.body.decode(), **asked.headers})
    instance.options = ("--verbose",)
    instance.start()
    install(instance, "called", CALLED)
    install(instance, "w", EVERYTHING.replace("URL", f"{site.url}/"))
    runs = [instance.run("w"), instance.run("w", "-p", "which=c0")]
    kills = 0
    while not all(instance.status(run)["ended_at"] for run in runs):
        if kills < 6:
            kills += 1
            instance.kill()
            instance.start()
    for run in runs:
        ended = instance.wait_run(run, 60)
        assert ended["state"] == "succeeded", ended
        for command in (("status", run, "--items"), ("logs", run), ("events", "--run", run), ("graph", run)):
            said = instance.ctl("-o", "json", *command).stdout + instance.ctl(*command).stdout
            assert not seen(values, said.encode()), command
    assert len(site.asked) >= 1
    instance.stop()
    folder = instance.root / "secrets"
    for path in [*instance.root.rglob("*"), instance.log]:
        if path.is_file() and folder not in path.parents:
            assert not seen(values, path.read_bytes()), path
    assert check_fold(instance.root) >= 4


def seen(values: dict[str, bytes], data: bytes) -> list[str]:
    """Which values are there, in any form of theirs."""
    return [name for name, value in values.items() if any(form in data for form in forms(value))]


def test_the_search_for_canaries_finds_them(tmp_path: Path) -> None:
    value = secrets.token_bytes(20)
    for data in (value, base64.b64encode(b"x" + value), value.hex().encode()):
        assert seen({"c": value}, b"before" + data + b"after") == ["c"]
