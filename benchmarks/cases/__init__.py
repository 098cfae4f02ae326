"""What is measured, a letter each."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from ..bench import Bench
from ..peers import Peer
from . import pulls, sends


class Case(NamedTuple):
    """One case.

    Attributes:
        title: what it measures.
        run: measures one server once, with bodies of one size.
    """

    title: str
    run: Callable[[Bench, Peer, int], None]


CASES: dict[str, Case] = {
    "a": Case("send, one connection, one in flight", sends.one_in_flight),
    "b": Case("send, one connection, a window of 1000", sends.window),
    "c": Case("send, 50 connections, one in flight each", sends.fifty),
    "d": Case("pull and acknowledge, from 50,000 waiting", pulls.backlog),
}
