"""beanstalkd with its log synced at every write."""

from __future__ import annotations

from pathlib import Path

from .base import Peer, Target, accepts, output_of, program


class Beanstalkd(Peer):
    """``beanstalkd -f 0``."""

    name = "beanstalkd"
    label = "beanstalkd -f 0"
    #: What it has reserved, in one go; it knows no pushes.
    prefetch = 100
    max_backlog = 5_000
    max_subscriptions = 100
    copies_itself = True

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self._program = program("beanstalkd")

    def version(self) -> str:
        """Return its version."""
        return output_of(self._program, "-v").removeprefix("beanstalkd ")

    def target(self) -> Target:
        """Return where and how the load generator reaches it."""
        return Target("beanstalkd", self.port)

    def command(self) -> list[str]:
        """Return the program that serves ``self.folder`` on ``self.port``."""
        return [
            self._program, "-l", "127.0.0.1", "-p", str(self.port), "-b", str(self.folder),
            "-f", "0",
        ]  # fmt: skip

    def is_ready(self) -> bool:
        """Whether it answers."""
        return accepts(self.port)

    def create_queue(self, name: str) -> None:
        """Do nothing: a tube is there once it is named."""

    def create_topic(self, name: str, subscriptions: int) -> None:
        """Do nothing: the publisher writes to a tube a subscription."""
