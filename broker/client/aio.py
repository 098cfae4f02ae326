"""The asyncio client: the same methods, awaited, over sockets only.

Calls of several tasks are pipelined on one connection, in their order; a pull
that waits has a connection of its own, for it would hold up what follows it.
"""

from __future__ import annotations

import asyncio
import os
from collections import deque
from collections.abc import Callable, Coroutine
from types import TracebackType
from typing import Any, Final, TypeVar

from .. import config
from ..commands.grammar import Syntax, check, words_of
from ..commands.table import syntax_of
from ..config import Address
from ..errors import BrokerError, Protocol, Unavailable
from ..protocols.resp.encoder import encode_request
from ..protocols.resp.replies import NOT_READY, ReplyParser
from ..protocols.resp.results import from_reply
from ..store.owner import read_owner
from .methods import Methods
from .retries import Backoff, is_repeatable, with_key
from .sockets import READ_BYTES, ConnectionLost, ConnectionRefused, greeting

_Result = TypeVar("_Result")

#: Calls of one client under way at once, and pulls of it that wait: further ones queue up.
MAX_PIPELINED: Final = 1000
MAX_WAITING: Final = 100


def connect(
    url: str | None = None,
    *,
    user: str | None = None,
    password: str | None = None,
    timeout_s: float = 30.0,
) -> AsyncClient:
    """Return an asyncio client of the server at ``url``; it connects at the first call.

    Args:
        url: ``broker://[user@]host[:6470]``, ``broker+unix:///path``, or a database
            (a path) whose server is running; None is as for :func:`broker.connect`.
        user: over TCP the login, on a Unix socket the user an admin acts as.
        password: for a login by name; None is ``$BROKER_PASSWORD``.
        timeout_s: for connecting, and for each reply beyond what a pull waits, in seconds.

    Raises:
        Invalid: the URL or the user's name is malformed.
    """
    address = config.locate(url)
    name = config.user(user) or address.user
    if password is None and address.kind == "tcp":
        password = os.environ.get("BROKER_PASSWORD") or None
    return AsyncClient(address._replace(user=name), password, timeout_s)


class AsyncClient(Methods):
    """A client for one event loop; an asynchronous context manager."""

    def __init__(self, address: Address, password: str | None, timeout_s: float) -> None:
        self._address = address
        self._password = password
        self._timeout_s = timeout_s
        self._shared: _Connection | None = None
        self._opening = asyncio.Lock()
        self._slots = asyncio.Semaphore(MAX_PIPELINED)
        self._waiting_slots = asyncio.Semaphore(MAX_WAITING)
        self._idle: list[_Connection] = []
        self._returns: set[asyncio.Task[None]] = set()
        self._closed = False

    def _call(self, command: Any, read: Callable[[Any], _Result]) -> Any:
        return self._read(command, read)

    async def _read(self, command: Any, read: Callable[[Any], _Result]) -> _Result:
        return read(await self.execute(command))

    async def execute(self, command: Any) -> Any:
        """Execute any command of :mod:`broker.commands` and return its result.

        Cancelling a pull gives back, uncounted, what it would have brought.

        Raises:
            BrokerError: what the server refused it with, or Unavailable.
        """
        if self._closed:
            raise RuntimeError("the client is closed")
        command = with_key(command)
        syntax = syntax_of(type(command))
        check(syntax, command)
        request = encode_request(words_of(syntax, command))
        backoff = Backoff(self._timeout_s)
        while True:
            try:
                outcome = await self._try(syntax, command, request)
            except ConnectionRefused:
                if (pause := backoff.next_pause()) is None:
                    raise
            except ConnectionLost as loss:
                if not is_repeatable(command):
                    raise Unavailable(
                        f"{loss}; whether the command was executed is not known"
                    ) from loss
                if (pause := backoff.next_pause()) is None:
                    raise Unavailable(str(loss)) from loss
            else:
                if isinstance(outcome, BrokerError):
                    raise outcome
                return outcome
            await asyncio.sleep(pause)

    async def _try(self, syntax: Syntax, command: Any, request: bytes) -> Any:
        wait_ms = getattr(command, "wait_ms", 0)
        patience_s = self._timeout_s + wait_ms / 1000
        if wait_ms:
            return await self._try_alone(syntax, command, request, patience_s)
        async with self._slots:
            connection = await self._shared_connection()
            call = connection.start(request)
            try:
                reply = await connection.finish(call, patience_s)
            except asyncio.CancelledError:
                if syntax.result == "pulled" and not call.done():
                    self._give_back_later(call, syntax, command)
                raise
        return from_reply(syntax, command, reply)

    async def _try_alone(
        self, syntax: Syntax, command: Any, request: bytes, patience_s: float
    ) -> Any:
        """Execute a pull that waits on a connection of its own; cancelled, it is cut off."""
        async with self._waiting_slots:
            connection = self._idle.pop() if self._idle else await self._connect()
            try:
                reply = await connection.finish(connection.start(request), patience_s)
            except BaseException:
                connection.close()
                raise
            if self._closed:
                connection.close()
            else:
                self._idle.append(connection)
        return from_reply(syntax, command, reply)

    def _give_back_later(self, call: _Call, syntax: Syntax, command: Any) -> None:
        """Release what a cancelled pull brings, once its reply is there."""
        from ..commands.message import MessageNack

        async def give_back() -> None:
            try:
                outcome = from_reply(syntax, command, await call.reply)
                if isinstance(outcome, tuple):
                    receipts = tuple(m.receipt for m in outcome if m.receipt is not None)
                    if receipts:
                        await self.execute(MessageNack(receipts, uncounted=True))
            except (BrokerError, ConnectionLost):
                # The lease ends by itself.
                return

        task = asyncio.get_running_loop().create_task(give_back())
        self._returns.add(task)
        task.add_done_callback(self._returns.discard)

    async def _shared_connection(self) -> _Connection:
        async with self._opening:
            if self._shared is None or self._shared.is_closed:
                self._shared = await self._connect()
            return self._shared

    async def _connect(self) -> _Connection:
        address = self._address
        if address.kind == "file":
            address = _server_of(address)
        connection = _Connection(address)
        await connection.open(greeting(address, self._password), self._timeout_s)
        return connection

    async def close(self) -> None:
        """Close the connections; calls under way fail. Twice is fine."""
        self._closed = True
        for task in list(self._returns):
            await asyncio.wait([task], timeout=self._timeout_s)
        for connection in (self._shared, *self._idle):
            if connection is not None:
                connection.close()
                await connection.wait_closed()
        self._shared = None
        self._idle.clear()

    async def __aenter__(self) -> AsyncClient:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()


