"""The blocking client."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Any, TypeVar

from .. import config
from ..commands.grammar import check
from ..commands.table import syntax_of
from .methods import Methods
from .transport import Transport

_Result = TypeVar("_Result")


def connect(
    url: str | None = None,
    *,
    user: str | None = None,
    password: str | None = None,
    timeout_s: float = 30.0,
) -> Client:
    """Return a client of the broker at ``url``; nothing is opened before the first call.

    Args:
        url: a database (a path or ``sqlite:////path``), which is used through its
            server where one runs and directly where none does; ``broker://[user@]host[:6470]``;
            ``broker+unix:///path``. None is ``$BROKER_URL``, the configuration file,
            or the default database.
        user: over TCP the login, elsewhere the user an admin acts as; None is
            ``$BROKER_USER``.
        password: for a login by name; None is ``$BROKER_PASSWORD``.
        timeout_s: how long to wait for a connection, for another process that holds
            the database, and for each reply (beyond what a pull itself waits), in seconds.

    Raises:
        Invalid: the URL or the user's name is malformed.
    """
    address = config.locate(url)
    name = config.user(user) or address.user
    if address.kind == "file":
        from .local import LocalTransport

        return Client(LocalTransport(address, act_as=name, timeout_s=timeout_s))
    from .sockets import SocketTransport

    if password is None:
        password = os.environ.get("BROKER_PASSWORD") or None
    if address.kind == "unix" and user is None and password is not None and name is None:
        password = None
    transport = SocketTransport(address._replace(user=name), password=password, timeout_s=timeout_s)
    return Client(transport)


class Client(Methods):
    """A connection to a broker, made with :func:`connect`; a context manager.

    Every method returns once the broker has committed and synced what it did, and
    raises :class:`~broker.errors.BrokerError` for what it refused.

    Threads may share a client: calls are done one at a time, so a waiting pull
    holds the others up; a client a thread is the better choice. After a fork the
    child must make its own: in it every call but :meth:`close` raises RuntimeError.
    """

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self._lock = threading.Lock()
        self._process = os.getpid()
        self._closed = False

    def execute(self, command: Any) -> Any:
        """Execute any command of :mod:`broker.commands` and return its result.

        Returns:
            By the command's syntax: None, a count, an id or :class:`Sent`, a record, a
            tuple of records, or for each receipt None or the BrokerError that refused it.

        Raises:
            BrokerError: what the broker refused it with.
            RuntimeError: the client is closed, or was made before a fork.
        """
        check(syntax_of(type(command)), command)
        if self._process != os.getpid():
            raise RuntimeError("a client does not survive a fork: connect again in the child")
        with self._lock:
            if self._closed:
                raise RuntimeError("the client is closed")
            return self._transport.execute(command)

    def close(self) -> None:
        """Close the connection; twice is fine, and in a forked child it leaves the parent's be."""
        if self._process != os.getpid():
            return
        with self._lock:
            if not self._closed:
                self._closed = True
                self._transport.close()

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _call(self, command: Any, read: Callable[[Any], _Result]) -> _Result:
        return read(self.execute(command))
