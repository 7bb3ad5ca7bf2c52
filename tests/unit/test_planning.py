"""What a scan means: loads, ends, holds (rule D6)."""

from __future__ import annotations

from pyflowd.folder.loader_frames import MASK, Folders, Seen, Signature
from pyflowd.folder.planning import HOLD_US, Plan, plan
from pyflowd.folder.settling import FolderGone, Scan

FOLDERS = Folders("/etc/p/workflows", "/usr/lib/p/workflows")
VENDOR = "/usr/lib/p/workflows/"
OLD = Signature(1, 1, 10, 1)
NEW = Signature(2, 2, 20, 1)
TEN = {f"f{n}.yaml": OLD for n in range(10)}


def plain(**files: Signature) -> dict[str, Seen | None]:
    return {f"{name}.yaml": Seen({f"{name}.yaml": mark}) for name, mark in files.items()}


def ten() -> dict[str, Seen | None]:
    return {file: Seen({file: mark}) for file, mark in TEN.items()}


def scan(**files: Signature) -> Scan:
    return Scan({f"{name}.yaml": mark for name, mark in files.items()})


def without(count: int) -> Scan:
    return Scan(dict(list(TEN.items())[count:]))


def planned(
    known: dict[str, Seen | None], found: Scan | FolderGone, held_since_us: int | None = None, now_us: int = 0
) -> Plan:
    return plan(known, found, FOLDERS, held_since_us, now_us)


def test_new_and_changed_files_are_loaded() -> None:
    found = planned(plain(a=OLD, b=OLD), scan(a=OLD, b=NEW, c=NEW))
    assert (found.changed, found.gone) == (plain(b=NEW, c=NEW), ())


def test_a_file_that_went_is_gone() -> None:
    assert planned(plain(a=OLD, b=OLD), scan(b=OLD)).gone == ("a.yaml",)


def test_a_file_that_was_read_too_early_is_loaded_though_it_looks_the_same() -> None:
    assert set(planned({"a.yaml": None}, scan(a=OLD)).changed) == {"a.yaml"}


def test_up_to_a_fifth_may_go_at_once() -> None:
    assert planned(ten(), without(2)).gone == ("f0.yaml", "f1.yaml")


def test_more_than_a_fifth_at_once_is_held() -> None:
    found = planned(ten(), without(3), None, 5)
    assert (found.gone, found.held, found.held_since_us) == ((), ("f0.yaml", "f1.yaml", "f2.yaml"), 5)


def test_what_is_held_goes_when_the_hold_is_over() -> None:
    assert planned(ten(), without(3), 5, HOLD_US + 4).gone == ()
    found = planned(ten(), without(3), 5, HOLD_US + 5)
    assert (found.gone, found.held, found.held_since_us) == (("f0.yaml", "f1.yaml", "f2.yaml"), (), None)


def test_a_hold_ends_when_the_files_are_back() -> None:
    assert planned(ten(), Scan(TEN), 5, 10).held_since_us is None


def test_few_files_may_all_go() -> None:
    assert planned(plain(a=OLD), scan()).gone == ("a.yaml",)


def test_a_folder_that_is_gone_is_held_however_few_its_files() -> None:
    assert planned(plain(a=OLD), FolderGone("gone")).held == ("a.yaml",)


def test_changes_are_loaded_even_while_others_are_held() -> None:
    found = planned(ten(), Scan({**without(3).entries, "new.yaml": NEW}))
    assert found.changed == plain(new=NEW)


# ---- Parts ----------------------------------------------------------------------------------------------------------

BUILT: dict[str, Seen | None] = {
    "a.yaml": Seen({"a.yaml": OLD, "a.yaml.d/1.yaml": OLD, "templates/t.yaml": OLD}, "t"),
    "b.yaml": Seen({"b.yaml": OLD, "templates/t.yaml": OLD}, "t"),
    "c.yaml": Seen({"c.yaml": OLD}),
}
ALL = {"a.yaml": OLD, "a.yaml.d/1.yaml": OLD, "b.yaml": OLD, "c.yaml": OLD, "templates/t.yaml": OLD}


