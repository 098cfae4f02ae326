"""The broker of a server: submits to the writer, waits for messages, keeps the timers.

Everything here runs in the event loop; the database is the writer's alone.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence, Set
from itertools import groupby
from typing import Any, Protocol, TypeVar

from .. import _version
from ..commands.delivery import Message
from ..commands.message import MessageAck, MessageNack
from ..commands.request import Principal, Request, Unfinished
from ..commands.status import ServerStatus, Totals
from ..errors import BrokerError, Unavailable
from ..store import schema
from ..store.database import Database
from ..store.transaction import Transaction
from .clock import Clock
from .consumer import Consumer
from .due import DueTimers, Target, begin, sweep
from .waiting import Waiting
from .writer import Job, Portion, Writer

_Result = TypeVar("_Result")

#: How long after the first of something has had its time it is taken away, so that
#: many go together; it is not delivered or honoured meanwhile. In seconds.
CLEAN_UP_DELAY: float = 0.1
logger = logging.getLogger(__name__)


class Client(Hashable, Protocol):
    """What submits to the broker: a connection, or the broker itself."""

    #: Whether nobody is there any more to be answered.
    closed: bool

    @property
    def may_wait(self) -> bool:
        """Whether its pulls may wait at this moment."""

    def answer(self, requests: Sequence[Request], outcomes: Sequence[Any]) -> None:
        """Take the outcomes of the next requests, all committed and synced."""


class _NobodyClient:
    """The source of what the broker does on its own account."""

    closed = False
    may_wait = False

    def answer(self, requests: Sequence[Request], outcomes: Sequence[Any]) -> None:
        """Nobody wants to know."""


class Broker:
    """Executes commands for many clients at once over one database.

    Args:
        database: open; from now on the broker's, closed by :meth:`close`.
        on_failure: called in the event loop, once, if the outcome of a commit is
            unknown: nobody may be answered any more and the process must end.
        on_users_changed: called in the event loop with the ids of users who were
            deleted or whose password changed.
    """

    def __init__(
        self,
        database: Database,
        *,
        on_failure: Callable[[Exception], None],
        on_users_changed: Callable[[set[int]], None],
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._database = database
        self._on_failure = on_failure
        self._on_users_changed = on_users_changed
        self.clock = Clock()
        self._writer = Writer(
            self._loop, database, self.clock, self._prepare, self._deliver, self._fail
        )
        self._waiting = Waiting(self._loop, self._writer.submit)
        self._due = DueTimers(self._loop, self.clock, self._sweep)
        self._self = _NobodyClient()
        # When the next clean-up is due, and its timer.
        self._clean_up: tuple[int, asyncio.TimerHandle] | None = None
        #: Who has a lease that lives as long as its connection, by its receipt.
        self.holders: dict[str, Consumer] = {}
        # Of those, who has acks under way.
        self._expecting: dict[Consumer, None] = {}
        # Who awaits a transaction of its own, to be told if there will be none.
        self._calls: set[asyncio.Future[Any]] = set()
        #: Executes requests of a client, in their order: see :meth:`.Writer.submit`. Their
        #: outcomes come by :meth:`Client.answer`, in one call or several, always in order. A
        #: pull that may wait must be the last of what its client has submitted, or what follows
        #: it would overtake it.
        self.submit = self._writer.submit
        #: Puts a request in the place of what a client has waiting for a batch, if it has any.
        self.replace = self._writer.replace
        self._failed = False
        self._closing = False
        #: How many clients there are and where they come in; set by the server.
        self.connections: Callable[[], int] = int
        self.doors: tuple[str, ...] = ()

    async def start(self) -> None:
        """Start the writer, and do what was owed by those before."""
        self._writer.start()
        while await self.call(begin):
            pass
        self._database.has_consumers = True

    def wait(self, client: Client, request: Request) -> bool:
        """Have a pull wait whose client has just got less than it wanted.

        From within :meth:`Client.answer` alone: what the same commit has made ready, or has
        left, wakes it. Beside what is to be executed anyway it is executed at once, for that
        may bring something.

        Returns:
            Whether it waits; False if nothing may any more.
        """
        if self._writer.is_busy:
            self.submit(client, [request])
            return True
        return self._waiting.park(client, request)

    def _prepare(self, pending: Mapping[Client, list[Request]], seen: int) -> None:
        """Put beside what is pending what it may bring something: pulls, and consumers that ask."""
        if not (self.holders or self._waiting):
            return
        for client, requests in [*pending.items()][seen:]:
            self._waiting.meet(requests)
            if self.holders:
                self._expect_credit(client, requests)

    def _expect_credit(self, client: Client, requests: Sequence[Request]) -> None:
        """Let a client's consumers ask beside its acks that make room for more."""
        asking: dict[Consumer, None] = {}
        for _, command in requests:
            if type(command) is MessageAck:
                for consumer, receipts in groupby(command.receipts, key=self.holders.get):
                    if consumer is not None and consumer.expects(client, receipts):
                        asking[consumer] = None
        for consumer in asking:
            consumer.ask()
        self._expecting |= asking

    def leave(self, client: Client) -> None:
        """Forget a client that is gone: what waits is dropped, what was claimed goes back."""
        self._writer.withdraw(client)
        self._waiting.leave(client)

    def add_consumer(self, consumer: Consumer, messages: Sequence[Message]) -> None:
        """Let a consumer go on, with what its QUEUE CONSUME has brought it at once."""
        consumer.took(messages)
        consumer.ask()

    def cancel_consumer(self, consumer: Consumer) -> None:
        """Let a consumer get nothing more; what it has leased stays so."""
        consumer.closed = True
        self.leave(consumer)

    def end_consumer(self, consumer: Consumer, *, counted: bool) -> None:
        """End a consumer whose connection ends: what it has leased goes back at once."""
        self.cancel_consumer(consumer)
        for receipt in consumer.in_flight:
            self.holders.pop(receipt, None)
        requests = consumer.leftovers(counted=counted)
        if requests and not self._closing:
            self._writer.submit(self._self, requests)

    def release(self, client: Client) -> None:
        """Answer a client's waiting pull with nothing."""
        self._waiting.release(client)

    async def call(self, work: Callable[[Transaction], _Result]) -> _Result:
        """Do ``work`` in a transaction of its own and return its result.

        Raises:
            BrokerError: what it raised; its transaction is rolled back.
            Unavailable: the server stops, or the database failed, and whether it was
                done is not known.
        """
        future: asyncio.Future[_Result] = self._loop.create_future()

        def settle(result: Any, error: BrokerError | None) -> None:
            if future.done():
                return
            if error is None:
                future.set_result(result)
            else:
                future.set_exception(error)

        if self._closing or self._failed:
            raise Unavailable("the server is stopping")
        self._calls.add(future)
        future.add_done_callback(self._calls.discard)
        self._writer.do(Job(work, settle))
        return await future

    def close(self) -> None:
        """Answer who waits with nothing, execute what is pending, close the database."""
        if self._closing:
            return
        self.release_waiting()
        self._closing = True
        self._due.close()
        if self._clean_up is not None:
            self._clean_up[1].cancel()
        self._writer.close()

    def release_waiting(self) -> None:
        """Answer all waiting pulls with nothing; later ones are not parked."""
        self._waiting.release_all()

    # --- after a commit ---

    def _fail(self, error: Exception) -> None:
        self._failed = True
        self._on_failure(error)
        for future in list(self._calls):
            if not future.done():
                future.set_exception(Unavailable(f"the database failed: {error}"))

    def _deliver(self, portions: Iterable[Portion], transactions: list[Transaction]) -> None:
        """Answer a batch, then wake who waits for what it has made ready."""
        if self._failed:
            return
        settled = self._settle(transactions) if self.holders or self._expecting else ()
        client: Any
        for client, requests, outcomes in portions:
            if len(outcomes) == 1 and type(outcomes[0]) is int:
                # An id or a count, as most are: there is nothing more to it.
                client.answer(requests, outcomes)
            else:
                self._answer(client, requests, outcomes)
        for consumer in settled:
            consumer.ask()
        for tx in transactions:
            self._waiting.wake(tx)
            self._due.note(tx)
            if tx.left_to_clean_up:
                self._owe_clean_up()
            if tx.clean_up_at is not None:
                self._arm_clean_up(tx.clean_up_at)
            if tx.changed_users:
                self._on_users_changed({*tx.changed_users})

    def _settle(self, transactions: list[Transaction]) -> Iterable[Consumer]:
        """Tell consumers which of their leases have ended; return those who may ask again."""
        # A dictionary for its order; each asks once, for all that it may have again.
        settled: dict[Consumer, list[str]] = {}
        for tx in transactions:
            for receipt in tx.ended:
                holder = self.holders.pop(receipt, None)
                if holder is not None:
                    settled.setdefault(holder, []).append(receipt)
        for consumer, receipts in settled.items():
            consumer.settled(receipts)
        for consumer in self._expecting:
            consumer.expected.clear()
        self._expecting.clear()
        return settled

    def _answer(self, client: Any, requests: list[Request], outcomes: list[Any]) -> None:
        if client.closed:
            self._give_back(requests, outcomes)
            return
        last = requests[-1].command
        if type(outcomes[-1]) is Unfinished:
            # The last of what its client has submitted, which holds for it.
            self.submit(client, [Request(requests[-1].principal, outcomes[-1].command)])
            requests, outcomes = requests[:-1], outcomes[:-1]
        elif getattr(last, "wait_ms", 0):
            if outcomes[-1] != ():
                self._waiting.forget(client)
            elif self._waiting.park(client, requests[-1]):
                requests, outcomes = requests[:-1], outcomes[:-1]
        if Totals in map(type, outcomes):
            outcomes = [self._status(o) if type(o) is Totals else o for o in outcomes]
        if requests:
            client.answer(requests, outcomes)

    def _give_back(self, requests: Sequence[Request], outcomes: Sequence[Any]) -> None:
        """Release, uncounted, what was claimed for a client that has gone meanwhile."""
        for request, outcome in zip(requests, outcomes, strict=True):
            if type(outcome) is tuple and outcome and type(outcome[0]) is Message:
                self.give_back(request.principal, outcome)

    def give_back(self, principal: Principal, messages: Iterable[Message]) -> None:
        """Release, uncounted, messages that could not be handed to who pulled them."""
        receipts = tuple(m.receipt for m in messages if m.receipt is not None)
        if receipts and not self._closing:
            nack = MessageNack(receipts, uncounted=True)
            self._writer.submit(self._self, [Request(principal, nack)])

    # --- what time brings ---

    def _sweep(self, targets: Set[Target]) -> None:
        """Make ready what is due in queues, between two batches."""

        def done(_: Any, error: BrokerError | None) -> None:
            if error is not None:
                logger.warning("nothing was made ready: %s", error)
                self._due.try_again(targets)

        if not self._closing and not self._failed:
            self._writer.do(Job(lambda tx: sweep(tx, targets), done))

    def _arm_clean_up(self, time: int) -> None:
        if self._clean_up is not None:
            if self._clean_up[0] <= time:
                return
            self._clean_up[1].cancel()
        if not self._closing:
            delay = max(0, time - self.clock.now_ms()) / 1000 + CLEAN_UP_DELAY
            self._clean_up = (time, self._loop.call_later(delay, self._clean_up_now))

    def _clean_up_now(self) -> None:
        self._clean_up = None
        self._owe_clean_up()

    def _owe_clean_up(self) -> None:
        self._writer.owe_clean_up(self._waiting.queues())

    def _status(self, totals: Totals) -> ServerStatus:
        database_bytes, wal_bytes = self._database.sizes()
        return ServerStatus(
            version=_version.__version__,
            pid=os.getpid(),
            uptime_ms=self.clock.uptime_ms(),
            database=self._database.path,
            database_bytes=database_bytes,
            wal_bytes=wal_bytes,
            schema=schema.HEAD,
            doors=self.doors,
            connections=self.connections(),
            commands=self._writer.commands,
            commits=self._writer.commits,
            largest_batch=self._writer.largest_batch,
            waiting_pulls=len(self._waiting),
            **totals._asdict(),
        )
