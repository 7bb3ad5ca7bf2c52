"""The editor. One form carries the text through all steps, so that it works without scripts and nothing typed is lost;
a module asks the fragments for the same as one types.
"""

from __future__ import annotations

import hashlib

from msgspec import Struct
from msgspec.structs import replace
from starlette.responses import JSONResponse, Response

from pyflowd.base.filenames import is_definition_name
from pyflowd.errors import Forbidden, NotFound, PyflowError, Refused
from pyflowd.language.definition_text import Role, decoded, texts_of
from pyflowd.language.document import DocumentError, decode
from pyflowd.model.problem import Problem, Severity
from pyflowd.protocol.requests import ListWorkflows, SaveDefinition, ShowWorkflow
from pyflowd.protocol.views_workflows import DefinitionView, SavedView, WorkflowPage
from pyflowd.protocol.words import Level
from pyflowd.web.call import Call
from pyflowd.web.drawing import link_to
from pyflowd.web.editor.checker import Checker
from pyflowd.web.editor.jobs import STARTS, AddNeed, AddTask, Check, Checked, Edited, Explain, Help, Text
from pyflowd.web.pages import edit as page
from pyflowd.web.pages.edit import Draft, Verdict
from pyflowd.web.routes import Kind, Route

NEW_FILE = "new-workflow.yaml"
NEEDS_MAX = 100
HELP_MAX = 12
LANE = "edit"
"""Reading a text and drawing its graph may take seconds."""


class There(Struct, frozen=True, kw_only=True):
    """What stands in the folder, as far as whoever asks may know."""

    data: bytes
    digest: str
    """Empty: nothing."""
    refused: str
    """Why it may not be saved."""


# ---- What is there ---------------------------------------------------------------------------------------------------


def _file_of(call: Call, name: str) -> str:
    """The file of a workflow, stale and broken ones among them. Raises NotFound."""
    for each in call.every(WorkflowPage, ListWorkflows()):
        for view in each.workflows:
            if view.workflow == name and view.file:
                return view.file.rpartition("/")[2]
    raise NotFound(f"there is no workflow {name}")


def _there(call: Call, name: str, file: str) -> There:
    try:
        view = call.one(SavedView, SaveDefinition(file=file, data=b"", dry_run=True))
    except Forbidden as error:
        return _in_force(call, name, str(error))
    if view.there is None:
        return There(data=b"", digest="", refused=view.refused)
    # A dry run of nothing says that the text there is not the one that the change began with: that is no reason.
    digest = hashlib.sha256(view.there).hexdigest()
    again = call.one(SavedView, SaveDefinition(file=file, data=view.there, base=digest, dry_run=True))
    return There(data=view.there, digest=digest, refused=again.refused)


def _in_force(call: Call, name: str, refused: str) -> There:
    """To whoever may not change it, the version that holds is shown."""
    view = call.one(DefinitionView, ShowWorkflow(workflow=name))
    parts = texts_of(view.text, view.file)
    main = next((part for part in parts if part.role is Role.WORKFLOW), parts[0])
    return There(data=decoded(main.data).encode(), digest="", refused=refused)


def _may_save(call: Call, file: str) -> str:
    """Why a new file may not be written; empty: it may."""
    if not call.is_admin:
        return "Your level is not admin. Saving needs admin."
    try:
        return call.one(SavedView, SaveDefinition(file=file, data=page.NEW.encode(), dry_run=True)).refused
    except PyflowError as error:
        return str(error)


# ---- The pages -------------------------------------------------------------------------------------------------------


def show(call: Call) -> Response:
    name = call.path["name"]
    file = _file_of(call, name)
    there = _there(call, name, file)
    try:
        text = decode(there.data)
    except DocumentError as error:
        raise Refused(f"{file} cannot be edited here: {error.message}") from None
    draft = Draft(name=name, file=file, text=text, base=there.digest)
    return _drawn(call, draft, there.refused)


def new(call: Call) -> Response:
    file = call.query.get("file") or NEW_FILE
    return _drawn(call, Draft(name="", file=file, text=page.NEW, base=""), _may_save(call, NEW_FILE))


def _drawn(call: Call, draft: Draft, refused: str, *, wrong: str = "", status: int = 200) -> Response:
    verdict = _verdict(call, draft, refused)
    return call.page(
        "edit.html", status, draft=draft, verdict=verdict, refused=refused, wrong=wrong, kinds=list(STARTS),
        crlf="\r\n" in draft.text, lines=draft.text.count("\n") + 1,
    )  # fmt: skip


def _verdict(call: Call, draft: Draft, refused: str) -> Verdict:
    checked = _checked(call, draft)
    problems = checked.problems
    if checked.elsewhere:
        problems = _daemons(call, draft, problems)
    return page.verdict(draft, checked, problems, call.times, refused, task=call.query.get("task", ""))


def _checked(call: Call, draft: Draft) -> Checked:
    try:
        return _checker(call).ask(Checked, Check(text=_text(draft)))
    except Refused as error:
        problem = Problem(file=draft.file, code="too_large", message=str(error))
        return Checked(problems=[problem], tasks=[], readable=False)


def _daemons(call: Call, draft: Draft, problems: list[Problem]) -> list[Problem]:
    """Of a text that is built from what lies on the host, where that may be asked."""
    try:
        view = call.one(SavedView, SaveDefinition(file=draft.file, data=_data(draft), base=draft.base, dry_run=True))
    except PyflowError:
        what = "it is built from a template or uses a plugin, which only administrators may have checked here"
        return [Problem(file=draft.file, severity=Severity.WARNING, code="not_checked", message=what)]
    return [*view.problems, *(each for each in problems if each.severity is Severity.WARNING)]


