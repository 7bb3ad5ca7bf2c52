"""A definition as root has written it, and what the tasks of root's in it may be started with.

Its files are read as root, with the checks of the daemon's own loader but for one owner, root; then all rights are
given up, for good, and only then what they say is looked at, within the loader's limits.
"""

from __future__ import annotations

import ctypes
import hashlib
import json
import os
import signal
from collections.abc import Iterable, Iterator

from pyflowd.base import trust
from pyflowd.base.filenames import split_name
from pyflowd.folder.listing import list_templates
from pyflowd.folder.loader_child import CPU_LIMIT_S, limit_self
from pyflowd.folder.loader_frames import Folders
from pyflowd.folder.loader_read import Changed, Gone, Outside, Reader
from pyflowd.folder.sources import Sources
from pyflowd.language.assembly import Missing, assemble
from pyflowd.language.definition_text import Part, pack
from pyflowd.model.workflow import Workflow
from pyflowd.rootcheck import plans

_NOBODY = 65534
_PR_SET_NO_NEW_PRIVS = 38
"""From linux/prctl.h."""
_MODULES_MAX = 20_000
_TEMPLATES_MAX_BYTES = 64 << 20


class Unbelievable(Exception):
    """Why what is asked is not root's word: one line."""


def answer(workflows: str, vendor: str, path: str, digest: str) -> str:
    """JSON: `{"tasks": {NAME: plan}}` (`keeper.plan`), or `{"error": why}`."""
    folders = Folders(workflows, vendor)
    try:
        main, drop_ins, templates = read(folders, path)
        host = plans.host_of(workflows)
        code = unsafe_code((*host.python_path, host.plugins))
        give_up_rights()
        workflow = compiled(main, drop_ins, templates, digest, split_name(os.path.basename(path))[0])
        return json.dumps({"tasks": plans.of_root(workflow, host, code)})
    except Unbelievable as error:
        return json.dumps({"error": str(error)})
    except MemoryError:
        return json.dumps({"error": "reading it takes too much memory"})


def read(folders: Folders, path: str) -> tuple[Part, list[Part], dict[str, Part | Missing]]:
    """The definition's own file, its drop-ins, and all templates that there are. Raises Unbelievable."""
    folder, file = os.path.split(path)
    if not folder or folder not in (folders.workflows, folders.vendor):
        both = " or ".join(filter(None, (folders.workflows, folders.vendor)))
        raise Unbelievable(f"it is not in {both}, where files with tasks of root's must be")
    try:
        main, *drop_ins = Reader(folders).file(file)
        return main, drop_ins, _templates(folders)
    except (Gone, Changed):
        raise Unbelievable("it is gone, or is being changed") from None
    except Outside as outside:
        fix = f"; {outside.fix}" if outside.fix else ""
        raise Unbelievable(f"{outside.message}{fix}") from None
    except OSError as error:
        raise Unbelievable(f"it cannot be read: {error.strerror}") from None


def _templates(folders: Folders) -> dict[str, Part | Missing]:
    """Which of them is asked for is not known before the rights to read it are gone."""
    found: dict[str, Part | Missing] = {}
    size_bytes = 0
    for name in Sources(list_templates(folders).entries, folders).template_names:
        try:
            found[name] = part = Reader(folders).template(name)
        except Outside as outside:
            found[name] = Missing(f"{outside.label}: {outside.message}", outside.fix)
            continue
        size_bytes += len(part.data) if isinstance(part, Part) else 0
        if size_bytes > _TEMPLATES_MAX_BYTES:
            raise Unbelievable(f"the templates beside it have more than {_TEMPLATES_MAX_BYTES} bytes")
    return found


def unsafe_code(folders: Iterable[str]) -> str:
    """What is wrong with folders of modules that root may import: all in them must be root's; empty: nothing."""
    for folder in folders:
        if fault := trust.of_folder(folder, 0):
            return f"{fault.message}; {fault.fix}"
        for count, path in enumerate(_files(folder)):
            if count > _MODULES_MAX:
                return f"{folder} has more than {_MODULES_MAX} files"
            if fault := trust.of_file(path, os.stat(path), frozenset({0})):
                return f"{fault.message}; {fault.fix}"
            if os.path.islink(path) and (fault := trust.of_folder(os.path.dirname(os.path.realpath(path)), 0)):
                return f"{fault.message}; {fault.fix}"
    return ""


def _files(folder: str) -> Iterator[str]:
    for path, folders, files in os.walk(folder):
        yield from (os.path.join(path, name) for name in (*folders, *files))


def give_up_rights() -> None:
    """From here on nobody, without a way back, and within the limits of the daemon's loader."""
    limit_self()
    if os.geteuid() == 0:
        os.setgroups([])
        os.setresgid(_NOBODY, _NOBODY, _NOBODY)
        os.setresuid(_NOBODY, _NOBODY, _NOBODY)
    ctypes.CDLL(None).prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    signal.signal(signal.SIGPROF, signal.SIG_DFL)
    signal.setitimer(signal.ITIMER_PROF, CPU_LIMIT_S)


def compiled(
    main: Part, drop_ins: list[Part], templates: dict[str, Part | Missing], digest: str, stem: str
) -> Workflow:
    """The workflow that the texts make, if they are those of the digest. Raises Unbelievable."""
    assembled = assemble(main, drop_ins, lambda name: templates.get(name, Missing(f"there is no {name}")), stem=stem)
    if hashlib.sha256(pack(assembled.parts)).hexdigest() != digest:
        raise Unbelievable(
            "the run began with another text of it than there is now; what root does not say any more is not started: "
            "pyflowctl rerun --latest"
        )
    if assembled.workflow is None:
        raise Unbelievable(f"it is no good definition: {assembled.problems[0]}")
    return assembled.workflow
