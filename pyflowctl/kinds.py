"""`pyflowctl kinds`: the kinds of task that there are, built in and from plugins, without a daemon.

Plugins are found as the daemon finds them, and asked anew: what is shown is what is there now.
"""

from __future__ import annotations

import os
import textwrap

from pyflowctl import link
from pyflowd import paths
from pyflowd.errors import NotFound, Refused, nearest
from pyflowd.folder.loader_frames import Folders
from pyflowd.language import kinds
from pyflowd.language.assembly import assemble
from pyflowd.language.definition_text import Part
from pyflowd.language.plugins import Plugin
from pyflowd.paths import Paths
from pyflowd.plugins import plugin_survey
from pyflowd.plugins.plugin_checks import check_plugins
from pyflowd.render import render_json, render_kinds
from pyflowd.render.commandline import Words
from pyflowd.render.layout import Style, clean, page

_OF_EXAMPLES = frozenset({"kind", "plugin", "plugin_input", "syntax", "unknown_key"})
"""What an example may not have; the tasks and params that its expressions name are elsewhere."""


def show_kinds(words: Words, style: Style) -> int:
    """The exit status. Raises NotFound, or Refused where the plugin that is asked for cannot be used."""
    folder = Folders(_instance(words.value("root")).workflows).plugins
    name = words.argument(0)
    as_json = words.value("output") == "json"
    if name is None:
        every = _everything(folder)
        shown = (
            render_json.encode([_json(each) for each in every]) if as_json else page(render_kinds.kinds(every, style))
        )
    else:
        one = _built_in(name) or _plugin(name, folder)
        lines = render_kinds.kind(one, style, built_in=_is_built_in(one)) + _of_example(one)
        shown = render_json.encode(_json(one)) if as_json else page(lines)
    link.write(1, shown + (b"\n" if as_json else b""))
    return 0


def _instance(root: str | None) -> Paths:
    """As the daemon is found: `--root`, else a user's own instance where there is one, else the system's."""
    environ, uid = dict(os.environ), os.getuid()
    found = paths.find(root, environ, uid)
    return found if found.root or os.path.isdir(found.workflows) else paths.SYSTEM


def _everything(folder: str) -> list[Plugin]:
    return [*kinds.built_in(), *plugin_survey.known(plugin_survey.survey(folder, kinds.ABOUT)).values()]


def _built_in(name: str) -> Plugin | None:
    return next((each for each in kinds.built_in() if each.name == name), None)


def _plugin(name: str, folder: str) -> Plugin:
    known = plugin_survey.survey_of(folder, {name})
    if name not in known:
        raise NotFound(f'no kind "{name}"{nearest(name, [*kinds.ABOUT, *known])}; `pyflowctl kinds` names all')
    if known[name].error:
        raise Refused(f"the plugin {name} cannot be used: {known[name].error} ({known[name].origin})")
    return known[name]


def _of_example(kind: Plugin) -> list[str]:
    """What is wrong with the example that a plugin gives of itself."""
    if _is_built_in(kind) or not kind.example:
        return []
    text = "tasks:\n  example:\n" + textwrap.indent(kind.example, "    ")
    assembled = assemble(Part(label=kind.name, data=text.encode()), stem="example")
    wrong = [
        problem for problem in check_plugins(assembled, {kind.name: kind}).problems if problem.code in _OF_EXAMPLES
    ]
    return [f"! it would be refused: {clean(problem.message)}" for problem in wrong]


def _is_built_in(kind: Plugin) -> bool:
    return kind.origin == kinds.ORIGIN


def _json(kind: Plugin) -> dict[str, object]:
    return render_kinds.as_json(kind, built_in=_is_built_in(kind))
