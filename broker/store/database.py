"""The database: opened as it must be, one writing connection, one transaction at a time."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress

from ..errors import BrokerError, Invalid, NotFound, Unavailable
from . import schema
from .checkpoints import Checkpoints
from .dialect import (
    SQLiteDialect,
    StoreFailure,
    begin,
    commit,
    cut_file,
    translate,
)
from .ids import BLOCK, Ids
from .memory import Memory
from .room import Room
from .transaction import Limits, Transaction


class Database:
    """A SQLite database, open for its one owner.

    The caller holds the owner lock (:mod:`broker.store.owner`) whenever it opens,
    begins or closes, and uses the object from one thread at a time.

    Args:
        path: the file.
        limits: what the broker allows.
    """

    def __init__(self, path: str, limits: Limits) -> None:
        self.path = path
        self.limits = limits
        #: See :class:`~.transaction.Transaction`; set by a server once it has ended the
        #: leases that its predecessor has left.
        self.has_consumers = False
        self._dialect = SQLiteDialect(path)
        self._connection: sqlite3.Connection | None = None
        self._memory = Memory()
        self._room = Room(path)
        # Of an owner that stays.
        self._checkpoints: Checkpoints | None = None
        self._ids = Ids()

    @property
    def is_open(self) -> bool:
        """Whether the connection is open."""
        return self._connection is not None

    def open(self, *, create: bool) -> None:
        """Open the file; make it (``create``), fill it or upgrade it as it needs.

        Raises:
            NotFound: it is missing and not to be made.
            Invalid: it is a folder, no broker database, or one of a newer version.
            Unavailable: it cannot be opened, written, or is on an unsuitable file system.
            Full: there is no room for it.
            StoreFailure: an I/O error or a damaged file.
        """
        if self._connection is not None:
            return
        if not os.path.exists(self.path):
            if not create:
                raise NotFound(f"there is no database {self.path}")
            self._create_file()
        elif os.path.isdir(self.path):
            raise Invalid(f"{self.path} is a folder, not a database")
        elif not os.access(self.path, os.R_OK | os.W_OK):
            # Before SQLite leaves files beside it that are as read-only.
            raise Unavailable(f"{self.path} may not be written by this user")
        self._dialect.check_file_system()
        with self.errors():
            connection = self._dialect.connect()
            try:
                schema.prepare(connection, self.path, create=create)
            except BaseException:
                connection.close()
                raise
        self._connection = connection
        self._memory = Memory()

    def _create_file(self) -> None:
        """Make an empty file only its owner may read; SQLite makes the rest to match it.

        The descriptor is closed before SQLite opens the file: closing one later
        would drop SQLite's POSIX locks.
        """
        folder = os.path.dirname(self.path) or "."
        try:
            os.close(os.open(self.path, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, 0o600))
            descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            raise Unavailable(f"the folder {folder} does not exist") from None
        except OSError as error:
            raise Unavailable(f"{self.path} cannot be created: {error.strerror}") from error
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def transaction(self, now: int) -> AbstractContextManager[Transaction]:
        """Run the body in one IMMEDIATE transaction, committed and synced at its end.

        Args:
            now: the time of the transaction, in milliseconds since 1970.

        Raises:
            BrokerError: the database refused, and everything was rolled back.
            StoreFailure: an I/O error; whether it was committed is not known, and
                the connection is closed.
        """
        return _Scope(self, now)

    def _roll_back(self, cursor: sqlite3.Cursor, error: BaseException) -> None:
        """Undo a transaction, and raise what its error means, if that is one of the database."""
        with self.errors():
            cursor.close()
            self._opened().rollback()
            if isinstance(error, sqlite3.Error):
                raise error

    def _cut_file(self) -> None:
        with self.errors():
            cut_file(self._opened())

    def _opened(self) -> sqlite3.Connection:
        if self._connection is None:
            raise AssertionError("the database is not open")
        return self._connection

    def keep(self) -> None:
        """Be the database of one owner until it is closed; from now on.

        Checkpoints are left to :meth:`checkpoint_if_due`, and ids are reserved in blocks.
        """
        with self.errors():
            self._checkpoints = Checkpoints(self._opened(), self.path)
        self._ids.at_once = BLOCK

    @property
    def is_checkpoint_due(self) -> bool:
        """Whether the log has grown enough to be moved into the file."""
        return self._checkpoints is not None and self._checkpoints.are_due()

    def checkpoint_if_due(self) -> None:
        """Move the log into the file if it has grown enough; between two transactions.

        Raises:
            BrokerError: it was refused, for a full disk; the log stays, nothing is lost.
            StoreFailure: an I/O error.
        """
        if self._checkpoints is not None and self._checkpoints.are_due():
            with self.errors():
                self._checkpoints.run()

    @contextmanager
    def errors(self) -> Iterator[None]:
        """Translate the driver's errors, and let go of the file after a failure."""
        try:
            yield
        except sqlite3.Error as error:
            self._refuse(error)
            raise

    def _refuse(self, error: sqlite3.Error) -> None:
        """Raise what a driver's error means, if it is one of the database."""
        meaning = translate(self.path, error, is_open=self.is_open)
        if isinstance(meaning, StoreFailure):
            self.abandon()
        if meaning is not None:
            raise meaning from error

    def abandon(self) -> None:
        """Give the connection up after a failure, without a word more to the file."""
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(sqlite3.Error):
                connection.close()
        self._end_keeping()

    def close(self, *, is_owned: bool = True) -> None:
        """Close the connection, which moves the log into the file; twice is fine.

        Args:
            is_owned: whether the caller holds the owner lock, as it should; without it nothing
                is written.
        """
        first, end = self._ids.left
        if is_owned and first != end and self._connection is not None:
            # A disk that is full or fails: then they are never given out, and nothing is lost.
            with suppress(BrokerError, StoreFailure), self.transaction(0) as tx:
                tx.return_ids()
        connection, self._connection = self._connection, None
        if connection is not None:
            with self.errors():
                connection.close()
        self._end_keeping()

    def _end_keeping(self) -> None:
        checkpoints, self._checkpoints = self._checkpoints, None
        self._ids = Ids()
        if checkpoints is not None:
            checkpoints.close()

    def sizes(self) -> tuple[int, int]:
        """Return the bytes of the file and of its write-ahead log."""
        return _size(self.path), _size(f"{self.path}-wal")


