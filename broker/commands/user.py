"""Commands on users."""

from __future__ import annotations

from typing import Final, NamedTuple

from .grammar import PASSWORD, UID, USER, Argument, Option, Syntax


class User(NamedTuple):
    """Who may act.

    Attributes:
        name: unique.
        uid: the operating-system user it is, or None.
        admin: whether it may do everything.
        password: whether it has one; without one nobody logs in by name.
        created_at: milliseconds since 1970, UTC.
    """

    name: str
    uid: int | None
    admin: bool
    password: bool
    created_at: int


class PasswordHash(str):
    """A bcrypt hash. Doors pass passwords, the service hashes them outside the
    writer, and the store takes nothing but this."""

    __slots__ = ()


class UserCreate(NamedTuple):
    """Create a user; for admins."""

    name: str
    password: str | None = None
    uid: int | None = None
    admin: bool = False
    if_missing: bool = False


class UserPassword(NamedTuple):
    """Set a password: one's own, an admin anybody's."""

    name: str
    password: str


class UserList(NamedTuple):
    """List the users by name."""


class UserShow(NamedTuple):
    """Show one user."""

    name: str


class UserDelete(NamedTuple):
    """Delete a user with its subscriptions; for admins.

    One who owns queues or channels is deleted only with ``give_to``, the user
    who gets them. Answers how many messages waited in the subscriptions.
    """

    name: str
    give_to: str | None = None
    if_exists: bool = False


class Whoami(NamedTuple):
    """Show the user on whose behalf this runs."""


_NAMED = (Argument("name", USER),)

SYNTAX: Final = (
    Syntax(
        ("USER", "CREATE"), UserCreate, _NAMED,
        (
            Option("PASSWORD", "password", PASSWORD, "the password to log in with"),
            Option("UID", "uid", UID, "the operating-system user it is"),
            Option("ADMIN", "admin", None, "may do everything"),
            Option("IFMISSING", "if_missing", None, "no error if it exists"),
        ),
        "ok", "Create a user (admins only).", creates=True,
    ),
    Syntax(
        ("USER", "PASSWORD"), UserPassword, (*_NAMED, Argument("password", PASSWORD)), (),
        "ok", "Set my password, an admin anybody's.",
    ),
    Syntax(("USER", "LIST"), UserList, (), (), "records", "List users.", User, reads=True),
    Syntax(
        ("USER", "SHOW"), UserShow, _NAMED, (), "record", "Show a user.", User, reads=True
    ),
    Syntax(
        ("USER", "DELETE"), UserDelete, _NAMED,
        (
            Option("GIVETO", "give_to", USER, "who gets what the user owns"),
            Option("IFEXISTS", "if_exists", None, "no error if there is none"),
        ),
        "count", "Delete a user and its subscriptions (admins only).",
    ),
    Syntax(
        ("WHOAMI",), Whoami, (), (), "record", "Show who I am.", User, reads=True
    ),
)  # fmt: skip
