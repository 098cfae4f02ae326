"""What the store promises about deliveries, in plain Python: lists and loops, no SQL."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any

from broker.commands.atomic import Atomic
from broker.commands.channel import (
    ChannelCreate,
    ChannelDelete,
    ChannelPublish,
    ChannelSubscribe,
    ChannelUnsubscribe,
)
from broker.commands.dead import DeadDrop, DeadRetry
from broker.commands.delivery import DEAD, DELAYED, LEASED, READY, Message, Peeked
from broker.commands.message import (
    MessageAck,
    MessageDelete,
    MessageExtend,
    MessageMove,
    MessageNack,
    MessageRelease,
)
from broker.commands.queue import (
    QueueCreate,
    QueueDelete,
    QueuePause,
    QueuePeek,
    QueuePull,
    QueuePurge,
    QueueResume,
    QueueSend,
    QueueSendMany,
    QueueSet,
    QueueShow,
)
from broker.commands.sending import Sent, SentMany

#: What each setting may be given as here, and what that means; the first is the default.
SETTINGS: dict[str, dict[str, Any]] = {
    "max_attempts": {"": 5, "0": 0, "1": 1, "2": 2, "3": 3},
    "dead_letter": {"": None, "a": "a", "b": "b"},
    "backoff": {"": None, "20ms,2,70ms": (20, 2, 70), "5ms,1.5,10s": (5, 1.5, 10_000)},
    "ttl": {"": 0, "30ms": 30, "200ms": 200},
    "on_expire": {"": "drop", "drop": "drop", "dead": "dead"},
    "max_messages": {"": 0, "1": 1, "2": 2, "4": 4},
    "max_bytes": {"": 0, "6": 6, "15": 15},
    "on_full": {"": "reject", "reject": "reject", "drop-oldest": "drop-oldest"},
}
EXPIRY_SLICE = 500
EXPIRED_SHARE = 10_000


class Refused(Exception):
    """A command the broker refuses, by the code of its error."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


@dataclass
class Copy:
    """A delivery, dead or alive."""

    id: int
    message: int
    sender: str
    sent_at: int
    body: bytes
    priority: int
    due_at: int | None
    expires_at: int | None
    leased_by: str | None = None
    attempts: int = 0
    generation: int = 0
    dead_at: int | None = None
    reason: str | None = None
    failures: tuple[dict[str, Any], ...] = ()
    died: dict[str, Any] | None = None

    @property
    def state(self) -> str:
        """As it was when somebody looked last, whatever the time is by now."""
        if self.dead_at is not None:
            return DEAD
        if self.due_at is None:
            return READY
        return DELAYED if self.leased_by is None else LEASED

    @property
    def place(self) -> tuple[int, int]:
        """By which the ready ones are sorted: priority, then age."""
        return -self.priority, self.id

    def has_expired(self, now: int) -> bool:
        """Whether it is not to be delivered any more."""
        return self.expires_at is not None and self.expires_at <= now

    def be_ready(self) -> None:
        """Wait for a pull, at its old place."""
        self.due_at = self.leased_by = None

    def begin_anew(self) -> None:
        """Be ready as if nobody had tried."""
        self.be_ready()
        self.attempts = 0

    def fail(self, now: int, reason: str) -> None:
        """Remember a failure, and the four before it."""
        assert self.leased_by is not None
        failure = {"at": now, "consumer": self.leased_by, "reason": reason}
        self.failures = (*self.failures, failure)[-5:]


#: Until when a key is remembered, and the first id and the number of what was sent with it.
Keys = dict[str, tuple[int, int, int]]


