"""Leases and receipts: the same through every door."""

from __future__ import annotations

import pytest
from deliveries import leased, receipt_of
from doors import Door

import broker
from broker import Client


@pytest.fixture
def queue(alice: Client, name: str) -> str:
    """A queue with one message."""
    alice.create_queue(name)
    alice.send(name, b"job")
    return name


def test_ack_deletes_and_a_second_ack_is_stale(alice: Client, queue: str) -> None:
    receipt = receipt_of(leased(alice, queue))
    alice.ack(receipt)
    assert alice.show_queue(queue).leased == 0
    with pytest.raises(broker.Stale):
        alice.ack(receipt)


def test_a_leased_message_is_nobody_elses(alice: Client, bob: Client, queue: str) -> None:
    leased(alice, queue)
    assert bob.pull(queue) is None


def test_nack_makes_ready_at_the_old_place(alice: Client, queue: str) -> None:
    first = leased(alice, queue)
    alice.send(queue, b"second")
    alice.nack(receipt_of(first))
    again = leased(alice, queue)
    assert (again.id, again.attempts) == (first.id, 2)
    assert again.receipt != first.receipt


def test_a_release_does_not_count(alice: Client, queue: str) -> None:
    alice.nack(receipt_of(leased(alice, queue)), uncounted=True)
    assert leased(alice, queue).attempts == 1


def test_nack_with_a_delay_comes_back_later(alice: Client, queue: str) -> None:
    alice.nack(receipt_of(leased(alice, queue)), delay_ms=150)
    assert alice.pull(queue) is None
    assert alice.show_queue(queue).delayed == 1
    assert leased(alice, queue).attempts == 2


def test_a_late_ack_does_not_acknowledge_anothers_lease(door: Door, queue: str) -> None:
    alice, bob = door.client("alice"), door.client("bob")
    late = leased(alice, queue, lease_ms=50)
    current = leased(bob, queue)
    for use in (alice.ack, alice.nack, alice.extend):
        with pytest.raises(broker.Stale):
            use(receipt_of(late))
    bob.ack(receipt_of(current))
    assert alice.show_queue(queue).leased == 0


def test_an_expired_lease_is_stale_even_if_nobody_else_has_pulled(
    alice: Client, queue: str
) -> None:
    message = leased(alice, queue, lease_ms=1)
    alice.create_queue(f"{queue}.empty")
    assert alice.pull(f"{queue}.empty", wait_ms=20) is None
    with pytest.raises(broker.Stale):
        alice.ack(receipt_of(message))
    assert leased(alice, queue).id == message.id


def test_extend_keeps_a_lease(door: Door, queue: str) -> None:
    alice, bob = door.client("alice"), door.client("bob")
    message = leased(alice, queue, lease_ms=2_000)
    alice.extend(receipt_of(message), lease_ms=600_000)
    assert bob.pull(queue, wait_ms=2_200) is None
    alice.ack(receipt_of(message))


def test_many_receipts_answer_each_for_itself(alice: Client, queue: str) -> None:
    alice.send(queue, b"two")
    alice.send(queue, b"three")
    one, two, three = (receipt_of(message) for message in alice.pull_many(queue, 3))
    outcomes = alice.ack_many([one, one, "1.99", two])
    assert [None if o is None else o.code for o in outcomes] == [None, "STALE", "STALE", None]
    outcomes = alice.nack_many([three, two])
    assert [None if o is None else o.code for o in outcomes] == [None, "STALE"]
    assert leased(alice, queue).body == b"three"


@pytest.mark.parametrize("receipt", ["", "nonsense!", "abc", "1", "1.", ".1", "1.x", "9" * 33])
def test_what_is_no_receipt_is_invalid(alice: Client, receipt: str) -> None:
    for use in (alice.ack, alice.nack, alice.extend):
        with pytest.raises(broker.Invalid):
            use(receipt)


@pytest.mark.parametrize("count", [0, 1001])
def test_none_or_too_many_receipts_are_invalid(alice: Client, count: int) -> None:
    with pytest.raises(broker.Invalid, match="1 to 1000"):
        alice.ack_many(["1.1"] * count)


def test_another_user_may_use_a_receipt_of_a_queue(alice: Client, bob: Client, queue: str) -> None:
    bob.ack(receipt_of(leased(alice, queue)))


def test_deleting_the_queue_ends_its_leases(alice: Client, queue: str) -> None:
    receipt = receipt_of(leased(alice, queue))
    assert alice.delete_queue(queue) == 1
    with pytest.raises(broker.Stale):
        alice.ack(receipt)


@pytest.mark.parametrize("lease_ms", [0, -1, 13 * 3_600_000])
def test_a_lease_out_of_range_is_invalid(alice: Client, queue: str, lease_ms: int) -> None:
    with pytest.raises(broker.Invalid):
        alice.pull(queue, lease_ms=lease_ms)
