"""Queues: creating, changing, pausing, purging, deleting, showing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ...commands.grammar import default_settings, read_settings
from ...commands.queue import (
    Queue,
    QueueCreate,
    QueueDelete,
    QueueList,
    QueuePause,
    QueuePurge,
    QueueResume,
    QueueSet,
    QueueShow,
)
from ...commands.request import Principal, Unfinished
from ...commands.settings import QUEUE_SETTINGS, SUBSCRIPTION_SETTINGS
from ...errors import Conflict, Exists, Invalid, NotFound
from ...names import MAX_PRIORITY
from .. import statements as sql
from ..transaction import EVERYONE, QueueRow, Transaction
from .deliveries import make_due_ready
from .expiry import expire
from .registry import handles
from .removal import remove
from .rights import check_may_pull, check_may_send, check_owns, check_still_exists, existing_queue

#: How far into a priority the oldest ready delivery is looked for. It stands at the
#: head but where a delay has brought a younger one in front of it.
HEAD = 20
#: How many deliveries one transaction purges: some 5 ms.
PURGE_SLICE = 500


@handles(QueueCreate)
def create(tx: Transaction, principal: Principal, command: QueueCreate) -> None:
    """Create a queue; one that exists is EXISTS, with ``if_missing`` fine and left as it is."""
    check_still_exists(tx, principal)
    settings = read_settings(QUEUE_SETTINGS, command.settings)
    if tx.find_queue(command.name) is not None:
        if command.if_missing:
            return
        raise Exists(f"the queue {command.name!r} exists already")
    check_settings(tx, command.name, settings)
    insert_queue(tx, command.name, principal.id, None, settings)


def insert_queue(
    tx: Transaction,
    name: str,
    owner_id: int,
    channel_id: int | None,
    settings: Mapping[str, Any],
    **columns: Any,
) -> int:
    """Store an empty queue and return its id.

    Args:
        settings: those that were given.
        columns: what else is not as it is of a new queue.
    """
    queue_id = tx.allocate()
    # In the order of the statement's parameters.
    values = {
        "created_at": tx.now, "dropped": 0, "sends_paused": False, "pulls_paused": False,
        **default_settings(SUBSCRIPTION_SETTINGS), **settings, **columns,
    }  # fmt: skip
    tx.run(sql.INSERT_QUEUE, (queue_id, name, owner_id, channel_id, *values.values()))
    _derive(tx, queue_id, settings)
    return queue_id


@handles(QueueSet)
def change(tx: Transaction, principal: Principal, command: QueueSet) -> None:
    """Change settings of a live queue, or of a subscription by the name of its queue."""
    queue = existing_queue(tx, command.name)
    check_owns(principal, queue.owner_id, f"the queue {queue.name!r}")
    apply_settings(tx, queue, read_settings(SUBSCRIPTION_SETTINGS, command.settings))


def apply_settings(tx: Transaction, queue: QueueRow, settings: Mapping[str, Any]) -> None:
    """Store settings that were given for a queue."""
    if queue.channel_id is None and settings.get("expire_idle"):
        raise Invalid("expire_idle is for subscriptions: a queue stays until it is deleted")
    check_settings(tx, queue.name, settings)
    if settings:
        values = (settings.get(s.name, getattr(queue, s.name)) for s in SUBSCRIPTION_SETTINGS)
        tx.run(sql.SET_QUEUE, (*values, queue.id))
    _derive(tx, queue.id, settings)


def check_settings(tx: Transaction, name: str, settings: Mapping[str, Any]) -> None:
    """Refuse a dead-letter queue that is missing, or the queue itself."""
    dead_letter = settings.get("dead_letter")
    if dead_letter is None:
        return
    if dead_letter == name:
        raise Invalid("a queue is not its own dead-letter queue: unset, its dead stay with it")
    check_may_send(existing_queue(tx, dead_letter))


def _derive(tx: Transaction, queue_id: int, settings: Mapping[str, Any]) -> None:
    """Write what follows from settings and pauses: see the model's columns."""
    tx.run(sql.DERIVE_LIMITED, (queue_id,))
    if "expire_idle" in settings:
        idle_at = tx.now + settings["expire_idle"] if settings["expire_idle"] else None
        tx.run(sql.TOUCH, (idle_at, queue_id))
        tx.to_clean_up(idle_at)
    tx.forget_queues()


@handles(QueuePause)
def pause(tx: Transaction, principal: Principal, command: QueuePause) -> None:
    """Refuse sends, let pulls find nothing, or both."""
    _set_paused(tx, principal, command, paused=True)


@handles(QueueResume)
def resume(tx: Transaction, principal: Principal, command: QueueResume) -> None:
    """End a pause; who waits for the queue looks again."""
    queue = _set_paused(tx, principal, command, paused=False)
    tx.wakes(queue.name, EVERYONE)


