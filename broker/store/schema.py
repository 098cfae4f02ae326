"""The schema of a database: fresh, current, older or newer than this program.

The revision is compared with a constant, so that an open costs one query and
never imports Alembic; only an upgrade does.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from sqlalchemy import Connection, insert

from ..errors import BrokerError, Invalid, NotFound, Unavailable
from ..models import Base, Sequence
from ..models.base import VERSION_TABLE
from ..models.sequences import ID_SEQUENCE
from .dialect import SQLiteDialect, check_is_ours, engine_over, translated
from .owner import OwnerLock
from .snapshot import partial_copy, publish

if TYPE_CHECKING:
    from alembic.config import Config

#: The newest revision; a test holds it to the scripts.
HEAD = "0002"
#: How long `alembic` waits for a command that holds the database, in seconds.
BY_HAND_SECONDS = 10.0


def prepare(connection: Connection, path: str, *, create: bool) -> None:
    """Bring a database to the newest revision; called with the owner lock held.

    A fresh file is made from the models and stamped, in one transaction, so a
    crash leaves an empty file or a whole schema. An older one is backed up to
    ``PATH.REVISION.bak`` and upgraded. A newer one is not touched.

    Raises:
        NotFound: the file is empty and not to be made.
        Invalid: not a broker database, or from a newer version.
    """
    revision = current(connection)
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


def current(connection: Connection) -> str | None:
    """Return the revision of a database, or None if it is empty.

    Raises:
        Invalid: it has tables, but not the broker's or without their revision.
    """
    with connection.begin():
        tables = set(
            connection.exec_driver_sql("SELECT name FROM sqlite_master WHERE type = 'table'")
            .scalars()
            .all()
        )
        check_is_ours(tables)
        if not tables:
            return None
        revision = connection.exec_driver_sql(
            f"SELECT version_num FROM {VERSION_TABLE}"  # noqa: S608 - a constant
        ).scalar()
        if revision is None:
            raise Invalid("the database has tables but no revision: restore a back-up")
        return str(revision)


def _make(connection: Connection) -> None:
    with connection.begin():
        Base.metadata.create_all(connection)
        connection.exec_driver_sql(
            f"CREATE TABLE {VERSION_TABLE} (version_num VARCHAR(32) NOT NULL, "
            f"CONSTRAINT {VERSION_TABLE}_pkc PRIMARY KEY (version_num))"
        )
        connection.exec_driver_sql(
            f"INSERT INTO {VERSION_TABLE} (version_num) VALUES (?)",  # noqa: S608 - a constant
            (HEAD,),
        )
        connection.execute(insert(Sequence).values(name=ID_SEQUENCE, value=0))


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


def upgrade(connection: Connection, revision: str = "head") -> None:
    """Upgrade a database in one transaction.

    Foreign keys are off meanwhile, for a batch rebuild of a table would cascade
    and empty those that refer to it, and are checked before the commit.
    """
    from alembic import command

    configuration = config()
    configuration.attributes["connection"] = connection
    _set_foreign_keys(connection, on=False)
    try:
        with connection.begin():
            command.upgrade(configuration, revision)
            broken = connection.exec_driver_sql("PRAGMA foreign_key_check").all()
            if broken:
                raise Invalid(f"the upgrade would leave {len(broken)} broken references")
    finally:
        _set_foreign_keys(connection, on=True)


def upgrade_copy(copy: sqlite3.Connection) -> None:
    """Upgrade a copy that nobody else has, through the connection that holds it."""
    with engine_over(copy).connect() as connection:
        upgrade(connection)


def _set_foreign_keys(connection: Connection, *, on: bool) -> None:
    """Switch the checks on the driver's connection: in a transaction the pragma does nothing."""
    cursor = connection.connection.cursor()
    cursor.execute(f"PRAGMA foreign_keys={'ON' if on else 'OFF'}")
    cursor.close()


@contextmanager
def opened_by_hand(path: str, timeout_s: float = BY_HAND_SECONDS) -> Iterator[Connection]:
    """Yield a connection in a transaction, under the owner lock, for `alembic` at a shell.

    Opened as the broker does, but with foreign keys off, and without looking at the
    revision: that is what the caller is about. Made if it is missing.

    Raises:
        Unavailable: a server, or somebody else, holds the database.
    """
    with _owned_by_hand(path, timeout_s):
        if not os.path.exists(path):
            os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
        with SQLiteDialect(path).create_engine().connect() as connection:
            _set_foreign_keys(connection, on=False)
            with connection.begin():
                yield connection


def upgrade_file(path: str, timeout_s: float) -> None:
    """Bring a database to the newest revision, as its next use would, after a back-up.

    Raises:
        Unavailable: a server, or somebody else, holds the database.
        Invalid: as :func:`prepare`.
    """
    engine = SQLiteDialect(path).create_engine()
    with _owned_by_hand(path, timeout_s), translated(path), engine.connect() as connection:
        prepare(connection, path, create=True)


def revision_of_file(path: str, timeout_s: float) -> str | None:
    """Return the revision of a database, or None if it is empty."""
    engine = SQLiteDialect(path).create_engine()
    with _owned_by_hand(path, timeout_s), translated(path), engine.connect() as connection:
        return current(connection)


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


def _back_up(connection: Connection, target: str) -> None:
    """Copy the database to ``target``, whole and synced, before it is changed."""
    driver = connection.connection.driver_connection
    if not isinstance(driver, sqlite3.Connection):
        raise AssertionError("only SQLite is backed up by copying")
    try:
        with partial_copy(driver, target) as partial:
            publish(partial, target, replace=True)
    except BrokerError as error:
        raise type(error)(f"no back-up before the upgrade: {error.message}") from error
