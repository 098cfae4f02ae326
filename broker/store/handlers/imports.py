"""Taking in what another database has exported.

What is there already, by its name or because it was imported before, is left as it
is, so an import may be repeated, and goes on where another was cut off. Names are
what users, queues and channels are known by. A message is known by all that never
changes about it: as a row with its own id, where the target is a copy of the source,
or by a key that its import leaves behind for :data:`REMEMBERED_MS`, so that it does
not come again after it was acknowledged here.

Ids are new, beyond any the source had given out: a receipt from there is stale here.
Limits of queues hold for what is sent, not for what comes back.
"""

from __future__ import annotations

import json
from collections import Counter
from typing import Any, Final

from ... import names
from ...commands.archive import (
    ChannelRecord,
    CopyRecord,
    Header,
    KeyRecord,
    MessageRecord,
    QueueRecord,
    Record,
    SubscriptionRecord,
    UserRecord,
    identity_of,
    read_header,
    read_record,
)
from ...commands.db import DbImport, Imported
from ...commands.delivery import DEAD, DELAYED, LEASED
from ...commands.request import Principal
from ...errors import BrokerError, Invalid
from .. import statements as sql
from ..transaction import Transaction
from .messages import KEY_CLEAN_UP_DELAY_MS
from .queues import insert_queue
from .registry import handles
from .rights import check_admin
from .users import UserRow, find_user

#: How long an import is remembered: for so long it can be repeated.
REMEMBERED_MS: Final = 7 * 86_400_000
#: What the keys of imports belong to: no queue or channel has that id.
_NOWHERE: Final = 0


@handles(DbImport)
def import_lines(tx: Transaction, principal: Principal, command: DbImport) -> Imported:
    """Store lines of an export, all or none."""
    check_admin(principal, "import")
    try:
        header = read_header(command.lines[0])
    except BrokerError as error:
        raise _at_line(1, error) from None
    records = [
        (number, _read(number, line))
        for number, line in enumerate(command.lines[1:], command.first_line)
    ]
    with tx.savepoint():
        return _Import(tx, header).store(records)


def _read(number: int, line: bytes) -> Record:
    try:
        return read_record(line)
    except BrokerError as error:
        raise _at_line(number, error) from None


def _at_line(number: int, error: BrokerError) -> BrokerError:
    return type(error)(f"line {number}: {error.message}")


