"""Deliveries: pulling leases them; ack, nack and extend use the receipt of a lease."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from itertools import groupby
from operator import itemgetter
from typing import Any, NamedTuple

from ... import names
from ...commands.channel import ChannelPull
from ...commands.delivery import Message
from ...commands.message import MessageAck, MessageExtend, MessageNack
from ...commands.queue import QueueConsume, QueuePull
from ...commands.request import Principal, Request
from ...commands.settings import backoff_ms
from ...errors import BrokerError, NotFound, Stale
from .. import statements as sql
from ..transaction import QueueRow, Transaction
from .death import Ending, add_failure, die
from .expiry import expire, has_expired, note_next_expiry
from .registry import all_or_none, handles_batch
from .removal import remove
from .rights import check_may_pull, existing_queue

#: One pull makes at most so many due deliveries ready before it claims: if a
#: million leases end at once, each pull does its share and none does it all.
DUE_SLICE = 1000
#: A claim that meets an expired message in front takes so many away before it goes
#: on: some 40 ms. It passes over the rest, which costs much less for each, but each
#: claim would do so again, and by itself the clean-up is slow while many claim.
EXPIRED_SHARE = 10_000
#: The end of a lease that lives as long as its consumer's connection: no time ever
#: comes to it, and who owns the database after its server ends it.
CONNECTION_LEASE = 2**62
#: An ack of so many receipts that follow each other is one by itself.
LONG_ACK = 16
LEASE_ENDED = "the lease ended"
NACKED = "nacked"


class Lease(NamedTuple):
    """A lease, as a receipt names it: a row of :data:`~..statements.FIND_LEASES`."""

    delivery_id: int
    queue_id: int
    message_id: int
    size: int
    generation: int
    due_at: int
    leased_by: int
    attempts: int
    failures: str | None


# --- pulling ---------------------------------------------------------------------


@handles_batch(QueuePull, QueueConsume)
def pull(tx: Transaction, requests: list[Request]) -> list[Any]:
    """Answer pulls with what is ready; all pulls of a queue are one claim.

    Waiting is not for here: an empty answer is an empty tuple. What a consumer
    gets is leased for as long as its connection lives.
    """
    outcomes: list[Any] = [()] * len(requests)
    by_queue: dict[int, tuple[QueueRow, list[Claim]]] = {}
    for index, (principal, command) in enumerate(requests):
        try:
            queue = existing_queue(tx, command.queue)
            check_may_pull(principal, queue)
        except BrokerError as refusal:
            outcomes[index] = refusal
            continue
        until: int | None = CONNECTION_LEASE
        if type(command) is QueueConsume:
            max_count, waits = command.prefetch, command.wait_ms > 0
        else:
            _, count, wait_ms, lease_ms, no_ack = command
            max_count, waits = count or 1, wait_ms > 0
            until = None if no_ack else tx.now + lease_ms
        claim = tuple.__new__(Claim, (index, principal, max_count, until, waits))
        by_queue.setdefault(queue.id, (queue, []))[1].append(claim)
    for queue, claims in by_queue.values():
        _claim(tx, queue, claims, outcomes)
    return outcomes


@handles_batch(ChannelPull)
def pull_subscription(tx: Transaction, requests: list[Request]) -> list[Any]:
    """Answer pulls from the callers' own subscriptions."""
    outcomes: list[Any] = [None] * len(requests)
    pulls: list[tuple[int, Request]] = []
    for index, (principal, command) in enumerate(requests):
        queue = names.subscription_queue(command.channel, principal.name, command.as_name or "")
        if tx.find_queue(queue) is None:
            outcomes[index] = missing_subscription(tx, command.channel, command.as_name)
            continue
        queue_pull = QueuePull(
            queue, command.max_count, command.wait_ms, command.lease_ms, command.no_ack
        )
        pulls.append((index, Request(principal, queue_pull)))
    for (index, _), outcome in zip(pulls, pull(tx, [p for _, p in pulls]), strict=True):
        outcomes[index] = outcome
    return outcomes


