"""Random histories against a small model in plain Python: they must agree at every step."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from served import Served
from store.model import SETTINGS, Model, Refused
from stores import Store

from broker.commands.atomic import Atomic
from broker.commands.channel import (
    ChannelCreate,
    ChannelDelete,
    ChannelPublish,
    ChannelSubscribe,
    ChannelUnsubscribe,
)
from broker.commands.dead import DeadDrop, DeadRetry
from broker.commands.delivery import STATES, Peeked
from broker.commands.grammar import check
from broker.commands.message import (
    MessageAck,
    MessageDelete,
    MessageExtend,
    MessageMove,
    MessageNack,
    MessageRelease,
)
from broker.commands.queue import (
    Queue,
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
from broker.commands.request import Principal, Request
from broker.commands.sending import Sent, SentMany
from broker.commands.table import syntax_of
from broker.errors import BrokerError, Invalid
from broker.store.handlers import execute

QUEUES = ["a", "b", "c@alice", "c@bob"]
RECENT = 6
SLICE = 500

queues = st.sampled_from(QUEUES)
own_queues = st.sampled_from(["a", "b"])
sizes = st.integers(0, 3)
times = st.sampled_from([1, 10, 60, 600])
#: What a transaction may consist of.
part_kinds = st.sampled_from(["send", "many", "publish", "ack", "nack"])
#: What sends and publications may be given; ``at_ms`` is from now.
options = st.fixed_dictionaries(
    {},
    optional={
        "priority": st.integers(0, 9),
        "delay_ms": st.sampled_from([1, 50, 400]),
        "at_ms": st.sampled_from([-5, 0, 30]),
        "ttl_ms": st.sampled_from([20, 50, 300]),
        "key": st.sampled_from(["k", "l"]),
        "key_ttl_ms": st.sampled_from([40, 5000]),
    },
)
#: As words of SET, each setting at most once.
changes = st.fixed_dictionaries(
    {}, optional={name: st.sampled_from(list(texts)) for name, texts in SETTINGS.items()}
).map(lambda given: tuple(given.items()))
nacks: st.SearchStrategy[dict[str, Any]] = st.one_of(
    st.just({}),
    st.just({"dead": True, "reason": "spoilt"}),
    st.fixed_dictionaries({"delay_ms": st.sampled_from([0, 70])}),
    st.fixed_dictionaries({"uncounted": st.just(True), "delay_ms": st.sampled_from([None, 0, 70])}),
)


class Histories(RuleBasedStateMachine):
    """Every command that touches deliveries, time, restarts and crashes."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.stores = self.open(Path(self.folder.name))
        self.store = self.stores[0]
        self.users = {
            user.name: user for user in (self.store.admin, self.store.alice, self.store.bob)
        }
        self.model = Model()
        self.receipts: list[str] = []
        self.bodies = 0
        self.crashes = 0
        self.unseen = 0

    def open(self, folder: Path) -> list[Store]:
        """Return the stores that are to agree."""
        return [Store(folder / "broker.db")]

    def teardown(self) -> None:
        """Close the stores."""
        for store in self.stores:
            store.close()
        self.folder.cleanup()

    @initialize()
    def begin(self) -> None:
        """Two queues, and a channel with two subscribers."""
        for name in ("a", "b"):
            self.run(QueueCreate(name), "alice")
        self.run(ChannelCreate("c"), "alice")
        for user in ("alice", "bob"):
            self.run(ChannelSubscribe("c"), user)

    # --- both ---

    def run(self, command: Any, by: str = "admin") -> Any:
        """Execute a command in the stores and in the model, and return what all answer."""
        answer, *others = [self.ask(store, command, self.users[by]) for store in self.stores]
        assert all(other == answer for other in others), (command, answer, others)
        self.model.now = self.store.now
        self.model.given = ids_in(answer)
        try:
            expected = self.model.execute(command, by)
        except Refused as refusal:
            expected = refusal.code
        assert answer == expected, command
        self.unseen = max(0, self.unseen - 1)
        return answer

    def ask(self, store: Store, command: Any, by: Principal) -> Any:
        """Return the result of a command, or the code of its refusal."""
        try:
            answer = store.run(command, by)
        except BrokerError as refusal:
            return refusal.code
        return in_codes(answer)

    def new_body(self, size: int) -> bytes:
        """Return a body like no other, but for the empty one."""
        self.bodies += 1
        return b"%d" % self.bodies * size

    def at_times(self, given: dict[str, Any]) -> dict[str, Any]:
        """Return options as the commands take them: at most one of delay and time."""
        given = dict(given)
        if "at_ms" in given:
            given["at_ms"] += self.store.now
            given.pop("delay_ms", None)
        if "key" not in given:
            given.pop("key_ttl_ms", None)
        return given

    def some_receipts(self, data: st.DataObject, most: int) -> tuple[str, ...]:
        """Draw from the last receipts, whether they are good or not."""
        recent = self.receipts[-RECENT:]
        if not recent:
            return ()
        indices = st.lists(st.integers(1, len(recent)), min_size=1, max_size=most)
        return tuple(recent[-index] for index in data.draw(indices))

    def some_message(self, data: st.DataObject, queue: str) -> int:
        """Draw the id of a message, likely one that is in a queue."""
        found = self.model.queues.get(queue)
        ids = sorted({copy.message for copy in found.copies}) if found else []
        return data.draw(st.sampled_from([*ids, 1]))

    # --- sending ---

    @rule(queue=queues, size=sizes, given=options)
    def send(self, queue: str, size: int, given: dict[str, Any]) -> None:
        """Send, also to where one may not."""
        self.run(QueueSend(queue, self.new_body(size), **self.at_times(given)), "alice")

    @rule(queue=own_queues, bodies=st.lists(sizes, min_size=1, max_size=3), given=options)
    def send_many(self, queue: str, bodies: list[int], given: dict[str, Any]) -> None:
        """Send several alike."""
        made = tuple(self.new_body(size) for size in bodies)
        self.run(QueueSendMany(queue, made, **self.at_times(given)), "alice")

    @rule(user=st.sampled_from(["alice", "bob"]), size=sizes, given=options)
    def publish(self, user: str, size: int, given: dict[str, Any]) -> None:
        """Publish: to every subscription, by subscribers only."""
        self.run(ChannelPublish("c", self.new_body(size), **self.at_times(given)), user)

    # --- pulling and receipts ---

    @rule(
        queue=queues,
        count=st.integers(1, 4),
        lease_ms=st.sampled_from([10, 500]),
        no_ack=st.sampled_from([False, False, True]),
        user=st.sampled_from(["admin", "admin", "alice"]),
    )
    def pull(self, queue: str, count: int, lease_ms: int, no_ack: bool, user: str) -> None:
        """Pull: the ready ones, by priority and then age."""
        answer = self.run(QueuePull(queue, count, lease_ms=lease_ms, no_ack=no_ack), user)
        if not isinstance(answer, str):
            self.receipts += [message.receipt for message in answer if message.receipt]

    @rule(data=st.data(), queue=own_queues, size=sizes, given=options, sends=st.booleans())
    def ack(
        self, data: st.DataObject, queue: str, size: int, given: dict[str, Any], sends: bool
    ) -> None:
        """Acknowledge, and perhaps send as well."""
        send = QueueSend(queue, self.new_body(size), **self.at_times(given)) if sends else None
        if receipts := self.some_receipts(data, 2):
            self.run(MessageAck(receipts, send))

    @rule(data=st.data(), given=nacks)
    def nack(self, data: st.DataObject, given: dict[str, Any]) -> None:
        """Give back, in whatever way."""
        if receipts := self.some_receipts(data, 3):
            self.run(MessageNack(receipts, **given))

    @rule(data=st.data())
    def extend(self, data: st.DataObject) -> None:
        """Prolong a lease."""
        for receipt in self.some_receipts(data, 1):
            self.run(MessageExtend(receipt, 300))

    @rule(data=st.data(), count=st.integers(1, 4))
    def atomic(self, data: st.DataObject, count: int) -> None:
        """Do several things together or not at all; one nack, whose deaths come last of all."""
        parts = self.parts(data, data.draw(st.lists(part_kinds, max_size=count)))
        nacked = [part for part in parts if isinstance(part, MessageNack)]
        if len(nacked) < 2:
            self.run(Atomic(tuple(parts)), "alice")

    def parts(self, data: st.DataObject, kinds: list[str]) -> list[Any]:
        """Draw commands of some kinds, without those for which there is nothing."""
        drawn = [self.part(data, kind) for kind in kinds]
        return [part for part in drawn if part is not None]

    def part(self, data: st.DataObject, kind: str) -> Any:
        """Draw a part of a transaction; None if there is nothing to acknowledge."""
        if kind in ("ack", "nack"):
            receipts = self.some_receipts(data, 2)
            command = MessageAck if kind == "ack" else MessageNack
            return command(receipts) if receipts else None
        given, body = self.at_times(data.draw(options)), self.new_body(data.draw(sizes))
        if kind == "publish":
            return ChannelPublish("c", body, **given)
        queue = data.draw(own_queues)
        if kind == "many":
            return QueueSendMany(queue, (body, b"+"), **given)
        return QueueSend(queue, body, **given)

    # --- in hand ---

    @rule(data=st.data(), queue=queues, command=st.sampled_from([MessageDelete, MessageRelease]))
    def delete_or_release(
        self, data: st.DataObject, queue: str, command: Callable[[str, int], Any]
    ) -> None:
        """Take one message in hand."""
        self.run(command(queue, self.some_message(data, queue)))

    @rule(data=st.data(), queue=queues, to=queues)
    def move(self, data: st.DataObject, queue: str, to: str) -> None:
        """Move a message, also to where one may not."""
        self.run(MessageMove(queue, self.some_message(data, queue), to))

    @rule(
        data=st.data(),
        queue=queues,
        command=st.sampled_from([DeadRetry, DeadRetry, DeadDrop]),
        limit=st.sampled_from([None, 1]),
        one=st.booleans(),
    )
    def take_dead(
        self, data: st.DataObject, queue: str, command: Any, limit: int | None, one: bool
    ) -> None:
        """Retry or drop dead ones."""
        if one:
            self.run(command(queue, self.some_message(data, queue)))
        else:
            self.run(command(queue, all=True, limit=limit))

    @rule(queue=queues)
    def purge(self, queue: str) -> None:
        """Delete what is ready or delayed."""
        self.run(QueuePurge(queue))

    # --- settings ---

    @rule(queue=queues, given=changes)
    def set(self, queue: str, given: tuple[tuple[str, str], ...]) -> None:
        """Change settings of a live queue."""
        self.run(QueueSet(queue, given))

    @rule(
        queue=queues,
        command=st.sampled_from([QueuePause, QueueResume, QueueResume]),
        what=st.sampled_from([{}, {"sends": True}, {"pulls": True}]),
    )
    def pause(self, queue: str, command: Any, what: dict[str, bool]) -> None:
        """Pause or resume."""
        self.run(command(queue, **what))

    # --- the rest ---

    @rule(milliseconds=times, unseen=st.integers(0, 3))
    def time_passes(self, milliseconds: int, unseen: int) -> None:
        """Move the clock; for some commands nobody looks, so that they find what is due."""
        for store in self.stores:
            store.now += milliseconds
        self.unseen = unseen

    @rule(count=st.sampled_from([1, 500]))
    def clean_up(self, count: int) -> None:
        """Take away all that has had its time."""
        self.model.now = self.store.now
        for store in self.stores:
            while store.clean_up(count):
                pass
        while self.model.expire(count):
            pass

    @rule(queue=own_queues, if_empty=st.booleans(), given=changes)
    def delete_or_create(
        self, queue: str, if_empty: bool, given: tuple[tuple[str, str], ...]
    ) -> None:
        """Delete a queue, or make it again."""
        if queue in self.model.queues:
            self.run(QueueDelete(queue, if_empty))
        else:
            self.run(QueueCreate(queue, given), "alice")

    @rule(given=changes)
    def leave_or_join(self, given: tuple[tuple[str, str], ...]) -> None:
        """End bob's subscription, or begin a new one."""
        if "c@bob" in self.model.queues:
            self.run(ChannelUnsubscribe("c"), "bob")
        else:
            self.run(ChannelSubscribe("c", settings=given), "bob")

    @rule()
    def delete_the_channel(self) -> None:
        """Delete the channel and make it again, without bob."""
        self.run(ChannelDelete("c"))
        self.run(ChannelCreate("c"), "alice")
        self.run(ChannelSubscribe("c"), "alice")

    @rule()
    def restart(self) -> None:
        """Close the file and open it again."""
        for store in self.stores:
            store.close()
            store.reopen()

    @rule(
        data=st.data(),
        answered=st.lists(part_kinds, max_size=1),
        under_way=st.lists(part_kinds, max_size=3),
    )
    def crash(self, data: st.DataObject, answered: list[str], under_way: list[str]) -> None:
        """Go on with the files as they are just after an answer, or before more is committed.

        A server never gives out what is left of its block of ids, so those beside it, who
        reserve none, leave as many out.
        """
        unanswered = self.parts(data, under_way)
        requests = [Request(self.users["alice"], command) for command in unanswered]
        for command in self.parts(data, answered):
            self.run(command, "alice")
        self.crashes += 1
        for number, store in enumerate(self.stores):
            folder = Path(self.folder.name) / f"{number}.{self.crashes}"
            store.crash(folder, lambda tx: execute(tx, requests))
        *others, last = self.stores
        reserved = last.reserved()
        for store in others:
            store.in_transaction(lambda tx: tx.allocate_beyond(reserved))

    # --- looking ---

    @invariant()
    def agree(self) -> None:
        """What SHOW and PEEK say is what the model holds, and nothing is left over."""
        for store in self.stores:
            store.check()
        if self.unseen:
            return
        for queue in self.model.queues:
            self.run(QueueShow(queue))
        for queue in self.model.queues:
            for state in STATES:
                self.run(QueuePeek(queue, 100, state))


