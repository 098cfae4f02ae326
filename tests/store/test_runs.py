"""What is stored, leased or deleted together is what was meant, and nothing beside it."""

from __future__ import annotations

import sqlite3
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from stores import Store

from broker.commands.channel import ChannelCreate, ChannelPublish, ChannelPull, ChannelSubscribe
from broker.commands.delivery import Message
from broker.commands.message import (
    MessageAck,
    MessageDelete,
    MessageExtend,
    MessageMove,
    MessageNack,
)
from broker.commands.queue import QueueConsume, QueueCreate, QueuePull, QueueSend, QueueShow
from broker.errors import Invalid, NotFound, Stale, TooBig
from broker.store.handlers.deliveries import LONG_ACK
from broker.store.handlers.messages import LONG_RUN, PUBLICATIONS_TOGETHER

#: More than one statement takes, and no multiple of what one takes.
MANY = 64 + 16 + 4 + 3


@pytest.fixture(autouse=True)
def queues(store: Store) -> None:
    """Two queues."""
    store.run(QueueCreate("a"))
    store.run(QueueCreate("b"))


def bodies(store: Store, queue: str) -> list[bytes]:
    return [m.body for m in store.run(QueuePull(queue, 1000, no_ack=True))]


@pytest.mark.parametrize("count", [1, LONG_RUN - 1, LONG_RUN, MANY])
def test_messages_alike_keep_their_order_bodies_and_sizes(store: Store, count: int) -> None:
    sends = [QueueSend("a", b"%d" % n * (n % 5), headers={"n": "same"}) for n in range(count)]
    ids = store.batch(*((store.alice, send) for send in sends))
    assert ids == list(range(ids[0], ids[0] + count))
    assert store.run(QueueShow("a")).bytes == sum(len(send.body) for send in sends)
    store.check()
    pulled = store.run(QueuePull("a", 1000))
    assert [m.body for m in pulled] == [send.body for send in sends]
    assert {(m.sender, m.headers["n"]) for m in pulled} == {("alice", "same")}


@pytest.mark.parametrize("count", [1, 2, MANY])
def test_what_a_send_does_not_say_is_null_and_bodies_are_blobs(store: Store, count: int) -> None:
    store.batch(*((store.alice, QueueSend("a", b"x")) for _ in range(count)))
    with sqlite3.connect(store.path) as reader:
        kinds = reader.execute(
            "SELECT typeof(content_type), typeof(headers), typeof(due_at), typeof(expires_at), "
            "typeof(ready_at), typeof(body), count(*) FROM broker_messages AS m "
            "JOIN broker_deliveries AS d ON d.message_id = m.id GROUP BY 1, 2, 3, 4, 5, 6"
        ).fetchall()
    reader.close()
    assert kinds == [("null", "null", "null", "null", "integer", "blob", count)]


def test_runs_of_different_senders_queues_and_options_do_not_mix(store: Store) -> None:
    sends = [
        (sender, QueueSend(queue, b"%d" % number, priority=priority))
        for queue, priority, sender, count in (
            ("a", 4, store.alice, MANY), ("b", 4, store.alice, 2), ("a", 4, store.bob, MANY),
            ("a", 9, store.bob, 2), ("b", 4, store.alice, LONG_RUN),
        )
        for number in range(count)
    ]  # fmt: skip
    store.batch(*sends)
    store.check()
    pulled = [m for queue in ("a", "b") for m in store.run(QueuePull(queue, 1000))]
    found = [(m.queue, m.priority, m.sender, m.body) for m in pulled]
    wanted = [(send.queue, send.priority, who.name, send.body) for who, send in sends]
    assert found == sorted(wanted, key=lambda each: (each[0], -each[1]))


def test_one_body_too_large_is_refused_alone(store: Store) -> None:
    limit = store.database.limits.max_message_bytes
    sends = [QueueSend("a", b"%d" % n) for n in range(MANY)]
    sends[7] = QueueSend("a", b"x" * (limit + 1))
    outcomes = store.batch(*((store.alice, send) for send in sends))
    assert [n for n, outcome in enumerate(outcomes) if isinstance(outcome, TooBig)] == [7]
    assert bodies(store, "a") == [send.body for n, send in enumerate(sends) if n != 7]