def missing_subscription(tx: Transaction, channel: str, as_name: str | None) -> NotFound:
    """Return the refusal that says whether the channel is missing or the subscription."""
    if tx.one(sql.FIND_CHANNEL, (channel,)) is None:
        return NotFound(f"there is no channel {channel!r}")
    named = f" as {as_name!r}" if as_name else ""
    return NotFound(f"you are not subscribed to {channel!r}{named}")


class Claim(NamedTuple):
    """What one of a batch of pulls wants from a queue.

    Attributes:
        place: of its outcome.
        principal: who gets it.
        max_count: at most so many.
        until: when their leases end; None is no lease.
        waits: whether it waits where there is nothing.
    """

    place: int
    principal: Principal
    max_count: int
    until: int | None
    waits: bool


def _claim(tx: Transaction, queue: QueueRow, claims: list[Claim], outcomes: list[Any]) -> None:
    """Hand out what is ready in a queue, in order, to pulls in order."""
    if queue.expire_idle:
        _touch(tx, queue)
    feeders = _feeders(tx, queue)
    for feeder in feeders:
        make_due_ready(tx, feeder)
    make_due_ready(tx, queue)
    counters = tx.counters(queue.id)
    if queue.pulls_paused or queue.ready + counters.ready <= 0:
        _note_waits(tx, (*feeders, queue), claims, outcomes)
        return
    if has_expired(tx):
        head = tx.one(sql.HEAD_EXPIRY, (queue.id,))
        if head is not None and head[0] is not None and head[0] <= tx.now:
            expire(tx, EXPIRED_SHARE)
    wanted = sum([claim.max_count for claim in claims])
    rows = tx.each(sql.CLAIM, (queue.id, tx.now, wanted))
    granted: dict[tuple[int, int], list[int]] = {}
    popped: list[tuple[int, int]] = []
    count = 0
    ahead = next(rows, None)
    for index, principal, max_count, until, _ in claims:
        taken: list[tuple[Any, ...]] = []
        budget = names.MAX_PULL_BYTES
        while ahead is not None and len(taken) < max_count:
            size = len(ahead[-1])
            if taken and size > budget:
                break
            budget -= size
            taken.append(ahead)
            ahead = next(rows, None)
        count += len(taken)
        outcomes[index] = _messages(taken, queue.name, until)
        if until is None:
            popped += [(row[0], row[1]) for row in taken]
            counters.bytes -= names.MAX_PULL_BYTES - budget
        else:
            granted.setdefault((until, principal.id), []).extend([row[0] for row in taken])
    for (until, user_id), leased in granted.items():
        tx.run_bulk(sql.LEASE, leased, until, user_id)
        counters.leased += len(leased)
        if until != CONNECTION_LEASE:
            tx.falls_due(queue.name, until)
    remove(tx, popped)
    counters.ready -= count
    tx.takes(queue.name, count)
    # Left for its size, or because nobody wanted more: that is for the next who waits.
    if ahead is not None or (count == wanted and queue.ready + counters.ready > 0):
        tx.leaves(queue.name)
    _note_waits(tx, (*feeders, queue), claims, outcomes)


def _feeders(tx: Transaction, queue: QueueRow) -> list[QueueRow]:
    """Return the queues whose dead come to a queue, as far as any may die there now."""
    has_none = ("has no feeders", queue.id)
    if tx.recall(has_none):
        return []
    if tx.one(sql.HAS_FEEDERS, (queue.name,)) is None:
        tx.remember(has_none, True)
        return []
    return [existing_queue(tx, name) for (name,) in tx.all(sql.FEEDERS, (queue.name,))]


def _note_waits(
    tx: Transaction, queues: Sequence[QueueRow], claims: list[Claim], outcomes: list[Any]
) -> None:
    """Note when something falls due that may come to who waits now: it got less than it wanted."""
    for place, _, max_count, _, waits in claims:
        if waits and len(outcomes[place]) < max_count:
            for queue in queues:
                note_next_due(tx, queue)
            return


