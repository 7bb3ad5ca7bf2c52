"""Which files a definition is made of."""

from __future__ import annotations

from pyflowd.folder.loader_frames import MASK, Folders, Seen, Signature
from pyflowd.folder.sources import Sources, folder_of, key_in

FOLDERS = Folders("/etc/p/workflows", "/usr/lib/p/workflows")
VENDOR = "/usr/lib/p/workflows/"
VENDOR_TEMPLATES = "/usr/lib/p/templates/"
ONE = Signature(1, 1, 10, 1)
TWO = Signature(2, 2, 20, 1)


def sources(*keys: str, **marks: Signature) -> Sources:
    return Sources({**dict.fromkeys(keys, ONE), **marks}, FOLDERS)


def masked(*keys: str, mask: str) -> Sources:
    return Sources({**dict.fromkeys(keys, ONE), mask: MASK}, FOLDERS)


def test_a_file_of_the_host_stands_for_the_vendors_of_that_name() -> None:
    assert sources("a.yaml", VENDOR + "a.yaml", VENDOR + "b.yaml").files == {
        "a.yaml": "a.yaml",
        "b.yaml": VENDOR + "b.yaml",
    }


def test_a_mask_takes_the_vendors_file_away() -> None:
    assert masked(VENDOR + "a.yaml", mask="a.yaml").files == {}


def test_drop_ins_apply_by_name_wherever_they_are() -> None:
    found = sources("a.yaml", "a.yaml.d/20.yaml", VENDOR + "a.yaml.d/10.yaml", VENDOR + "a.yaml.d/30.yaml")
    assert found.drop_ins("a.yaml") == [
        VENDOR + "a.yaml.d/10.yaml", "a.yaml.d/20.yaml", VENDOR + "a.yaml.d/30.yaml",
    ]  # fmt: skip


def test_a_drop_in_of_the_host_stands_for_the_vendors_of_that_name() -> None:
    found = sources("a.yaml", "a.yaml.d/10.yaml", VENDOR + "a.yaml.d/10.yaml")
    assert found.drop_ins("a.yaml") == ["a.yaml.d/10.yaml"]


def test_a_drop_in_of_the_vendor_can_be_masked() -> None:
    assert masked("a.yaml", VENDOR + "a.yaml.d/10.yaml", mask="a.yaml.d/10.yaml").drop_ins("a.yaml") == []


def test_drop_ins_without_a_file_are_idle() -> None:
    assert sources("a.yaml", "a.yaml.d/1.yaml", "b.yml.d/1.yaml").idle == ["b.yml.d/1.yaml"]


def test_a_template_of_the_host_stands_for_the_vendors() -> None:
    assert sources("templates/t.yaml", VENDOR_TEMPLATES + "t.yaml").template("t") == "templates/t.yaml"
    assert sources(VENDOR_TEMPLATES + "t.json").template("t") == VENDOR_TEMPLATES + "t.json"
    assert sources("templates/t.yaml").template("u") is None


def test_parts_are_the_file_its_drop_ins_and_its_template() -> None:
    found = sources("a.yaml", "a.yaml.d/1.yaml", "b.yaml", "templates/t.yaml", "templates/u.yaml")
    assert found.parts("a.yaml", "t") == dict.fromkeys(["a.yaml", "a.yaml.d/1.yaml", "templates/t.yaml"], ONE)


def test_what_was_read_holds_if_every_part_is_as_it_settled() -> None:
    found = sources("a.yaml", "templates/t.yaml")
    assert found.holds("a.yaml", Seen({"a.yaml": ONE, "templates/t.yaml": ONE}, "t"))
    assert not found.holds("a.yaml", Seen({"a.yaml": ONE, "templates/t.yaml": TWO}, "t"))
    assert not found.holds("a.yaml", Seen({"a.yaml": ONE}, "t"))
    assert found.holds("a.yaml", Seen({"a.yaml": ONE}, "u"))
    assert not found.holds("gone.yaml", Seen({"gone.yaml": ONE}))


def test_what_was_read_in_the_tick_of_its_change_holds_without_the_time() -> None:
    found = sources("a.yaml")
    assert found.holds("a.yaml", Seen({"a.yaml": Signature(1, 0, 10, 1)}))
    assert not found.holds("a.yaml", Seen({"a.yaml": Signature(2, 0, 10, 1)}))


def test_a_key_leads_to_its_folder_and_back() -> None:
    places = {
        "a.yaml": ("/etc/p/workflows", "a.yaml"),
        "a.yaml.d/1.yaml": ("/etc/p/workflows", "a.yaml.d/1.yaml"),
        "templates/t.yaml": ("/etc/p/templates", "t.yaml"),
        VENDOR + "a.yaml": ("/usr/lib/p/workflows", "a.yaml"),
        VENDOR_TEMPLATES + "t.yaml": ("/usr/lib/p/templates", "t.yaml"),
    }
    for key, place in places.items():
        assert folder_of(FOLDERS, key) == place
        assert key_in(FOLDERS, *place) == key
