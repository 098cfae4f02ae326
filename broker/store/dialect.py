"""What differs between databases: opening, beginning, and what their errors mean.

Only SQLite is here; a second database is a second class with these methods.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from typing import Final

from ..errors import BrokerError, Full, Invalid, Unavailable
from ..tables import VERSION_TABLE

#: `RETURNING`, which the allocation of ids uses.
OLDEST_SQLITE = (3, 35, 0)
#: SQLite waits so long for a lock. The owner lock keeps every other process of
#: ours away; this is for a foreign tool that reads the file beside us.
BUSY_TIMEOUT_MS = 5000
#: Pages (of 4 KiB) in the write-ahead log after which a commit checkpoints it; not that of
#: a server, which has :mod:`.checkpoints`.
AUTOCHECKPOINT_PAGES = 1000
#: What a checkpointed log may keep on disk.
WAL_LIMIT_BYTES = 64 * 1024 * 1024
CACHE_KIB = 16 * 1024
#: File systems whose shared memory or locks do not hold what WAL asks of them.
UNSUITABLE_FILE_SYSTEMS = frozenset(
    ["nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "afs", "ceph", "glusterfs", "lustre", "virtiofs",
     "fuse.sshfs", "fuse.s3fs", "fuse.rclone", "fuse.glusterfs", "vboxsf", "prl_fs", "davfs"]
)  # fmt: skip
#: What SQLite binds as NULL too, for it has no NaN. The driver asks each None, and no float,
#: whether it wants to be something else: that takes longer than the rest of a parameter.
NULL: Final = float("nan")


class StoreFailure(Exception):
    """The database failed in a way that leaves the outcome of a commit unknown.

    No reply may be sent for what was in that transaction, and nothing more may
    be written through this connection.
    """


class SQLiteDialect:
    """SQLite in WAL mode with a sync at every commit."""

    name = "sqlite"

    def __init__(self, path: str) -> None:
        self.path = path

    def connect(self) -> sqlite3.Connection:
        """Return a connection, set up as it must be; transactions begin by :func:`begin`.

        The driver's implicit transactions are off (``isolation_level=None``). Its
        ``autocommit=True`` is no substitute: there ``commit()`` does nothing.
        """
        if sqlite3.sqlite_version_info < OLDEST_SQLITE:
            raise Unavailable(
                f"SQLite {sqlite3.sqlite_version} is too old, 3.35 or later is needed"
            )
        uri = f"file:{uri_path(self.path)}?mode=rw"
        connection = sqlite3.connect(
            uri,
            uri=True,
            isolation_level=None,
            check_same_thread=False,
            timeout=BUSY_TIMEOUT_MS / 1000,
            cached_statements=256,
        )
        try:
            self._prepare(connection)
        except BaseException:
            connection.close()
            raise
        return connection

    def _prepare(self, connection: sqlite3.Connection) -> None:
        execute = connection.execute
        if execute("PRAGMA page_count").fetchone()[0] == 0:
            # Before the first page is written, or it has no effect; and not later,
            # for then it writes, and an open would cost a sync.
            execute("PRAGMA auto_vacuum=INCREMENTAL")
        elif execute("PRAGMA journal_mode").fetchone()[0] != "wal":
            # The next pragma would write: into what may not be ours.
            tables = execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
            check_is_ours([name for (name,) in tables])
        mode = execute("PRAGMA journal_mode=WAL").fetchone()[0]
        if mode != "wal":
            raise Unavailable(f"{self.path} cannot be put into WAL mode (it stays in {mode!r})")
        execute("PRAGMA synchronous=FULL")
        # macOS: to the platter, which its fsync alone does not promise; elsewhere no difference.
        execute("PRAGMA fullfsync=ON")
        execute("PRAGMA foreign_keys=ON")
        execute(f"PRAGMA wal_autocheckpoint={AUTOCHECKPOINT_PAGES}")
        execute(f"PRAGMA journal_size_limit={WAL_LIMIT_BYTES}")
        execute(f"PRAGMA cache_size=-{CACHE_KIB}")
        execute("PRAGMA temp_store=MEMORY")
        # Some systems build SQLite so that each page that becomes free is zeroed, and so
        # written to the log and the file: at 1 KiB, half of what an ack writes. Deleted
        # bytes in pages that are written anyway are zeroed still.
        execute("PRAGMA secure_delete=FAST")
        execute("PRAGMA trusted_schema=OFF")

    def check_file_system(self) -> None:
        """Refuse a network or virtual file system, where WAL can lose what it synced.

        Linux tells the type in ``/proc``; elsewhere nothing is checked. Set
        ``BROKER_ANY_FILESYSTEM=1`` to take the risk.

        Raises:
            Unavailable: the folder is on such a file system.
        """
        kind = _file_system_of(os.path.dirname(self.path) or ".")
        if kind in UNSUITABLE_FILE_SYSTEMS and not os.environ.get("BROKER_ANY_FILESYSTEM"):
            raise Unavailable(
                f"{self.path} is on a {kind} file system, which does not keep SQLite's promises; "
                "choose a local disk (or set BROKER_ANY_FILESYSTEM=1 to take the risk)"
            )


def free_pages(connection: sqlite3.Connection) -> tuple[int, int]:
    """Return how many pages of the file are free, and how many bytes each has."""
    execute = connection.execute
    return (
        int(execute("PRAGMA freelist_count").fetchone()[0]),
        int(execute("PRAGMA page_size").fetchone()[0]),
    )


def give_back(connection: sqlite3.Connection, pages: int) -> None:
    """Move pages from the end of the file to free places; a checkpoint then cuts it."""
    cursor = connection.cursor()
    cursor.execute(f"PRAGMA incremental_vacuum({pages:d})")
    # It does a page a step.
    cursor.fetchall()
    cursor.close()


def cut_file(connection: sqlite3.Connection) -> None:
    """Move the log into the file and cut both; outside of a transaction.

    As far as no reader, such as a back-up, needs the log; for such it does not wait.
    """
    cursor = connection.cursor()
    cursor.execute("PRAGMA busy_timeout=0")
    try:
        cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        cursor.fetchall()
    finally:
        cursor.execute(f"PRAGMA busy_timeout={BUSY_TIMEOUT_MS}")
        cursor.close()


def check_is_ours(tables: Collection[str]) -> None:
    """Refuse a database that has tables, but not the broker's.

    Raises:
        Invalid: it belongs to another program.
    """
    if tables and VERSION_TABLE not in tables:
        raise Invalid("the file is the database of another program")


def revision_of(connection: sqlite3.Connection) -> str | None:
    """Return the revision of a database, or None if it is empty.

    Raises:
        Invalid: it has tables, but not the broker's, or does not say their revision.
    """
    rows = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
    tables = {name for (name,) in rows}
    check_is_ours(tables)
    if not tables:
        return None
    try:
        row = connection.execute(
            f"SELECT version_num FROM {VERSION_TABLE}"  # noqa: S608 - a constant
        ).fetchone()
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode != sqlite3.SQLITE_ERROR:
            raise
        raise Invalid(f"the table {VERSION_TABLE} does not say the revision: {error}") from error
    if row is None:
        raise Invalid("the database has tables but no revision: restore a back-up")
    return str(row[0])


@contextmanager
def translated(path: str) -> Iterator[None]:
    """Translate the driver's errors into the broker's, where none is open yet.

    Raises:
        BrokerError, StoreFailure: what an error of the database means.
    """
    try:
        yield
    except sqlite3.Error as error:
        meaning = translate(path, error)
        if meaning is None:
            raise
        raise meaning from error


def translate(
    path: str, error: sqlite3.Error, *, is_open: bool = False
) -> BrokerError | StoreFailure | None:
    """Return what a driver's error means, or None if it is no error of the database.

    A :class:`StoreFailure` is returned for I/O errors and a damaged file.

    Args:
        path: of the database.
        error: what the driver raised.
        is_open: whether it was open already, so that something may have been written.
    """
    code = getattr(error, "sqlite_errorcode", None)
    if code in _OF_THE_INDEX and not is_open:
        return _cannot_open(path, error)
    primary = code & 0xFF if isinstance(code, int) else None
    meaning = _MEANINGS.get(primary) if primary is not None else None
    return meaning(path, error) if meaning else None


def begin(cursor: sqlite3.Cursor) -> int:
    """Begin a transaction that may write.

    Returns:
        A number that is another once some other connection has written.
    """
    cursor.execute("BEGIN IMMEDIATE")
    version: int = cursor.execute("PRAGMA data_version").fetchone()[0]
    return version


def commit(cursor: sqlite3.Cursor) -> None:
    """Commit it; a refused one leaves the transaction, and its lock, open.

    Whatever statement the cursor was at is over by that.
    """
    cursor.execute("COMMIT")


def _full(path: str, error: sqlite3.Error) -> BrokerError:
    return Full(f"the disk of {path} is full")


def _not_a_database(path: str, error: sqlite3.Error) -> BrokerError:
    return Invalid(f"{path} is not a broker database")


def _read_only(path: str, error: sqlite3.Error) -> BrokerError:
    return Unavailable(f"{path} cannot be written (read-only file or folder)")


def _cannot_open(path: str, error: sqlite3.Error) -> BrokerError:
    if _is_full(path):
        return _full(path, error)
    return Unavailable(f"{path} cannot be opened: {error}")


def _busy(path: str, error: sqlite3.Error) -> BrokerError:
    return Unavailable(f"another program holds a lock on {path}")


#: The index of the log could not be made or grown. As a database is opened nothing
#: was written; at a commit it comes last, when all is in the log and synced.
_OF_THE_INDEX = frozenset(
    [sqlite3.SQLITE_IOERR_SHMOPEN, sqlite3.SQLITE_IOERR_SHMSIZE, sqlite3.SQLITE_IOERR_SHMMAP]
)


def _is_full(path: str) -> bool:
    """Return whether a file system has no block, or can hold no file, more."""
    try:
        disk = os.statvfs(os.path.dirname(path) or ".")
    except OSError:
        return False
    return disk.f_bavail == 0 or (disk.f_files > 0 and disk.f_favail == 0)


def _failure(path: str, error: sqlite3.Error) -> StoreFailure:
    return StoreFailure(f"{path}: {error}")


_MEANINGS: dict[int, Callable[[str, sqlite3.Error], BrokerError | StoreFailure]] = {
    sqlite3.SQLITE_FULL: _full,
    sqlite3.SQLITE_NOTADB: _not_a_database,
    sqlite3.SQLITE_READONLY: _read_only,
    sqlite3.SQLITE_PERM: _read_only,
    sqlite3.SQLITE_CANTOPEN: _cannot_open,
    sqlite3.SQLITE_AUTH: _cannot_open,
    sqlite3.SQLITE_BUSY: _busy,
    sqlite3.SQLITE_LOCKED: _busy,
    sqlite3.SQLITE_PROTOCOL: _busy,
    sqlite3.SQLITE_IOERR: _failure,
    sqlite3.SQLITE_CORRUPT: _failure,
    sqlite3.SQLITE_NOMEM: _failure,
}


def uri_path(path: str) -> str:
    """Return a path as it stands in a ``file:`` URI."""
    from urllib.parse import quote

    return quote(os.path.abspath(path))


def _file_system_of(folder: str) -> str | None:
    """Return the type of the file system of ``folder``, or None where /proc does not say."""
    try:
        with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as mounts:
            lines = mounts.readlines()
    except OSError:
        return None
    real = os.path.realpath(folder)
    best, kind = "", None
    for line in lines:
        fields, _, rest = line.partition(" - ")
        point = fields.split(" ")[4].encode().decode("unicode_escape")
        inside = real == point or real.startswith(point.rstrip("/") + "/")
        if inside and len(point) >= len(best):
            best, kind = point, rest.split(" ")[0]
    return kind
