"""The writer's turns: nothing that one of them owes is lost with another."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from services import Client, with_broker
from support import PATIENCE_S

from broker.commands.atomic import Atomic
from broker.commands.queue import QueueCreate, QueueList, QueuePull, QueueSend
from broker.commands.request import Principal, Request
from broker.commands.table import all_syntaxes
from broker.service.broker import Broker
from broker.service.clock import Clock
from broker.service.writer import (
    MAX_COMMANDS_A_SOURCE,
    MAX_STORED_A_SOURCE,
    Job,
    Portion,
    Writer,
    split_off,
    weight,
)
from broker.store import checkpoints
from broker.store.database import Database
from broker.store.handlers.users import principal_of_uid
from broker.store.transaction import Limits, Transaction


def test_a_defect_as_one_is_answered_holds_nobody_else_up(tmp_path: Path) -> None:
    done: list[int] = []
    reported: list[str] = []

    async def main() -> None:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: reported.append(str(context["exception"])))
        all_done = asyncio.Event()

        def deliver(_: Iterable[Portion], transactions: list[Transaction]) -> None:
            if transactions and not reported:
                raise LookupError("a defect")

        def finish(number: int) -> None:
            done.append(number)
            if len(done) == 3:
                all_done.set()

        writer = _writer(tmp_path, deliver)
        for number in range(3):
            writer.do(_job(partial(finish, number)))
        writer.start()
        await asyncio.wait_for(all_done.wait(), 60)
        writer.close()

    asyncio.run(main())
    assert done == [0, 1, 2]
    assert reported == ["a defect"]


def test_what_is_pending_is_done_before_the_end(tmp_path: Path) -> None:
    done: list[int] = []

    async def main() -> None:
        writer = _writer(tmp_path, lambda *committed: None)
        writer.start()
        writer.do(_job(partial(done.append, 1)))
        writer.close()
        # The turn that was due comes to a writer that has ended, and finds it so.
        await asyncio.sleep(0)

    asyncio.run(main())
    assert done == [1]


class _Source:
    """Somebody with one command."""


def test_replies_are_on_their_way_before_a_checkpoint_and_a_job(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A transport writes once the callbacks of its turn of the loop are through."""
    order: list[str] = []

    async def main() -> None:
        loop = asyncio.get_running_loop()
        over = asyncio.Event()

        def deliver(portions: Iterable[Portion], _: list[Transaction]) -> None:
            if list(portions):
                order.append("answered")
                loop.call_soon(order.append, "on their way")
                writer.do(_job(over.set))

        writer = _writer(tmp_path, deliver)
        writer.start()
        await asyncio.sleep(0)
        database = writer._database
        with database.transaction(1) as tx:
            alice = principal_of_uid(tx, 1, "alice")
        monkeypatch.setattr(checkpoints, "MOST_PAGES", 1)
        monkeypatch.setattr(database, "checkpoint_if_due", lambda: order.append("checkpoint"))

        def work(job: Job) -> None:
            order.append("job")
            job.done(None, None)

        monkeypatch.setattr(writer, "_work", work)
        writer.submit(_Source(), [Request(alice, QueueCreate("q"))])
        await asyncio.wait_for(over.wait(), 60)
        await asyncio.sleep(0)
        writer.close()

    asyncio.run(main())
    assert order[:2] == ["answered", "on their way"]
    assert sorted(order[2:4]) == ["checkpoint", "job"]


@pytest.mark.parametrize(
    ("at_first", "batches"),
    [
        pytest.param([1, 1], [3], id="one in flight each"),
        pytest.param([1], [1, 1], id="one alone"),
        pytest.param([2, 1], [3, 1], id="a window beside one"),
    ],
)
def test_who_asks_together_shares_a_batch_with_who_comes_a_little_later(
    tmp_path: Path, at_first: list[int], batches: list[int]
) -> None:
    """The batches, given how many commands each source has and one that comes later."""
    found: list[int] = []

    async def main() -> None:
        loop = asyncio.get_running_loop()
        over = asyncio.Event()

        def deliver(portions: Iterable[Portion], _: list[Transaction]) -> None:
            found.append(sum(len(outcomes) for _, _, outcomes in portions))
            if sum(found) == sum(batches):
                over.set()

        writer = _writer(tmp_path, deliver)
        with writer._database.transaction(1) as tx:
            alice = principal_of_uid(tx, 1, "alice")
        for count in at_first:
            writer.submit(_Source(), [Request(alice, QueueList()) for _ in range(count)])
        # In this turn of the loop, but behind the writer's.
        loop.call_soon(writer.submit, _Source(), [Request(alice, QueueList())])
        await asyncio.wait_for(over.wait(), 60)
        writer.close()

    asyncio.run(main())
    assert found == batches


def test_who_comes_again_and_again_holds_nobody_up(tmp_path: Path) -> None:
    """Each turn of the loop brings one more source, as who connects again for each command."""
    comings = 0

    async def main() -> None:
        nonlocal comings
        loop = asyncio.get_running_loop()
        answered = asyncio.Event()
        writer = _writer(tmp_path, lambda *committed: answered.set())
        with writer._database.transaction(1) as tx:
            alice = principal_of_uid(tx, 1, "alice")

        def come() -> None:
            nonlocal comings
            if answered.is_set() or comings > 100:
                return
            comings += 1
            writer.submit(_Source(), [Request(alice, QueueList())])
            loop.call_soon(come)

        come()
        come()
        await asyncio.wait_for(answered.wait(), 60)
        writer.close()

    asyncio.run(main())
    assert comings < 10


