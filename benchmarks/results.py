"""What has been measured, by case, figure, size of bodies and peer; and the medians."""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from typing import NamedTuple


class Row(NamedTuple):
    """What is compared between peers.

    Attributes:
        case: a letter, or a word.
        figure: what of it, as the table says it.
        unit: "/s", "us", "%", "MiB" or "s".
        body: size of the bodies in bytes; 0 if there are none.
    """

    case: str
    figure: str
    unit: str
    body: int


class Results:
    """All values of a run, in the order in which their rows came first."""

    def __init__(self) -> None:
        self._values: dict[Row, dict[str, list[float]]] = {}
        #: What could not be measured, and why.
        self.skipped: dict[str, str] = {}
        #: Version of each peer that took part.
        self.versions: dict[str, str] = {}

    def add(self, row: Row, peer: str, value: float) -> None:
        """Add the value of one round."""
        self._values.setdefault(row, {}).setdefault(peer, []).append(value)

    def __iter__(self) -> Iterator[Row]:
        return iter(self._values)

    def values(self, row: Row) -> dict[str, list[float]]:
        """Return all rounds of a row, by peer."""
        return self._values.get(row, {})

    def value(self, row: Row, peer: str) -> float | None:
        """Return the median of the rounds, of a maximum the largest; None if there was none."""
        values = self.values(row).get(peer)
        if not values:
            return None
        return max(values) if "max" in row.figure.split() else statistics.median(values)

    def find(self, case: str, figure: str, body: int) -> Row | None:
        """Return the row of that name."""
        return next((r for r in self if (r.case, r.figure, r.body) == (case, figure, body)), None)

    def peers(self) -> list[str]:
        """Return who has a value anywhere, in the order of their versions."""
        seen = {peer for values in self._values.values() for peer in values}
        return [name for name in self.versions if name in seen]


def shown(value: float | None, unit: str) -> str:
    """Return a value with its unit, short, for people."""
    if value is None:
        return "-"
    if unit == "/s":
        if value < 1000:
            return f"{value:.3g} /s"
        return f"{value / 1000:.3g} k/s" if value < 1e6 else f"{value / 1e6:.3g} M/s"
    if unit == "us" and value >= 1000:
        value, unit = value / 1000, "ms"
    if not unit:
        return f"{value:.3g}"
    return f"{value:.3g} {unit}" if value < 1000 else f"{value:.0f} {unit}"
