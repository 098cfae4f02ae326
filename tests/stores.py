"""A store with a clock that tests move, and what must hold in it at any time."""

from __future__ import annotations

import re
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

from broker.commands.request import Principal, Request
from broker.errors import Unavailable
from broker.store.database import Database
from broker.store.handlers import execute, upkeep, users
from broker.store.transaction import Limits, Transaction

MAX_MESSAGE_BYTES = 1000


class Store:
    """A database, its users, and the time."""

    def __init__(self, path: Path, admin_uid: int = 1) -> None:
        self.path = path
        self.now = 1_000_000
        self.database = Database(str(path), Limits(MAX_MESSAGE_BYTES))
        self.database.open(create=True)
        self.last: Transaction
        with self.database.transaction(self.now) as tx:
            self.admin = users.principal_of_uid(tx, admin_uid, "admin")
            self.alice = users.principal_of_uid(tx, 2, "alice")
            self.bob = users.principal_of_uid(tx, 3, "bob")

    def close(self) -> None:
        """Close the file."""
        self.database.close()

    def reopen(self) -> None:
        """Open it again."""
        self.database.open(create=False)

    def crash(self, folder: Path, under_way: Callable[[Transaction], Any]) -> None:
        """Go on with what ``kill -9`` leaves of it in the middle of a transaction.

        Of the files there is a copy as they were at that moment, and nothing of all that
        was in memory. What the old one does as it ends, nobody sees.

        Args:
            folder: made for the copy.
            under_way: what the transaction has done that is not committed.
        """
        path = folder / self.path.name
        killed = Unavailable("killed")

        def be_killed(tx: Transaction) -> None:
            under_way(tx)
            folder.mkdir()
            # Reading a database beside SQLite drops its locks, but these are of no use any more.
            for suffix in ("", "-wal"):
                shutil.copyfile(f"{self.path}{suffix}", f"{path}{suffix}")
            raise killed

        try:
            self.in_transaction(be_killed)
        except Unavailable as error:
            if error is not killed:
                raise
        self.close()
        self.path = path
        self.database = Database(str(path), Limits(MAX_MESSAGE_BYTES))
        self.reopen()

    def batch(self, *requests: tuple[Principal, Any]) -> list[Any]:
        """Execute commands in one transaction."""
        with self.database.transaction(self.now) as self.last:
            return execute(self.last, [Request(*request) for request in requests])

    def run(self, command: Any, by: Principal | None = None) -> Any:
        """Execute one command and return its result, or raise its refusal."""
        (outcome,) = self.batch((by or self.alice, command))
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        """Return what a query finds."""
        found: list[tuple[Any, ...]] = self.in_transaction(
            lambda tx: [tuple(row) for row in tx.driver.execute(sql)]
        )
        return found

    def in_transaction(self, work: Callable[[Transaction], Any]) -> Any:
        """Do something in a transaction of its own."""
        with self.database.transaction(self.now) as tx:
            return work(tx)

    def reserved(self) -> int:
        """Return the last id that is given out or reserved, as the file has it."""
        ((value,),) = self.rows("SELECT value FROM broker_sequences WHERE name = 'id'")
        return int(value)

    def clean_up(self, count: int) -> bool:
        """Take away a slice of what deletions left; return whether there is more."""
        return bool(self.in_transaction(lambda tx: upkeep.clean_up(tx, count)))

    def check(self) -> None:
        """Hold the counters to the rows, and look for orphans."""
        assert wrong_in(self.rows) == []


def wrong_in(rows: Callable[[str], list[tuple[Any, ...]]]) -> list[str]:
    """Return what does not fit together in a database: counters and rows, orphans.

    Args:
        rows: returns what a query finds.
    """
    wrong = []
    counted = rows(
        "SELECT q.name, q.ready, q.delayed, q.leased, q.dead, q.bytes,"
        " (SELECT count(*) FROM broker_deliveries d WHERE d.queue_id = q.id"
        "   AND due_at IS NULL),"
        " (SELECT count(*) FROM broker_deliveries d WHERE d.queue_id = q.id"
        "   AND due_at IS NOT NULL AND leased_by IS NULL),"
        " (SELECT count(*) FROM broker_deliveries d WHERE d.queue_id = q.id"
        "   AND leased_by IS NOT NULL),"
        " (SELECT count(*) FROM broker_dead_deliveries d WHERE d.queue_id = q.id),"
        " (SELECT coalesce(sum(size), 0) FROM broker_deliveries d WHERE d.queue_id = q.id)"
        " + (SELECT coalesce(sum(size), 0) FROM broker_dead_deliveries d"
        "   WHERE d.queue_id = q.id)"
        " FROM broker_queues q"
    )
    for name, *counters in counted:
        said, real = counters[:5], counters[5:]
        if said != real:
            wrong.append(f"{name} counts {said} (ready, delayed, leased, dead, bytes), has {real}")
    every = (
        "(SELECT id, queue_id, message_id FROM broker_deliveries UNION ALL"
        " SELECT id, queue_id, message_id FROM broker_dead_deliveries)"
    )
    for what, query in {
        "deliveries without a message": f"SELECT id FROM {every}"
        " WHERE message_id NOT IN (SELECT id FROM broker_messages)",
        "messages without a delivery": "SELECT id FROM broker_messages"
        f" WHERE id NOT IN (SELECT message_id FROM {every})",
        "deliveries that are there twice": f"SELECT id FROM {every}"
        " GROUP BY id HAVING count(*) > 1",
        "deliveries without a queue": f"SELECT id FROM {every}"
        " WHERE queue_id NOT IN (SELECT id FROM broker_queues)"
        " AND queue_id NOT IN (SELECT queue_id FROM broker_removals)",
        "publications that miscount": "SELECT * FROM broker_publications p WHERE remaining !="
        f" (SELECT count(*) FROM {every} d WHERE d.message_id = p.message_id)",
        "queues whose limits are not noted": "SELECT name FROM broker_queues"
        " WHERE is_limited IS NOT (max_messages > 0 OR max_bytes > 0 OR ttl > 0 OR sends_paused)",
        "ready ones without a time": "SELECT id FROM broker_deliveries"
        " WHERE due_at IS NULL AND ready_at IS NULL",
        "channels that miscount": "SELECT name FROM broker_channels c WHERE subscriptions !="
        " (SELECT count(*) FROM broker_subscriptions s WHERE s.channel_id = c.id)",
        "broken foreign keys": "PRAGMA foreign_key_check",
    }.items():
        found = rows(query)
        if found:
            wrong.append(f"{what}: {found[:10]}")
    return wrong


def schema_of(path: Path) -> dict[str, str]:
    """Return the SQL of every table and index by its name.

    Without what says nothing: white space, the quotes of a table that was renamed,
    and the order of a table's constraints, which a rebuilt one does not keep.
    """
    connection = sqlite3.connect(path)
    rows = connection.execute("SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL")
    found = {name: _normal(sql) for name, sql in rows}
    connection.close()
    return found


def _normal(sql: str) -> str:
    text = re.sub(r"\s*([(),])\s*|\s+", r"\1 ", sql.replace('"', "")).strip()
    first, *constraints = text.removesuffix(")").split(", CONSTRAINT ")
    return "; ".join([first.strip(), *sorted(constraint.strip() for constraint in constraints)])
