"""A wake-up reaches somebody, whoever goes in between."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from services import Client, with_broker
from support import PATIENCE_S

from broker.commands.message import MessageNack
from broker.commands.queue import QueueCreate, QueuePull, QueueSend
from broker.commands.request import Principal, Request
from broker.errors import TooBig
from broker.service.broker import Broker


def test_a_wake_up_passes_on_when_who_was_woken_leaves(tmp_path: Path) -> None:
    """Between the wake-up of the first who waits and its pull its connection ends."""

    async def first_leaves(broker: Broker, user: Principal) -> None:
        sender, first, second = Client(), Client(), Client()
        await sender.executes(broker, user, QueueSend("jobs", b"job"))
        ((leased,),) = await sender.executes(broker, user, QueuePull("jobs"))
        for client in (first, second):
            await client.waits(broker, user)
        sender.answered.clear()
        broker.submit(sender, [Request(user, MessageNack((leased.receipt,)))])
        # Who is told of that batch is told before the writer's next turn.
        await sender.answered.wait()
        assert first in broker._writer._pending
        first.closed = True
        broker.leave(first)
        await asyncio.wait_for(second.answered.wait(), PATIENCE_S / 4)
        ((message,),) = second.outcomes
        assert message.body == b"job"

    with_broker(tmp_path, first_leaves)


def test_a_send_and_who_waits_for_it_are_one_commit(tmp_path: Path) -> None:
    async def meet(broker: Broker, user: Principal) -> None:
        sender, first, second = Client(), Client(), Client()
        for client in (first, second):
            await client.waits(broker, user)
        before = broker._writer.commits
        await sender.executes(broker, user, QueueSend("jobs", b"job"))
        assert first.answered.is_set()
        assert not second.answered.is_set()
        assert broker._writer.commits == before + 1
        await sender.executes(broker, user, QueueSend("jobs", b"other"))
        assert [message.body for (message,) in second.outcomes] == [b"other"]

    with_broker(tmp_path, meet)


def test_who_met_a_send_that_was_refused_goes_on_waiting(tmp_path: Path) -> None:
    async def meet(broker: Broker, user: Principal) -> None:
        sender, waiting = Client(), Client()
        await waiting.waits(broker, user)
        (refusal,) = await sender.executes(broker, user, QueueSend("jobs", b"x" * 2000))
        assert isinstance(refusal, TooBig)
        assert not waiting.answered.is_set()
        await sender.executes(broker, user, QueueSend("jobs", b"job"))
        await asyncio.wait_for(waiting.answered.wait(), PATIENCE_S / 4)

    with_broker(tmp_path, meet)


def test_who_met_a_send_of_a_later_round_is_woken_by_its_commit(tmp_path: Path) -> None:
    """The plan executes the pull that waits before the send of the same batch."""

    async def meet(broker: Broker, user: Principal) -> None:
        sender, waiting = Client(), Client()
        await waiting.waits(broker, user)
        pull, send = QueuePull("other"), QueueSend("jobs", b"job")
        await sender.executes(broker, user, QueueCreate("other"))
        # Not both in one round: a source's own commands keep their order.
        await sender.executes(broker, user, pull, send)
        await asyncio.wait_for(waiting.answered.wait(), PATIENCE_S / 4)

    with_broker(tmp_path, meet)


def test_only_what_can_come_at_once_is_met(tmp_path: Path) -> None:
    async def meet(broker: Broker, user: Principal) -> None:
        await Client().waits(broker, user)
        for later in (
            QueueSend("jobs", b"x", delay_ms=60_000),
            QueueSend("jobs", b"x", at_ms=2**50),
        ):
            assert await commands_of(broker, user, later) == 1
        assert await commands_of(broker, user, QueueSend("jobs", b"x")) == 2

    async def commands_of(broker: Broker, user: Principal, command: Any) -> int:
        """Return how many commands are executed with one."""
        before = broker._writer.commands
        await Client().executes(broker, user, command)
        return broker._writer.commands - before

    with_broker(tmp_path, meet)