def changed(**entries: Signature | None) -> set[str]:
    """Which are loaded after a change of some parts; None: it went."""
    now = {**ALL, **{key.replace("__", "/").replace("_", "."): mark for key, mark in entries.items()}}
    return set(planned(BUILT, Scan({key: mark for key, mark in now.items() if mark is not None})).changed)


def test_nothing_is_loaded_while_every_part_is_the_same() -> None:
    assert changed() == set()


def test_a_changed_template_loads_all_that_are_built_from_it() -> None:
    assert changed(templates__t_yaml=NEW) == {"a.yaml", "b.yaml"}


def test_a_template_that_went_loads_all_that_are_built_from_it() -> None:
    assert changed(templates__t_yaml=None) == {"a.yaml", "b.yaml"}


def test_a_changed_drop_in_loads_its_file() -> None:
    assert changed(a_yaml_d__1_yaml=NEW) == {"a.yaml"}


def test_a_drop_in_that_comes_or_goes_loads_its_file() -> None:
    assert changed(c_yaml_d__1_yaml=NEW) == {"c.yaml"}
    assert changed(a_yaml_d__1_yaml=None) == {"a.yaml"}


def test_a_template_that_was_missing_loads_who_asked_for_it() -> None:
    known: dict[str, Seen | None] = {"a.yaml": Seen({"a.yaml": OLD}, "t")}
    assert set(planned(known, Scan({"a.yaml": OLD, "templates/t.yaml": OLD})).changed) == {"a.yaml"}
    assert set(planned(known, Scan({"a.yaml": OLD, "templates/u.yaml": OLD})).changed) == set()


def test_drop_ins_of_a_folder_that_seems_unmounted_are_held_with_it() -> None:
    known: dict[str, Seen | None] = {f"f{n}.yaml": Seen({f"f{n}.yaml": OLD, f"f{n}.yaml.d/1.yaml": OLD})
                                     for n in range(10)}  # fmt: skip
    found = planned(known, Scan({f"f{n}.yaml": OLD for n in range(10)}))
    assert (len(found.held), found.changed) == (10, {})


def test_a_file_over_the_vendors_loads_in_its_place_and_back() -> None:
    of_vendor: dict[str, Seen | None] = {"a.yaml": Seen({VENDOR + "a.yaml": OLD})}
    found = planned(of_vendor, Scan({VENDOR + "a.yaml": OLD, "a.yaml": NEW}))
    assert found.changed == {"a.yaml": Seen({"a.yaml": NEW})}
    found = planned(plain(a=NEW), Scan({VENDOR + "a.yaml": OLD}))
    assert (found.changed, found.gone) == ({"a.yaml": Seen({VENDOR + "a.yaml": OLD})}, ())


def test_a_masked_file_is_gone() -> None:
    of_vendor: dict[str, Seen | None] = {"a.yaml": Seen({VENDOR + "a.yaml": OLD})}
    assert planned(of_vendor, Scan({VENDOR + "a.yaml": OLD, "a.yaml": MASK})).gone == ("a.yaml",)


def test_a_refused_file_over_the_vendors_changes_nothing_in_force() -> None:
    found = planned(plain(a=OLD), Scan({VENDOR + "a.yaml": OLD}, blocked=frozenset({"a.yaml"})))
    assert (found.changed, found.gone) == ({}, ())


def test_a_vendors_folder_that_is_gone_is_held() -> None:
    of_vendor: dict[str, Seen | None] = {"a.yaml": Seen({VENDOR + "a.yaml": OLD})}
    found = planned(of_vendor, Scan({}, gone={FOLDERS.vendor: "gone"}))
    assert (found.gone, found.held) == ((), (VENDOR + "a.yaml",))


def test_the_vendors_files_stand_while_the_hosts_folder_is_gone() -> None:
    known: dict[str, Seen | None] = {**plain(a=OLD), "v.yaml": Seen({VENDOR + "v.yaml": OLD})}
    found = planned(known, FolderGone("gone"), 0, HOLD_US)
    assert (found.gone, found.changed) == (("a.yaml",), {})
