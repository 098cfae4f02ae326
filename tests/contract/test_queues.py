"""Queues, sends and pulls: the same through every door."""

from __future__ import annotations

import threading
import time

import pytest
from doors import Door

import broker
from broker import Client, names


def test_a_created_queue_is_listed_with_its_owner(alice: Client, bob: Client, name: str) -> None:
    alice.create_queue(name)
    found = {queue.name: queue for queue in bob.list_queues()}
    assert found[name].owner == "alice"
    assert name in {queue.name for queue in alice.list_queues(mine=True)}
    assert name not in {queue.name for queue in bob.list_queues(mine=True)}


def test_a_taken_name_is_refused_unless_missing_was_meant(alice: Client, name: str) -> None:
    alice.create_queue(name)
    with pytest.raises(broker.Exists):
        alice.create_queue(name)
    alice.create_queue(name, if_missing=True)


@pytest.mark.parametrize("bad", ["", "-x", "a b", "a@b", "ä", "x" * 129, "a/b", "a\n"])
def test_a_bad_name_is_invalid(alice: Client, bad: str) -> None:
    with pytest.raises(broker.Invalid):
        alice.create_queue(bad)


def test_the_longest_name_and_every_allowed_character_will_do(alice: Client, name: str) -> None:
    longest = (name + ".AZaz09_:-" * 13)[: names.MAX_NAME_LENGTH]
    alice.create_queue(longest)
    assert alice.show_queue(longest).name == longest


def test_only_the_owner_or_an_admin_deletes(
    alice: Client, bob: Client, boss: Client, name: str
) -> None:
    alice.create_queue(name)
    with pytest.raises(broker.Denied):
        bob.delete_queue(name)
    assert alice.delete_queue(name) == 0
    alice.create_queue(name)
    assert boss.delete_queue(name) == 0
    with pytest.raises(broker.NotFound):
        alice.delete_queue(name)
    assert alice.delete_queue(name, if_exists=True) == 0


def test_deleting_answers_how_many_messages_went(alice: Client, name: str) -> None:
    alice.create_queue(name)
    for body in (b"a", b"b", b"c"):
        alice.send(name, body)
    alice.pull(name)
    with pytest.raises(broker.Conflict):
        alice.delete_queue(name, if_empty=True)
    assert alice.delete_queue(name) == 3
    alice.create_queue(name)
    assert alice.pull(name) is None


def test_messages_come_first_in_first_out(alice: Client, bob: Client, name: str) -> None:
    alice.create_queue(name)
    bodies = [b"%d" % n for n in range(20)]
    for body in bodies:
        alice.send(name, body)
    pulled = [bob.pull(name) for _ in bodies]
    assert [m.body for m in pulled if m] == bodies
    assert bob.pull(name) is None


def test_a_message_tells_all_about_itself(alice: Client, bob: Client, name: str) -> None:
    alice.create_queue(name)
    sent = alice.send(
        name, b"{}", priority=7, content_type="application/json", headers={"größe": "ß", "a": ""}
    )
    before = time.time_ns() // 1_000_000
    message = bob.pull(name, lease_ms=5000)
    assert message is not None
    assert message.id == sent.id
    assert message.queue == name
    assert message.body == b"{}"
    assert message.content_type == "application/json"
    assert dict(message.headers) == {"größe": "ß", "a": ""}
    assert message.sender == "alice"
    assert abs(message.sent_at - before) < 60_000
    assert (message.attempts, message.priority) == (1, 7)
    assert message.leased_until is not None
    assert message.leased_until >= before + 4000


@pytest.mark.parametrize(
    "body", [b"", b"\0\r\n\xff" * 100, b"x" * names.DEFAULT_MAX_MESSAGE_BYTES], ids=len
)
def test_any_body_up_to_the_limit_comes_back_unchanged(
    alice: Client, name: str, body: bytes
) -> None:
    alice.create_queue(name)
    alice.send(name, body)
    message = alice.pull(name)
    assert message is not None
    assert message.body == body


def test_a_body_over_the_limit_is_too_big_and_the_client_goes_on(alice: Client, name: str) -> None:
    alice.create_queue(name)
    with pytest.raises(broker.TooBig):
        alice.send(name, b"x" * (names.DEFAULT_MAX_MESSAGE_BYTES + 1))
    alice.send(name, b"fits")
    assert alice.show_queue(name).ready == 1


def test_what_is_missing_is_not_found(alice: Client, name: str) -> None:
    for call in (
        lambda: alice.send(name, b""),
        lambda: alice.pull(name),
        lambda: alice.show_queue(name),
        lambda: alice.pull(name, wait_ms=60_000),
    ):
        with pytest.raises(broker.NotFound):
            call()


