"""The place of the torture: which queues and channels there are, and where everything is."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Final, NamedTuple

from crash import entry
from support import environment

from broker.service.accounts import login_name

#: Each queue shows one feature, so that what may become of a message in it is known.
QUEUES: Final[dict[str, dict[str, str]]] = {
    "jobs": {"max_attempts": "0"},
    "graves": {"max_attempts": "0"},
    "tasks": {"max_attempts": "3", "dead_letter": "graves", "backoff": "50ms,2,400ms"},
    "brittle": {"max_attempts": "2"},
    "short": {"max_attempts": "0", "ttl": "1500ms"},
    "fading": {"max_attempts": "0", "ttl": "2s", "on_expire": "dead"},
    "small": {"max_attempts": "0", "max_messages": "15", "on_full": "drop-oldest"},
    "tight": {"max_attempts": "0", "max_messages": "12"},
    "pops": {"max_attempts": "0"},
    "heap": {"max_attempts": "0"},
    "attic": {"max_attempts": "0"},
    "pushes": {"max_attempts": "0"},
}
#: How likely a send goes to each.
WEIGHTS: Final = {
    "jobs": 8, "tasks": 4, "brittle": 2, "short": 2, "fading": 1, "small": 2, "tight": 2,
    "pops": 2, "heap": 2, "attic": 2, "pushes": 4,
}  # fmt: skip
CHANNEL: Final = "news"
#: Subscriptions of the process's own user that come and go.
COMING_AND_GOING: Final = ("s1", "s2", "s3")
#: Who logs in over TCP; an admin, as the user of all other doors is.
TCP_USER: Final = "boss"
PASSWORD: Final = "correct horse"
#: What all subscriptions have, so that nothing dies in them.
SUBSCRIPTION: Final = {"max_attempts": "0"}


class Place(NamedTuple):
    """The folder of a run."""

    folder: Path

    @property
    def database(self) -> Path:
        """The file."""
        return self.folder / "broker.db"

    @property
    def socket(self) -> Path:
        """The server's Unix socket."""
        return self.folder / "broker.db.sock"

    @property
    def history(self) -> Path:
        """The folder of the records."""
        return self.folder / "history"

    @property
    def clock(self) -> Path:
        """By how much the wall clock is off."""
        return self.folder / "clock"

    def url(self, door: str, port: int) -> str:
        """Return where a client of a kind finds its broker."""
        if door == "tcp":
            return f"broker://{TCP_USER}@127.0.0.1:{port}"
        return f"broker+unix://{self.socket}" if door == "unix" else str(self.database)

    def variables(self, **more: str) -> dict[str, str]:
        """Return the environment of every process of a run."""
        tests = str(Path(__file__).resolve().parent.parent)
        return environment(
            PYTHONPATH=tests, PYTHONUNBUFFERED="1", **{entry.CLOCK: str(self.clock)}, **more
        )


def brokerctl(*arguments: str) -> list[str]:
    """Return the words that start ``brokerctl`` as a run needs it."""
    return [sys.executable, "-m", "crash.entry", *arguments]


def own_name() -> str:
    """Return the broker's name of the process's user."""
    return login_name(os.geteuid())
