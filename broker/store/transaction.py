"""What handlers work with: one transaction, its time, and what it still owes."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Hashable, Iterator, Sequence, Set
from contextlib import contextmanager
from types import MappingProxyType
from typing import Any, NamedTuple

from ..errors import Full
from ..tables import ID_SEQUENCE, QUEUES, USERS
from . import statements as sql
from .ids import Ids
from .room import Room
from .statements import BULK_SIZES, Bulk, ByIds, Statement

#: Whose rows are remembered; a statement that changes one is noticed by :meth:`Transaction.run`.
KNOWN_TABLES = frozenset([QUEUES, USERS])
#: By what it is known when the next of what is ready or delayed expires; or some time before.
NEXT_EXPIRY = ("next expiry",)
#: Wakes whoever waits for a queue that is gone.
EVERYONE = 1_000_000_000


class QueueRow:
    """A queue as the handlers know it: a row of :data:`~.statements.FIND_QUEUE`.

    Its counters are those of before, until the changes to them are written
    (:meth:`Transaction.flush`).
    """

    id: int
    name: str
    owner_id: int
    channel_id: int | None
    ready: int
    delayed: int
    leased: int
    dead: int
    bytes: int
    sends_paused: bool
    pulls_paused: bool
    max_attempts: int
    dead_letter: str | None
    backoff: str | None
    ttl: int
    on_expire: str
    max_messages: int
    max_bytes: int
    on_full: str
    expire_idle: int
    idle_at: int | None

    def __init__(self, row: tuple[Any, ...]) -> None:
        (
            self.id, self.name, self.owner_id, self.channel_id, self.ready, self.delayed,
            self.leased, self.dead, self.bytes, self.sends_paused, self.pulls_paused,
            self.max_attempts, self.dead_letter, self.backoff, self.ttl, self.on_expire,
            self.max_messages, self.max_bytes, self.on_full, self.expire_idle, self.idle_at,
        ) = row  # fmt: skip

    @property
    def held(self) -> int:
        """How many deliveries it holds, in whatever state."""
        return self.ready + self.delayed + self.leased + self.dead


class Limits(NamedTuple):
    """What the broker as a whole allows."""

    max_message_bytes: int


class CounterChanges:
    """Changes to the counters of a queue that are still to be written."""

    __slots__ = ("bytes", "dead", "delayed", "dropped", "leased", "ready")

    def __init__(self) -> None:
        self.ready = self.delayed = self.leased = self.dead = self.bytes = self.dropped = 0

    @property
    def held(self) -> int:
        """How many deliveries more it holds, in whatever state."""
        return self.ready + self.delayed + self.leased + self.dead

    def row(self, key: int) -> tuple[int, ...]:
        """Return the parameters of the statement that adds these changes."""
        return self.ready, self.delayed, self.leased, self.dead, self.bytes, self.dropped, key

    def add_to(self, queue: QueueRow) -> None:
        """Let a queue know what was added to its row."""
        queue.ready += self.ready
        queue.delayed += self.delayed
        queue.leased += self.leased
        queue.dead += self.dead
        queue.bytes += self.bytes


#: What nothing was put into yet, and nothing can be.
_NOTHING: Any = MappingProxyType({})


class Transaction:
    """One transaction of the store, begun by its :class:`~.database.Database`.

    Handlers never commit it.

    Attributes:
        cursor: the driver's, for the database, not for handlers; its last statement is COMMIT.
        now: milliseconds since 1970, UTC, the same for the whole transaction.
        limits: what the broker allows.
        ids: where ids come from.
        has_consumers: whether leases that live as long as a connection can be alive:
            only in the server that gave them.
        woken_queues: how many deliveries became ready and were not taken again, or were
            left by who could have taken them, by the queue's name; for a queue that is gone,
            more than can wait for it.
        woken_channels: the same for each subscription of a channel, by its name.
        due: the earliest time at which something falls due, by the queue's name, as
            far as this transaction has set or looked up such times.
        channels_due: the same for all subscriptions of a channel, by its name.
        clean_up_at: the earliest time at which something it has stored is to be taken
            away again, or None.
        left_to_clean_up: whether it has left deliveries of deleted queues behind.
        ended: receipts of consumers' leases that it has ended.
        changed_users: ids of users whose password changed or who were deleted.
        cuts_file: whether the file is to be cut after the commit, before anybody is told.
    """

    # What few need is empty, and shared, until they do.
    woken_channels: dict[str, int] = _NOTHING
    channels_due: dict[str, int] = _NOTHING
    clean_up_at: int | None = None
    left_to_clean_up = False
    ended: Set[str] = frozenset()
    changed_users: Set[int] = frozenset()
    cuts_file = False
    # Whether what is known holds all that this transaction has changed of such.
    _knows_changes = True
    _channel_counters: dict[int, CounterChanges] = _NOTHING
    _user_names: dict[int, str] = _NOTHING

    def __init__(
        self,
        cursor: sqlite3.Cursor,
        now: int,
        limits: Limits,
        room: Room,
        ids: Ids,
        known: dict[Hashable, Any],
        *,
        has_consumers: bool,
    ) -> None:
        self.cursor = cursor
        self.now = now
        self.limits = limits
        self.ids = ids
        self.has_consumers = has_consumers
        self.woken_queues: dict[str, int] = {}
        self.due: dict[str, int] = {}
        self._room = room
        # Rows as they are now, by their keys: a queue by its name and its id, a principal
        # by ``("uid", uid)``. After a rollback their owner forgets them.
        self._known = known
        self._counters: dict[int, CounterChanges] = {}

    # --- statements ---

    @property
    def driver(self) -> sqlite3.Connection:
        """The driver's connection, for whatever is no statement; it may change anything."""
        self._forget()
        return self.cursor.connection

    def one(self, statement: Statement, parameters: Sequence[Any]) -> Any:
        """Run a statement and return its first row, or None."""
        self.cursor.execute(statement.text, parameters)
        return self.cursor.fetchone()

    def all(self, statement: Statement, parameters: Sequence[Any]) -> list[Any]:
        """Run a statement and return all its rows."""
        self.cursor.execute(statement.text, parameters)
        return self.cursor.fetchall()

    def each(self, statement: Statement, parameters: Sequence[Any]) -> Iterator[Any]:
        """Run a statement and yield its rows as they are asked for, until another is run."""
        return self.cursor.execute(statement.text, parameters)

    def stream(self, statement: Statement, parameters: Sequence[Any]) -> Any:
        """Run a statement on a cursor of its own, to be fetched from row by row."""
        return self.cursor.connection.execute(statement.text, parameters)

    def run(self, statement: Statement, parameters: Sequence[Any]) -> int:
        """Run a statement and return how many rows it changed."""
        self.cursor.execute(statement.text, parameters)
        if statement.changes in KNOWN_TABLES:
            self._forget()
        return int(self.cursor.rowcount)

    def run_bulk(self, statement: Bulk, rows: Sequence[Any], *shared: Any) -> None:
        """Run a statement for many rows at once.

        Args:
            statement: what to do.
            rows: the parameters of all rows, one row after the other.
            shared: the parameters that all rows share.
        """
        if len(rows) == statement.width:
            self.cursor.execute(statement.one, (*shared, *_bindable(rows)))
            return
        for text, parameters in self._bulk(statement, rows, shared):
            self.cursor.execute(text, parameters)

    def run_span(self, statement: ByIds, first: int, last: int) -> None:
        """Run a statement for all rows from the id ``first`` to ``last``."""
        self.cursor.execute(statement.span.text, (first, last))

    def all_bulk(self, statement: Bulk, rows: Sequence[Any], *shared: Any) -> list[Any]:
        """Return what a statement finds for many rows at once, in no order."""
        if len(rows) == statement.width:
            self.cursor.execute(statement.one, (*shared, *rows))
            return self.cursor.fetchall()
        found: list[Any] = []
        for text, parameters in self._bulk(statement, rows, shared):
            self.cursor.execute(text, parameters)
            found += self.cursor.fetchall()
        return found

    def _bulk(
        self, statement: Bulk, rows: Sequence[Any], shared: Sequence[Any]
    ) -> Iterator[tuple[str, Sequence[Any]]]:
        """Yield the statements, and their parameters, that do it for all rows."""
        if isinstance(statement, ByIds) and rows:
            first, last = min(rows), max(rows)
            if last - first == len(rows) - 1:
                yield statement.span.text, [*shared, first, last]
                return
        width = statement.width
        position, left = 0, len(rows) // width
        for size in BULK_SIZES:
            text = statement.of(size).text if left >= size else ""
            while left >= size:
                end = position + size * width
                part = _bindable(rows[position:end])
                yield text, ([*shared, *part] if shared else part)
                position, left = end, left - size
                if statement.is_run:
                    shared = (shared[0] + size, *shared[1:])

    def run_many(self, statement: Statement, rows: Sequence[Sequence[Any]]) -> None:
        """Run a statement once for each row of parameters."""
        self.cursor.executemany(statement.text, rows)
        if statement.changes in KNOWN_TABLES:
            self._forget()

    @contextmanager
    def savepoint(self) -> Iterator[None]:
        """Undo what the body has done, in the database and in here, if it raises.

        What was owed before it is written first, what it owes is written at its end.
        """
        self.flush()
        told = (
            {**self.woken_queues}, {**self.woken_channels}, {**self.due}, {**self.channels_due},
            self.clean_up_at, self.left_to_clean_up, {*self.ended}, self.changed_users,
        )  # fmt: skip
        ids_left = self.ids.left
        self.cursor.execute("SAVEPOINT broker")
        try:
            yield
            self.flush()
        except BaseException:
            # Where the disk is full, SQLite has undone the whole transaction by itself.
            if self.cursor.connection.in_transaction:
                self.cursor.execute("ROLLBACK TO broker")
                self.cursor.execute("RELEASE broker")
            self._counters.clear()
            self._channel_counters = _NOTHING
            self._forget()
            self.ids.left = ids_left
            (
                self.woken_queues, self.woken_channels, self.due, self.channels_due,
                self.clean_up_at, self.left_to_clean_up, self.ended, self.changed_users,
            ) = told  # fmt: skip
            raise
        self.cursor.execute("RELEASE broker")

    # --- room ---

    def check_room(self) -> None:
        """Refuse to store more when the disk is nearly full.

        Raises:
            Full: less than :data:`~broker.names.MIN_FREE_BYTES` is free, on the disk and
                inside the file together; it clears by itself.
        """
        if not self._room.is_there(self.cursor.connection):
            raise Full("the disk is nearly full: nothing more is stored until there is room")

    # --- ids ---

    def allocate(self, count: int = 1) -> int:
        """Return the first of ``count`` ids in a row that were never given out before."""
        return self.ids.take(count, self._reserve)

    def _reserve(self, count: int) -> int:
        return int(self.one(sql.ALLOCATE, (count, ID_SEQUENCE))[0])

    def return_ids(self) -> None:
        """Give back the ids that were reserved and not given out."""
        first, end = self.ids.left
        if first != end:
            self._reserve(first - end)
        self.ids.forget()

    def allocate_beyond(self, last: int) -> None:
        """Give out no id up to ``last`` from now on."""
        self.run(sql.ALLOCATE_BEYOND, (last, ID_SEQUENCE))
        self.ids.forget()

    # --- what is known ---

    def recall(self, key: Hashable) -> Any:
        """Return what is known by a key without asking the database, or None."""
        return self._known.get(key)

    def _forget(self) -> None:
        """Know nothing any more: something changes it that is not looked through.

        Rows are read once more from then on, and once more after the counters were written.
        """
        self._knows_changes = False
        self._known.clear()

    def remember(self, key: Hashable, row: Any) -> None:
        """Know a row by a key, as it is once this is committed; in later transactions too."""
        self._known[key] = row

    # --- users ---

    def user_name(self, user_id: int) -> str:
        """Return the name of a user, or what stands for one who is no more."""
        name = self._user_names.get(user_id)
        if name is None:
            row = self.one(sql.FIND_USER_NAME, (user_id,))
            name = str(row[0]) if row else f"user {user_id}"
            self._user_names = self._user_names or {}
            self._user_names[user_id] = name
        return name

    def changes_user(self, user_id: int) -> None:
        """Note that a user's password changed, or that it is no more."""
        self.changed_users = self.changed_users | {user_id}

    # --- queues and their counters ---

    def find_queue(self, name: str) -> QueueRow | None:
        """Return a queue by name, as it was when its counters were written last."""
        found: QueueRow | None = self._known.get(name)
        return found or self._found(self.one(sql.FIND_QUEUE, (name,)))

    def find_queue_by_id(self, queue_id: int) -> QueueRow | None:
        """Return a queue by id, as it was when its counters were written last."""
        found: QueueRow | None = self._known.get(queue_id)
        return found or self._found(self.one(sql.FIND_QUEUE_BY_ID, (queue_id,)))

    def _found(self, row: Any) -> QueueRow | None:
        if row is None:
            return None
        queue = QueueRow(row)
        self._known[queue.name] = self._known[queue.id] = queue
        return queue

    def forget_queues(self) -> None:
        """Write what is owed and read queues afresh: some were created, changed or deleted."""
        self.flush()
        self._forget()

    def counters(self, queue_id: int) -> CounterChanges:
        """Return the changes to a queue's counters, to be added to."""
        counters = self._counters.get(queue_id)
        if counters is None:
            counters = self._counters[queue_id] = CounterChanges()
        return counters

    def channel_counters(self, channel_id: int) -> CounterChanges:
        """Return the changes to the counters of each subscription's queue of a channel."""
        counters = self._channel_counters.get(channel_id)
        if counters is None:
            self._channel_counters = self._channel_counters or {}
            counters = self._channel_counters[channel_id] = CounterChanges()
        return counters

    # --- what it has to tell ---

    def wakes(self, queue: str, count: int = 1) -> None:
        """Note that so many became ready in a queue."""
        self.woken_queues[queue] = self.woken_queues.get(queue, 0) + count

    def wakes_channel(self, channel: str, count: int = 1) -> None:
        """Note that so many became ready in each subscription of a channel."""
        self.woken_channels = self.woken_channels or {}
        self.woken_channels[channel] = self.woken_channels.get(channel, 0) + count

    def takes(self, queue: str, count: int) -> None:
        """Note that so many that were ready in a queue are not any more."""
        woken = self.woken_queues.get(queue)
        if woken:
            self.woken_queues[queue] = max(0, woken - count)

    def leaves(self, queue: str) -> None:
        """Note that something ready was left in a queue to whoever waits for it."""
        self.woken_queues[queue] = self.woken_queues.get(queue) or 1

    def ends(self, receipts: Collection[str]) -> None:
        """Note that leases of consumers have ended."""
        if not self.ended:
            self.ended = {*receipts}
        else:
            self.ended |= {*receipts}

    def falls_due(self, queue: str, time: int) -> None:
        """Note that something in a queue falls due at ``time``."""
        self.due[queue] = min(time, self.due.get(queue, time))

    def channel_falls_due(self, channel: str, time: int) -> None:
        """Note that something in every subscription of a channel falls due at ``time``."""
        self.channels_due = self.channels_due or {}
        self.channels_due[channel] = min(time, self.channels_due.get(channel, time))

    def to_clean_up(self, time: int | None) -> None:
        """Note that something is to be taken away at ``time``."""
        if time is None:
            return
        if self.clean_up_at is None or time < self.clean_up_at:
            self.clean_up_at = time
        if time < self._known.get(NEXT_EXPIRY, time):
            self._known[NEXT_EXPIRY] = time

    def flush(self) -> None:
        """Write the counters; called before they are read, and before the commit."""
        if self._counters:
            for queue_id, changes in self._counters.items():
                self.cursor.execute(sql.ADD_TO_QUEUE.text, changes.row(queue_id))
                queue: QueueRow | None = self._known.get(queue_id)
                if queue is not None:
                    changes.add_to(queue)
            self._counters.clear()
        if self._channel_counters:
            changed = [c.row(key) for key, c in self._channel_counters.items()]
            self.run_many(sql.ADD_TO_SUBSCRIPTIONS, changed)
            self._channel_counters = _NOTHING
        if not self._knows_changes:
            self._known.clear()


def _bindable(rows: Sequence[Any]) -> Sequence[Any]:
    """Return the parameters of rows as the driver binds them fastest.

    It asks each object, but for a bytearray, whether it wants to be something else, which
    takes longer than all the rest.
    """
    return [*map(bytearray, rows)] if type(rows[0]) is bytes else rows