class _Scope:
    """The body of a transaction.

    Not a generator, as whose start and end it would be easier to read: each lone command
    pays for it.
    """

    __slots__ = ("_database", "_ids_left", "_now", "_tx")

    def __init__(self, database: Database, now: int) -> None:
        self._database = database
        self._now = now

    def __enter__(self) -> Transaction:
        database = self._database
        connection = database._opened()
        cursor = connection.cursor()
        ids, memory = database._ids, database._memory
        try:
            if connection.in_transaction:
                # An interrupt has ended the last one where nothing could be undone.
                self._forget()
                connection.rollback()
            if not memory.holds(begin(cursor)):
                # What is sent here from now on comes after what others have sent.
                ids.forget()
            self._ids_left = ids.left
            self._tx = Transaction(
                cursor, self._now, database.limits, database._room, ids, memory.rows,
                has_consumers=database.has_consumers,
            )  # fmt: skip
        except BaseException as error:
            self._forget()
            database._roll_back(cursor, error)
            raise
        return self._tx

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        database, tx = self._database, self._tx
        if error is not None:
            self._forget()
            database._ids.left = self._ids_left
            database._roll_back(tx.cursor, error)
            return
        try:
            tx.flush()
            commit(tx.cursor)
        except BaseException as failure:
            # An interrupt may come once it is committed: then its ids are given out.
            self._forget()
            database._roll_back(tx.cursor, failure)
            raise
        if tx.cuts_file:
            database._cut_file()

    def _forget(self) -> None:
        """Know nothing of what may have been undone, and give out no id that may have been."""
        self._database._memory.rows.clear()
        self._database._ids.forget()


def _size(path: str) -> int:
    try:
        return os.stat(path).st_size
    except FileNotFoundError:
        return 0
