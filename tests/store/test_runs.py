"""What is stored, leased or deleted together is what was meant, and nothing beside it."""

from __future__ import annotations

import pytest
from stores import Store

from broker.commands.channel import ChannelCreate, ChannelPublish, ChannelPull, ChannelSubscribe
from broker.commands.message import MessageAck
from broker.commands.queue import QueueCreate, QueuePull, QueueSend, QueueShow
from broker.errors import Invalid, Stale, TooBig
from broker.store.handlers.messages import LONG_RUN

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


def test_a_receipt_is_known_only_as_it_was_given_out(store: Store) -> None:
    store.run(QueueSend("a", b"x"))
    (message,) = store.run(QueuePull("a"))
    longer, none, known = store.run(MessageAck((f"0{message.receipt}", "x.1", message.receipt)))
    assert isinstance(longer, Stale)
    assert isinstance(none, Invalid)
    assert known is None
