"""Random histories against a small model in plain Python: they must agree at every step."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from stores import Store

from broker.commands.channel import (
    ChannelCreate,
    ChannelDelete,
    ChannelPublish,
    ChannelSubscribe,
    ChannelUnsubscribe,
)
from broker.commands.message import MessageAck, MessageExtend, MessageNack
from broker.commands.queue import QueueCreate, QueueDelete, QueuePull, QueueSend, QueueShow
from broker.errors import BrokerError
from broker.store.handlers.upkeep import clean_up

QUEUES = ["a", "b", "c@alice", "c@bob"]
queues = st.sampled_from(QUEUES)
priorities = st.integers(0, 9)
times = st.sampled_from([0, 1, 50, 1000])


class Copy:
    """A delivery as the model knows it."""

    def __init__(self, order: int, body: bytes, priority: int) -> None:
        self.order = order
        self.body = body
        self.priority = priority
        self.attempts = 0
        self.generation = 0
        self.leased = False
        self.due_at: int | None = None
        self.receipt = ""


class Histories(RuleBasedStateMachine):
    """Sends, publications, pulls, receipts, deletions, time and restarts."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.store = Store(Path(self.folder.name) / "broker.db")
        self.model: dict[str, list[Copy]] = {}
        self.receipts: list[tuple[str, Copy, int]] = []
        self.order = 0
        self.keys: dict[tuple[str, str], int] = {}

    def teardown(self) -> None:
        """Close the store."""
        self.store.database.close()
        self.folder.cleanup()

    @initialize()
    def begin(self) -> None:
        """Two queues, and a channel with two subscribers."""
        for name in ("a", "b"):
            self.store.run(QueueCreate(name))
            self.model[name] = []
        self.store.run(ChannelCreate("c"))
        for user in (self.store.alice, self.store.bob):
            self.store.run(ChannelSubscribe("c"), user)
            self.model[f"c@{user.name}"] = []

    def attempt(self, command: Any, by: Any = None) -> Any:
        """Return the result of a command, or the code of its refusal."""
        try:
            return self.store.run(command, by)
        except BrokerError as refusal:
            return refusal.code

    def add(self, queue: str, body: bytes, priority: int, delay_ms: int) -> None:
        """Add a copy to the model."""
        copy = Copy(self.order, body, priority)
        if delay_ms:
            copy.due_at = self.store.now + delay_ms
        self.model[queue].append(copy)

    @rule(queue=queues, priority=priorities, delay_ms=times, size=st.integers(0, 3))
    def send(self, queue: str, priority: int, delay_ms: int, size: int) -> None:
        """Send, also to where one may not."""
        self.order += 1
        body = b"%d" % self.order * size
        answer = self.attempt(QueueSend(queue, body, priority, delay_ms))
        if queue not in self.model:
            assert answer == "NOTFOUND"
        elif "@" in queue:
            assert answer == "DENIED"
        else:
            assert isinstance(answer, int)
            self.add(queue, body, priority, delay_ms)

    @rule(queue=st.sampled_from(["a", "b"]), key=st.sampled_from(["k", "l"]))
    def send_with_a_key(self, queue: str, key: str) -> None:
        """Send once."""
        answer = self.attempt(QueueSend(queue, b"keyed", key=key))
        if queue not in self.model:
            assert answer == "NOTFOUND"
        elif (queue, key) in self.keys:
            assert answer == (self.keys[queue, key], True)
        else:
            assert answer.duplicate is False
            self.keys[queue, key] = answer.id
            self.order += 1
            self.add(queue, b"keyed", 4, 0)

    @rule(by_alice=st.booleans(), priority=priorities, delay_ms=times)
    def publish(self, by_alice: bool, priority: int, delay_ms: int) -> None:
        """Publish: to every subscription, by subscribers only."""
        user = self.store.alice if by_alice else self.store.bob
        self.order += 1
        answer = self.attempt(ChannelPublish("c", b"news", priority, delay_ms), user)
        if f"c@{user.name}" not in self.model:
            assert answer == "DENIED"
            return
        for queue in ("c@alice", "c@bob"):
            if queue in self.model:
                self.add(queue, b"news", priority, delay_ms)

    @rule(queue=queues, count=st.integers(1, 4), lease_ms=st.sampled_from([10, 500]),
          no_ack=st.booleans())  # fmt: skip
    def pull(self, queue: str, count: int, lease_ms: int, no_ack: bool) -> None:
        """Pull: the ready ones, by priority and then age."""
        answer = self.attempt(
            QueuePull(queue, count, lease_ms=lease_ms, no_ack=no_ack), self.store.admin
        )
        if queue not in self.model:
            assert answer == "NOTFOUND"
            return
        self.make_due_ready(queue)
        ready = [copy for copy in self.model[queue] if copy.due_at is None]
        ready.sort(key=lambda copy: (-copy.priority, copy.order))
        expected = ready[:count]
        assert [(m.body, m.attempts, m.priority) for m in answer] == [
            (c.body, c.attempts + 1, c.priority) for c in expected
        ]
        for copy, message in zip(expected, answer, strict=True):
            if no_ack:
                self.model[queue].remove(copy)
                continue
            copy.attempts += 1
            copy.generation += 1
            copy.leased = True
            copy.due_at = self.store.now + lease_ms
            copy.receipt = message.receipt
            self.receipts.append((queue, copy, copy.generation))

    def make_due_ready(self, queue: str) -> None:
        """Do in the model what time does."""
        for copy in self.model[queue]:
            if copy.due_at is not None and copy.due_at <= self.store.now:
                copy.due_at = None
                copy.leased = False

    @rule(data=st.data(), use=st.sampled_from(["ack", "nack", "release", "delay", "extend"]))
    def use_a_receipt(self, data: st.DataObject, use: str) -> None:
        """Use a receipt, current or old."""
        if not self.receipts:
            return
        index = data.draw(st.integers(0, len(self.receipts) - 1))
        queue, copy, generation = self.receipts[index]
        number = copy.receipt.partition(".")[0]
        receipt = f"{number}.{generation}"
        alive = (
            any(copy is other for other in self.model.get(queue, []))
            and copy.leased
            and copy.generation == generation
            and copy.due_at is not None
            and copy.due_at > self.store.now
        )
        command: Any = {
            "ack": MessageAck((receipt,)),
            "nack": MessageNack((receipt,)),
            "release": MessageNack((receipt,), uncounted=True),
            "delay": MessageNack((receipt,), delay_ms=70),
            "extend": MessageExtend(receipt, 300),
        }[use]
        answer = self.attempt(command, self.store.admin)
        if isinstance(answer, tuple):
            answer = None if answer[0] is None else answer[0].code
        assert answer == (None if alive else "STALE")
        if not alive:
            return
        if use == "ack":
            self.model[queue].remove(copy)
        elif use == "extend":
            copy.due_at = self.store.now + 300
        else:
            copy.leased = False
            copy.due_at = self.store.now + 70 if use == "delay" else None
            copy.attempts -= use == "release"

    @rule(milliseconds=st.sampled_from([1, 10, 60, 600]))
    def time_passes(self, milliseconds: int) -> None:
        """Move the clock."""
        self.store.now += milliseconds

    @rule(queue=st.sampled_from(["a", "b"]), if_empty=st.booleans())
    def delete_or_create(self, queue: str, if_empty: bool) -> None:
        """Delete a queue, or make it again."""
        if queue not in self.model:
            assert self.attempt(QueueCreate(queue)) is None
            self.model[queue] = []
            return
        answer = self.attempt(QueueDelete(queue, if_empty))
        if if_empty and self.model[queue]:
            assert answer == "CONFLICT"
            return
        assert answer == len(self.model.pop(queue))
        self.keys = {key: value for key, value in self.keys.items() if key[0] != queue}

    @rule()
    def leave_or_join(self) -> None:
        """End bob's subscription, or begin a new one."""
        if "c@bob" in self.model:
            count = self.attempt(ChannelUnsubscribe("c"), self.store.bob)
            assert count == len(self.model.pop("c@bob"))
        else:
            assert self.attempt(ChannelSubscribe("c"), self.store.bob) is None
            self.model["c@bob"] = []

    @rule()
    def delete_the_channel(self) -> None:
        """Delete the channel and make it again, without subscribers."""
        waiting = sum(len(self.model.get(queue, [])) for queue in ("c@alice", "c@bob"))
        assert self.attempt(ChannelDelete("c")) == waiting
        self.model.pop("c@bob", None)
        self.model.pop("c@alice", None)
        assert self.attempt(ChannelCreate("c")) is None
        assert self.attempt(ChannelSubscribe("c")) is None
        self.model["c@alice"] = []

    @rule()
    def restart(self) -> None:
        """Close the file and open it again."""
        self.store.database.close()
        self.store.database.open(create=False)

    @invariant()
    def counts_agree(self) -> None:
        """What SHOW says is what the model holds, and nothing is left over."""
        more = True
        while more:
            with self.store.database.transaction(self.store.now) as tx:
                more = clean_up(tx, 3)
        for queue, copies in self.model.items():
            self.make_due_ready(queue)
            shown = self.store.run(QueueShow(queue), self.store.admin)
            states = [
                sum(c.due_at is None for c in copies),
                sum(c.due_at is not None and not c.leased for c in copies),
                sum(c.leased for c in copies),
                sum(len(c.body) for c in copies),
            ]
            assert [shown.ready, shown.delayed, shown.leased, shown.bytes] == states, queue
        self.store.check()


Histories.TestCase.settings = settings(
    settings.get_profile("dev"), max_examples=30, stateful_step_count=40
)
TestHistories = Histories.TestCase
