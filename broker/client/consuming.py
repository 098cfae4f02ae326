"""Consuming: messages one after the other, as long as one likes.

From a server they are pushed, on a connection of their own; without one they are
pulled and their leases kept alive. What was fetched ahead and not handed out goes
back uncounted when the loop is left.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Generator
from typing import TYPE_CHECKING, Any, Final, Protocol

from ..commands.delivery import Message
from ..commands.message import MessageAck, MessageExtend, MessageNack
from ..commands.queue import QueueCancel, QueueConsume, QueuePull
from ..errors import BrokerError, Invalid, Stale, Unavailable, error_for
from ..names import DEFAULT_LEASE_MS, MAX_DURATION_MS, MAX_PULL_COUNT, check_range
from ..protocols.resp.encoder import Push
from ..protocols.resp.results import record_of
from .retries import Backoff
from .sockets import ConnectionLost, ConnectionRefused, SocketTransport

if TYPE_CHECKING:
    from .sync import Client

#: How long one embedded pull waits: in between, leases are prolonged.
EMBEDDED_WAIT_MS: Final = 1000
GIVEN_UP: Final = "the consumer left it"


class Consumed(Message):
    """A message that a consumer was given: a :class:`~broker.Message` that can be answered."""

    _settle: Callable[[Any], None]

    def ack(self) -> None:
        """Acknowledge it: it is deleted. Stale if its lease has ended."""
        self._settle(MessageAck((_receipt(self),)))

    def nack(
        self,
        *,
        delay_ms: int | None = None,
        uncounted: bool = False,
        dead: bool = False,
        reason: str | None = None,
    ) -> None:
        """Give it back, as :meth:`broker.Client.nack` does."""
        self._settle(MessageNack((_receipt(self),), delay_ms, uncounted, dead, reason))


def _receipt(message: Message) -> str:
    if message.receipt is None:
        raise AssertionError("what is consumed has a receipt")
    return message.receipt


class Source(Protocol):
    """Where a consumer's messages come from."""

    def next(self, wait_s: float | None) -> Message | None:
        """Return the next message, or None if there was none within ``wait_s`` seconds.

        Raises:
            ConnectionLost: open another.
            BrokerError: there will be no more.
        """

    def settled(self, receipt: str) -> None:
        """Take note that a message was answered."""

    def close(self) -> None:
        """Give back what was not handed out; twice is fine."""


def consume(
    client: Client,
    open_source: Callable[[str, int], Source],
    queue: str,
    prefetch: int,
    wait_ms: int | None,
    timeout_s: float,
) -> Generator[Consumed, None, None]:
    """Yield messages of a queue; see :meth:`broker.Client.consume`."""
    check_range(prefetch, 1, MAX_PULL_COUNT, "a prefetch")
    wait_s = wait_seconds(wait_ms)
    source: Source | None = None
    backoff: Backoff | None = None
    try:
        while True:
            try:
                if source is None:
                    source = open_source(queue, prefetch)
                message = source.next(wait_s)
            except (ConnectionLost, ConnectionRefused) as loss:
                if source is not None:
                    source.close()
                    source = None
                backoff = backoff or Backoff(timeout_s)
                if not backoff.pause():
                    raise Unavailable(str(loss)) from loss
                continue
            backoff = None
            if message is None:
                return
            yield _consumed(client, source, message)
    finally:
        if source is not None:
            source.close()


def wait_seconds(wait_ms: int | None) -> float | None:
    """Return how long a consumer waits for the next message, in seconds; None is for ever."""
    if wait_ms is None:
        return None
    return check_range(wait_ms, 0, MAX_DURATION_MS, "a wait in milliseconds") / 1000


def _consumed(client: Client, source: Source, message: Message) -> Consumed:
    consumed = Consumed._make(message)

    def settle(command: Any) -> None:
        (refusal,) = client.execute(command)
        source.settled(_receipt(message))
        if refusal is not None:
            raise refusal

    consumed._settle = settle
    return consumed


class PushSource:
    """Messages that a server pushes.

    Args:
        transport: of its own; what it has leased goes back when it is closed.
        queue: to consume.
        prefetch: at most so many unacknowledged.

    Raises:
        ConnectionLost, ConnectionRefused: open another.
        BrokerError: it may not be consumed.
    """

    def __init__(self, transport: SocketTransport, queue: str, prefetch: int) -> None:
        self._transport = transport
        self._queue = queue
        self._closed = False
        try:
            transport.execute_once(QueueConsume(queue, prefetch))
        except BaseException:
            transport.close()
            raise

    def next(self, wait_s: float | None) -> Message | None:
        """Return the next message that was pushed."""
        push = self._transport.next_push(wait_s)
        return None if push is None else message_of(push)

    def settled(self, receipt: str) -> None:
        """The server knows."""

    def close(self) -> None:
        """Cancel, give back what was not handed out, and close the connection."""
        if self._closed:
            return
        self._closed = True
        transport = self._transport
        try:
            transport.execute_once(QueueCancel(self._queue))
            # What was pushed before its answer has been read with it.
            receipts = tuple(_receipt(message_of(p)) for p in transport.pushed if is_message(p))
            if receipts:
                transport.execute_once(MessageNack(receipts, uncounted=True))
        except (BrokerError, ConnectionLost):
            # Its end gives back all the same.
            pass
        finally:
            transport.close()


