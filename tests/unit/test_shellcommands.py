"""Commands and words of shell texts."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyflowctl.shellcommands import Unread, commands


def words(text: str) -> list[list[str]]:
    return [[word.text for word in command.words] for command in commands(text)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("echo a b", [["echo", "a", "b"]]),
        ("a; b && c || d | e & f", [["a"], ["b"], ["c"], ["d"], ["e"], ["f"]]),
        ("echo 'a b' \"c d\" e\\ f", [["echo", "'a b'", '"c d"', "e\\ f"]]),
        ("if a; then b; elif c; then d; else e; fi", [["a"], ["b"], ["c"], ["d"], ["e"]]),
        ("for x in a b; do echo $x; done", [["for", "x", "in", "a", "b"], ["echo", "$x"]]),
        ("while read -r x; do :; done < f", [["read", "-r", "x"], [":"], []]),
        ("case $x in a|b) c ;; (d) e;; *) f; esac; g", [["case", "$x", "in"], ["c"], ["e"], ["f"], ["g"]]),
        ("f() { a; }; f", [["a"], ["f"]]),
        ("function f { a; }", [["a"]]),
        ("(a; b) > c", [["a"], ["b"], []]),
        ("echo $(a $(b)) `c`", [["b"], ["a", "$(b)"], ["c"], ["echo", "$(a $(b))", "`c`"]]),
        ("cat <<E x\n$y ' \"\nE\nb", [["cat", "x"], ["b"]]),
        ("cat <<-'E'\n\tx\n\tE\nb", [["cat"], ["b"]]),
        ("a # b; c\nd", [["a"], ["d"]]),
        ("x=1 y=$z a", [["a"]]),
        ("arr=(a 'b c' # d\n e) a", [["a"]]),
        ("[[ $a =~ ^(x|y)$ && -f b ]] && c", [["[[", "$a", "=~", "^", "x", "y", "$", "-f", "b", "]]"], ["c"]]),
        ("((i++)); for ((i=0; i<3; i++)); do a; done", [["for"], ["a"]]),
        (
            "echo $((1 + (2 * 3))) ${x:-$(a)} ${#x} ${x%%*)}",
            [["a"], ["echo", "$((1 + (2 * 3)))", "${x:-$(a)}", "${#x}", "${x%%*)}"]],
        ),
        ("a 2>&1 >/dev/null <<< word", [["a"]]),
        ("diff <(a) <(b)", [["a"], ["b"], ["diff", "<(a)", "<(b)"]]),
        ("a \\\n b", [["a", "b"]]),
        ("rm !(a|b)", [["rm", "!(a|b)"]]),
        ("", []),
    ],
)
def test_a_text_is_read_as_a_shell_reads_it(text: str, expected: list[list[str]]) -> None:
    assert words(text) == expected


@pytest.mark.parametrize(
    "text", ["echo 'a", 'echo "a', "echo $(a", "cat <<E\nx", "a )", "echo `a", "x=(a", "${a", ";;"]
)
def test_what_is_not_closed_is_not_read(text: str) -> None:
    with pytest.raises(Unread):
        commands(text)


def test_an_expansion_knows_its_place_and_its_quotes() -> None:
    text = 'echo $a "$b" "${c:-x}" \'$d\' ${e@Q}'
    found = [each for word in commands(text)[0].words for each in word.expansions]
    assert [(each.name, text[each.start : each.end], each.quoted, each.operator) for each in found] == [
        ("a", "$a", False, ""),
        ("b", "$b", True, ""),
        ("c", "${c:-x}", True, ":-x"),
        ("e", "${e@Q}", False, "@Q"),
    ]


def test_a_condition_is_known_as_one() -> None:
    found = {command.name: command.tested for command in commands("if a; then b; fi; ! c; while d; do e; done")}
    assert found == {"a": True, "b": False, "c": True, "d": True, "e": False}


_pieces = st.sampled_from(
    ["a", " ", "\n", "'", '"', "$", "(", ")", "{", "}", "$x", "${", "`", "\\", "<", "<<E", ">", "|", "&", ";", "#", "=",
     "case", "in", "esac", "for", "do", "done", "if", "[[", "]]", "((", "))", "E\n", "$(", "@", "é"]
)  # fmt: skip


@given(st.lists(_pieces, max_size=30).map("".join))
def test_any_text_is_read_or_said_not_to_be_and_every_word_is_where_it_says(text: str) -> None:
    with contextlib.suppress(Unread, RecursionError):
        for command in commands(text):
            for word in (*command.words, *command.assignments):
                assert text[word.start : word.end] == word.text
                for each in word.expansions:
                    assert text[each.start] == "$"
