"""A broker in this process, and clients of it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

from support import PATIENCE_S

from broker.commands.delivery import Message
from broker.commands.queue import QueueCreate, QueuePull
from broker.commands.request import Principal, Request
from broker.errors import BrokerError
from broker.service.broker import Broker
from broker.service.consumer import Consumer
from broker.store.database import Database
from broker.store.handlers import users
from broker.store.transaction import Limits


class Client:
    """A client of the broker that keeps what it is answered."""

    may_wait = True

    def __init__(self) -> None:
        self.closed = False
        self.answered = asyncio.Event()
        self.outcomes: list[Any] = []

    def answer(self, requests: Sequence[Request], outcomes: Sequence[Any]) -> None:
        """Take the outcomes."""
        self.outcomes += outcomes
        self.answered.set()

    async def executes(self, broker: Broker, user: Principal, *commands: Any) -> list[Any]:
        """Return the outcomes of commands, of which none waits."""
        self.outcomes.clear()
        broker.submit(self, [Request(user, command) for command in commands])
        while len(self.outcomes) < len(commands):
            self.answered.clear()
            await asyncio.wait_for(self.answered.wait(), PATIENCE_S)
        return self.outcomes[:]

    async def waits(self, broker: Broker, user: Principal) -> None:
        """Wait for a message of ``jobs``; returns once the pull is parked."""
        broker.submit(self, [Request(user, QueuePull("jobs", wait_ms=int(PATIENCE_S * 1000)))])
        # Something after it is done.
        await broker.call(lambda tx: None)


class Sink(Client):
    """A connection that keeps what is pushed."""

    may_push = True

    def __init__(self) -> None:
        super().__init__()
        self.pushed: list[Message] = []

    def push(self, messages: Sequence[Message]) -> None:
        """Take messages."""
        self.pushed += messages

    def consumer_ended(self, consumer: Consumer, refusal: BrokerError) -> None:
        """Nothing ends it."""
        raise AssertionError from refusal

    @property
    def receipts(self) -> list[str]:
        """Of all that was pushed."""
        return [message.receipt for message in self.pushed if message.receipt is not None]


def with_broker(folder: Path, work: Callable[[Broker, Principal], Awaitable[None]]) -> None:
    """Do something with a broker that has a queue ``jobs``."""

    async def run() -> None:
        database = Database(str(folder / "broker.db"), Limits(1000))
        database.open(create=True)
        broker = Broker(database, on_failure=_fail, on_users_changed=lambda ids: None)
        await broker.start()
        try:
            user: Principal = await broker.call(lambda tx: users.principal_of_uid(tx, 1, "admin"))
            await Client().executes(broker, user, QueueCreate("jobs"))
            await work(broker, user)
        finally:
            broker.close()

    asyncio.run(run())


def _fail(error: Exception) -> None:
    raise AssertionError from error
