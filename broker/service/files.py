"""What is done with a database's file as a whole: back-up, restore, check, export.

In the process that asks, with a server running or without: who may read the file
may copy it, and nobody is let write one on a server's machine from afar. What is in
use is only read (:mod:`broker.store.snapshot`); what is looked into is a copy.
"""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from itertools import chain
from typing import NamedTuple

from ..commands.archive import write_header, write_record
from ..errors import Internal, Invalid, Unavailable
from ..store import checks, schema
from ..store.dialect import StoreFailure, revision_of
from ..store.owner import OwnerLock, lock_path
from ..store.snapshot import (
    Progress,
    check_free,
    open_unshared,
    partial_copy,
    partial_file,
    private_copy,
    publish,
    refusal,
    snapshot,
)


class Contents(NamedTuple):
    """What a copy of a database holds.

    Attributes:
        file: its path, or that of what was looked at.
        revision: of its schema.
        bytes: of the file.
        users, queues, channels, subscriptions: how many there are; subscriptions'
            queues do not count as queues.
        messages: bodies, each counted once however many wait for it.
        ready, delayed, leased, dead: deliveries by state.
    """

    file: str
    revision: str
    bytes: int
    users: int
    queues: int
    channels: int
    subscriptions: int
    messages: int
    ready: int
    delayed: int
    leased: int
    dead: int


class Checked(NamedTuple):
    """What a check has found.

    Attributes:
        contents: of the database, or None where it is too damaged to tell.
        problems: what is wrong, for people; empty if nothing is.
    """

    contents: Contents | None
    problems: tuple[str, ...]


def back_up(
    database: str, target: str, *, replace: bool = False, progress: Progress | None = None
) -> Contents:
    """Copy a database, in use or not, as it is at one moment.

    The copy is verified and synced before it appears under its name, mode 0600.

    Args:
        database: the path of what is copied; nobody has to wait for it.
        target: the path of the copy.
        replace: whether a file that is there may be replaced.
        progress: told the bytes that are done and those there are.

    Raises:
        NotFound: there is no such database, or no folder for the copy.
        Exists: the target exists, unless ``replace``.
        Invalid: the database is of a newer version, or no broker's; or both are one file.
        Unavailable: it cannot be read, or the copy cannot be written.
        Full: there is no room for the copy.
        Internal: the copy is damaged, and so will the database be.
    """
    target = os.path.abspath(target)
    if os.path.exists(target) and os.path.samefile(database, target):
        raise Invalid(f"{target} is the database itself")
    check_free(target, replace=replace)
    with _failures_told(), snapshot(database) as source:
        _check_revision(database, revision_of(source))
        with partial_copy(source, target, progress) as partial:
            contents = _verified(partial, target)
            publish(partial, target, replace=replace)
    return contents


def restore(
    backup: str, target: str, *, dry_run: bool = False, timeout_s: float = 30.0
) -> Contents:
    """Make a database of a back-up, in a place where there is none.

    It is verified before it appears under its name; one of an older revision is
    upgraded on the way, and the back-up itself stays as it is.

    Args:
        backup: its path; a database in use is copied as it is at one moment.
        target: the path of the new database.
        dry_run: verify and upgrade a temporary copy, and leave nothing behind.
        timeout_s: how long another process may hold the lock of the target, in seconds.

    Returns:
        What is there now, or would be.

    Raises:
        NotFound: there is no such back-up, or no folder for the database.
        Exists: the target exists.
        Invalid: the back-up is of a newer version, or no broker database.
        Unavailable: a server or another process owns the target, or it cannot be written.
        Full: there is no room for it.
        Internal: the back-up is damaged.
    """
    target = os.path.abspath(target)
    with ExitStack() as stack:
        if not dry_run or os.path.exists(lock_path(target)):
            stack.enter_context(_owned(target, timeout_s))
        check_free(target, replace=False)
        stack.enter_context(_failures_told())
        source = stack.enter_context(snapshot(backup))
        revision = _check_revision(backup, revision_of(source))
        if dry_run or revision != schema.HEAD:
            source = stack.enter_context(private_copy(source))
            _refuse_damage(checks.damage(source), backup)
        if revision != schema.HEAD:
            schema.upgrade(source)
        if dry_run:
            _refuse_damage(checks.disorder(source), backup)
            return _contents(source, target)
        with partial_copy(source, target) as partial:
            contents = _verified(partial, target)
            publish(partial, target, replace=False)
    return contents


def check(database: str) -> Checked:
    """Look for damage, wrong counters and orphans, in a temporary copy of a database.

    Raises:
        NotFound: there is none.
        Invalid: it is of a newer version, or no broker database.
        Unavailable: it cannot be read.
        Full: there is no room for the copy.
    """
    try:
        with snapshot(database) as source:
            revision = _check_revision(database, revision_of(source))
            with private_copy(source) as copy:
                damage = checks.damage(copy)
                if damage or revision != schema.HEAD:
                    return Checked(_contents(copy, database) if not damage else None, tuple(damage))
                return Checked(_contents(copy, database), tuple(checks.disorder(copy)))
    except StoreFailure as failure:
        return Checked(None, (str(failure),))