def _touch(tx: Transaction, queue: QueueRow) -> None:
    """Note that a subscription is in use; not more often than its idle time asks for."""
    until = tx.now + queue.expire_idle
    if queue.idle_at is None or until - queue.idle_at > queue.expire_idle // 20:
        tx.run(sql.TOUCH, (until, queue.id))
        tx.to_clean_up(until)


def _messages(
    rows: Sequence[tuple[Any, ...]], queue: str, until: int | None
) -> tuple[Message, ...]:
    """Return claimed rows as messages."""
    leased_until = None if until == CONNECTION_LEASE else until
    messages = []
    for (
        delivery_id, message_id, rank, attempts, generation, died,
        sender, sent_at, content_type, headers, body,
    ) in rows:  # fmt: skip
        fields = (
            message_id,
            queue,
            body,
            content_type,
            json.loads(headers) if headers else {},
            sender,
            sent_at,
            attempts + 1,
            names.MAX_PRIORITY - rank,
            None if until is None else receipt_of(delivery_id, generation + 1),
            leased_until,
            json.loads(died) if died else None,
        )
        # As the class itself would, but for its detour through Python.
        messages.append(tuple.__new__(Message, fields))
    return tuple(messages)


def receipt_of(delivery_id: int, generation: int) -> str:
    """Return the receipt of a lease."""
    return f"{delivery_id}.{generation}"


def make_due_ready(tx: Transaction, queue: QueueRow) -> None:
    """Make ready what is due in a queue, leases that have ended and delays that are over.

    Every claim begins with it, so that no promise hangs on a timer. A lease that
    ended was a failure, and may have been the last.
    """
    counters = tx.counters(queue.id)
    if queue.delayed + counters.delayed > 0:
        _end_delays(tx, queue)
    if queue.leased + counters.leased > 0:
        has_none = ("has no connection leases", queue.id)
        if not (tx.has_consumers or tx.recall(has_none) or end_connection_leases(tx, queue)):
            tx.remember(has_none, True)
        _end_leases(tx, queue)


def end_connection_leases(tx: Transaction, queue: QueueRow) -> bool:
    """Give back, uncounted, what was leased to connections of a server that is no more.

    Returns:
        Whether there may be more.
    """
    rows = tx.all(sql.FIND_CONNECTION_LEASES, (queue.id, CONNECTION_LEASE, DUE_SLICE))
    if not rows:
        return False
    now = tx.now
    tx.run_many(sql.RELEASE, [(1, now, None, failures, id_) for id_, failures in rows])
    note_next_expiry(tx)
    counters = tx.counters(queue.id)
    counters.leased -= len(rows)
    counters.ready += len(rows)
    tx.wakes(queue.name, len(rows))
    return len(rows) == DUE_SLICE


def _end_delays(tx: Transaction, queue: QueueRow) -> None:
    due = tx.all(sql.FIND_DUE_DELAYED, (queue.id, tx.now, DUE_SLICE))
    if not due:
        return
    tx.run_many(sql.MAKE_READY, due)
    counters = tx.counters(queue.id)
    counters.delayed -= len(due)
    counters.ready += len(due)
    tx.wakes(queue.name, len(due))


def _end_leases(tx: Transaction, queue: QueueRow) -> None:
    due = tx.all(sql.FIND_DUE_LEASED, (queue.id, tx.now, DUE_SLICE))
    if not due:
        return
    released: list[tuple[str, int]] = []
    endings: list[Ending] = []
    for delivery_id, message_id, leased_by, attempts, failures, size in due:
        failed = add_failure(failures, tx.now, tx.user_name(leased_by), LEASE_ENDED)
        if _was_last(queue, attempts):
            reason = _exhausted(attempts, LEASE_ENDED)
            endings.append(Ending(delivery_id, message_id, size, failed, reason))
        else:
            released.append((failed, delivery_id))
    tx.run_many(sql.END_LEASE, released)
    note_next_expiry(tx)
    counters = tx.counters(queue.id)
    counters.leased -= len(due)
    counters.ready += len(released)
    tx.wakes(queue.name, len(released))
    die(tx, queue, endings)


