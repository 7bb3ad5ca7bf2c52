"""Codes of what is wrong with a file itself, its keys and its values: the daemon tells them as well."""

from __future__ import annotations

from pyflowd.lint.lint_code import Code
from pyflowd.model.problem import Severity

_WARNING = Severity.WARNING
_HELLO = "tasks: {hello: {run: echo hello}}\n"

FILES: tuple[Code, ...] = (
    # ---- The text ---------------------------------------------------------------------------------------------------
    Code(
        name="alias",
        meaning="*NAME refers to no anchor that has ended above it",
        why="An alias stands for the value that was written behind &NAME, which must be above it and complete.",
        bad="tasks: {a: {run: *text}}\n",
        good="tasks: {a: {run: &text echo hello}, b: {run: *text}}\n",
    ),
    Code(
        name="control_character",
        meaning="a control character stands in a text",
        why="A NUL ends an argument early, an escape obeys a terminal. Let printf make such a character in a script.",
        bad='tasks: {a: {run: "echo \\u0007"}}\n',
        good="tasks: {a: {run: printf '\\a'}}\n",
    ),
    Code(
        name="duplicate_key",
        meaning="a key, or an item of a list of items, is given twice",
        why="Of two values under one key most readers take the last without a word. Two items that are the same have "
        "the same key, by which a rerun knows them; tell them apart by key:.",
        bad="tasks: {a: {run: echo 1, run: echo 2}}\n",
        good="tasks: {a: {run: echo 1; echo 2}}\n",
    ),
    Code(
        name="empty",
        meaning="the file is empty",
        why="A workflow needs tasks. An editor that empties a file before it writes it is waited for by the daemon.",
        bad="# nothing but this\n",
        good=_HELLO,
    ),
    Code(
        name="encoding",
        meaning="the file is not UTF-8",
        why="What is not UTF-8 would be read differently by each program. Save the file as UTF-8.",
        shown="a file saved as UTF-16 or Latin-1",
    ),
    Code(
        name="key",
        meaning="a key is no text",
        why="YAML lets lists and numbers be keys, JSON does not, and no key of a definition is one. Put it in quotes.",
        bad="labels: {1: one}\n" + _HELLO,
        good='labels: {"1": one}\n' + _HELLO,
    ),
    Code(
        name="number",
        meaning="a number does not fit 64 bits, or a float",
        why="It would become another number on its way. Put it in quotes if it is text.",
        bad="params: {x: {default: 99999999999999999999}}\n" + _HELLO,
        good='params: {x: {default: "99999999999999999999"}}\ntasks: {hello: {run: echo "$PARAM_X"}}\n',
    ),
    Code(
        name="several_documents",
        meaning="a second document begins in the file",
        why="One file is one workflow. Put what follows --- into a file of its own.",
        bad=_HELLO + "---\n" + _HELLO,
        good=_HELLO,
    ),
    Code(
        name="surrogate",
        meaning="a text holds half of a surrogate pair",
        why="It is no character, and cannot be written as UTF-8. Write the whole character.",
        shown='JSON with "\\ud800" and nothing behind it',
    ),
    Code(
        name="syntax",
        meaning="the file is not YAML, or not JSON",
        why="The place is where it could not be read on; the fault is there or just above, often an indentation, "
        "a missing quote, or a colon and a blank in a plain text.",
        bad="tasks: {a: {run: echo hello}\n",
        good=_HELLO,
    ),
    Code(
        name="tag",
        meaning="a YAML tag, such as !ref",
        why="Tags make objects of texts; a definition has none.",
        bad="tasks: {a: {run: !shell echo hello}}\n",
        good=_HELLO,
    ),
    Code(
        name="too_deep",
        meaning="lists and mappings are nested deeper than 64 levels",
        why="No definition needs it; a bomb does.",
        shown="65 brackets within each other",
    ),
    Code(
        name="too_large",
        meaning="the file, or what its aliases and templates come to, is larger than is read",
        why="A file has 8 MiB at most, also when its aliases are written out. Make several workflows of it.",
        shown="a file of 9 MiB",
    ),
    Code(
        name="too_many_nodes",
        meaning="the file has more than 1,000,000 values, aliases written out",
        why="Aliases of aliases make much of little. Make several workflows of it.",
        shown="nine lists, each of nine aliases of the one above it",
    ),
    Code(
        name="yaml_version",
        meaning="a %YAML directive",
        why="Files are read as YAML 1.2 whatever they say of themselves: yes and no are texts, 010 is ten.",
        bad="%YAML 1.1\n---\n" + _HELLO,
        good=_HELLO,
    ),
    # ---- Files ------------------------------------------------------------------------------------------------------
    Code(
        name="held",
        meaning="many files vanished at once, so none is taken away for a minute",
        why="A folder that is not mounted looks like one whose files were deleted. `pyflowctl reload` ends the wait.",
        shown="an empty folder where ten workflows were",
    ),
    Code(
        name="inotify",
        meaning="the kernel tells of no changes in the folder",
        why="Changes are found by looking once a minute. Raise fs.inotify.max_user_watches.",
        severity=_WARNING,
        shown="a host whose watches are used up",
    ),
    Code(
        name="more",
        meaning="there is more, which is not listed",
        why="At most 50 problems of a file are told. Mend the first ones and look again.",
        shown="a file with 51 unknown keys",
    ),
    Code(
        name="not_checked",
        meaning="the editor cannot say what is wrong with it",
        why="A text that is built from a template, or uses a plugin, is checked by the daemon, for administrators.",
        severity=_WARNING,
        shown="a text with `template:` in the editor of somebody who is no administrator",
    ),
    Code(
        name="not_in_force",
        meaning="it was saved, and is not in force yet",
        why="The folder was still being changed. `pyflowctl reload` looks at it again.",
        shown="a file that is saved while another program writes to the folder",
    ),
    Code(
        name="not_read",
        meaning="a file beside the workflow is not read",
        why="It is a link that leads out of the folder, no regular file, or has a name that is none of a definition.",
        shown="a drop-in that is a link to /etc/passwd",
    ),
    Code(
        name="unfixed",
        meaning="fix left something as it was",
        why="The message says why it could not be changed safely. Edit it by hand.",
        shown="pyflowctl fix on an expression in single quotes of the shell",
    ),
    Code(
        name="unreadable",
        meaning="the file cannot be read",
        why="It is not there, or not for you. The daemon must be able to read it as well.",
        shown="a file that is not there",
    ),
    Code(
        name="unwritable",
        meaning="fix could not write the file",
        why="The new text is written beside the file and renamed: the folder must be writable.",
        shown="pyflowctl fix in a folder of root",
    ),
    # ---- Keys -------------------------------------------------------------------------------------------------------
    Code(
        name="duplicate_name",
        meaning="a name is given to two things",
        why="Tasks of all sections share their names, as do triggers: the log and the history go by them.",
        bad="tasks: {a: {run: echo 1}}\nfinally: {a: {run: echo 2}}\n",
        good="tasks: {a: {run: echo 1}}\nfinally: {b: {run: echo 2}}\n",
    ),
    Code(
        name="kind",
        meaning="a task has no kind, or more than one",
        why="A task does exactly one thing: run, argv, python, http, and so on. Make two tasks of it.",
        bad="tasks: {a: {run: echo 1, argv: [echo, 2]}}\n",
        good="tasks: {a: {run: echo 1}, b: {argv: [echo, 2]}}\n",
    ),
    Code(
        name="later",
        meaning="a part of the language that this version does not have",
        why="The word is reserved. Leave it out, or update.",
        bad="secrets: {token: x}\n" + _HELLO,
        good=_HELLO,
    ),
    Code(
        name="missing",
        meaning="a key that is needed is not there",
        why="The message says which.",
        bad="description: nothing to do\n",
        good=_HELLO,
    ),
    Code(
        name="name",
        meaning="a name with characters that names do not have",
        why="Names become parts of paths and of variables: letters, digits, _ . - and first a letter or digit.",
        bad="tasks: {my task: {run: echo hello}}\n",
        good="tasks: {my-task: {run: echo hello}}\n",
    ),
    Code(
        name="no_effect",
        meaning="a key that changes nothing here",
        why="It looks as if it did something. Leave it out, or add what it needs.",
        severity=_WARNING,
        bad="tasks: {a: {run: echo hello, trigger_rule: all_done}}\n",
        good="tasks: {a: {run: echo hello}, b: {needs: a, trigger_rule: all_done, run: echo bye}}\n",
    ),
    Code(
        name="no_meaning",
        meaning="a key that this kind of task does not have",
        why="A wait has no shell, a request has no exit code.",
        bad="tasks: {a: {wait: 10m, shell: bash}}\n",
        good="tasks: {a: {wait: 10m}}\n",
    ),
    Code(
        name="place",
        meaning="a key that stands where it has no meaning",
        why="A handler is not undone, a task of undo: has no needs of its own.",
        bad="tasks: {a: {run: echo hello, after: started}}\n",
        good="tasks: {a: {run: echo hello, undo: {run: echo back, after: started}}}\n",
    ),
    Code(
        name="unknown_key",
        meaning="a key that there is not",
        why="A mistyped key that is passed over is a time limit that does not hold. The nearest one is named.",
        bad="tasks: {a: {run: echo hello, timeuot: 5m}}\n",
        good="tasks: {a: {run: echo hello, timeout: 5m}}\n",
    ),
    # ---- Values -----------------------------------------------------------------------------------------------------
    Code(
        name="number_text",
        meaning="a number that looks different when it becomes text",
        why="3.10 is the number 3.1. Put it in quotes to keep it as it is.",
        severity=_WARNING,
        bad="tasks: {a: {run: echo hello, env: {PYTHON: 3.10}}}\n",
        good='tasks: {a: {run: echo hello, env: {PYTHON: "3.10"}}}\n',
    ),
    Code(
        name="param",
        meaning="with: gives a param that the template does not declare",
        why="The value would be lost.",
        shown="template: nightly with with: {hots: db1}, where the template has the param host",
    ),
    Code(
        name="params",
        meaning="a trigger gives params that the workflow does not take",
        why="Each run that it starts would be refused, at night. They are checked now.",
        bad='schedule: {cron: "0 4 * * *", params: {day: mon}}\n' + _HELLO,
        good='params: {day: {}}\nschedule: {cron: "0 4 * * *", params: {day: mon}}\n'
        'tasks: {a: {run: echo "$PARAM_DAY"}}\n',
    ),
    Code(
        name="plugin",
        meaning="a plugin that there is not, or that cannot be used",
        why="uses: names a file of the plugins folder or a kind of an installed package: see `pyflowctl kinds`.",
        bad="tasks: {a: {uses: no-such-plugin}}\n",
        good=_HELLO,
    ),
    Code(
        name="plugin_input",
        meaning="with: gives a plugin something that it does not take, or not all that it needs",
        why="A plugin says which inputs it has, and of which types: see `pyflowctl kinds NAME`.",
        shown="uses: sql without a statement",
    ),
    Code(
        name="security",
        meaning="something that is open to whoever stands between",
        why="Without a check of the certificate anybody on the way reads and changes all of it.",
        severity=_WARNING,
        bad="tasks: {a: {http: {url: https://example.com/, tls: {verify: false}}}}\n",
        good="tasks: {a: {http: {url: https://example.com/, tls: {ca_file: /etc/ssl/own-ca.pem}}}}\n",
    ),
    Code(
        name="template",
        meaning="the template cannot be had, or could only be checked in part",
        why="Templates are in the folder templates beside the folder of workflows; each is a file of that name.",
        bad="template: no-such-template\n",
        good=_HELLO,
    ),
    Code(
        name="too_long",
        meaning="a text is longer than the kernel passes on",
        why="One argument or variable has 120 KiB at most, all of a task 1 MiB. Put the value into a file.",
        shown="env with a text of 200 KiB",
    ),
    Code(
        name="value",
        meaning="a value that may not stand here",
        why="It is of another kind, out of bounds, or has no unit. The message says what is expected.",
        bad="tasks: {a: {run: echo hello, timeout: 5}}\n",
        good="tasks: {a: {run: echo hello, timeout: 5m}}\n",
    ),
    # ---- Needs ------------------------------------------------------------------------------------------------------
    Code(
        name="cycle",
        meaning="tasks wait for each other",
        why="None of them would ever start. The message shows the circle; take one of the needs out.",
        bad="tasks: {a: {needs: b, run: echo a}, b: {needs: a, run: echo b}}\n",
        good="tasks: {a: {run: echo a}, b: {needs: a, run: echo b}}\n",
    ),
    Code(
        name="needs_twice",
        meaning="a task is named twice in needs",
        why="Once is enough; perhaps another one was meant.",
        severity=_WARNING,
        bad="tasks: {a: {run: echo a}, b: {needs: [a, a], run: echo b}}\n",
        good="tasks: {a: {run: echo a}, b: {needs: [a], run: echo b}}\n",
    ),
    Code(
        name="unknown_need",
        meaning="needs names a task that there is not",
        why="The nearest name is told.",
        bad="tasks: {dump: {run: echo a}, ship: {needs: dmup, run: echo b}}\n",
        good="tasks: {dump: {run: echo a}, ship: {needs: dump, run: echo b}}\n",
    ),
    # ---- Schedules --------------------------------------------------------------------------------------------------
    Code(
        name="cron",
        meaning="not a cron expression, or one whose dates never come",
        why="Five fields: minute, hour, day of month, month, day of week. 30 February never comes.",
        bad='schedule: "0 4 30 2 *"\n' + _HELLO,
        good='schedule: "0 4 28 2 *"\n' + _HELLO,
    ),
    Code(
        name="cron_days",
        meaning="day of month and day of week are both given",
        why="As Debian's cron has it, either one is enough: 13 * fri is each 13th and each Friday. Begin one of the "
        "two fields with * if both must hold.",
        severity=_WARNING,
        bad='schedule: "0 4 13 * fri"\n' + _HELLO,
        good='schedule: "0 4 13 * *"\n' + _HELLO,
    ),
    Code(
        name="cron_step",
        meaning="a step that does not divide its field",
        why="*/25 is at minute 0, 25 and 50 of each hour, so the last step is shorter.",
        severity=_WARNING,
        bad='schedule: "*/25 * * * *"\n' + _HELLO,
        good='schedule: "*/20 * * * *"\n' + _HELLO,
    ),
    Code(
        name="timezone",
        meaning="a time zone that this host does not know",
        why="Zones have names such as Europe/Berlin; abbreviations such as CEST are no zones.",
        bad='schedule: {cron: "0 4 * * *", timezone: Europe/Brelin}\n' + _HELLO,
        good='schedule: {cron: "0 4 * * *", timezone: UTC}\n' + _HELLO,
    ),
    # ---- Expressions ------------------------------------------------------------------------------------------------
    Code(
        name="braces",
        meaning="{{ }} without its $ is plain text",
        why="Other programs write expressions so. It is passed on as it stands.",
        severity=_WARNING,
        bad='params: {x: {default: a}}\ntasks: {a: {run: echo "$X $PARAM_X", env: {X: "{{ params.x }}"}}}\n',
        good='params: {x: {default: a}}\ntasks: {a: {run: echo "$X", env: {X: "${{ params.x }}"}}}\n',
    ),
    Code(
        name="expression",
        meaning="an expression that cannot be read, or stands where none may",
        why="An expression in shell text would make a command of a value. `pyflowctl fix` moves it to a variable.",
        bad="params: {x: {default: a}}\ntasks: {a: {run: 'echo ${{ params.x }}'}}\n",
        good='params: {x: {default: a}}\ntasks: {a: {run: echo "$PARAM_X"}}\n',
    ),
    Code(
        name="not_upstream",
        meaning="an expression speaks of a task that its own does not wait for",
        why="It may not have run yet. Add it to the needs.",
        bad="tasks: {a: {run: echo a}, b: {run: echo b, if: tasks.a.state == 'succeeded'}}\n",
        good="tasks: {a: {run: echo a}, b: {needs: a, run: echo b, if: tasks.a.state == 'succeeded'}}\n",
    ),
    Code(
        name="reference",
        meaning="an expression names something that there is not",
        why="It would fail when the task is about to start. The nearest name is told.",
        bad='params: {day: {default: mon}}\ntasks: {a: {run: echo "$DAY", env: {DAY: "${{ params.dya }}"}}}\n',
        good='params: {day: {default: mon}}\ntasks: {a: {run: echo "$DAY", env: {DAY: "${{ params.day }}"}}}\n',
    ),
    Code(
        name="secret_place",
        meaning="a secret stands where it would be kept, logged or shown",
        why="Secrets are given to processes and servers only: under env, credentials, and headers, auth and body of "
        "a request. Elsewhere they would end up in the store, a log or a message.",
        shown="${{ secrets.token }} in the text of a notification",
    ),
    Code(
        name="undeclared_output",
        meaning="an output that its task does not declare",
        why="Where outputs are declared, one that is not among them is most likely mistyped.",
        severity=_WARNING,
        bad="tasks:\n"
        "  a: {run: pyflow-out set path=/x, outputs: {path: string}}\n"
        '  b: {needs: a, run: echo "$P", env: {P: "${{ tasks.a.outputs.pth }}"}}\n',
        good="tasks:\n"
        "  a: {run: pyflow-out set path=/x, outputs: {path: string}}\n"
        '  b: {needs: a, run: echo "$P", env: {P: "${{ tasks.a.outputs.path }}"}}\n',
    ),
)
