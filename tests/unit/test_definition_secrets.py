"""Which secrets a definition names: all that can be told from the file."""

from __future__ import annotations

import pytest

from pyflowd.language.assembly import assemble
from pyflowd.language.definition_text import Part

TASKS = "tasks: {a: {run: 'true'}}\n"
BY_PARAM = """
params: {w: {type: secret, required: true}}
tasks: {a: {run: x, env: {A: '${{ secrets[params.w] }}'}, credentials: {f: '${{ params.w }}'}}}
"""


@pytest.mark.parametrize(
    ("text", "names"),
    [
        (TASKS, ()),
        ("env: {A: '${{ secrets.db }}'}\n" + TASKS, ("db",)),
        ("tasks: {a: {run: x, env: {A: '${{ secrets[\"two\"] }} ${{ base64(secrets.one) }}'}}}\n", ("one", "two")),
        ("tasks: {a: {http: {url: 'https://h/', headers: {X: '${{ secrets.token }}'}}}}\n", ("token",)),
        ("tasks: {a: {run: x, credentials: [b, a]}}\n", ("a", "b")),
        ("tasks: {a: {run: x, undo: {run: x, credentials: {file: pw}}}}\n", ("pw",)),
        ("tasks: {a: {run: x, on_error: {b: {run: x, credentials: pw}}}}\n", ("pw",)),
        ("finally: {z: {run: x, credentials: pw}}\n" + TASKS, ("pw",)),
        ("params: {w: {type: secret, default: given}}\n" + TASKS, ("given",)),
        (BY_PARAM, ()),
        ("triggers: {t: {webhook: {hook: h, verify: {github: [old, new]}}}}\n" + TASKS, ("new", "old")),
    ],
)
def test_the_secrets_that_a_file_names_are_known(text: str, names: tuple[str, ...]) -> None:
    found = assemble(Part(label="w.yaml", data=text.encode()), stem="w")
    assert found.workflow is not None, found.problems
    assert found.workflow.secrets == names
