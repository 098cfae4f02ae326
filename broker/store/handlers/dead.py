"""What has died in a queue: listed, put back, dropped."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ...commands.dead import Dead, DeadDrop, DeadList, DeadRetry, DeadShow
from ...commands.delivery import DEAD, Peeked
from ...commands.request import Principal, Unfinished
from ...errors import NotFound
from ...names import MAX_PRIORITY
from .. import statements as sql
from ..statements import Statement
from ..transaction import QueueRow, Transaction
from .copies import Copy, copies_of, existing_copy, peeked_record
from .registry import handles
from .removal import remove_dead
from .rights import check_may_pull, check_owns, existing_queue

#: How many dead one transaction looks through, or takes in hand: some 5 ms.
DEAD_SLICE = 500
#: What SQLite takes for no LIMIT.
NO_LIMIT = -1


@handles(DeadList)
def list_dead(
    tx: Transaction, principal: Principal, command: DeadList
) -> tuple[Dead, ...] | Unfinished:
    """List dead messages, looking through one slice."""
    queue = existing_queue(tx, command.queue)
    check_may_pull(principal, queue)
    position = command.position
    if position is None:
        # Behind every copy of that message.
        position = command.after + copies_of(tx, command.after)
    ids = _slice(tx, queue, position)
    missing = command.max_count - len(command.found)
    rows = _matching(tx, sql.LIST_DEAD, queue, ids, command.match, missing)
    found = command.found + tuple(
        Dead._make((row[0], queue.name, *row[1:4], MAX_PRIORITY - row[4], *row[5:])) for row in rows
    )
    if len(ids) < DEAD_SLICE or len(found) == command.max_count:
        return found
    return Unfinished(command._replace(position=ids[-1], found=found))


def _slice(tx: Transaction, queue: QueueRow, after: int) -> list[int]:
    """Return the ids of the next dead deliveries of a queue."""
    return [row[0] for row in tx.all(sql.DEAD_SLICE, (queue.id, after, DEAD_SLICE))]


def _matching(
    tx: Transaction,
    statement: Statement,
    queue: QueueRow,
    ids: list[int],
    match: str | None,
    max_count: int,
) -> list[Any]:
    """Return those of a slice that have a text in their body, their headers, or the reason."""
    first, last = (ids[0], ids[-1]) if ids else (0, 0)
    sought = None if match is None else match.encode()
    return tx.all(statement, (queue.id, first, last, sought, max_count))


@handles(DeadShow)
def show(tx: Transaction, principal: Principal, command: DeadShow) -> Peeked:
    """Show one dead message, with its body and its failures."""
    queue = existing_queue(tx, command.queue)
    check_may_pull(principal, queue)
    copy = _dead_copy(tx, queue, command.id)
    return peeked_record(tx, queue.name, tx.one(sql.SHOW_DEAD, (copy.delivery_id,)))


@handles(DeadRetry)
def retry(tx: Transaction, principal: Principal, command: DeadRetry) -> int | Unfinished:
    """Put dead deliveries back at their old places, attempts at zero, alive without an end."""

    def put_back(queue: QueueRow, rows: list[tuple[int, int, int]]) -> None:
        tx.run_many(sql.REVIVE, [(tx.now, delivery_id) for delivery_id, _, _ in rows])
        tx.run_bulk(sql.DELETE_DEAD, [delivery_id for delivery_id, _, _ in rows])
        tx.counters(queue.id).ready += len(rows)
        tx.wakes(queue.name, len(rows))

    return _treat(tx, principal, command, put_back)


@handles(DeadDrop)
def drop(tx: Transaction, principal: Principal, command: DeadDrop) -> int | Unfinished:
    """Delete dead deliveries."""

    def delete(queue: QueueRow, rows: list[tuple[int, int, int]]) -> None:
        remove_dead(tx, [(delivery_id, message_id) for delivery_id, message_id, _ in rows])
        tx.counters(queue.id).bytes -= sum(size for _, _, size in rows)

    return _treat(tx, principal, command, delete)


def _treat(
    tx: Transaction,
    principal: Principal,
    command: DeadRetry | DeadDrop,
    treat: Callable[[QueueRow, list[tuple[int, int, int]]], None],
) -> int | Unfinished:
    """Take the one or a slice of the dead of a queue in hand; return how many in all."""
    queue = existing_queue(tx, command.queue)
    check_owns(principal, queue.owner_id, f"the queue {queue.name!r}")
    if command.id is not None:
        copy = _dead_copy(tx, queue, command.id)
        treat(queue, [(copy.delivery_id, copy.message_id, copy.size)])
        tx.counters(queue.id).dead -= 1
        return 1
    ids = _slice(tx, queue, command.position)
    missing = NO_LIMIT if command.limit is None else command.limit - command.done
    rows = _matching(tx, sql.PICK_DEAD, queue, ids, command.match, missing)
    treat(queue, rows)
    tx.counters(queue.id).dead -= len(rows)
    done = command.done + len(rows)
    if len(ids) < DEAD_SLICE or done == command.limit:
        return done
    return Unfinished(command._replace(position=ids[-1], done=done))


def _dead_copy(tx: Transaction, queue: QueueRow, message_id: int) -> Copy:
    copy = existing_copy(tx, queue, message_id)
    if copy.state != DEAD:
        raise NotFound(f"message {message_id} is not dead in {queue.name!r}, it is {copy.state}")
    return copy
