"""What of (a), (b) and (d) makes sense without a server, in a Python process."""

from __future__ import annotations

from ..bench import Bench
from ..peers.embedded import Embedded
from .pulls import BACKLOG, BATCH


def put(bench: Bench, peer: Embedded, body: int) -> None:
    """(a) Put one at a time, each in a commit of its own."""
    peer.empty()
    done = peer.measure("put", body, bench.seconds)
    for figure, unit, key in (
        ("rate", "/s", "rate"),
        ("p50", "us", "p50_us"),
        ("p99", "us", "p99_us"),
    ):
        bench.record("a", figure, unit, body, peer.name, done[key])
    bench.record("a", "server's CPU", "%", body, peer.name, 100 * done["cpu_share"])


def put_many(bench: Bench, peer: Embedded, body: int) -> None:
    """(b) Put 1000 in a transaction, where there is a way to."""
    if not peer.has_batches:
        return
    peer.empty()
    done = peer.measure("put_many", body, bench.seconds)
    bench.record("b", "rate", "/s", body, peer.name, done["rate"])
    bench.record("b", "server's CPU", "%", body, peer.name, 100 * done["cpu_share"])


def take(bench: Bench, peer: Embedded, body: int) -> None:
    """(d) Get and acknowledge from a backlog, one at a time, and many where there is a way to."""
    peer.empty()
    peer.fill(body, BACKLOG)
    done = peer.measure("take", body, bench.seconds)
    bench.record("d", "one at a time", "/s", body, peer.name, done["rate"])
    bench.record("d", "one at a time: p50", "us", body, peer.name, done["p50_us"])
    bench.record("d", "one at a time: p99", "us", body, peer.name, done["p99_us"])
    if peer.has_pop:
        done = peer.measure("pop", body, bench.seconds)
        bench.record("d", "one at a time, NOACK", "/s", body, peer.name, done["rate"])
    if peer.has_loop:
        done = peer.measure("consume", body, bench.seconds)
        bench.record("d", "one at a time, consume()", "/s", body, peer.name, done["rate"])
    if peer.has_batches:
        done = peer.measure("take_many", body, bench.seconds)
        bench.record("d", f"batches of {BATCH}", "/s", body, peer.name, done["rate"])
