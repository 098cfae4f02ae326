"""What every test gets: Hypothesis profiles, asyncio's debug mode, external programs."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Callable

import pytest
from hypothesis import settings

# No deadline in either: how long an example takes says more about the machine
# than about the code. `ci` looks longer and prints how to repeat a failure.
settings.register_profile("dev", deadline=None)
settings.register_profile("ci", deadline=None, max_examples=200, print_blob=True)
# `fuzz` is for `make fuzz`: longer, and from another place each time.
settings.register_profile(
    "fuzz",
    deadline=None,
    max_examples=int(os.environ.get("BROKER_TEST_EXAMPLES", "3000")),
    print_blob=True,
    database=None,
)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "dev"))

# Before any event loop exists, and inherited by the programs tests start: a
# coroutine nobody awaits and a callback from the wrong thread are errors.
os.environ["PYTHONASYNCIODEBUG"] = "1"

# A shell has what it starts in the background ignore SIGINT, which programs inherit; those
# that tests interrupt are to be as in a terminal, wherever the suite was started.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def needs_program() -> Callable[[str], str]:
    """Return a function that returns a program's path, or skips the test without it.

    With ``BROKER_REQUIRE_PROGRAMS=1`` a missing program fails the test, so that
    no check is lost unseen where everything is meant to be installed.
    """

    def find(name: str) -> str:
        path = shutil.which(name)
        if path is None:
            if os.environ.get("BROKER_REQUIRE_PROGRAMS") == "1":
                pytest.fail(f"the program {name} is not installed", pytrace=False)
            pytest.skip(f"the program {name} is not installed")
        return path

    return find