@contextmanager
def exported(database: str, *, with_secrets: bool = False) -> Iterator[tuple[int, Iterator[bytes]]]:
    """Yield how many messages a database has, and the lines of its export.

    The lines are those of one moment, each with its end. They are read from a
    temporary copy, so whoever takes them may be as slow as it likes.

    Args:
        database: the path.
        with_secrets: whether users come with the hashes of their passwords.

    Raises:
        NotFound: there is no such database.
        Invalid: it is of a newer version, or no broker database.
        Unavailable: it cannot be read.
        Full: there is no room for the copy.
    """
    from ..store import export
    from ..store.engine import connection_over

    with ExitStack() as stack:
        stack.enter_context(_failures_told())
        source = stack.enter_context(snapshot(database))
        revision = _check_revision(database, revision_of(source))
        copy = stack.enter_context(private_copy(source))
        if revision != schema.HEAD:
            schema.upgrade(copy)
        messages = _contents(copy, database).messages
        connection = stack.enter_context(connection_over(copy))
        now = time.time_ns() // 1_000_000
        header = export.header_of(connection, now, with_secrets=with_secrets)
        records = export.records_of(connection, now, with_secrets=with_secrets)
        lines = chain([write_header(header)], map(write_record, records))
        yield messages, (line + b"\n" for line in lines)


def export_to_file(lines: Iterator[bytes], target: str, *, replace: bool = False) -> None:
    """Write lines to a file that appears, synced and mode 0600, once all of them are there.

    Raises:
        Exists: the target exists, unless ``replace``.
        Invalid: it is a folder.
        Unavailable: it cannot be written.
        Full: there is no room for it.
    """
    target = os.path.abspath(target)
    check_free(target, replace=replace)
    with partial_file(target) as (partial, descriptor):
        try:
            with os.fdopen(descriptor, "wb", closefd=False) as file:
                file.writelines(lines)
                file.flush()
                os.fsync(descriptor)
        except OSError as error:
            raise refusal(error, target) from error
        publish(partial, target, replace=replace)


def _verified(partial: str, target: str) -> Contents:
    """Return what a copy holds, after a look at all of it."""
    copy = open_unshared(partial)
    try:
        problems = checks.damage(copy)
        if not problems and revision_of(copy) == schema.HEAD:
            problems = checks.disorder(copy)
        _refuse_damage(problems, target)
        return _contents(copy, target)
    finally:
        copy.close()


def _refuse_damage(problems: list[str], what: str) -> None:
    if problems:
        raise Internal(f"the copy for {what} is damaged, and was not kept: {'; '.join(problems)}")


def _check_revision(path: str, revision: str | None) -> str:
    if revision is None:
        raise AssertionError("a snapshot has a revision")
    if revision != schema.HEAD and revision not in schema.known_revisions():
        raise Invalid(
            f"{path} was written by a newer version of the broker (revision {revision!r}, "
            f"this one knows up to {schema.HEAD!r})"
        )
    return revision


@contextmanager
def _failures_told() -> Iterator[None]:
    try:
        yield
    except StoreFailure as failure:
        raise Unavailable(f"the disk or the file failed: {failure}") from failure


@contextmanager
def _owned(path: str, timeout_s: float) -> Iterator[None]:
    """Hold the owner lock of a database that is to be made."""
    lock = OwnerLock(path)
    owner = lock.acquire(timeout_s)
    if owner is not None:
        lock.close()
        raise Unavailable(f"a server (pid {owner.pid}) owns {path}: stop it first")
    try:
        yield
    finally:
        lock.close()


def _contents(copy: sqlite3.Connection, file: str) -> Contents:
    def count(rows: str) -> int:
        return int(copy.execute(f"SELECT count(*) FROM broker_{rows}").fetchone()[0])  # noqa: S608 - a constant

    revision = revision_of(copy) or ""
    has_dead = copy.execute(
        "SELECT count(*) FROM sqlite_master WHERE name = 'broker_dead_deliveries'"
    ).fetchone()[0]
    size = (
        copy.execute("PRAGMA page_count").fetchone()[0]
        * copy.execute("PRAGMA page_size").fetchone()[0]
    )
    return Contents(
        file, revision, size, count("users"), count("queues WHERE channel_id IS NULL"),
        count("channels"), count("subscriptions"), count("messages"),
        count("deliveries WHERE due_at IS NULL"),
        count("deliveries WHERE due_at IS NOT NULL AND leased_by IS NULL"),
        count("deliveries WHERE leased_by IS NOT NULL"),
        count("dead_deliveries") if has_dead else 0,
    )  # fmt: skip
