"""A history put in order: who sent what, who was handed it, what may have ended a lease.

Pure functions of the calls; :mod:`crash.checker` asks what of it cannot be.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any, Final, NamedTuple

from crash.history import NEVER, OK, UNKNOWN, Call, Delivered

from broker.client.retries import KEY_TTL_MS
from broker.names import DEFAULT_KEY_TTL_MS

#: What rounding to milliseconds, and a transaction that began before the clock jumped
#: and ended after it, may make up, in milliseconds and nanoseconds.
ROUNDING_MS: Final = 5
CLOCK_GRACE_NS: Final = 5_000_000_000
#: A killed client has not repeated anything for longer than this.
PATIENCE_NS: Final = 60_000_000_000
#: Calls that may end a lease by the message's id.
_IN_HAND: Final = frozenset(["move", "release", "delete"])


class Violation(NamedTuple):
    """Something that must not be.

    Attributes:
        rule: which promise is broken.
        text: what was seen.
        tag, delivery: of which message, where it is one.
    """

    rule: str
    text: str
    tag: str | None = None
    delivery: int | None = None


class Clocks:
    """What the time may have been for the broker: the machine's, and the jumps of it.

    Args:
        calls: with the events ``anchor`` (the machine's own time), ``clock`` (from now
            on the wall clock is off by so much, for who looks at it anew) and ``server``
            (one began, with the clock as it was; it ended, or never).
    """

    def __init__(self, calls: Iterable[Call]) -> None:
        self._anchor_ms = self._anchor_ns = 0
        #: (from, to, offset) in nanoseconds and milliseconds.
        self._offsets: list[tuple[int, int, int]] = []
        since, offset = 0, 0
        for call in calls:
            if call.verb == "anchor":
                self._anchor_ns, self._anchor_ms = call.began, call.args["ms"]
            elif call.verb == "clock":
                self._offsets.append((since, call.began + CLOCK_GRACE_NS, offset))
                since, offset = call.began, call.args["offset"]
            elif call.verb == "server":
                self._offsets.append((call.began, call.ended, call.args["offset"]))
        self._offsets.append((since, NEVER, offset))

    def wall_ms(self, at_ns: int) -> float:
        """Return the machine's own time."""
        return self._anchor_ms + (at_ns - self._anchor_ns) / 1e6

    def _between(self, since_ns: int, until_ns: int) -> list[int]:
        return [o for a, b, o in self._offsets if a <= until_ns and b >= since_ns]

    def latest(self, since_ns: int, until_ns: int, *, seen_ms: int | None = None) -> float:
        """Return up to when the broker's time may have come between two moments.

        Args:
            since_ns, until_ns: the moments.
            seen_ms: what it is known to have been at the second; other clocks may have
                been ahead before.
        """
        if until_ns >= NEVER:
            return float("inf")
        wall = self.wall_ms(until_ns)
        times = [wall + offset for offset in self._between(since_ns, until_ns)]
        if seen_ms is not None:
            # Of its own clock, the nearest, that is more than a guess.
            own = min(times, key=lambda t: abs(t - seen_ms))
            times = [t for t in times if t != own] + [float(seen_ms)]
        return max(times) + ROUNDING_MS

    def earliest(self, since_ns: int, until_ns: int) -> float:
        """Return what the broker's time was at least, some time between two moments."""
        wall = self.wall_ms(since_ns)
        return min(wall + offset for offset in self._between(since_ns, until_ns)) - ROUNDING_MS


@dataclass(slots=True)
class Send:
    """One message of a send or a publication."""

    call: Call
    tag: str
    index: int
    seen: bool = False

    @property
    def target(self) -> str:
        """The queue or channel."""
        name: str = self.call.args.get("queue") or self.call.args["channel"]
        return name

    @property
    def is_publication(self) -> bool:
        """Whether it went to a channel."""
        return "channel" in self.call.args

    @property
    def is_duplicate(self) -> bool:
        """Whether the answer was that its key had been used: nothing was stored for it."""
        return self.call.outcome == OK and isinstance(self.call.result, dict)

    @property
    def is_sure(self) -> bool:
        """Whether it is stored: by its answer, or because one of its call was seen."""
        is_stored = self.call.outcome == OK or (self.seen and self.call.may_be_done)
        return is_stored and not self.is_duplicate

    @property
    def is_timed(self) -> bool:
        """Whether it was not to be ready at once."""
        return bool(self.call.args.get("delay_ms") or self.call.args.get("at_ms"))


@dataclass(slots=True)
class Pull:
    """One message as it was handed out; ``first`` is the earliest it may have been claimed."""

    call: Call
    message: Delivered
    place: int
    began: int
    ended: int

    @property
    def is_pushed(self) -> bool:
        """Whether its lease lives as long as a consumer's connection."""
        return self.call.verb == "pushed"

    @property
    def lease_ms(self) -> int | None:
        """How long it is leased; None without a lease or with a consumer's."""
        lease: int | None = self.call.args.get("lease")
        return lease

    @property
    def now_ms(self) -> int | None:
        """The broker's time at the claim, which the end of the lease tells."""
        if self.message.until is None or self.lease_ms is None:
            return None
        return self.message.until - self.lease_ms


