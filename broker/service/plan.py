"""The order in which a batch executes: commands of a kind side by side.

Neighbours of a kind share their statements, so the more of them stand together
the fewer statements a batch costs. But each source's own commands keep their
order: the kinds of a round have a fixed order, and a command whose kind its
source has already passed in this round waits for the next round of the same
batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain, groupby
from typing import Any, NamedTuple

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


class Plan:
    """The order in which a batch is executed, and the way back from it.

    Args:
        sources: the requests of each source, each in the order it gave them.

    Attributes:
        requests: all of them, in the order in which they are executed.
    """

    def __init__(self, sources: Sequence[Sequence[Request]]) -> None:
        self._sources = sources
        self.requests: list[Request] = [*chain.from_iterable(sources)]
        # None where they are executed as they stand.
        self._runs: list[_Run] | None = None
        if len(sources) > 1 and len({type(command) for _, command in self.requests}) > 1:
            self._runs = _runs(sources)
            self.requests = [
                request
                for source, start, end in self._runs
                for request in sources[source][start:end]
            ]

    def by_source(self, outcomes: list[Any]) -> list[list[Any]]:
        """Return the outcomes of each source's requests, given those of all as executed."""
        found: list[list[Any]] = []
        position = 0
        if self._runs is None:
            if len(outcomes) == len(self._sources):
                return [[outcome] for outcome in outcomes]
            for requests in self._sources:
                until = position + len(requests)
                found.append(outcomes[position:until])
                position = until
            return found
        found = [[None] * len(requests) for requests in self._sources]
        for source, start, end in self._runs:
            until = position + end - start
            found[source][start:end] = outcomes[position:until]
            position = until
        return found


class _Run(NamedTuple):
    """Neighbouring requests of one source, of one kind: those from ``start`` to before ``end``."""

    source: int
    start: int
    end: int


def _runs(sources: Sequence[Sequence[Request]]) -> list[_Run]:
    """Return the runs of all sources in the order in which they are executed."""
    places = dict(_ORDER)
    runs: list[tuple[int, int, _Run]] = []
    for source, requests in enumerate(sources):
        this_round, last, start = 0, -1, 0
        for kind, group in groupby([type(command) for _, command in requests]):
            place = places.get(kind)
            if place is None:
                place = places[kind] = len(places) - len(_ORDER)
            if place < last:
                this_round += 1
            last = place
            end = start + len([*group])
            runs.append((this_round, place, _Run(source, start, end)))
            start = end
    runs.sort()
    return [run for _, _, run in runs]
