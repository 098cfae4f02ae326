"""Lifetimes, limits, pauses and purges: the same through every door."""

from __future__ import annotations

import threading
import time
from datetime import UTC, datetime, timedelta

import pytest
from deliveries import bodies
from doors import Door
from support import PATIENCE_S

import broker
from broker import Client


def until(condition: object, client: Client, queue: str) -> None:
    """Wait until a queue shows what a condition wants; looking is all that is done."""
    assert callable(condition)
    deadline = time.monotonic() + PATIENCE_S
    while not condition(client.show_queue(queue)):
        assert time.monotonic() < deadline
        time.sleep(0.005)


# --- times -----------------------------------------------------------------------


def test_a_message_is_not_delivered_before_its_time(alice: Client, name: str) -> None:
    alice.create_queue(name)
    at = datetime.now(UTC) + timedelta(milliseconds=300)
    alice.send(name, b"later", at=at)
    assert alice.pull(name) is None
    message = alice.pull(name, wait_ms=30_000)
    assert message is not None
    assert datetime.now(UTC) >= at


def test_a_time_that_is_over_is_now(alice: Client, name: str) -> None:
    alice.create_queue(name)
    alice.send(name, b"x", at=datetime(2000, 1, 1, tzinfo=UTC))
    assert alice.show_queue(name).ready == 1


def test_a_time_without_a_zone_and_two_times_are_refused(alice: Client, name: str) -> None:
    alice.create_queue(name)
    with pytest.raises(broker.Invalid, match="zone"):
        alice.send(name, b"x", at=datetime(2030, 1, 1))  # noqa: DTZ001
    with pytest.raises(broker.Invalid, match="exclude"):
        alice.send(name, b"x", at=datetime(2030, 1, 1, tzinfo=UTC), delay_ms=5)
    with pytest.raises(broker.Invalid, match="never comes"):
        alice.send(name, b"x", at=datetime(2130, 1, 1, tzinfo=UTC), ttl_ms=1000)
    assert alice.show_queue(name).ready == 0


def test_what_has_expired_is_not_delivered_and_goes_by_itself(alice: Client, name: str) -> None:
    alice.create_queue(name)
    alice.send_many(name, [b"short", b"lived"], ttl_ms=30)
    alice.send(name, b"stays")
    alice.send(name, b"delayed", delay_ms=20, ttl_ms=40)
    until(lambda shown: shown.dropped == 3, alice, name)
    assert bodies(alice, name) == [b"stays"]
    shown = alice.show_queue(name)
    assert (shown.ready, shown.delayed, shown.bytes) == (1, 0, 5)


def test_the_shorter_of_two_lifetimes_counts(alice: Client, name: str) -> None:
    alice.create_queue(name, settings={"ttl": "1h"})
    alice.send(name, b"own", ttl_ms=60_000)
    alice.send(name, b"queue's", ttl_ms=2 * 3_600_000)
    alice.send(name, b"none")
    alice.set_queue(name, {"ttl": ""})
    alice.send(name, b"for ever")
    lives = [
        None if peeked.expires_at is None else peeked.expires_at - peeked.sent_at
        for peeked in alice.peek(name, 10)
    ]
    assert lives == [60_000, 3_600_000, 3_600_000, None]


def test_a_delay_beyond_the_queues_lifetime_is_refused(alice: Client, name: str) -> None:
    alice.create_queue(name, settings={"ttl": "1h"})
    with pytest.raises(broker.Invalid, match="lives for 1h"):
        alice.send(name, b"x", delay_ms=3_600_000)
    with pytest.raises(broker.Invalid, match="lives for 1h"):
        alice.send_many(name, [b"x"], at=datetime.now(UTC) + timedelta(hours=2), ttl_ms=86_400_000)
    alice.send(name, b"x", delay_ms=3_599_000)
    assert alice.show_queue(name).delayed == 1


def test_a_lease_in_progress_outlives_the_message(alice: Client, name: str) -> None:
    alice.create_queue(name)
    alice.send(name, b"x", ttl_ms=60)
    message = alice.pull(name, lease_ms=30_000)
    assert message is not None
    assert message.receipt is not None
    time.sleep(0.08)
    alice.extend(message.receipt)
    alice.ack(message.receipt)
    assert alice.show_queue(name).dropped == 0


