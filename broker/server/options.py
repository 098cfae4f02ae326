"""What a server is started with."""

from __future__ import annotations

import ipaddress
from typing import NamedTuple

from ..config import DEFAULT_HOST, DEFAULT_PORT
from ..names import DEFAULT_MAX_MESSAGE_BYTES


class Options(NamedTuple):
    """How a server listens and what it allows.

    Attributes:
        database: path of the file.
        listen: TCP doors as (host, port); port 0 is any free one.
        socket: path of the Unix socket, or None for none.
        socket_mode: permissions of the socket.
        socket_group: name of the group it is given to, or None.
        registration: whether unknown names may register; None is "only while
            every TCP door is on loopback".
        max_message_bytes: the largest body.
    """

    database: str
    listen: tuple[tuple[str, int], ...] = ((DEFAULT_HOST, DEFAULT_PORT),)
    socket: str | None = None
    socket_mode: int = 0o600
    socket_group: str | None = None
    registration: bool | None = None
    max_message_bytes: int = DEFAULT_MAX_MESSAGE_BYTES

    @property
    def is_registration_open(self) -> bool:
        """Whether unknown names may register."""
        if self.registration is not None:
            return self.registration
        return all(is_loopback(host) for host, _ in self.listen)


def is_loopback(host: str) -> bool:
    """Return whether only this machine can reach a door on ``host``."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
