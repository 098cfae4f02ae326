"""Storing messages: sends to queues, publications to channels."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from itertools import chain, groupby
from typing import Any, NamedTuple

from ... import names
from ...commands.channel import PUBLISH_ANYONE, ChannelPublish
from ...commands.queue import QueueSend, QueueSendMany
from ...commands.request import Principal, Request
from ...commands.sending import Sent, SentMany
from ...errors import BrokerError, Denied, Invalid, NotFound
from .. import statements as sql
from ..dialect import NULL
from ..transaction import CounterChanges, QueueRow, Transaction
from .expiry import check_takes_alive, expire, note_next_expiry
from .limits import is_limited, make_room_in_channel
from .registry import all_or_none, handles, handles_batch
from .rights import check_may_send, existing_queue

#: From how many on messages alike are stored by statements of their own; a few different
#: ones need fewer statements together.
LONG_RUN = 16
#: How many publications are copied by one statement: it numbers the subscriptions once for all.
PUBLICATIONS_TOGETHER = 32
#: Expired keys are not honoured any more; they are taken away this long after, so
#: that many go together. In milliseconds.
KEY_CLEAN_UP_DELAY_MS = 60_000


class ChannelRow(NamedTuple):
    """A channel as the handlers know it."""

    id: int
    name: str
    owner_id: int
    publish: str
    subscriptions: int


def existing_channel(tx: Transaction, name: str) -> ChannelRow:
    """Return a channel by name, or refuse."""
    row = tx.one(sql.FIND_CHANNEL, (name,))
    if row is None:
        raise NotFound(f"there is no channel {name!r}")
    return ChannelRow(*row)


class _Keys:
    """The keys of a batch that are remembered, those of the batch itself among them."""

    def __init__(self, tx: Transaction, wanted: Mapping[int, Sequence[str]]) -> None:
        self._tx = tx
        self._known: dict[tuple[int, str], tuple[int, int, int]] = {}
        for target_id, keys in wanted.items():
            for key, *sent in tx.all_bulk(sql.FIND_KEYS, keys, target_id):
                self._known[target_id, key] = tuple(sent)
        self._stored: list[Any] = []

    def sent_before(self, target_id: int, key: str | None) -> tuple[int, int] | None:
        """Return the first id and the number of what was sent with a key, if it is remembered."""
        if key is None:
            return None
        row = self._known.get((target_id, key))
        if row is None:
            return None
        message_id, expires_at, count = row
        if expires_at > self._tx.now:
            return message_id, count
        del self._known[target_id, key]
        self._tx.run(sql.DELETE_KEY, (target_id, key))
        return None

    def remember(self, target_id: int, key: str, ttl_ms: int, message_id: int, count: int) -> None:
        """Remember what was stored with a key: ``count`` messages from ``message_id`` on."""
        expires_at = self._tx.now + ttl_ms
        self._known[target_id, key] = (message_id, expires_at, count)
        self._stored += (target_id, key, message_id, expires_at, count)
        self._tx.to_clean_up(expires_at + KEY_CLEAN_UP_DELAY_MS)

    def store(self) -> None:
        """Store what was remembered."""
        if self._stored:
            self._tx.run_bulk(sql.INSERT_KEYS, self._stored)
            self._stored = []


#: Messages of one sender to one queue that differ in their bodies alone, and whose ids follow:
#: the first id, the sender's name, one of the sends, the queue's id, when each falls due and
#: when it expires (or None), and the bodies.
_Run = tuple[int, str, QueueSend, int, int | None, int | None, list[bytes]]


class _Sends:
    """The sends of a batch: each is checked as it comes, and all are stored together."""

    def __init__(self, tx: Transaction, requests: list[Request]) -> None:
        self._tx = tx
        self._keys = _Keys(tx, _keys_of(tx, requests))
        self._next_id = tx.allocate(len(requests))
        # Taken, and not yet in the database.
        self._runs: list[_Run] = []

    def take(self, sender: str, command: QueueSend, bodies: list[bytes]) -> Sequence[Any]:
        """Take sends that differ in their bodies alone; return their outcomes."""
        tx = self._tx
        try:
            queue = existing_queue(tx, command.queue)
            check_may_send(queue)
            if len(bodies) == 1 or (
                command.key is None
                and not is_limited(queue)
                and max(map(len, bodies)) <= tx.limits.max_message_bytes
            ):
                return self._take(queue, sender, command, bodies)
        except BrokerError as refusal:
            return [refusal] * len(bodies)
        # Each may be refused, or be a duplicate, by itself.
        outcomes: list[Any] = []
        for body in bodies:
            try:
                outcomes += self._take(queue, sender, command, [body])
            except BrokerError as refusal:
                outcomes.append(refusal)
        return outcomes

    def _take(
        self, queue: QueueRow, sender: str, command: QueueSend, bodies: list[bytes]
    ) -> Sequence[Any]:
        """Take one, or several where no rule looks at each; return their outcomes."""
        tx, key, first, count = self._tx, command.key, self._next_id, len(bodies)
        names.check_body_size(len(bodies[0]), tx.limits.max_message_bytes)
        due_at, expires_at = _times(command, queue.ttl, tx.now)
        sent = self._keys.sent_before(queue.id, key)
        if sent is not None:
            return [Sent(sent[0], True)]
        tx.check_room()
        if is_limited(queue):
            self._store()
            check_takes_alive(tx, queue, len(bodies[0]))
        self._next_id = first + count
        self._runs.append((first, sender, command, queue.id, due_at, expires_at, bodies))
        counters = tx.counters(queue.id)
        counters.bytes += sum(map(len, bodies))
        if due_at is None:
            counters.ready += count
            tx.wakes(queue.name, count)
        else:
            counters.delayed += count
            tx.falls_due(queue.name, due_at)
        if expires_at is not None:
            tx.to_clean_up(expires_at)
        if key is None:
            return range(first, first + count)
        self._keys.remember(queue.id, key, command.key_ttl_ms, first, 1)
        return [Sent(first, False)]

    def finish(self) -> None:
        """Store what was taken."""
        self._store()
        self._keys.store()

    def _store(self) -> None:
        """Store what was taken: long runs each in statements of their own, the others together."""
        tx, runs = self._tx, self._runs
        messages: list[Any] = []
        deliveries: list[Any] = []
        for first, sender, command, queue_id, due_at, expires_at, bodies in runs:
            headers = _headers_text(command.headers) if command.headers else NULL
            common = (sender, tx.now, command.content_type or NULL, headers)
            rank = names.MAX_PRIORITY - command.priority
            times = (NULL if due_at else tx.now, due_at or NULL, expires_at or NULL)
            if len(runs) == 1 or len(bodies) >= LONG_RUN:
                tx.run_bulk(sql.INSERT_MESSAGES_ALIKE, bodies, first, *common)
                sizes = list(map(len, bodies))
                tx.run_bulk(sql.INSERT_DELIVERIES_ALIKE, sizes, first, queue_id, rank, *times)
                continue
            for message_id, body in enumerate(bodies, first):
                messages += (message_id, *common, body)
                deliveries += (message_id, queue_id, message_id, rank, len(body), 0, 0, *times)
        if messages:
            tx.run_bulk(sql.INSERT_MESSAGES, messages)
            tx.run_bulk(sql.INSERT_DELIVERIES, deliveries)
        runs.clear()


@handles_batch(QueueSend)
def send(tx: Transaction, requests: list[Request]) -> list[Any]:
    """Store messages, each with one delivery of the same id.

    The whole batch goes in a few statements, whatever its size; but a full queue that
    drops its oldest has each of its messages stored before the next.
    """
    sends = _Sends(tx, requests)
    if len(requests) == 1:
        ((principal, command),) = requests
        outcomes = [*sends.take(principal.name, command, [command.body])]
        sends.finish()
        return outcomes
    outcomes = []
    for (sender, *_), group in groupby(requests, key=_all_but_body):
        commands = [command for _, command in group]
        outcomes += sends.take(sender, commands[0], [command.body for command in commands])
    sends.finish()
    return outcomes


def _all_but_body(request: Request) -> tuple[Any, ...]:
    principal, command = request
    return principal.name, command[0], command[2:]


def _keys_of(tx: Transaction, requests: list[Request]) -> dict[int, list[str]]:
    """Return the keys of sends by the id of their queue; one that is missing has none."""
    found: dict[int, list[str]] = {}
    for _, command in requests:
        if command.key is not None and (queue := tx.find_queue(command.queue)) is not None:
            found.setdefault(queue.id, []).append(command.key)
    return found


@handles(QueueSendMany)
def send_many(
    tx: Transaction, principal: Principal, command: QueueSendMany
) -> tuple[int, ...] | SentMany:
    """Store many messages alike, all or none."""
    queue = existing_queue(tx, command.queue)
    keys = _Keys(tx, {} if command.key is None else {queue.id: [command.key]})
    sent = keys.sent_before(queue.id, command.key)
    if sent is not None:
        first, count = sent
        return SentMany(tuple(range(first, first + count)), True)
    sends = [
        Request(
            principal,
            QueueSend(
                command.queue, body, command.priority, command.delay_ms, None,
                names.DEFAULT_KEY_TTL_MS, command.content_type, command.headers, command.at_ms,
                command.ttl_ms,
            ),
        )
        for body in command.bodies
    ]  # fmt: skip
    ids = tuple(all_or_none(tx, sends))
    if command.key is None:
        return ids
    keys.remember(queue.id, command.key, command.key_ttl_ms, ids[0], len(ids))
    keys.store()
    return SentMany(ids, False)


class _Outlet:
    """A channel that a batch publishes to.

    Attributes:
        channel: its row.
        is_limited: whether any of its subscriptions has limits, a lifetime or a pause.
        publishers: ids of those who may publish to it.
        copies: what was taken and is not yet in the database; for each the parameters of
            its copies.
    """

    __slots__ = ("channel", "copies", "is_limited", "publishers")

    def __init__(self, tx: Transaction, name: str) -> None:
        self.channel = existing_channel(tx, name)
        self.is_limited = tx.one(sql.IS_LIMITED, (self.channel.id, 1)) is not None
        self.publishers: set[int] = set()
        self.copies: list[tuple[Any, ...]] = []


class _Publications:
    """The publications of a batch: each is checked as it comes, and all are stored together.

    But where a subscription is limited, each is stored before the next, which may find it full.
    """

    def __init__(self, tx: Transaction) -> None:
        self._tx = tx
        self._outlets: dict[str, _Outlet] = {}
        # Taken, and not yet in the database: messages, and how many copies they have.
        self._messages: list[Any] = []
        self._counts: list[int] = []

    def take(self, principal: Principal, command: ChannelPublish) -> Any:
        """Take one; return its outcome, which may be a refusal."""
        tx = self._tx
        try:
            outlet = self._outlet(principal, command.channel)
            channel = outlet.channel
            names.check_body_size(len(command.body), tx.limits.max_message_bytes)
            keys = _Keys(tx, {} if command.key is None else {channel.id: [command.key]})
            sent = keys.sent_before(channel.id, command.key)
            times = _times(command, 0, tx.now)
            if sent is None:
                tx.check_room()
        except BrokerError as refusal:
            return refusal
        if sent is not None:
            return Sent(sent[0], True)
        message_id = tx.allocate(1 + channel.subscriptions)
        # Without subscriptions there is nobody to keep it for: only the id is used up.
        if channel.subscriptions:
            self._take(outlet, message_id, principal, command, times)
        if command.key is None:
            return message_id
        keys.remember(channel.id, command.key, command.key_ttl_ms, message_id, 1)
        keys.store()
        return Sent(message_id, False)

    def _outlet(self, principal: Principal, name: str) -> _Outlet:
        """Return a channel by name, or refuse who may not publish to it."""
        outlet = self._outlets.get(name)
        if outlet is None:
            outlet = self._outlets[name] = _Outlet(self._tx, name)
        if principal.id not in outlet.publishers:
            _check_may_publish(self._tx, principal, outlet.channel)
            outlet.publishers.add(principal.id)
        return outlet

    def _take(
        self,
        outlet: _Outlet,
        message_id: int,
        principal: Principal,
        command: ChannelPublish,
        times: tuple[int | None, int | None],
    ) -> None:
        """Take one that somebody may get."""
        tx, channel = self._tx, outlet.channel
        due_at, expires_at = times
        size = len(command.body)
        rank = names.MAX_PRIORITY - command.priority
        ready_at = NULL if due_at else tx.now
        copy = (message_id, rank, size, ready_at, due_at or NULL, expires_at or NULL)
        if outlet.is_limited:
            count = _fan_out_within_limits(tx, channel.id, copy, due_at)
            if not count:
                return
        else:
            outlet.copies.append(copy)
            count = channel.subscriptions
            _count_arrival(tx.channel_counters(channel.id), size, due_at)
            tx.to_clean_up(expires_at)
        headers = _headers_text(command.headers) if command.headers else NULL
        common = (principal.name, tx.now, command.content_type or NULL, headers)
        self._messages += (message_id, *common, command.body)
        self._counts += (message_id, count, count)
        if outlet.is_limited:
            self._store_messages()
        if due_at is None:
            tx.wakes_channel(channel.name)
        else:
            tx.channel_falls_due(channel.name, due_at)

    def finish(self) -> None:
        """Store what was taken."""
        for outlet in self._outlets.values():
            _fan_out(self._tx, outlet)
        self._store_messages()
        # Whoever reads a subscription's counters later in this transaction must see them.
        self._tx.flush()

    def _store_messages(self) -> None:
        self._tx.run_bulk(sql.INSERT_MESSAGES, self._messages)
        self._tx.run_bulk(sql.INSERT_PUBLICATIONS, self._counts)
        self._messages = []
        self._counts = []


@handles_batch(ChannelPublish)
def publish(tx: Transaction, requests: list[Request]) -> list[Any]:
    """Store each message once, and copies for its channel's subscriptions."""
    publications = _Publications(tx)
    outcomes = [publications.take(principal, command) for principal, command in requests]
    publications.finish()
    return outcomes


