"""The order in which a batch executes: commands of a kind side by side.

Neighbours of a kind share their statements, so the more of them stand together
the fewer statements a batch costs. But each source's own commands keep their
order: the kinds of a round have a fixed order, and a command whose kind its
source has already passed in this round waits for the next round of the same
batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import NamedTuple

from ..commands.channel import ChannelPublish, ChannelPull
from ..commands.message import MessageAck, MessageExtend, MessageNack
from ..commands.queue import QueueConsume, QueuePull, QueueSend
from ..commands.request import Request

#: What is not named here comes first, each kind on its own: who creates a queue
#: and sends to it in one write gets by with one round. Pulls come last, so that
#: a message sent or given back in this batch meets the pull that waits for it.
_ORDER = {
    kind: place
    for place, kind in enumerate(
        (
            QueueSend, ChannelPublish, MessageAck, MessageNack, MessageExtend, QueuePull,
            ChannelPull, QueueConsume,
        ),
        start=1_000,
    )
}  # fmt: skip


class Run(NamedTuple):
    """Neighbouring requests of one source, of one kind: those from ``start`` to before ``end``."""

    source: int
    start: int
    end: int


def plan(sources: Sequence[Sequence[Request]]) -> list[Run]:
    """Return the order in which a batch is executed.

    Args:
        sources: the requests of each source, each in the order it gave them.
    """
    places = dict(_ORDER)
    runs: list[tuple[int, int, Run]] = []
    for source, requests in enumerate(sources):
        this_round, last, start = 0, -1, 0
        for kind, length in _groups([type(command) for _, command in requests]):
            place = places.get(kind)
            if place is None:
                place = places[kind] = len(places) - len(_ORDER)
            if place < last:
                this_round += 1
            last = place
            end = start + length
            runs.append((this_round, place, Run(source, start, end)))
            start = end
    runs.sort()
    return [run for _, _, run in runs]


def _groups(kinds: list[type]) -> list[tuple[type, int]]:
    """Return each kind with how many of it stand side by side."""
    if len({*kinds}) == 1:
        # As it mostly is: one command, or many of one kind.
        return [(kinds[0], len(kinds))]
    return [(kind, len([*group])) for kind, group in groupby(kinds)]
