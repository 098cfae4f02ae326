"""What is measured, a letter each."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from ..bench import Bench
from ..peers import Peer
from ..peers.embedded import Embedded
from . import flows, footprints, libraries, oneshots, proofs, pulls, sends


class Case(NamedTuple):
    """One case.

    Attributes:
        title: what it measures.
        run: measures one server once, with bodies of one size.
        embedded: the same of an embedded queue, where that makes sense.
        body: the only size it is measured with; None: each that was asked for.
        rounds: the most that it is measured.
    """

    title: str
    run: Callable[[Bench, Peer, int], None]
    embedded: Callable[[Bench, Embedded, int], None] | None = None
    body: int | None = None
    rounds: int = 100


CASES: dict[str, Case] = {
    "a": Case("send, one connection, one in flight", sends.one_in_flight, libraries.put),
    "b": Case("send, one connection, a window of 1000", sends.window, libraries.put_many),
    "c": Case("send, 50 connections, one in flight each", sends.fifty),
    "d": Case("pull and acknowledge, from 50,000 waiting", pulls.backlog, libraries.take),
    "e": Case("one producer and one consumer together", flows.end_to_end),
    "f": Case("publish to 100 and to 1000 subscriptions", flows.publish, body=100, rounds=2),
    "g": Case("what it takes, idle and full", footprints.footprint, body=100, rounds=1),
    "h": Case("one-shot commands", oneshots.one_shots, body=0, rounds=2),
    "i": Case("200 connections active, 1000 idle", flows.crowd, body=100, rounds=2),
    "syncs": Case("system calls that sync", proofs.syncs, body=100, rounds=1),
    "fair": Case("50 with one in flight beside one with 1000", flows.fairness, body=100, rounds=2),
}
