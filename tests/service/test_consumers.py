"""A consumer's credit: room is used in the batch that makes it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from pathlib import Path

import pytest
from services import Client, Sink, with_broker
from support import PATIENCE_S

from broker import names
from broker.commands.message import MessageAck
from broker.commands.queue import QueueCreate, QueuePull, QueueSend
from broker.commands.request import Principal, Request
from broker.errors import Stale
from broker.service.broker import Broker
from broker.service.consumer import Consumer
from broker.store.handlers import deliveries


def test_what_acks_make_room_for_comes_with_their_commit(tmp_path: Path) -> None:
    async def consume(broker: Broker, user: Principal) -> None:
        sink, consumer = await consumes(broker, user, prefetch=3)
        await sink.executes(broker, user, *[QueueSend("jobs", b"x")] * 10)
        assert len(sink.pushed) == 3
        before = broker._writer.commits
        # In two pieces, as they may come in.
        one, two, three = sink.receipts
        broker.submit(sink, [Request(user, MessageAck((one,)))])
        await sink.executes(broker, user, MessageAck((two, three)))
        assert len(sink.pushed) == 6
        assert broker._writer.commits == before + 1
        assert len(consumer.in_flight) == 3

    with_broker(tmp_path, consume)


def test_a_refused_ack_makes_no_room_and_that_of_another_client_does(tmp_path: Path) -> None:
    async def consume(broker: Broker, user: Principal) -> None:
        sink, consumer = await consumes(broker, user, prefetch=3)
        await sink.executes(broker, user, *[QueueSend("jobs", b"x")] * 10)
        ended = sink.receipts[0]
        for client, pushed in ((sink, 4), (sink, 4), (Client(), 4)):
            ((answer,),) = await client.executes(broker, user, MessageAck((ended,)))
            assert answer is None or isinstance(answer, Stale)
            await broker.call(lambda tx: None)
            assert len(sink.pushed) == pushed
        await Client().executes(broker, user, MessageAck((sink.receipts[1],)))
        await broker.call(lambda tx: None)
        assert len(sink.pushed) == 5
        assert len(consumer.in_flight) == 3

    with_broker(tmp_path, consume)


def test_who_has_got_all_there_was_waits_without_a_look(tmp_path: Path) -> None:
    async def consume(broker: Broker, user: Principal) -> None:
        sink, _ = await consumes(broker, user, prefetch=3)
        before = broker._writer.commits
        for count in (1, 2):
            await Client().executes(broker, user, QueueSend("jobs", b"x"))
            await broker.call(lambda tx: None)
            assert len(sink.pushed) == count
            assert broker._writer.commits == before + count

    with_broker(tmp_path, consume)


def test_what_a_push_left_for_its_size_follows_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(names, "MAX_PULL_BYTES", 1000)

    async def consume(broker: Broker, user: Principal) -> None:
        sends = [QueueSend("jobs", b"%d" % n * 400) for n in range(5)]
        await Client().executes(broker, user, *sends)
        sink, _ = await consumes(broker, user, prefetch=10)
        await gets(broker, sink, len(sends))
        assert [message.body for message in sink.pushed] == [send.body for send in sends]

    with_broker(tmp_path, consume)


def test_what_a_push_left_for_its_size_passes_on_from_one_to_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both are cut short in one batch; who is woken first takes no more than it may."""
    monkeypatch.setattr(names, "MAX_PULL_BYTES", 1000)

    async def consume(broker: Broker, user: Principal) -> None:
        await Client().executes(broker, user, *[QueueSend("jobs", b"x" * 400)] * 20)
        few, many = Sink(), Sink()
        for sink, prefetch in ((few, 4), (many, 100)):
            Consumer(broker, sink, user, "jobs", prefetch).ask()
        await gets(broker, few, 4)
        await gets(broker, many, 16)

    with_broker(tmp_path, consume)


def test_a_later_pull_takes_away_no_wake_up_of_what_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(names, "MAX_PULL_BYTES", 1000)

    async def consume(broker: Broker, user: Principal) -> None:
        sends = [QueueSend("jobs", b"x" * 400)] * 20
        await Client().executes(broker, user, QueueCreate("other"), *sends)
        sink, puller = Sink(), Client()
        Consumer(broker, sink, user, "jobs", 100).ask()
        # The last of them in the second round of the batch.
        pulls = (QueuePull("other"), QueueSend("other", b"x"), QueuePull("jobs"))
        broker.submit(puller, [Request(user, command) for command in pulls])
        await gets(broker, sink, 19)

    with_broker(tmp_path, consume)


def test_what_falls_due_in_slices_comes_to_who_got_the_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deliveries, "DUE_SLICE", 2)

    async def consume(broker: Broker, user: Principal) -> None:
        sends = [QueueSend("jobs", b"%d" % n, delay_ms=20) for n in range(9)]
        sink, _ = await consumes(broker, user, prefetch=10)
        await Client().executes(broker, user, *sends)
        await gets(broker, sink, len(sends))
        assert sorted(message.body for message in sink.pushed) == [send.body for send in sends]

    with_broker(tmp_path, consume)


async def gets(broker: Broker, sink: Sink, count: int) -> None:
    """Wait until so many messages were pushed."""
    async with asyncio.timeout(PATIENCE_S):
        while len(sink.pushed) < count:
            await broker.call(lambda tx: None)


async def consumes(broker: Broker, user: Principal, prefetch: int) -> tuple[Sink, Consumer]:
    """Let a connection consume ``jobs``."""
    sink = Sink()
    consumer = Consumer(broker, sink, user, "jobs", prefetch)
    consumer.ask()
    await broker.call(lambda tx: None)
    return sink, consumer


def test_each_consumer_is_told_of_its_own_leases_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else many consumers that acknowledge at once cost the square of their number."""
    told: list[list[str]] = []

    def settled(self: Consumer, receipts: Iterable[str]) -> None:
        told.append(list(receipts))
        original(self, told[-1])

    original = Consumer.settled
    monkeypatch.setattr(Consumer, "settled", settled)

    async def consume(broker: Broker, user: Principal) -> None:
        sinks = [(await consumes(broker, user, prefetch=2))[0] for _ in range(3)]
        await Client().executes(broker, user, *[QueueSend("jobs", b"x")] * 6)
        await broker.call(lambda tx: None)
        own = [sorted(sink.receipts) for sink in sinks]
        assert list(map(len, own)) == [2, 2, 2]
        for sink in sinks:
            broker.submit(sink, [Request(user, MessageAck((r,))) for r in sink.receipts])
        await broker.call(lambda tx: None)
        await broker.call(lambda tx: None)
        assert sorted(sorted(receipts) for receipts in told) == sorted(own)

    with_broker(tmp_path, consume)
