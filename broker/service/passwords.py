"""Passwords: hashed and compared with bcrypt, always outside a transaction.

One hash takes a quarter of a second on purpose; the writer never waits for it. bcrypt is
imported with the first, for most commands bring none.
"""

from __future__ import annotations

from typing import Any

from ..commands.user import PasswordHash, UserCreate, UserPassword
from ..names import check_password

#: What an unknown name is compared with, so that it costs what a known one does.
_NOBODY = b"$2b$12$CwTycUXWue0Thq9StjUM0uJ8.kZUUhJUsLDxMYXxuP3EvxGFcqOMG"
#: The commands that carry a password.
_CARRIERS = frozenset([UserCreate, UserPassword])


def hash_password(password: str) -> PasswordHash:
    """Return the bcrypt hash of a password.

    Raises:
        Invalid: it is empty or over 72 bytes.
    """
    import bcrypt

    encoded = check_password(password).encode()
    return PasswordHash(bcrypt.hashpw(encoded, bcrypt.gensalt()).decode("ascii"))


def matches(password: str, password_hash: str | None) -> bool:
    """Return whether a password is the one of a hash; without a hash, as slowly, False."""
    import bcrypt

    known = _NOBODY if password_hash is None else password_hash.encode("ascii")
    encoded = password.encode("utf-8", "surrogateescape")[:72]
    return bcrypt.checkpw(encoded, known) and password_hash is not None


def wants_hashing(command: Any) -> bool:
    """Return whether a command carries a password the store must not see."""
    return type(command) in _CARRIERS and command.password is not None


def with_hash(command: Any) -> Any:
    """Return the command with its password hashed, if it carries one."""
    if not wants_hashing(command):
        return command
    return command._replace(password=hash_password(command.password))
