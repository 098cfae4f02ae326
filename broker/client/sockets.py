"""The blocking socket client: TCP or Unix socket, without asyncio."""

from __future__ import annotations

import socket
import time
from collections import deque
from typing import TYPE_CHECKING, Any

from ..config import Address
from ..errors import BrokerError, NoAuth, Protocol, Unavailable
from ..protocols.resp.calls import Call, call_of
from ..protocols.resp.encoder import Push, encode_request
from ..protocols.resp.replies import NOT_READY, ReplyParser
from .retries import Backoff, is_repeatable, with_key

if TYPE_CHECKING:
    from .consuming import Source

__all__ = ["ConnectionRefused", "SocketTransport", "with_key"]

#: What one read takes from the socket at most.
READ_BYTES = 256 * 1024


class ConnectionRefused(Unavailable):
    """No connection could be made: nothing of the command has been sent anywhere,
    or it may be repeated."""


class ConnectionLost(Exception):
    """The connection ended before the reply came."""


class SocketTransport:
    """Executes commands on a server, one at a time, over one connection.

    A lost connection is made again, with growing pauses, within ``timeout_s``.
    A command whose reply was lost is repeated where that cannot do it twice: a
    send because it carries a key, reading, using a receipt, a pull with a lease
    (what the lost reply carried goes back when its lease ends, or at once if the
    server saw the connection break).

    Args:
        address: of the server's door.
        password: for the login by name; over TCP without one, an error says so.
        timeout_s: for connecting, and for each reply beyond what the command
            itself waits, in seconds.
        reconnects: whether to make a refused connection again at all.
    """

    def __init__(
        self,
        address: Address,
        *,
        password: str | None,
        timeout_s: float,
        reconnects: bool = True,
    ) -> None:
        self.database: str | None = None
        self._address = address
        self._password = password
        self._timeout_s = timeout_s
        self._reconnects = reconnects
        self._socket: socket.socket | None = None
        self._parser = ReplyParser()
        self._greeting = b""
        self._greeting_owed = False
        #: What was pushed and not yet taken; a consumer's prefetch bounds it.
        self.pushed: deque[Push] = deque()

    def open(self) -> None:
        """Connect, if that is not done yet; the login travels with the first command.

        Raises:
            NoAuth: the door wants a password, and there is none.
            ConnectionRefused: nobody listens there.
        """
        if self._socket is not None:
            return
        self._greeting = greeting(self._address, self._password)
        try:
            self._socket = self._connect()
        except OSError as error:
            raise ConnectionRefused(
                f"no server answers at {self._address}: {error.strerror or error}"
            ) from error
        self._parser = ReplyParser()
        self._greeting_owed = True

    def _connect(self) -> socket.socket:
        if self._address.kind == "unix":
            connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            try:
                connection.settimeout(self._timeout_s)
                self._connect_unix(connection)
            except BaseException:
                connection.close()
                raise
            return connection
        place = (self._address.host, self._address.port)
        connection = socket.create_connection(place, self._timeout_s)
        # A command is one write, and its reply is waited for.
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return connection

    def _connect_unix(self, connection: socket.socket) -> None:
        """Connect; where many do so at once, the kernel says at once that it is full: wait."""
        backoff = Backoff(self._timeout_s)
        while True:
            try:
                connection.connect(self._address.path)
            except BlockingIOError:
                if not backoff.pause():
                    raise
            else:
                return

    def execute(self, command: Any) -> Any:
        """Execute a command and return its result once the server has it on disk.

        Raises:
            BrokerError: what the server refused it with, or Unavailable.
        """
        command = with_key(command)
        call = call_of(command)
        patience_s = self._timeout_s + getattr(command, "wait_ms", 0) / 1000
        backoff = Backoff(self._timeout_s)
        while True:
            try:
                self.open()
                outcome = call.outcome(self._exchange(call, patience_s))
            except ConnectionRefused:
                if not self._reconnects or not backoff.pause():
                    raise
            except ConnectionLost as loss:
                self.close()
                if not is_repeatable(command):
                    raise Unavailable(
                        f"{loss}; whether the command was executed is not known"
                    ) from loss
                if not backoff.pause():
                    raise Unavailable(str(loss)) from loss
            else:
                if isinstance(outcome, BrokerError):
                    raise outcome
                return outcome

    def execute_once(self, command: Any) -> Any:
        """Execute a command on the connection there is, or on the first; nothing is repeated.

        Raises:
            ConnectionLost: it ended; whether the command was executed is not known.
            ConnectionRefused: there is none to be had.
            BrokerError: what the server refused it with.
        """
        self.open()
        call = call_of(command)
        outcome = call.outcome(self._exchange(call, self._timeout_s))
        if isinstance(outcome, BrokerError):
            raise outcome
        return outcome

    def consume(self, queue: str, prefetch: int) -> Source:
        """Return the messages of a queue, pushed on a connection of their own."""
        from .consuming import PushSource

        transport = SocketTransport(
            self._address, password=self._password, timeout_s=self._timeout_s
        )
        return PushSource(transport, queue, prefetch)

    def _exchange(self, call: Call, patience_s: float) -> list[Any]:
        """Send a call, led by the greeting on a new connection, and return its replies."""
        connection = self._socket
        if connection is None:
            raise AssertionError("not connected")
        leading = self._greeting if self._greeting_owed else b""
        deadline = time.monotonic() + patience_s
        try:
            connection.settimeout(self._timeout_s)
            connection.sendall(leading + call.request)
            if leading:
                self._check_greeting(self._read_reply(deadline))
                self._greeting_owed = False
            return [self._read_reply(deadline) for _ in range(call.replies)]
        except TimeoutError:
            self.close()
            raise Unavailable(
                f"{self._address} did not answer within {patience_s:g} s; "
                "whether the command was executed is not known"
            ) from None
        except OSError as error:
            raise ConnectionLost(
                f"the connection to {self._address} broke: {error.strerror or error}"
            ) from error
        except BaseException:
            # Interrupted between request and reply: the next reply would be the wrong one.
            self.close()
            raise

    def next_push(self, wait_s: float | None) -> Push | None:
        """Return what is pushed next, or None if nothing was within ``wait_s`` seconds.

        Raises:
            ConnectionLost: the connection ended.
        """
        deadline = None if wait_s is None else time.monotonic() + wait_s
        while True:
            self._parse_pushes()
            if self.pushed:
                return self.pushed.popleft()
            left = None if deadline is None else deadline - time.monotonic()
            if left is not None and left <= 0:
                return None
            try:
                self._receive(left)
            except TimeoutError:
                return None
            except OSError as error:
                raise ConnectionLost(f"the connection to {self._address} broke: {error}") from error

    def _parse_pushes(self) -> None:
        while (reply := self._parser.next()) is not NOT_READY:
            if not isinstance(reply, Push):
                raise Protocol("a reply that nothing has asked for")
            self.pushed.append(reply)

    def _receive(self, wait_s: float | None) -> None:
        """Give the parser what comes next within ``wait_s`` seconds, or else TimeoutError."""
        if self._socket is None:
            raise ConnectionLost(f"the connection to {self._address} is closed")
        self._socket.settimeout(wait_s)
        data = self._socket.recv(READ_BYTES)
        if not data:
            raise ConnectionLost(f"{self._address} closed the connection")
        self._parser.feed(data)

    def _check_greeting(self, reply: Any) -> None:
        if isinstance(reply, BrokerError):
            self.close()
            raise reply
        if not isinstance(reply, dict):
            self.close()
            raise Protocol(f"what listens at {self._address} is no broker")

    def _read_reply(self, deadline: float) -> Any:
        while True:
            reply = self._parser.next()
            if isinstance(reply, Push):
                self.pushed.append(reply)
                continue
            if reply is not NOT_READY:
                return reply
            left = deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError
            self._receive(left)

    def close(self) -> None:
        """Close the connection; twice is fine."""
        connection, self._socket = self._socket, None
        self.pushed.clear()
        if connection is not None:
            connection.close()


def greeting(address: Address, password: str | None) -> bytes:
    """Return what a connection begins with: HELLO, and the login the door wants.

    Raises:
        NoAuth: it wants a password, and there is none.
    """
    name = address.user
    if address.kind == "unix" and password is None:
        # The socket knows who we are; an empty password asks to act as another.
        login = [] if name is None else [b"AUTH", name.encode(), b""]
    elif name is None or password is None:
        raise NoAuth(
            f"{address} wants a user and a password: "
            "set BROKER_USER and BROKER_PASSWORD, or use a password file"
        )
    else:
        login = [b"AUTH", name.encode(), password.encode("utf-8", "surrogateescape")]
    return encode_request([b"HELLO", b"3", *login])
