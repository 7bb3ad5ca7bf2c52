"""Codes of what lint looks for beyond what the daemon refuses: it would only show when the workflow runs."""

from __future__ import annotations

from pyflowd.lint.lint_code import Code
from pyflowd.model.problem import Severity

_WARNING = Severity.WARNING

ADVICE: tuple[Code, ...] = (
    # ---- Expressions ------------------------------------------------------------------------------------------------
    Code(
        name="condition_type",
        meaning="a condition that is neither true nor false",
        why="What else counts as true differs from language to language, so nothing else does: a condition that is a "
        "text fails its task when it is asked.",
        bad="params: {full: {default: 'yes'}}\ntasks: {a: {run: echo hello, if: params.full}}\n",
        good="params: {full: {type: boolean, default: true}}\ntasks: {a: {run: echo hello, if: params.full}}\n",
    ),
    Code(
        name="never_equal",
        meaning="a comparison that is always true, or never",
        why="A number is not equal to a text, and a state has the few values that it has. A condition that never holds "
        "skips its task for ever, without an error. The `if` of a task is asked when its trigger_rule holds: under "
        "all_ok nothing that it needs has failed.",
        severity=_WARNING,
        bad="tasks:\n  a: {run: echo a}\n"
        "  b: {needs: a, trigger_rule: all_done, if: tasks.a.state == 'sucess', run: echo b}\n",
        good="tasks:\n  a: {run: echo a}\n"
        "  b: {needs: a, trigger_rule: all_done, if: tasks.a.state == 'failed', run: echo b}\n",
    ),
    Code(
        name="pattern",
        meaning="matches() with a pattern that is none",
        why="The pattern is written out, so that it can be looked at now: it would fail each time.",
        bad="params: {x: {default: a}}\ntasks: {a: {run: echo a, if: \"matches(params.x, '[a-z')\"}}\n",
        good="params: {x: {default: a}}\ntasks: {a: {run: echo a, if: \"matches(params.x, '[a-z]+')\"}}\n",
    ),
    Code(
        name="type",
        meaning="an operator or function gets a value of a kind that it does not take",
        why="Whatever the values are, it would fail when it is asked: the declared types of params and outputs, states "
        "and literals say so. What is not known is never told of.",
        bad="params: {n: {type: integer, default: 3}}\ntasks: {a: {run: echo a, if: params.n > '2'}}\n",
        good="params: {n: {type: integer, default: 3}}\ntasks: {a: {run: echo a, if: params.n > 2}}\n",
    ),
    # ---- Tasks ------------------------------------------------------------------------------------------------------
    Code(
        name="approval_default",
        meaning="an approval with choices may be approved by its timeout, without a choice",
        why="Its output choice is absent then, and what reads it fails. Say which choice counts.",
        severity=_WARNING,
        bad="tasks:\n  ask: {approval: {message: Go?, choices: [test, live], timeout: 1h, on_timeout: approve}}\n",
        good="tasks:\n"
        "  ask: {approval: {message: Go?, choices: [test, live], default: test, timeout: 1h, on_timeout: approve}}\n",
    ),
    Code(
        name="reboot_user",
        meaning="a task is to restart the host, and would not be root",
        why="Only root may restart a host: the task fails when it starts. Where pyflowd itself is root it need not be "
        "written.",
        severity=_WARNING,
        bad="tasks: {restart: {reboot: {}}}\n",
        good="tasks: {restart: {reboot: {}, user: root}}\n",
    ),
    Code(
        name="capture_leftover",
        meaning="output is captured of a task that may leave processes running",
        why="What is left holds standard output open, so what was said is not complete when the task ends.",
        severity=_WARNING,
        bad="tasks: {a: {run: echo hello, capture: stdout, leftover: allow}}\n",
        good="tasks: {a: {run: pyflow-out set text=hello, leftover: allow}}\n",
    ),
    Code(
        name="item_key",
        meaning="items with lists or mappings in them have no key of their own",
        why="An item is known by its key in the log, in `pyflowctl cancel` and when a run is done again. Without key: "
        "that of a nested item is its whole JSON text, which any change makes another.",
        severity=_WARNING,
        bad='tasks: {a: {for_each: [{name: web, ports: [80, 443]}], run: echo "$N", env: {N: "${{ item.name }}"}}}\n',
        good="tasks:\n"
        '  a: {for_each: [{name: web, ports: [80, 443]}], key: "${{ item.name }}", run: echo "$N", '
        'env: {N: "${{ item.name }}"}}\n',
    ),
    Code(
        name="unreachable",
        meaning="a task that never runs",
        why="Its if is always false, its trigger_rule can never hold, or what it needs never runs.",
        severity=_WARNING,
        bad="tasks:\n  a: {run: echo a, continue_on_error: true}\n"
        "  b: {needs: a, trigger_rule: any_failed, run: echo b}\n",
        good="tasks: {a: {run: echo a}, b: {needs: a, trigger_rule: any_failed, run: echo b}}\n",
    ),
    Code(
        name="unused_output",
        meaning="nothing reads what a task gives on, though others wait for it",
        why="It was perhaps meant to be read. What the last task of a run gives on is for people, and not told of.",
        severity=_WARNING,
        bad="tasks:\n  a: {run: pyflow-out set path=/x, outputs: {path: string}}\n  b: {needs: a, run: echo done}\n",
        good="tasks:\n"
        "  a: {run: pyflow-out set path=/x, outputs: {path: string}}\n"
        '  b: {needs: a, run: echo "$P", env: {P: "${{ tasks.a.outputs.path }}"}}\n',
    ),
    Code(
        name="unused_param",
        meaning="nothing reads a param",
        why="It can be given and does nothing. A workflow that starts a program of your own is not told of, as that "
        "may read any variable.",
        severity=_WARNING,
        bad="params: {day: {default: mon}}\ntasks: {a: {run: echo hello}}\n",
        good='params: {day: {default: mon}}\ntasks: {a: {run: echo "$PARAM_DAY"}}\n',
    ),
    # ---- The host ---------------------------------------------------------------------------------------------------
    Code(
        name="clock_change",
        meaning="a schedule falls into a coming clock change",
        why="The time does not exist in one night and comes twice in another. It runs once each time: at the end of "
        "the gap, and the first time. Write dst: to say that this is meant, or how it should be.",
        severity=_WARNING,
        bad='schedule: {cron: "30 2 * * *", timezone: Europe/Berlin}\ntasks: {a: {run: echo a}}\n',
        good='schedule: {cron: "30 2 * * *", timezone: Europe/Berlin, dst: debian}\ntasks: {a: {run: echo a}}\n',
    ),
    Code(
        name="unknown_channel",
        meaning="a channel that the settings do not have",
        why="The message would wait in the spool, or the task fail. Told only where the settings are found.",
        severity=_WARNING,
        shown="notify: oncal beside a pyflowd.yaml with the channel oncall",
    ),
    Code(
        name="unknown_calendar",
        meaning="a calendar that this host does not have",
        why="Nothing fires blindly: the schedule is held, and status says so, until there is one. Told only where the "
        "settings are found.",
        severity=_WARNING,
        shown="calendar: workday beside a pyflowd.yaml with the calendar workdays",
    ),
    Code(
        name="unknown_blackout",
        meaning="a blackout that this host does not have",
        why="The schedule is held, and status says so, until there is one. Told only where the settings are found.",
        severity=_WARNING,
        shown="blackout: freez beside a pyflowd.yaml with the blackout freeze",
    ),
    Code(
        name="never_fires",
        meaning="a schedule whose calendars and blackouts leave none of its times",
        why="Each of its slots would be skipped: within five years they leave no time of the schedule free.",
        severity=_WARNING,
        shown='schedule: {cron: "0 9 * * sun", calendar: workdays}, where workdays are Monday to Friday',
    ),
    Code(
        name="past_time",
        meaning="a time under at: that is past",
        why="What is past when a file is loaded never fires: a new definition has no past.",
        severity=_WARNING,
        bad="schedule: {at: '2020-01-01 12:00'}\ntasks: {a: {run: echo hello}}\n",
        good="schedule: {at: '2999-01-01 12:00'}\ntasks: {a: {run: echo hello}}\n",
    ),
    Code(
        name="unknown_user",
        meaning="a user that this host does not have",
        why="The task could not be started. Look at the file on the host where it is to run.",
        severity=_WARNING,
        bad="tasks: {a: {run: echo a, user: no-such-user}}\n",
        good="tasks: {a: {run: echo a, user: root}}\n",
    ),
    Code(
        name="unknown_group",
        meaning="a group in visible_to or operate_by that this host does not have",
        why="It gives nobody anything: where it is the only one, administrators alone see or operate the workflow.",
        severity=_WARNING,
        bad="operate_by: no-such-group\ntasks: {a: {run: echo a}}\n",
        good="operate_by: root\ntasks: {a: {run: echo a}}\n",
    ),
    Code(
        name="unverified_hook",
        meaning="a webhook whose deliveries prove nothing",
        why="Whoever reaches the hook starts runs, with what he likes as their event. Let the sender sign.",
        severity=_WARNING,
        bad="triggers: {push: {webhook: deploy}}\ntasks: {a: {run: echo a}}\n",
        good="triggers: {push: {webhook: {hook: deploy, verify: {github: deploy_hook}}}}\ntasks: {a: {run: echo a}}\n",
    ),
    Code(
        name="unknown_workflow",
        meaning="a task calls a workflow that is not beside the file",
        why="The task would fail if it is not there by then.",
        severity=_WARNING,
        bad="tasks: {a: {workflow: no-such-workflow}}\n",
        good="tasks: {a: {run: echo a}}\n",
    ),
    # ---- Shell text -------------------------------------------------------------------------------------------------
    Code(
        name="cd_unchecked",
        meaning="cd in a shell that goes on after an error",
        why="If the folder is not there, what follows runs in another one; rm too.",
        severity=_WARNING,
        bad='tasks: {a: {shell: [bash, -c], run: "cd /srv/data; ls"}}\n',
        good='tasks: {a: {shell: [bash, -c], run: "cd /srv/data || exit; ls"}}\n',
    ),
    Code(
        name="eval",
        meaning="eval of a value that comes with the run",
        why="The value is read as commands: whoever starts the run chooses what it does.",
        severity=_WARNING,
        bad='params: {command: {}}\ntasks: {a: {run: eval "$PARAM_COMMAND"}}\n',
        good='params: {command: {enum: [start, stop]}}\ntasks: {a: {run: systemctl "$PARAM_COMMAND" app}}\n',
    ),
    Code(
        name="injection",
        meaning="a value becomes part of the text of another shell",
        why="sh -c and ssh read their argument as commands, so a value with $(...) or ; in it is one. Single quotes "
        "leave the variable to the inner shell; a task with ssh: passes values apart from the text.",
        severity=_WARNING,
        bad="params: {file: {}}\ntasks: {a: {run: 'sh -c \"cat -- $PARAM_FILE\"'}}\n",
        good='params: {file: {}}\ntasks: {a: {run: "sh -c \'cat -- \\"$PARAM_FILE\\"\'"}}\n',
    ),
    Code(
        name="option_injection",
        meaning="a value may be taken for an option",
        why="A program that takes options takes a value that begins with - for one: rm for -rf, tar for a command to "
        "run. Write -- before it, or give the param a pattern that does not begin so.",
        severity=_WARNING,
        bad='params: {file: {}}\ntasks: {a: {run: rm "$PARAM_FILE"}}\n',
        good='params: {file: {}}\ntasks: {a: {run: rm -- "$PARAM_FILE"}}\n',
    ),
    Code(
        name="secret_mapping",
        meaning="a variable gets the JSON text of {secret: NAME}, and no secret",
        why="pyflowd.yaml names secrets so; in a workflow an expression does: ${{ secrets.NAME }}.",
        severity=_WARNING,
        bad="tasks: {a: {run: 'curl \"$URL\"', env: {URL: {secret: api_url}}}}\n",
        good="tasks: {a: {run: 'curl \"$URL\"', env: {URL: '${{ secrets.api_url }}'}}}\n",
    ),
    Code(
        name="secret_in_log",
        meaning="a secret is written to the log",
        why="Secrets are masked in logs where they are known as they are; a part of one, or one in another form, is "
        "not. Do not print it, and leave set -x out.",
        severity=_WARNING,
        shown='echo "$TOKEN" in a task whose env takes TOKEN from a secret',
    ),
    Code(
        name="shell_syntax",
        meaning="the shell cannot read the text",
        why="`bash -n`, or `sh -n`, says so: it was asked to read the text and to run nothing.",
        bad="tasks: {a: {run: 'if true; then echo yes'}}\n",
        good="tasks: {a: {run: 'if true; then echo yes; fi'}}\n",
    ),
    Code(
        name="unknown_param",
        meaning="$PARAM_X without a param of that name",
        why="The variable is not there; the default shell ends with an error, others take it for nothing.",
        severity=_WARNING,
        bad='params: {file: {}}\ntasks: {a: {run: cat -- "$PARAM_FILE" "$PARAM_FLIE"}}\n',
        good='params: {file: {}}\ntasks: {a: {run: cat -- "$PARAM_FILE"}}\n',
    ),
    Code(
        name="unsized_pool",
        meaning="a pool that has no size",
        why="It has one slot, as a lock has, so that tasks wait for each other that need not. Mostly its name is "
        "misspelt. Told only of files in a workflows folder.",
        severity=_WARNING,
        shown="pool: crm-apo beside a workflow with pools: {crm-api: 4}",
    ),
    Code(
        name="unquoted",
        meaning="a variable without quotes whose value may be split",
        why="The shell makes several words of a value with blanks, and names of files of * and ?. Put it in double "
        "quotes. Numbers, what is written out, and what a pattern keeps whole are not told of.",
        severity=_WARNING,
        bad="params: {file: {}}\ntasks: {a: {run: cat -- $PARAM_FILE}}\n",
        good='params: {file: {}}\ntasks: {a: {run: cat -- "$PARAM_FILE"}}\n',
    ),
)