def test_higher_priority_comes_first(alice: Client, name: str) -> None:
    alice.create_queue(name)
    for priority in (0, 9, 4, 9):
        alice.send(name, b"%d" % priority, priority=priority)
    assert [m.body for m in alice.pull_many(name, 10)] == [b"9", b"9", b"4", b"0"]


@pytest.mark.parametrize("priority", [-1, 10])
def test_a_priority_out_of_range_is_invalid(alice: Client, name: str, priority: int) -> None:
    alice.create_queue(name)
    with pytest.raises(broker.Invalid, match="0 to 9"):
        alice.send(name, b"", priority=priority)


def test_a_negative_delay_is_invalid(alice: Client, name: str) -> None:
    alice.create_queue(name)
    with pytest.raises(broker.Invalid):
        alice.send(name, b"", delay_ms=-1)


def test_a_delayed_message_comes_when_it_is_due_and_not_before(alice: Client, name: str) -> None:
    alice.create_queue(name)
    sent_at = time.monotonic()
    alice.send(name, b"later", delay_ms=300)
    assert alice.pull(name) is None
    assert alice.show_queue(name).delayed == 1
    message = alice.pull(name, wait_ms=60_000)
    assert message is not None
    assert time.monotonic() - sent_at >= 0.299


def test_pulling_many_brings_at_most_so_many(alice: Client, name: str) -> None:
    alice.create_queue(name)
    for n in range(5):
        alice.send(name, b"%d" % n)
    assert [m.body for m in alice.pull_many(name, 3)] == [b"0", b"1", b"2"]
    assert [m.body for m in alice.pull_many(name, 3)] == [b"3", b"4"]
    assert alice.pull_many(name, 3) == []


def test_no_ack_is_a_plain_pop(alice: Client, name: str) -> None:
    alice.create_queue(name)
    alice.send(name, b"once")
    message = alice.pull(name, no_ack=True)
    assert message is not None
    assert message.receipt is None
    assert message.leased_until is None
    shown = alice.show_queue(name)
    assert (shown.ready, shown.leased, shown.bytes) == (0, 0, 0)


def test_a_waiting_pull_is_woken_by_a_send(door: Door, name: str) -> None:
    alice, bob = door.client("alice"), door.client("bob")
    alice.create_queue(name)
    found: list[object] = []
    waiting = threading.Thread(target=lambda: found.append(bob.pull(name, wait_ms=60_000)))
    waiting.start()
    sent = alice.send(name, b"wake up")
    waiting.join(30)
    assert not waiting.is_alive()
    assert found[0].id == sent.id  # type: ignore[attr-defined]


def test_a_waiting_pull_gets_what_a_lease_gives_back(door: Door, name: str) -> None:
    alice, bob = door.client("alice"), door.client("bob")
    alice.create_queue(name)
    alice.send(name, b"again")
    first = alice.pull(name, lease_ms=200)
    second = bob.pull(name, wait_ms=60_000)
    assert first is not None
    assert second is not None
    assert (second.id, second.attempts) == (first.id, 2)


def test_a_pull_that_waits_in_vain_answers_nothing(alice: Client, name: str) -> None:
    alice.create_queue(name)
    began = time.monotonic()
    assert alice.pull(name, wait_ms=150) is None
    assert time.monotonic() - began >= 0.149


def test_a_send_with_a_key_is_stored_once(alice: Client, bob: Client, name: str) -> None:
    alice.create_queue(name)
    first = alice.send(name, b"a", key="k")
    assert not first.duplicate
    assert bob.send(name, b"b", key="k") == (first.id, True)
    assert alice.send(name, b"c", key="other").id != first.id
    # The key outlives the message.
    assert [m.body for m in alice.pull_many(name, 10, no_ack=True)] == [b"a", b"c"]
    assert alice.send(name, b"d", key="k") == (first.id, True)
    assert alice.pull(name) is None


def test_a_key_belongs_to_its_queue_and_time(alice: Client, name: str) -> None:
    alice.create_queue(name)
    alice.create_queue(f"{name}.other")
    first = alice.send(name, b"a", key="k", key_ttl_ms=1)
    assert alice.send(f"{name}.other", b"a", key="k").duplicate is False
    assert alice.pull(name, no_ack=True) is not None
    assert alice.pull(name, wait_ms=20) is None
    second = alice.send(name, b"a", key="k")
    assert second.duplicate is False
    assert second.id > first.id


def test_counts_follow_the_states(alice: Client, name: str) -> None:
    alice.create_queue(name)
    for _ in range(4):
        alice.send(name, b"12345")
    alice.send(name, b"123", delay_ms=60_000)
    alice.pull(name)
    alice.pull(name, no_ack=True)
    shown = alice.show_queue(name)
    assert (shown.ready, shown.delayed, shown.leased, shown.dead) == (2, 1, 1, 0)
    assert shown.bytes == 3 * 5 + 3
    assert shown.oldest_ready_ms is not None
    assert shown.oldest_ready_ms >= 0
