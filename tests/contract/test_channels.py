"""Channels and subscriptions: the same through every door."""

from __future__ import annotations

import threading

import pytest
from doors import Door

import broker
from broker import Client


def test_what_is_published_reaches_every_subscription(
    alice: Client, bob: Client, name: str
) -> None:
    alice.create_channel(name)
    alice.subscribe(name)
    bob.subscribe(name)
    sent = alice.publish(name, b"news", headers={"a": "b"})
    for client in (alice, bob):
        message = client.pull_channel(name)
        assert message is not None
        assert (message.id, message.body, dict(message.headers)) == (sent.id, b"news", {"a": "b"})
        assert message.receipt is not None
        client.ack(message.receipt)
        assert client.pull_channel(name) is None


def test_a_subscriber_gets_only_what_came_after(alice: Client, bob: Client, name: str) -> None:
    alice.create_channel(name)
    alice.subscribe(name)
    alice.publish(name, b"before")
    bob.subscribe(name)
    alice.publish(name, b"after")
    assert [m.body for m in bob.pull_channel_many(name, 10)] == [b"after"]
    assert [m.body for m in alice.pull_channel_many(name, 10)] == [b"before", b"after"]


def test_subscribing_twice_keeps_what_waits(alice: Client, name: str) -> None:
    alice.create_channel(name)
    alice.subscribe(name)
    alice.publish(name, b"kept")
    alice.subscribe(name)
    assert alice.show_channel(name).subscriptions == 1
    assert [m.body for m in alice.pull_channel_many(name, 10)] == [b"kept"]


def test_publishing_needs_a_subscription_also_for_owner_and_admin(
    alice: Client, bob: Client, boss: Client, name: str
) -> None:
    alice.create_channel(name)
    for client in (alice, bob, boss):
        with pytest.raises(broker.Denied):
            client.publish(name, b"x")


def test_anyone_publishes_where_the_channel_says_so(alice: Client, bob: Client, name: str) -> None:
    alice.create_channel(name, publish="anyone")
    alice.subscribe(name)
    bob.publish(name, b"from outside")
    with pytest.raises(broker.Denied):
        bob.set_channel(name, publish="subscribers")
    alice.set_channel(name, publish="subscribers")
    with pytest.raises(broker.Denied):
        bob.publish(name, b"no more")
    assert [m.body for m in alice.pull_channel_many(name, 10)] == [b"from outside"]
    assert alice.show_channel(name).publish == "subscribers"


def test_an_unknown_setting_value_is_invalid(alice: Client, name: str) -> None:
    with pytest.raises(broker.Invalid, match="subscribers, anyone"):
        alice.create_channel(name, publish="nobody")


def test_pulling_without_a_subscription_is_not_found(alice: Client, name: str) -> None:
    with pytest.raises(broker.NotFound, match="no channel"):
        alice.pull_channel(name)
    alice.create_channel(name)
    with pytest.raises(broker.NotFound, match="not subscribed"):
        alice.pull_channel(name)
    with pytest.raises(broker.NotFound, match="not subscribed"):
        alice.unsubscribe(name)


def test_the_lists_tell_mine_and_subscribed_apart(alice: Client, bob: Client, name: str) -> None:
    alice.create_channel(name)
    bob.create_channel(f"{name}.bobs")
    bob.subscribe(name)

    def names(client: Client, **options: bool) -> set[str]:
        found = {channel.name for channel in client.list_channels(**options)}
        return found & {name, f"{name}.bobs"}

    assert names(alice) == names(bob) == {name, f"{name}.bobs"}
    assert names(alice, mine=True) == {name}
    assert names(bob, mine=True) == {f"{name}.bobs"}
    assert names(bob, subscribed=True) == {name}
    assert names(alice, subscribed=True) == set()
    owners = {channel.name: channel.owner for channel in alice.list_channels()}
    assert owners[f"{name}.bobs"] == "bob"