def is_message(push: Push) -> bool:
    """Return whether a push carries a message."""
    return bool(push) and push[0] == b"message"


def message_of(push: Push) -> Message:
    """Return the message that a push carries.

    Raises:
        BrokerError: it says why there will be no more.
    """
    if is_message(push):
        message: Message = record_of(Message, push[1])
        return message
    if push and push[0] == b"cancelled":
        raise error_for(push[2].decode(), push[3].decode())
    raise Invalid(f"an unknown push: {str(push)[:80]}")


class PullSource:
    """Messages that are pulled, by a process without a server.

    A thread prolongs the leases of what is unanswered.

    Args:
        execute: executes a command; from any thread.
        queue: to consume.
        prefetch: at most so many unanswered.
    """

    def __init__(self, execute: Callable[[Any], Any], queue: str, prefetch: int) -> None:
        self._execute = execute
        self._queue = queue
        self._prefetch = prefetch
        self._ahead: deque[Message] = deque()
        # Receipts in the order in which they were leased; guarded by the condition.
        self._unanswered: dict[str, None] = {}
        self._condition = threading.Condition()
        self._closed = False
        self._keeper = threading.Thread(target=self._keep, name="lease-keeper", daemon=True)
        self._keeper.start()

    def next(self, wait_s: float | None) -> Message | None:
        """Return the next message; pull when none is left and there is credit."""
        deadline = None if wait_s is None else time.monotonic() + wait_s
        while not self._ahead:
            left_s = EMBEDDED_WAIT_MS / 1000
            if deadline is not None:
                left_s = max(0.0, min(left_s, deadline - time.monotonic()))
            credit = self._credit()
            if credit > 0:
                messages = self._execute(QueuePull(self._queue, credit, int(left_s * 1000)))
                self._ahead.extend(messages)
                with self._condition:
                    self._unanswered.update(dict.fromkeys(map(_receipt, messages)))
            else:
                with self._condition:
                    self._condition.wait(left_s)
            if not self._ahead and deadline is not None and time.monotonic() >= deadline:
                return None
        return self._ahead.popleft()

    def _credit(self) -> int:
        """Return how many more it may have; what others have answered for it is asked for."""
        with self._condition:
            credit = self._prefetch - len(self._unanswered)
        if credit <= 0:
            self._prolong()
            with self._condition:
                credit = self._prefetch - len(self._unanswered)
        return credit

    def settled(self, receipt: str) -> None:
        """Take note that a message was answered."""
        with self._condition:
            self._unanswered.pop(receipt, None)
            self._condition.notify_all()

    def _keep(self) -> None:
        """Prolong leases, each time a third of them has passed."""
        pause_s = DEFAULT_LEASE_MS / 3000
        while True:
            with self._condition:
                if self._condition.wait_for(lambda: self._closed, pause_s):
                    return
            try:
                self._prolong()
            except (BrokerError, RuntimeError):
                # Tried again in a while; if that fails too, the leases end.
                continue

    def _prolong(self) -> None:
        """Prolong the leases there are, and forget those that have ended."""
        with self._condition:
            receipts = list(self._unanswered)
        for receipt in receipts:
            try:
                self._execute(MessageExtend(receipt))
            except Stale:
                self.settled(receipt)

    def close(self) -> None:
        """Give back what is unanswered: uncounted, but for the oldest that was handed out."""
        with self._condition:
            if self._closed:
                return
            self._closed = True
            unanswered = list(self._unanswered)
            self._unanswered.clear()
            self._condition.notify_all()
        self._keeper.join()
        ahead = {_receipt(message) for message in self._ahead}
        self._ahead.clear()
        tried = [receipt for receipt in unanswered if receipt not in ahead][:1]
        rest = tuple(receipt for receipt in unanswered if receipt not in tried)
        try:
            if tried:
                self._execute(MessageNack(tuple(tried), delay_ms=0, reason=GIVEN_UP))
            if rest:
                self._execute(MessageNack(rest, uncounted=True))
        except (BrokerError, RuntimeError):
            # The client is closed, or the database gone: the leases end by themselves.
            return
