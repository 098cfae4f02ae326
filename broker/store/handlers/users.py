"""Users, and who a caller is."""

from __future__ import annotations

from typing import Any, NamedTuple

from ...commands.request import Principal
from ...commands.user import (
    PasswordHash,
    User,
    UserCreate,
    UserDelete,
    UserList,
    UserPassword,
    UserShow,
    Whoami,
)
from ...errors import Conflict, Denied, Exists, NoAuth, NotFound
from ...names import MAX_NAME_LENGTH
from .. import statements as sql
from ..transaction import Transaction
from .channels import end_subscriptions
from .registry import handles
from .rights import check_admin


class UserRow(NamedTuple):
    """A user as the handlers know it."""

    id: int
    name: str
    password_hash: str | None
    uid: int | None
    is_admin: bool
    created_at: int


# --- who a caller is -------------------------------------------------------------


def find_user(tx: Transaction, name: str) -> UserRow | None:
    """Return a user by name."""
    row = tx.one(sql.FIND_USER, (name,))
    return None if row is None else _found(row)


def existing_user(tx: Transaction, name: str) -> UserRow:
    """Return a user by name, or refuse."""
    user = find_user(tx, name)
    if user is None:
        raise NotFound(f"there is no user {name!r}")
    return user


def principal_of_uid(tx: Transaction, uid: int, login: str) -> Principal:
    """Return the user an operating-system uid stands for, made if it is new.

    Whoever comes first to an empty database is its first admin. ``login`` is the
    name the system knows; where a user of that name exists, with a password or
    another uid, the new one is called ``login:uid``, and where that exists too
    ``login:uid:2`` and so on: they are never mixed up, and nobody is kept out by
    whoever registered a name first.
    """
    known: Principal | None = tx.recall(("uid", uid))
    if known is not None:
        return known
    row = tx.one(sql.FIND_PRINCIPAL, (uid,))
    if row is not None:
        user_id, name, is_admin = row
        principal = Principal(user_id, name, bool(is_admin))
        tx.remember(("uid", uid), principal)
        return principal
    first = tx.one(sql.FIRST_USER, ())[0] is None
    return _insert_user(tx, _free_name(tx, uid, login), None, uid, is_admin=first)


def _free_name(tx: Transaction, uid: int, login: str) -> str:
    """Return a name like ``login`` that no user has."""
    name = login
    number = 1
    while find_user(tx, name) is not None:
        ending = f":{uid}" if number == 1 else f":{uid}:{number}"
        name = login[: MAX_NAME_LENGTH - len(ending)] + ending
        number += 1
    return name


def principal_of_name(tx: Transaction, name: str) -> tuple[Principal, str | None] | None:
    """Return a user by name and its password's hash, or None if there is none."""
    user = find_user(tx, name)
    if user is None:
        return None
    return Principal(user.id, user.name, user.is_admin), user.password_hash


def register(tx: Transaction, name: str, password: PasswordHash) -> Principal | None:
    """Make a user that logged in with an unknown name; None if the name is known by now."""
    if find_user(tx, name) is not None:
        return None
    return _insert_user(tx, name, password, None, is_admin=False)


def acting_as(tx: Transaction, principal: Principal, name: str) -> Principal:
    """Return the user on whose behalf ``principal`` asks to act; for admins, or oneself."""
    if name == principal.name:
        return principal
    if not principal.is_admin:
        raise Denied(f"only an admin may act as another user, and {principal.name!r} is none")
    user = existing_user(tx, name)
    return Principal(user.id, user.name, user.is_admin)


# --- commands --------------------------------------------------------------------


