"""One delivery of a message, by its queue and the message's id: looked at, or taken in hand."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import closing
from typing import Any, NamedTuple

from ...commands.delivery import DEAD, DELAYED, LEASED, READY, Peeked, Place, Whereabouts
from ...commands.message import MessageDelete, MessageMove, MessageRelease, MessageShow
from ...commands.queue import QueuePeek
from ...commands.request import Principal
from ...errors import Conflict, Denied, NotFound
from ...names import MAX_PRIORITY, MAX_PULL_BYTES, MAX_REPEATED
from .. import statements as sql
from ..transaction import QueueRow, Transaction
from .deliveries import CONNECTION_LEASE, make_due_ready, receipt_of
from .expiry import check_takes_alive, expire, note_next_expiry
from .registry import handles
from .removal import remove, remove_dead
from .rights import check_may_pull, check_may_send, check_owns, existing_queue

# --- looking ---------------------------------------------------------------------


@handles(QueuePeek)
def peek(tx: Transaction, principal: Principal, command: QueuePeek) -> tuple[Peeked, ...]:
    """Return the first deliveries in a state; no attempt is counted, no lease given."""
    queue = existing_queue(tx, command.queue)
    check_may_pull(principal, queue)
    expire(tx)
    make_due_ready(tx, queue)
    with closing(_peeked(tx, queue, command.state, command.max_count or 1)) as rows:
        return _within_bytes(peeked_record(tx, queue.name, row) for row in rows)


def _peeked(tx: Transaction, queue: QueueRow, state: str, max_count: int) -> Any:
    """Return the rows of one state, in the order in which they come, to be read one by one."""
    if state == READY:
        return tx.stream(sql.PEEK_READY, (queue.id, tx.now, max_count))
    if state == DELAYED:
        return tx.stream(sql.PEEK_DELAYED, (queue.id, tx.now, max_count))
    statement = sql.PEEK_DEAD if state == DEAD else sql.PEEK_LEASED
    return tx.stream(statement, (queue.id, max_count))


def peeked_record(tx: Transaction, queue: str, row: Sequence[Any]) -> Peeked:
    """Return the record of a row of the peeks."""
    place = _place(tx, queue, row[:10])
    message_id, body, content_type, headers, sender, sent_at = row[10:]
    return Peeked(
        message_id, queue, body, content_type, json.loads(headers) if headers else {}, sender,
        sent_at, place.attempts, place.priority, place.state, place.ready_at,
        place.delayed_until, place.leased_until, place.leased_by, place.expires_at,
        place.dead_at, place.reason, place.failures, place.died,
    )  # fmt: skip


def _place(tx: Transaction, queue: str, row: Sequence[Any]) -> Place:
    (
        attempts, rank, ready_at, due_at, leased_by, expires_at, dead_at, reason, failures, died,
    ) = row  # fmt: skip
    state = _state(tx, due_at, leased_by, dead_at)
    is_timed = state == LEASED and due_at != CONNECTION_LEASE
    return Place(
        queue,
        state,
        attempts,
        MAX_PRIORITY - rank,
        ready_at,
        due_at if state == DELAYED else None,
        due_at if is_timed else None,
        tx.user_name(leased_by) if state == LEASED else None,
        expires_at,
        dead_at,
        reason,
        tuple(json.loads(failures)) if failures else (),
        json.loads(died) if died else None,
    )


def _state(tx: Transaction, due_at: int | None, leased_by: int | None, dead_at: int | None) -> str:
    """Return the state a delivery is in at this moment, whatever its row still says."""
    if dead_at is not None:
        return DEAD
    if due_at is None or due_at <= tx.now:
        return READY
    return DELAYED if leased_by is None else LEASED


def _within_bytes(records: Any) -> tuple[Peeked, ...]:
    """Return the first records, as many as one answer may hold, at least one."""
    found: list[Peeked] = []
    budget = MAX_PULL_BYTES
    for record in records:
        budget -= len(record.body)
        if found and budget < 0:
            break
        found.append(record)
    return tuple(found)


@handles(MessageShow)
def show(tx: Transaction, principal: Principal, command: MessageShow) -> Whereabouts:
    """Show a message and where its deliveries are, those that the caller may see."""
    message = tx.one(sql.FIND_MESSAGE, (command.id,))
    places = [] if message is None else _places(tx, command.id)
    if message is None or not places:
        raise NotFound(f"there is no message {command.id}")
    visible = []
    for queue_id, row in places:
        queue = tx.find_queue_by_id(queue_id)
        if queue is not None and (
            queue.channel_id is None or principal.id == queue.owner_id or principal.is_admin
        ):
            visible.append(_place(tx, queue.name, row)._asdict())
    if not visible:
        raise Denied(f"message {command.id} waits only in subscriptions of others")
    sender, sent_at, content_type, headers, body = message
    return Whereabouts(
        command.id, body, content_type, json.loads(headers) if headers else {}, sender, sent_at,
        tuple(visible),
    )  # fmt: skip


def _places(tx: Transaction, message_id: int) -> list[tuple[int, Sequence[Any]]]:
    """Return the queue and the state of each delivery of a message, dead or alive."""
    last = message_id + copies_of(tx, message_id)
    span = (message_id, last, MAX_REPEATED)
    rows = tx.all(sql.LIVING_PLACES, span) + tx.all(sql.DEAD_PLACES, span)
    # Those of a deleted queue are as good as gone.
    return [(row[0], row[1:]) for row in rows if tx.find_queue_by_id(row[0]) is not None]


def copies_of(tx: Transaction, message_id: int) -> int:
    """Return how many ids after a message's own its deliveries may have; a direct one none."""
    row = tx.one(sql.FIND_PUBLICATION, (message_id,))
    return int(row[0]) if row else 0