def _server_of(address: Address) -> Address:
    """Return the Unix socket of the server that owns a database."""
    owner = read_owner(address.path)
    for door in owner.doors if owner is not None and owner.ready else ():
        if door.startswith("unix://"):
            return Address("unix", door.removeprefix("unix://"), user=address.user)
    raise Unavailable(
        f"no server with a Unix socket runs on {address.path}: the asyncio client needs one"
    )


class _Call:
    """One request that waits for its reply."""

    def __init__(self) -> None:
        self.reply: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

    def done(self) -> bool:
        """Whether the reply is there."""
        return self.reply.done()


class _Connection:
    """One connection: requests go out in order, replies come back in the same."""

    def __init__(self, address: Address) -> None:
        self._address = address
        self._parser = ReplyParser()
        self._calls: deque[_Call] = deque()
        self._outgoing: list[bytes] = []
        self._writer: asyncio.StreamWriter | None = None
        self._reading: asyncio.Task[None] | None = None
        self.is_closed = False

    async def open(self, hello: bytes, timeout_s: float) -> None:
        """Connect and log in.

        Raises:
            ConnectionRefused: nobody listens there.
            BrokerError: what the login was refused with.
        """
        address = self._address
        opening: Coroutine[Any, Any, tuple[asyncio.StreamReader, asyncio.StreamWriter]]
        if address.kind == "unix":
            opening = asyncio.open_unix_connection(address.path)
        else:
            opening = asyncio.open_connection(address.host, address.port)
        try:
            reader, self._writer = await asyncio.wait_for(opening, timeout_s)
        except OSError as error:
            raise ConnectionRefused(
                f"no server answers at {address}: {error.strerror or str(error) or 'timed out'}"
            ) from error
        self._reading = asyncio.get_running_loop().create_task(self._read(reader))
        try:
            reply = await self.finish(self.start(hello), timeout_s)
        except BaseException:
            self.close()
            raise
        if isinstance(reply, BrokerError):
            self.close()
            raise reply
        if not isinstance(reply, dict):
            self.close()
            raise Protocol(f"what listens at {address} is no broker")

    def start(self, request: bytes) -> _Call:
        """Send a request."""
        if self.is_closed or self._writer is None:
            raise ConnectionLost(f"the connection to {self._address} is closed")
        call = _Call()
        self._calls.append(call)
        if not self._outgoing:
            # What the tasks of one turn of the loop ask for goes out, and is
            # executed, together.
            asyncio.get_running_loop().call_soon(self._flush)
        self._outgoing.append(request)
        return call

    def _flush(self) -> None:
        if self._writer is not None and not self.is_closed:
            self._writer.write(b"".join(self._outgoing))
        self._outgoing.clear()

    async def finish(self, call: _Call, patience_s: float) -> Any:
        """Return the reply to a request; one that is cancelled leaves the order alone."""
        try:
            if self._writer is not None:
                await self._writer.drain()
            return await asyncio.wait_for(asyncio.shield(call.reply), patience_s)
        except TimeoutError:
            self.close()
            raise Unavailable(
                f"{self._address} did not answer within {patience_s:g} s; "
                "whether the command was executed is not known"
            ) from None
        except OSError as error:
            self._end(ConnectionLost(f"the connection to {self._address} broke: {error}"))
            raise ConnectionLost(f"the connection to {self._address} broke: {error}") from error

    async def _read(self, reader: asyncio.StreamReader) -> None:
        try:
            while data := await reader.read(READ_BYTES):
                self._parser.feed(data)
                while (reply := self._parser.next()) is not NOT_READY:
                    call = self._calls.popleft()
                    if not call.reply.done():
                        call.reply.set_result(reply)
            self._end(ConnectionLost(f"{self._address} closed the connection"))
        except (OSError, Protocol, IndexError) as error:
            self._end(ConnectionLost(f"the connection to {self._address} broke: {error}"))

    def _end(self, loss: ConnectionLost) -> None:
        """Fail every call that waits for a reply, and close."""
        self.is_closed = True
        while self._calls:
            call = self._calls.popleft()
            if not call.reply.done():
                call.reply.set_exception(loss)
                # Whoever was cancelled does not fetch it.
                call.reply.exception()
        if self._writer is not None:
            self._writer.close()

    def close(self) -> None:
        """Close the connection; calls under way fail."""
        if self._reading is not None:
            self._reading.cancel()
        self._end(ConnectionLost("the client was closed"))

    async def wait_closed(self) -> None:
        """Wait until the socket is closed."""
        if self._writer is not None:
            try:
                await self._writer.wait_closed()
            except OSError:
                return
