"""The order in which a batch executes: commands of a kind side by side.

Neighbours of a kind share their statements, so the more of them stand together
the fewer statements a batch costs. But each source's own commands keep their
order: the kinds of a round have a fixed order, and a command whose kind its
source has already passed in this round waits for the next round of the same
batch.
"""

from __future__ import annotations

from collections.abc import Sequence

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


def plan(sources: Sequence[Sequence[Request]]) -> list[tuple[int, int]]:
    """Return the order of execution of a batch as (source, position) pairs.

    Args:
        sources: the requests of each source, each in the order it gave them.
    """
    if len(sources) == 1 and len({type(r.command) for r in sources[0]}) <= 1:
        return [(0, position) for position in range(len(sources[0]))]
    buckets: dict[tuple[int, int], list[tuple[int, int]]] = {}
    places = dict(_ORDER)
    for source, requests in enumerate(sources):
        this_round, last = 0, -1
        for position, request in enumerate(requests):
            kind = type(request.command)
            place = places.get(kind)
            if place is None:
                place = places[kind] = len(places) - len(_ORDER)
            if place < last:
                this_round += 1
            last = place
            bucket = buckets.get((this_round, place))
            if bucket is None:
                bucket = buckets[this_round, place] = []
            bucket.append((source, position))
    return [item for key in sorted(buckets) for item in buckets[key]]
