"""The aims, as data: what each figure is held against, and whether it is reached.

All are ratios of medians within one run, so that they hold on any machine; a few
are absolute. They are floors, not ends.
"""

from __future__ import annotations

from typing import NamedTuple

from .results import Results, Row, shown


class Aim(NamedTuple):
    """What a figure of the broker's is to be.

    Attributes:
        case: with ``figure`` and ``body`` the row; a body of None is any.
        figure: as the case names it.
        body: size of the bodies, in bytes.
        factor: of the other value; the value itself if there is no other.
        peer: whose value the factor is of; empty: none's.
        other: the figure of that peer, if it is not the same one.
        at_most: whether less is better.
        subject: whose figure it is.
    """

    case: str
    figure: str
    body: int | None
    factor: float
    peer: str = ""
    other: str = ""
    at_most: bool = False
    subject: str = "broker"


class Verdict(NamedTuple):
    """What came of an aim; ``value`` is the ratio, or the figure itself in ``unit``."""

    aim: Aim
    value: float
    unit: str
    is_met: bool

    def __str__(self) -> str:
        """Say whose value is to be what, what it is, and whether that is enough."""
        aim = self.aim
        sign = "<=" if aim.at_most else ">="
        whose = "" if aim.subject == "broker" else f"{aim.subject} "
        against = aim.other if aim.peer == aim.subject else aim.peer
        if not against:
            aimed, value = shown(aim.factor, self.unit), shown(self.value, self.unit)
            return f"{whose}{sign} {aimed}: {value}, {self.word}"
        return f"{whose}{sign} {aim.factor:.2g} x {against}: {self.value:.2g}, {self.word}"

    @property
    def word(self) -> str:
        """Say whether it is reached."""
        return "met" if self.is_met else "NOT MET"


KIB = 1024
#: What stands for several peers: the best of them counts.
BEST_EMBEDDED = "the best embedded"
BEST_THAT_ACKS = "the best that acknowledges"
BEST_THAT_POPS = "the best that deletes at once"
GROUPS = {
    BEST_EMBEDDED: ("simplebroker", "huey", "litequeue", "persist-queue", "kombu"),
    BEST_THAT_ACKS: ("litequeue", "persist-queue", "kombu"),
    BEST_THAT_POPS: ("simplebroker", "huey"),
}
#: No checkpoint and no vacuum step may hold replies back for longer.
STALL_US = 50_000

AIMS: tuple[Aim, ...] = (
    # Within 1.5 times of a bare fsynced commit.
    Aim("a", "rate", None, 1 / 1.5, "sqlite"),
    Aim("a", "rate", None, 1 / 1.5, "sqlite", subject="broker-embedded"),
    Aim("a", "rate", None, 0.5, BEST_EMBEDDED, subject="broker-embedded"),
    Aim("b", "rate", 100, 0.5, "redis"),
    Aim("b", "rate", KIB, 1.0, "redis"),
    Aim("b", "rate", None, 1.5, "rabbitmq-quorum"),
    Aim("b", "rate", None, 10, "nats"),
    Aim("b", "max stall", None, STALL_US, at_most=True),
    Aim("c", "rate", 100, 0.5, "redis"),
    Aim("c", "rate", KIB, 0.7, "redis"),
    Aim("c", "rate", None, 1.5, "rabbitmq-quorum"),
    Aim("c", "rate", None, 5, "nats"),
    Aim("c", "p99", None, 5, "broker", "p50", at_most=True),
    Aim("c", "max stall", None, STALL_US, at_most=True),
    Aim("d", "one at a time", None, 1.0, BEST_THAT_ACKS, subject="broker-embedded"),
    # Who takes and acknowledges in a loop; and who wants no acks.
    *(
        Aim(
            "d",
            f"one at a time, {way}",
            None,
            1.0,
            best,
            "one at a time",
            subject="broker-embedded",
        )
        for way, best in (("consume()", BEST_THAT_ACKS), ("NOACK", BEST_THAT_POPS))
    ),
    Aim("d", "push", None, 0.5, "rabbitmq-quorum"),
    Aim("e", "rate", None, 1.2, "rabbitmq-quorum"),
    Aim("e", "max stall", None, STALL_US, at_most=True),
    Aim("e", "latency p99", None, 5, "broker", "latency p50", at_most=True),
    Aim("f", "to 100: deliveries", None, 3, "rabbitmq-quorum"),
    Aim("f", "to 100: deliveries", None, 300_000),
    Aim("f", "to 1000: deliveries", None, 300_000),
    Aim("g", "memory, idle", None, 60, at_most=True),
    Aim("g", "CPU, idle", None, 0.5, at_most=True),
    # What a million waiting cost, against a tenth of them.
    Aim("g", "memory, 1,000,000", None, 1.1, "broker", "memory, 100,000", at_most=True),
    Aim("g", "sends, 1,000,000", None, 0.9, "broker", "sends, 100,000"),
    Aim("g", "pulls of 100, 1,000,000", None, 0.9, "broker", "pulls of 100, 100,000"),
    Aim("g", "start-up, 1,000,000", None, 1.1, "broker", "start-up, empty", at_most=True),
    # A reply means synced.
    Aim("syncs", "for each send", None, 1.0),
    # A window of a thousand beside them starves none of the fifty: whoever waits longest waits
    # no longer than anybody may for a checkpoint.
    Aim("fair", "50 beside it: p99", None, STALL_US, at_most=True),
)


def _base(results: Results, aim: Aim, row: Row) -> float | None:
    """Return the value that an aim is a factor of."""
    other = results.find(aim.case, aim.other, row.body) if aim.other else row
    if other is None:
        return None
    peers = GROUPS.get(aim.peer, (aim.peer,))
    values = [v for v in (results.value(other, peer) for peer in peers) if v is not None]
    return max(values, default=None)


def verdicts(results: Results, row: Row) -> list[Verdict]:
    """Return what came of the aims of a row, those that could be measured."""
    found = []
    for aim in AIMS:
        if (aim.case, aim.figure) != (row.case, row.figure) or aim.body not in (None, row.body):
            continue
        value = results.value(row, aim.subject)
        if value is not None and aim.peer:
            base = _base(results, aim, row)
            value = value / base if base else None
        if value is not None:
            is_met = value <= aim.factor if aim.at_most else value >= aim.factor
            found.append(Verdict(aim, value, row.unit, is_met))
    return found
