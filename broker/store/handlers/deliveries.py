"""Deliveries: pulling leases them; ack, nack and extend use the receipt of a lease."""

from __future__ import annotations

import json
from collections.abc import Callable, Set
from typing import Any, NamedTuple

from ... import names
from ...commands.channel import ChannelPull
from ...commands.message import Message, MessageAck, MessageExtend, MessageNack
from ...commands.queue import QueuePull
from ...commands.request import Principal, Request
from ...errors import BrokerError, Invalid, NotFound, Stale
from .. import statements as sql
from ..transaction import QueueRow, Transaction
from .registry import handles_batch
from .removal import remove
from .rights import check_may_pull, existing_queue

#: One pull makes at most so many due deliveries ready before it claims: if a
#: million leases end at once, each pull does its share and none does it all.
DUE_SLICE = 1000


class Lease(NamedTuple):
    """A live lease, as a receipt names it."""

    delivery_id: int
    message_id: int
    queue: QueueRow
    size: int


# --- pulling ---------------------------------------------------------------------


@handles_batch(QueuePull)
def pull(tx: Transaction, requests: list[Request]) -> list[Any]:
    """Answer pulls with what is ready; all pulls of a queue are one claim.

    Waiting is not for here: an empty answer is an empty tuple.
    """
    outcomes: list[Any] = [()] * len(requests)
    by_queue: dict[int, tuple[QueueRow, list[int]]] = {}
    for index, (principal, command) in enumerate(requests):
        try:
            queue = existing_queue(tx, command.queue)
            check_may_pull(principal, queue)
        except BrokerError as refusal:
            outcomes[index] = refusal
            continue
        by_queue.setdefault(queue.id, (queue, []))[1].append(index)
    for queue, indexes in by_queue.values():
        _claim(tx, queue, [(index, requests[index]) for index in indexes], outcomes)
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


def _claim(
    tx: Transaction, queue: QueueRow, pulls: list[tuple[int, Request]], outcomes: list[Any]
) -> None:
    """Hand out what is ready in a queue, in order, to pulls in order."""
    make_due_ready(tx, queue)
    counters = tx.counters(queue.id)
    if queue.ready + counters.ready <= 0:
        if any(request.command.wait_ms for _, request in pulls):
            _note_next_due(tx, queue)
        return
    wanted = sum(request.command.max_count or 1 for _, request in pulls)
    rows = tx.stream(sql.CLAIM, (queue.id, wanted))
    leases: list[tuple[int, int, int]] = []
    popped: list[tuple[int, int]] = []
    ahead = rows.fetchone()
    for index, (principal, command) in pulls:
        messages: list[Message] = []
        until = None if command.no_ack else tx.now + command.lease_ms
        budget = names.MAX_PULL_BYTES
        for _ in range(command.max_count or 1):
            if ahead is None or (messages and ahead[3] > budget):
                break
            row, ahead = ahead, rows.fetchone()
            budget -= row[3]
            messages.append(_message(row, queue.name, until))
            if until is None:
                popped.append((row[0], row[1]))
                counters.bytes -= row[3]
            else:
                leases.append((until, principal.id, row[0]))
        if messages and until is not None:
            tx.falls_due(queue.name, until)
        outcomes[index] = tuple(messages)
    rows.close()
    counters.ready -= len(leases) + len(popped)
    counters.leased += len(leases)
    tx.run_many(sql.LEASE, leases)
    remove(tx, popped)


def _message(row: tuple[Any, ...], queue: str, until: int | None) -> Message:
    (
        delivery_id, message_id, rank, _, attempts, generation,
        sender, sent_at, content_type, headers, body,
    ) = row  # fmt: skip
    return Message(
        message_id,
        queue,
        body,
        content_type,
        json.loads(headers) if headers else {},
        sender,
        sent_at,
        attempts + 1,
        names.MAX_PRIORITY - rank,
        None if until is None else f"{delivery_id}.{generation + 1}",
        until,
    )


def make_due_ready(tx: Transaction, queue: QueueRow) -> None:
    """Make ready what is due in a queue, leases that have ended and delays that are over.

    Every claim begins with it, so that no promise hangs on a timer.
    """
    counters = tx.counters(queue.id)
    if queue.leased + counters.leased + queue.delayed + counters.delayed <= 0:
        return
    due = tx.all(sql.FIND_DUE, (queue.id, tx.now, DUE_SLICE))
    if not due:
        return
    tx.run_many(sql.MAKE_READY, [(delivery_id,) for delivery_id, _ in due])
    leased = sum(leased_by is not None for _, leased_by in due)
    counters.ready += len(due)
    counters.leased -= leased
    counters.delayed -= len(due) - leased
    tx.woken_queues[queue.name] += len(due)