def test_who_has_left_has_nothing_waiting(tmp_path: Path) -> None:
    async def main() -> None:
        writer = _writer(tmp_path, lambda *committed: None)
        with writer._database.transaction(1) as tx:
            alice = principal_of_uid(tx, 1, "alice")
        gone = _Source()
        writer.submit(gone, [Request(alice, QueueList())])
        writer.withdraw(gone)
        assert not writer._pending
        writer.close()

    asyncio.run(main())


def _writer(
    folder: Path, deliver: Callable[[Iterable[Portion], list[Transaction]], None]
) -> Writer:
    database = Database(str(folder / "broker.db"), Limits(1000))
    database.open(create=True)

    def fail(error: Exception) -> None:
        raise error

    return Writer(
        asyncio.get_running_loop(), database, Clock(), lambda *pending: None, deliver, fail
    )


def _job(done: Callable[[], None]) -> Job:
    return Job(lambda tx: tx.now, lambda result, error: done())


def _split(*commands: Any) -> list[int]:
    """Return how many of a source's commands go into each batch."""
    user = Principal(1, "user", is_admin=False)
    left, sizes = [Request(user, command) for command in commands], []
    while left:
        taken, left, _ = split_off(left, MAX_STORED_A_SOURCE)
        sizes.append(len(taken))
    return sizes


def test_the_larger_bodies_are_the_fewer_go_into_a_commit() -> None:
    """Else who sends a window of large ones holds up all others for as long as it takes."""
    half, all_of_it, more = (
        QueueSend("q", bytes(MAX_STORED_A_SOURCE // 2 + size))
        for size in (0, MAX_STORED_A_SOURCE // 2, MAX_STORED_A_SOURCE)
    )
    assert _split(half, half, half) == [2, 1]
    assert _split(half, all_of_it, half) == [1, 1, 1]
    assert _split(more, more) == [1, 1]
    assert _split(*[QueueSend("q", b"x")] * (MAX_COMMANDS_A_SOURCE + 1)) == [
        MAX_COMMANDS_A_SOURCE,
        1,
    ]
    assert _split(*[Atomic((half,))] * 3) == [2, 1]
    # What they may be answered is read, and not written.
    assert _split(*[QueuePull("q")] * 10) == [10]


def test_a_window_of_large_bodies_leaves_room_for_others(tmp_path: Path) -> None:
    async def send(broker: Broker, user: Principal) -> None:
        size = broker._database.limits.max_message_bytes
        fit = MAX_STORED_A_SOURCE // size
        before_it: list[int] = []

        class Small(Client):
            def answer(self, requests: Sequence[Request], outcomes: Sequence[Any]) -> None:
                before_it.append(len(large.outcomes))
                super().answer(requests, outcomes)

        large = Client()
        broker.submit(large, [Request(user, QueueSend("jobs", bytes(size)))] * (3 * fit))
        await Small().executes(broker, user, QueueSend("jobs", b"x"))
        assert before_it == [fit]
        async with asyncio.timeout(PATIENCE_S):
            while len(large.outcomes) < 3 * fit:
                await broker.call(lambda tx: None)

    with_broker(tmp_path, send)


def test_what_takes_the_place_of_a_request_weighs_what_it_may_answer(tmp_path: Path) -> None:
    """Else less waits by the writer's count than there is, and others' bounds are passed."""

    async def send(broker: Broker, user: Principal) -> None:
        size = broker._database.limits.max_message_bytes
        fit = MAX_STORED_A_SOURCE // size
        portions: list[int] = []
        # Not too many for a batch, but too large.
        large = [Request(user, QueueSend("jobs", bytes(size)))] * (MAX_COMMANDS_A_SOURCE - 9)

        class Sender(Client):
            def answer(self, requests: Sequence[Request], outcomes: Sequence[Any]) -> None:
                if not portions:
                    # While the last of the small ones still waits.
                    broker.submit(self, [*large])
                portions.append(len(requests))
                super().answer(requests, outcomes)

        asking, sender = Client(), Sender()
        broker.submit(asking, [Request(user, QueuePull("jobs", 1))])
        assert broker.replace(asking, Request(user, QueuePull("jobs", 1000)))
        # Too many and too large for one batch.
        body = bytes(MAX_STORED_A_SOURCE // MAX_COMMANDS_A_SOURCE)
        small = [Request(user, QueueSend("jobs", body))] * (MAX_COMMANDS_A_SOURCE + 9)
        broker.submit(sender, small)
        async with asyncio.timeout(PATIENCE_S):
            while len(sender.outcomes) < len(small) + MAX_COMMANDS_A_SOURCE - 9:
                await broker.call(lambda tx: None)
        assert portions[0] == MAX_COMMANDS_A_SOURCE
        assert max(portions[1:]) <= fit + 9

    with_broker(tmp_path, send)


def test_whatever_answers_with_bodies_weighs_what_it_may_answer() -> None:
    """Else a connection could ask for any number of them before a bound is met."""
    largest = 1000
    for syntax in all_syntaxes().values():
        if "body" not in getattr(syntax.record, "_fields", ()):
            continue
        values = [_VALUES[argument.field] for argument in syntax.arguments]
        assert weight(syntax.command(*values), largest) >= largest, syntax.words


#: A value of each argument of such commands.
_VALUES: dict[str, Any] = {"queue": "q", "channel": "c", "id": 1}
