"""What a change of a definition is called, how it is kept, and for how long."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import apsw
import pytest

from pyflowd.language.definition_text import Part, Role, pack
from pyflowd.runtime.changes import Change, difference, record_loaded, record_removed
from pyflowd.store import statements
from pyflowd.store.store import DATABASE, Store

MAIN = Part(label="app.yaml", data=b"template: t\n")
TEMPLATE = Part(label="t.yaml", data=b"tasks: {}\n", role=Role.TEMPLATE)
DROP_IN = Part(label="app.yaml.d/10.yaml", data=b"timeout: 1h\n", role=Role.DROP_IN)


def other(part: Part) -> Part:
    return Part(label=part.label, data=part.data + b"# other\n", role=part.role)


@pytest.mark.parametrize(
    ("old", "new", "change", "detail"),
    [
        ([MAIN], [other(MAIN)], Change.EDITED, ""),
        ([MAIN], [MAIN, DROP_IN], Change.DROP_IN, "drop-in app.yaml.d/10.yaml added"),
        ([MAIN, DROP_IN], [MAIN], Change.DROP_IN, "drop-in app.yaml.d/10.yaml removed"),
        ([MAIN, DROP_IN], [MAIN, other(DROP_IN)], Change.DROP_IN, "drop-in app.yaml.d/10.yaml changed"),
        ([TEMPLATE, MAIN], [other(TEMPLATE), MAIN], Change.TEMPLATE, "template t.yaml changed"),
        (
            [TEMPLATE, MAIN],
            [other(TEMPLATE), MAIN, DROP_IN],
            Change.TEMPLATE,
            "template t.yaml changed, drop-in app.yaml.d/10.yaml added",
        ),
        ([MAIN, DROP_IN], [other(MAIN)], Change.EDITED, "drop-in app.yaml.d/10.yaml removed"),
    ],
)
def test_a_change_is_called_after_the_part_that_changed(
    old: list[Part], new: list[Part], change: Change, detail: str
) -> None:
    assert difference(pack(old), pack(new)) == (change, detail)


def test_a_file_that_only_has_another_name_was_edited() -> None:
    renamed = Part(label="b.yaml", data=MAIN.data)
    assert difference(pack([MAIN, DROP_IN]), pack([renamed, DROP_IN])) == (Change.EDITED, "")


# ---- In the store ---------------------------------------------------------------------------------------------------


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    made = Store(str(tmp_path))
    yield made
    made.close()


def load(store: Store, digest: str, before: str | None, *, at_us: int = 0, text: bytes = b"") -> Change:
    """A text of `w` comes into force, in a turn of its own."""
    batch = store.batch()
    change = record_loaded(store, batch, at_us, "w", "w.yaml", digest, text or digest.encode(), before)
    batch.add("definition", digest, text or digest.encode(), b"", at_us)
    store.commit(batch)
    return change


def remove(store: Store) -> None:
    batch = store.batch()
    record_removed(batch, 0, "w", "w.yaml")
    store.commit(batch)


def prune(store: Store, before_us: int) -> None:
    batch = store.batch()
    batch.add("prune_changes", before_us)
    batch.add("prune_definitions")
    store.commit(batch)


def kept(store: Store) -> list[str]:
    return [row[4] for row in store.rows("changes", "w", 1 << 62, 1000)]


def test_a_text_that_was_in_force_before_is_restored(store: Store) -> None:
    assert load(store, "d1", None) is Change.ADDED
    assert load(store, "d2", "d1") is Change.EDITED
    assert load(store, "d1", "d2") is Change.RESTORED


def test_a_workflow_that_was_removed_returns(store: Store) -> None:
    load(store, "d1", None)
    remove(store)
    assert load(store, "d1", None) is Change.RETURNED


def test_a_text_that_is_not_recorded_yet_was_edited(store: Store) -> None:
    assert load(store, "d2", "never seen") is Change.EDITED


@pytest.mark.parametrize(("number", "digest"), [(0, "d2"), (1, "d1"), (2, None)])
def test_texts_are_counted_back_without_those_that_came_back_unchanged(
    store: Store, number: int, digest: str | None
) -> None:
    load(store, "d1", None)
    load(store, "d2", "d1")
    remove(store)
    load(store, "d2", None)
    row = store.one_or_none("change_before", "w", number)
    assert (row and row[0]) == digest


def test_the_newest_hundred_versions_stay_whatever_their_age(store: Store) -> None:
    before = None
    for number in range(103):
        load(store, f"d{number}", before, at_us=number)
        before = f"d{number}"
    prune(store, before_us=1000)
    assert kept(store) == [f"d{number}" for number in range(102, 2, -1)]
    assert store.one_or_none("definition", "d2") is None
    assert store.one_or_none("definition", "d3") is not None


def test_a_version_that_is_not_old_stays_beyond_the_hundred(store: Store) -> None:
    before = None
    for number in range(103):
        load(store, f"d{number}", before, at_us=number)
        before = f"d{number}"
    prune(store, before_us=2)
    assert kept(store)[-1] == "d2"


def test_a_database_from_before_has_what_is_in_force_as_added(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    steps = statements.migrations()
    (number,) = [n for n, step in enumerate(steps) if "CREATE TABLE definition_change" in step]
    with monkeypatch.context() as patched:
        patched.setattr(statements, "migrations", lambda: steps[:number])
        Store(str(tmp_path)).close()
    connection = apsw.Connection(str(tmp_path / DATABASE))
    connection.execute("INSERT INTO workflow (workflow, file, digest, loaded_us) VALUES ('w', 'w.yaml', 'd1', 7)")
    connection.execute("INSERT INTO workflow (workflow, file, digest, loaded_us) VALUES ('gone', 'g.yaml', NULL, 7)")
    connection.close()
    store = Store(str(tmp_path))
    try:
        assert [row[1:] for row in store.rows("changes", "w", 1 << 62, 10)] == [(7, "added", "w.yaml", "d1", "")]
        assert store.one_or_none("change_known", "gone") is None
    finally:
        store.close()
