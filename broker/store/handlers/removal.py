"""Taking deliveries away, and with the last delivery of a message its body."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from .. import statements as sql
from ..statements import Bulk
from ..transaction import Transaction


def remove(
    tx: Transaction,
    deliveries: Sequence[tuple[int, int]],
    statement: Bulk = sql.DELETE_DELIVERIES,
) -> None:
    """Delete deliveries, each given as (delivery id, message id).

    A message sent to a queue has one delivery, of its own id, and goes with it.
    A published one goes with its last copy. Counters are the caller's affair.

    Args:
        statement: deletes them; that of dead ones is another.
    """
    if not deliveries:
        return
    tx.run_bulk(statement, [delivery for delivery, _ in deliveries])
    gone = [message for delivery, message in deliveries if delivery == message]
    if len(gone) < len(deliveries):
        copies = Counter(message for delivery, message in deliveries if delivery != message)
        for message, count in copies.items():
            remaining = tx.one(sql.TAKE_COPIES, (count, message))
            if remaining is not None and remaining[0] <= 0:
                tx.run(sql.DELETE_PUBLICATION, (message,))
                gone.append(message)
    tx.run_bulk(sql.DELETE_MESSAGES, gone)


def remove_dead(tx: Transaction, deliveries: Sequence[tuple[int, int]]) -> None:
    """Delete dead deliveries, each given as (delivery id, message id)."""
    remove(tx, deliveries, sql.DELETE_DEAD)