def _was_last(queue: QueueRow, attempts: int) -> bool:
    return 0 < queue.max_attempts <= attempts


def _exhausted(attempts: int, reason: str) -> str:
    return f"{attempts} attempt{'s' if attempts > 1 else ''}, the last: {reason}"


def note_next_due(tx: Transaction, queue: QueueRow) -> None:
    """Let the caller know when something in a queue falls due."""
    for statement in (sql.NEXT_DUE_DELAYED, sql.NEXT_DUE_LEASED):
        due_at = tx.one(statement, (queue.id,))[0]
        if due_at is not None and due_at < CONNECTION_LEASE:
            tx.falls_due(queue.name, due_at)


# --- receipts --------------------------------------------------------------------


@handles_batch(MessageAck)
def ack(tx: Transaction, requests: list[Request]) -> list[Any]:
    """Delete what was leased; acks that come together are one delete, but for long runs."""
    outcomes: list[Any] = []
    for is_joined, group in groupby(requests, key=_is_joined):
        if is_joined:
            outcomes += _ack(tx, [*group])
            continue
        for request in group:
            if request.command.send is None:
                outcomes += _ack(tx, [request])
            else:
                outcomes.append(_ack_and_send(tx, *request))
    return outcomes


def _is_joined(request: Request) -> bool:
    """Return whether an ack goes with those beside it, which would hide that it is a run."""
    receipts, send = request.command
    return send is None and (len(receipts) < LONG_ACK or not _may_be_run(receipts))


def _may_be_run(receipts: Sequence[str]) -> bool:
    """Return whether receipts may be of deliveries in a row, by the first and the last of them."""
    if not receipts:
        return False
    _, _, generation = receipts[0].partition(".")
    return receipts[-1] == f"{_delivery_of(receipts[0]) + len(receipts) - 1}.{generation}"


def _is_run(receipts: Sequence[str]) -> bool:
    """Return whether receipts are of deliveries in a row."""
    if not _may_be_run(receipts):
        return False
    first, generation = _delivery_of(receipts[0]), receipts[0].partition(".")[2]
    return [*receipts] == [f"{first + place}.{generation}" for place in range(len(receipts))]


def _ack(tx: Transaction, requests: list[Request]) -> list[Any]:
    if _ack_run(tx, requests):
        return [(None,) * len(command.receipts) for _, command in requests]
    outcomes, ended = _end(tx, requests)
    leases = [end[0] for end in ended]
    for queue_id, group in groupby(leases, key=itemgetter(1)):
        sizes = [lease.size for lease in group]
        counters = tx.counters(queue_id)
        counters.leased -= len(sizes)
        counters.bytes -= sum(sizes)
    remove(tx, [(lease[0], lease[2]) for lease in leases])
    return outcomes


def _ack_run(tx: Transaction, requests: list[Request]) -> bool:
    """Acknowledge what was sent and pulled one after the other, if that is all that is named.

    What holds for the first then holds for all, and only the database looks at each.

    Returns:
        Whether it is; if not, nothing was done.
    """
    principal, (receipts, _) = requests[0]
    if len(requests) > 1:
        receipts = [receipt for _, command in requests for receipt in command.receipts]
        if any(other is not principal and other.id != principal.id for other, _ in requests):
            return False
    if len(receipts) != 1 and not _is_run(receipts):
        return False
    first = _delivery_of(receipts[0])
    last = first + len(receipts) - 1
    try:
        lease, _ = _Leases(tx, [first]).find(principal, receipts[0])
    except BrokerError:
        return False
    if lease.message_id != first:
        return False
    count, size = len(receipts), lease.size
    if count > 1:
        alike = (first, last, lease.queue_id, lease.generation, lease.due_at)
        found, size = tx.one(sql.COUNT_LEASES, alike)
        if found < count:
            return False
    counters = tx.counters(lease.queue_id)
    counters.leased -= count
    counters.bytes -= size
    if lease.due_at == CONNECTION_LEASE:
        tx.ends(receipts)
    tx.run_span(sql.DELETE_DELIVERIES, first, last)
    tx.run_span(sql.DELETE_MESSAGES, first, last)
    return True


