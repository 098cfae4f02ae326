"""A consumer: it pulls again and again for its connection, as long as it has credit.

To the broker it is a client of its own, whose pull waits for ever. What it has
leased lives as long as the connection: the rows say so, and when the connection
ends they go back at once. Of them the oldest counts as an attempt, for it is what
the consumer was at; the others were only fetched ahead and go back uncounted, so
that one message that kills its consumers does not take its neighbours with it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final, Protocol

from ..commands.delivery import Message
from ..commands.message import MessageNack
from ..commands.queue import QueueConsume
from ..commands.request import Principal, Request
from ..errors import BrokerError
from ..names import MAX_DURATION_MS

CONNECTION_ENDED: Final = "the consumer's connection ended"


class Sink(Protocol):
    """Where a consumer's messages go: its connection."""

    @property
    def may_push(self) -> bool:
        """Whether it takes messages at the moment; it calls ``ask`` when it does again."""

    @property
    def may_wait(self) -> bool:
        """Whether anything may wait for it."""

    def push(self, messages: Sequence[Message]) -> None:
        """Hand messages on."""

    def consumer_ended(self, consumer: Consumer, refusal: BrokerError) -> None:
        """Take note that there will be no more."""


class Leases(Protocol):
    """What a consumer needs of the broker."""

    #: Who has a lease, by its receipt.
    holders: dict[str, Consumer]

    def submit(self, client: Any, requests: list[Request]) -> None:
        """Execute requests."""

    def replace(self, client: Any, request: Request) -> bool:
        """Execute a request instead of the one that waits for a batch; False if none does."""

    def wait(self, client: Any, request: Request) -> bool:
        """Execute a pull once something comes; False if nothing may wait any more."""


class Consumer:
    """One QUEUE CONSUME of a connection; a client of the broker.

    Args:
        broker: what it asks.
        sink: its connection.
        principal: on whose behalf.
        name: of the queue it consumes.
        prefetch: how many it may have leased at a time.
    """

    def __init__(
        self, broker: Leases, sink: Sink, principal: Principal, name: str, prefetch: int
    ) -> None:
        self.closed = False
        self.principal = principal
        self.name = name
        #: Receipts in the order in which they were leased: a dictionary for its order.
        self.in_flight: dict[str, None] = {}
        #: Of those, what an ack under way will end. A guess: it may be refused.
        self.expected: set[str] = set()
        self._broker = broker
        self._sink = sink
        self._prefetch = prefetch
        self._asking = False

    @property
    def may_wait(self) -> bool:
        """Whether its pull may wait."""
        return not self.closed and self._sink.may_wait

    def took(self, messages: Sequence[Message]) -> None:
        """Take note of messages that were leased for it."""
        receipts = [message.receipt for message in messages if message.receipt is not None]
        self.in_flight.update(dict.fromkeys(receipts))
        self._broker.holders.update(dict.fromkeys(receipts, self))

    def expects(self, client: object, receipts: Iterable[str]) -> bool:
        """Take note that a client is about to end leases; False if it is not its own."""
        if client is not self._sink:
            return False
        self.expected.update(receipts)
        return True

    def settled(self, receipts: Iterable[str]) -> None:
        """Take note that leases of it have ended; ``ask`` when all that have are noted."""
        for receipt in receipts:
            self.in_flight.pop(receipt, None)

    def ask(self) -> None:
        """Pull as much as there is credit for; a pull that waits for its batch then wants more."""
        request = self._wanted()
        if request is None:
            return
        if not (self._broker.replace(self, request) or self._asking):
            self._asking = True
            self._broker.submit(self, [request])

    def _wanted(self) -> Request | None:
        """Return the pull of as much as there is credit for, or None."""
        credit = self._prefetch - len(self.in_flight) + len(self.expected)
        if self.closed or credit <= 0 or not self._sink.may_push:
            return None
        return Request(self.principal, QueueConsume(self.name, credit, MAX_DURATION_MS))

    def answer(self, requests: Sequence[Request], outcomes: Sequence[Any]) -> None:
        """Hand on what a pull has brought, and pull again.

        One that brought less than it wanted waits for more without another look: there is
        nothing, or what it left, for its size, wakes it.
        """
        self._asking = False
        ((_, command),) = requests
        (outcome,) = outcomes
        if isinstance(outcome, BrokerError):
            self.closed = True
            self._sink.consumer_ended(self, outcome)
            return
        if outcome:
            self.took(outcome)
            self._sink.push(outcome)
            if len(outcome) == command.prefetch:
                self.ask()
            elif (request := self._wanted()) is not None:
                self._asking = self._broker.wait(self, request)

    def leftovers(self, *, counted: bool) -> list[Request]:
        """Return the commands that give back what is leased, as the connection ends.

        Args:
            counted: whether the oldest counts as an attempt: not where the server is
                what ends.
        """
        receipts = list(self.in_flight)
        self.in_flight.clear()
        first, rest = (receipts[:1], receipts[1:]) if counted else ([], receipts)
        commands = []
        if first:
            commands.append(MessageNack(tuple(first), delay_ms=0, reason=CONNECTION_ENDED))
        if rest:
            commands.append(MessageNack(tuple(rest), uncounted=True))
        return [Request(self.principal, command) for command in commands]
