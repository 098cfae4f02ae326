"""Taking away what has lived too long; a claim passes over it until then."""

from __future__ import annotations

from ...commands.settings import ON_EXPIRE_DEAD
from ...errors import Full
from .. import statements as sql
from ..transaction import NEXT_EXPIRY, QueueRow, Transaction
from .death import Ending, die, drop
from .limits import check_takes
from .removal import remove

#: A time that never comes.
NEVER = 2**62
#: How many one transaction takes away: some 5 ms.
EXPIRY_SLICE = 500
EXPIRED = "expired"


def note_next_expiry(tx: Transaction) -> None:
    """Let the caller know when the next of what is ready or delayed expires.

    For whoever does not know the lives of what it stores; and for whoever ends leases: one
    whose life was over during its lease is taken away only then, and the time that was noted
    as it was sent has passed.
    """
    expires_at = _next_expiry(tx)
    if expires_at < NEVER:
        tx.to_clean_up(expires_at)


def has_expired(tx: Transaction) -> bool:
    """Return whether anything ready or delayed has expired; mostly known without a look."""
    expires_at: int | None = tx.recall(NEXT_EXPIRY)
    if expires_at is None or expires_at <= tx.now:
        expires_at = _next_expiry(tx)
    return expires_at <= tx.now


def _next_expiry(tx: Transaction) -> int:
    """Look when the next of what is ready or delayed expires, and know it from then on."""
    found: int | None = tx.one(sql.NEXT_EXPIRY, ())[0]
    expires_at = NEVER if found is None else found
    tx.remember(NEXT_EXPIRY, expires_at)
    return expires_at


def expire(tx: Transaction, count: int = EXPIRY_SLICE) -> bool:
    """Take away at most ``count`` expired deliveries, ready or delayed, of whatever queue.

    They are dropped or die, as their queue says.

    Returns:
        Whether there may be more.
    """
    rows = tx.all(sql.EXPIRED, (tx.now, count))
    by_queue: dict[int, list[tuple[Ending, bool]]] = {}
    for delivery_id, message_id, size, queue_id, due_at, failures in rows:
        ending = Ending(delivery_id, message_id, size, failures, EXPIRED)
        by_queue.setdefault(queue_id, []).append((ending, due_at is None))
    for queue_id, found in by_queue.items():
        endings = [ending for ending, _ in found]
        queue = tx.find_queue_by_id(queue_id)
        if queue is None:
            # Of a deleted queue, whose deliveries go in any case.
            remove(tx, [(ending.delivery_id, ending.message_id) for ending in endings])
            continue
        ready = sum(is_ready for _, is_ready in found)
        counters = tx.counters(queue_id)
        counters.ready -= ready
        counters.delayed -= len(found) - ready
        if queue.on_expire == ON_EXPIRE_DEAD:
            die(tx, queue, endings)
        else:
            drop(tx, queue, endings)
    return len(rows) == count


def check_takes_alive(tx: Transaction, queue: QueueRow, size: int) -> None:
    """Refuse what a queue does not take, after what has expired is out of the way."""
    try:
        check_takes(tx, queue, size)
    except Full:
        expire(tx)
        check_takes(tx, queue, size)
