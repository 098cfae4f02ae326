"""Faults as they are made, put into a server from outside one at a time.

They prove that the checker sees what it is for: see ``test_seeded_faults.py``. A
server gets one by its environment (:mod:`crash.entry`); the program knows nothing of it.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable
from typing import Any, Final

from broker.commands.atomic import Atomic
from broker.commands.channel import ChannelPublish
from broker.commands.message import MessageAck, MessageExtend
from broker.commands.queue import QueuePull, QueueSend, QueueSendMany
from broker.commands.request import Request

#: How long an answered batch stays without a commit, in seconds.
LAZY_SECONDS: Final = 0.1

FAULTS: Final[dict[str, Callable[[], None]]] = {}


def _fault(install: Callable[[], None]) -> Callable[[], None]:
    FAULTS[install.__name__.replace("_", "-")] = install
    return install


def _wrap(command: type, treat: Callable[[Any, Any, list[Request]], list[Any]]) -> None:
    """Have ``treat(handler, tx, requests)`` execute the commands of a kind."""
    from broker.store.handlers.registry import HANDLERS

    handler = HANDLERS[command]
    HANDLERS[command] = lambda tx, requests: treat(handler, tx, requests)


def _reworded(name: str, old: str, new: str) -> None:
    """Change the text of one of the store's statements."""
    from broker.store import statements

    statement = getattr(statements, name)
    text = statement.text
    assert old in text, text
    statement.text = text.replace(old, new)


@_fault
def reply_before_commit() -> None:
    """Commits wait for a while, replies do not."""
    from broker.store import database

    begin: Any = database.begin  # type: ignore[attr-defined]
    commit: Any = database.commit  # type: ignore[attr-defined]
    last = time.monotonic()

    def begin_or_go_on(cursor: Any) -> int:
        if not cursor.connection.in_transaction:
            begin(cursor)
        # No other process writes there.
        return 0

    def commit_lazily(cursor: Any) -> None:
        nonlocal last
        if time.monotonic() - last > LAZY_SECONDS:
            commit(cursor)
            last = time.monotonic()

    database.begin = begin_or_go_on  # type: ignore[attr-defined]
    database.commit = commit_lazily  # type: ignore[attr-defined]


@_fault
def attempt_counted_at_ack() -> None:
    """A lease does not count as an attempt, so one that ends by itself never does."""

    def treat(handler: Any, tx: Any, requests: list[Request]) -> list[Any]:
        outcomes: list[Any] = handler(tx, requests)
        for outcome in outcomes:
            for message in outcome if type(outcome) is tuple else ():
                if message.receipt is not None:
                    tx.driver.execute(
                        "UPDATE broker_deliveries SET attempts = attempts - 1 WHERE id = ?",
                        (int(message.receipt.partition(".")[0]),),
                    )
        return outcomes

    _wrap(QueuePull, treat)


@_fault
def ack_ignores_the_generation() -> None:
    """Whoever has had a message leased can acknowledge it, whoever has it now."""

    def current(tx: Any, receipt: str) -> str:
        delivery = receipt.partition(".")[0]
        row = tx.driver.execute(
            "SELECT generation FROM broker_deliveries WHERE id = ?", (int(delivery),)
        ).fetchone()
        return receipt if row is None else f"{delivery}.{row[0]}"

    def treat(handler: Any, tx: Any, requests: list[Request]) -> list[Any]:
        renewed = [
            Request(
                request.principal,
                request.command._replace(
                    receipts=tuple(current(tx, receipt) for receipt in request.command.receipts)
                ),
            )
            for request in requests
        ]
        outcomes: list[Any] = handler(tx, renewed)
        return outcomes

    _wrap(MessageAck, treat)


@_fault
def ack_is_forgotten() -> None:
    """Of some acks only the answer is there."""
    numbers = itertools.count()

    def treat(handler: Any, tx: Any, requests: list[Request]) -> list[Any]:
        if next(numbers) % 10 == 0 and all(r.command.send is None for r in requests):
            return [(None,) * len(request.command.receipts) for request in requests]
        outcomes: list[Any] = handler(tx, requests)
        return outcomes

    _wrap(MessageAck, treat)


@_fault
def wake_up_is_lost() -> None:
    """Nobody is woken by what comes, nor beside it."""
    from broker.service.waiting import Waiting

    Waiting._wake = lambda self, queues, channels: None  # type: ignore[method-assign]


@_fault
def consumers_are_not_woken() -> None:
    """A consumer whose turn it is is passed over, and the wake-up with it."""
    from broker.service.consumer import Consumer
    from broker.service.waiting import Waiter, Waiting

    retry = Waiting._retry

    def retry_others(self: Waiting, waiter: Waiter) -> None:
        if not isinstance(waiter.client, Consumer):
            retry(self, waiter)

    Waiting._retry = retry_others  # type: ignore[method-assign]