@dataclass
class Queue:
    """A queue, be it that of a subscription."""

    name: str
    owner: str
    copies: list[Copy] = field(default_factory=list)
    keys: Keys = field(default_factory=dict)
    dropped: int = 0
    sends_paused: bool = False
    pulls_paused: bool = False
    max_attempts: int = 5
    dead_letter: str | None = None
    backoff: tuple[int, float, int] | None = None
    ttl: int = 0
    on_expire: str = "drop"
    max_messages: int = 0
    max_bytes: int = 0
    on_full: str = "reject"

    @property
    def is_subscription(self) -> bool:
        """Whether it gets only what is published."""
        return "@" in self.name

    @property
    def is_limited(self) -> bool:
        """Whether a publication has to look at it."""
        return bool(self.max_messages or self.max_bytes or self.ttl or self.sends_paused)

    @property
    def bytes(self) -> int:
        """Of all bodies."""
        return sum(len(copy.body) for copy in self.copies)

    def in_state(self, state: str) -> list[Copy]:
        """Return what is in a state."""
        return [copy for copy in self.copies if copy.state == state]

    def remove(self, copy: Copy) -> None:
        """Take a delivery out."""
        self.copies = [other for other in self.copies if other is not copy]

    def is_last(self, copy: Copy) -> bool:
        """Whether a failure now is the death of a delivery."""
        return 0 < self.max_attempts <= copy.attempts

    def rest_ms(self, attempts: int) -> int:
        """Return how long a delivery rests after a nack."""
        if self.backoff is None:
            return 0
        base, factor, ceiling = self.backoff
        return min(int(base * factor ** (attempts - 1)), ceiling)

    def has_room(self, size: int) -> bool:
        """Whether it holds one more, whatever else it may have against it."""
        if self.max_messages and len(self.copies) >= self.max_messages:
            return False
        return not (self.max_bytes and self.bytes + size > self.max_bytes)

    def make_room(self, size: int) -> None:
        """Drop what is ready, the lowest priority first and of it the oldest, if it is to."""
        if self.on_full == "drop-oldest":
            while not self.has_room(size) and (ready := self.in_state(READY)):
                self.remove(min(ready, key=lambda copy: (copy.priority, copy.id)))
                self.dropped += 1

    def check_takes(self, size: int) -> None:
        """Refuse what it does not take, after it has made room."""
        if self.sends_paused:
            raise Refused("CONFLICT")
        if self.max_bytes and size > self.max_bytes:
            raise Refused("TOOBIG")
        self.make_room(size)
        if not self.has_room(size):
            raise Refused("FULL")


