"""The writer's turns: nothing that one of them owes is lost with another."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from pathlib import Path

from broker.service.clock import Clock
from broker.service.writer import Committed, Job, Writer
from broker.store.database import Database
from broker.store.transaction import Limits


def test_a_defect_as_one_is_answered_holds_nobody_else_up(tmp_path: Path) -> None:
    done: list[int] = []
    reported: list[str] = []

    async def main() -> None:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: reported.append(str(context["exception"])))
        all_done = asyncio.Event()

        def deliver(committed: Committed) -> None:
            if committed.transactions and not reported:
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
        writer = _writer(tmp_path, lambda committed: None)
        writer.start()
        writer.do(_job(partial(done.append, 1)))
        writer.close()
        # The turn that was due comes to a writer that has ended, and finds it so.
        await asyncio.sleep(0)

    asyncio.run(main())
    assert done == [1]


def _writer(folder: Path, deliver: Callable[[Committed], None]) -> Writer:
    database = Database(str(folder / "broker.db"), Limits(1000))
    database.open(create=True)

    def fail(error: Exception) -> None:
        raise error

    return Writer(asyncio.get_running_loop(), database, Clock(), deliver, fail)


def _job(done: Callable[[], None]) -> Job:
    return Job(lambda tx: tx.now, lambda result, error: done())
