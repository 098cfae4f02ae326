"""The embedded queues that are measured: each put, and each get with its ack, synced to disk.

Only in the processes of :mod:`benchmarks.drive`; imports of a store are its own.
A store that is opened ``durable=False`` is being filled, which is not measured.
"""

from __future__ import annotations

import sqlite3
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar


class Store(ABC):
    """A queue in a file.

    Args:
        folder: where its file is, or is to be.
        durable: whether it syncs.
    """

    #: As it is named in ``PEERS=...``.
    name: ClassVar[str]
    #: As the tables name it.
    label: ClassVar[str]
    #: The distribution it is from; empty: nothing needs to be installed.
    distribution: ClassVar[str]
    #: Whether it has a way to put, and to take, many in one transaction.
    has_batches: ClassVar[bool] = False
    #: Whether it has, besides the one with an ack, a way to get that deletes at once.
    has_pop: ClassVar[bool] = False
    #: Whether it has a loop that gets ahead what it hands out, each to be acknowledged.
    has_loop: ClassVar[bool] = False

    @abstractmethod
    def __init__(self, folder: Path, *, durable: bool) -> None: ...

    @abstractmethod
    def put(self, body: bytes) -> None:
        """Put one."""

    @abstractmethod
    def take(self) -> bool:
        """Get one and acknowledge it; False if there is none."""

    def pop(self) -> bool:
        """Get one that is deleted by that; False if there is none."""
        raise NotImplementedError

    def consume(self) -> bool:
        """Get the next of a loop and acknowledge it; False if there is none."""
        raise NotImplementedError

    def put_many(self, bodies: Sequence[bytes]) -> None:
        """Put many in one transaction."""
        raise NotImplementedError(len(bodies))

    def fill(self, body: bytes, count: int) -> None:
        """Put so many by whatever way is fast."""
        for _ in range(count):
            self.put(body)

    def take_many(self, count: int) -> int:
        """Get and acknowledge up to so many; returns how many there were."""
        raise NotImplementedError(count)


class BareSqlite(Store):
    """A row a commit, by hand: what the disk and SQLite allow at most."""

    name = "sqlite"
    label = "bare SQLite"
    distribution = ""
    has_batches = True

    def __init__(self, folder: Path, *, durable: bool) -> None:
        self._connection = sqlite3.connect(folder / "bare.db", isolation_level=None)
        self._connection.execute("PRAGMA journal_mode=WAL")
        self._connection.execute(f"PRAGMA synchronous={'FULL' if durable else 'OFF'}")
        self._connection.execute(
            "CREATE TABLE IF NOT EXISTS messages (id INTEGER PRIMARY KEY, body BLOB)"
        )

    def put(self, body: bytes) -> None:
        """Insert one row, and commit."""
        self._connection.execute("INSERT INTO messages (body) VALUES (?)", (body,))

    def put_many(self, bodies: Sequence[bytes]) -> None:
        """Insert many rows, and commit once."""
        self._connection.execute("BEGIN IMMEDIATE")
        self._connection.executemany(
            "INSERT INTO messages (body) VALUES (?)", [(body,) for body in bodies]
        )
        self._connection.execute("COMMIT")

    def fill(self, body: bytes, count: int) -> None:
        """Put so many, in one transaction."""
        self.put_many([body] * count)

    def take(self) -> bool:
        """Read the first row and delete it, in one commit."""
        return self.take_many(1) == 1

    def take_many(self, count: int) -> int:
        """Read the first rows and delete them, in one commit."""
        self._connection.execute("BEGIN IMMEDIATE")
        rows = self._connection.execute(
            "SELECT id, body FROM messages ORDER BY id LIMIT ?", (count,)
        ).fetchall()
        self._connection.executemany("DELETE FROM messages WHERE id = ?", [row[:1] for row in rows])
        self._connection.execute("COMMIT")
        return len(rows)


class EmbeddedBroker(Store):
    """This broker without a server."""

    name = "broker-embedded"
    label = "this broker, embedded"
    distribution = ""
    has_batches = True
    has_pop = True
    has_loop = True

    def __init__(self, folder: Path, *, durable: bool) -> None:
        from broker import connect

        self._client = connect(str(folder / "broker.db"))
        self._client.create_queue("q", if_missing=True)
        self._loop = self._client.consume("q", wait_ms=0)

    def put(self, body: bytes) -> None:
        """Send one."""
        self._client.send("q", body)

    def put_many(self, bodies: Sequence[bytes]) -> None:
        """Send many, all or none."""
        self._client.send_many("q", bodies)

    def fill(self, body: bytes, count: int) -> None:
        """Put so many, 1000 in a transaction."""
        for start in range(0, count, 1000):
            self.put_many([body] * min(1000, count - start))

    def take(self) -> bool:
        """Pull one, then acknowledge it: two commits."""
        message = self._client.pull("q")
        if message is None or message.receipt is None:
            return False
        self._client.ack(message.receipt)
        return True

    def pop(self) -> bool:
        """Pull one with NOACK: one commit, and nobody else gets it if this process dies."""
        return self._client.pull("q", no_ack=True) is not None

    def consume(self) -> bool:
        """Get the next, of some that were pulled together, and acknowledge it: one commit."""
        message = next(self._loop, None)
        if message is None:
            return False
        message.ack()
        return True

    def take_many(self, count: int) -> int:
        """Pull many, then acknowledge them: two commits."""
        messages = self._client.pull_many("q", count)
        if messages:
            self._client.ack_many([m.receipt for m in messages if m.receipt is not None])
        return len(messages)


