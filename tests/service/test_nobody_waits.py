"""Nobody waits beside what is ready, whatever has happened before."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from services import Client, Sink, with_broker
from support import PATIENCE_S

from broker import names
from broker.commands.message import MessageAck, MessageNack
from broker.commands.queue import (
    QueueCreate,
    QueuePause,
    QueuePull,
    QueuePurge,
    QueueResume,
    QueueSend,
    QueueShow,
)
from broker.commands.request import Principal, Request
from broker.service.broker import Broker
from broker.service.consumer import Consumer

#: A pull brings no more, so that some are cut short.
PULL_BYTES = 1000
STEPS = st.one_of(
    st.tuples(st.just("send"), st.integers(1, 8), st.sampled_from([1, 400, 990])),
    st.tuples(st.just("consume"), st.sampled_from([1, 3, 50])),
    # In the first round of its batch, or in the second.
    st.tuples(st.just("pull"), st.integers(1, 3), st.booleans()),
    st.tuples(st.just("wait")),
    st.tuples(st.sampled_from(["ack", "give back", "end", "hold", "go on"]), st.integers(0, 5)),
    st.tuples(st.sampled_from(["pause", "resume", "purge", "turn", "settle"])),
)


class Scene:
    """Senders, pullers and consumers of one queue."""

    def __init__(self, broker: Broker, user: Principal) -> None:
        self._broker = broker
        self._user = user
        self._consumers: list[tuple[Sink, Consumer]] = []

    def submit(self, client: Client, *commands: Any) -> None:
        """Have commands executed, and wait for none of them."""
        self._broker.submit(client, [Request(self._user, command) for command in commands])

    async def do(self, step: tuple[Any, ...]) -> None:
        """Take a step; most go into one batch with those around them."""
        match step:
            case ("send", count, size):
                self.submit(Client(), *[QueueSend("jobs", b"x" * size)] * count)
            case ("consume", prefetch):
                sink = Sink()
                consumer = Consumer(self._broker, sink, self._user, "jobs", prefetch)
                self._consumers.append((sink, consumer))
                consumer.ask()
            case ("pull", count, later):
                before = [QueuePull("other"), QueueSend("other", b"x")] if later else []
                self.submit(Client(), *before, QueuePull("jobs", count))
            case ("wait",):
                self.submit(Client(), QueuePull("jobs", wait_ms=int(PATIENCE_S * 1000)))
            case ("pause",):
                self.submit(Client(), QueuePause("jobs"))
            case ("resume",):
                self.submit(Client(), QueueResume("jobs"))
            case ("purge",):
                self.submit(Client(), QueuePurge("jobs"))
            case ("turn",):
                await asyncio.sleep(0)
            case ("settle",):
                await self.settle()
            case (what, index) if index < len(self._consumers):
                self.consumer_does(what, index)

    def consumer_does(self, what: str, index: int) -> None:
        """Let one of the consumers do something."""
        sink, consumer = self._consumers[index]
        leased = tuple(consumer.in_flight)[: index + 1]
        if what == "ack" and leased:
            self.submit(sink, MessageAck(leased))
        elif what == "give back" and leased:
            self.submit(sink, MessageNack(leased, delay_ms=0))
        elif what == "end":
            del self._consumers[index]
            sink.closed = True
            self._broker.end_consumer(consumer, counted=False)
        elif what == "hold":
            sink.may_push = False
        elif what == "go on":
            sink.may_push = True
            consumer.ask()

    async def settle(self) -> None:
        """Wait until nothing is under way, and look at who waits."""
        async with asyncio.timeout(PATIENCE_S):
            await self._broker.call(lambda tx: None)
            while self._broker._writer.is_busy:
                await self._broker.call(lambda tx: None)
        (queue,) = await Client().executes(self._broker, self._user, QueueShow("jobs"))
        waiting = self._broker._waiting
        if "jobs" in waiting.queues():
            assert queue.ready == 0 or queue.paused in ("pulls", "all")
        for sink, consumer in self._consumers:
            has_credit = sink.may_push and len(consumer.in_flight) < consumer._prefetch
            assert not has_credit or consumer in waiting._by_client


@given(st.lists(STEPS, min_size=5, max_size=40))
def test_nobody_waits_beside_what_is_ready(steps: list[tuple[Any, ...]]) -> None:
    async def play(broker: Broker, user: Principal) -> None:
        await Client().executes(broker, user, QueueCreate("other"))
        scene = Scene(broker, user)
        for step in steps:
            await scene.do(step)
        await scene.settle()

    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(names, "MAX_PULL_BYTES", PULL_BYTES)
        with_broker(Path(folder), play)
