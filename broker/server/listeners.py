"""The doors: TCP and Unix sockets, opened, named and closed."""

from __future__ import annotations

import asyncio
import os
import socket
import stat
import struct
from collections.abc import Callable
from typing import Final

from ..config import format_host
from ..errors import Invalid, Unavailable

#: Connections the kernel keeps for us while we are busy.
BACKLOG: Final = 1024


class Listeners:
    """The open doors of a server.

    Attributes:
        doors: how they are announced, ``tcp://host:port`` and ``unix:///path``.
    """

    def __init__(self) -> None:
        self.doors: list[str] = []
        self._servers: list[asyncio.AbstractServer] = []
        self._socket_path: str | None = None
        self._socket_identity: tuple[int, int] | None = None

    async def listen_tcp(
        self, host: str, port: int, factory: Callable[[], asyncio.Protocol]
    ) -> None:
        """Open a TCP door; port 0 takes any free one.

        Raises:
            Unavailable: the address is taken or not ours.
        """
        loop = asyncio.get_running_loop()
        try:
            server = await loop.create_server(factory, host, port, backlog=BACKLOG)
        except OSError as error:
            where = format_host(host, port)
            raise Unavailable(f"cannot listen on {where}: {_reason(error)}") from error
        self._servers.append(server)
        self.doors += [f"tcp://{format_host(*bound.getsockname()[:2])}" for bound in server.sockets]

    async def listen_unix(
        self, path: str, mode: int, group: str | None, factory: Callable[[], asyncio.Protocol]
    ) -> None:
        """Open a Unix socket; one left by a server that was killed is replaced.

        Raises:
            Unavailable: something else has that name, or it cannot be made.
            Invalid: there is no such group.
        """
        _remove_stale(path)
        loop = asyncio.get_running_loop()
        bound = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        # Nobody gets in between bind and chmod; only this thread runs yet.
        old_mask = os.umask(0o177)
        try:
            bound.bind(path)
        except OSError as error:
            bound.close()
            raise Unavailable(f"cannot listen on {path}: {_reason(error)}") from error
        finally:
            os.umask(old_mask)
        try:
            if group is not None:
                os.chown(path, -1, _group_id(group))
            os.chmod(path, mode)
            server = await loop.create_unix_server(factory, sock=bound, backlog=BACKLOG)
        except OSError as error:
            bound.close()
            os.unlink(path)
            raise Unavailable(f"cannot listen on {path}: {_reason(error)}") from error
        status = os.stat(path)
        self._socket_path = path
        self._socket_identity = (status.st_dev, status.st_ino)
        self._servers.append(server)
        self.doors.append(f"unix://{path}")

    def close(self) -> None:
        """Accept nobody any more, and take the socket's name away if it is still ours."""
        servers, self._servers = self._servers, []
        for server in servers:
            server.close()
        path, self._socket_path = self._socket_path, None
        if path is None:
            return
        try:
            status = os.stat(path)
            if (status.st_dev, status.st_ino) == self._socket_identity:
                os.unlink(path)
        except FileNotFoundError:
            return


def peer_uid(transport: asyncio.BaseTransport) -> int:
    """Return the uid of the process at the other end of a Unix socket.

    ``SO_PEERCRED`` on Linux (pid, uid, gid, as unix(7) says); ``LOCAL_PEERCRED``
    on macOS and the BSDs (a version, then the uid, as their ``ucred.h`` says).
    """
    connection: socket.socket = transport.get_extra_info("socket")
    if hasattr(socket, "SO_PEERCRED"):
        credentials = connection.getsockopt(
            socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i")
        )
        return int(struct.unpack("3i", credentials)[1])
    local_peercred = 1
    credentials = connection.getsockopt(0, local_peercred, struct.calcsize("2I"))
    return int(struct.unpack("2I", credentials)[1])


def _remove_stale(path: str) -> None:
    """Remove a socket nobody listens on; the owner lock says that no server of ours does."""
    try:
        status = os.lstat(path)
    except FileNotFoundError:
        return
    except OSError as error:
        raise Unavailable(f"cannot listen on {path}: {_reason(error)}") from error
    if not stat.S_ISSOCK(status.st_mode):
        raise Unavailable(f"cannot listen on {path}: a file that is no socket has this name")
    os.unlink(path)


def _group_id(name: str) -> int:
    import grp

    try:
        return grp.getgrnam(name).gr_gid
    except KeyError:
        raise Invalid(f"there is no group {name!r}") from None


def _reason(error: OSError) -> str:
    if isinstance(error, socket.gaierror):
        return error.strerror or str(error)
    # asyncio's own text repeats the address.
    return os.strerror(error.errno) if error.errno else str(error)
