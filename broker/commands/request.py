"""What the store executes: a command on behalf of somebody."""

from __future__ import annotations

from typing import Any, NamedTuple


class Principal(NamedTuple):
    """The authenticated user on whose behalf a command runs.

    A door gets it from the store at login and hands it back with each command;
    it is not trusted to be up to date where it matters that the user still exists.
    """

    id: int
    name: str
    is_admin: bool


class Request(NamedTuple):
    """A command and who asks for it."""

    principal: Principal
    command: Any


class Unfinished(NamedTuple):
    """The outcome of a command that goes in slices: executing ``command`` goes on with it.

    So that a million deletes hold nobody up, other commands run in between.
    """

    command: Any