def test_acks_with_a_gap_leave_what_is_in_it(store: Store) -> None:
    store.batch(*((store.alice, QueueSend("a", b"%d" % n)) for n in range(MANY)))
    pulled = store.run(QueuePull("a", MANY))
    receipts = [m.receipt for m in pulled]
    kept = receipts.pop(MANY // 2)
    assert store.run(MessageAck(tuple(receipts))) == (None,) * (MANY - 1)
    shown = store.run(QueueShow("a"))
    assert (shown.ready, shown.leased) == (0, 1)
    store.check()
    assert store.run(MessageAck((kept,))) == (None,)


def test_a_span_of_acks_takes_nothing_of_a_neighbour(store: Store) -> None:
    store.batch(*((store.alice, QueueSend("ab"[n % 2], b"%d" % n)) for n in range(MANY)))
    other = store.run(QueuePull("b", MANY))
    mine = store.run(QueuePull("a", MANY))
    store.run(MessageAck(tuple(m.receipt for m in reversed(mine))))
    store.check()
    assert store.run(MessageAck(tuple(m.receipt for m in other))) == (None,) * len(other)


def receipts_of(messages: Sequence[Message]) -> list[str]:
    return [message.receipt for message in messages if message.receipt is not None]


def pulled(store: Store, count: int) -> list[str]:
    """Send so many to ``a`` and pull them together; their receipts."""
    store.batch(*((store.alice, QueueSend("a", b"%d" % n)) for n in range(count)))
    return receipts_of(store.run(QueuePull("a", count)))


@pytest.mark.parametrize("count", [2, LONG_ACK, MANY])
def test_a_lease_that_ended_in_a_run_is_stale_alone(store: Store, count: int) -> None:
    receipts = pulled(store, count)
    store.run(MessageAck((receipts[1],)))
    outcomes = store.run(MessageAck(tuple(receipts)))
    assert [n for n, outcome in enumerate(outcomes) if outcome is not None] == [1]
    assert isinstance(outcomes[1], Stale)
    assert (store.run(QueueShow("a")).leased, store.run(QueueShow("a")).bytes) == (0, 0)
    store.check()


def test_an_ack_of_nothing_does_nothing(store: Store) -> None:
    assert store.run(MessageAck(())) == ()


def test_a_receipt_named_twice_in_a_batch_is_stale_the_second_time(store: Store) -> None:
    receipts = tuple(pulled(store, LONG_ACK))
    acks = [MessageAck(receipts), MessageAck(receipts[3:5]), MessageAck(receipts)]
    first, second, third = store.batch(*((store.alice, ack) for ack in acks))
    assert first == (None,) * LONG_ACK
    assert [type(outcome) for outcome in (*second, *third)] == [Stale] * (2 + LONG_ACK)
    store.check()


def test_a_run_that_was_leased_again_is_stale_by_its_first_receipts(store: Store) -> None:
    first = tuple(pulled(store, LONG_ACK))
    store.run(MessageNack(first, delay_ms=0))
    again = receipts_of(store.run(QueuePull("a", LONG_ACK)))
    outcomes = store.run(MessageAck(first))
    assert [type(outcome) for outcome in outcomes] == [Stale] * LONG_ACK
    assert store.run(MessageAck(tuple(again))) == (None,) * LONG_ACK


def test_leases_of_a_run_that_end_at_different_times_end_by_themselves(store: Store) -> None:
    receipts = pulled(store, LONG_ACK)
    store.run(MessageExtend(receipts[4], 3_600_000))
    store.now += 60_000
    outcomes = store.run(MessageAck(tuple(receipts)))
    assert [n for n, outcome in enumerate(outcomes) if outcome is None] == [4]
    store.check()
    assert len(store.run(QueuePull("a", MANY))) == LONG_ACK - 1


def test_an_ended_run_of_a_consumer_is_told(store: Store) -> None:
    store.database.has_consumers = True
    store.batch(*((store.alice, QueueSend("a", b"%d" % n)) for n in range(LONG_ACK)))
    receipts = receipts_of(store.run(QueueConsume("a", LONG_ACK)))
    assert store.run(MessageAck(tuple(receipts))) == (None,) * LONG_ACK
    assert store.last.ended == {*receipts}


def test_a_run_of_another_queue_in_it_is_acknowledged_all_the_same(store: Store) -> None:
    sends = [QueueSend("ab"[n == 3], b"%d" % n) for n in range(LONG_ACK)]
    store.batch(*((store.alice, send) for send in sends))
    messages = [m for queue in "ab" for m in store.run(QueuePull(queue, LONG_ACK))]
    messages.sort(key=lambda message: message.id)
    assert store.run(MessageAck(tuple(receipts_of(messages)))) == (None,) * LONG_ACK
    store.check()
    for queue in "ab":
        shown = store.run(QueueShow(queue))
        assert (shown.leased, shown.bytes) == (0, 0)


def test_acks_of_several_users_are_one_run(store: Store) -> None:
    receipts = pulled(store, LONG_ACK)
    acks = [((store.alice, store.bob)[n % 2], MessageAck((r,))) for n, r in enumerate(receipts)]
    assert store.batch(*acks) == [(None,)] * LONG_ACK
    assert store.run(QueueShow("a")).leased == 0
    store.check()


def test_copies_of_a_publication_are_no_span_of_their_messages(store: Store) -> None:
    store.run(ChannelCreate("c"))
    store.run(ChannelSubscribe("c"), store.alice)
    store.run(ChannelSubscribe("c"), store.bob)
    store.batch(*((store.alice, ChannelPublish("c", b"%d" % n)) for n in range(3)))
    mine = store.run(ChannelPull("c", max_count=3), store.alice)
    store.run(MessageAck(tuple(m.receipt for m in mine)), store.alice)
    store.check()
    assert [m.body for m in store.run(ChannelPull("c", max_count=3), store.bob)] == [
        b"0",
        b"1",
        b"2",
    ]


@pytest.mark.parametrize("count", [1, PUBLICATIONS_TOGETHER, 2 * PUBLICATIONS_TOGETHER + 1])
def test_publications_to_several_channels_keep_the_order_of_each(store: Store, count: int) -> None:
    channels = ("c", "missing", "d", "limited")
    for channel in ("c", "d", "limited"):
        store.run(ChannelCreate(channel))
        for user in (store.alice, store.bob):
            store.run(ChannelSubscribe(channel), user)
    store.run(ChannelSubscribe("limited", settings=(("max_messages", "5"),)), store.alice)
    published = [
        ChannelPublish(channel, b"%d" % n, 9 - n % 2, content_type="t/x" if n % 3 else None)
        for n in range(count)
        for channel in channels
    ]
    outcomes = store.batch(*((store.alice, publish) for publish in published))
    ids = [outcome for outcome in outcomes if not isinstance(outcome, NotFound)]
    # Each is followed by those of its copies.
    assert ids == list(range(ids[0], ids[0] + 3 * len(ids), 3))
    assert len(ids) == 3 * count
    store.check()
    for channel in ("c", "d", "limited"):
        for user in (store.alice, store.bob):
            is_limited = channel == "limited" and user == store.alice
            fit = range(min(5, count) if is_limited else count)
            wanted = sorted(fit, key=lambda n: n % 2)
            pulled = store.run(ChannelPull(channel, max_count=1000), user)
            assert [(m.body, m.content_type) for m in pulled] == [
                (b"%d" % n, "t/x" if n % 3 else None) for n in wanted
            ]


def test_a_receipt_is_known_only_as_it_was_given_out(store: Store) -> None:
    store.run(QueueSend("a", b"x"))
    (message,) = store.run(QueuePull("a"))
    longer, none, known = store.run(MessageAck((f"0{message.receipt}", "x.1", message.receipt)))
    assert isinstance(longer, Stale)
    assert isinstance(none, Invalid)
    assert known is None


# --- an ack of many, and acks of each ---

TABLES = ("queues", "deliveries", "messages", "publications", "dead_deliveries")
COUNTS = st.integers(1, 2 * LONG_ACK)
#: Which of the receipts given out so far, as shares of their number: from where, how many.
SHARES = st.tuples(st.floats(0, 1), COUNTS)
STEPS = st.one_of(
    st.tuples(st.just("send"), st.sampled_from("ab"), COUNTS),
    st.tuples(st.just("publish"), COUNTS),
    st.tuples(st.just("pull"), st.sampled_from("ab"), COUNTS, st.sampled_from([1_000, 60_000])),
    st.tuples(st.just("consume"), st.sampled_from("ab"), COUNTS),
    st.tuples(st.just("pull channel"), COUNTS),
    st.tuples(st.just("nack"), SHARES),
    st.tuples(st.just("extend"), st.floats(0, 1)),
    st.tuples(st.just("move"), st.floats(0, 1)),
    st.tuples(st.just("delete"), st.floats(0, 1)),
    st.tuples(st.just("wait"), st.sampled_from([1, 999, 30_000])),
    # Of those named, one may be left out, and one may be named twice.
    st.tuples(st.just("ack"), SHARES, st.none() | COUNTS, st.none() | COUNTS),
)


class Twin:
    """A store, and what it has given out."""

    def __init__(self, folder: Path) -> None:
        self.store = Store(folder / "broker.db")
        self.store.database.has_consumers = True
        for queue in "ab":
            self.store.run(QueueCreate(queue))
        self.store.run(ChannelCreate("c"))
        for who in (self.store.alice, self.store.bob):
            self.store.run(ChannelSubscribe("c"), who)
        self.given: list[Message] = []

    def named(self, share: float, count: int = 1) -> list[Message]:
        """Some of the messages that were given out."""
        start = int(share * len(self.given))
        return self.given[start : start + count]

    def do(self, step: tuple[Any, ...], *, together: bool) -> list[Any]:
        """Take a step; ``together`` is an ack of many, else acks of each."""
        store = self.store
        match step:
            case ("send", queue, count):
                sends = [QueueSend(queue, b"x" * n) for n in range(count)]
                return store.batch(*((store.alice, send) for send in sends))
            case ("publish", count):
                publishes = [ChannelPublish("c", b"x" * n) for n in range(count)]
                return store.batch(*((store.alice, publish) for publish in publishes))
            case ("pull", queue, count, lease_ms):
                return self.pull(QueuePull(queue, count, lease_ms=lease_ms))
            case ("consume", queue, count):
                return self.pull(QueueConsume(queue, count))
            case ("pull channel", count):
                return self.pull(ChannelPull("c", max_count=count))
            case ("nack", share):
                receipts = receipts_of(self.named(*share))
                nack = MessageNack(tuple(receipts), delay_ms=0)
                return store.batch((store.alice, nack)) if receipts else []
            case ("extend", share):
                extends = [MessageExtend(r, 90_000) for r in receipts_of(self.named(share))]
                return store.batch(*((store.alice, extend) for extend in extends))
            case ("move", share):
                moves = [MessageMove(m.queue, m.id, "b") for m in self.named(share)]
                return store.batch(*((store.alice, move) for move in moves))
            case ("delete", share):
                deletes = [MessageDelete(m.queue, m.id) for m in self.named(share)]
                return store.batch(*((store.alice, delete) for delete in deletes))
            case ("wait", time):
                store.now += time
                return []
            case ("ack", share, left_out, twice):
                receipts = receipts_of(self.named(*share))
                if left_out is not None:
                    del receipts[left_out : left_out + 1]
                if twice is not None:
                    receipts += receipts[twice : twice + 1]
                acks = [tuple(receipts)] if together else [(receipt,) for receipt in receipts]
                answers: list[Any] = []
                ended: set[str] = set()
                for named in filter(None, acks):
                    answers += store.run(MessageAck(named))
                    ended |= store.last.ended
                return [*answers, sorted(ended)]
        raise AssertionError(step)

    def pull(self, command: Any) -> list[Any]:
        """Pull, and keep what comes."""
        messages = self.store.run(command)
        self.given += messages
        return list(messages)

    def tables(self) -> list[Any]:
        """All there is."""
        return [self.store.rows(f"SELECT * FROM broker_{table} ORDER BY 1") for table in TABLES]


@given(st.lists(STEPS, min_size=3, max_size=25))
def test_an_ack_of_many_does_what_acks_of_each_do(steps: list[tuple[Any, ...]]) -> None:
    with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory() as other:
        many, each = Twin(Path(one)), Twin(Path(other))
        try:
            for step in steps:
                found = [str(outcome) for outcome in many.do(step, together=True)]
                assert found == [str(outcome) for outcome in each.do(step, together=False)]
            assert many.tables() == each.tables()
            many.store.check()
        finally:
            many.store.close()
            each.store.close()