def _set_paused(
    tx: Transaction, principal: Principal, command: QueuePause | QueueResume, *, paused: bool
) -> QueueRow:
    queue = existing_queue(tx, command.name)
    check_owns(principal, queue.owner_id, f"the queue {queue.name!r}")
    sends = queue.sends_paused if command.pulls else paused
    pulls = queue.pulls_paused if command.sends else paused
    tx.run(sql.PAUSE_QUEUE, (sends, pulls, queue.id))
    _derive(tx, queue.id, {})
    return queue


@handles(QueuePurge)
def purge(tx: Transaction, principal: Principal, command: QueuePurge) -> int | Unfinished:
    """Delete a slice of what was ready or delayed when the purge began."""
    queue = existing_queue(tx, command.queue)
    check_owns(principal, queue.owner_id, f"the queue {queue.name!r}")
    last_id = tx.allocate() if command.last_id is None else command.last_id
    counters = tx.counters(queue.id)
    ready = tx.all(sql.OLD_READY_SLICE, (queue.id, last_id, PURGE_SLICE))
    delayed = tx.all(sql.OLD_DELAYED_SLICE, (queue.id, last_id, PURGE_SLICE - len(ready)))
    doomed = ready + delayed
    remove(tx, [(delivery_id, message_id) for delivery_id, message_id, _ in doomed])
    counters.ready -= len(ready)
    counters.delayed -= len(delayed)
    counters.bytes -= sum(size for _, _, size in doomed)
    purged = command.purged + len(doomed)
    if len(doomed) < PURGE_SLICE:
        return purged
    return Unfinished(command._replace(last_id=last_id, purged=purged))


@handles(QueueDelete)
def delete_queue(tx: Transaction, principal: Principal, command: QueueDelete) -> int:
    """Delete a queue; its name is free at once, its deliveries go in slices."""
    tx.flush()
    queue = tx.find_queue(command.name)
    if queue is None:
        if command.if_exists:
            return 0
        raise NotFound(f"there is no queue {command.name!r}")
    if queue.channel_id is not None:
        raise Conflict(f"{queue.name!r} is a subscription: unsubscribe to delete it")
    check_owns(principal, queue.owner_id, f"the queue {queue.name!r}")
    held = queue.held
    if command.if_empty and held:
        raise Conflict(f"the queue {queue.name!r} holds {held} messages")
    drop_queue(tx, queue)
    return held


def drop_queue(tx: Transaction, queue: QueueRow) -> None:
    """Delete a queue's row (and the subscription it is for) and have its deliveries removed."""
    tx.flush()
    tx.run_bulk(sql.INSERT_REMOVALS, (queue.id,))
    tx.run(sql.DELETE_SUBSCRIPTION, (queue.id,))
    tx.run(sql.DELETE_QUEUE, (queue.id,))
    tx.wakes(queue.name, EVERYONE)
    tx.left_to_clean_up = True


@handles(QueueList)
def list_queues(tx: Transaction, principal: Principal, command: QueueList) -> tuple[Queue, ...]:
    """List queues by name, without those of subscriptions."""
    owner = principal.id if command.mine else None
    tx.flush()
    _count_anew(tx, map(QueueRow, tx.all(sql.LIST_QUEUES, (owner,))))
    return tuple(_record(tx, row) for row in tx.all(sql.SHOW_QUEUES, (owner,)))


@handles(QueueShow)
def show(tx: Transaction, principal: Principal, command: QueueShow) -> Queue:
    """Show one queue; that of a subscription only to those who may pull from it."""
    tx.flush()
    queue = existing_queue(tx, command.name)
    check_may_pull(principal, queue)
    _count_anew(tx, [queue])
    return _record(tx, tx.one(sql.SHOW_QUEUE, (queue.id,)))


def _count_anew(tx: Transaction, queues: Iterable[QueueRow]) -> None:
    """Make ready what is due in queues, and write what they hold then."""
    expire(tx)
    for queue in queues:
        make_due_ready(tx, queue)
    tx.flush()


def _record(tx: Transaction, row: Any) -> Queue:
    queue_id, *fields = row[:9]
    dropped, sends_paused, pulls_paused = row[9:12]
    settings = (
        setting.show(value) for setting, value in zip(SUBSCRIPTION_SETTINGS, row[12:], strict=True)
    )
    oldest = _oldest_ready_ms(tx, queue_id) if row[4] else None
    return Queue._make(
        (*fields, oldest, dropped, paused_text(sends_paused, pulls_paused), *settings)
    )


def paused_text(sends: bool, pulls: bool) -> str | None:
    """Return which of sends and pulls are paused, as records have it."""
    if sends and pulls:
        return "all"
    return "sends" if sends else "pulls" if pulls else None


def _oldest_ready_ms(tx: Transaction, queue_id: int) -> int | None:
    """Return how long the longest waiting has been ready, of whatever priority."""
    times: list[Any] = []
    for rank in range(MAX_PRIORITY + 1):
        times += tx.all(sql.READY_HEAD, (queue_id, rank, HEAD))
    # A clock that was set back makes nothing younger than now.
    return max((max(0, tx.now - ready_at) for (ready_at,) in times), default=None)