@dataclass(slots=True)
class Answer:
    """What was answered to one receipt of an ack, a nack, an extend or a transaction."""

    call: Call
    receipt: tuple[int, int]
    code: str | None
    #: Its reply may have been lost and the call repeated, which is refused then.
    repeated: bool

    @property
    def is_done(self) -> bool:
        """Whether it was done."""
        return self.call.outcome == OK and self.code is None

    @property
    def may_be_done(self) -> bool:
        """Whether it may have been done."""
        if self.code == "STALE":
            return self.repeated
        return self.call.may_be_done and self.code is None


@dataclass
class Ledger:
    """A history put in order."""

    calls: list[Call]
    clocks: Clocks = field(init=False)
    sends: dict[str, Send] = field(default_factory=dict)
    pulls: list[Pull] = field(default_factory=list)
    empty: list[Call] = field(default_factory=list)
    #: By delivery, in the order of their generations.
    leases: dict[int, list[Pull]] = field(default_factory=lambda: defaultdict(list))
    by_tag: dict[str, list[Pull]] = field(default_factory=lambda: defaultdict(list))
    acks: dict[int, list[Answer]] = field(default_factory=lambda: defaultdict(list))
    nacks: dict[tuple[int, int], list[Answer]] = field(default_factory=lambda: defaultdict(list))
    extends: dict[tuple[int, int], list[Answer]] = field(default_factory=lambda: defaultdict(list))
    #: Moves and releases by the message's id.
    in_hand: dict[int, list[Call]] = field(default_factory=lambda: defaultdict(list))
    by_verb: dict[str, list[Call]] = field(default_factory=lambda: defaultdict(list))
    #: What was left at the end: dead, or (which must not be) anything else.
    left: list[Delivered] = field(default_factory=list)
    dropped: dict[str, int] = field(default_factory=dict)
    #: All values each setting of each queue may have had.
    settings: dict[str, dict[str, set[str]]] = field(default_factory=dict)
    #: When consumers' calls, and the lives of clients, ended.
    consumers: dict[tuple[str, int], Call] = field(default_factory=dict)
    last_of: dict[str, Call] = field(default_factory=dict)
    #: By client, where it was killed, the kill.
    kills: dict[str, Call] = field(default_factory=dict)
    #: Pops whose answer was lost, with what they had taken.
    lost_pops: list[Call] = field(default_factory=list)
    _families: dict[str, set[str]] = field(default_factory=dict)
    deaths: list[tuple[int, int]] = field(default_factory=list)
    #: When each client's calls began.
    _begans: dict[str, list[int]] = field(default_factory=lambda: defaultdict(list))

    def __post_init__(self) -> None:
        self.clocks = Clocks(self.calls)
        for call in self.calls:
            self.by_verb[call.verb].append(call)
            self.last_of[call.client] = call
            self._begans[call.client].append(call.began)
        self.deaths = [(c.began, c.ended) for c in self.by_verb["server-ends"]]
        for call in self.calls:
            self._take(call)
        for found in self.leases.values():
            found.sort(key=lambda pull: pull.message.generation or 0)
        self._look_at_the_end()

    def _take(self, call: Call) -> None:
        if call.verb in ("send", "publish"):
            self._take_sends(call)
        elif call.verb == "transact":
            self._take_sends(call)
            self._take_answers(call)
        elif call.verb in ("pull", "pushed"):
            self._take_pulls(call)
        elif call.verb in ("ack", "nack", "extend"):
            self._take_answers(call)
        elif call.verb in _IN_HAND and call.may_be_done:
            self.in_hand[call.args["id"]].append(call)
        elif call.verb in ("create", "set") and call.may_be_done:
            known = self.settings.setdefault(call.args["queue"], {})
            for name, value in call.args["settings"].items():
                known.setdefault(name, set()).add(value)
        elif call.verb == "client-ends":
            self.kills[call.args["client"]] = call
        elif call.verb == "consume":
            self.consumers[call.client, call.number] = call

    def _take_sends(self, call: Call) -> None:
        if isinstance(call.result, dict) and self.server_ended(call.began, call.ended):
            # The client may have repeated it, and have met its own key.
            call = replace(call, outcome=UNKNOWN, result=None)
        for index, tag in enumerate(call.args["tags"]):
            self.sends[tag] = Send(call, tag, index)

    def _take_pulls(self, call: Call) -> None:
        if call.outcome != OK:
            if call.may_be_done and call.verb == "pull" and call.args["lease"] is None:
                self.lost_pops.append(call)
            return
        if not call.result:
            self.empty.append(call)
        began = call.began
        if call.verb == "pushed":
            # It may have been claimed, and have waited here, since the consumer began.
            began = self.consumer_of(call).began
        for place, fields in enumerate(call.result):
            pull = Pull(call, Delivered(*fields), place, began, call.ended)
            self.pulls.append(pull)
            if pull.message.delivery is not None:
                self.leases[pull.message.delivery].append(pull)
            if pull.message.tag is not None:
                self.by_tag[pull.message.tag].append(pull)

    def _take_answers(self, call: Call) -> None:
        whole = call.result if call.outcome == OK and call.verb != "transact" else None
        codes = whole if isinstance(whole, list) else [None] * len(call.args["receipts"])
        if call.outcome == "refused":
            codes = [call.code] * len(codes)
        repeated = call.verb != "transact" and self.server_ended(call.began, call.ended)
        for text, code in zip(call.args["receipts"], codes, strict=True):
            delivery, generation = map(int, text.split("."))
            answer = Answer(call, (delivery, generation), code, repeated)
            if call.verb in ("ack", "transact"):
                self.acks[delivery].append(answer)
            elif call.verb == "nack":
                self.nacks[answer.receipt].append(answer)
            else:
                self.extends[answer.receipt].append(answer)

    def _look_at_the_end(self) -> None:
        for call in self.by_verb["final"]:
            self.left += [Delivered(*fields) for fields in call.args["left"]]
            self.dropped = call.args["dropped"]
        seen = {m.tag for m in self.left} | set(self.by_tag)
        calls_seen = {id(self.sends[tag].call) for tag in seen if tag in self.sends}
        for send in self.sends.values():
            send.seen = id(send.call) in calls_seen

    # --- asking ---

    def server_ended(self, since_ns: int, until_ns: int) -> bool:
        """Return whether a server was killed or stopped between two moments."""
        return any(since_ns <= ended and until_ns >= began for began, ended in self.deaths)

    def consumer_of(self, pushed: Call) -> Call:
        """Return the consumer that something was pushed to, or that was idle."""
        return self.consumers[pushed.client, pushed.args["consume"]]

    def leaves(self, call: Call) -> tuple[int, int]:
        """Return between which moments who waits by a call may have left its connection."""
        killed = self.kills.get(call.client)
        gone = NEVER if killed is None else killed.ended
        if call.outcome == OK:
            # A consumer cancels after it has said that it is over, and then goes on.
            own = self._begans[call.client]
            after = bisect_right(own, call.ended)
            return call.ended, own[after] if after < len(own) else gone
        if call.heard < NEVER:
            return call.began, call.heard
        return (call.began if killed is None else killed.began), gone

    def values(self, queue: str, setting: str) -> set[str]:
        """Return all values a setting of a queue may have had; subscriptions are made alike."""
        return self.settings.get(queue, {}).get(setting, set())

    def family(self, queue: str) -> set[str]:
        """Return where a message sent to a queue may come to be."""
        known = self._families.get(queue)
        if known is None:
            known = self._families[queue] = self._family(queue)
        return known

    def _family(self, queue: str) -> set[str]:
        found = {queue}
        while True:
            more = {t for name in found for t in self.values(name, "dead_letter")}
            more |= {c.args["to"] for c in self.by_verb["move"] if c.args["queue"] in found}
            if more <= found:
                return found
            found |= more

    def may_be_double(self, send: Send) -> bool:
        """Return whether its client may have repeated it when its key was forgotten.

        A client repeats a send whose answer was lost, with a key: for as long as that
        is remembered, by the broker's time, it is stored once. A wall clock that is set
        forth by more meanwhile ends that.
        """
        call = send.call
        given_up = min(call.heard, call.began + PATIENCE_NS)
        if not self.server_ended(call.began, given_up):
            return False
        lives = call.args.get("key_ttl_ms") or (
            DEFAULT_KEY_TTL_MS if "key" in call.args else KEY_TTL_MS
        )
        first = self.clocks.earliest(call.began, given_up)
        return self.clocks.latest(call.began, given_up) >= first + lives

    def calls_on(self, queues: set[str], *verbs: str) -> Iterator[Call]:
        """Return what may have been done with some queues."""
        for verb in verbs:
            for call in self.by_verb[verb]:
                if call.may_be_done and call.args.get("queue") in queues:
                    yield call

    def story(self, tag: str | None, delivery: int | None) -> list[Call]:
        """Return all that was said about a message or a delivery."""
        told: dict[int, Call] = {}
        deliveries = {delivery} if delivery is not None else set()
        if tag is not None and tag in self.sends:
            call = self.sends[tag].call
            told[id(call)] = call
            deliveries |= {p.message.delivery or 0 for p in self.by_tag[tag]}
        ids: set[Any] = set()
        for number in deliveries:
            for pull in self.leases.get(number, ()):
                told[id(pull.call)] = pull.call
                ids.add(pull.message.id)
            answers = [*self.acks.get(number, ())]
            for known in (self.nacks, self.extends):
                answers += [a for (d, _), found in known.items() if d == number for a in found]
            told.update((id(answer.call), answer.call) for answer in answers)
        for pull in self.by_tag.get(tag or "", ()):
            told[id(pull.call)] = pull.call
        for number in ids:
            told.update((id(call), call) for call in self.in_hand.get(number, ()))
        first = min((call.began for call in told.values()), default=0)
        last = max((call.began for call in told.values()), default=0)
        for call in (*self.by_verb["server-ends"], *self.by_verb["clock"]):
            if first <= call.began <= last:
                told[id(call)] = call
        return sorted(told.values(), key=lambda call: call.began)
