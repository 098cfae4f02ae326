"""A wall clock set back or forth: what comes later, what sooner, and that nothing is lost."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pytest
from crash import entry
from crash.setting import Place, brokerctl
from crash.torture import Process

import broker
from broker import Client

HOURS_MS: Final = 3 * 3_600_000


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """A database with the queue ``jobs``, and a clock that is right."""
    place = Place(tmp_path)
    entry.set_clock(place.clock, 0)
    with broker.connect(str(place.database)) as client:
        client.create_queue("jobs")
    return place


@contextmanager
def serving(place: Place, offset_ms: int) -> Iterator[Client]:
    """Run a server that begins with a clock so far off, and yield a client of it."""
    entry.set_clock(place.clock, offset_ms)
    words = brokerctl("serve", "--no-listen", "--database", str(place.database))
    server = Process(words, place, place.folder / "server.log")
    try:
        assert server.read_line().startswith("listening")
        with broker.connect(f"broker+unix://{place.socket}") as client:
            yield client
    finally:
        assert server.end(signal.SIGTERM) == 0


@pytest.mark.parametrize("offset_ms", [HOURS_MS, -HOURS_MS])
def test_a_running_server_does_not_follow_a_jump(place: Place, offset_ms: int) -> None:
    with serving(place, 0) as client:
        client.send("jobs", b"job")
        client.send("jobs", b"later", delay_ms=200)
        message = client.pull("jobs", lease_ms=60_000)
        entry.set_clock(place.clock, offset_ms)
        later = client.pull("jobs", wait_ms=20_000)
        assert message is not None
        assert later is not None
        assert later.body == b"later"
        assert later.sent_at - message.sent_at < 60_000
        client.ack(str(message.receipt))


def test_after_a_start_with_the_clock_set_back_leases_and_delays_last_longer(place: Place) -> None:
    """Nothing comes early or twice, and who cannot wait can make it ready."""
    # Two minutes ago: by a right clock the lease and the delay are over.
    with serving(place, -120_000) as client:
        client.send("jobs", b"leased")
        delayed = client.send("jobs", b"delayed", delay_ms=60_000)
        message = client.pull("jobs", lease_ms=60_000)
        assert message is not None
    with serving(place, -HOURS_MS) as client:
        assert client.pull("jobs", wait_ms=500) is None
        shown = client.show_queue("jobs")
        assert (shown.leased, shown.delayed) == (1, 1)
        client.release_message("jobs", delayed.id)
        released = client.pull("jobs")
        assert released is not None
        assert released.body == b"delayed"
        client.ack(str(message.receipt))
        client.send("jobs", b"new")
        new = client.pull("jobs")
        assert new is not None
        assert new.body == b"new"


def test_after_a_start_with_the_clock_set_forth_leases_and_delays_are_over(place: Place) -> None:
    """A late ack is refused, whoever has the message by then."""
    with serving(place, 0) as client:
        client.send("jobs", b"leased")
        client.send("jobs", b"delayed", delay_ms=60_000)
        message = client.pull("jobs", lease_ms=60_000)
        assert message is not None
    with serving(place, HOURS_MS) as client:
        with pytest.raises(broker.Stale):
            client.ack(str(message.receipt))
        assert [m.body for m in client.pull_many("jobs", 10)] == [b"leased", b"delayed"]
