"""Deliberate faults, one at a time, in a real server: the checker must see each for what it is."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import pytest
from crash.checker import check
from crash.faults import FAULTS
from crash.torture import Round, tell

#: The rule that is broken, which must be among those that are reported.
EXPECTED: Final = {
    "reply-before-commit": "every acknowledged send is delivered, waiting, dead or expired",
    "attempt-counted-at-ack": "attempts rise with leases",
    "ack-ignores-the-generation": "a late ack is refused",
    "ack-is-forgotten": "nothing comes back after an acknowledged ack",
    "wake-up-is-lost": "a wake-up is never lost",
    "consumers-are-not-woken": "what is ready is pushed",
    "second-half-of-a-batch-is-dropped": (
        "every acknowledged send is delivered, waiting, dead or expired"
    ),
    "keys-are-forgotten-at-a-restart": "one message a key",
    "fan-out-skips-a-subscription": "one copy a subscription that existed at the publish",
    "delays-are-halved": "nothing before its time",
    "leases-are-given-twice": "never two live leases on one delivery",
    "last-in-is-first-out": "first in, first out",
    "half-a-transaction-is-done": "nothing appears that was not sent",
    "counters-drift": "counters equal what is there",
}
#: Rounds of so many seconds and calls each, at most so many; most faults show in the first.
SECONDS: Final = 4.0
CALLS: Final = 600
ROUNDS: Final = 8
#: All through the server, which is what has the fault.
DOORS: Final = ("unix", "unix", "unix", "tcp")
QUEUES: Final = ("jobs", "heap")


def test_every_fault_has_its_rule() -> None:
    assert EXPECTED.keys() == FAULTS.keys()


@pytest.mark.parametrize("fault", EXPECTED)
def test_the_checker_catches(fault: str, tmp_path: Path) -> None:
    seen: set[str] = set()
    for seed in range(ROUNDS):
        folder = tmp_path / str(seed)
        folder.mkdir()
        this_round = Round(
            folder, seed, SECONDS, fault=fault, doors=DOORS, queues=QUEUES, at_least=CALLS
        )
        calls = this_round.run()
        violations = check(calls)
        seen |= {violation.rule for violation in violations}
        if EXPECTED[fault] in seen:
            assert EXPECTED[fault] in tell(calls, violations)
            return
    pytest.fail(f"{ROUNDS} rounds have shown only {sorted(seen)}")
