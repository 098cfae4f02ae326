"""Leases, delays, keys and order, to the millisecond: the clock is the test's."""

from __future__ import annotations

from typing import Any

import pytest
from stores import Store

from broker import names
from broker.commands.channel import ChannelCreate, ChannelPublish, ChannelPull, ChannelSubscribe
from broker.commands.delivery import Message
from broker.commands.message import MessageAck, MessageExtend, MessageNack
from broker.commands.queue import (
    QueueCreate,
    QueuePull,
    QueueSend,
    QueueSendMany,
    QueueShow,
)
from broker.errors import Denied, Stale


@pytest.fixture
def queue(store: Store) -> str:
    """A queue with the message ``job``."""
    store.run(QueueCreate("q"))
    store.run(QueueSend("q", b"job"))
    return "q"


def leased(store: Store, queue: str, lease_ms: int = 100) -> Message:
    """Pull a message that must be there."""
    (message,) = store.run(QueuePull(queue, lease_ms=lease_ms))
    assert isinstance(message, Message)
    return message


def use(store: Store, command: Any, by: Any = None) -> str | None:
    """Return the code of the refusal of the one receipt a command names, or None."""
    (outcome,) = store.run(command, by)
    return None if outcome is None else str(outcome.code)


def bodies(store: Store, queue: str, count: int = 100) -> list[bytes]:
    """Return what a pull brings."""
    return [message.body for message in store.run(QueuePull(queue, count))]


def test_a_lease_holds_until_its_last_millisecond(store: Store, queue: str) -> None:
    message = leased(store, queue)
    assert message.leased_until == store.now + 100
    store.now += 99
    assert bodies(store, queue) == []
    assert use(store, MessageAck((str(message.receipt),))) is None
    store.check()


def test_a_lease_ends_with_the_millisecond_it_names(store: Store, queue: str) -> None:
    message = leased(store, queue)
    store.now += 100
    assert use(store, MessageAck((str(message.receipt),))) == "STALE"
    assert use(store, MessageNack((str(message.receipt),))) == "STALE"
    with pytest.raises(Stale):
        store.run(MessageExtend(str(message.receipt)))
    again = leased(store, queue)
    assert (again.id, again.attempts) == (message.id, 2)
    store.check()


def test_messages_come_back_at_their_old_place(store: Store) -> None:
    store.run(QueueCreate("q"))
    for body in (b"1", b"2", b"3", b"4"):
        store.run(QueueSend("q", body))
    one, two, three = store.run(QueuePull("q", 3, lease_ms=100))
    assert use(store, MessageNack((two.receipt,))) is None
    assert bodies(store, "q", 1) == [b"2"]
    assert use(store, MessageAck((three.receipt,))) is None
    store.now += 100
    assert one.body == b"1"
    assert bodies(store, "q") == [b"1", b"4"]
    store.check()


def test_an_extended_lease_ends_so_long_from_now(store: Store, queue: str) -> None:
    message = leased(store, queue)
    store.now += 99
    store.run(MessageExtend(str(message.receipt), 50))
    store.now += 49
    assert bodies(store, queue) == []
    store.now += 1
    assert bodies(store, queue) == [b"job"]


def test_a_lease_may_be_made_shorter(store: Store, queue: str) -> None:
    message = leased(store, queue)
    store.run(MessageExtend(str(message.receipt), 1))
    store.now += 1
    assert bodies(store, queue) == [b"job"]


def test_a_delayed_nack_counts_from_now_and_the_receipt_is_done_with(
    store: Store, queue: str
) -> None:
    message = leased(store, queue)
    receipt = str(message.receipt)
    assert use(store, MessageNack((receipt,), delay_ms=500)) is None
    assert use(store, MessageAck((receipt,))) == "STALE"
    store.now += 499
    assert bodies(store, queue) == []
    assert store.run(QueueShow(queue)).delayed == 1
    store.now += 1
    shown = store.run(QueueShow(queue))
    assert (shown.ready, shown.delayed) == (1, 0)
    assert leased(store, queue).attempts == 2


def test_a_released_lease_is_not_counted_but_its_receipt_is_old(store: Store, queue: str) -> None:
    first = leased(store, queue)
    assert use(store, MessageNack((str(first.receipt),), uncounted=True)) is None
    second = leased(store, queue)
    assert (second.attempts, second.receipt != first.receipt) == (1, True)
    assert use(store, MessageAck((str(first.receipt),))) == "STALE"
    assert use(store, MessageAck((str(second.receipt),))) is None


def test_a_receipt_that_was_never_given_is_stale(store: Store, queue: str) -> None:
    message = leased(store, queue)
    number = str(message.receipt).partition(".")[0]
    for receipt in (f"{number}.2", f"{number}.0", "99999.1", "9" * 25 + ".1"):
        assert use(store, MessageAck((receipt,))) == "STALE"
    assert use(store, MessageAck((f"{number}.1",))) is None


def test_receipts_of_a_queue_are_anybodys_and_of_a_subscription_its_users(
    store: Store, queue: str
) -> None:
    assert use(store, MessageAck((str(leased(store, queue).receipt),)), store.bob) is None
    store.run(ChannelCreate("c"))
    store.run(ChannelSubscribe("c"))
    store.run(ChannelPublish("c", b"news"))
    (message,) = store.run(ChannelPull("c"))
    receipts = (message.receipt,)
    assert use(store, MessageAck(receipts), store.bob) == "DENIED"
    assert use(store, MessageNack(receipts), store.bob) == "DENIED"
    with pytest.raises(Denied):
        store.run(MessageExtend(message.receipt), store.bob)
    assert use(store, MessageNack(receipts), store.admin) is None
    store.check()