# --- taking in hand --------------------------------------------------------------


class Copy(NamedTuple):
    """One delivery of a message in a queue, dead or alive."""

    delivery_id: int
    message_id: int
    size: int
    due_at: int | None
    leased_by: int | None
    expires_at: int | None
    failures: str | None
    died: str | None
    generation: int
    state: str


def existing_copy(tx: Transaction, queue: QueueRow, message_id: int) -> Copy:
    """Return the delivery of a message in a queue, by what its row says.

    Raises:
        NotFound: there is none.
    """
    span = (message_id, message_id + copies_of(tx, message_id), queue.id)
    row = tx.one(sql.FIND_COPY, span)
    if row is not None:
        due_at, leased_by = row[3], row[4]
        state = READY if due_at is None else DELAYED if leased_by is None else LEASED
        return Copy._make((*row, state))
    row = tx.one(sql.FIND_DEAD, span)
    if row is None:
        raise NotFound(f"there is no message {message_id} in {queue.name!r}")
    return Copy._make((*row, None, None, None, None, None, 0, DEAD))


@handles(MessageDelete)
def delete(tx: Transaction, principal: Principal, command: MessageDelete) -> None:
    """Delete a message from a queue; a lease of it ends."""
    queue = _owned_queue(tx, principal, command.queue)
    copy = existing_copy(tx, queue, command.id)
    _leave(tx, queue, copy)
    take_out = remove_dead if copy.state == DEAD else remove
    take_out(tx, [(copy.delivery_id, copy.message_id)])


@handles(MessageRelease)
def release(tx: Transaction, principal: Principal, command: MessageRelease) -> None:
    """Make a leased or delayed message ready at once, uncounted."""
    queue = _owned_queue(tx, principal, command.queue)
    copy = existing_copy(tx, queue, command.id)
    if copy.state == DEAD:
        raise Conflict(f"message {command.id} is dead in {queue.name!r}: retry it")
    if copy.state == READY:
        return
    if copy.due_at == CONNECTION_LEASE:
        tx.ends([receipt_of(copy.delivery_id, copy.generation)])
    uncounted = int(copy.state == LEASED)
    tx.run(sql.RELEASE, (uncounted, tx.now, None, copy.failures, copy.delivery_id))
    note_next_expiry(tx)
    counters = tx.counters(queue.id)
    setattr(counters, copy.state, getattr(counters, copy.state) - 1)
    counters.ready += 1
    tx.wakes(queue.name)


@handles(MessageMove)
def move(tx: Transaction, principal: Principal, command: MessageMove) -> None:
    """Move a message to another queue: ready there, attempts at zero, its life as it was."""
    queue = _owned_queue(tx, principal, command.queue)
    copy = existing_copy(tx, queue, command.id)
    target = existing_queue(tx, command.to)
    check_may_send(target)
    if target.id == queue.id:
        raise Conflict(f"message {command.id} is in {queue.name!r} already")
    check_takes_alive(tx, target, copy.size)
    _leave(tx, queue, copy)
    if copy.state == DEAD:
        tx.run(sql.REVIVE, (tx.now, copy.delivery_id))
        tx.run_bulk(sql.DELETE_DEAD, [copy.delivery_id])
        copy = existing_copy(tx, queue, command.id)
    moved = (target.id, tx.now, copy.expires_at, copy.failures, copy.died, copy.delivery_id)
    tx.run(sql.MOVE, moved)
    note_next_expiry(tx)
    counters = tx.counters(target.id)
    counters.ready += 1
    counters.bytes += copy.size
    tx.wakes(target.name)


def _owned_queue(tx: Transaction, principal: Principal, name: str) -> QueueRow:
    queue = existing_queue(tx, name)
    check_owns(principal, queue.owner_id, f"the queue {queue.name!r}")
    make_due_ready(tx, queue)
    return queue


def _leave(tx: Transaction, queue: QueueRow, copy: Copy) -> None:
    """Count a delivery out of its queue."""
    if copy.due_at == CONNECTION_LEASE:
        tx.ends([receipt_of(copy.delivery_id, copy.generation)])
    counters = tx.counters(queue.id)
    setattr(counters, copy.state, getattr(counters, copy.state) - 1)
    counters.bytes -= copy.size