class ServedHistories(Histories):
    """The same histories through a server as well, with its timers, over its socket.

    There, what is due is noticed by timers too, some time after the clock has moved.
    So all is looked at as soon as it has, and what the timers do then is nothing.
    """

    def open(self, folder: Path) -> list[Store]:
        """Return a store without a server, and one with."""
        self.served = Served(folder / "served.db")
        return [Store(folder / "broker.db"), self.served]

    def run(self, command: Any, by: str = "admin") -> Any:
        """Execute a command that a client may send; others are for the store alone to refuse."""
        try:
            for part in command.commands if isinstance(command, Atomic) else (command,):
                check(syntax_of(type(part)), part)
        except Invalid:
            return "INVALID"
        return super().run(command, by)

    @rule(milliseconds=times, unseen=st.just(0))
    def time_passes(self, milliseconds: int, unseen: int) -> None:
        """Move the clock, look, and let the timers go off."""
        super().time_passes(milliseconds, unseen)
        super().clean_up(SLICE)
        self.agree()
        self.served.let_timers_go_off()

    @rule(count=st.just(SLICE))
    def clean_up(self, count: int) -> None:
        """Take away all that has had its time."""
        super().clean_up(count)


def in_codes(answer: Any) -> Any:
    """Return an answer as the model gives it: refusals are codes, records hold what it knows."""
    if isinstance(answer, BrokerError):
        return answer.code
    if isinstance(answer, Queue):
        return (
            answer.ready,
            answer.delayed,
            answer.leased,
            answer.dead,
            answer.bytes,
            answer.dropped,
            answer.paused,
        )
    if isinstance(answer, Peeked):
        return answer._replace(ready_at=None)
    if type(answer) is tuple:
        return tuple(in_codes(part) for part in answer)
    return answer


def ids_in(answer: Any) -> list[int]:
    """Return the ids that an answer to what was sent gives away, of new messages."""
    if isinstance(answer, Sent | SentMany) and answer.duplicate:
        return []
    if isinstance(answer, Sent):
        return [answer.id]
    if isinstance(answer, SentMany):
        return list(answer.ids)
    if type(answer) is tuple:
        return [id_ for part in answer for id_ in ids_in(part)]
    return [answer] if isinstance(answer, int) else []


Histories.TestCase.settings = settings(
    settings.get_profile("dev"), max_examples=30, stateful_step_count=40
)
TestHistories = Histories.TestCase
ServedHistories.TestCase.settings = settings(
    settings.get_profile("dev"), max_examples=12, stateful_step_count=30
)
TestServedHistories = ServedHistories.TestCase