def _note_next_due(tx: Transaction, queue: QueueRow) -> None:
    """Let whoever waits for an empty queue know when to look again."""
    due_at = tx.one(sql.NEXT_DUE, (queue.id,))[0]
    if due_at is not None:
        tx.falls_due(queue.name, due_at)


# --- receipts --------------------------------------------------------------------


@handles_batch(MessageAck)
def ack(tx: Transaction, requests: list[Request]) -> list[Any]:
    """Delete what was leased; all acks of a batch are one delete."""
    done: list[tuple[int, int]] = []

    def settle(lease: Lease, command: MessageAck) -> None:
        done.append((lease.delivery_id, lease.message_id))
        counters = tx.counters(lease.queue.id)
        counters.leased -= 1
        counters.bytes -= lease.size

    outcomes = _for_each_receipt(tx, requests, settle)
    remove(tx, done)
    return outcomes


@handles_batch(MessageNack)
def nack(tx: Transaction, requests: list[Request]) -> list[Any]:
    """End leases: ready at the old place at once, or after a delay."""
    released: list[tuple[int, int | None, int]] = []

    def settle(lease: Lease, command: MessageNack) -> None:
        until = tx.now + command.delay_ms if command.delay_ms else None
        released.append((int(command.uncounted), until, lease.delivery_id))
        counters = tx.counters(lease.queue.id)
        counters.leased -= 1
        if until is None:
            counters.ready += 1
            tx.woken_queues[lease.queue.name] += 1
        else:
            counters.delayed += 1
            tx.falls_due(lease.queue.name, until)

    outcomes = _for_each_receipt(tx, requests, settle)
    tx.run_many(sql.RELEASE, released)
    return outcomes


@handles_batch(MessageExtend)
def extend(tx: Transaction, requests: list[Request]) -> list[Any]:
    """Move the ends of leases."""
    outcomes: list[Any] = []
    for principal, command in requests:
        try:
            lease = _live_lease(tx, principal, command.receipt)
        except BrokerError as refusal:
            outcomes.append(refusal)
            continue
        until = tx.now + command.lease_ms
        tx.run(sql.EXTEND, (until, lease.delivery_id))
        tx.falls_due(lease.queue.name, until)
        outcomes.append(None)
    return outcomes


def _for_each_receipt(
    tx: Transaction, requests: list[Request], settle: Callable[[Lease, Any], None]
) -> list[Any]:
    """Settle the lease of every receipt; the outcome of each is None or its refusal.

    A receipt that comes twice in one batch is stale the second time, as it
    would be in a batch of its own.
    """
    settled: set[int] = set()
    outcomes: list[Any] = []
    for principal, command in requests:
        answers: list[BrokerError | None] = []
        for receipt in command.receipts:
            try:
                lease = _live_lease(tx, principal, receipt, settled)
            except BrokerError as refusal:
                answers.append(refusal)
                continue
            settled.add(lease.delivery_id)
            settle(lease, command)
            answers.append(None)
        outcomes.append(tuple(answers))
    return outcomes


def _live_lease(
    tx: Transaction, principal: Principal, receipt: str, settled: Set[int] = frozenset()
) -> Lease:
    """Return the lease a receipt names; those of ``settled`` deliveries have just ended.

    Raises:
        Invalid: it was never a receipt.
        Stale: the lease has ended: by ack, nack, time, or another's pull.
        Denied: the caller may not pull from that queue.
    """
    delivery, dot, generation = receipt.partition(".")
    if not dot or not delivery.isdigit() or not generation.isdigit():
        raise Invalid(f"not a receipt: {receipt!r}")
    row = tx.one(sql.FIND_DELIVERY, (min(int(delivery), names.MAX_INTEGER),))
    if row is None:
        raise _stale(receipt)
    queue_id, message_id, size, current, due_at, leased_by = row
    queue = tx.find_queue_by_id(queue_id)
    if queue is None:
        raise _stale(receipt)
    ended = leased_by is None or due_at <= tx.now or int(delivery) in settled
    if ended or current != int(generation):
        raise _stale(receipt)
    check_may_pull(principal, queue)
    return Lease(int(delivery), message_id, queue, size)


def _stale(receipt: str) -> Stale:
    return Stale(f"the lease of receipt {receipt!r} has ended")
