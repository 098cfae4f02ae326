"""A minute of the long run: nothing may grow. Longer by ``make soak MINUTES=30``."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from crash.soak import MIB, Sample, Soak, growth

#: How long it takes here; a minute where changes are accepted.
MINUTES = float(os.environ.get("BROKER_TEST_SOAK_MINUTES", "0.25"))


def a_run(**last: int) -> list[Sample]:
    """Return the samples of a run in which all is level, but what is given in the last third."""
    level = Sample(0, 100, 50 * MIB, 4 * MIB, 60 * MIB, 40, 3, 1, 0, 1.0, 5.0)
    return [level] * 20 + [level._replace(**last)] * 10


def test_half_the_maximal_load_reaches_a_plateau(tmp_path: Path) -> None:
    soak = Soak(tmp_path, MINUTES, print)
    samples = soak.run()
    assert soak.sent > 0
    assert growth(samples, MINUTES) == []


def test_what_is_level_does_not_grow() -> None:
    assert growth(a_run(), 30) == []


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("file", 70 * MIB), ("wal", 20 * MIB), ("rss", 80 * MIB), ("descriptors", 60),
        ("threads", 9), ("tasks", 30), ("waiting", 100_000), ("p99", 50),
    ],
)  # fmt: skip
def test_what_grows_is_named(name: str, value: int) -> None:
    (found,) = growth(a_run(**{name: value}), 30)
    assert found.startswith(name)