def test_given_back_too_late_it_expires(alice: Client, name: str) -> None:
    alice.create_queue(name)
    alice.send(name, b"x", ttl_ms=60)
    message = alice.pull(name, lease_ms=30_000)
    assert message is not None
    assert message.receipt is not None
    time.sleep(0.08)
    alice.nack(message.receipt)
    assert alice.pull(name) is None
    until(lambda shown: shown.dropped == 1, alice, name)


def test_expired_messages_may_die_instead(alice: Client, name: str) -> None:
    alice.create_queue(name, settings={"ttl": "20ms", "on_expire": "dead"})
    alice.send(name, b"x")
    until(lambda shown: shown.dead == 1, alice, name)
    (dead,) = alice.list_dead(name)
    assert (dead.reason, dead.attempts) == ("expired", 0)
    # Once it has died it lives for ever.
    assert alice.retry_dead(name) == 1
    time.sleep(0.03)
    assert bodies(alice, name) == [b"x"]


@pytest.mark.parametrize("ending", ["by itself", "nack"])
def test_what_outlives_its_life_in_a_lease_goes_by_itself_after_it(
    door: Door, name: str, ending: str
) -> None:
    """Somebody waits for the dead, and nobody asks for anything else."""
    alice, bob = door.client("alice"), door.client("bob")
    morgue = f"{name}.morgue"
    alice.create_queue(morgue)
    alice.create_queue(name, settings={"ttl": "50ms", "on_expire": "dead", "dead_letter": morgue})
    alice.send(name, b"old")
    message = alice.pull(name, lease_ms=200 if ending == "by itself" else 60_000)
    assert message is not None
    assert message.receipt is not None
    if ending == "nack":
        time.sleep(0.4)  # its life is over, and what looks for that has looked
        alice.nack(message.receipt)
    died = bob.pull(morgue, wait_ms=20_000)
    assert died is not None
    assert died.body == b"old"
    assert died.died is not None
    assert died.died["reason"] == "expired"


def test_expired_messages_may_go_to_a_dead_letter_queue(door: Door, name: str) -> None:
    alice = door.client()
    morgue = f"{name}.dead"
    alice.create_queue(morgue)
    alice.create_queue(name, settings={"ttl": "50ms", "on_expire": "dead", "dead_letter": morgue})
    alice.send(name, b"x")
    until(lambda shown: shown.ready == 1, alice, morgue)
    message = alice.pull(morgue)
    assert message is not None
    assert message.died is not None
    assert message.died["reason"] == "expired"


# --- limits ----------------------------------------------------------------------


def test_a_full_queue_refuses_until_there_is_room(alice: Client, name: str) -> None:
    alice.create_queue(name, settings={"max_messages": 2})
    alice.send_many(name, [b"1", b"2"])
    with pytest.raises(broker.Full, match="2 messages") as caught:
        alice.send(name, b"3")
    assert caught.value.retryable
    message = alice.pull(name)
    assert message is not None
    assert message.receipt is not None
    # What is leased is still in it.
    with pytest.raises(broker.Full):
        alice.send(name, b"3")
    alice.ack(message.receipt)
    alice.send(name, b"3")


def test_a_queue_full_of_bytes_refuses_what_does_not_fit(alice: Client, name: str) -> None:
    alice.create_queue(name, settings={"max_bytes": 10})
    alice.send(name, b"12345678")
    with pytest.raises(broker.Full):
        alice.send(name, b"123")
    alice.send(name, b"12")
    with pytest.raises(broker.TooBig, match="holds 10 in all"):
        alice.send(name, b"12345678901")


def test_a_batch_that_does_not_fit_is_refused_whole(alice: Client, name: str) -> None:
    alice.create_queue(name, settings={"max_messages": 2})
    with pytest.raises(broker.Full):
        alice.send_many(name, [b"1", b"2", b"3"])
    assert alice.show_queue(name).ready == 0


def test_a_full_queue_may_drop_its_lowest_and_oldest(alice: Client, name: str) -> None:
    alice.create_queue(name, settings={"max_messages": 3, "on_full": "drop-oldest"})
    alice.send(name, b"high", priority=9)
    alice.send_many(name, [b"1", b"2", b"3", b"4"])
    assert bodies(alice, name) == [b"high", b"3", b"4"]
    assert alice.show_queue(name).dropped == 2
    # Only what is ready goes; with nothing ready it refuses.
    assert len(alice.pull_many(name, 3)) == 3
    with pytest.raises(broker.Full):
        alice.send(name, b"5")


