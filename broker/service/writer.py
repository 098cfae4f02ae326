"""The writer thread: group commit.

It takes all that is pending, executes it in one transaction, commits once, and
hands all results back with one call into the event loop. There is no timer:
while one batch is synced the next gathers, so batches grow with the load by
themselves. Nothing is answered before its commit.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence, Set
from typing import Any, Final, NamedTuple, Protocol

from ..commands.atomic import Atomic
from ..commands.channel import ChannelPublish, ChannelPull
from ..commands.db import DbImport
from ..commands.message import MessageAck
from ..commands.queue import QueueConsume, QueuePeek, QueuePull, QueueSend, QueueSendMany
from ..commands.request import Request
from ..errors import BrokerError
from ..names import MAX_PULL_BYTES
from ..store.batch import Batch, run_batch
from ..store.database import Database
from ..store.dialect import StoreFailure
from ..store.handlers.upkeep import clean_up, note_next_clean_up
from ..store.transaction import Transaction
from .clock import Clock
from .plan import plan

logger = logging.getLogger(__name__)

#: Of one source in one batch, so that a window of thousands does not hold up
#: those with one command in flight: some 15 ms of work.
MAX_COMMANDS_A_SOURCE: Final = 1000
#: What they may hold in memory (:func:`weight`): a few of the largest pulls.
MAX_BYTES_A_SOURCE: Final = 32 * 1024 * 1024
#: Of one batch in all: what a commit may take together, some 100 ms.
MAX_COMMANDS_A_BATCH: Final = 10_000
MAX_BYTES_A_BATCH: Final = 256 * 1024 * 1024
#: Deliveries of deleted queues taken away between two batches: some 5 ms.
CLEAN_UP_SLICE: Final = 500


class Source(Protocol):
    """Where commands come from and their outcomes go; its commands keep their order."""

    #: Requests that wait for a batch; guarded by the writer's lock.
    queue: deque[Request]


class Portion(NamedTuple):
    """What one source has in a batch.

    Attributes:
        source: whose it is.
        requests: in the source's order.
        outcomes: one for each; None until the batch is committed.
    """

    source: Source
    requests: list[Request]
    outcomes: list[Any]


class Committed(NamedTuple):
    """A batch as it is handed back after its commit."""

    portions: list[Portion]
    transactions: list[Transaction]


class Job(NamedTuple):
    """Something other than a command to be done in a transaction of its own.

    ``done`` is called in the writer's thread with the result or the error.
    """

    work: Callable[[Transaction], Any]
    done: Callable[[Any, BaseException | None], None]


class Writer:
    """Owns the database's connection and executes batches in its own thread.

    Args:
        database: open, and from now on used by nobody else.
        clock: the time of each batch.
        deliver: called in the writer's thread after each commit; must only pass
            the batch on to the event loop.
        fail: called once, in the writer's thread, if the database failed so that a
            commit's outcome is unknown; the writer has ended then.
    """

    def __init__(
        self,
        database: Database,
        clock: Clock,
        deliver: Callable[[Committed], None],
        fail: Callable[[BaseException], None],
    ) -> None:
        self._database = database
        self._clock = clock
        self._deliver = deliver
        self._fail = fail
        self._condition = threading.Condition()
        self._sources: deque[Source] = deque()
        self._jobs: deque[Job] = deque()
        self._clean_up_owed = True
        self._in_use: Set[str] = frozenset()
        self._closing = False
        self._failed = False
        self._thread = threading.Thread(target=self._run, name="broker-writer", daemon=True)
        #: Since the start; read without the lock, by people.
        self.commands = 0
        self.commits = 0
        self.largest_batch = 0

    def start(self) -> None:
        """Start the thread."""
        self._database.checkpoint_between()
        self._thread.start()

    def submit(self, source: Source, requests: Sequence[Request]) -> None:
        """Add requests of a source to those that wait for a batch."""
        with self._condition:
            if not source.queue:
                self._sources.append(source)
                self._condition.notify()
            source.queue.extend(requests)

    def withdraw(self, source: Source) -> None:
        """Drop what a source has waiting; what is in a batch by now goes on."""
        with self._condition:
            source.queue.clear()

    def do(self, job: Job) -> None:
        """Have a job done between two batches; after a failure, of which ``fail`` tells, never."""
        with self._condition:
            if self._failed:
                return
            if self._closing:
                raise AssertionError("the writer has ended")
            self._jobs.append(job)
            self._condition.notify()

    def owe_clean_up(self, in_use: Set[str]) -> None:
        """Have taken away what has had its time.

        Args:
            in_use: names of subscriptions' queues that somebody waits for.
        """
        with self._condition:
            self._clean_up_owed = True
            self._in_use = in_use
            self._condition.notify()

    def close(self) -> None:
        """Execute what is pending, end the thread, close the database; blocks until then."""
        with self._condition:
            self._closing = True
            self._condition.notify()
        self._thread.join()
        self._database.close()

    # --- in the thread ---

    def _run(self) -> None:
        try:
            while self._turn():
                pass
        except BaseException as error:
            # The boundary of the thread: without a writer there is no broker.
            logger.critical("the writer has stopped", exc_info=error)
            with self._condition:
                self._failed = True
            self._fail(error)

    def _turn(self) -> bool:
        """Do what there is to do once; False when it is time to end."""
        with self._condition:
            while not (self._sources or self._jobs or self._clean_up_owed or self._closing):
                self._condition.wait()
            portions = self._take()
            jobs = list(self._jobs)
            self._jobs.clear()
            tidy, in_use = self._clean_up_owed, self._in_use
            if not portions and not jobs and self._closing:
                return False
        if portions:
            self._execute(portions)
        for job in jobs:
            self._work(job)
        if tidy:
            self._clean_up(in_use)
        # Nobody waits for it but who comes now.
        self._checkpoint()
        return True

    def _take(self) -> list[Portion]:
        """Take the pending requests, fairly: of each source no more than its bounds."""
        portions: list[Portion] = []
        count = size = 0
        for _ in range(len(self._sources)):
            if count >= MAX_COMMANDS_A_BATCH or size >= MAX_BYTES_A_BATCH:
                break
            source = self._sources.popleft()
            requests, taken_bytes = take_some(source.queue, self._database.limits.max_message_bytes)
            if source.queue:
                self._sources.append(source)
            if requests:
                portions.append(Portion(source, requests, [None] * len(requests)))
                count += len(requests)
                size += taken_bytes
        return portions

    def _execute(self, portions: list[Portion]) -> None:
        runs = plan([portion.requests for portion in portions])
        requests = [r for run in runs for r in portions[run.source].requests[run.start : run.end]]
        batch: Batch = run_batch(self._database, requests, self._clock.now_ms())
        position = 0
        for source, start, end in runs:
            length = end - start
            outcomes = batch.outcomes[position : position + length]
            portions[source].outcomes[start:end] = outcomes
            position += length
        self.commands += len(requests)
        self.commits += max(1, len(batch.transactions))
        self.largest_batch = max(self.largest_batch, len(requests))
        self._deliver(Committed(portions, batch.transactions))

    def _work(self, job: Job) -> None:
        try:
            with self._database.transaction(self._clock.now_ms()) as tx:
                result = job.work(tx)
        except StoreFailure:
            raise
        except BrokerError as refusal:
            job.done(None, refusal)
            return
        self._deliver(Committed([], [tx]))
        job.done(result, None)

    def _clean_up(self, in_use: Set[str]) -> None:
        try:
            with self._database.transaction(self._clock.now_ms()) as tx:
                more = clean_up(tx, CLEAN_UP_SLICE, in_use)
                if not more:
                    note_next_clean_up(tx)
        except BrokerError as refusal:
            # A full disk: the next deletion or the next expiry tries again.
            logger.warning("nothing was cleaned up: %s", refusal)
            more = False
        else:
            self._deliver(Committed([], [tx]))
        with self._condition:
            self._clean_up_owed = more

    def _checkpoint(self) -> None:
        try:
            self._database.checkpoint_if_due()
        except BrokerError as refusal:
            logger.warning("the log was not moved into the file: %s", refusal)


def take_some(queue: deque[Request], max_message_bytes: int) -> tuple[list[Request], int]:
    """Take from the left of ``queue`` what one source may have in one batch.

    At least one, however large.

    Returns:
        The requests, and what they may hold in memory, in bytes.
    """
    taken: list[Request] = []
    size = 0
    while queue and len(taken) < MAX_COMMANDS_A_SOURCE:
        more = weight(queue[0].command, max_message_bytes)
        if taken and size + more > MAX_BYTES_A_SOURCE:
            break
        size += more
        taken.append(queue.popleft())
    return taken, size


def weight(command: Any, max_message_bytes: int) -> int:
    """Return the bytes of bodies or lines that a command holds, or that its answer may."""
    weigh = _WEIGHTS.get(type(command))
    return 0 if weigh is None else weigh(command, max_message_bytes)


def _of_body(command: QueueSend | ChannelPublish, _: int) -> int:
    return len(command.body)


def _of_bodies(command: QueueSendMany, _: int) -> int:
    return sum(map(len, command.bodies))


def _of_lines(command: DbImport, _: int) -> int:
    return sum(map(len, command.lines))


def _of_parts(command: Atomic, max_message_bytes: int) -> int:
    return sum(weight(part, max_message_bytes) for part in command.commands)


def _of_tail(command: MessageAck, max_message_bytes: int) -> int:
    return 0 if command.send is None else len(command.send.body)


def _of_answer(command: Any, max_message_bytes: int) -> int:
    """Return the worst case: what waits may be larger than what came last."""
    count = command.prefetch if type(command) is QueueConsume else command.max_count or 1
    return int(min(count * max_message_bytes, max(MAX_PULL_BYTES, max_message_bytes)))


_WEIGHTS: Final[Mapping[type, Callable[[Any, int], int]]] = {
    QueueSend: _of_body,
    ChannelPublish: _of_body,
    QueueSendMany: _of_bodies,
    DbImport: _of_lines,
    Atomic: _of_parts,
    MessageAck: _of_tail,
    QueuePull: _of_answer,
    ChannelPull: _of_answer,
    QueueConsume: _of_answer,
    QueuePeek: _of_answer,
}
