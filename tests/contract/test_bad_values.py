"""What is not allowed is refused at every door, with a text that says what is."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

import broker
from broker import Client

LATER = datetime(2030, 1, 1, tzinfo=UTC)


def into_a_transaction(client: Client, queue: str) -> None:
    """Send what is not allowed, in a transaction."""
    with client.transaction() as transaction:
        transaction.send(queue, b"x", priority=12)


BAD: dict[str, tuple[Callable[[Any, str], object], str]] = {
    "a negative delay": (lambda c, q: c.send(q, b"x", delay_ms=-1), "from 0 to"),
    "half a millisecond": (lambda c, q: c.send(q, b"x", delay_ms=0.5), "whole number"),
    "a priority of 12": (lambda c, q: c.send(q, b"x", priority=12), "from 0 to 9"),
    "a priority in words": (lambda c, q: c.send(q, b"x", priority="5"), "from 0 to 9"),
    "a time without a zone": (
        lambda c, q: c.send(q, b"x", at=datetime(2030, 1, 1)),  # noqa: DTZ001 - that is the point
        "has no zone: write",
    ),
    "a time that is text": (lambda c, q: c.send(q, b"x", at="2030-01-01T00:00Z"), "a datetime"),
    "a time before 1970": (
        lambda c, q: c.send(q, b"x", at=datetime(1960, 1, 1, tzinfo=UTC)),
        "not between 1970 and 9999",
    ),
    "a delay and a time": (lambda c, q: c.send(q, b"x", at=LATER, delay_ms=1), "exclude"),
    "a life of nothing": (lambda c, q: c.send(q, b"x", ttl_ms=0), "from 1 to"),
    "a life within a delay": (lambda c, q: c.send(q, b"x", ttl_ms=5, delay_ms=5), "never comes"),
    "an empty key": (lambda c, q: c.send(q, b"x", key=""), "1 to 255 bytes"),
    "a key for no time": (lambda c, q: c.send(q, b"x", key="k", key_ttl_ms=0), "from 1 to"),
    "a time without its key": (lambda c, q: c.send(q, b"x", key_ttl_ms=5), "without a key"),
    "a body that is text": (lambda c, q: c.send(q, "x"), "a body is bytes"),
    "headers of numbers": (lambda c, q: c.send(q, b"x", headers={"a": 1}), "a name and a text"),
    "too many headers": (
        lambda c, q: c.send(q, b"x", headers={str(n): "" for n in range(65)}),
        "at most 64",
    ),
    "an empty content type": (lambda c, q: c.send(q, b"x", content_type=""), "1 to 255"),
    "no bodies": (lambda c, q: c.send_many(q, []), "1 to 1000"),
    "one body for many": (lambda c, q: c.send_many(q, b"abc"), "a sequence"),
    "a count of 0": (lambda c, q: c.pull_many(q, 0), "from 1 to 1000"),
    "a negative wait": (lambda c, q: c.pull(q, wait_ms=-1), "from 0 to"),
    "a lease of nothing": (lambda c, q: c.pull(q, lease_ms=0), "from 1 to"),
    "a lease and none": (lambda c, q: c.pull(q, lease_ms=5, no_ack=True), "exclude"),
    "an unknown state": (lambda c, q: c.peek(q, state="gone"), "ready, delayed, leased, dead"),
    "no receipt": (lambda c, q: c.ack("nope!"), "it comes with a pulled message"),
    "a receipt of letters": (lambda c, q: c.ack("nope"), "it comes with a pulled message"),
    "a receipt that is a number": (lambda c, q: c.extend(1), "it comes with a pulled message"),
    "one receipt for many": (lambda c, q: c.ack_many("1.1"), "a sequence"),
    "no receipts": (lambda c, q: c.nack_many([]), "1 to 1000"),
    "a delay of the dead": (lambda c, q: c.nack("1.1", delay_ms=5, dead=True), "exclude"),
    "dead and uncounted": (lambda c, q: c.nack("1.1", uncounted=True, dead=True), "exclude"),
    "an uncounted reason": (lambda c, q: c.nack("1.1", uncounted=True, reason="x"), "no reason"),
    "a long reason": (lambda c, q: c.nack("1.1", reason="x" * 501), "1 to 500 characters"),
    "an endless lease": (lambda c, q: c.extend("1.1", lease_ms=2**60), "from 1 to"),
    "an unknown setting": (lambda c, q: c.set_queue(q, {"max_mesages": 1}), "max_messages?"),
    "a setting out of range": (
        lambda c, q: c.set_queue(q, {"max_attempts": -1}),
        "max_attempts: not a whole number from 0 to",
    ),
    "a setting that is no text": (lambda c, q: c.set_queue(q, {"max_attempts": True}), "text"),
    "settings that are none": (lambda c, q: c.set_queue(q, [("ttl", "1h")]), "a mapping"),
    "no settings": (lambda c, q: c.set_queue(q, {}), "write name=value"),
    "an idle time of a queue": (
        lambda c, q: c.set_queue(q, {"expire_idle": "1h"}),
        "for subscriptions",
    ),
    "its own dead-letter queue": (lambda c, q: c.set_queue(q, {"dead_letter": q}), "its own"),
    "a pause of nothing": (lambda c, q: c.pause(q, sends=False, pulls=False), "say which"),
    "a prefetch of 0": (lambda c, q: next(c.consume(q, prefetch=0)), "from 1 to 1000"),
    "a consumer's negative wait": (lambda c, q: next(c.consume(q, wait_ms=-1)), "from 0 to"),
    "one and all": (lambda c, q: c.retry_dead(q, 5, match="x"), "not from one by its id"),
    "a limit of 0": (lambda c, q: c.drop_dead(q, limit=0), "from 1 to"),
    "nothing to match": (lambda c, q: c.list_dead(q, match=""), "1 to 255 characters"),
    "an id of 0": (lambda c, q: c.move_message(q, 0, q), "from 1 to"),
    "in a transaction": (into_a_transaction, "from 0 to 9"),
}


@pytest.mark.parametrize("what", BAD)
def test_a_bad_value_is_invalid_and_loses_nothing(alice: Client, name: str, what: str) -> None:
    call, said = BAD[what]
    alice.create_queue(name)
    alice.send(name, b"kept")
    with pytest.raises(broker.Invalid) as refusal:
        call(alice, name)
    assert said in refusal.value.message
    queue = alice.show_queue(name)
    assert (queue.ready, queue.paused, queue.dead_letter, queue.max_attempts) == (1, None, None, 5)


def test_a_setting_of_none_is_its_default(alice: Client, name: str) -> None:
    alice.create_queue(f"{name}.dead")
    alice.create_queue(name, settings={"dead_letter": f"{name}.dead", "max_attempts": 2})
    alice.set_queue(name, {"dead_letter": None, "max_attempts": None})
    queue = alice.show_queue(name)
    assert (queue.dead_letter, queue.max_attempts) == (None, 5)
