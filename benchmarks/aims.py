"""The aims, as data: what each figure is held against, and whether it is reached.

All are ratios of medians within one run, so that they hold on any machine; a few
are absolute. They are floors, not ends.
"""

from __future__ import annotations

from typing import NamedTuple

from .results import Results, Row


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
    """What came of an aim; ``value`` is the ratio, or the figure itself."""

    aim: Aim
    value: float
    is_met: bool

    def __str__(self) -> str:
        aim = self.aim
        sign = "<=" if aim.at_most else ">="
        of = f" x {aim.peer}" if aim.peer and aim.peer != aim.subject else ""
        if aim.other and not of:
            of = f" x its {aim.other}"
        elif aim.other:
            of = f"{of}'s {aim.other}"
        return f"{sign} {aim.factor:g}{of}: {self.value:.3g}, {'met' if self.is_met else 'NOT MET'}"


KIB = 1024
AIMS: tuple[Aim, ...] = (
    # (a) within 1.5 times of a bare fsynced commit.
    Aim("a", "rate", None, 1 / 1.5, "sqlite"),
    Aim("a", "rate", None, 1 / 1.5, "sqlite", subject="broker-embedded"),
    Aim("b", "rate", 100, 0.5, "redis"),
    Aim("b", "rate", KIB, 1.0, "redis"),
    Aim("b", "rate", None, 1.5, "rabbitmq-quorum"),
    Aim("b", "rate", None, 10, "nats"),
    Aim("c", "rate", 100, 0.5, "redis"),
    Aim("c", "rate", KIB, 0.7, "redis"),
    Aim("c", "rate", None, 1.5, "rabbitmq-quorum"),
    Aim("c", "rate", None, 5, "nats"),
    Aim("c", "p99", None, 5, "broker", "p50", at_most=True),
    Aim("d", "push", None, 0.5, "rabbitmq-quorum"),
    Aim("e", "rate", None, 1.2, "rabbitmq-quorum"),
    Aim("e", "latency p99", None, 5, "broker", "latency p50", at_most=True),
)


def verdicts(results: Results, row: Row) -> list[Verdict]:
    """Return what came of the aims of a row, those that could be measured."""
    found = []
    for aim in AIMS:
        if (aim.case, aim.figure) != (row.case, row.figure) or aim.body not in (None, row.body):
            continue
        value = results.median(row, aim.subject)
        if value is not None and aim.peer:
            other = results.find(aim.case, aim.other, row.body) if aim.other else row
            base = results.median(other, aim.peer) if other else None
            value = value / base if base else None
        if value is not None:
            is_met = value <= aim.factor if aim.at_most else value >= aim.factor
            found.append(Verdict(aim, value, is_met))
    return found