@_fault
def second_half_of_a_batch_is_dropped() -> None:
    """Of many in one command, or of a batch, half are answered and not stored."""

    def send_many(handler: Any, tx: Any, requests: list[Request]) -> list[Any]:
        outcomes: list[Any] = []
        for principal, command in requests:
            bodies = command.bodies
            half = command._replace(bodies=bodies[: (len(bodies) + 1) // 2])
            (outcome,) = handler(tx, [Request(principal, half)])
            if type(outcome) is tuple:
                outcome += tuple(tx.allocate() for _ in bodies[len(half.bodies) :])
            outcomes.append(outcome)
        return outcomes

    def send(handler: Any, tx: Any, requests: list[Request]) -> list[Any]:
        kept = requests[: (len(requests) + 1) // 2]
        outcomes: list[Any] = handler(tx, kept)
        return outcomes + [tx.allocate() for _ in requests[len(kept) :]]

    _wrap(QueueSendMany, send_many)
    _wrap(QueueSend, send)


@_fault
def keys_are_forgotten_at_a_restart() -> None:
    """A server begins with no keys."""
    from broker.service.broker import Broker

    start = Broker.start

    async def start_without_keys(self: Broker) -> None:
        await start(self)
        await self.call(lambda tx: tx.driver.execute("DELETE FROM broker_keys"))

    Broker.start = start_without_keys  # type: ignore[method-assign]


@_fault
def fan_out_skips_a_subscription() -> None:
    """Now and then one subscription does not get its copy; the counters know."""
    numbers = itertools.count()

    def treat(handler: Any, tx: Any, requests: list[Request]) -> list[Any]:
        from broker.store.handlers.removal import remove

        outcomes: list[Any] = handler(tx, requests)
        for outcome in outcomes:
            message = getattr(outcome, "id", outcome)
            if isinstance(message, Exception) or next(numbers) % 3:
                continue
            row = tx.driver.execute(
                "SELECT id, queue_id, size FROM broker_deliveries WHERE message_id = ?"
                " AND id != message_id AND due_at IS NULL LIMIT 1",
                (message,),
            ).fetchone()
            if row is not None:
                remove(tx, [(row[0], message)])
                counters = tx.counters(row[1])
                counters.ready -= 1
                counters.bytes -= row[2]
        tx.flush()
        return outcomes

    _wrap(ChannelPublish, treat)


@_fault
def delays_are_halved() -> None:
    """What is delayed comes early."""

    def treat(handler: Any, tx: Any, requests: list[Request]) -> list[Any]:
        outcomes: list[Any] = handler(
            tx,
            [Request(p, c._replace(delay_ms=c.delay_ms // 2)) for p, c in requests],
        )
        return outcomes

    _wrap(QueueSend, treat)


@_fault
def leases_are_given_twice() -> None:
    """Some live leases end when somebody else pulls."""

    def treat(handler: Any, tx: Any, requests: list[Request]) -> list[Any]:
        tx.flush()
        rows = tx.driver.execute(
            "UPDATE broker_deliveries SET due_at = NULL, leased_by = NULL"
            " WHERE leased_by IS NOT NULL AND id % 5 = 0 RETURNING queue_id"
        ).fetchall()
        for (queue_id,) in rows:
            tx.counters(queue_id).leased -= 1
            tx.counters(queue_id).ready += 1
        tx.flush()
        outcomes: list[Any] = handler(tx, requests)
        return outcomes

    _wrap(QueuePull, treat)


@_fault
def last_in_is_first_out() -> None:
    """A claim takes the youngest first."""
    order = "ORDER BY broker_deliveries.rank, broker_deliveries.id"
    _reworded("CLAIM", order, f"{order} DESC")


@_fault
def half_a_transaction_is_done() -> None:
    """The send of a transaction stays though its ack is refused."""

    def treat(handler: Any, tx: Any, requests: list[Request]) -> list[Any]:
        from broker.store.handlers.registry import execute

        outcomes: list[Any] = handler(tx, requests)
        for (principal, command), outcome in zip(requests, outcomes, strict=True):
            if isinstance(outcome, Exception):
                execute(tx, [Request(principal, command.commands[-1])])
        return outcomes

    _wrap(Atomic, treat)


@_fault
def counters_drift() -> None:
    """A queue counts one it has not."""

    def treat(handler: Any, tx: Any, requests: list[Request]) -> list[Any]:
        tx.driver.execute("UPDATE broker_queues SET dead = dead + 1 WHERE name='heap'")
        outcomes: list[Any] = handler(tx, requests)
        return outcomes

    _wrap(MessageExtend, treat)
