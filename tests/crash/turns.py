"""Whose turn it is: what comes first, and who is woken. Rules of :mod:`crash.checker`.

They look at the first leases of messages: until then nothing but a claim has
touched them, so that they were ready from their send on, at their place.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

from crash.history import NEVER, OK, UNKNOWN, Call
from crash.ledger import Ledger, Pull, Violation


def order(ledger: Ledger) -> Iterator[Violation]:
    """First in, first out within a priority, higher ones first.

    Of what was never retried, and of what has died and was put back, from then on.
    """
    waited: dict[str, list[_Turn]] = defaultdict(list)
    for queue, pulls in _firsts(ledger).items():
        for pull in pulls:
            call = ledger.sends[pull.message.tag or ""].call
            waited[queue].append(_Turn(pull, call.ended if call.outcome == OK else NEVER))
    for turn in _revived(ledger):
        waited[turn.pull.message.queue].append(turn)
    for queue, turns in waited.items():
        yield from _check_order(queue, turns)
        yield from _check_order_within([turn.pull for turn in turns])


class _Turn(NamedTuple):
    """A lease, and since when its message had been ready for certain, until then."""

    pull: Pull
    since: int


def _check_order(queue: str, turns: Sequence[_Turn]) -> Iterator[Violation]:
    found_places = sorted({_place(turn.pull) for turn in turns})
    places = {place: index for index, place in enumerate(found_places)}
    tree = _Earliest(len(places))
    # Those that came later, the latest first: what began after a claim had ended.
    waiting = sorted(turns, key=lambda turn: -turn.pull.began)
    position = 0
    for pull, _ in sorted(turns, key=lambda turn: -turn.pull.ended):
        while position < len(waiting) and waiting[position].pull.began > pull.ended:
            other, since = waiting[position]
            if since < NEVER:
                tree.add(places[_place(other)], since, other)
            position += 1
        found = tree.before(places[_place(pull)])
        if found is not None and found[0] < pull.began:
            text = f"{queue}: {found[1].call}\nwas in front of\n{pull.call}"
            yield Violation(
                "first in, first out", text, found[1].message.tag, found[1].message.delivery
            )


def _firsts(ledger: Ledger) -> dict[str, list[Pull]]:
    """Return by queue the first leases of what was never leased before, nor made to wait.

    Not of queues whose dead were put back, if one may die there without a lease.
    """
    found: dict[str, list[Pull]] = defaultdict(list)
    revived = {
        call.args["queue"]
        for call in ledger.by_verb["retry"]
        if "dead" in ledger.values(call.args["queue"], "on_expire")
    }
    for pull in ledger.pulls:
        send = ledger.sends.get(pull.message.tag or "")
        if send is None or send.is_timed or pull.message.generation != 1:
            continue
        if pull.message.queue in revived:
            continue
        if send.is_publication or pull.message.queue == send.target:
            found[pull.message.queue].append(pull)
    return found


def _revived(ledger: Ledger) -> Iterator[_Turn]:
    """Yield the next leases of what has died after a lease for certain, and was put back.

    It has died if it was told to, or if it begins anew with the attempts. Which retry
    has put it back is not known: at the latest the last that can have.
    """
    for queue in {call.args["queue"] for call in ledger.by_verb["retry"]}:
        retries = list(ledger.calls_on({queue}, "retry"))
        for pulls in ledger.leases.values():
            for earlier, later in pairwise(pulls):
                if not earlier.message.queue == later.message.queue == queue:
                    continue
                if not _has_died(ledger, earlier, later):
                    continue
                ends = [
                    call.ended
                    for call in retries
                    if call.ended >= earlier.began and call.began <= later.ended
                ]
                yield _Turn(later, max(ends, default=NEVER))


def _has_died(ledger: Ledger, earlier: Pull, later: Pull) -> bool:
    """Return whether a message must have been dead between two leases."""
    generation = earlier.message.generation or 0
    if later.message.generation != generation + 1 or ledger.in_hand[earlier.message.id]:
        return False
    nacks = ledger.nacks[earlier.message.delivery or 0, generation]
    told = any(nack.is_done and nack.call.args.get("dead") for nack in nacks)
    return told or later.message.attempts < earlier.message.attempts


def _place(pull: Pull) -> tuple[int, int]:
    return -pull.message.priority, pull.message.delivery or 0


def _check_order_within(pulls: Sequence[Pull]) -> Iterator[Violation]:
    by_call: dict[int, list[Pull]] = defaultdict(list)
    for pull in pulls:
        by_call[id(pull.call)].append(pull)
    for group in by_call.values():
        places = [_place(pull) for pull in sorted(group, key=lambda pull: pull.place)]
        if places != sorted(places):
            yield Violation("first in, first out", str(group[0].call), group[0].message.tag)


class _Earliest:
    """The earliest time of all places in front of one: a binary indexed tree."""

    def __init__(self, size: int) -> None:
        self._nodes: list[tuple[int, Pull] | None] = [None] * (size + 1)

    def add(self, place: int, time: int, pull: Pull) -> None:
        """Put a time at a place."""
        index = place + 1
        while index < len(self._nodes):
            node = self._nodes[index]
            if node is None or time < node[0]:
                self._nodes[index] = (time, pull)
            index += index & -index

    def before(self, place: int) -> tuple[int, Pull] | None:
        """Return the earliest of all places less than one, and whose it is."""
        best: tuple[int, Pull] | None = None
        index = place
        while index > 0:
            node = self._nodes[index]
            if node is not None and (best is None or node[0] < best[0]):
                best = node
            index -= index & -index
        return best


def wake_ups(ledger: Ledger) -> Iterator[Violation]:
    """Nobody is told that there is nothing where something is, nor waits beside it."""
    for queue, pulls in _firsts(ledger).items():
        known: list[tuple[int, int, Pull]] = []
        for pull in pulls:
            send = ledger.sends[pull.message.tag or ""]
            if send.call.outcome == OK and not send.call.args.get("ttl_ms"):
                known.append((send.call.ended, pull.began, pull))
        known.sort(key=lambda item: item[:2])
        ends = [end for end, _, _ in known]
        lasts = _latest_so_far(known)
        pauses = list(ledger.calls_on({queue}, "pause", "resume"))
        for call in ledger.empty:
            if call.args.get("queue") != queue or call.verb != "pull":
                continue
            place = bisect_left(ends, _until_when_it_looked(ledger, call))
            if place and lasts[place - 1][0] > call.ended and not _is_paused(pauses, call):
                pull = lasts[place - 1][1]
                text = f"{call}\nthough there was\n{pull.call}"
                yield Violation(
                    "a wake-up is never lost", text, pull.message.tag, pull.message.delivery
                )


def pushes(ledger: Ledger) -> Iterator[Violation]:
    """What is ready is pushed: no consumer that may have more is left idle beside it.

    An idle consumer has asked the server for something, over its own connection, and the
    answer has come without a message in front of it. A sender that had its answer before
    that was asked had woken somebody first, so the consumer's claim came before the question.
    """
    for queue, pulls in _firsts(ledger).items():
        known: list[tuple[int, int, Pull]] = []
        pushed: dict[int, list[Pull]] = defaultdict(list)
        for pull in pulls:
            send = ledger.sends[pull.message.tag or ""]
            if send.call.outcome != OK or send.call.args.get("ttl_ms"):
                continue
            known.append((send.call.ended, pull.began, pull))
            if pull.is_pushed:
                pushed[id(ledger.consumer_of(pull.call))].append(pull)
        known.sort(key=lambda item: item[:2])
        ends = [end for end, _, _ in known]
        lasts = _latest_so_far(known)
        leaving = _leaving(ledger, queue)
        pauses = list(ledger.calls_on({queue}, "pause", "resume"))
        for idle in ledger.by_verb["idle"]:
            if idle.args["queue"] != queue or idle.outcome != OK or idle.result:
                continue
            consumer = ledger.consumer_of(idle)
            place = bisect_left(ends, idle.began)
            missed = [p for began, p in lasts[place - 1 : place] if began > idle.ended]
            # What it was given itself, and read only later.
            missed += [p for p in pushed[id(consumer)] if p.call.began > idle.ended]
            for pull in missed:
                send = ledger.sends[pull.message.tag or ""]
                if send.call.ended >= idle.began or _is_paused(pauses, idle):
                    continue
                if any(
                    call is not consumer and since <= idle.ended and by >= send.call.began
                    for call, since, by in leaving
                ):
                    continue
                text = f"{consumer}\n{idle}\nthough there was\n{send.call}\n{pull.call}"
                what = (pull.message.tag, pull.message.delivery)
                yield Violation("what is ready is pushed", text, *what)


def _latest_so_far(known: Sequence[tuple[int, int, Pull]]) -> list[tuple[int, Pull]]:
    """Return, for each and all before it, the one that was claimed last, and since when."""
    lasts: list[tuple[int, Pull]] = []
    for _, began, pull in known:
        later = not lasts or began > lasts[-1][0]
        lasts.append((began, pull) if later else lasts[-1])
    return lasts


def _leaving(ledger: Ledger, queue: str) -> list[tuple[Call, int, int]]:
    """Return who waited at a queue and left, and between which moments it did.

    Who leaves may have been woken, and passes that on as the server notices.
    """
    found = []
    for call in (*ledger.by_verb["consume"], *ledger.by_verb["pull"]):
        if call.args["queue"] != queue:
            continue
        if call.verb == "pull" and (not call.args["wait"] or call.outcome != UNKNOWN):
            continue
        found.append((call, *ledger.leaves(call)))
    return found


def _until_when_it_looked(ledger: Ledger, call: Call) -> int:
    """Return up to when an empty pull would have been given what came.

    A server wakes who waits as it answers the sender. An embedded client looks at the
    file every now and then, and a server that stops answers early.
    """
    waits_ns = int(call.args["wait"] * 1e6)
    if call.args["door"] in ("tcp", "unix") and not ledger.server_ended(call.began, call.ended):
        return min(call.ended, call.began + waits_ns) if waits_ns else call.began
    return call.began


def _is_paused(pauses: Sequence[Call], call: Call) -> bool:
    """Return whether a queue may have been paused: from a pause to the resume that is sure."""
    for pause in pauses:
        if pause.verb != "pause" or pause.began > call.ended:
            continue
        ends = [
            c.ended
            for c in pauses
            if c.verb == "resume" and c.outcome == OK and c.began >= pause.ended
        ]
        if min(ends, default=NEVER) >= call.began:
            return True
    return False
