"""Looking at messages, taking them in hand, batches and transactions: through every door."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest
from deliveries import counts, receipt_of
from doors import Door
from support import PATIENCE_S

import broker
from broker import Client, Message


def leased(client: Client, queue: str, count: int = 1) -> list[Message]:
    """Pull messages that must be there."""
    messages = client.pull_many(queue, count)
    assert len(messages) == count
    return messages


# --- looking ---------------------------------------------------------------------


def test_peeking_touches_nothing(alice: Client, bob: Client, name: str) -> None:
    alice.create_queue(name)
    alice.send(name, b"low", priority=1)
    alice.send(name, b"high", priority=8, headers={"a": "b"}, content_type="text/plain")
    peeked = bob.peek(name, 10)
    assert bob.peek(name, 10) == peeked
    assert [p.body for p in peeked] == [b"high", b"low"]
    first = peeked[0]
    assert (first.state, first.attempts, first.sender) == ("ready", 0, "alice")
    assert (dict(first.headers), first.content_type) == ({"a": "b"}, "text/plain")
    assert leased(alice, name)[0].attempts == 1


def test_every_state_can_be_peeked_at(alice: Client, name: str) -> None:
    alice.create_queue(name)
    alice.send_many(name, [b"leased", b"dead", b"ready"])
    first, second = leased(alice, name, 2)
    alice.nack(receipt_of(second), dead=True, reason="why not")
    alice.send(name, b"delayed", delay_ms=60_000)
    found = {state: alice.peek(name, 10, state=state) for state in broker_states()}
    assert {state: [p.body for p in peeked] for state, peeked in found.items()} == {
        state: [state.encode()] for state in broker_states()
    }
    assert found["leased"][0].leased_by == "alice"
    assert found["leased"][0].leased_until == first.leased_until
    assert found["delayed"][0].delayed_until == found["delayed"][0].sent_at + 60_000
    assert found["dead"][0].reason == "why not"


def broker_states() -> list[str]:
    """Return the four states."""
    return ["ready", "delayed", "leased", "dead"]


def test_a_message_says_where_it_is(alice: Client, bob: Client, boss: Client, name: str) -> None:
    alice.create_channel(name)
    for client in (alice, bob):
        client.subscribe(name)
    sent = alice.publish(name, b"news")
    (message,) = leased(bob, f"{name}@bob")
    (own,) = alice.show_message(sent.id).deliveries
    assert (own["queue"], own["state"]) == (f"{name}@alice", "ready")
    whereabouts = boss.show_message(sent.id)
    assert (whereabouts.body, whereabouts.sender) == (b"news", "alice")
    places = {str(place["queue"]): place for place in whereabouts.deliveries}
    assert places[f"{name}@bob"]["leased_by"] == "bob"
    assert places[f"{name}@bob"]["leased_until"] == message.leased_until
    assert set(places) == {f"{name}@alice", f"{name}@bob"}
    bob.ack(receipt_of(message))
    with pytest.raises(broker.Denied):
        bob.show_message(sent.id)
    with pytest.raises(broker.NotFound):
        alice.show_message(2**60)


# --- taking in hand --------------------------------------------------------------


def test_a_message_is_deleted_in_whatever_state(alice: Client, name: str) -> None:
    alice.create_queue(name)
    ids = alice.send_many(name, [b"leased", b"dead", b"ready"]).ids
    first, second = leased(alice, name, 2)
    alice.nack(receipt_of(second), dead=True)
    delayed = alice.send(name, b"delayed", delay_ms=60_000)
    for message_id in (*ids, delayed.id):
        alice.delete_message(name, message_id)
        with pytest.raises(broker.NotFound):
            alice.delete_message(name, message_id)
    assert counts(alice, name) == (0, 0, 0, 0)
    assert alice.show_queue(name).bytes == 0
    with pytest.raises(broker.Stale):
        alice.ack(receipt_of(first))


def test_one_copy_of_a_publication_is_deleted(alice: Client, bob: Client, name: str) -> None:
    alice.create_channel(name)
    for client in (alice, bob):
        client.subscribe(name)
    sent = alice.publish(name, b"news")
    alice.delete_message(f"{name}@alice", sent.id)
    assert alice.pull_channel(name) is None
    assert leased(bob, f"{name}@bob")[0].id == sent.id


def test_a_release_makes_ready_what_is_leased_or_delayed(door: Door, name: str) -> None:
    alice, bob = door.client("alice"), door.client("bob")
    alice.create_queue(name)
    alice.send(name, b"x", delay_ms=60_000)
    (peeked,) = alice.peek(name, state="delayed")
    found: list[Message | None] = []
    waiting = threading.Thread(target=lambda: found.append(bob.pull(name, wait_ms=30_000)))
    waiting.start()
    alice.release_message(name, peeked.id)
    waiting.join(PATIENCE_S)
    assert found[0] is not None
    alice.release_message(name, peeked.id)
    with pytest.raises(broker.Stale):
        bob.ack(receipt_of(found[0]))
    assert leased(alice, name)[0].attempts == 1
    alice.release_message(name, peeked.id)
    # What is ready already is fine; what is dead is for a retry.
    alice.release_message(name, peeked.id)
    alice.nack(receipt_of(leased(alice, name)[0]), dead=True)
    with pytest.raises(broker.Conflict, match="retry"):
        alice.release_message(name, peeked.id)


@pytest.mark.parametrize("state", ["ready", "delayed", "leased", "dead"])
def test_a_message_is_moved_from_any_state(alice: Client, name: str, state: str) -> None:
    other = f"{name}.other"
    alice.create_queue(name)
    alice.create_queue(other)
    sent = alice.send(name, b"x", delay_ms=60_000 if state == "delayed" else 0)
    if state in ("leased", "dead"):
        (message,) = leased(alice, name)
        if state == "dead":
            alice.nack(receipt_of(message), dead=True)
    alice.move_message(name, sent.id, other)
    assert counts(alice, name) == (0, 0, 0, 0)
    assert counts(alice, other) == (1, 0, 0, 0)
    (moved,) = leased(alice, other)
    assert (moved.id, moved.attempts, moved.queue) == (sent.id, 1, other)
    alice.ack(receipt_of(moved))


def test_a_move_meets_the_rules_of_where_it_goes(alice: Client, bob: Client, name: str) -> None:
    other = f"{name}.other"
    alice.create_queue(name)
    bob.create_queue(other, settings={"max_messages": 1})
    ids = alice.send_many(name, [b"1", b"2"]).ids
    with pytest.raises(broker.Denied):
        bob.move_message(name, ids[0], other)
    alice.move_message(name, ids[0], other)
    with pytest.raises(broker.Full):
        alice.move_message(name, ids[1], other)
    with pytest.raises(broker.Conflict, match="already"):
        alice.move_message(name, ids[1], name)
    with pytest.raises(broker.NotFound):
        alice.move_message(name, ids[1], f"{name}.none")
    assert counts(alice, name) == (1, 0, 0, 0)


def test_only_owner_and_admin_take_messages_in_hand(
    alice: Client, bob: Client, boss: Client, name: str
) -> None:
    alice.create_queue(name)
    sent = alice.send(name, b"x")
    refused: list[Callable[[], None]] = [
        lambda: bob.delete_message(name, sent.id),
        lambda: bob.release_message(name, sent.id),
        lambda: bob.move_message(name, sent.id, name),
    ]
    for call in refused:
        with pytest.raises(broker.Denied):
            call()
    boss.delete_message(name, sent.id)


# --- batches and transactions ----------------------------------------------------


def test_many_sends_are_one_and_come_in_order(alice: Client, name: str) -> None:
    alice.create_queue(name)
    sent = alice.send_many(name, [b"%d" % n for n in range(1000)], priority=6)
    assert len(set(sent.ids)) == 1000
    messages = alice.pull_many(name, 1000)
    assert [m.id for m in messages] == list(sent.ids)
    assert {m.priority for m in messages} == {6}
    with pytest.raises(broker.Invalid):
        alice.send_many(name, [])
    with pytest.raises(broker.Invalid):
        alice.send_many(name, [b""] * 1001)


def test_many_sends_with_a_key_are_stored_once(alice: Client, name: str) -> None:
    alice.create_queue(name)
    first = alice.send_many(name, [b"1", b"2", b"3"], key="k")
    assert not first.duplicate
    assert alice.send_many(name, [b"1", b"2", b"3"], key="k") == (first.ids, True)
    assert alice.send(name, b"1", key="k") == (first.ids[0], True)
    assert counts(alice, name) == (3, 0, 0, 0)


def test_one_body_too_big_refuses_them_all(alice: Client, name: str) -> None:
    alice.create_queue(name)
    with pytest.raises(broker.TooBig):
        alice.send_many(name, [b"fine", b"x" * (1024 * 1024 + 1)])
    assert counts(alice, name) == (0, 0, 0, 0)


def test_acks_and_nacks_of_many_answer_for_each(alice: Client, name: str) -> None:
    alice.create_queue(name)
    alice.send_many(name, [b"1", b"2", b"3"])
    receipts = [receipt_of(message) for message in leased(alice, name, 3)]
    answers = alice.ack_many([receipts[0], receipts[0], receipts[1]])
    assert [getattr(answer, "code", None) for answer in answers] == [None, "STALE", None]
    answers = alice.nack_many([receipts[2], receipts[1]], dead=True)
    assert [getattr(answer, "code", None) for answer in answers] == [None, "STALE"]
    assert counts(alice, name) == (0, 0, 0, 1)


def test_a_transaction_is_done_whole(alice: Client, name: str) -> None:
    other = f"{name}.other"
    alice.create_queue(name)
    alice.create_queue(other)
    alice.create_channel(name)
    alice.subscribe(name)
    alice.send_many(name, [b"1", b"2"])
    first, second = leased(alice, name, 2)
    with alice.transaction() as tx:
        tx.ack(receipt_of(first))
        tx.nack(receipt_of(second), dead=True)
        tx.send(other, b"result", key="k")
        tx.send_many(other, [b"more", b"still"])
        tx.publish(name, b"done")
        # Nothing has happened yet.
        assert counts(alice, other) == (0, 0, 0, 0)
    assert counts(alice, name) == (0, 0, 0, 1)
    assert [p.body for p in alice.peek(other, 5)] == [b"result", b"more", b"still"]
    assert alice.pull_channel(name) is not None
    acked, nacked, sent, many, published = tx.results
    assert (acked, nacked, sent.duplicate, len(many.ids)) == (None, None, False, 2)
    assert published.id > many.ids[-1] > sent.id


def test_a_transaction_that_is_refused_does_nothing(alice: Client, name: str) -> None:
    alice.create_queue(name)
    alice.send(name, b"job")
    (message,) = leased(alice, name)

    def ack_and_send(receipt: str, queue: str) -> None:
        with alice.transaction() as tx:
            tx.send(queue, b"result")
            tx.ack(receipt)

    with pytest.raises(broker.NotFound):
        ack_and_send(receipt_of(message), f"{name}.none")
    assert counts(alice, name) == (0, 0, 1, 0)
    with pytest.raises(broker.Stale):
        ack_and_send(f"{receipt_of(message)}9", name)
    assert counts(alice, name) == (0, 0, 1, 0)
    alice.ack(receipt_of(message))


def test_a_block_that_fails_executes_nothing(alice: Client, name: str) -> None:
    alice.create_queue(name)

    def think_twice() -> None:
        with alice.transaction() as tx:
            tx.send(name, b"x")
            raise ValueError("on second thought")

    with pytest.raises(ValueError, match="on second thought"):
        think_twice()
    assert counts(alice, name) == (0, 0, 0, 0)


def test_what_has_no_place_in_a_transaction_is_refused_at_once(alice: Client, name: str) -> None:
    alice.create_queue(name)
    tx = alice.transaction()
    with pytest.raises(broker.Invalid, match="cannot be part"):
        tx.pull(name)
    with pytest.raises(broker.Invalid):
        tx.send(name, b"x", priority=12)


# --- consuming -------------------------------------------------------------------


def test_a_consumer_gets_what_waits_and_what_comes(door: Door, name: str) -> None:
    alice, bob = door.client("alice"), door.client("bob")
    alice.create_queue(name)
    alice.send_many(name, [b"1", b"2"])
    got = []
    for message in alice.consume(name, prefetch=1, wait_ms=20_000):
        got.append((message.body, message.attempts, message.receipt is not None))
        message.ack()
        if len(got) == 2:
            bob.send(name, b"3")
        if len(got) == 3:
            break
    assert got == [(b"1", 1, True), (b"2", 1, True), (b"3", 1, True)]
    assert counts(alice, name) == (0, 0, 0, 0)


def test_a_consumer_ends_when_nothing_comes(alice: Client, name: str) -> None:
    alice.create_queue(name)
    assert list(alice.consume(name, wait_ms=50)) == []


def test_no_more_is_fetched_than_asked_for(door: Door, name: str) -> None:
    alice = door.client()
    alice.create_queue(name)
    alice.send_many(name, [b"x"] * 10)
    messages = alice.consume(name, prefetch=3)
    first = next(messages)
    assert counts(door.client("bob"), name) == (7, 0, 3, 0)
    first.nack(dead=True, reason="no")
    second = next(messages)
    second.ack()
    third = next(messages)
    third.nack(delay_ms=60_000)
    next(messages).ack()
    messages.close()
    settled = door.client("bob").show_queue(name)
    assert (settled.dead, settled.delayed) == (1, 1)


def test_what_was_fetched_ahead_goes_back_uncounted(door: Door, name: str) -> None:
    alice, bob = door.client("alice"), door.client("bob")
    alice.create_queue(name)
    alice.send_many(name, [b"1", b"2", b"3"])
    for message in alice.consume(name, prefetch=3):
        assert message.body == b"1"
        break
    found = [bob.pull(name, wait_ms=30_000) for _ in range(3)]
    # Only what was handed out and not answered was an attempt.
    assert [(m.body, m.attempts) for m in found if m is not None] == [
        (b"1", 2), (b"2", 1), (b"3", 1),
    ]  # fmt: skip


def test_two_consumers_share_a_queue(door: Door, name: str) -> None:
    alice, bob = door.client("alice"), door.client("bob")
    alice.create_queue(name)
    got: dict[str, list[bytes]] = {"alice": [], "bob": []}
    both = threading.Barrier(2)

    def run(client: Client, who: str) -> None:
        messages = client.consume(name, prefetch=1, wait_ms=20_000)
        for message in messages:
            got[who].append(message.body)
            if len(got[who]) == 1:
                # Neither goes on before both have one.
                both.wait(PATIENCE_S)
            message.ack()
            if message.body == b"last":
                break

    threads = [
        threading.Thread(target=run, args=(c, w)) for c, w in ((alice, "alice"), (bob, "bob"))
    ]
    for thread in threads:
        thread.start()
    sender = door.client("boss")
    sender.send_many(name, [b"%d" % n for n in range(20)])
    sender.send_many(name, [b"last", b"last"], priority=0)
    for thread in threads:
        thread.join(PATIENCE_S)
    assert sorted(got["alice"] + got["bob"]) == sorted(
        [b"%d" % n for n in range(20)] + [b"last"] * 2
    )


def test_a_missing_queue_and_anothers_subscription_are_not_consumed(
    alice: Client, bob: Client, name: str
) -> None:
    alice.create_channel(name)
    alice.subscribe(name)
    with pytest.raises(broker.NotFound):
        next(iter(alice.consume(f"{name}.none")))
    with pytest.raises(broker.Denied):
        next(iter(bob.consume(f"{name}@alice")))
    with pytest.raises(broker.Invalid):
        next(iter(alice.consume(name, prefetch=0)))


def test_a_consumer_of_a_deleted_queue_is_told(door: Door, name: str) -> None:
    alice, bob = door.client("alice"), door.client("bob")
    alice.create_queue(name)
    errors: list[str] = []

    def run() -> None:
        try:
            list(bob.consume(name, wait_ms=30_000))
        except broker.NotFound as error:
            errors.append(error.code)

    thread = threading.Thread(target=run)
    thread.start()
    alice.delete_queue(name)
    thread.join(PATIENCE_S)
    assert errors == ["NOTFOUND"]
