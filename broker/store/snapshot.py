"""Whole copies of a database that is in use, made beside whoever owns it.

A copy is read through a connection of its own, in one read transaction, so it is
what was committed at one moment, however much is written meanwhile. The owner lock
is not taken, for it would keep every embedded command out for as long as the copy
takes; what it is for does not arise here (:mod:`.owner`): this connection is opened
read-only, so it neither writes nor checkpoints, not even as the last one to close.
SQLite's own locks do the rest.

While it reads, the owner's log cannot start over: it grows by what is written
meanwhile, and the next commit after that moves all of it into the file. So the copy
is made page by page, which is as fast as the disk, and not by VACUUM INTO, which
sorts every index anew, takes longer, and syncs it all at once. The back-up API
starts over when another process writes, but not inside a read transaction.
"""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from ..errors import BrokerError, Exists, Full, Invalid, NotFound, Unavailable
from .dialect import BUSY_TIMEOUT_MS, revision_of, translated, uri_path
from .owner import OwnerLock

logger = logging.getLogger(__name__)

#: Told the bytes that are done and those there are in all.
Progress = Callable[[int, int], None]

#: Pages copied between two syncs, of 4 KiB: what one sync has to write stays so
#: little that a commit of the owner, on the same disk, hardly waits for it.
STEP_PAGES = 1024


#: What the header of a file without a write-ahead log has as its write and read
#: version (SQLite's "Database File Format", 1.3.3). A copy that says it has one cannot
#: be read without leaving files beside it; whoever writes it next puts it back.
_NO_LOG = b"\x01\x01"
_NO_LOG_OFFSET = 18


@contextmanager
def snapshot(path: str) -> Iterator[sqlite3.Connection]:
    """Yield a read-only connection to what a database holds at this moment.

    A file without a log beside it, as a back-up is, may lie on a medium that cannot
    be written.

    Raises:
        NotFound: it is missing or empty.
        Invalid: it is a folder, or no broker database.
        Unavailable: it cannot be read.
        StoreFailure: an I/O error or a damaged file.
    """
    if not os.path.exists(path):
        raise NotFound(f"there is no database {path}")
    if os.path.isdir(path):
        raise Invalid(f"{path} is a folder, not a database")
    if not os.access(path, os.R_OK):
        raise Unavailable(f"{path} may not be read by this user")
    # As SQLite does for the files beside it.
    path = os.path.realpath(path)
    had_log = _has_log(path)
    with translated(path):
        connection = _open(path)
        try:
            connection.execute("BEGIN")
            if revision_of(connection) is None:
                raise NotFound(f"{path} is an empty file, not yet a database")
            yield connection
        finally:
            connection.close()
            if not had_log and _has_log(path):
                _tidy(path)


def _tidy(path: str) -> None:
    """Have SQLite take away the log that reading has made, if nobody else is there.

    A read-only connection leaves it behind; one that may write takes it along, which
    is for the owner to do, and done by the next one in any case.
    """
    lock = OwnerLock(path)
    try:
        if lock.acquire(0) is None:
            connection = sqlite3.connect(f"file:{uri_path(path)}?mode=rw", uri=True)
            connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
            connection.close()
    except (BrokerError, sqlite3.Error) as error:
        logger.debug("%s keeps its log: %s", path, error)
    finally:
        lock.close()


def _open(path: str) -> sqlite3.Connection:
    connection = sqlite3.connect(
        f"file:{uri_path(path)}?mode=ro",
        uri=True, isolation_level=None, timeout=BUSY_TIMEOUT_MS / 1000,
    )  # fmt: skip
    try:
        connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    except sqlite3.OperationalError as error:
        connection.close()
        # The log's index cannot be made. Without a log nothing is missed by not looking.
        if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_CANTOPEN or _has_log(path):
            raise
        return open_unshared(path)
    return connection


def open_unshared(path: str) -> sqlite3.Connection:
    """Open a database that nobody writes: without locks, and without files beside it."""
    return sqlite3.connect(f"file:{uri_path(path)}?immutable=1", uri=True, isolation_level=None)


def _has_log(path: str) -> bool:
    return any(os.path.exists(f"{path}{ending}") for ending in ("-wal", "-journal"))


@contextmanager
def private_copy(source: sqlite3.Connection) -> Iterator[sqlite3.Connection]:
    """Yield a copy that has no name and is gone with its connection, or with the process.

    It lies where SQLite puts temporary files: ``$SQLITE_TMPDIR``, ``$TMPDIR``,
    ``/var/tmp``. Once this is entered, the source's transaction is over.

    Raises:
        Full: there is no room for it.
    """
    copy = sqlite3.connect("", isolation_level=None)
    try:
        try:
            with translated("a temporary copy"):
                source.backup(copy, pages=STEP_PAGES)
        except Full:
            raise Full(
                "there is no room for a temporary copy: name a folder that has in $SQLITE_TMPDIR"
            ) from None
        _end_reading(source)
        yield copy
    finally:
        copy.close()


