"""The bench itself: the load generator counts what happens, and aims are judged as they read."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support import wait_until

from benchmarks.aims import verdicts
from benchmarks.generator import Generator, consume, pull, send
from benchmarks.peers.broker import Broker
from benchmarks.report import table
from benchmarks.results import Results, Row

BODY = 100
#: No run lasts so long: each ends at its limit, or when nothing is left.
SECONDS = 60.0


@pytest.fixture(scope="module")
def generator(
    tmp_path_factory: pytest.TempPathFactory, needs_program: Callable[[str], str]
) -> Generator:
    """The compiled load generator."""
    needs_program("cc")
    return Generator(tmp_path_factory.mktemp("load"))


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Broker]:
    """A server as the bench starts it, with a queue ``q``."""
    peer = Broker(tmp_path)
    peer.start()
    try:
        peer.create_queue("q")
        yield peer
    finally:
        peer.stop()


def waiting(peer: Broker) -> tuple[int, int]:
    """Return how many are ready and leased."""
    with peer.client() as client:
        shown = client.show_queue("q")
    return shown.ready, shown.leased


def test_what_is_counted_has_happened(generator: Generator, running: Broker) -> None:
    load = generator.run(running, "q", BODY, SECONDS, send(2, window=50, limit=1000))
    (sent,) = load.groups
    assert sent.answered == 1000
    assert waiting(running) == (1000, 0)
    assert 0 < sent.p50_us <= sent.p99_us <= sent.max_us
    (pushed,) = generator.run(running, "q", BODY, SECONDS, consume(50, limit=400)).groups
    assert pushed.answered >= 400
    # What was pushed and not acknowledged goes back with its connection.
    wait_until(lambda: waiting(running)[1] == 0, "nothing is leased")
    ready, _ = waiting(running)
    # What was in flight at the end is awaited, but no longer counted.
    assert 1000 - 50 <= ready + pushed.answered <= 1000
    (pulled,) = generator.run(running, "q", BODY, SECONDS, pull(100)).groups
    assert pulled.answered == ready
    assert waiting(running) == (0, 0)


def test_messages_are_timed_from_their_send_to_their_arrival(
    generator: Generator, running: Broker
) -> None:
    groups = generator.run(
        running, "q", BODY, SECONDS, send(window=10, rate=500, limit=50), consume(10, limit=50)
    ).groups
    assert groups[1].answered == 50
    assert 0 < groups[1].transit_p50_us <= groups[1].transit_max_us


def test_a_refusal_ends_the_run(generator: Generator, running: Broker) -> None:
    with pytest.raises(AssertionError, match="NOTFOUND"):
        generator.run(running, "missing", BODY, SECONDS, send(limit=1))


def test_a_ratio_is_of_medians_and_a_maximum_is_the_largest() -> None:
    results = Results()
    rate, stall = Row("b", "rate", "/s", 1024), Row("b", "max stall", "us", 1024)
    for ours, theirs in ((100.0, 200.0), (150.0, 100.0), (900.0, 90.0)):
        results.add(rate, "broker", ours)
        results.add(rate, "redis", theirs)
    for stalled in (1000.0, 60_000.0, 2000.0):
        results.add(stall, "broker", stalled)
    results.versions.update(broker="1", redis="7")
    (against_redis,) = verdicts(results, rate)
    assert (against_redis.value, against_redis.is_met) == (1.5, True)
    (stalls,) = verdicts(results, stall)
    assert (stalls.value, stalls.is_met) == (60_000, False)
    text = table(results)
    assert ">= 1 x redis: 1.5, met" in text
    assert "<= 50 ms: 60 ms, NOT MET" in text


def test_an_aim_that_cannot_be_measured_is_not_judged() -> None:
    results = Results()
    row = Row("b", "rate", "/s", 1024)
    results.add(row, "broker", 1.0)
    assert verdicts(results, row) == []
