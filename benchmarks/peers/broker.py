"""This broker."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from broker import __version__
from broker.client.sync import Client, connect

from .base import Peer, Target, accepts


class Broker(Peer):
    """``brokerctl serve``, over TCP like the others."""

    name = "broker"
    label = "this broker"
    max_backlog = 1_000_000

    def version(self) -> str:
        """Return its version."""
        return __version__

    def target(self) -> Target:
        """Return where and how the load generator reaches it."""
        return Target("broker", self.port)

    def command(self) -> list[str]:
        """Return the program that serves ``self.folder`` on ``self.port``."""
        return [
            sys.executable, "-m", "broker.cli", "serve", "--database", str(self.database),
            "--listen", f"127.0.0.1:{self.port}", "--log-level", "error",
        ]  # fmt: skip

    def environment(self) -> dict[str, str]:
        """Return this process's variables but those that would change it."""
        return {k: v for k, v in os.environ.items() if not k.startswith(("BROKER_", "PYTHON"))}

    @property
    def database(self) -> Path:
        """The path of its database."""
        return self.folder / "broker.db"

    def client(self) -> Client:
        """Return a client of the user that the load generator is."""
        return connect(f"broker://bench@127.0.0.1:{self.port}", password="bench")

    def is_ready(self) -> bool:
        """Whether it answers."""
        return accepts(self.port)

    def create_queue(self, name: str) -> None:
        """Make an empty durable queue."""
        with self.client() as client:
            client.create_queue(name)

    def create_topic(self, name: str, subscriptions: int) -> None:
        """Make a channel with named subscriptions."""
        with self.client() as client:
            client.create_channel(name)
            for number in range(subscriptions):
                client.subscribe(name, as_name=f"s{number}")

    def one_shot(self, queue: str) -> list[str]:
        """Return the command that sends one message through the server."""
        brokerctl = str(Path(sys.executable).with_name("brokerctl"))
        return [brokerctl, "--url", str(self.database), "queue", "send", queue, "x"]