def test_bytes_make_room_too(alice: Client, name: str) -> None:
    alice.create_queue(name, settings={"max_bytes": 10, "on_full": "drop-oldest"})
    for body in (b"aaa", b"bbb", b"ccc"):
        alice.send(name, body)
    alice.send(name, b"dddddd")
    assert bodies(alice, name) == [b"ccc", b"dddddd"]
    shown = alice.show_queue(name)
    assert (shown.dropped, shown.bytes) == (2, 9)


def test_what_has_expired_fills_nothing(alice: Client, name: str) -> None:
    alice.create_queue(name, settings={"max_messages": 1})
    alice.send(name, b"old", ttl_ms=20)
    time.sleep(0.03)
    alice.send(name, b"new")
    assert bodies(alice, name) == [b"new"]


def test_a_full_subscription_fails_no_other(alice: Client, bob: Client, name: str) -> None:
    alice.create_channel(name)
    alice.subscribe(name, settings={"max_messages": 1})
    bob.subscribe(name)
    bob.subscribe(name, as_name="ring", settings={"max_messages": 1, "on_full": "drop-oldest"})
    bob.subscribe(name, as_name="brief", settings={"ttl": "1h"})
    first = alice.publish(name, b"1")
    second = alice.publish(name, b"2", ttl_ms=7_200_000)
    assert second.id > first.id
    assert bodies(alice, f"{name}@alice") == [b"1"]
    assert bodies(bob, f"{name}@bob") == [b"1", b"2"]
    assert bodies(bob, f"{name}@bob@ring") == [b"2"]
    lives = [p.expires_at - p.sent_at for p in bob.peek(f"{name}@bob@brief", 5) if p.expires_at]
    assert lives == [3_600_000, 3_600_000]
    (unlimited,) = bob.peek(f"{name}@bob", 2)[1:]
    assert unlimited.expires_at == unlimited.sent_at + 7_200_000
    assert alice.show_queue(f"{name}@alice").dropped == 1
    assert bob.show_queue(f"{name}@bob@ring").dropped == 1
    assert bob.show_queue(f"{name}@bob").dropped == 0


def test_a_publication_nobody_takes_is_no_error(alice: Client, name: str) -> None:
    alice.create_channel(name)
    alice.subscribe(name, settings={"max_messages": 1})
    alice.publish(name, b"1")
    sent = alice.publish(name, b"2", key="k")
    assert alice.publish(name, b"2", key="k") == (sent.id, True)
    with pytest.raises(broker.NotFound):
        alice.show_message(sent.id)


def test_a_forgotten_subscription_ends(alice: Client, bob: Client, name: str) -> None:
    alice.create_channel(name)
    alice.subscribe(name)
    bob.subscribe(name, as_name="ci", settings={"expire_idle": "200ms"})
    assert bob.show_queue(f"{name}@bob@ci").expire_idle == "200ms"
    alice.publish(name, b"1")
    deadline = time.monotonic() + PATIENCE_S
    while alice.show_channel(name).subscriptions == 2:
        assert time.monotonic() < deadline
        # Any command will do where no server runs; none of these is a use of it.
        alice.show_channel(name)
        time.sleep(0.01)
    with pytest.raises(broker.NotFound):
        bob.pull_channel(name, as_name="ci")


def test_a_subscription_in_use_does_not_end(alice: Client, bob: Client, name: str) -> None:
    alice.create_channel(name)
    bob.subscribe(name, as_name="ci", settings={"expire_idle": "300ms"})
    deadline = time.monotonic() + 0.9
    while time.monotonic() < deadline:
        assert bob.pull_channel(name, as_name="ci") is None
        time.sleep(0.02)
    assert alice.show_channel(name).subscriptions == 1


def test_a_queue_does_not_end_by_itself(alice: Client, name: str) -> None:
    alice.create_queue(name)
    with pytest.raises(broker.Invalid, match="for subscriptions"):
        alice.set_queue(name, {"expire_idle": "1h"})


# --- settings, pauses, purges ----------------------------------------------------