def _ack_and_send(tx: Transaction, principal: Principal, command: MessageAck) -> Any:
    """Acknowledge and send together or not at all; the answer is that of the send."""
    parts = [MessageAck(command.receipts), command.send]
    try:
        return all_or_none(tx, [Request(principal, part) for part in parts])[1]
    except BrokerError as refusal:
        return refusal


@handles_batch(MessageNack)
def nack(tx: Transaction, requests: list[Request]) -> list[Any]:
    """End leases: ready again at once, later, or never."""
    outcomes, leases = _end(tx, requests)
    released: list[tuple[Any, ...]] = []
    ended: list[tuple[QueueRow, Ending]] = []
    for lease, queue, command in leases:
        failures = lease.failures
        delay_ms = command.delay_ms or 0
        tx.counters(queue.id).leased -= 1
        if not command.uncounted:
            reason = command.reason or NACKED
            failures = add_failure(failures, tx.now, tx.user_name(lease.leased_by), reason)
            if command.dead or _was_last(queue, lease.attempts):
                text = reason if command.dead else _exhausted(lease.attempts, reason)
                ending = Ending(lease.delivery_id, lease.message_id, lease.size, failures, text)
                ended.append((queue, ending))
                continue
            if command.delay_ms is None:
                delay_ms = backoff_ms(queue.backoff, lease.attempts)
        until = tx.now + delay_ms if delay_ms else None
        released.append((int(command.uncounted), tx.now, until, failures, lease.delivery_id))
        if until is None:
            tx.counters(queue.id).ready += 1
            tx.wakes(queue.name)
        else:
            tx.counters(queue.id).delayed += 1
            tx.falls_due(queue.name, until)
    if released:
        tx.run_many(sql.RELEASE, released)
        note_next_expiry(tx)
    for _, group in groupby(ended, key=lambda end: end[0].id):
        endings = [*group]
        die(tx, endings[0][0], [ending for _, ending in endings])
    return outcomes


@handles_batch(MessageExtend)
def extend(tx: Transaction, requests: list[Request]) -> list[Any]:
    """Move the ends of leases; that of a consumer's is the end of its connection in any case."""
    outcomes: list[Any] = []
    leases = _Leases(tx, _deliveries_of([command.receipt for _, command in requests]))
    for principal, command in requests:
        try:
            lease, queue = leases.find(principal, command.receipt)
        except BrokerError as refusal:
            outcomes.append(refusal)
            continue
        if lease.due_at != CONNECTION_LEASE:
            until = tx.now + command.lease_ms
            tx.run(sql.EXTEND, (until, lease.delivery_id))
            tx.falls_due(queue.name, until)
        outcomes.append(None)
    return outcomes


class _End(NamedTuple):
    """A lease that a receipt has ended, its queue, and the command that wanted it."""

    lease: Lease
    queue: QueueRow
    command: Any


def _end(tx: Transaction, requests: list[Request]) -> tuple[list[Any], list[_End]]:
    """End the lease of every receipt.

    Returns:
        For each request a tuple with None, or the refusal, for each of its receipts; and
        the leases that have ended.
    """
    receipts = [receipt for _, command in requests for receipt in command.receipts]
    leases = _Leases(tx, _deliveries_of(receipts))
    outcomes: list[Any] = []
    ended: list[_End] = []
    for principal, command in requests:
        receipts = command.receipts
        whole = leases.end_all(principal, receipts) if len(receipts) > 1 else None
        if whole is not None:
            found, queue = whole
            ended += [tuple.__new__(_End, (lease, queue, command)) for lease in found]
            outcomes.append((None,) * len(found))
            continue
        answers: list[BrokerError | None] = []
        for receipt in receipts:
            try:
                lease, queue = leases.end(principal, receipt)
            except BrokerError as refusal:
                answers.append(refusal)
            else:
                ended.append(tuple.__new__(_End, (lease, queue, command)))
                answers.append(None)
        outcomes.append(tuple(answers))
    return outcomes, ended


