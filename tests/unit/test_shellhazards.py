"""Hazards of shell text: what can break is told at its place, what cannot is not."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from pyflowctl.shellcommands import commands
from pyflowctl.shellhazards import Variable, hazards
from pyflowctl.shellsyntax import ShellText, faults

KNOWN = {
    "PARAM_FILE": Variable(splits=True, outside=True, dash=True),
    "PARAM_TAG": Variable(outside=True),
    "WORD": Variable(),
    "MADE": Variable(splits=True, outside=True),
    "TOKEN": Variable(splits=True, secret=True),
}
PARAMS = frozenset({"PARAM_FILE", "PARAM_TAG"})


def found(text: str, *, strict: bool = True) -> list[tuple[str, str]]:
    """Code, and the piece of text that it is about."""
    told = hazards(text, commands(text), KNOWN, strict=strict, params=PARAMS)
    return [(hazard.code, text[hazard.start : hazard.end]) for hazard in told]


@pytest.mark.parametrize(
    ("text", "code", "piece"),
    [
        ("cat -- $PARAM_FILE", "unquoted", "$PARAM_FILE"),
        ("echo a/$MADE/b", "unquoted", "$MADE"),
        ("[ $MADE = x ]", "unquoted", "$MADE"),
        ("echo ${MADE%x}", "unquoted", "${MADE%x}"),
        ("f() { echo $1; }", "unquoted", "$1"),
        ("f() { g $@; }", "unquoted", "$@"),
        ("x=$(ls | tail -n 1); cat -- $x", "unquoted", "$x"),
        ("for f in *.txt; do cat -- $f; done", "unquoted", "$f"),
        ("read -r line; echo $line", "unquoted", "$line"),
        ("x=$PARAM_FILE; echo $x", "unquoted", "$x"),
        ("echo $(cat -- $MADE)", "unquoted", "$MADE"),
        ('eval "$PARAM_FILE"', "eval", "$PARAM_FILE"),
        ('sh -c "cat $MADE"', "injection", "$MADE"),
        ('sudo -u x bash -euc "cat $MADE"', "injection", "$MADE"),
        ('su - app -c "cat $MADE"', "injection", "$MADE"),
        ('xargs -0 sh -c "cat $MADE"', "injection", "$MADE"),
        ('ssh -p 22 host "cat $MADE"', "injection", "$MADE"),
        ('rm "$PARAM_FILE"', "option_injection", "$PARAM_FILE"),
        ('rm -rf "$PARAM_FILE"', "option_injection", "$PARAM_FILE"),
        ('sudo tar xf a "$PARAM_FILE"', "option_injection", "$PARAM_FILE"),
        ('/usr/bin/git checkout "${PARAM_FILE}"', "option_injection", "${PARAM_FILE}"),
        ('echo "$PARAM_FLIE"', "unknown_param", "$PARAM_FLIE"),
        ('x="$PARAM_FLIE"', "unknown_param", "$PARAM_FLIE"),
        ('echo "$TOKEN"', "secret_in_log", "$TOKEN"),
        ('printf "%s" "$TOKEN" >&2', "secret_in_log", "$TOKEN"),
        ('set -x\ncurl -H "$TOKEN" x', "secret_in_log", "set -x"),
        ('set -o xtrace; curl -H "$TOKEN" x', "secret_in_log", "set -o xtrace"),
        ("env", "secret_in_log", "env"),
    ],
)
def test_a_hazard_is_told_at_its_place(text: str, code: str, piece: str) -> None:
    assert found(text) == [(code, piece)]


@pytest.mark.parametrize(
    "text",
    [
        'cat -- "$PARAM_FILE"',
        "echo $WORD",
        "echo $PARAM_TAG",
        "x=$MADE",
        "export X=$MADE",
        "local x=$MADE",
        "[[ $MADE = x ]]",
        "case $MADE in a) b;; esac",
        "echo '$MADE'",
        "echo \\$MADE",
        "echo ${#MADE}",
        "echo ${MADE:+x}",
        "echo ${MADE@Q}",
        "cat <<E\n$MADE\nE",
        "echo x > $MADE",
        "for x in $MADE; do echo $x; done",
        "echo $? $# $$ $!",
        'x="$(date +%F)"; echo $x',
        "n=$(wc -l < f); [ $n -gt 3 ]",
        "for i in 1 2 3; do echo $i; done",
        "for i in {1..3}; do echo $i; done",
        "x=abc; echo $x",
        "x='a b'; cmd $x",
        "echo $((1 + MADE))",
        'echo "a $MADE b"',
        "exit $code",
        "kill $pid",
        "echo ${arr[@]}",
        "arr=($MADE); echo ok",
        "echo $UNKNOWN",
        "$MADE a",
        'eval "$(ssh-agent -s)"',
        'eval "x=$WORD"',
        "sh -c 'cat \"$MADE\"'",
        'sh -c "cat $WORD"',
        "sh script.sh $WORD",
        'ssh host "uptime $WORD"',
        'ssh host "cat ${MADE@Q}"',
        'ssh -i "$MADE" host uptime',
        "bash -n file",
        'rm -- "$PARAM_FILE"',
        'rm "./$PARAM_FILE"',
        'rm "/srv/$PARAM_FILE"',
        'rm "$PARAM_TAG"',
        'rm "$MADE"',
        'tar -C "$PARAM_FILE" -cf a .',
        'own-program "$PARAM_FILE"',
        './script.sh "$PARAM_FILE"',
        'echo "$PARAM_FILE"',
        '[ "$PARAM_FILE" = x ]',
        'cmd --file="$PARAM_FILE"',
        'head -n "$PARAM_FILE" x',
        'cp -t "$PARAM_FILE" x',
        'test -f "$PARAM_FILE"',
        'echo "${PARAM_FLIE:-none}"',
        'PARAM_OWN=1; echo "$PARAM_OWN"',
        'for PARAM_X in a; do echo "$PARAM_X"; done',
        'echo "$TOKEN" | docker login --password-stdin',
        'printf "%s" "$TOKEN" > file',
        'curl -H "x: $TOKEN" y',
        "set -x; echo a",
        "env | grep x > y",
        "env X=1 cmd",
        'echo "${TOKEN:+set}"',
        "set -e",
        "git set -x",
    ],
)
def test_what_cannot_break_is_not_told(text: str) -> None:
    assert found(text) == []


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("cd /srv/x\nls", True),
        ("cd /srv/x; ls", True),
        ("cd /srv/x || exit; ls", False),
        ("cd /srv/x && ls", False),
        ("if cd /srv/x; then ls; fi", False),
        ("set -e\ncd /srv/x\nls", False),
        ("set -euo pipefail; cd /srv/x; ls", False),
        ("cd; ls", False),
        ("cd ..; ls", False),
    ],
)
def test_cd_is_told_where_the_shell_goes_on(text: str, told: bool) -> None:
    assert (("cd_unchecked" in dict(found(text, strict=False))), found(text)) == (told, [])


def test_a_hazard_is_told_once_of_a_variable() -> None:
    assert found("echo $MADE; echo $MADE; echo $PARAM_FILE") == [("unquoted", "$MADE"), ("unquoted", "$PARAM_FILE")]


# ---- bash -n --------------------------------------------------------------------------------------------------------


def syntax(*texts: str, shell: str = "bash", closes: bool = True) -> dict[int, tuple[int, bool]]:
    judged = faults([ShellText(shell, text, closes) for text in texts])
    return {index: (fault.line, fault.is_warning) for index, fault in judged.items()}


@pytest.mark.parametrize("closes", [True, False])
def test_only_the_texts_that_are_wrong_are_told(closes: bool) -> None:
    texts = ["echo a", "# only a comment", "if true; then\necho b", "echo c\n", "fi", "echo d \\"]
    assert set(syntax(*texts, closes=closes)) == {2, 4}


@pytest.mark.parametrize(
    ("one", "other"), [("(", ")"), ("{", "}"), ("if x; then", "fi"), ("case x in", "esac"), ("x() {", "}")]
)
def test_two_texts_do_not_mend_each_other(one: str, other: str) -> None:
    assert set(syntax(one, "echo between", other)) == {0, 2}


def test_the_line_of_a_fault_is_that_of_its_text() -> None:
    assert syntax("echo a\necho b", "echo c\n)\necho d") == {1: (2, False)}


def test_a_here_document_without_end_is_a_warning() -> None:
    assert syntax("cat <<E\na\n", closes=False) == {0: (2, True)}


def test_patterns_of_extglob_are_read_where_the_text_asks_for_them() -> None:
    assert syntax("shopt -s extglob\nrm -- !(a|b)") == {}


def test_nothing_of_a_text_is_run(tmp_path: object) -> None:
    mark = f"{tmp_path}/ran"
    texts = [f"touch {mark}", f")\n(touch {mark}", f"$(touch {mark})", f"}}\ntouch {mark}\n{{"]
    syntax(*texts)
    syntax(*texts, shell="sh")
    assert not Path(mark).exists()


_SAFE = [
    'mkdir -p "$WORD/data"',
    'cp -a -- "$PARAM_FILE" "$WORD/"',
    'for n in $(seq 1 3); do echo "line $n"; done',
    'if [ -f "$WORD" ]; then rm -f -- "$WORD"; fi',
    'name="$(date +%F)-$PARAM_TAG"',
    'tar -czf "$name" -C "$WORD" .',
    'while read -r line; do printf "%s\\n" "$line"; done < "$WORD"',
    'case "$PARAM_TAG" in a*) echo a ;; *) exit 1 ;; esac',
    'ls -1 "$WORD" | sort | tail -n 3',
    "cat <<EOF\nhello $MADE \"it is\" 'so'\nEOF",
    '[[ "$MADE" =~ ^[a-z]+$ ]] || exit 3',
    'count=$(wc -l < "$WORD"); echo "$count"',
    'args=(-a -b "$MADE"); printf "%q " "${args[@]}"',
    "sleep 1 & wait $!",
    'f() { local x="$1"; echo "$x"; }; f a',
    "echo $((3 * (2 + 1)))",
    'curl -fsS "https://example.com/$PARAM_TAG" -o "$WORD"',
    "find \"$WORD\" -name '*.log' -mtime +7 -delete",
    'echo "${MADE:-nothing}" # a comment with $MADE',
    'trap "rm -f x" EXIT',
]


@pytest.mark.parametrize("seed", range(200))
def test_scripts_as_they_should_be_have_no_hazard(seed: int) -> None:
    chosen = random.Random(seed).choices(_SAFE, k=6)
    assert found("\n".join(chosen)) == []


def test_scripts_as_they_should_be_are_read_by_bash() -> None:
    texts = ["\n".join(random.Random(seed).choices(_SAFE, k=6)) for seed in range(200)]
    assert syntax(*texts) == {}