def test_only_the_owner_or_an_admin_deletes(
    alice: Client, bob: Client, boss: Client, name: str
) -> None:
    alice.create_channel(name)
    with pytest.raises(broker.Denied):
        bob.delete_channel(name)
    bob.subscribe(name)
    bob.publish(name, b"x")
    assert boss.delete_channel(name) == 1
    with pytest.raises(broker.NotFound):
        bob.pull_channel(name)
    with pytest.raises(broker.NotFound):
        alice.delete_channel(name)
    assert alice.delete_channel(name, if_exists=True) == 0


def test_a_deleted_channel_leaves_no_subscription_to_its_successor(
    alice: Client, name: str
) -> None:
    alice.create_channel(name)
    alice.subscribe(name)
    alice.publish(name, b"old")
    alice.delete_channel(name)
    alice.create_channel(name)
    with pytest.raises(broker.NotFound, match="not subscribed"):
        alice.pull_channel(name)


def test_unsubscribing_answers_what_waited(alice: Client, name: str) -> None:
    alice.create_channel(name)
    alice.subscribe(name)
    alice.publish(name, b"a")
    alice.publish(name, b"b")
    assert alice.unsubscribe(name) == 2
    assert alice.show_channel(name).subscriptions == 0
    alice.subscribe(name)
    assert alice.pull_channel(name) is None


def test_the_queue_of_a_subscription_is_hidden_and_its_users_own(
    alice: Client, bob: Client, boss: Client, name: str
) -> None:
    alice.create_channel(name)
    alice.subscribe(name)
    alice.publish(name, b"private")
    queue = f"{name}@alice"
    assert queue not in {q.name for q in alice.list_queues()}
    assert alice.show_queue(queue).ready == 1
    for call in (lambda: bob.pull(queue), lambda: bob.show_queue(queue)):
        with pytest.raises(broker.Denied):
            call()
    for client in (alice, boss):
        with pytest.raises(broker.Denied):
            client.send(queue, b"forged")
        with pytest.raises(broker.Conflict):
            client.delete_queue(queue)
    message = boss.pull(queue)
    assert message is not None
    assert message.receipt is not None
    with pytest.raises(broker.Denied):
        bob.ack(message.receipt)
    alice.ack(message.receipt)


def test_a_named_subscription_is_a_second_one(alice: Client, name: str) -> None:
    alice.create_channel(name)
    alice.subscribe(name)
    alice.subscribe(name, as_name="ci")
    alice.publish(name, b"both")
    assert [m.body for m in alice.pull_channel_many(name, 9, as_name="ci")] == [b"both"]
    assert [m.body for m in alice.pull_channel_many(name, 9)] == [b"both"]
    assert alice.show_queue(f"{name}@alice@ci").leased == 1
    assert alice.unsubscribe(name, as_name="ci") == 1
    with pytest.raises(broker.NotFound, match="as 'ci'"):
        alice.pull_channel(name, as_name="ci")


def test_a_key_holds_for_a_channel(alice: Client, name: str) -> None:
    alice.create_channel(name)
    alice.subscribe(name)
    first = alice.publish(name, b"once", key="k")
    assert alice.publish(name, b"twice", key="k") == (first.id, True)
    assert len(alice.pull_channel_many(name, 10)) == 1


def test_a_waiting_pull_is_woken_by_a_publication(door: Door, name: str) -> None:
    alice, bob = door.client("alice"), door.client("bob")
    alice.create_channel(name, publish="anyone")
    bob.subscribe(name)
    found: list[object] = []
    waiting = threading.Thread(target=lambda: found.append(bob.pull_channel(name, wait_ms=60_000)))
    waiting.start()
    sent = alice.publish(name, b"wake up")
    waiting.join(30)
    assert not waiting.is_alive()
    assert found[0].id == sent.id  # type: ignore[attr-defined]


def test_a_delayed_publication_wakes_its_subscribers(alice: Client, name: str) -> None:
    alice.create_channel(name)
    alice.subscribe(name)
    alice.publish(name, b"later", delay_ms=150)
    assert alice.pull_channel(name) is None
    assert alice.pull_channel(name, wait_ms=60_000) is not None


def test_publishing_to_nobody_is_no_error(alice: Client, name: str) -> None:
    alice.create_channel(name, publish="anyone")
    assert alice.publish(name, b"hello?").id > 0