class _Import:
    """One batch of records on its way into the database."""

    def __init__(self, tx: Transaction, header: Header) -> None:
        self._tx = tx
        self._stored: Counter[str] = Counter()
        self._users: dict[str, int] = {}
        # Parameters of rows, one row after the other.
        self._messages: list[Any] = []
        self._publications: list[Any] = []
        self._deliveries: list[Any] = []
        self._dead: list[Any] = []
        self._memory: list[Any] = []
        # Of messages that were imported, now or before, by the key that remembers each.
        self._new_ids: dict[str, int] = {}
        # The keys of "send once" of this batch, by what they belong to.
        self._kept: set[tuple[int, str]] = set()
        tx.allocate_beyond(header.last_id)

    def store(self, records: list[tuple[int, Record]]) -> Imported:
        """Store records in their order.

        Raises:
            Invalid, TooBig, Full: one cannot be; says in which line.
        """
        self._recognise([r.identity for _, r in records if isinstance(r, MessageRecord)])
        for number, record in records:
            try:
                if not self._store(record):
                    self._stored["known"] += 1
            except BrokerError as error:
                raise _at_line(number, error) from None
        for statement, rows in (
            (sql.INSERT_MESSAGES, self._messages),
            (sql.INSERT_PUBLICATIONS, self._publications),
            (sql.IMPORT_DELIVERIES, self._deliveries),
            (sql.IMPORT_DEAD, self._dead),
            (sql.INSERT_KEYS, self._memory),
        ):
            self._tx.run_bulk(statement, rows)
        return Imported(*(self._stored[name] for name in Imported._fields))

    def _recognise(self, identities: list[str]) -> None:
        """Look up which messages were imported before, all of a batch at once."""
        tx = self._tx
        found = tx.all_bulk(sql.FIND_KEYS, [_key_of(i) for i in identities], _NOWHERE)
        for key, message_id, expires_at, _ in found:
            if expires_at > tx.now:
                self._new_ids[key] = message_id
            else:
                tx.run(sql.DELETE_KEY, (_NOWHERE, key))

    def _store(self, record: Record) -> bool:
        """Store a record, unless it is there already."""
        match record:
            case MessageRecord():
                return self._store_message(record)
            case UserRecord():
                return self._store_user(record)
            case ChannelRecord():
                return self._store_channel(record)
            case QueueRecord():
                return self._store_queue(record)
            case SubscriptionRecord():
                return self._store_subscription(record)
            case KeyRecord():
                return self._store_key(record)

    # --- who, and where ---

    def _store_user(self, record: UserRecord) -> bool:
        if find_user(self._tx, record.name) is not None:
            return False
        uid = record.uid
        if uid is not None and self._tx.one(sql.FIND_PRINCIPAL, (uid,)) is not None:
            # That user of this system is somebody else here: only the name comes.
            uid = None
        user = UserRow(
            self._tx.allocate(), record.name, record.password_hash, uid, record.admin,
            record.created_at,
        )  # fmt: skip
        self._tx.run(sql.INSERT_USER, user)
        self._stored["users"] += 1
        return True

    def _user_id(self, name: str) -> int:
        user_id = self._users.get(name)
        if user_id is None:
            user = find_user(self._tx, name)
            if user is None:
                raise Invalid(f"there is no user {name!r}")
            user_id = self._users[name] = user.id
        return user_id

    def _store_channel(self, record: ChannelRecord) -> bool:
        if self._tx.one(sql.FIND_CHANNEL, (record.name,)) is not None:
            return False
        channel = (
            self._tx.allocate(), record.name, self._user_id(record.owner), record.created_at, 0,
            record.publish,
        )  # fmt: skip
        self._tx.run_bulk(sql.INSERT_CHANNELS, channel)
        self._stored["channels"] += 1
        return True

    def _channel_id(self, name: str) -> int:
        row = self._tx.one(sql.FIND_CHANNEL, (name,))
        if row is None:
            raise Invalid(f"there is no channel {name!r}")
        return int(row[0])

    def _store_queue(self, record: QueueRecord) -> bool:
        if self._tx.find_queue(record.name) is not None:
            return False
        self._insert_queue(record.name, self._user_id(record.owner), None, record)
        self._stored["queues"] += 1
        return True

    def _insert_queue(
        self,
        name: str,
        owner_id: int,
        channel_id: int | None,
        record: QueueRecord | SubscriptionRecord,
    ) -> int:
        """Store an empty queue as it was; its dead-letter queue may come later."""
        if record.settings.get("dead_letter") == name:
            raise Invalid("a queue is not its own dead-letter queue")
        paused = record.paused
        return insert_queue(
            self._tx, name, owner_id, channel_id, record.settings,
            created_at=record.created_at, dropped=record.dropped,
            sends_paused=paused in ("sends", "all"), pulls_paused=paused in ("pulls", "all"),
        )  # fmt: skip

    def _store_subscription(self, record: SubscriptionRecord) -> bool:
        name = names.subscription_queue(record.channel, record.user, record.name)
        if self._tx.find_queue(name) is not None:
            return False
        channel_id, user_id = self._channel_id(record.channel), self._user_id(record.user)
        queue_id = self._insert_queue(name, user_id, channel_id, record)
        subscription = (
            self._tx.allocate(), channel_id, user_id, record.name, queue_id, record.created_at
        )  # fmt: skip
        self._tx.run_bulk(sql.INSERT_SUBSCRIPTIONS, subscription)
        self._tx.run(sql.ADD_SUBSCRIPTIONS, (1, channel_id))
        self._stored["subscriptions"] += 1
        return True

    # --- messages ---

    def _store_message(self, record: MessageRecord) -> bool:
        tx = self._tx
        tx.check_room()
        names.check_body_size(len(record.body), tx.limits.max_message_bytes)
        identity = record.identity
        if _key_of(identity) in self._new_ids or self._is_there(record, identity):
            return False
        count = len(record.copies)
        message_id = tx.allocate(1 + count if record.published else 1)
        for place, copy in enumerate(record.copies, 1):
            delivery_id = message_id + place if record.published else message_id
            self._add_copy(delivery_id, message_id, len(record.body), copy)
        self._messages += (
            message_id, record.sender, record.sent_at, record.content_type,
            _as_json(dict(record.headers)) if record.headers else None, record.body,
        )  # fmt: skip
        if record.published:
            self._publications += (message_id, count, count)
        self._new_ids[_key_of(identity)] = message_id
        self._remember(_NOWHERE, _key_of(identity), message_id, 1, tx.now + REMEMBERED_MS)
        self._stored["messages"] += 1
        self._stored["deliveries"] += count
        return True

    def _add_copy(self, delivery_id: int, message_id: int, size: int, copy: CopyRecord) -> None:
        tx = self._tx
        queue = tx.find_queue(copy.queue)
        if queue is None:
            raise Invalid(f"there is no queue {copy.queue!r}")
        counters = tx.counters(queue.id)
        counters.bytes += size
        rank = names.MAX_PRIORITY - copy.priority
        start = (delivery_id, queue.id, message_id, rank, size)
        failures = None if copy.failures is None else _as_json(copy.failures)
        died = None if copy.died is None else _as_json(copy.died)
        if copy.state == DEAD:
            counters.dead += 1
            self._dead += (
                *start, copy.attempts, 0, failures, died, copy.dead_at, copy.reason
            )  # fmt: skip
            return
        # Whoever had it leased cannot acknowledge it here: as if nobody had tried.
        attempts = max(0, copy.attempts - 1) if copy.state == LEASED else copy.attempts
        ready_at = copy.ready_at
        if copy.state == DELAYED:
            counters.delayed += 1
            tx.falls_due(queue.name, copy.due_at or tx.now)
        else:
            counters.ready += 1
            tx.wakes(queue.name)
            ready_at = tx.now if ready_at is None else ready_at
        tx.to_clean_up(copy.expires_at)
        self._deliveries += (
            *start, attempts, 0, ready_at, copy.due_at, copy.expires_at, failures, died
        )  # fmt: skip

    def _is_there(self, record: MessageRecord, identity: str) -> bool:
        """Return whether the target is a copy of the source and has it under its own id."""
        row = self._tx.one(sql.FIND_MESSAGE, (record.id,))
        if row is None:
            return False
        sender, sent_at, content_type, headers, body = row
        return identity == identity_of(
            record.id, record.part, sender, sent_at, content_type,
            json.loads(headers) if headers else {}, body,
        )  # fmt: skip

    # --- keys ---

    def _store_key(self, record: KeyRecord) -> bool:
        tx = self._tx
        if record.queue is not None:
            queue = tx.find_queue(record.queue)
            if queue is None:
                raise Invalid(f"there is no queue {record.queue!r}")
            target_id = queue.id
        else:
            target_id = self._channel_id(record.channel or "")
        if record.expires_at <= tx.now:
            return False
        place = target_id, record.key
        if place in self._kept or self._remembered(*place) is not None:
            return False
        self._kept.add(place)
        message_id = None
        if record.messages == 1 and record.message is not None:
            key = _key_of(record.message)
            message_id = self._new_ids.get(key) or self._remembered(_NOWHERE, key)
        if message_id is None:
            # What it was sent with is gone, or has no ids in a row: these name nothing.
            message_id = tx.allocate(record.messages)
        self._remember(*place, message_id, record.messages, record.expires_at)
        self._stored["keys"] += 1
        return True

    def _remembered(self, target_id: int, key: str) -> int | None:
        """Return what a key stands for; one whose time is over makes room."""
        rows = self._tx.all_bulk(sql.FIND_KEYS, [key], target_id)
        for _, message_id, expires_at, _ in rows:
            if expires_at > self._tx.now:
                return int(message_id)
            self._tx.run(sql.DELETE_KEY, (target_id, key))
        return None

    def _remember(
        self, target_id: int, key: str, message_id: int, count: int, expires_at: int
    ) -> None:
        self._memory += (target_id, key, message_id, expires_at, count)
        self._tx.to_clean_up(expires_at + KEY_CLEAN_UP_DELAY_MS)


def _key_of(identity: str) -> str:
    return f"import:{identity}"


def _as_json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