@contextmanager
def partial_copy(
    source: sqlite3.Connection, target: str, progress: Progress | None = None
) -> Iterator[str]:
    """Copy a database to ``TARGET.partial``, synced, and yield that path.

    Once this is entered, the source's transaction is over. The body looks at the copy
    and gives it its name with :func:`publish`; what is left of it at the end is
    deleted. One that a killed process has left is overwritten by the next.

    Raises:
        Unavailable: another process is making the same, or it cannot be written.
        Full: there is no room for it.
    """
    with partial_file(target) as (partial, descriptor):
        _copy_into(source, partial, descriptor, progress)
        yield partial


@contextmanager
def partial_file(target: str) -> Iterator[tuple[str, int]]:
    """Yield the path and the descriptor of an empty ``TARGET.partial``, this process's alone.

    The body fills and syncs it, and gives it its name with :func:`publish`.

    Raises:
        Unavailable: another process is making the same, or it cannot be written.
    """
    partial = f"{target}.partial"
    descriptor = _claim(partial)
    try:
        yield partial, descriptor
    finally:
        if os.path.exists(partial):
            os.unlink(partial)
        # Last: it holds the lock on the file.
        os.close(descriptor)


def _claim(partial: str) -> int:
    """Create or empty a file that no other process is filling, for its owner's eyes alone."""
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
    try:
        descriptor = os.open(partial, flags, 0o600)
    except FileNotFoundError:
        raise NotFound(f"there is no folder {os.path.dirname(partial)}") from None
    except OSError as error:
        raise refusal(error, partial) from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if not os.fstat(descriptor).st_nlink:
            raise BlockingIOError
        os.fchmod(descriptor, 0o600)
        os.ftruncate(descriptor, 0)
    except BlockingIOError:
        os.close(descriptor)
        raise Unavailable(f"another process is writing {partial}") from None
    except OSError as error:
        os.close(descriptor)
        raise refusal(error, partial) from error
    return descriptor


def refusal(error: OSError, path: str) -> BrokerError:
    """Return what it means that a copy cannot be written."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return Full(f"there is no room for {path}")
    return Unavailable(f"{path} cannot be written: {error.strerror}")


def _copy_into(
    source: sqlite3.Connection, partial: str, descriptor: int, progress: Progress | None
) -> None:
    page_size = source.execute("PRAGMA page_size").fetchone()[0]

    def after_step(status: int, left: int, total: int) -> None:
        os.fsync(descriptor)
        if progress is not None:
            progress((total - left) * page_size, total * page_size)

    # Without SQLite's own locks: the file is claimed, and some systems let the two
    # kinds of lock conflict. Without its journal: a half copy is thrown away.
    copy = sqlite3.connect(
        f"file:{uri_path(partial)}?mode=rw&nolock=1", uri=True, isolation_level=None
    )
    try:
        with translated(partial):
            copy.execute("PRAGMA journal_mode=OFF").fetchone()
            copy.execute("PRAGMA synchronous=OFF")
            source.backup(copy, pages=STEP_PAGES, progress=after_step)
            _end_reading(source)
        copy.close()
        os.pwrite(descriptor, _NO_LOG, _NO_LOG_OFFSET)
        os.fsync(descriptor)
    except OSError as error:
        raise refusal(error, partial) from error
    finally:
        copy.close()


def _end_reading(source: sqlite3.Connection) -> None:
    """Let the owner's log start over, before anything else is done with the copy."""
    if source.in_transaction:
        source.execute("COMMIT")


def publish(partial: str, target: str, *, replace: bool) -> None:
    """Give a whole, synced copy its name, in one step, and sync the folder.

    Raises:
        Exists: the name is taken and not to be replaced.
        Unavailable: the folder cannot be written.
    """
    try:
        if replace:
            os.replace(partial, target)
        else:
            _rename_to_free(partial, target)
        sync_folder(target)
    except FileExistsError:
        raise Exists(f"{target} exists already") from None
    except OSError as error:
        raise refusal(error, target) from error


def _rename_to_free(partial: str, target: str) -> None:
    """Rename without replacing; a file system without hard links has a moment between."""
    try:
        os.link(partial, target)
    except FileExistsError:
        raise
    except OSError:
        if os.path.lexists(target):
            raise FileExistsError from None
        os.rename(partial, target)
    else:
        os.unlink(partial)


def check_free(target: str, *, replace: bool) -> None:
    """Refuse a name that is taken, or beside which a log lies that SQLite would play into it.

    Raises:
        Exists: there is a file, not to be replaced.
        Invalid: it is a folder.
        Unavailable: there is a log, so somebody uses that name or has been killed with it.
    """
    if os.path.isdir(target):
        raise Invalid(f"{target} is a folder")
    if os.path.lexists(target) and not replace:
        raise Exists(f"{target} exists already")
    for ending in ("-wal", "-shm", "-journal"):
        if os.path.lexists(f"{target}{ending}"):
            raise Unavailable(f"{target}{ending} lies there: {target} is a database in use")


def sync_folder(path: str) -> None:
    """Sync the folder of a file, so that its name survives a power cut."""
    descriptor = os.open(os.path.dirname(path) or ".", os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
