"""The schema of a database: fresh, current, older or newer than this program.

The revision is compared with a constant, so that an open costs one query and
never imports Alembic; only an upgrade does.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING

from ..errors import BrokerError, Invalid, NotFound, Unavailable
from ..tables import ID_SEQUENCE, PREFIX, VERSION_TABLE
from .dialect import SQLiteDialect, begin, commit, revision_of, translated
from .owner import OwnerLock
from .statements import SCHEMA

if TYPE_CHECKING:
    from alembic.config import Config
    from sqlalchemy import Connection

#: The newest revision; a test holds it to the scripts.
HEAD = "0002"
#: What a fresh database has besides its empty tables.
_SEQUENCE = f"INSERT INTO {PREFIX}sequences (name, value) VALUES (?, 0)"  # noqa: S608 - constants
_STAMP = (
    f"CREATE TABLE {VERSION_TABLE} (version_num VARCHAR(32) NOT NULL, "
    f"CONSTRAINT {VERSION_TABLE}_pkc PRIMARY KEY (version_num))",
    f"INSERT INTO {VERSION_TABLE} (version_num) VALUES ('{HEAD}')",  # noqa: S608 - constants
)
#: How long `alembic` waits for a command that holds the database, in seconds.
BY_HAND_SECONDS = 10.0


def prepare(connection: sqlite3.Connection, path: str, *, create: bool) -> None:
    """Bring a database to the newest revision; called with the owner lock held.

    A fresh file is made from the models and stamped, in one transaction, so a
    crash leaves an empty file or a whole schema. An older one is backed up to
    ``PATH.REVISION.bak`` and upgraded. A newer one is not touched.

    Raises:
        NotFound: the file is empty and not to be made.
        Invalid: not a broker database, or from a newer version.
    """
    revision = revision_of(connection)
    if revision == HEAD:
        return
    if revision is None:
        if not create:
            raise NotFound(f"{path} is an empty file, not yet a database")
        _make(connection)
        return
    if revision not in known_revisions():
        raise Invalid(
            f"{path} was written by a newer version of the broker "
            f"(revision {revision!r}, this one knows up to {HEAD!r}); it is left as it is"
        )
    _back_up(connection, f"{path}.{revision}.bak")
    upgrade(connection)


def _make(connection: sqlite3.Connection) -> None:
    cursor = connection.cursor()
    try:
        begin(cursor)
        for statement in SCHEMA:
            cursor.execute(statement)
        cursor.execute(_SEQUENCE, (ID_SEQUENCE,))
        for statement in _STAMP:
            cursor.execute(statement)
        commit(cursor)
    except BaseException:
        connection.rollback()
        raise
    finally:
        cursor.close()


# --- upgrades --------------------------------------------------------------------


def known_revisions() -> set[str]:
    """Return every revision there is a script for."""
    from alembic.script import ScriptDirectory

    return {script.revision for script in ScriptDirectory.from_config(config()).walk_revisions()}


def config() -> Config:
    """Return an Alembic configuration that finds the scripts where they are installed."""
    from importlib.resources import files

    from alembic.config import Config

    configuration = Config()
    try:
        location = files("broker.migrations")
    except ModuleNotFoundError:
        # A checkout that is not installed: the folder beside the package.
        location = files("migrations")
    configuration.set_main_option("script_location", str(location).replace("%", "%%"))
    return configuration


def upgrade(driver: sqlite3.Connection, revision: str = "head") -> None:
    """Upgrade a database in one transaction, through a connection that nobody else uses.

    Foreign keys are off meanwhile, for a batch rebuild of a table would cascade
    and empty those that refer to it, and are checked before the commit.
    """
    from alembic import command

    from .engine import connection_over

    configuration = config()
    _set_foreign_keys(driver, on=False)
    try:
        with connection_over(driver) as connection, connection.begin():
            configuration.attributes["connection"] = connection
            command.upgrade(configuration, revision)
            broken = driver.execute("PRAGMA foreign_key_check").fetchall()
            if broken:
                raise Invalid(f"the upgrade would leave {len(broken)} broken references")
    finally:
        _set_foreign_keys(driver, on=True)


def _set_foreign_keys(connection: sqlite3.Connection, *, on: bool) -> None:
    """Switch the checks; in a transaction the pragma does nothing."""
    connection.execute(f"PRAGMA foreign_keys={'ON' if on else 'OFF'}")


@contextmanager
def opened_by_hand(path: str, timeout_s: float = BY_HAND_SECONDS) -> Iterator[Connection]:
    """Yield a connection in a transaction, under the owner lock, for `alembic` at a shell.

    Opened as the broker does, but with foreign keys off, and without looking at the
    revision: that is what the caller is about. Made if it is missing.

    Raises:
        Unavailable: a server, or somebody else, holds the database.
    """
    from .engine import connection_over

    with _owned_by_hand(path, timeout_s):
        if not os.path.exists(path):
            os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
        with closing(SQLiteDialect(path).connect()) as driver:
            _set_foreign_keys(driver, on=False)
            with connection_over(driver) as connection, connection.begin():
                yield connection


def upgrade_file(path: str, timeout_s: float) -> None:
    """Bring a database to the newest revision, as its next use would, after a back-up.

    Raises:
        Unavailable: a server, or somebody else, holds the database.
        Invalid: as :func:`prepare`.
    """
    with _opened_alone(path, timeout_s) as connection:
        prepare(connection, path, create=True)


def revision_of_file(path: str, timeout_s: float) -> str | None:
    """Return the revision of a database, or None if it is empty."""
    with _opened_alone(path, timeout_s) as connection:
        return revision_of(connection)


@contextmanager
def _opened_alone(path: str, timeout_s: float) -> Iterator[sqlite3.Connection]:
    with (
        _owned_by_hand(path, timeout_s),
        translated(path),
        closing(SQLiteDialect(path).connect()) as connection,
    ):
        yield connection


@contextmanager
def _owned_by_hand(path: str, timeout_s: float) -> Iterator[None]:
    lock = OwnerLock(path)
    owner = lock.acquire(timeout_s)
    if owner is not None:
        raise Unavailable(f"a server (pid {owner.pid}) owns {path}: stop it first")
    try:
        yield
    finally:
        lock.release()
        lock.close()


def _back_up(connection: sqlite3.Connection, target: str) -> None:
    """Copy the database to ``target``, whole and synced, before it is changed."""
    from .snapshot import partial_copy, publish

    try:
        with partial_copy(connection, target) as partial:
            publish(partial, target, replace=True)
    except BrokerError as error:
        raise type(error)(f"no back-up before the upgrade: {error.message}") from error
