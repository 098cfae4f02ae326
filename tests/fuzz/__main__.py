"""``python tests/fuzz MINUTES``: the fuzz tests, from another place each time, until time is up.

Stops at the first failure, which says how to see it again.
"""

from __future__ import annotations

import os
import re
import secrets
import subprocess
import sys
import time
from pathlib import Path

FOLDER = Path(__file__).parent
#: Of one test in one round.
EXAMPLES = "500"
_COUNTED = re.compile(r"(\d+) passing, (\d+) failing, and (\d+) invalid|(\d+) passing examples")


def main(minutes: float) -> int:
    """Run rounds until time is up, and print what they came to; return the exit status."""
    began = time.monotonic()
    rounds = examples = 0
    while time.monotonic() - began < minutes * 60:
        seed = secrets.randbits(64)
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "-q", "-n", "2", "-o", "faulthandler_timeout=0",
             "--hypothesis-show-statistics", f"--hypothesis-seed={seed}", str(FOLDER)],
            env={**os.environ, "HYPOTHESIS_PROFILE": "fuzz", "BROKER_TEST_EXAMPLES": EXAMPLES},
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip
        rounds += 1
        examples += sum(int(match[1] or match[4]) for match in _COUNTED.finditer(done.stdout))
        print(f"round {rounds}, seed {seed}: {examples} examples so far", flush=True)
        if done.returncode:
            print(done.stdout)
            return 1
    seconds = time.monotonic() - began
    print(f"{rounds} rounds, {examples} examples, {seconds:.0f} s: nothing was found")
    return 0


if __name__ == "__main__":
    sys.exit(main(float(sys.argv[1])))