@handles(UserCreate)
def create(tx: Transaction, principal: Principal, command: UserCreate) -> None:
    """Create a user."""
    check_admin(principal, "create users")
    if find_user(tx, command.name) is not None:
        if command.if_missing:
            return
        raise Exists(f"the user {command.name!r} exists already")
    if command.uid is not None:
        holder = tx.one(sql.FIND_PRINCIPAL, (command.uid,))
        if holder is not None:
            raise Exists(f"the uid {command.uid} is already the user {holder[1]!r}")
    password = command.password
    if password is not None and not isinstance(password, PasswordHash):
        raise AssertionError("the store takes hashes, no passwords")
    _insert_user(tx, command.name, password, command.uid, is_admin=command.admin)


@handles(UserPassword)
def set_password(tx: Transaction, principal: Principal, command: UserPassword) -> None:
    """Set one's own password, or as an admin anybody's."""
    if command.name != principal.name:
        check_admin(principal, "set the password of another user")
    if not isinstance(command.password, PasswordHash):
        raise AssertionError("the store takes hashes, no passwords")
    user = existing_user(tx, command.name)
    tx.run(sql.SET_PASSWORD, (str(command.password), user.id))
    tx.changes_user(user.id)


@handles(UserList)
def list_users(tx: Transaction, principal: Principal, command: UserList) -> tuple[User, ...]:
    """List users by name."""
    check_admin(principal, "list users")
    return tuple(_record(_found(row)) for row in tx.all(sql.LIST_USERS, ()))


@handles(UserShow)
def show(tx: Transaction, principal: Principal, command: UserShow) -> User:
    """Show oneself, or as an admin anybody."""
    if command.name != principal.name:
        check_admin(principal, "show other users")
    return _record(existing_user(tx, command.name))


@handles(Whoami)
def whoami(tx: Transaction, principal: Principal, command: Whoami) -> User:
    """Show the caller."""
    user = find_user(tx, principal.name)
    if user is None:
        raise NoAuth(f"the user {principal.name!r} is no more")
    return _record(user)


@handles(UserDelete)
def delete_user(tx: Transaction, principal: Principal, command: UserDelete) -> int:
    """Delete a user, its subscriptions with it; what it owns goes to another or holds it."""
    check_admin(principal, "delete users")
    user = find_user(tx, command.name)
    if user is None:
        if command.if_exists:
            return 0
        raise NotFound(f"there is no user {command.name!r}")
    if user.is_admin and _admins(tx) == 1:
        raise Conflict(f"{user.name!r} is the last admin")
    if command.give_to is None:
        _check_owns_nothing(tx, user)
    else:
        heir = existing_user(tx, command.give_to)
        if heir.id == user.id:
            raise Conflict(f"{user.name!r} cannot inherit from itself")
        _give(tx, user.id, heir.id)
    held = end_subscriptions(tx, user.id)
    tx.run(sql.DELETE_USER, (user.id,))
    tx.changes_user(user.id)
    return held


def _check_owns_nothing(tx: Transaction, user: UserRow) -> None:
    queues, channels = tx.one(sql.COUNT_OWNED, (user.id,))
    if queues or channels:
        raise Conflict(
            f"{user.name!r} owns {queues} queues and {channels} channels: name who gets them"
        )


def _give(tx: Transaction, from_id: int, to_id: int) -> None:
    tx.run(sql.GIVE_QUEUES, (to_id, from_id))
    tx.run(sql.GIVE_CHANNELS, (to_id, from_id))
    tx.forget_queues()


def _admins(tx: Transaction) -> int:
    return int(tx.one(sql.COUNT_ADMINS, ())[0])


def _insert_user(
    tx: Transaction, name: str, password: str | None, uid: int | None, *, is_admin: bool
) -> Principal:
    user_id = tx.allocate()
    hashed = None if password is None else str(password)
    tx.run(sql.INSERT_USER, UserRow(user_id, name, hashed, uid, is_admin, tx.now))
    return Principal(user_id, name, is_admin)


def _found(row: Any) -> UserRow:
    user = UserRow(*row)
    # SQLite knows no Booleans.
    return user._replace(is_admin=bool(user.is_admin))


def _record(user: UserRow) -> User:
    return User(user.name, user.uid, user.is_admin, user.password_hash is not None, user.created_at)
