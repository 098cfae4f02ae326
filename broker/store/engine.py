"""SQLAlchemy over a connection of the driver: for upgrades, for `alembic`, and for exports.

Nothing else imports it while the program runs (:mod:`.statements`).
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Connection, create_engine, event
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import StaticPool

from .dialect import begin


@contextmanager
def connection_over(driver: sqlite3.Connection) -> Iterator[Connection]:
    """Yield SQLAlchemy's connection over one of the driver's, which stays open.

    Its transactions begin with IMMEDIATE, by our own BEGIN.

    Raises:
        sqlite3.Error: what the driver raises, not what SQLAlchemy makes of it.
    """
    engine = create_engine(
        "sqlite://", creator=lambda: driver, poolclass=StaticPool, isolation_level=None
    )
    event.listen(engine, "begin", lambda connection: begin(connection.connection.cursor()))
    try:
        with engine.connect() as connection:
            yield connection
    except DBAPIError as error:
        if isinstance(error.orig, sqlite3.Error):
            raise error.orig from error
        raise
