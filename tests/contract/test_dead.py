"""Attempts, backoff, dying, and what can be done with the dead: the same through every door."""

from __future__ import annotations

import time

import pytest
from deliveries import counts, leased, receipt_of
from doors import Door
from support import PATIENCE_S

import broker
from broker import Client


def kill(client: Client, queue: str, body: bytes, reason: str = "no good") -> int:
    """Send a message, let it die, and return its id."""
    sent = client.send(queue, body, priority=9)
    client.nack(receipt_of(leased(client, queue)), dead=True, reason=reason)
    return sent.id


def test_after_its_attempts_a_message_is_dead_and_remembers_why(alice: Client, name: str) -> None:
    alice.create_queue(name, settings={"max_attempts": 2})
    alice.send(name, b"poison", headers={"a": "b"})
    alice.nack(receipt_of(leased(alice, name)), reason="first")
    assert counts(alice, name) == (1, 0, 0, 0)
    alice.nack(receipt_of(leased(alice, name)), reason="second")
    assert counts(alice, name) == (0, 0, 0, 1)
    assert alice.pull(name) is None
    (dead,) = alice.list_dead(name)
    assert (dead.attempts, dead.bytes, dead.sender) == (2, 6, "alice")
    assert dead.reason == "2 attempts, the last: second"
    shown = alice.show_dead(name, dead.id)
    assert (shown.body, dict(shown.headers), shown.state) == (b"poison", {"a": "b"}, "dead")
    assert [(f["consumer"], f["reason"]) for f in shown.failures] == [
        ("alice", "first"), ("alice", "second"),
    ]  # fmt: skip
    assert all(abs(int(f["at"]) - shown.sent_at) < 60_000 for f in shown.failures)


def test_five_attempts_are_the_default_and_the_last_five_failures_are_kept(
    alice: Client, name: str
) -> None:
    alice.create_queue(name)
    alice.send(name, b"x")
    for number in range(5):
        alice.nack(receipt_of(leased(alice, name)), reason=str(number))
    (dead,) = alice.list_dead(name)
    alice.set_queue(name, {"max_attempts": 0})
    assert alice.retry_dead(name, dead.id) == 1
    for number in range(5, 12):
        alice.nack(receipt_of(leased(alice, name)), reason=str(number))
    assert counts(alice, name) == (1, 0, 0, 0)
    (peeked,) = alice.peek(name)
    assert [f["reason"] for f in peeked.failures] == ["7", "8", "9", "10", "11"]


def test_a_lease_that_ends_by_itself_is_a_failure_too(alice: Client, name: str) -> None:
    alice.create_queue(name, settings={"max_attempts": 1})
    alice.send(name, b"x")
    late = leased(alice, name, lease_ms=30)
    deadline = time.monotonic() + PATIENCE_S
    while not alice.list_dead(name):
        assert time.monotonic() < deadline
        alice.pull(name)
    (dead,) = alice.list_dead(name)
    assert dead.reason == "1 attempt, the last: the lease ended"
    with pytest.raises(broker.Stale):
        alice.ack(receipt_of(late))


def test_a_release_is_no_attempt(alice: Client, name: str) -> None:
    alice.create_queue(name, settings={"max_attempts": 1})
    alice.send(name, b"x")
    for _ in range(3):
        alice.nack(receipt_of(leased(alice, name)), uncounted=True)
    assert counts(alice, name) == (1, 0, 0, 0)
    assert alice.peek(name)[0].failures == ()


def test_retry_returns_to_the_old_place_with_no_attempts(alice: Client, name: str) -> None:
    alice.create_queue(name)
    first = alice.send(name, b"first", ttl_ms=3_600_000)
    alice.nack(receipt_of(leased(alice, name)), dead=True)
    alice.send(name, b"second")
    assert alice.retry_dead(name) == 1
    message = leased(alice, name)
    assert (message.id, message.attempts) == (first.id, 1)
    # What has been dead lives without an end.
    assert alice.peek(name, state="leased")[0].expires_at is None


def test_the_dead_are_listed_matched_and_dropped(alice: Client, name: str) -> None:
    alice.create_queue(name)
    ids = [
        kill(alice, name, b"one apple", "sour"),
        kill(alice, name, b"two pears", "sweet"),
        kill(alice, name, b"three", "apple again"),
    ]
    assert [dead.id for dead in alice.list_dead(name)] == ids
    assert [dead.id for dead in alice.list_dead(name, match="apple")] == [ids[0], ids[2]]
    assert [dead.id for dead in alice.list_dead(name, limit=1)] == ids[:1]
    assert [dead.id for dead in alice.list_dead(name, after=ids[0])] == ids[1:]
    assert alice.retry_dead(name, match="pears") == 1
    assert alice.drop_dead(name, match="apple", limit=1) == 1
    assert [dead.id for dead in alice.list_dead(name)] == ids[2:]
    assert alice.drop_dead(name, ids[2]) == 1
    with pytest.raises(broker.NotFound):
        alice.drop_dead(name, ids[2])
    assert counts(alice, name) == (1, 0, 0, 0)
    assert alice.show_queue(name).bytes == len(b"two pears")
    with pytest.raises(broker.NotFound, match="it is ready"):
        alice.retry_dead(name, ids[1])


