"""Pulls that wait: in the order they came, woken by commits.

A waiting pull holds no row and no lock. It is executed again when a commit has
made something ready in its queue, be it because its time had come
(:mod:`.due`); and beside a send to its queue, so that mostly both are in one batch
and one commit. That is a guess, and nothing hangs on it. A wake-up too many costs a
look; one too few could only come from here. The rules that keep it from happening:

- A batch's empty pulls are parked before the batch's own wake-ups are handled.
- A pull that is being executed again is not woken: its execution comes after
  the commit that wakes. Who is woken in its stead is the next one in line.
- Who leaves between its wake-up and its pull passes the wake-up on.
- A consumer that got less than it wanted is parked without another look. What it left, for its
  size, wakes the first in line, and whatever that one leaves wakes the next
  (:meth:`~broker.store.transaction.Transaction.leaves`).
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ..commands.channel import ChannelPublish, ChannelPull
from ..commands.queue import QueueSend
from ..commands.request import Request
from ..names import SUBSCRIPTION_MARK, subscription_queue
from ..store.transaction import Transaction


class Waiter:
    """One waiting pull."""

    __slots__ = ("client", "expired", "queue", "request", "retrying", "timer")

    def __init__(self, client: Any, request: Request, queue: str) -> None:
        self.client = client
        self.request = request
        self.queue = queue
        self.retrying = False
        self.expired = False
        self.timer: asyncio.TimerHandle | None = None


class Waiting:
    """The waiting pulls of all clients; each client has at most one.

    Args:
        loop: for the timers.
        submit: has a request executed again.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        submit: Callable[[Any, list[Request]], None],
    ) -> None:
        self._loop = loop
        self._submit = submit
        self._by_client: dict[Any, Waiter] = {}
        # Dictionaries for their order and their deletion in O(1).
        self._by_queue: dict[str, dict[Waiter, None]] = {}
        self._queues_of_channel: dict[str, set[str]] = {}
        self._released = False

    def __len__(self) -> int:
        return len(self._by_client)

    def queues(self) -> frozenset[str]:
        """Return the names of the queues somebody waits for."""
        return frozenset(self._by_queue)

    def park(self, client: Any, request: Request) -> bool:
        """Keep a pull that found nothing; False if it is to be answered now."""
        waiter = self._by_client.get(client)
        if waiter is not None:
            waiter.retrying = False
            if waiter.expired or self._released or not client.may_wait:
                self._remove(waiter)
                return False
            return True
        if self._released or not client.may_wait:
            return False
        waiter = Waiter(client, request, _queue_of(request))
        waiter.timer = self._loop.call_later(request.command.wait_ms / 1000, self._expire, waiter)
        self._by_client[client] = waiter
        self._by_queue.setdefault(waiter.queue, {})[waiter] = None
        channel, mark, _ = waiter.queue.partition(SUBSCRIPTION_MARK)
        if mark:
            self._queues_of_channel.setdefault(channel, set()).add(waiter.queue)
        return True

    def forget(self, client: Any) -> None:
        """Drop a client's pull: it was answered."""
        waiter = self._by_client.get(client)
        if waiter is not None:
            self._remove(waiter)

    def leave(self, client: Any) -> None:
        """Drop the pull of a client that is gone; a wake-up it was given passes on."""
        waiter = self._by_client.get(client)
        if waiter is not None:
            self._remove(waiter)
            if waiter.retrying:
                self._wake_queue(waiter.queue, 1)

    def meet(self, requests: Sequence[Request]) -> None:
        """Execute again as many pulls as requests of the next batch may bring messages."""
        if not self._by_client:
            return
        commands = [request.command for request in requests]
        sends = [c for c in commands if type(c) is QueueSend and _is_for_now(c)]
        publications = [c for c in commands if type(c) is ChannelPublish and _is_for_now(c)]
        self._wake(Counter(c.queue for c in sends), Counter(c.channel for c in publications))

    def wake(self, tx: Transaction) -> None:
        """Execute again as many pulls as a committed transaction made messages ready."""
        if not self._by_client:
            return
        self._wake(tx.woken_queues, tx.woken_channels)

    def release(self, client: Any) -> None:
        """Answer a client's waiting pull, if it has one, with nothing."""
        waiter = self._by_client.get(client)
        if waiter is not None:
            self._expire(waiter)

    def release_all(self) -> None:
        """Answer every waiting pull with nothing, and park no more."""
        self._released = True
        for waiter in list(self._by_client.values()):
            self._expire(waiter)

    def _wake(self, queues: Mapping[str, int], channels: Mapping[str, int]) -> None:
        for queue, count in queues.items():
            self._wake_queue(queue, count)
        for channel, count in channels.items():
            for queue in list(self._queues_of_channel.get(channel, ())):
                self._wake_queue(queue, count)

    def _wake_queue(self, queue: str, count: int) -> None:
        for waiter in list(self._by_queue.get(queue, ())):
            if count <= 0:
                return
            if not waiter.retrying:
                count -= 1
                self._retry(waiter)

    def _retry(self, waiter: Waiter) -> None:
        waiter.retrying = True
        self._submit(waiter.client, [waiter.request])

    def _expire(self, waiter: Waiter) -> None:
        """Answer a pull whose time is up; one that is being executed answers by itself."""
        waiter.expired = True
        if not waiter.retrying:
            self._remove(waiter)
            waiter.client.answer([waiter.request], [()])

    def _remove(self, waiter: Waiter) -> None:
        if waiter.timer is not None:
            waiter.timer.cancel()
        del self._by_client[waiter.client]
        waiters = self._by_queue[waiter.queue]
        del waiters[waiter]
        if waiters:
            return
        del self._by_queue[waiter.queue]
        channel, mark, _ = waiter.queue.partition(SUBSCRIPTION_MARK)
        if mark:
            queues = self._queues_of_channel[channel]
            queues.discard(waiter.queue)
            if not queues:
                del self._queues_of_channel[channel]


def _is_for_now(command: QueueSend | ChannelPublish) -> bool:
    return not command.delay_ms and command.at_ms is None


def _queue_of(request: Request) -> str:
    command = request.command
    if isinstance(command, ChannelPull):
        return subscription_queue(command.channel, request.principal.name, command.as_name or "")
    return str(command.queue)
