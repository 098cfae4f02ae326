"""(d): pulls with their acks, from a backlog."""

from __future__ import annotations

from ..bench import Bench
from ..generator import Group, consume, pull, send
from ..peers import Peer

BACKLOG = 50_000
BATCH = 100
#: The longest a server may take to be filled.
FILL_S = 120.0


def fill(bench: Bench, peer: Peer, queue: str, body: int, count: int) -> Group:
    """Send so many."""
    load = bench.generator.run(peer, queue, body, FILL_S, send(window=1000, limit=count))
    group = load.groups[0]
    if group.answered < count:
        raise AssertionError(f"{peer.name} took {group.answered} of {count} in {FILL_S:g} s")
    return group


def backlog(bench: Bench, peer: Peer, body: int) -> None:
    """(d) One at a time, in batches, and by push; each from so many waiting."""
    size = min(BACKLOG, peer.max_backlog)
    ways = {
        "one at a time": pull(),
        f"batches of {BATCH}": pull(BATCH),
        # Almost all: what is in flight at the end of a way is not counted.
        "push": consume(peer.prefetch, limit=size * 9 // 10),
    }
    with bench.queue(peer) as queue:
        missing = size
        for name, group in ways.items():
            fill(bench, peer, queue, body, missing)
            peer.settle()
            load = bench.measure(peer, queue, body, group)
            done = load.groups[0]
            missing = done.answered
            bench.record("d", name, "/s", body, peer.name, done.rate)
            if name == "one at a time":
                bench.record("d", f"{name}: p50", "us", body, peer.name, done.p50_us)
                bench.record("d", f"{name}: p99", "us", body, peer.name, done.p99_us)
            bench.record_shares("d", name, body, peer.name, load)