class _Leases:
    """The leases of deliveries, those that the receipts of a batch name, looked up together."""

    def __init__(self, tx: Transaction, deliveries: Collection[int]) -> None:
        self._tx = tx
        found = tx.all_bulk(sql.FIND_LEASES, [*deliveries])
        self._by_receipt: dict[str, Lease] = {
            receipt_of(row[0], row[4]): tuple.__new__(Lease, row) for row in found
        }
        # Queues by their id, for those who may pull from them.
        self._allowed: dict[tuple[int, int], QueueRow] = {}

    def find(self, principal: Principal, receipt: str) -> tuple[Lease, QueueRow]:
        """Return the lease a receipt names, and its queue.

        Raises:
            Invalid: it was never a receipt.
            Stale: the lease has ended: by ack, nack, time, or another's pull.
            Denied: the caller may not pull from that queue.
        """
        lease = self._by_receipt.get(receipt)
        if lease is None:
            raise _stale(receipt) if _delivery_of(receipt) else names.not_a_receipt(receipt)
        queue = self._queue_of(principal, lease.queue_id) if self._lives(lease.due_at) else None
        if queue is None:
            raise _stale(receipt)
        return lease, queue

    def _lives(self, due_at: int) -> bool:
        """Return whether a lease that ends then has not ended."""
        if due_at == CONNECTION_LEASE:
            return self._tx.has_consumers
        return due_at > self._tx.now

    def _queue_of(self, principal: Principal, queue_id: int) -> QueueRow | None:
        """Return a queue from which somebody may pull; None if it is gone."""
        queue = self._allowed.get((queue_id, principal.id))
        if queue is None:
            queue = self._tx.find_queue_by_id(queue_id)
            if queue is not None:
                check_may_pull(principal, queue)
                self._allowed[queue_id, principal.id] = queue
        return queue

    def end_all(
        self, principal: Principal, receipts: Sequence[str]
    ) -> tuple[list[Lease], QueueRow] | None:
        """End all leases that receipts name, if they are alike.

        Returns:
            Them and their queue; None if one of them has ended or is named twice, or they
            are of several queues or of different ends: nothing was done.
        """
        found = [*map(self._by_receipt.get, receipts)]
        leases = [lease for lease in found if lease is not None]
        alike = {(queue_id, due_at) for _, queue_id, _, _, _, due_at, *_ in leases}
        if len(leases) < len(receipts) or len({*receipts}) < len(receipts) or len(alike) != 1:
            return None
        ((queue_id, due_at),) = alike
        try:
            queue = self._queue_of(principal, queue_id) if self._lives(due_at) else None
        except BrokerError:
            return None
        if queue is None:
            return None
        for receipt in receipts:
            del self._by_receipt[receipt]
        if due_at == CONNECTION_LEASE:
            self._tx.ends(receipts)
        return leases, queue

    def end(self, principal: Principal, receipt: str) -> tuple[Lease, QueueRow]:
        """Return what :meth:`find` does, and end the lease: its receipt is stale from now on."""
        found = self.find(principal, receipt)
        if self._by_receipt.pop(receipt).due_at == CONNECTION_LEASE:
            self._tx.ends([receipt])
        return found


def _deliveries_of(receipts: Sequence[str]) -> set[int]:
    """Return the ids of the deliveries that receipts name, and 0 for what is none."""
    try:
        found = {int(receipt.partition(".")[0]) for receipt in receipts}
    except ValueError:
        found = set()
    if not found or max(found) > names.MAX_INTEGER:
        return {_delivery_of(receipt) for receipt in receipts}
    return found


def _delivery_of(receipt: str) -> int:
    """Return the id of the delivery that a receipt names; 0, which none has, if it is none."""
    delivery, _, generation = receipt.partition(".")
    if not delivery.isdecimal() or not generation.isdecimal():
        return 0
    return min(int(delivery), names.MAX_INTEGER)


def _stale(receipt: str) -> Stale:
    return Stale(f"the lease of receipt {receipt!r} has ended")
