"""A database by its path: through the server that owns it, or the file itself.

Which of the two is found out at each call, so that a client outlives a server's
start and stop. The embedded broker, and with it the store, is imported only when
no server answers.
"""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Any

from ..commands.table import syntax_of
from ..config import Address, make_default_folder, max_message_bytes, socket_path
from ..errors import Unavailable
from ..store.owner import SERVER, Owner, ServerRunning, lock_path, read_owner
from .sockets import ConnectionRefused, SocketTransport, with_key

if TYPE_CHECKING:
    from ..service.embedded import EmbeddedBroker
    from .consuming import Source

#: A server that stops and one that starts may alternate this often under one call.
MAX_TURNS = 10


class LocalTransport:
    """Executes commands on a database, with or without a server.

    Args:
        address: of the database.
        act_as: on whose behalf, if not the process's own user.
        timeout_s: how long another process may hold the database, in seconds.
    """

    def __init__(self, address: Address, *, act_as: str | None, timeout_s: float) -> None:
        self.database: str | None = address.path
        self._address = address
        self._act_as = act_as
        self._timeout_s = timeout_s
        self._server: SocketTransport | None = None
        self._embedded: EmbeddedBroker | None = None

    def execute(self, command: Any) -> Any:
        """Execute a command wherever the database is at home at this moment."""
        began = time.monotonic()
        for _ in range(MAX_TURNS):
            try:
                server = self._server
                if server is None:
                    if self._embedded is not None:
                        # Who has the file open finds a server as it takes the lock.
                        return self._embedded.execute(command)
                    server = self._find_server(read_owner(self._address.path))
                if server is None:
                    return self._open(command).execute(command)
                # Here, so that the key stays with it if the server dies on the way.
                command = with_key(command)
                return server.execute(command)
            except ServerRunning as running:
                self._join(running.owner)
            except ConnectionRefused:
                self._leave_server()
            if getattr(command, "wait_ms", 0):
                # A pull that has waited at one owner waits for the rest at the next.
                waited_ms = round((time.monotonic() - began) * 1000)
                command = command._replace(wait_ms=max(0, command.wait_ms - waited_ms))
                began = time.monotonic()
        raise Unavailable(f"the owner of {self._address.path} keeps changing")

    def consume(self, queue: str, prefetch: int) -> Source | None:
        """Return the messages that a server pushes; None where none runs."""
        server = self._server or self._find_server(read_owner(self._address.path))
        if server is None:
            return None
        try:
            return server.consume(queue, prefetch)
        except ConnectionRefused:
            self._leave_server()
            raise

    def _find_server(self, owner: Owner | None) -> SocketTransport | None:
        """Return a connection to the server the lock file speaks of, if it answers."""
        for path in _sockets(self._address.path, owner):
            address = Address("unix", path, user=self._act_as)
            server = SocketTransport(
                address, password=None, timeout_s=self._timeout_s, reconnects=False
            )
            try:
                server.open()
            except ConnectionRefused:
                return None
            self._server = server
            return server
        return None

    def _open(self, command: Any) -> EmbeddedBroker:
        """Return the broker in this process, now that no server is there."""
        from ..service.embedded import EmbeddedBroker

        if self._address.is_default and syntax_of(type(command)).creates:
            make_default_folder(self._address.path)
        self._embedded = EmbeddedBroker(
            self._address.path,
            act_as=self._act_as,
            timeout_s=self._timeout_s,
            max_message_bytes=max_message_bytes(),
        )
        return self._embedded

    def _join(self, owner: Owner) -> None:
        """Let go of the file, which a server owns by now, and connect to that."""
        if self._embedded is not None:
            self._embedded.close()
            self._embedded = None
        if self._find_server(owner) is None:
            raise Unavailable(
                f"a server (pid {owner.pid}) owns {self._address.path} "
                f"and has no Unix socket that answers; it listens at "
                f"{', '.join(owner.doors) or 'no door'}"
            )

    def _leave_server(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None

    def close(self) -> None:
        """Close whichever is open; twice is fine."""
        self._leave_server()
        embedded, self._embedded = self._embedded, None
        if embedded is not None:
            embedded.close()


def _sockets(database: str, owner: Owner | None) -> list[str]:
    """Return the sockets at which a server of a database may answer.

    Who may not read the lock file, as members of the group that a server's socket
    is given to, tries the usual place.
    """
    if owner is not None and owner.kind == SERVER and owner.ready:
        return [door.removeprefix("unix://") for door in owner.doors if door.startswith("unix://")]
    lock = lock_path(database)
    if owner is None and os.path.exists(lock) and not os.access(lock, os.R_OK):
        return [socket_path(database)]
    return []
