"""The texts of a definition as one (rule D1)."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pyflowd.language.definition_text import Part, Role, pack, readable, unpack

MAIN = Part(label="a.yaml", data=b"template: t\n")
BASE = Part(label="templates/t.json", data=b"{}", is_json=True, role=Role.TEMPLATE)
OVER = Part(label='a.yaml.d/1 "x".yaml', data=b"\n\n", role=Role.DROP_IN)

PARTS = st.builds(Part, label=st.text(max_size=20), data=st.binary(max_size=50), is_json=st.booleans(),
                  role=st.sampled_from(Role))  # fmt: skip


def test_a_definition_of_one_file_is_its_text() -> None:
    assert pack([MAIN]) == MAIN.data
    assert unpack(MAIN.data, "a.yaml") == [MAIN]


@given(st.lists(PARTS, min_size=2, max_size=5))
def test_parts_come_back_as_they_were(parts: list[Part]) -> None:
    assert unpack(pack(parts)) == parts


@given(st.lists(PARTS, min_size=2, max_size=4), st.lists(PARTS, min_size=2, max_size=4))
def test_other_parts_make_another_text(one: list[Part], other: list[Part]) -> None:
    assert (pack(one) == pack(other)) == (one == other)


def test_no_text_of_one_file_is_taken_for_parts() -> None:
    assert pack([MAIN, OVER])[:1] == b"\0"


def test_each_part_is_shown_below_its_name() -> None:
    assert readable(pack([BASE, MAIN])) == (
        "# ---- template templates/t.json\n{}\n\n# ---- workflow a.yaml\ntemplate: t\n"
    )