class Model:
    """All queues, and the channels' keys; queues stand in the order of their creation.

    A delay or a lease that is over, and a life that is over, are noticed when the
    store notices them, not before: ``now`` changes nothing by itself.
    """

    def __init__(self) -> None:
        self.now = 0
        self.queues: dict[str, Queue] = {}
        self.channels: dict[str, Keys] = {}
        self.last_id = 0
        #: The ids that the store gave; where it refused, any will do.
        self.given: list[int] = []
        self._handlers: dict[type, Callable[[Any, str], Any]] = {
            Atomic: self._atomic,
            ChannelCreate: self._create_channel,
            ChannelDelete: self._delete_channel,
            ChannelPublish: self._publish,
            ChannelSubscribe: self._subscribe,
            ChannelUnsubscribe: self._unsubscribe,
            DeadDrop: self._drop_dead,
            DeadRetry: self._retry,
            MessageAck: self._ack,
            MessageDelete: self._delete_copy,
            MessageExtend: self._extend,
            MessageMove: self._move,
            MessageNack: self._nack,
            MessageRelease: self._release,
            QueueCreate: self._create,
            QueueDelete: self._delete,
            QueuePause: self._pause,
            QueuePeek: self._peek,
            QueuePull: self._pull,
            QueuePurge: self._purge,
            QueueResume: self._pause,
            QueueSend: self._send,
            QueueSendMany: self._send_many,
            QueueSet: self._set,
            QueueShow: self._show,
        }

    def execute(self, command: Any, by: str) -> Any:
        """Return what the store has to answer, or raise :class:`Refused`.

        Receipts answer None or a code, and what a QueueShow answers is in :meth:`_show`.
        """
        return self._handlers[type(command)](command, by)

    # --- queues ---

    def existing(self, name: str) -> Queue:
        """Return a queue."""
        if name not in self.queues:
            raise Refused("NOTFOUND")
        return self.queues[name]

    def _owned(self, name: str, by: str) -> Queue:
        queue = self.existing(name)
        if by not in (queue.owner, "admin"):
            raise Refused("DENIED")
        return queue

    def _pulled(self, name: str, by: str) -> Queue:
        queue = self.existing(name)
        _check_may_pull(queue, by)
        return queue

    def _create(self, command: QueueCreate, by: str) -> None:
        if command.name in self.queues:
            raise Refused("EXISTS")
        self._check_dead_letter(command.name, command.settings)
        self.queues[command.name] = queue = Queue(command.name, by)
        _apply(queue, command.settings)

    def _set(self, command: QueueSet, by: str) -> None:
        queue = self._owned(command.name, by)
        self._check_dead_letter(command.name, command.settings)
        _apply(queue, command.settings)

    def _check_dead_letter(self, name: str, settings: Iterable[tuple[str, str]]) -> None:
        target = dict(settings).get("dead_letter")
        if target == name:
            raise Refused("INVALID")
        if target:
            self.existing(target)

    def _delete(self, command: QueueDelete, by: str) -> int:
        queue = self._owned(command.name, by)
        if queue.is_subscription or (command.if_empty and queue.copies):
            raise Refused("CONFLICT")
        return len(self.queues.pop(command.name).copies)

    def _pause(self, command: QueuePause | QueueResume, by: str) -> None:
        queue = self._owned(command.name, by)
        if not command.pulls:
            queue.sends_paused = isinstance(command, QueuePause)
        if not command.sends:
            queue.pulls_paused = isinstance(command, QueuePause)

    def _purge(self, command: QueuePurge, by: str) -> int:
        queue = self._owned(command.queue, by)
        held = len(queue.copies)
        queue.copies = queue.in_state(LEASED) + queue.in_state(DEAD)
        return held - len(queue.copies)

    def _show(self, command: QueueShow, by: str) -> tuple[int | str | None, ...]:
        """Return ready, delayed, leased, dead, bytes, dropped, and what is paused."""
        queue = self._pulled(command.name, by)
        self.expire()
        self._make_due_ready(queue)
        states = (len(queue.in_state(state)) for state in (READY, DELAYED, LEASED, DEAD))
        paused = {(True, True): "all", (True, False): "sends", (False, True): "pulls"}
        return (
            *states,
            queue.bytes,
            queue.dropped,
            paused.get((queue.sends_paused, queue.pulls_paused)),
        )

    def _peek(self, command: QueuePeek, by: str) -> tuple[Peeked, ...]:
        """Return all in a state; ties of time are broken by age, and ``ready_at`` is left out."""
        queue = self._pulled(command.queue, by)
        self.expire()
        self._make_due_ready(queue)
        found = queue.in_state(command.state)
        if command.state in (READY, DELAYED):
            found = [copy for copy in found if not copy.has_expired(self.now)]
        orders: dict[str, Callable[[Copy], tuple[int, int]]] = {
            READY: lambda copy: copy.place,
            DEAD: lambda copy: (0, copy.id),
        }
        found.sort(key=orders.get(command.state, lambda copy: (copy.due_at or 0, copy.id)))
        return tuple(_peeked(queue, copy) for copy in found)

    # --- channels ---

    def _create_channel(self, command: ChannelCreate, _by: str) -> None:
        self.channels[command.name] = {}

    def _subscriptions(self, channel: str) -> list[Queue]:
        return [q for name, q in self.queues.items() if name.startswith(f"{channel}@")]

    def _delete_channel(self, command: ChannelDelete, _by: str) -> int:
        del self.channels[command.name]
        doomed = self._subscriptions(command.name)
        return sum(len(self.queues.pop(queue.name).copies) for queue in doomed)

    def _subscribe(self, command: ChannelSubscribe, by: str) -> None:
        name = f"{command.channel}@{by}"
        self._check_dead_letter(name, command.settings)
        queue = self.queues.setdefault(name, Queue(name, by))
        _apply(queue, command.settings)

    def _unsubscribe(self, command: ChannelUnsubscribe, by: str) -> int:
        queue = self.existing(f"{command.channel}@{by}")
        return len(self.queues.pop(queue.name).copies)

    # --- sending ---

    def _next_id(self, count: int = 1) -> int:
        """Return the first of some ids that follow all before."""
        first = self.given.pop(0) if self.given else self.last_id + 1
        assert first > self.last_id, "ids go up"
        self.last_id = first + count - 1
        return first

    def _times(
        self, command: QueueSend | QueueSendMany | ChannelPublish, ttl: int = 0
    ) -> tuple[int | None, int | None]:
        """Return when a message is due and when it expires, by its own lifetime or the queue's."""
        due_at = self.now + command.delay_ms if command.delay_ms else None
        if command.at_ms is not None and command.at_ms > self.now:
            due_at = command.at_ms
        lives = [life for life in (command.ttl_ms, ttl) if life]
        expires_at = self.now + min(lives) if lives else None
        if expires_at is not None and due_at is not None and due_at >= expires_at:
            raise Refused("INVALID")
        return due_at, expires_at

    def _copy(
        self, queue: Queue, id_: int, message: int, by: str, body: bytes, command: Any
    ) -> None:
        """Add a delivery that has just been sent."""
        due_at, expires_at = self._times(command)
        if queue.ttl:
            own = self.now + queue.ttl
            expires_at = own if expires_at is None else min(own, expires_at)
        queue.copies.append(
            Copy(id_, message, by, self.now, body, command.priority, due_at, expires_at)
        )

    def _check_takes(self, queue: Queue, size: int) -> None:
        """Refuse what a queue does not take, after what has expired is gone."""
        try:
            queue.check_takes(size)
        except Refused as refusal:
            if refusal.code != "FULL":
                raise
            self.expire()
            queue.check_takes(size)

    def _sent_before(self, keys: Keys, key: str | None) -> tuple[int, int] | None:
        """Return the first id and the number of what was sent with a key."""
        until, first, count = keys.get(key or "", (0, 0, 0))
        return (first, count) if until > self.now else None

    def _store(self, queue: Queue, body: bytes, by: str, command: Any) -> int:
        self._times(command, queue.ttl)
        self._check_takes(queue, len(body))
        id_ = self._next_id()
        self._copy(queue, id_, id_, by, body, command)
        return id_

    def _send(self, command: QueueSend, by: str) -> int | Sent:
        queue = self._open(command.queue)
        sent = self._sent_before(queue.keys, command.key)
        if sent is not None:
            self._times(command, queue.ttl)
            return Sent(sent[0], True)
        id_ = self._store(queue, command.body, by, command)
        if command.key is None:
            return id_
        queue.keys[command.key] = (self.now + command.key_ttl_ms, id_, 1)
        return Sent(id_, False)

    def _open(self, name: str) -> Queue:
        queue = self.existing(name)
        if queue.is_subscription:
            raise Refused("DENIED")
        return queue

    def _send_many(self, command: QueueSendMany, by: str) -> tuple[int, ...] | SentMany:
        queue = self._open(command.queue)
        sent = self._sent_before(queue.keys, command.key)
        if sent is not None:
            return SentMany(tuple(range(sent[0], sum(sent))), True)

        def store_all() -> tuple[int, ...]:
            return tuple(self._store(queue, body, by, command) for body in command.bodies)

        ids: tuple[int, ...] = self._all_or_none(store_all)
        if command.key is None:
            return ids
        queue.keys[command.key] = (self.now + command.key_ttl_ms, ids[0], len(ids))
        return SentMany(ids, False)

    def _publish(self, command: ChannelPublish, by: str) -> int | Sent:
        subscriptions = self._subscriptions(command.channel)
        if by not in (queue.owner for queue in subscriptions):
            raise Refused("DENIED")
        keys = self.channels[command.channel]
        sent = self._sent_before(keys, command.key)
        self._times(command)
        if sent is not None:
            return Sent(sent[0], True)
        id_ = self._next_id(1 + len(subscriptions))
        self._fan_out(subscriptions, id_, by, command)
        if command.key is None:
            return id_
        keys[command.key] = (self.now + command.key_ttl_ms, id_, 1)
        return Sent(id_, False)

    def _fan_out(
        self, subscriptions: list[Queue], message: int, by: str, command: ChannelPublish
    ) -> None:
        """Give a copy to each that takes it; without limits, nobody has to look."""
        if any(queue.is_limited for queue in subscriptions):
            self.expire()
        id_ = message
        # Nobody is promised in which order: it is that of an index.
        for queue in sorted(subscriptions, key=lambda queue: queue.is_limited):
            try:
                queue.check_takes(len(command.body))
            except Refused:
                queue.dropped += 1
                continue
            id_ += 1
            self._copy(queue, id_, message, by, command.body, command)

    def _all_or_none(self, do: Callable[[], Any]) -> Any:
        """Do something, or put everything back."""
        before = deepcopy((self.queues, self.channels, self.last_id))
        try:
            return do()
        except Refused:
            self.queues, self.channels, self.last_id = before
            raise

    def _atomic(self, command: Atomic, by: str) -> tuple[Any, ...]:
        def do_all() -> tuple[Any, ...]:
            answers = []
            for part in command.commands:
                answer = self.execute(part, by)
                _refuse_any(answer)
                answers.append(answer)
            return tuple(answers)

        return tuple(self._all_or_none(do_all))

    # --- time ---

    def expire(self, count: int = EXPIRY_SLICE) -> bool:
        """Take away what has expired; return whether there may be more."""
        expired = [
            (copy.expires_at or 0, copy.id, queue.name)
            for queue in self.queues.values()
            for copy in queue.in_state(READY) + queue.in_state(DELAYED)
            if copy.has_expired(self.now)
        ]
        expired = sorted(expired)[:count]
        by_queue: dict[str, list[int]] = {}
        for _, id_, name in expired:
            by_queue.setdefault(name, []).append(id_)
        for name, ids in by_queue.items():
            self._end_lives(self.queues[name], ids)
        return len(expired) == count

    def _end_lives(self, queue: Queue, ids: list[int]) -> None:
        """Drop what has expired, or let it die; some may have given way to what died before."""
        for copy in sorted(queue.copies, key=lambda copy: copy.expires_at or 0):
            if copy.id not in ids:
                continue
            if queue.on_expire == "dead":
                self._die(queue, copy, "expired")
            else:
                queue.remove(copy)
                queue.dropped += 1

    def _make_due_ready(self, queue: Queue) -> None:
        """End the delays and the leases of a queue that are over."""
        due = [copy for copy in queue.copies if copy.due_at is not None and copy.dead_at is None]
        due = [copy for copy in due if (copy.due_at or 0) <= self.now]
        due.sort(key=lambda copy: (copy.due_at or 0, copy.id))
        for copy in due:
            if copy.state == DELAYED:
                copy.be_ready()
            else:
                copy.fail(self.now, "the lease ended")
                if queue.is_last(copy):
                    self._die(queue, copy, _exhausted(copy, "the lease ended"))
                else:
                    copy.be_ready()

    def _die(self, queue: Queue, copy: Copy, reason: str) -> None:
        """Let a delivery go to its dead-letter queue, or become dead where it is."""
        target = self.queues.get(queue.dead_letter or "")
        try:
            if target is None:
                raise Refused("NOTFOUND")
            target.check_takes(len(copy.body))
        except Refused:
            copy.be_ready()
            copy.dead_at, copy.reason, copy.expires_at = self.now, reason, None
            return
        queue.remove(copy)
        target.copies.append(copy)
        copy.begin_anew()
        copy.expires_at = None
        copy.died = {"queue": queue.name, "reason": reason, "at": self.now}

    # --- pulling and receipts ---

    def _pull(self, command: QueuePull, by: str) -> tuple[Message, ...]:
        queue = self._pulled(command.queue, by)
        for feeder in self.queues.values():
            if feeder.dead_letter == queue.name:
                self._make_due_ready(feeder)
        self._make_due_ready(queue)
        if queue.pulls_paused:
            return ()
        waiting = queue.in_state(READY)
        if waiting and min(waiting, key=lambda copy: copy.place).has_expired(self.now):
            self.expire(EXPIRED_SHARE)
        ready = [copy for copy in queue.in_state(READY) if not copy.has_expired(self.now)]
        ready.sort(key=lambda copy: copy.place)
        until = None if command.no_ack else self.now + command.lease_ms
        return tuple(
            self._deliver(queue, copy, by, until) for copy in ready[: command.max_count or 1]
        )

    def _deliver(self, queue: Queue, copy: Copy, by: str, until: int | None) -> Message:
        copy.attempts += 1
        copy.generation += 1
        copy.due_at, copy.leased_by = until, by
        if until is None:
            queue.remove(copy)
        return Message(
            copy.message,
            queue.name,
            copy.body,
            None,
            {},
            copy.sender,
            copy.sent_at,
            copy.attempts,
            copy.priority,
            None if until is None else f"{copy.id}.{copy.generation}",
            until,
            copy.died,
        )

    def _leased(self, receipt: str, by: str) -> tuple[Queue, Copy]:
        """Return what a receipt names, if its lease lasts."""
        for queue in self.queues.values():
            for copy in queue.in_state(LEASED):
                if receipt == f"{copy.id}.{copy.generation}" and (copy.due_at or 0) > self.now:
                    _check_may_pull(queue, by)
                    return queue, copy
        raise Refused("STALE")

    def _ack(self, command: MessageAck, by: str) -> Any:
        if command.send is None:
            return tuple(self._ack_one(receipt, by) for receipt in command.receipts)
        parts = (MessageAck(command.receipts), command.send)
        return self._atomic(Atomic(parts), by)[1]

    def _ack_one(self, receipt: str, by: str) -> str | None:
        try:
            queue, copy = self._leased(receipt, by)
        except Refused as refusal:
            return refusal.code
        queue.remove(copy)
        return None

    def _nack(self, command: MessageNack, by: str) -> tuple[str | None, ...]:
        """Who lives is given back before the first dies: there may be no room for both."""
        answers: list[str | None] = []
        dying: list[tuple[Queue, Copy, str]] = []
        for receipt in command.receipts:
            try:
                queue, copy = self._leased(receipt, by)
            except Refused as refusal:
                answers.append(refusal.code)
                continue
            answers.append("STALE" if any(copy is other for _, other, _ in dying) else None)
            if answers[-1] is None and (reason := self._give_back(queue, copy, command)):
                dying.append((queue, copy, reason))
        for queue, copy, reason in dying:
            self._die(queue, copy, reason)
        return tuple(answers)

    def _give_back(self, queue: Queue, copy: Copy, command: MessageNack) -> str | None:
        """End a lease; return of what the delivery dies, if it does."""
        delay_ms = command.delay_ms or 0
        if command.uncounted:
            copy.attempts -= 1
        else:
            reason = command.reason or "nacked"
            copy.fail(self.now, reason)
            if command.dead:
                return reason
            if queue.is_last(copy):
                return _exhausted(copy, reason)
            if command.delay_ms is None:
                delay_ms = queue.rest_ms(copy.attempts)
        copy.be_ready()
        copy.due_at = self.now + delay_ms if delay_ms else None
        return None

    def _extend(self, command: MessageExtend, by: str) -> None:
        _, copy = self._leased(command.receipt, by)
        copy.due_at = self.now + command.lease_ms

    # --- by queue and message ---

    def _found(self, queue: Queue, message: int) -> Copy:
        """Return a delivery; there may be two of one publication, both died into this queue."""
        found = [copy for copy in queue.copies if copy.message == message]
        if not found:
            raise Refused("NOTFOUND")
        return min(found, key=lambda copy: (copy.state == DEAD, copy.id))

    def _delete_copy(self, command: MessageDelete, by: str) -> None:
        queue = self._owned(command.queue, by)
        self._make_due_ready(queue)
        queue.remove(self._found(queue, command.id))

    def _release(self, command: MessageRelease, by: str) -> None:
        queue = self._owned(command.queue, by)
        self._make_due_ready(queue)
        copy = self._found(queue, command.id)
        if copy.state == DEAD:
            raise Refused("CONFLICT")
        copy.attempts -= copy.state == LEASED
        copy.be_ready()

    def _move(self, command: MessageMove, by: str) -> None:
        queue = self._owned(command.queue, by)
        self._make_due_ready(queue)
        copy = self._found(queue, command.id)
        target = self._open(command.to)
        if target is queue:
            raise Refused("CONFLICT")
        self._check_takes(target, len(copy.body))
        if not any(copy is other for other in queue.copies):
            # It has just been found to have expired.
            raise Refused("NOTFOUND")
        queue.remove(copy)
        target.copies.append(copy)
        copy.begin_anew()
        copy.dead_at = copy.reason = None

    def _dead(self, command: DeadRetry | DeadDrop, by: str) -> tuple[Queue, list[Copy]]:
        """Return which of the dead a command is about."""
        queue = self._owned(command.queue, by)
        if command.id is None:
            return queue, sorted(queue.in_state(DEAD), key=lambda copy: copy.id)[: command.limit]
        copy = self._found(queue, command.id)
        if copy.state != DEAD:
            raise Refused("NOTFOUND")
        return queue, [copy]

    def _retry(self, command: DeadRetry, by: str) -> int:
        _, dead = self._dead(command, by)
        for copy in dead:
            copy.begin_anew()
            copy.dead_at = copy.reason = None
        return len(dead)

    def _drop_dead(self, command: DeadDrop, by: str) -> int:
        queue, dead = self._dead(command, by)
        for copy in dead:
            queue.remove(copy)
        return len(dead)


def _apply(queue: Queue, settings: Iterable[tuple[str, str]]) -> None:
    for name, text in settings:
        setattr(queue, name, SETTINGS[name][text])


def _check_may_pull(queue: Queue, by: str) -> None:
    if queue.is_subscription and by not in (queue.owner, "admin"):
        raise Refused("DENIED")


def _exhausted(copy: Copy, reason: str) -> str:
    plural = "" if copy.attempts == 1 else "s"
    return f"{copy.attempts} attempt{plural}, the last: {reason}"


def _refuse_any(answer: Any) -> None:
    """Refuse for the first receipt that was refused."""
    for code in answer if isinstance(answer, tuple) else ():
        if isinstance(code, str):
            raise Refused(code)


def _peeked(queue: Queue, copy: Copy) -> Peeked:
    return Peeked(
        copy.message,
        queue.name,
        copy.body,
        None,
        {},
        copy.sender,
        copy.sent_at,
        copy.attempts,
        copy.priority,
        copy.state,
        None,
        copy.due_at if copy.state == DELAYED else None,
        copy.due_at if copy.state == LEASED else None,
        copy.leased_by,
        copy.expires_at,
        copy.dead_at,
        copy.reason,
        copy.failures,
        copy.died,
    )
