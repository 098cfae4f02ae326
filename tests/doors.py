"""The ways to a broker that tests go through."""

from __future__ import annotations

from pathlib import Path

from support import ServerProcess

import broker
from broker import Client

PASSWORD = "correct horse"


class Door:
    """One way to a broker, and clients of several users through it.

    The users ``alice`` and ``bob`` are nobody special, ``boss`` is an admin.
    """

    def __init__(self, kind: str, database: Path, server: ServerProcess | None) -> None:
        self.kind = kind
        self.database = database
        self.server = server
        self._opened: list[Client] = []
        admin = self._connect_local(None)
        for name in ("alice", "bob"):
            admin.create_user(name, password=PASSWORD, if_missing=True)
        admin.create_user("boss", password=PASSWORD, admin=True, if_missing=True)

    def client(self, name: str = "alice") -> Client:
        """Return a new client that acts as a user."""
        if self.kind != "tcp" or self.server is None:
            return self._connect_local(name)
        client = broker.connect(f"broker://{name}@127.0.0.1:{self.server.port}", password=PASSWORD)
        self._opened.append(client)
        return client

    def _connect_local(self, name: str | None) -> Client:
        url = str(self.database)
        if self.kind == "unix" and self.server is not None:
            url = f"broker+unix://{self.server.socket}"
        client = broker.connect(url, user=name)
        self._opened.append(client)
        return client

    def close(self) -> None:
        """Close every client."""
        for client in self._opened:
            client.close()
        self._opened.clear()
