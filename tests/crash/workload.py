"""A client process of the torture: does one thing after the other and writes down what it was told.

    python -m crash.workload FOLDER NAME LIFE DOOR PORT SEED QUEUES

What it does next is drawn from its seed and depends on what it was answered, so the
same seed makes the same decisions, while the timing, and what follows from it, differs.
"""

from __future__ import annotations

import random
import signal
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

from crash.doors import Consuming, Door, Library, Lost, Shell
from crash.history import REFUSED, UNKNOWN, Delivered, Recorder, body_of, marks_of
from crash.setting import CHANNEL, COMING_AND_GOING, SUBSCRIPTION, WEIGHTS, Place, own_name

from broker.client.sockets import ConnectionLost, ConnectionRefused
from broker.commands.atomic import Atomic
from broker.commands.channel import ChannelPublish, ChannelSubscribe, ChannelUnsubscribe
from broker.commands.dead import DeadDrop, DeadRetry
from broker.commands.delivery import Message
from broker.commands.message import (
    MessageAck,
    MessageExtend,
    MessageMove,
    MessageNack,
    MessageRelease,
)
from broker.commands.queue import (
    QueuePause,
    QueuePull,
    QueuePurge,
    QueueResume,
    QueueSend,
    QueueSendMany,
    QueueSet,
)
from broker.errors import BrokerError
from broker.names import subscription_queue

LEASES_MS: Final = (300, 800, 2000, 4000)
#: Leases up to so long are overslept at times.
LATE_AFTER_MS: Final = 800
#: A consumer that has got nothing for so long asks whether there is nothing.
IDLE_AFTER_S: Final = 0.1
#: How many receipts it sits on before it does something about them.
MOST_HELD: Final = 20
#: Pauses between two calls, in seconds: with them a minute's history can be kept in memory.
LONGEST_PAUSE_S: Final = 0.01


class Held:
    """A lease this process has, or had.

    Attributes:
        ripe_at: when it is answered at the earliest, by the monotonic clock: of some
            only when they have ended, and somebody else may have the message.
    """

    def __init__(self, message: Delivered, ripe_at: float = 0.0) -> None:
        self.receipt = f"{message.delivery}.{message.generation}"
        self.message = message
        self.ripe_at = ripe_at