class SimpleBroker(Store):
    """SimpleBroker: text, FULL by default; a read deletes."""

    name = "simplebroker"
    label = "SimpleBroker"
    distribution = "simplebroker"

    def __init__(self, folder: Path, *, durable: bool) -> None:
        from simplebroker import Queue

        config = None
        if not durable:
            from simplebroker._constants import resolve_config

            config = resolve_config(override={"BROKER_SYNC_MODE": "OFF"})
        self._queue = Queue("q", db_path=str(folder / "simple.db"), persistent=True, config=config)

    def put(self, body: bytes) -> None:
        """Write one."""
        self._queue.write(body.decode())

    def fill(self, body: bytes, count: int) -> None:
        """Restore so many, as from a dump."""
        first = self._queue.generate_timestamp()
        self._queue.insert_messages((body.decode(), first + i) for i in range(count))

    def take(self) -> bool:
        """Read one, which deletes it."""
        return self._queue.read_one() is not None


class LiteQueue(Store):
    """litequeue: text; set to FULL after it has set itself to NORMAL."""

    name = "litequeue"
    label = "litequeue, FULL"
    distribution = "litequeue"

    def __init__(self, folder: Path, *, durable: bool) -> None:
        from litequeue import LiteQueue as Queue

        self._queue: Any = Queue(folder / "lite.db")
        self._queue.conn.execute(f"PRAGMA synchronous={'FULL' if durable else 'OFF'}")

    def put(self, body: bytes) -> None:
        """Put one."""
        self._queue.put(body.decode())

    def take(self) -> bool:
        """Pop one, which locks it, and mark it as done."""
        message = self._queue.pop()
        if message is None:
            return False
        self._queue.done(message.message_id)
        return True


class Huey(Store):
    """huey's SQLite storage with ``fsync=True``: a get deletes."""

    name = "huey"
    label = "huey, fsync"
    distribution = "huey"

    def __init__(self, folder: Path, *, durable: bool) -> None:
        from huey.storage import SqliteStorage

        self._storage: Any = SqliteStorage("q", str(folder / "huey.db"), fsync=durable)

    def put(self, body: bytes) -> None:
        """Enqueue one."""
        self._storage.enqueue(body)

    def take(self) -> bool:
        """Dequeue one, which deletes it."""
        return self._storage.dequeue() is not None


class Kombu(Store):
    """kombu's SQLAlchemy transport; a get hides the row for good."""

    name = "kombu"
    label = "kombu, SQLAlchemy"
    distribution = "kombu"

    def __init__(self, folder: Path, *, durable: bool) -> None:
        import kombu
        from sqlalchemy import Engine, event

        @event.listens_for(Engine, "connect")
        def set_up(connection: sqlite3.Connection, _: object) -> None:
            connection.execute(f"PRAGMA synchronous={'FULL' if durable else 'OFF'}")

        self._path = folder / "kombu.db"
        untyped: Any = kombu
        self._queue: Any = untyped.Connection(f"sqla+sqlite:///{self._path}").SimpleQueue("q")

    def put(self, body: bytes) -> None:
        """Put one."""
        self._queue.put(body.decode(), serializer="json")

    def fill(self, body: bytes, count: int) -> None:
        """Put one, and copy its row: its own way takes minutes."""
        self.put(body)
        columns = "visible, timestamp, payload, version, queue_id"
        with sqlite3.connect(self._path) as connection:
            connection.execute(
                f"INSERT INTO kombu_message ({columns}) WITH RECURSIVE n(i) AS "
                "(SELECT 2 UNION ALL SELECT i + 1 FROM n WHERE i < ?) "
                f"SELECT {columns} FROM n, kombu_message",
                (count,),
            )
        connection.close()

    def take(self) -> bool:
        """Get one and acknowledge it."""
        try:
            message = self._queue.get(block=False)
        except self._queue.Empty:
            return False
        message.ack()
        return True


class PersistQueue(Store):
    """persist-queue's SQLite queue with acks."""

    name = "persist-queue"
    label = "persist-queue"
    distribution = "persist-queue"

    def __init__(self, folder: Path, *, durable: bool) -> None:
        from persistqueue import SQLiteAckQueue

        queue: Any = SQLiteAckQueue(str(folder / "persist"), auto_commit=True)
        self._queue = queue
        queue._putter.execute(f"PRAGMA synchronous={'FULL' if durable else 'OFF'}")

    def put(self, body: bytes) -> None:
        """Put one."""
        self._queue.put(body)

    def take(self) -> bool:
        """Get one and acknowledge it."""
        from persistqueue import Empty

        try:
            item = self._queue.get(block=False)
        except Empty:
            return False
        self._queue.ack(item)
        return True


STORES: tuple[type[Store], ...] = (
    EmbeddedBroker, BareSqlite, SimpleBroker, Huey, LiteQueue, PersistQueue, Kombu,
)  # fmt: skip
