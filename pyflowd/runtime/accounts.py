"""As whom a task runs: the user that it names, else the owner of its definition, else the settings' `default_user`.

What cannot be resolved is an error of the start, or is left to the keeper, which refuses it: nothing falls back to
another account. Looks at the host's accounts; it starts nothing.
"""

from __future__ import annotations

import os

from msgspec import Struct

from pyflowd.base import names
from pyflowd.base.trust import name_of
from pyflowd.model.workflow import Task, Workflow

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class Account(Struct, frozen=True, kw_only=True):
    """The user that a task runs as."""

    name: str
    home: str
    path: str = PATH
    uid: int | None = None


class UnknownUser(ValueError):
    """The owner of a definition has no account any more."""

    def __init__(self, uid: int) -> None:
        super().__init__(
            f"the definition belongs to uid {uid}, which no user of this host has: give its file to one (chown)"
        )


class Accounts(Struct, frozen=True, kw_only=True):
    """What is known of users before a task is."""

    own: Account
    default_user: str = ""
    """For what is root's word and names nobody; empty: the daemon's own account."""

    def named(self, user: str) -> Account:
        """The account of that name; one that cannot be resolved is left to the keeper, which refuses it."""
        if user == self.own.name:
            return self.own
        entry = names.account_named(user)
        if entry is None:
            return Account(name=user, home="/")
        return Account(name=user, home=home_of(entry.pw_dir), uid=entry.pw_uid)

    def of_task(self, workflow: Workflow, task: Task) -> Account:
        """As whom a task runs. Raises UnknownUser."""
        name = task.user or workflow.user
        if name:
            return self.named(name)
        if workflow.owner_uid is not None:
            return self._of_uid(workflow.owner_uid)
        return self.named(self.default_user) if self.default_user else self.own

    def _of_uid(self, uid: int) -> Account:
        if uid == self.own.uid:
            return self.own
        entry = names.account_of_uid(uid)
        if entry is None:
            raise UnknownUser(uid)
        return self.named(entry.pw_name)

    def name_of_task(self, workflow: Workflow, task: Task) -> str:
        """The same for people: the user's name, or `uid N` where there is none."""
        if task.user or workflow.user:
            return task.user or workflow.user or ""
        if workflow.owner_uid is not None:
            return name_of(workflow.owner_uid)
        return self.default_user or self.own.name

    def are_others(self, users: frozenset[str], owner_uid: int | None) -> bool:
        """Whether tasks run as others than the daemon. `users`: those that they name; empty text: some name none."""
        if "" in users and owner_uid is not None:
            return owner_uid != self.own.uid or not users <= {"", self.own.name}
        inherited = {self.default_user} if "" in users and self.default_user else set()
        return not users | inherited <= {"", self.own.name}


def home_of(folder: str) -> str:
    """A user's home folder; / where there is none, as of `nobody`: cron and systemd begin there then."""
    try:
        os.stat(folder)
    except FileNotFoundError:
        return "/"
    except OSError:
        pass  # it is there, though not for us to see
    return folder
