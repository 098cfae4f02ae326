"""Where two features meet: what docs/delivery.md says happens, through every door."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import pytest
from deliveries import bodies, counts, leased, receipt_of
from doors import PASSWORD, Door
from support import PATIENCE_S, wait_until

import broker
from broker import Client


def kill(client: Client, queue: str) -> None:
    """Let the first message of a queue die."""
    client.nack(receipt_of(leased(client, queue)), dead=True, reason="no good")


# --- expiry ----------------------------------------------------------------------


def test_a_rest_beyond_its_life_is_its_end(alice: Client, name: str) -> None:
    alice.create_queue(name, settings={"backoff": "1h,1,1h", "on_expire": "dead"})
    for delay_ms in (None, 1_800_000):
        alice.send(name, b"x", ttl_ms=150)
        alice.nack(receipt_of(leased(alice, name)), delay_ms=delay_ms)
    wait_until(lambda: counts(alice, name) == (0, 0, 0, 2), "it has come to that")
    assert {dead.reason for dead in alice.list_dead(name)} == {"expired"}


def test_the_last_attempt_of_an_expired_message_is_a_death_not_an_expiry(
    alice: Client, name: str
) -> None:
    alice.create_queue(name, settings={"max_attempts": 1, "on_expire": "drop"})
    alice.send(name, b"x", ttl_ms=80)
    message = leased(alice, name)
    time.sleep(0.09)
    alice.nack(receipt_of(message), reason="broken")
    (dead,) = alice.list_dead(name)
    assert dead.reason == "1 attempt, the last: broken"
    assert alice.show_queue(name).dropped == 0


def test_the_dead_do_not_expire(alice: Client, name: str) -> None:
    alice.create_queue(name)
    alice.send(name, b"x", ttl_ms=60)
    kill(alice, name)
    time.sleep(0.07)
    assert counts(alice, name) == (0, 0, 0, 1)
    assert alice.retry_dead(name) == 1
    assert bodies(alice, name) == [b"x"]


def test_without_on_expire_dead_a_dead_letter_queue_gets_no_expired(
    alice: Client, name: str
) -> None:
    morgue = f"{name}.dead"
    alice.create_queue(morgue)
    alice.create_queue(name, settings={"dead_letter": morgue})
    alice.send(name, b"x", ttl_ms=20)
    wait_until(lambda: alice.show_queue(name).dropped == 1, "it has come to that")
    assert counts(alice, morgue) == (0, 0, 0, 0)


def test_a_lifetime_set_on_a_live_queue_is_for_what_comes(alice: Client, name: str) -> None:
    alice.create_queue(name)
    alice.send(name, b"before")
    alice.set_queue(name, {"ttl": "1h"})
    alice.send(name, b"after")
    before, after = alice.peek(name, 2)
    assert before.expires_at is None
    assert after.expires_at == after.sent_at + 3_600_000


def test_a_publication_whose_delay_is_beyond_a_subscriptions_life_expires_there(
    alice: Client, bob: Client, name: str
) -> None:
    alice.create_channel(name)
    alice.subscribe(name, settings={"ttl": "50ms"})
    bob.subscribe(name)
    alice.publish(name, b"x", delay_ms=300)
    wait_until(lambda: alice.show_queue(f"{name}@alice").dropped == 1, "it has come to that")
    assert leased(bob, f"{name}@bob").body == b"x"


# --- dead letters ----------------------------------------------------------------


def test_dead_letters_may_go_round_one_failure_a_step(alice: Client, name: str) -> None:
    other = f"{name}.b"
    alice.create_queue(name, settings={"max_attempts": 1})
    alice.create_queue(other, settings={"max_attempts": 1, "dead_letter": name})
    alice.set_queue(name, {"dead_letter": other})
    sent = alice.send(name, b"x")
    for here, there in ((name, other), (other, name), (name, other)):
        alice.nack(receipt_of(leased(alice, here)))
        assert (counts(alice, here), counts(alice, there)) == ((0, 0, 0, 0), (1, 0, 0, 0))
    (peeked,) = alice.peek(other)
    assert (peeked.id, peeked.attempts, len(peeked.failures)) == (sent.id, 0, 3)
    assert peeked.died is not None
    assert peeked.died["queue"] == name


def test_a_body_too_big_for_the_dead_letter_queue_stays_dead(alice: Client, name: str) -> None:
    morgue = f"{name}.dead"
    alice.create_queue(morgue, settings={"max_bytes": 3})
    alice.create_queue(name, settings={"dead_letter": morgue})
    alice.send(name, b"four")
    kill(alice, name)
    assert counts(alice, name) == (0, 0, 0, 1)


def test_a_dead_letter_queue_may_drop_its_oldest_for_the_newest(alice: Client, name: str) -> None:
    morgue = f"{name}.dead"
    alice.create_queue(morgue, settings={"max_messages": 1, "on_full": "drop-oldest"})
    alice.create_queue(name, settings={"dead_letter": morgue})
    for body in (b"1", b"2"):
        alice.send(name, body)
        kill(alice, name)
    assert bodies(alice, morgue) == [b"2"]
    assert (alice.show_queue(morgue).dropped, counts(alice, name)) == (1, (0, 0, 0, 0))


def test_what_has_died_before_stays_when_a_dead_letter_queue_is_named(
    alice: Client, name: str
) -> None:
    morgue = f"{name}.dead"
    alice.create_queue(morgue)
    alice.create_queue(name)
    for body in (b"before", b"after"):
        alice.send(name, body)
        kill(alice, name)
        alice.set_queue(name, {"dead_letter": morgue})
    assert bodies(alice, name, "dead") == [b"before"]
    assert bodies(alice, morgue) == [b"after"]


def test_a_deleted_dead_letter_queue_takes_its_messages_along_and_is_missed(
    alice: Client, name: str
) -> None:
    morgue = f"{name}.dead"
    alice.create_queue(morgue)
    alice.create_queue(name, settings={"dead_letter": morgue})
    alice.send_many(name, [b"1", b"2", b"3"])
    kill(alice, name)
    assert alice.delete_queue(morgue) == 1
    kill(alice, name)
    assert (bodies(alice, name, "dead"), alice.show_queue(name).dead_letter) == ([b"2"], morgue)
    # Made again, it is the dead-letter queue again, for those who die from then on.
    alice.create_queue(morgue)
    kill(alice, name)
    assert (bodies(alice, name, "dead"), bodies(alice, morgue)) == ([b"2"], [b"3"])


def test_fewer_attempts_count_from_the_next_failure(alice: Client, name: str) -> None:
    alice.create_queue(name)
    alice.send(name, b"x")
    for _ in range(3):
        alice.nack(receipt_of(leased(alice, name)))
    alice.set_queue(name, {"max_attempts": 2})
    assert counts(alice, name) == (1, 0, 0, 0)
    alice.nack(receipt_of(leased(alice, name)))
    assert counts(alice, name) == (0, 0, 0, 1)


# --- limits ----------------------------------------------------------------------


@pytest.mark.parametrize("state", ["ready", "delayed", "leased", "dead"])
def test_a_message_counts_in_whatever_state(alice: Client, name: str, state: str) -> None:
    alice.create_queue(name, settings={"max_messages": 1})
    alice.send(name, b"x", delay_ms=60_000 if state == "delayed" else 0)
    if state == "leased":
        leased(alice, name)
    elif state == "dead":
        kill(alice, name)
    with pytest.raises(broker.Full, match="1 of them dead" if state == "dead" else "1 messages"):
        alice.send(name, b"y")


@pytest.mark.parametrize("state", ["delayed", "leased", "dead"])
def test_only_the_ready_give_way(alice: Client, name: str, state: str) -> None:
    alice.create_queue(name, settings={"max_messages": 1, "on_full": "drop-oldest"})
    alice.send(name, b"kept", delay_ms=60_000 if state == "delayed" else 0)
    if state == "leased":
        leased(alice, name)
    elif state == "dead":
        kill(alice, name)
    with pytest.raises(broker.Full):
        alice.send(name, b"y")
    assert bodies(alice, name, state) == [b"kept"]


def test_what_comes_in_is_not_weighed_against_what_gives_way(alice: Client, name: str) -> None:
    alice.create_queue(name, settings={"max_messages": 1, "on_full": "drop-oldest"})
    alice.send(name, b"urgent", priority=9)
    alice.send(name, b"not", priority=0)
    assert bodies(alice, name) == [b"not"]


def test_a_body_larger_than_the_queue_drops_nothing(alice: Client, name: str) -> None:
    alice.create_queue(name, settings={"max_bytes": 3, "on_full": "drop-oldest"})
    alice.send(name, b"abc")
    with pytest.raises(broker.TooBig):
        alice.send(name, b"four")
    assert bodies(alice, name) == [b"abc"]


def test_a_batch_larger_than_the_queue_drops_its_own_oldest(alice: Client, name: str) -> None:
    alice.create_queue(name, settings={"max_messages": 2, "on_full": "drop-oldest"})
    alice.send_many(name, [b"1", b"2", b"3"])
    assert (bodies(alice, name), alice.show_queue(name).dropped) == ([b"2", b"3"], 1)


def test_a_limit_below_what_is_there_removes_nothing_and_returns_are_taken(
    alice: Client, name: str
) -> None:
    alice.create_queue(name)
    alice.send_many(name, [b"1", b"2", b"3"])
    message = leased(alice, name)
    kill(alice, name)
    alice.set_queue(name, {"max_messages": 1})
    alice.nack(receipt_of(message))
    assert alice.retry_dead(name) == 1
    assert bodies(alice, name) == [b"1", b"2", b"3"]
    with pytest.raises(broker.Full):
        alice.send(name, b"4")


def test_what_a_consumer_has_fetched_counts(door: Door, name: str) -> None:
    alice, bob = door.client("alice"), door.client("bob")
    alice.create_queue(name, settings={"max_messages": 2})
    alice.send_many(name, [b"1", b"2"])
    messages = alice.consume(name, prefetch=2)
    first = next(messages)
    with pytest.raises(broker.Full):
        bob.send(name, b"3")
    first.ack()
    bob.send(name, b"3")
    messages.close()


# --- keys ------------------------------------------------------------------------


def test_a_known_key_is_a_duplicate_whatever_the_queue_would_say(alice: Client, name: str) -> None:
    alice.create_queue(name, settings={"max_messages": 1})
    sent = alice.send(name, b"x", key="k")
    assert alice.send(name, b"another body", key="k") == (sent.id, True)
    alice.pause(name)
    assert alice.send(name, b"x", key="k") == (sent.id, True)


def test_a_refused_send_does_not_use_up_its_key(alice: Client, name: str) -> None:
    alice.create_queue(name, settings={"max_messages": 1})
    alice.send(name, b"in the way")
    with pytest.raises(broker.Full):
        alice.send(name, b"x", key="k")
    alice.purge(name)
    assert alice.send(name, b"x", key="k").duplicate is False


@pytest.mark.parametrize("end", ["pulled", "expired", "deleted", "moved"])
def test_a_key_outlives_its_message(alice: Client, name: str, end: str) -> None:
    other = f"{name}.b"
    alice.create_queue(name)
    alice.create_queue(other)
    sent = alice.send(name, b"x", key="k", ttl_ms=20 if end == "expired" else None)
    if end == "pulled":
        alice.pull(name, no_ack=True)
    elif end == "expired":
        wait_until(lambda: alice.show_queue(name).dropped == 1, "it has come to that")
    elif end == "deleted":
        alice.delete_message(name, sent.id)
    else:
        alice.move_message(name, sent.id, other)
    assert alice.send(name, b"x", key="k") == (sent.id, True)
    assert alice.send(other, b"x", key="k").duplicate is False


def test_a_deleted_queue_takes_its_keys_along(alice: Client, name: str) -> None:
    alice.create_queue(name)
    alice.send(name, b"x", key="k")
    alice.delete_queue(name)
    alice.create_queue(name)
    assert alice.send(name, b"x", key="k").duplicate is False


def test_one_send_and_many_share_the_keys_of_a_queue(alice: Client, name: str) -> None:
    alice.create_queue(name)
    many = alice.send_many(name, [b"1", b"2"], key="k")
    assert alice.send(name, b"1", key="k") == (many.ids[0], True)
    one = alice.send(name, b"3", key="l")
    assert alice.send_many(name, [b"3", b"4"], key="l") == ((one.id,), True)
    assert bodies(alice, name) == [b"1", b"2", b"3"]


# --- places ----------------------------------------------------------------------


def test_every_way_back_is_to_the_old_place(alice: Client, name: str) -> None:
    alice.create_queue(name)
    alice.send(name, b"low", priority=1)
    alice.send_many(name, [b"1", b"2", b"3", b"4"])
    ways: tuple[Callable[[str], None], ...] = (
        alice.nack,
        lambda receipt: alice.nack(receipt, uncounted=True),
        lambda receipt: alice.nack(receipt, delay_ms=1),
        lambda receipt: alice.nack(receipt, dead=True),
    )
    for message, give_back in zip(alice.pull_many(name, 4), ways, strict=True):
        give_back(receipt_of(message))
    assert alice.retry_dead(name) == 1
    wait_until(lambda: counts(alice, name) == (5, 0, 0, 0), "it has come to that")
    assert bodies(alice, name) == [b"1", b"2", b"3", b"4", b"low"]


def test_a_moved_message_stands_by_priority_and_age_and_keeps_its_life(
    alice: Client, name: str
) -> None:
    other = f"{name}.b"
    alice.create_queue(name)
    alice.create_queue(other, settings={"ttl": "1s"})
    old = alice.send(name, b"old", ttl_ms=3_600_000)
    alice.send(other, b"young")
    alice.send(other, b"urgent", priority=9)
    alice.move_message(name, old.id, other)
    assert bodies(alice, other) == [b"urgent", b"old", b"young"]
    moved = alice.peek(other, 3)[1]
    assert moved.expires_at == moved.sent_at + 3_600_000


def test_a_move_ends_the_lease(alice: Client, name: str) -> None:
    other = f"{name}.b"
    alice.create_queue(name)
    alice.create_queue(other)
    alice.send(name, b"x")
    message = leased(alice, name)
    alice.move_message(name, message.id, other)
    with pytest.raises(broker.Stale):
        alice.ack(receipt_of(message))
    assert leased(alice, other).attempts == 1


# --- pauses ----------------------------------------------------------------------


def test_a_pause_of_pulls_lets_leases_go_on_and_end(alice: Client, name: str) -> None:
    alice.create_queue(name)
    alice.send_many(name, [b"1", b"2", b"3"])
    one, two = (leased(alice, name) for _ in range(2))
    leased(alice, name, lease_ms=30)
    alice.pause(name, sends=False)
    alice.extend(receipt_of(one))
    alice.ack(receipt_of(one))
    alice.nack(receipt_of(two))
    wait_until(lambda: counts(alice, name) == (2, 0, 0, 0), "it has come to that")
    assert alice.pull(name) is None


def test_a_paused_queue_gives_its_consumers_nothing_until_it_is_resumed(
    door: Door, name: str
) -> None:
    alice, bob = door.client("alice"), door.client("bob")
    alice.create_queue(name)
    alice.pause(name, sends=False)
    alice.send(name, b"x")
    assert list(bob.consume(name, wait_ms=50)) == []
    got: list[bytes] = []

    def run() -> None:
        for message in bob.consume(name, wait_ms=30_000):
            got.append(message.body)
            message.ack()
            return

    thread = threading.Thread(target=run)
    thread.start()
    alice.resume(name)
    thread.join(PATIENCE_S)
    assert got == [b"x"]


def test_a_pause_of_sends_refuses_moves_and_lets_returns_in(alice: Client, name: str) -> None:
    other = f"{name}.b"
    alice.create_queue(name)
    alice.create_queue(other)
    alice.send(name, b"1")
    moved = alice.send(other, b"2")
    message = leased(alice, name)
    alice.pause(name, pulls=False)
    with pytest.raises(broker.Conflict):
        alice.move_message(other, moved.id, name)
    alice.nack(receipt_of(message), dead=True)
    assert alice.retry_dead(name) == 1
    assert bodies(alice, name) == [b"1"]


# --- transactions ----------------------------------------------------------------


def test_a_transaction_into_a_full_queue_does_nothing(alice: Client, name: str) -> None:
    full = f"{name}.b"
    alice.create_queue(name)
    alice.create_queue(full, settings={"max_messages": 1})
    alice.send(name, b"work")
    message = leased(alice, name)
    transaction = alice.transaction()
    transaction.ack(receipt_of(message))
    transaction.send(full, b"1")
    transaction.send(full, b"2")
    with pytest.raises(broker.Full):
        transaction.__exit__(None, None, None)
    assert (counts(alice, name), counts(alice, full)) == ((0, 0, 1, 0), (0, 0, 0, 0))
    alice.ack(receipt_of(message))


def test_what_a_transaction_acknowledges_makes_room_for_what_it_sends(
    alice: Client, name: str
) -> None:
    alice.create_queue(name, settings={"max_messages": 1})
    alice.send(name, b"1")
    message = leased(alice, name)
    with alice.transaction() as transaction:
        transaction.ack(receipt_of(message))
        transaction.send(name, b"2")
    assert bodies(alice, name) == [b"2"]


# --- who goes --------------------------------------------------------------------


def test_the_leases_of_a_deleted_user_run_to_their_end(
    door: Door, boss: Client, alice: Client, name: str
) -> None:
    boss.create_user(name, password=PASSWORD)
    alice.create_queue(name)
    alice.send(name, b"x")
    message = leased(door.client(name), name, lease_ms=500)
    boss.delete_user(name)
    assert counts(alice, name) == (0, 0, 1, 0)
    again = leased(alice, name)
    assert (again.id, again.attempts) == (message.id, 2)


def test_leases_of_a_deleted_queue_are_stale(alice: Client, name: str) -> None:
    alice.create_queue(name)
    alice.send(name, b"x")
    message = leased(alice, name)
    assert alice.delete_queue(name) == 1
    alice.create_queue(name)
    for late in (alice.ack, alice.nack, alice.extend):
        with pytest.raises(broker.Stale):
            late(receipt_of(message))


def test_a_subscription_with_a_consumer_or_a_lease_does_not_idle(door: Door, name: str) -> None:
    alice, bob = door.client("alice"), door.client("bob")
    alice.create_channel(name)
    bob.subscribe(name)
    bob.subscribe(name, as_name="leased")
    bob.publish(name, b"x")
    leased(bob, f"{name}@bob@leased")
    messages = bob.consume(f"{name}@bob", prefetch=1)
    next(messages)
    boss = door.client("boss")
    for queue in (f"{name}@bob", f"{name}@bob@leased"):
        boss.set_queue(queue, {"expire_idle": "100ms"})
    alice.subscribe(name, settings={"expire_idle": "100ms"})
    wait_until(lambda: alice.show_channel(name).subscriptions == 2, "it has come to that")
    time.sleep(0.25)
    assert alice.show_channel(name).subscriptions == 2
    messages.close()


def test_copies_of_one_publication_may_meet_in_a_queue(
    alice: Client, bob: Client, name: str
) -> None:
    alice.create_queue(f"{name}.dead")
    alice.create_channel(name)
    for client in (alice, bob):
        client.subscribe(name, settings={"dead_letter": f"{name}.dead"})
    sent = alice.publish(name, b"x")
    kill(alice, f"{name}@alice")
    kill(bob, f"{name}@bob")
    found = alice.peek(f"{name}.dead", 10)
    assert [peeked.id for peeked in found] == [sent.id, sent.id]
    assert {str(p.died["queue"]) for p in found if p.died} == {f"{name}@alice", f"{name}@bob"}
    alice.delete_message(f"{name}.dead", sent.id)
    assert len(bodies(alice, f"{name}.dead")) == 1
