"""Taking deliveries away, and with the last delivery of a message its body."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from sqlalchemy import delete, select

from ...models import Removal
from .. import statements as sql
from ..transaction import Transaction


def remove(tx: Transaction, deliveries: Sequence[tuple[int, int]]) -> None:
    """Delete deliveries, each given as (delivery id, message id).

    A message sent to a queue has one delivery, of its own id, and goes with it.
    A published one goes with its last copy. Counters are the caller's affair.
    """
    if not deliveries:
        return
    tx.run_many(sql.DELETE_DELIVERY, [(delivery,) for delivery, _ in deliveries])
    gone = [(message,) for delivery, message in deliveries if delivery == message]
    if len(gone) < len(deliveries):
        copies = Counter(message for delivery, message in deliveries if delivery != message)
        for message, count in copies.items():
            remaining = tx.one(sql.TAKE_COPIES, (count, message))
            if remaining is not None and remaining[0] <= 0:
                tx.run(sql.DELETE_PUBLICATION, (message,))
                gone.append((message,))
    if gone:
        tx.run_many(sql.DELETE_MESSAGE, gone)


def note_next_expiry(tx: Transaction) -> None:
    """Let the caller know when there is a key to be taken away again."""
    tx.key_expires_at = tx.one(sql.NEXT_KEY_EXPIRY, ())[0]


def clean_up(tx: Transaction, count: int) -> bool:
    """Take away at most ``count`` deliveries of deleted queues, and as many expired keys.

    Called between other work, so that neither a million deliveries nor a million
    keys hold it up for longer than a few milliseconds.

    Returns:
        Whether more is left to do.
    """
    expired = tx.all(sql.EXPIRED_KEYS, (tx.now, count))
    if expired:
        tx.run_many(sql.DELETE_KEY, expired)
    more = len(expired) == count
    queue_id = tx.connection.scalar(select(Removal.queue_id).limit(1))
    if queue_id is None:
        return more
    doomed = tx.all(sql.READY_SLICE, (queue_id, count)) or tx.all(sql.DUE_SLICE, (queue_id, count))
    if doomed:
        remove(tx, doomed)
    else:
        tx.connection.execute(delete(Removal).where(Removal.queue_id == queue_id))
    return True
