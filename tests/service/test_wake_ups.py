"""A wake-up reaches somebody, whoever goes in between."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from support import PATIENCE_S

from broker.commands.queue import QueueCreate, QueuePull, QueueSend
from broker.commands.request import Principal, Request
from broker.service.broker import Broker
from broker.store.database import Database
from broker.store.handlers import users
from broker.store.transaction import Limits


class Client:
    """A client of the broker that keeps what it is answered."""

    may_wait = True

    def __init__(self) -> None:
        self.queue: deque[Request] = deque()
        self.closed = False
        self.answered = asyncio.Event()
        self.outcomes: list[Any] = []

    def answer(self, requests: Sequence[Request], outcomes: Sequence[Any]) -> None:
        """Take the outcomes."""
        self.outcomes += outcomes
        self.answered.set()


def test_a_wake_up_passes_on_when_who_was_woken_leaves(tmp_path: Path) -> None:
    """Between the wake-up of the first who waits and its pull its connection ends."""

    async def run() -> Any:
        database = Database(str(tmp_path / "broker.db"), Limits(1000))
        database.open(create=True)
        broker = Broker(database, on_failure=_fail, on_users_changed=lambda ids: None)
        await broker.start()
        try:
            return await _first_leaves(broker)
        finally:
            broker.close()

    (message,) = asyncio.run(run())
    assert message.body == b"job"


def _fail(error: BaseException) -> None:
    raise AssertionError from error


async def _first_leaves(broker: Broker) -> Any:
    principal: Principal = await broker.call(lambda tx: users.principal_of_uid(tx, 1, "admin"))
    sender, first, second = Client(), Client(), Client()
    broker.submit(sender, [Request(principal, QueueCreate("jobs"))])
    pull = Request(principal, QueuePull("jobs", wait_ms=int(PATIENCE_S * 1000)))
    for client in (first, second):
        broker.submit(client, [pull])
        # Executed, and so parked, by the time that something after it is done.
        await broker.call(lambda tx: None)
    sender.answered.clear()
    broker.submit(sender, [Request(principal, QueueSend("jobs", b"job"))])
    # Who is told of that batch is told before the writer's next turn.
    await sender.answered.wait()
    assert first.queue
    first.closed = True
    broker.leave(first)
    await asyncio.wait_for(second.answered.wait(), PATIENCE_S / 4)
    (outcome,) = second.outcomes
    return outcome
