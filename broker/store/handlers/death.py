"""How deliveries die: into the dead of their queue, or on to its dead-letter queue."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, NamedTuple

from ... import names
from ...errors import BrokerError
from .. import statements as sql
from ..transaction import QueueRow, Transaction
from .limits import check_takes
from .removal import remove


class Ending(NamedTuple):
    """A delivery that dies.

    Attributes:
        delivery_id, message_id, size: of the delivery; the size in bytes.
        failures: as it will be remembered, JSON or None.
        reason: why, for people.
    """

    delivery_id: int
    message_id: int
    size: int
    failures: str | None
    reason: str


def add_failure(failures: str | None, now: int, consumer: str, reason: str) -> str:
    """Return ``failures`` with one more, the newest last; only the last few are kept.

    Args:
        failures: JSON or None.
        now: when it failed.
        consumer: the name of the user who had it leased.
        reason: why, for people.
    """
    known = json.loads(failures) if failures else []
    known.append({"at": now, "consumer": consumer, "reason": reason})
    return _as_json(known[-names.MAX_FAILURES :])


def die(tx: Transaction, queue: QueueRow, endings: Sequence[Ending]) -> None:
    """Let deliveries of a queue die, none is lost.

    They go to the queue's dead-letter queue, ready there, attempts at zero, without
    an end of their life. Where that is not set, is missing, or takes nothing at the
    moment, they become dead where they are. The counters of the states they come
    from are the caller's affair.
    """
    buried: list[Ending] = []
    moved: list[tuple[Any, ...]] = []
    source = tx.counters(queue.id)
    target = None if queue.dead_letter is None else tx.find_queue(queue.dead_letter)
    for ending in endings:
        if target is None or not _takes(tx, target, ending.size):
            buried.append(ending)
            continue
        died = {"queue": queue.name, "reason": ending.reason, "at": tx.now}
        moved.append((target.id, tx.now, None, ending.failures, _as_json(died), ending.delivery_id))
        source.bytes -= ending.size
        counters = tx.counters(target.id)
        counters.ready += 1
        counters.bytes += ending.size
        tx.wakes(target.name)
    tx.run_many(sql.MOVE, moved)
    _bury(tx, buried)
    source.dead += len(buried)


def _takes(tx: Transaction, target: QueueRow, size: int) -> bool:
    try:
        check_takes(tx, target, size)
    except BrokerError:
        return False
    return True


def _bury(tx: Transaction, endings: Sequence[Ending]) -> None:
    tx.run_many(sql.BURY, [(e.failures, tx.now, e.reason, e.delivery_id) for e in endings])
    tx.run_bulk(sql.DELETE_DELIVERIES, [e.delivery_id for e in endings])


def drop(tx: Transaction, queue: QueueRow, endings: Sequence[Ending]) -> None:
    """Delete deliveries that end without becoming dead; the queue counts them as dropped."""
    remove(tx, [(ending.delivery_id, ending.message_id) for ending in endings])
    counters = tx.counters(queue.id)
    counters.bytes -= sum(ending.size for ending in endings)
    counters.dropped += len(endings)


def _as_json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
