"""(a) to (c): sends. Each counts when its reply says that it is on disk."""

from __future__ import annotations

from ..bench import Bench
from ..generator import send
from ..peers import Peer


def one_in_flight(bench: Bench, peer: Peer, body: int) -> None:
    """(a) One connection, one in flight."""
    _send(bench, peer, body, "a", send())


def window(bench: Bench, peer: Peer, body: int) -> None:
    """(b) One connection, a window of 1000."""
    _send(bench, peer, body, "b", send(window=1000))


def fifty(bench: Bench, peer: Peer, body: int) -> None:
    """(c) 50 connections, one in flight each."""
    _send(bench, peer, body, "c", send(50))


def _send(bench: Bench, peer: Peer, body: int, case: str, group: str) -> None:
    with bench.queue(peer) as queue:
        load = bench.measure(peer, queue, body, group)
    bench.record_group(case, body, peer.name, load.groups[0])
    bench.record_shares(case, "", body, peer.name, load)
