"""Redis streams with a consumer group, every write synced before its reply."""

from __future__ import annotations

import shutil
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from .base import Missing, Peer, Target, accepts, output_of, program


class Redis(Peer):
    """``redis-server`` with ``appendfsync always``."""

    name = "redis"
    label = "Redis streams, always"
    max_backlog = 1_000_000
    copies_itself = True

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self._program = program("redis-server")
        if find_spec("redis") is None:
            raise Missing("the Python package redis is not installed")

    def version(self) -> str:
        """Return its version."""
        words = output_of(self._program, "--version").split()
        return next((w.removeprefix("v=") for w in words if w.startswith("v=")), "?")

    def target(self) -> Target:
        """Return where and how the load generator reaches it."""
        return Target("redis", self.port)

    def command(self) -> list[str]:
        """Return the program that serves ``self.folder`` on ``self.port``."""
        return [
            self._program, "--port", str(self.port), "--bind", "127.0.0.1",
            "--dir", str(self.folder), "--save", "", "--appendonly", "yes",
            "--appendfsync", "always", "--auto-aof-rewrite-percentage", "0",
        ]  # fmt: skip

    def is_ready(self) -> bool:
        """Whether it answers, its log loaded."""
        if not accepts(self.port):
            return False
        import redis

        try:
            return bool(self._client().ping())
        except redis.exceptions.BusyLoadingError:
            return False

    def _client(self) -> Any:
        import redis

        return redis.Redis(port=self.port)

    def create_queue(self, name: str) -> None:
        """Make a stream and its group."""
        self._client().xgroup_create(name, "group", id="0", mkstream=True)

    def create_topic(self, name: str, subscriptions: int) -> None:
        """Make a stream a subscription: the publisher writes to each."""
        for number in range(subscriptions):
            self.create_queue(f"{name}.{number}")

    def one_shot(self, queue: str) -> list[str] | None:
        """Return the redis-cli that adds one entry."""
        client = shutil.which("redis-cli")
        return (
            None if client is None else [client, "-p", str(self.port), "XADD", queue, "*", "b", "x"]
        )
