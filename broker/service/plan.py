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


class Run(NamedTuple):
    """Neighbouring requests of one source, of one kind: those from ``start`` to before ``end``."""

    source: int
    start: int
    end: int


def plan(sources: Sequence[list[Request]]) -> tuple[list[Request], list[Run] | None]:
    """Return the requests of a batch in the order in which they are executed.

    Args:
        sources: the requests of each source, each in the order it gave them.

    Returns:
        Them, and the runs they are in, or None where they are executed as they stand.
    """
    if len(sources) == 1:
        return sources[0], None
    requests = [*chain.from_iterable(sources)]
    if len({type(command) for _, command in requests}) == 1:
        return requests, None
    runs = _runs(sources)
    return [r for source, start, end in runs for r in sources[source][start:end]], runs


def by_source(
    sources: Sequence[list[Request]], runs: list[Run] | None, outcomes: list[Any]
) -> list[list[Any]]:
    """Return the outcomes of each source's requests, given those of all as :func:`plan` says."""
    if len(sources) == 1:
        return [outcomes]
    if runs is None and len(outcomes) == len(sources):
        return [[outcome] for outcome in outcomes]
    found: list[list[Any]] = [[None] * len(requests) for requests in sources]
    position = 0
    for source, start, end in runs or _in_turn(sources):
        until = position + end - start
        found[source][start:end] = outcomes[position:until]
        position = until
    return found


def _in_turn(sources: Sequence[list[Request]]) -> list[Run]:
    """Return each source as one run."""
    return [Run(source, 0, len(requests)) for source, requests in enumerate(sources)]


def _runs(sources: Sequence[list[Request]]) -> list[Run]:
    """Return the runs of all sources in the order in which they are executed."""
    places = dict(_ORDER)
    runs: list[tuple[int, int, Run]] = []
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
            runs.append((this_round, place, Run(source, start, end)))
            start = end
    runs.sort()
    return [run for _, _, run in runs]
