"""Half a minute of the torture. Longer by ``make torture MINUTES=60``."""

from __future__ import annotations

import os
import random
from pathlib import Path

from crash.checker import check
from crash.torture import Round, count, summary, tell

#: How long it takes; half a minute where changes are accepted.
SECONDS = float(os.environ.get("BROKER_TEST_TORTURE_SECONDS", "10"))


def test_nothing_promised_is_broken(tmp_path: Path) -> None:
    seed = int(os.environ.get("BROKER_TEST_SEED", str(random.randrange(2**31))))
    print(f"BROKER_TEST_SEED={seed}")
    this_round = Round(tmp_path, seed, SECONDS, at_least=200)
    calls = this_round.run()
    violations = check(calls)
    counts = count(calls) + this_round.done
    print(summary(counts, len(violations)))
    assert not violations, tell(calls, violations)
    # It has looked at something, and has done something to it.
    assert counts["ok"] > 100
    assert counts["deliveries"] > 0
    assert sum(this_round.done.values()) > 0
