"""What a queue still takes: its limits, and what gives way when it is full."""

from __future__ import annotations

from ...commands.settings import ON_FULL_DROP_OLDEST
from ...errors import Conflict, Full, TooBig
from .. import statements as sql
from ..transaction import QueueRow, Transaction
from .removal import remove


def is_limited(queue: QueueRow) -> bool:
    """Return whether a send must look at :func:`check_takes`."""
    return bool(queue.max_messages or queue.max_bytes or queue.sends_paused)


def check_takes(tx: Transaction, queue: QueueRow, size: int) -> None:
    """Refuse what a queue does not take; one that drops its oldest makes room.

    All that it holds counts, in whatever state. What gives way is ready, of the
    lowest priority, and of that the oldest. The rows of all that was sent before
    must be in the database.

    Args:
        size: of the body, in bytes.

    Raises:
        Conflict: its sends are paused.
        TooBig: the body alone is over ``max_bytes``.
        Full: it is full, and rejects or has nothing ready that could give way.
    """
    if queue.sends_paused:
        raise Conflict(f"sends to {queue.name!r} are paused")
    if queue.max_bytes and size > queue.max_bytes:
        raise TooBig(
            f"the body has {size} bytes, and {queue.name!r} holds {queue.max_bytes} in all"
        )
    while not _has_room(tx, queue, size):
        if queue.on_full != ON_FULL_DROP_OLDEST:
            raise _full(tx, queue)
        victim = tx.one(sql.VICTIM, (queue.id,))
        if victim is None:
            raise _full(tx, queue)
        delivery_id, message_id, victim_size = victim
        remove(tx, [(delivery_id, message_id)])
        counters = tx.counters(queue.id)
        counters.ready -= 1
        counters.bytes -= victim_size
        counters.dropped += 1


def _has_room(tx: Transaction, queue: QueueRow, size: int) -> bool:
    """Return whether one more fits; the row plus what is owed to it is what there is."""
    counters = tx.counters(queue.id)
    if queue.max_messages and queue.held + counters.held >= queue.max_messages:
        return False
    return not (queue.max_bytes and queue.bytes + counters.bytes + size > queue.max_bytes)


def _full(tx: Transaction, queue: QueueRow) -> Full:
    counters = tx.counters(queue.id)
    dead = queue.dead + counters.dead
    return Full(
        f"the queue {queue.name!r} is full: {queue.held + counters.held} messages of "
        f"{queue.bytes + counters.bytes} bytes" + (f", {dead} of them dead" if dead else "")
    )


def make_room_in_channel(tx: Transaction, channel_id: int, size: int) -> None:
    """Let the full subscriptions of a channel that drop their oldest make room, as far as they can.

    The counters must have been written, and are written again.
    """
    while True:
        victims = tx.all(sql.VICTIMS, (channel_id, ON_FULL_DROP_OLDEST, size, size))
        if not victims:
            return
        remove(tx, [(delivery_id, message_id) for delivery_id, message_id, _, _ in victims])
        for _, _, victim_size, queue_id in victims:
            counters = tx.counters(queue_id)
            counters.ready -= 1
            counters.bytes -= victim_size
            counters.dropped += 1
        tx.flush()