@pytest.mark.parametrize("command", [MessageAck, MessageNack])
def test_a_receipt_that_was_used_is_stale_whoever_comes_next(
    store: Store, command: type[MessageAck | MessageNack]
) -> None:
    store.run(ChannelCreate("c"))
    store.run(ChannelSubscribe("c"))
    store.run(ChannelPublish("c", b"news"))
    (message,) = store.run(ChannelPull("c"))
    used = command((message.receipt,))
    first, second = store.batch((store.alice, used), (store.bob, used))
    assert first == (None,)
    assert second[0].code == use(store, used, store.bob) == "STALE"
    store.check()


def test_without_a_lease_a_message_is_gone(store: Store, queue: str) -> None:
    (message,) = store.run(QueuePull(queue, no_ack=True))
    assert (message.receipt, message.leased_until, message.attempts) == (None, None, 1)
    assert store.rows("SELECT * FROM broker_messages") == []
    store.check()


def test_higher_priorities_come_first_and_equals_in_order(store: Store) -> None:
    store.run(QueueCreate("q"))
    for priority in (4, 0, 9, 4, 9):
        store.run(QueueSend("q", b"%d" % priority, priority=priority))
    pulled = store.run(QueuePull("q", 10))
    assert [message.priority for message in pulled] == [9, 9, 4, 4, 0]
    for high, low in ((0, 1), (2, 3)):
        assert pulled[high].id < pulled[low].id


def test_a_delayed_message_takes_the_place_of_its_age(store: Store) -> None:
    store.run(QueueCreate("q"))
    store.run(QueueSend("q", b"early", delay_ms=10))
    store.run(QueueSend("q", b"late"))
    store.now += 9
    assert store.run(QueueShow("q")).delayed == 1
    store.now += 1
    assert bodies(store, "q") == [b"early", b"late"]


def test_a_pull_stops_at_its_budget_of_bytes_but_brings_one(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(names, "MAX_PULL_BYTES", 100)
    store.run(QueueCreate("q"))
    for size in (300, 60, 40, 1):
        store.run(QueueSend("q", b"x" * size))
    # In one batch, where the second goes on where the first has stopped.
    first, second, third = store.batch(*[(store.alice, QueuePull("q", 10))] * 3)
    assert [[len(m.body) for m in pulled] for pulled in (first, second, third)] == [
        [300], [60, 40], [1],
    ]  # fmt: skip
    store.check()


def test_a_key_is_remembered_until_its_last_millisecond(store: Store) -> None:
    store.run(QueueCreate("q"))
    first = store.run(QueueSend("q", b"once", key="k", key_ttl_ms=100))
    assert first.duplicate is False
    # Also when the message itself is long gone.
    store.run(QueuePull("q", no_ack=True))
    store.now += 99
    assert store.run(QueueSend("q", b"twice", key="k")) == (first.id, True)
    store.now += 1
    third = store.run(QueueSend("q", b"anew", key="k"))
    assert (third.duplicate, third.id > first.id) == (False, True)
    assert bodies(store, "q") == [b"anew"]


def test_a_key_holds_for_one_place_only(store: Store) -> None:
    store.run(QueueCreate("q"))
    store.run(QueueCreate("r"))
    store.run(ChannelCreate("q"))
    store.run(ChannelSubscribe("q"))
    sends = (QueueSend("q", b"", key="k"), QueueSend("r", b"", key="k"))
    assert not any(
        store.run(send).duplicate for send in (*sends, ChannelPublish("q", b"", key="k"))
    )
    assert all(store.run(send).duplicate for send in (*sends, ChannelPublish("q", b"", key="k")))


def test_a_key_twice_in_one_batch_is_one_message(store: Store) -> None:
    store.run(QueueCreate("q"))
    one, two = store.batch(*[(store.alice, QueueSend("q", b"x", key="k"))] * 2)
    assert two == (one.id, True)
    assert len(bodies(store, "q")) == 1
    store.check()


def test_the_oldest_ready_is_told_also_behind_a_younger_one(store: Store) -> None:
    store.run(QueueCreate("q"))
    assert store.run(QueueShow("q")).oldest_ready_ms is None
    store.run(QueueSend("q", b"delayed", delay_ms=30))
    store.run(QueueSend("q", b"at once"))
    store.now += 70
    assert store.run(QueueShow("q")).oldest_ready_ms == 70
    assert bodies(store, "q", 2) == [b"delayed", b"at once"]
    assert store.run(QueueShow("q")).oldest_ready_ms is None


def test_a_clock_that_was_set_back_makes_nothing_younger_than_now(store: Store) -> None:
    store.run(QueueCreate("q"))
    store.run(QueueSend("q", b"x"))
    store.now -= 5000
    assert store.run(QueueShow("q")).oldest_ready_ms == 0


def test_pulls_take_away_what_has_expired_in_front_a_share_each(store: Store) -> None:
    store.run(QueueCreate("q"))
    for _ in range(25):
        store.run(QueueSendMany("q", (b"x",) * 1000, ttl_ms=10))
    for body in (b"1", b"2", b"3"):
        store.run(QueueSend("q", body, priority=0))
    store.now += 10
    for body, left in ((b"1", 15_000), (b"2", 5_000), (b"3", 0)):
        assert leased(store, "q").body == body
        assert store.rows("SELECT count(*) FROM broker_deliveries WHERE expires_at > 0") == [
            (left,)
        ]
    store.check()