def test_settings_are_shown_as_they_are_written(alice: Client, name: str) -> None:
    alice.create_queue(name, settings={"ttl": "90s", "max_bytes": "64K", "backoff": "500ms,2,1m"})
    shown = alice.show_queue(name)
    assert (shown.ttl, shown.max_bytes, shown.backoff) == ("90s", 65_536, "500ms,2,1m")
    assert (shown.max_attempts, shown.dead_letter, shown.expire_idle) == (5, None, None)
    alice.set_queue(name, {"max_attempts": 0, "ttl": "", "backoff": ""})
    shown = alice.show_queue(name)
    assert (shown.max_attempts, shown.ttl, shown.backoff) == (0, None, None)
    assert shown.max_bytes == 65_536


def test_an_existing_queue_keeps_its_settings(alice: Client, name: str) -> None:
    alice.create_queue(name, settings={"max_attempts": 3})
    alice.create_queue(name, settings={"max_attempts": 9}, if_missing=True)
    assert alice.show_queue(name).max_attempts == 3


def test_only_owner_and_admin_change_a_queue(
    alice: Client, bob: Client, boss: Client, name: str
) -> None:
    alice.create_queue(name)
    alice.send(name, b"x")
    for refused in (
        lambda: bob.set_queue(name, {"ttl": "1s"}),
        lambda: bob.purge(name),
        lambda: bob.pause(name),
        lambda: bob.resume(name),
    ):
        with pytest.raises(broker.Denied):
            refused()
    boss.set_queue(name, {"ttl": "1h"})
    assert boss.purge(name) == 1


def test_a_pause_of_sends_refuses_them_and_lets_pulls_go_on(alice: Client, name: str) -> None:
    alice.create_queue(name)
    alice.send(name, b"1")
    alice.pause(name, pulls=False)
    assert alice.show_queue(name).paused == "sends"
    with pytest.raises(broker.Conflict, match="paused"):
        alice.send(name, b"2")
    assert alice.pull(name, no_ack=True) is not None
    alice.resume(name)
    assert alice.show_queue(name).paused is None
    alice.send(name, b"2")


def test_a_pause_of_pulls_lets_them_find_nothing_and_wait(door: Door, name: str) -> None:
    alice, bob = door.client("alice"), door.client("bob")
    alice.create_queue(name)
    alice.pause(name, sends=False)
    alice.send(name, b"x")
    assert alice.pull(name) is None
    found: list[object] = []
    waiting = threading.Thread(target=lambda: found.append(bob.pull(name, wait_ms=30_000)))
    waiting.start()
    assert bodies(alice, name) == [b"x"]
    alice.resume(name, sends=False)
    waiting.join(PATIENCE_S)
    assert getattr(found[0], "body", None) == b"x"


def test_a_paused_subscription_misses_what_is_published(alice: Client, name: str) -> None:
    alice.create_channel(name)
    alice.subscribe(name)
    alice.pause(f"{name}@alice", pulls=False)
    alice.publish(name, b"missed")
    alice.resume(f"{name}@alice")
    alice.publish(name, b"got")
    assert bodies(alice, f"{name}@alice") == [b"got"]


def test_a_purge_takes_what_is_ready_or_delayed_alone(alice: Client, name: str) -> None:
    alice.create_queue(name)
    alice.send_many(name, [b"leased", b"dead", b"ready"])
    messages = alice.pull_many(name, 2)
    assert messages[1].receipt is not None
    alice.nack(messages[1].receipt, dead=True)
    alice.send_many(name, [b"x"] * 1000)
    alice.send_many(name, [b"later"] * 300, delay_ms=60_000)
    assert alice.purge(name) == 1301
    shown = alice.show_queue(name)
    assert (shown.ready, shown.delayed, shown.leased, shown.dead) == (0, 0, 1, 1)
    assert shown.bytes == len(b"leased" + b"dead")
    assert messages[0].receipt is not None
    alice.ack(messages[0].receipt)
    # A key outlives the message it was sent with.
    sent = alice.send(name, b"once", key="k")
    assert alice.purge(name) == 1
    assert alice.send(name, b"once", key="k") == (sent.id, True)


def test_the_oldest_ready_is_found_behind_what_is_more_urgent(alice: Client, name: str) -> None:
    alice.create_queue(name)
    alice.send(name, b"old", priority=0)
    time.sleep(0.15)
    alice.send_many(name, [b"new"] * 200, priority=9)
    age = alice.show_queue(name).oldest_ready_ms
    assert age is not None
    assert age >= 150
