"""The writer: group commit.

In each turn it takes all that is pending, executes it in one transaction, commits
once, and only then hands the results out. There is no timer: a turn comes once
all has been read that had arrived by then, and while it commits the next batch
gathers in the sockets, so batches grow with the load by themselves. Those who were answered
together ask again together, so while that brings more of them they are waited for, a look at
the sockets at a time (:meth:`Writer._gathers`). What else there is
to do (logins, timers, deletions, checkpoints) comes in interludes: in a turn of the loop
of its own, for replies are on their way only after the turn in which they were written.

A turn is made by the event loop itself, which does nothing else meanwhile: nobody
could be answered before the commit, whoever else did it, and two threads would
share one interpreter.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Hashable, Iterable, Mapping, Set
from functools import partial
from typing import Any, Final, NamedTuple

from ..commands.atomic import Atomic
from ..commands.channel import ChannelPublish, ChannelPull
from ..commands.db import DbImport
from ..commands.dead import DeadShow
from ..commands.message import MessageAck, MessageShow
from ..commands.queue import QueueConsume, QueuePeek, QueuePull, QueueSend, QueueSendMany
from ..commands.request import Request
from ..errors import BrokerError
from ..names import MAX_PULL_BYTES
from ..store.batch import Batch, run_batch
from ..store.database import Database
from ..store.handlers.upkeep import clean_up, note_next_clean_up
from ..store.transaction import Transaction
from .clock import Clock
from .plan import by_source, plan

logger = logging.getLogger(__name__)

#: Of one source in one batch, so that a window of thousands does not hold up
#: those with one command in flight: some 15 ms of work.
MAX_COMMANDS_A_SOURCE: Final = 1000
#: What they may bring to be stored, in bytes, unless it is one command: the larger the bodies,
#: the longer takes the commit, and all others wait for it.
MAX_STORED_A_SOURCE: Final = 512 * 1024
#: What they may hold in memory (:func:`weight`): a few of the largest pulls.
MAX_BYTES_A_SOURCE: Final = 32 * 1024 * 1024
#: Of one batch in all: what a commit may take together, some 100 ms.
MAX_COMMANDS_A_BATCH: Final = 10_000
MAX_BYTES_A_BATCH: Final = 256 * 1024 * 1024
#: Looks at the sockets before a batch is executed, while they bring more. One finds most of
#: those who were answered together, and the next the rest; whoever could be waited for longer
#: could hold all others up by coming again and again.
MAX_LOOKS: Final = 2
#: Deliveries of deleted queues taken away between two batches: some 5 ms.
CLEAN_UP_SLICE: Final = 500


#: Where commands come from and their outcomes go; its commands keep their order.
Source = Hashable
#: What one source has in a batch: whose it is, its requests in its order, an outcome for each.
Portion = tuple[Source, list[Request], list[Any]]
#: What was committed: a batch as it is handed back, and its transactions.
Committed = tuple[Iterable[Portion], list[Transaction]]


class Job(NamedTuple):
    """Something other than a command to be done in a transaction of its own.

    ``done`` is called with the result, or with what refused it.
    """

    work: Callable[[Transaction], Any]
    done: Callable[[Any, BrokerError | None], None]


class Writer:
    """Executes batches over a database that is its alone, in turns of the event loop.

    Args:
        loop: the event loop, from which alone it is called.
        database: open, and from now on used by nobody else.
        clock: the time of each batch.
        prepare: called before each batch with the requests of each source that wait for it,
            and how many of the sources it has seen; what it submits is in the batch too.
        deliver: called after each commit.
        fail: called once, if the database failed so that a commit's outcome is
            unknown; nothing is executed any more then.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        database: Database,
        clock: Clock,
        prepare: Callable[[Mapping[Any, list[Request]], int], None],
        deliver: Callable[[Iterable[Portion], list[Transaction]], None],
        fail: Callable[[Exception], None],
    ) -> None:
        self._loop = loop
        self._database = database
        self._clock = clock
        self._prepare = prepare
        self._deliver = deliver
        self._fail = fail
        # What each source has waiting for a batch, and how many bytes all of it is at most
        # (:func:`weight`).
        self._pending: dict[Source, list[Request]] = {}
        self._size = 0
        self._jobs: deque[Job] = deque()
        self._clean_up_owed = True
        self._in_use: Set[str] = frozenset()
        # How often the next batch was put off, how many sources there were then, and how many
        # have been prepared.
        self._looks = self._seen = self._prepared = 0
        self._turn_is_due = False
        self._interlude_is_due = False
        self._ended = False
        #: Since the start.
        self.commands = 0
        self.commits = 0
        self.largest_batch = 0

    def start(self) -> None:
        """Begin, with what those before have left to be taken away."""
        self._database.keep()
        self._wake_for_more()

    def submit(self, source: Source, requests: list[Request], size: int | None = None) -> None:
        """Add requests of a source to those that wait for a batch.

        Args:
            source: whose they are.
            requests: in its order; the list is the writer's from now on.
            size: what all of them weigh at most (:func:`weight`), if it is known.
        """
        if size is None:
            limit = self._database.limits.max_message_bytes
            size = sum(weight(command, limit) for _, command in requests)
        pending = self._pending.get(source)
        if pending is None:
            self._pending[source] = requests
        else:
            pending += requests
        self._size += size
        if not self._turn_is_due:
            self._wake()

    @property
    def is_busy(self) -> bool:
        """Whether requests wait for a batch."""
        return bool(self._pending)

    def withdraw(self, source: Source) -> None:
        """Drop what a source has waiting; what it weighs counts until the next batch."""
        self._pending.pop(source, None)

    def replace(self, source: Source, request: Request) -> bool:
        """Put a request in the place of the first that a source has waiting, if it has any."""
        pending = self._pending.get(source)
        if pending is None:
            return False
        limit = self._database.limits.max_message_bytes
        self._size += weight(request.command, limit) - weight(pending[0].command, limit)
        pending[0] = request
        return True

    def do(self, job: Job) -> None:
        """Have a job done between two batches; after a failure, of which ``fail`` tells, never."""
        self._jobs.append(job)
        self._wake_for_more()

    def owe_clean_up(self, in_use: Set[str]) -> None:
        """Have taken away what has had its time.

        Args:
            in_use: names of subscriptions' queues that somebody waits for.
        """
        self._clean_up_owed = True
        self._in_use = in_use
        self._wake_for_more()

    def close(self) -> None:
        """Execute what is pending and close the database; blocks until then."""
        while not self._ended and (self._pending or self._jobs):
            self._turn()
            self._interlude()
        self._ended = True
        self._database.close()

    # --- turns ---

    def _wake(self) -> None:
        """Have a turn once the event loop has read what there is to read."""
        if not self._turn_is_due:
            self._turn_is_due = True
            self._loop.call_soon(self._turn)

    def _wake_for_more(self) -> None:
        """Have an interlude, once the replies of a batch are on their way."""
        if not self._interlude_is_due:
            self._interlude_is_due = True
            self._loop.call_soon(self._interlude)

    def _turn(self) -> None:
        """Execute a batch."""
        try:
            # Once for each, whatever comes of it; what is submitted by that is in this turn.
            seen, self._prepared = self._prepared, len(self._pending)
            self._prepare(self._pending, seen)
            if self._gathers():
                return
            self._looks = self._seen = self._prepared = 0
            if self._pending:
                self._commit(self._execute)
            if self._database.is_checkpoint_due:
                self._wake_for_more()
        finally:
            self._turn_is_due = False
            if not self._ended and self._pending:
                self._wake()

    def _gathers(self) -> bool:
        """Return whether to look once more at what has arrived before a batch is executed.

        Worth it where several have one command in flight each: as many as have come while the
        first of them were read need no commit of their own then, which takes far longer than
        a look. Not for one alone; and where somebody sends a window, the batch is large
        enough, and another look would only bring more of that.
        """
        count = len(self._pending)
        brought_more = self._seen < count > 1 and sum(map(len, self._pending.values())) == count
        if not brought_more or self._looks == MAX_LOOKS or self._ended:
            return False
        self._looks += 1
        self._seen = count
        return True

    def _interlude(self) -> None:
        """Do what comes between two batches, which nobody waits for but who comes now."""
        self._interlude_is_due = False
        try:
            for _ in range(len(self._jobs)):
                self._commit(partial(self._work, self._jobs.popleft()))
            if self._clean_up_owed:
                self._commit(self._clean_up)
            self._commit(self._checkpoint)
        finally:
            if not self._ended and (self._jobs or self._clean_up_owed):
                self._wake_for_more()

    def _commit(self, work: Callable[[], Committed | None]) -> None:
        """Do some work, and hand out what it has committed."""
        if self._ended:
            return
        try:
            committed = work()
        except Exception as error:  # the boundary: a command's defect was answered in run_batch
            logger.critical("the writer has stopped", exc_info=error)
            self._ended = True
            self._fail(error)
            return
        if committed is not None:
            self._deliver(*committed)

    def _take(self) -> dict[Source, list[Request]]:
        """Take the pending requests, fairly: of each source no more than its bounds."""
        pending, self._pending = self._pending, {}
        size, self._size = self._size, 0
        is_large = size > MAX_STORED_A_SOURCE
        if not is_large and sum(map(len, pending.values())) <= MAX_COMMANDS_A_SOURCE:
            # All of it is no more than one alone may have.
            return pending
        limit = self._database.limits.max_message_bytes
        taken: dict[Source, list[Request]] = {}
        # What is left of those of whom some was taken comes after all others.
        rest: dict[Source, list[Request]] = {}
        count = taken_size = 0
        for source, requests in pending.items():
            if count >= MAX_COMMANDS_A_BATCH or taken_size >= MAX_BYTES_A_BATCH:
                self._pending[source] = requests
                continue
            if is_large or len(requests) > MAX_COMMANDS_A_SOURCE:
                requests, left, more = split_off(requests, limit)
                taken_size += more
                if left:
                    rest[source] = left
            taken[source] = requests
            count += len(requests)
        self._pending |= rest
        self._size = size - taken_size if self._pending else 0
        return taken

    def _execute(self) -> Committed:
        taken = self._take()
        sources = [*taken.values()]
        requests, runs = plan(sources)
        batch: Batch = run_batch(self._database, requests, self._clock.now_ms())
        count = len(requests)
        self.commands += count
        self.commits += len(batch.transactions) or 1
        if count > self.largest_batch:
            self.largest_batch = count
        outcomes = by_source(sources, runs, batch.outcomes)
        return zip(taken, sources, outcomes, strict=True), batch.transactions

    def _work(self, job: Job) -> Committed | None:
        try:
            with self._database.transaction(self._clock.now_ms()) as tx:
                result = job.work(tx)
        except BrokerError as refusal:
            self._loop.call_soon(job.done, None, refusal)
            return None
        self._loop.call_soon(job.done, result, None)
        return [], [tx]

    def _clean_up(self) -> Committed | None:
        self._clean_up_owed = False
        try:
            with self._database.transaction(self._clock.now_ms()) as tx:
                self._clean_up_owed = clean_up(tx, CLEAN_UP_SLICE, self._in_use)
                if not self._clean_up_owed:
                    note_next_clean_up(tx)
        except BrokerError as refusal:
            # A full disk: the next deletion or the next expiry tries again.
            logger.warning("nothing was cleaned up: %s", refusal)
            self._clean_up_owed = False
            return None
        return [], [tx]

    def _checkpoint(self) -> None:
        try:
            self._database.checkpoint_if_due()
        except BrokerError as refusal:
            logger.warning("the log was not moved into the file: %s", refusal)


def split_off(
    requests: list[Request], max_message_bytes: int
) -> tuple[list[Request], list[Request], int]:
    """Split what a source has waiting into what it may have in one batch, and what is left.

    At least one is in the batch, however large.

    Returns:
        Both, and what the first may hold in memory, in bytes.
    """
    count = size = stored = 0
    for _, command in requests[:MAX_COMMANDS_A_SOURCE]:
        more = weight(command, max_message_bytes)
        size += more
        if type(command) in _STORED:
            stored += more
        if count and (size > MAX_BYTES_A_SOURCE or stored > MAX_STORED_A_SOURCE):
            size -= more
            break
        count += 1
    return requests[:count], requests[count:], size


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


def _of_one(command: Any, max_message_bytes: int) -> int:
    return max_message_bytes


#: Those that weigh what they store, and not what they may be answered.
_STORED: Final = frozenset({QueueSend, ChannelPublish, QueueSendMany, DbImport, Atomic, MessageAck})
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
    DeadShow: _of_one,
    MessageShow: _of_one,
}
