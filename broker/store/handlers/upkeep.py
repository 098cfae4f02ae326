"""What is done between other work, in slices of a few milliseconds."""

from __future__ import annotations

from collections.abc import Set

from .. import statements as sql
from ..transaction import Transaction
from .channels import end_idle_subscriptions
from .expiry import expire, note_next_expiry
from .messages import KEY_CLEAN_UP_DELAY_MS
from .removal import remove, remove_dead


def clean_up(tx: Transaction, count: int, in_use: Set[str] = frozenset()) -> bool:
    """Take away what has had its time.

    At most ``count`` each of expired keys, expired deliveries, and deliveries of
    deleted queues; and subscriptions nobody has used for too long.

    Args:
        in_use: names of subscriptions' queues that somebody waits for.

    Returns:
        Whether more is left to do.
    """
    keys = tx.all(sql.EXPIRED_KEYS, (tx.now, count))
    if keys:
        tx.run_many(sql.DELETE_KEY, keys)
    more = len(keys) == count
    more |= expire(tx, count)
    more |= end_idle_subscriptions(tx, in_use)
    return _empty_a_deleted_queue(tx, count) or more


def _empty_a_deleted_queue(tx: Transaction, count: int) -> bool:
    queue_id = tx.one(sql.NEXT_REMOVAL, ())[0]
    if queue_id is None:
        return False
    for statement in (sql.READY_SLICE, sql.DELAYED_SLICE, sql.LEASED_SLICE):
        doomed = tx.all(statement, (queue_id, count))
        if doomed:
            remove(tx, [(delivery_id, message_id) for delivery_id, message_id, _ in doomed])
            return True
    doomed = tx.all(sql.DEAD_SLICE, (queue_id, 0, count))
    if doomed:
        remove_dead(tx, [(delivery_id, message_id) for delivery_id, message_id, _ in doomed])
        return True
    tx.run(sql.DELETE_REMOVAL, (queue_id,))
    return True


def note_next_clean_up(tx: Transaction) -> None:
    """Let the caller know when there is something to be taken away again."""
    key_expires_at = tx.one(sql.NEXT_KEY_EXPIRY, ())[0]
    if key_expires_at is not None:
        tx.to_clean_up(key_expires_at + KEY_CLEAN_UP_DELAY_MS)
    note_next_expiry(tx)
    tx.to_clean_up(tx.one(sql.NEXT_IDLE, ())[0])