def _check_may_publish(tx: Transaction, principal: Principal, channel: ChannelRow) -> None:
    """Only subscribers publish, owner and admin too, unless the channel is open to anyone."""
    if channel.publish == PUBLISH_ANYONE:
        return
    if tx.one(sql.IS_SUBSCRIBED, (channel.id, principal.id)) is None:
        raise Denied(f"only subscribers publish to {channel.name!r}: subscribe first")


def _fan_out(tx: Transaction, outlet: _Outlet) -> None:
    """Make the copies of what was taken for a channel without limits, inside the database."""
    channel, copies = outlet.channel, outlet.copies
    for start in range(0, len(copies), PUBLICATIONS_TOGETHER):
        part = copies[start : start + PUBLICATIONS_TOGETHER]
        made = tx.run(sql.FAN_OUT.of(len(part)), (channel.id, *chain.from_iterable(part)))
        if made != len(part) * channel.subscriptions:
            raise AssertionError(
                f"{channel.name!r} counts {channel.subscriptions} subscriptions, and there are "
                f"{made} copies of {len(part)} publications"
            )


def _fan_out_within_limits(
    tx: Transaction, channel_id: int, copy: tuple[Any, ...], due_at: int | None
) -> int:
    """Make a copy for each subscription that has room, and return how many that were.

    Who is full misses it, and counts it, without failing the others. The limits
    are read from the rows, so what is owed to them is written before and after.
    """
    _, _, size, *_ = copy
    expire(tx)
    tx.flush()
    make_room_in_channel(tx, channel_id, size)
    copies = tx.run(sql.FAN_OUT_WITHIN_LIMITS, (*copy, tx.now, channel_id))
    tx.run(sql.COUNT_MISSED, (1, channel_id, size))
    arrival = CounterChanges()
    _count_arrival(arrival, size, due_at)
    tx.run(sql.ADD_TO_ROOMY, (*arrival.row(channel_id), size))
    note_next_expiry(tx)
    return copies


def _times(
    command: QueueSend | ChannelPublish, ttl_ms: int, now: int
) -> tuple[int | None, int | None]:
    """Return when a message is due, None for at once, and when it expires, None for never.

    Args:
        command: with its own lifetime, or none.
        ttl_ms: that of the queue, 0 for none; the shorter counts.
        now: when it is sent.
    """
    due_at = now + command.delay_ms if command.delay_ms else None
    if command.at_ms is not None and command.at_ms > now:
        due_at = command.at_ms
    if command.ttl_ms is not None:
        ttl_ms = min(command.ttl_ms, ttl_ms) if ttl_ms else command.ttl_ms
    if not ttl_ms:
        return due_at, None
    if due_at is not None and due_at - now >= ttl_ms:
        life = names.format_duration(ttl_ms)
        raise Invalid(f"a message that lives for {life}, no longer than its delay, never comes")
    return due_at, now + ttl_ms


def _headers_text(headers: Mapping[str, str]) -> str:
    return json.dumps(dict(headers), ensure_ascii=False, separators=(",", ":"))


def _count_arrival(counters: CounterChanges, size: int, due_at: int | None) -> None:
    counters.bytes += size
    if due_at is None:
        counters.ready += 1
    else:
        counters.delayed += 1