def _checker(call: Call) -> Checker:
    found = call.http.app.state.web.checker
    assert isinstance(found, Checker)
    return found


def _data(draft: Draft) -> bytes:
    return draft.text.encode()


def _text(draft: Draft) -> Text:
    return Text(file=draft.file, data=_data(draft))


# ---- The form --------------------------------------------------------------------------------------------------------


def act_on(call: Call) -> Response:
    return _act(call, call.path["name"])


def act_on_new(call: Call) -> Response:
    return _act(call, "")


def _draft(call: Call, name: str) -> Draft:
    """What the form brought. A browser sends every line break of a text as two characters."""
    text = call.field("text")
    if call.field("crlf") != "1":
        text = text.replace("\r\n", "\n")
    file = call.field("file").strip() or NEW_FILE
    return Draft(name=name, file=file, text=text, base=call.field("base"))


def _act(call: Call, name: str) -> Response:
    draft = _draft(call, name)
    refused = call.field("refused")
    act, _, detail = call.field("act").partition(":")
    try:
        if not is_definition_name(draft.file):
            raise Refused(f"{draft.file[:80]} is no name of a definition: end it in .yaml, .yml or .json")
        match act:
            case "changes":
                return _changes(call, draft)
            case "over":
                return _changes(call, replace(draft, base=detail))
            case "save":
                return _save(call, draft)
            case "fix" | "add" | "need":
                draft = replace(draft, text=_edited(call, draft, act, detail))
    except PyflowError as error:
        return _drawn(call, draft, refused, wrong=str(error), status=409)
    return _drawn(call, draft, refused)


def _edited(call: Call, draft: Draft, act: str, detail: str) -> str:
    """Raises Refused."""
    if act == "fix":
        line, column, word = [*detail.split(":", 2), "", "", ""][:3]
        known = all(each.isascii() and each.isdigit() and len(each) < 9 for each in (line, column))
        return page.fixed(draft.text, int(line), int(column), word) if known else draft.text
    text = _text(draft)
    if act == "add":
        needs = [value for key, value in call.form if key == "add_needs"][:NEEDS_MAX]
        job: AddTask | AddNeed = AddTask(
            text=text, name=call.field("add_name"), kind=call.field("add_kind"), needs=needs
        )
    else:
        job = AddNeed(text=text, task=call.field("need_of"), need=call.field("need"))
    edited = _checker(call).ask(Edited, job)
    if edited.error:
        raise Refused(edited.error)
    return edited.text


def _changes(call: Call, draft: Draft) -> Response:
    view = call.one(SavedView, SaveDefinition(file=draft.file, data=_data(draft), base=draft.base, dry_run=True))
    there = "" if view.there is None else hashlib.sha256(view.there).hexdigest()
    problems = [problem for problem in view.problems if problem.severity is Severity.ERROR]
    return call.page(
        "edit_changes.html", draft=draft, view=view, shown=page.changes(view, call.times), there=there,
        problems=problems,
        crlf="\r\n" in draft.text,
    )  # fmt: skip


def _save(call: Call, draft: Draft) -> Response:
    view = call.one(SavedView, SaveDefinition(file=draft.file, data=_data(draft), base=draft.base))
    wrong = [problem for problem in view.problems if problem.severity is Severity.ERROR]
    if wrong and not view.written:
        raise Refused(f"{draft.file} was not saved: {wrong[0]}")
    at = link_to("workflows", view.workflow)
    if wrong:
        return call.go(at, f"{view.file} is written. {wrong[0]}", wrong=True)
    if not view.written:
        return call.go(at, f"{view.file} is as it was: nothing is different")
    return call.go(at, f"Saved: {view.file} is in force as version {view.digest[:8]}")


# ---- For the module --------------------------------------------------------------------------------------------------


def check(call: Call) -> Response:
    draft = _draft(call, call.field("name"))
    if not is_definition_name(draft.file):
        draft = replace(draft, file=NEW_FILE)
    verdict = _verdict(call, draft, call.field("refused"))
    return call.fragment("fragments/edit_check.html", draft=draft, verdict=verdict, kinds=list(STARTS))


def edited(call: Call) -> Response:
    """The text after one edit, for a field that keeps its own history."""
    draft = _draft(call, call.field("name"))
    act, _, detail = call.field("act").partition(":")
    try:
        return JSONResponse({"text": _edited(call, draft, act, detail), "error": ""})
    except Refused as error:
        return JSONResponse({"text": "", "error": str(error)})


def help_of(call: Call) -> Response:
    path = [part for part in call.query.get("path", "").split("/") if part]
    return call.fragment("fragments/edit_help.html", help=_checker(call).ask(Help, Explain(path=path[:HELP_MAX])))


ROUTES = [
    Route("/workflows/{name}/edit", show, Kind.PAGE, Level.READ, lane=LANE),
    Route("/workflows/{name}/edit", act_on, Kind.ACTION, Level.READ, "POST", lane=LANE),
    Route("/new", new, Kind.PAGE, Level.READ, lane=LANE),
    Route("/new", act_on_new, Kind.ACTION, Level.READ, "POST", lane=LANE),
    Route("/fragment/edit/check", check, Kind.FRAGMENT, Level.READ, "POST", lane=LANE),
    Route("/fragment/edit/text", edited, Kind.FRAGMENT, Level.READ, "POST", lane=LANE),
    Route("/fragment/edit/help", help_of, Kind.FRAGMENT, Level.READ, lane=LANE),
]