def test_many_dead_are_treated_in_slices_as_one(alice: Client, name: str) -> None:
    alice.create_queue(name)
    alice.send_many(name, [b"x"] * 1000)
    alice.send_many(name, [b"y"] * 200)
    while messages := alice.pull_many(name, 1000):
        receipts = [receipt_of(message) for message in messages]
        assert alice.nack_many(receipts, dead=True) == [None] * len(receipts)
    assert counts(alice, name) == (0, 0, 0, 1200)
    assert len(alice.list_dead(name, match="y", limit=1000)) == 200
    assert alice.retry_dead(name, limit=1100) == 1100
    assert alice.drop_dead(name) == 100
    assert counts(alice, name) == (1100, 0, 0, 0)


def test_a_dead_letter_queue_gets_them_with_where_why_and_when(alice: Client, name: str) -> None:
    morgue = f"{name}.dead"
    alice.create_queue(morgue)
    alice.create_queue(name, settings={"dead_letter": morgue, "max_attempts": 1})
    sent = alice.send(name, b"x", ttl_ms=3_600_000)
    alice.nack(receipt_of(leased(alice, name)), reason="broken")
    assert counts(alice, name) == (0, 0, 0, 0)
    message = leased(alice, morgue)
    assert (message.id, message.queue, message.attempts) == (sent.id, morgue, 1)
    assert message.died is not None
    assert (message.died["queue"], message.died["reason"]) == (
        name, "1 attempt, the last: broken",
    )  # fmt: skip
    assert abs(int(message.died["at"]) - message.sent_at) < 60_000
    (peeked,) = alice.peek(morgue, state="leased")
    assert peeked.expires_at is None
    assert [failure["reason"] for failure in peeked.failures] == ["broken"]
    alice.ack(receipt_of(message))


def test_who_waits_for_a_dead_letter_queue_gets_what_nobody_asks_about(
    door: Door, name: str
) -> None:
    alice = door.client()
    morgue = f"{name}.dead"
    alice.create_queue(morgue)
    alice.create_queue(name, settings={"dead_letter": morgue, "max_attempts": 1})
    alice.send(name, b"x")
    leased(alice, name, lease_ms=50)
    assert leased(door.client("bob"), morgue).body == b"x"


@pytest.mark.parametrize("obstacle", ["missing", "full", "paused"])
def test_what_a_dead_letter_queue_does_not_take_stays_dead(
    alice: Client, name: str, obstacle: str
) -> None:
    morgue = f"{name}.dead"
    alice.create_queue(morgue, settings={"max_messages": 1})
    alice.create_queue(name, settings={"dead_letter": morgue})
    if obstacle == "missing":
        alice.delete_queue(morgue)
    elif obstacle == "full":
        alice.send(morgue, b"in the way")
    else:
        alice.pause(morgue, pulls=False)
    kill(alice, name, b"x")
    assert counts(alice, name) == (0, 0, 0, 1)


def test_a_dead_letter_queue_must_be_there_and_another(alice: Client, name: str) -> None:
    with pytest.raises(broker.NotFound):
        alice.create_queue(name, settings={"dead_letter": f"{name}.none"})
    alice.create_queue(name)
    with pytest.raises(broker.Invalid, match="its own"):
        alice.set_queue(name, {"dead_letter": name})


def test_backoff_grows_to_its_ceiling_and_an_explicit_delay_wins(alice: Client, name: str) -> None:
    alice.create_queue(name, settings={"backoff": "1m,10,1h", "max_attempts": 0})
    alice.send(name, b"x")
    for expected_ms in (60_000, 600_000, 3_600_000, 3_600_000):
        alice.nack(receipt_of(leased(alice, name)))
        (peeked,) = alice.peek(name, state="delayed")
        assert peeked.delayed_until is not None
        assert abs(peeked.delayed_until - int(peeked.failures[-1]["at"]) - expected_ms) < 10
        alice.release_message(name, peeked.id)
    alice.nack(receipt_of(leased(alice, name)), delay_ms=0)
    assert counts(alice, name) == (1, 0, 0, 0)
    alice.nack(receipt_of(leased(alice, name)), uncounted=True)
    assert counts(alice, name) == (1, 0, 0, 0)


def test_the_dead_of_a_subscription_are_its_own(alice: Client, bob: Client, name: str) -> None:
    alice.create_channel(name)
    for client in (alice, bob):
        client.subscribe(name)
    sent = alice.publish(name, b"news")
    alice.nack(receipt_of(leased(alice, f"{name}@alice")), dead=True)
    assert [dead.id for dead in alice.list_dead(f"{name}@alice")] == [sent.id]
    assert bob.list_dead(f"{name}@bob") == []
    with pytest.raises(broker.Denied):
        bob.list_dead(f"{name}@alice")
    with pytest.raises(broker.Denied):
        bob.retry_dead(f"{name}@alice")
    assert alice.retry_dead(f"{name}@alice", sent.id) == 1
    assert leased(alice, f"{name}@alice").body == b"news"


def test_only_owner_and_admin_treat_the_dead(
    alice: Client, bob: Client, boss: Client, name: str
) -> None:
    alice.create_queue(name)
    kill(alice, name, b"x")
    assert len(bob.list_dead(name)) == 1
    for refused in (bob.retry_dead, bob.drop_dead):
        with pytest.raises(broker.Denied):
            refused(name)
    assert boss.retry_dead(name) == 1