class Worker:
    """One life of a client process.

    Args:
        door: how it reaches the broker.
        recorder: where it writes down what happens.
        chance: what it draws from.
        name: that no other life has; its messages are called by it.
        queues: that it sends to and pulls from.
    """

    def __init__(
        self,
        door: Door,
        recorder: Recorder,
        chance: random.Random,
        name: str,
        queues: Sequence[str],
    ) -> None:
        self._door = door
        self._queues = queues
        self._weights = [WEIGHTS[queue] for queue in queues]
        self._recorder = recorder
        self._chance = chance
        self._name = name
        self._tags = 0
        self._held: list[Held] = []
        self.stopping = False
        user = own_name()
        self._subscriptions = [
            subscription_queue(CHANNEL, user, ""),
            *(subscription_queue(CHANNEL, user, name) for name in COMING_AND_GOING),
        ]

    def run(self) -> None:
        """Work until told to stop."""
        actions = [(action, weight) for action, weight in self._actions() if weight]
        choices, weights = zip(*actions, strict=True)
        while not self.stopping:
            (action,) = self._chance.choices(choices, weights)
            if len(self._held) > MOST_HELD:
                action = self.settle
            action()
            time.sleep(self._chance.uniform(0, LONGEST_PAUSE_S))

    def _actions(self) -> list[tuple[Callable[[], None], int]]:
        common: list[tuple[Callable[[], None], int]] = [
            (self.send, 22), (self.publish, 6), (self.pull, 22), (self.settle, 30),
        ]  # fmt: skip
        if isinstance(self._door, Shell):
            return common
        return [
            *common, (self.send_many, 5), (self.pop, 4), (self.transact, 5),
            (self.extend, 4), (self.consume, 2 if self._door.can_consume else 0),
            (self.purge, 1), (self.pause, 1), (self.change, 1), (self.move, 2),
            (self.revive, 2), (self.release, 1), (self.come_or_go, 3),
        ]  # fmt: skip

    # --- asking ---

    def call(self, verb: str, args: dict[str, Any], command: Any) -> Any:
        """Do one thing and write down what came of it; None if nothing is known to be done."""
        number = self._recorder.begin(verb, {**args, "door": self._door.kind})
        try:
            result = self._door.execute(command)
        except Lost:
            self._recorder.end(number, UNKNOWN, code="KILLED")
        except BrokerError as refusal:
            # Between "the server is stopping" and "the reply was lost" the code does not tell.
            outcome = UNKNOWN if refusal.code == "UNAVAILABLE" else REFUSED
            self._recorder.end(number, outcome, code=refusal.code, result=refusal.message)
        else:
            self._recorder.end(number, "ok", result)
            return result
        return None

    def new_tag(self) -> str:
        """Return the name of a message there has not been yet."""
        self._tags += 1
        return f"{self._name}-{self._tags}"

    def _options(self) -> dict[str, Any]:
        """Draw the options of a send: often none, as in life."""
        chance = self._chance
        options: dict[str, Any] = {}
        if chance.random() < 0.2:
            options["priority"] = chance.choice((0, 4, 9))
        if chance.random() < 0.15:
            options["delay_ms"] = chance.choice((100, 600, 1500))
        elif chance.random() < 0.05:
            options["at_ms"] = time.time_ns() // 1_000_000 + chance.choice((-500, 300, 1200))
        if chance.random() < 0.06:
            options["ttl_ms"] = options.get("delay_ms", 0) + chance.choice((400, 1500))
        if chance.random() < 0.15:
            # A pool that all processes share: most come again, from somebody else too.
            options["key"] = f"key-{chance.randrange(12)}"
            if chance.random() < 0.3:
                options["key"] += "-short"
                options["key_ttl_ms"] = 1000
        return options

    def _send_command(self, tag: str, queue: str, options: dict[str, Any]) -> QueueSend:
        content_type, headers = marks_of(tag)
        return QueueSend(
            queue, body_of(tag), content_type=content_type, headers=headers or None, **options
        )

    def _queue(self) -> str:
        (queue,) = self._chance.choices(self._queues, self._weights)
        return queue

    # --- sending ---

    def send(self) -> None:
        """Send a message."""
        tag, queue, options = self.new_tag(), self._queue(), self._options()
        args = {"tags": [tag], "queue": queue, **options}
        self.call("send", args, self._send_command(tag, queue, options))

    def send_many(self) -> None:
        """Send some that are stored all or none."""
        tags = [self.new_tag() for _ in range(self._chance.randrange(2, 12))]
        queue, options = self._queue(), self._options()
        options.pop("key", None)
        options.pop("key_ttl_ms", None)
        command = QueueSendMany(queue, tuple(map(body_of, tags)), **options)
        self.call("send", {"tags": tags, "queue": queue, "plain": True, **options}, command)

    def publish(self) -> None:
        """Publish a message."""
        tag, options = self.new_tag(), self._options()
        content_type, headers = marks_of(tag)
        command = ChannelPublish(
            CHANNEL, body_of(tag), content_type=content_type, headers=headers or None, **options
        )
        self.call("publish", {"tags": [tag], "channel": CHANNEL, **options}, command)

    # --- pulling ---

    def pull(self) -> None:
        """Lease one or some, perhaps after a wait."""
        chance = self._chance
        queue = self._queue() if chance.random() < 0.7 else chance.choice(self._subscriptions)
        if queue == "pops":
            queue = "graves"
        count = None if chance.random() < 0.7 else chance.randrange(1, 10)
        wait_ms = 0 if chance.random() < 0.85 else chance.choice((100, 500, 1500))
        command = QueuePull(queue, count, wait_ms, chance.choice(LEASES_MS))
        args = {"queue": queue, "count": count, "wait": wait_ms, "lease": command.lease_ms}
        ripe_at = 0.0
        if command.lease_ms <= LATE_AFTER_MS and chance.random() < 0.4:
            ripe_at = time.monotonic() + command.lease_ms / 1000 + chance.uniform(0.05, 1.0)
        messages = self.call("pull", args, command)
        self._held += [Held(message, ripe_at) for message in messages or ()]

    def pop(self) -> None:
        """Take some away as they are pulled."""
        count = self._chance.randrange(1, 5)
        args = {"queue": "pops", "count": count, "wait": 0, "lease": None}
        self.call("pull", args, QueuePull("pops", count, no_ack=True))

    def consume(self) -> None:
        """Have messages pushed for a while; what is not answered goes back at the end."""
        own = [queue for queue in ("pushes", "pushes", "jobs") if queue in self._queues]
        queue = self._chance.choice((*own, self._subscriptions[0]))
        prefetch = self._chance.randrange(1, 8)
        until = time.monotonic() + self._chance.uniform(0.2, 1.5)
        answered = self._chance.uniform(0.5, 1.0)
        number = self._recorder.begin("consume", {"queue": queue, "prefetch": prefetch})
        source: Consuming | None = None
        try:
            source = self._door.open_source(queue, prefetch)
            unanswered = 0
            while time.monotonic() < until and not self.stopping:
                message = source.next(IDLE_AFTER_S)
                if message is None and unanswered < prefetch:
                    message = self._look_idle(source, queue, number)
                if message is None:
                    continue
                delivered = self._door.delivered(message)
                self._recorder.note("pushed", {"queue": queue, "consume": number}, [delivered])
                if self._chance.random() < answered:
                    self._answer([Held(delivered)])
                else:
                    unanswered += 1
        except (ConnectionLost, ConnectionRefused, BrokerError):
            self._recorder.end(number, UNKNOWN)
        else:
            self._recorder.end(number, "ok")
        finally:
            if source is not None:
                source.close()

    def _look_idle(self, source: Consuming, queue: str, consume: int) -> Message | None:
        """Note that nothing is pushed though there may be more, or return what is."""
        number = self._recorder.begin("idle", {"queue": queue, "consume": consume})
        source.catch_up()
        message = source.next(0)
        self._recorder.end(number, "ok", [] if message is None else [message.id])
        return message

    # --- answering ---

    def settle(self) -> None:
        """Answer a lease or some, in time or too late."""
        now = time.monotonic()
        ripe = [lease for lease in self._held if lease.ripe_at <= now]
        if not ripe and len(self._held) <= MOST_HELD:
            self.pull()
            return
        ripe = ripe or self._held
        chosen = self._chance.sample(ripe, min(len(ripe), self._chance.choice((1, 1, 1, 3, 8))))
        self._held = [lease for lease in self._held if lease not in chosen]
        self._answer(chosen)

    def _answer(self, leases: Sequence[Held]) -> None:
        receipts = [lease.receipt for lease in leases]
        if self._chance.random() < 0.75:
            self.call("ack", {"receipts": receipts}, MessageAck(tuple(receipts)))
            return
        options: dict[str, Any] = self._chance.choice(
            (
                {}, {"delay_ms": 0}, {"delay_ms": 700}, {"uncounted": True}, {"dead": True},
                {"uncounted": True, "delay_ms": 400},
            )
        )  # fmt: skip
        command = MessageNack(tuple(receipts), **options)
        self.call("nack", {"receipts": receipts, **options}, command)

    def extend(self) -> None:
        """Prolong a lease, or cut it short."""
        if self._held:
            lease = self._chance.choice(self._held)
            lease_ms = self._chance.choice(LEASES_MS)
            args = {"receipts": [lease.receipt], "lease": lease_ms}
            self.call("extend", args, MessageExtend(lease.receipt, lease_ms))

    def transact(self) -> None:
        """Acknowledge and send, all or nothing, by a transaction or by one command."""
        if not self._held:
            self.pull()
            return
        lease = self._held.pop(self._chance.randrange(len(self._held)))
        tag, queue = self.new_tag(), self._chance.choice(("jobs", "tasks", "heap", "tight"))
        ack, send = MessageAck((lease.receipt,)), self._send_command(tag, queue, {})
        command: Any = Atomic((ack, send))
        if self._chance.random() < 0.5:
            command = ack._replace(send=send)
        args = {"receipts": [lease.receipt], "tags": [tag], "queue": queue}
        self.call("transact", args, command)

    # --- taking in hand ---

    def purge(self) -> None:
        """Delete what is ready or delayed."""
        self.call("purge", {"queue": "heap"}, QueuePurge("heap"))

    def pause(self) -> None:
        """Pause a queue for a moment."""
        queue = self._chance.choice(("attic", "brittle"))
        self.call("pause", {"queue": queue}, QueuePause(queue))
        time.sleep(self._chance.uniform(0, 0.1))
        self.call("resume", {"queue": queue}, QueueResume(queue))

    def change(self) -> None:
        """Change a setting of a live queue."""
        queue, name, value = self._chance.choice(
            (
                ("tasks", "max_attempts", "2"), ("tasks", "max_attempts", "4"),
                ("small", "max_messages", "8"), ("small", "max_messages", "20"),
            )
        )  # fmt: skip
        args = {"queue": queue, "settings": {name: value}}
        self.call("set", args, QueueSet(queue, ((name, value),)))

    def move(self) -> None:
        """Move a message that is held to another queue."""
        held = [lease for lease in self._held if lease.message.queue == "attic"]
        if held:
            number = held[0].message.id
            args = {"queue": "attic", "id": number, "to": "jobs"}
            self.call("move", args, MessageMove("attic", number, "jobs"))

    def release(self) -> None:
        """Make a message that is held ready at once."""
        held = [lease for lease in self._held if "@" not in lease.message.queue]
        if held:
            message = self._chance.choice(held).message
            args = {"queue": message.queue, "id": message.id}
            self.call("release", args, MessageRelease(message.queue, message.id))

    def revive(self) -> None:
        """Put the dead of a queue back, or drop them."""
        queue = self._chance.choice(("brittle", "fading"))
        limit = self._chance.choice((None, 3))
        if self._chance.random() < 0.7:
            self.call("retry", {"queue": queue}, DeadRetry(queue, all=True, limit=limit))
        else:
            self.call("drop", {"queue": queue}, DeadDrop(queue, all=True, limit=limit))

    def come_or_go(self) -> None:
        """Begin or end a subscription of the process's own user."""
        if self._door.kind == "tcp":
            return
        name = self._chance.choice(COMING_AND_GOING)
        args = {"channel": CHANNEL, "queue": subscription_queue(CHANNEL, own_name(), name)}
        if self._chance.random() < 0.5:
            settings = tuple(SUBSCRIPTION.items())
            self.call("subscribe", args, ChannelSubscribe(CHANNEL, name, settings))
        else:
            self.call("unsubscribe", args, ChannelUnsubscribe(CHANNEL, name))


def main(arguments: Sequence[str]) -> None:
    """Be a client process until SIGTERM."""
    folder, name, life, kind, port, seed, queues = arguments
    place = Place(Path(folder))
    client = f"{name}.{life}"
    chance = random.Random(f"{seed} {client}")
    door: Door = (
        Shell(place, chance) if kind == "shell" else Library(place, kind, int(port), timeout_s=10)
    )
    recorder = Recorder(place.history, client)
    worker = Worker(door, recorder, chance, client, queues.split())

    def stop(number: int, frame: object) -> None:
        worker.stopping = True

    signal.signal(signal.SIGTERM, stop)
    worker.run()
    door.close()
    recorder.note("goodbye", {})
    recorder.close()


if __name__ == "__main__":
    from crash.entry import prepare

    prepare()
    main(sys.argv[1:])
