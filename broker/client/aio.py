"""The asyncio client: the same methods, awaited, over sockets only.

Calls of several tasks are pipelined on one connection, in their order; a pull
that waits has a connection of its own, for it would hold up what follows it.
"""

from __future__ import annotations

import asyncio
import os
from collections import deque
from collections.abc import AsyncGenerator, Callable, Coroutine
from types import TracebackType
from typing import TYPE_CHECKING, Any, BinaryIO, Final, TypeVar

from .. import config
from ..commands.delivery import Message
from ..commands.grammar import Syntax, check
from ..commands.message import MessageAck, MessageNack
from ..commands.queue import QueueCancel, QueueConsume
from ..commands.table import syntax_of
from ..config import Address
from ..errors import BrokerError, Protocol, Unavailable
from ..names import DEFAULT_PREFETCH, MAX_PULL_COUNT, check_range
from ..protocols.resp.calls import Call, call_of
from ..protocols.resp.encoder import Push
from ..protocols.resp.replies import NOT_READY, ReplyParser
from ..store.owner import read_owner
from .consuming import is_message, message_of, wait_seconds
from .methods import Methods
from .retries import Backoff, is_repeatable, with_key
from .sockets import READ_BYTES, ConnectionLost, ConnectionRefused, greeting
from .transactions import AsyncTransaction

if TYPE_CHECKING:
    from ..commands.db import Imported

_Result = TypeVar("_Result")

#: Calls of one client under way at once, and pulls of it that wait: further ones queue up.
MAX_PIPELINED: Final = 1000
MAX_WAITING: Final = 100
#: HELLO as a call: its answer is read as it is.
_HELLO: Final = Call(Syntax(("HELLO",), tuple, (), (), "raw", "Log in."), (), b"", 1)


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
        self._consuming: set[_Connection] = set()
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
        check(syntax_of(type(command)), command)
        command = with_key(command)
        sent = call_of(command)
        backoff = Backoff(self._timeout_s)
        while True:
            try:
                outcome = await self._try(sent)
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

    async def _try(self, sent: Call) -> Any:
        wait_ms = getattr(sent.command, "wait_ms", 0)
        patience_s = self._timeout_s + wait_ms / 1000
        if wait_ms:
            return await self._try_alone(sent, patience_s)
        async with self._slots:
            connection = await self._shared_connection()
            pending = connection.start(sent)
            try:
                return await connection.finish(pending, patience_s)
            except asyncio.CancelledError:
                if sent.syntax.result == "pulled" and not pending.done():
                    self._give_back_later(pending)
                raise

    async def _try_alone(self, sent: Call, patience_s: float) -> Any:
        """Execute a pull that waits on a connection of its own; cancelled, it is cut off."""
        async with self._waiting_slots:
            connection = self._idle.pop() if self._idle else await self._connect()
            try:
                outcome = await connection.finish(connection.start(sent), patience_s)
            except BaseException:
                connection.close()
                raise
            if self._closed:
                connection.close()
            else:
                self._idle.append(connection)
        return outcome

    def _give_back_later(self, pending: _Pending) -> None:
        """Release what a cancelled pull brings, once its reply is there."""

        async def give_back() -> None:
            try:
                outcome = await pending.outcome
                if isinstance(outcome, tuple):
                    receipts = tuple(
                        m.receipt for m in outcome if getattr(m, "receipt", None) is not None
                    )
                    if receipts:
                        await self.execute(MessageNack(receipts, uncounted=True))
            except (BrokerError, ConnectionLost):
                # The lease ends by itself.
                return

        task = asyncio.get_running_loop().create_task(give_back())
        self._returns.add(task)
        task.add_done_callback(self._returns.discard)

    def consume(
        self, queue: str, *, prefetch: int = DEFAULT_PREFETCH, wait_ms: int | None = None
    ) -> AsyncGenerator[AsyncConsumed, None]:
        """Yield messages as they are pushed; all else as in :meth:`broker.Client.consume`.

        ``await`` a message's ``ack()`` or ``nack()``.
        """
        check_range(prefetch, 1, MAX_PULL_COUNT, "a prefetch")
        return self._consume(queue, prefetch, wait_seconds(wait_ms))

    async def _consume(
        self, queue: str, prefetch: int, wait_s: float | None
    ) -> AsyncGenerator[AsyncConsumed, None]:
        connection: _Connection | None = None
        backoff: Backoff | None = None
        try:
            while True:
                try:
                    if connection is None:
                        connection = await self._connect()
                        self._consuming.add(connection)
                        await self._once(connection, QueueConsume(queue, prefetch))
                    push = await connection.next_push(wait_s)
                except (ConnectionLost, ConnectionRefused) as loss:
                    if self._closed:
                        return
                    self._drop(connection)
                    connection = None
                    backoff = backoff or Backoff(self._timeout_s)
                    if (pause := backoff.next_pause()) is None:
                        raise Unavailable(str(loss)) from loss
                    await asyncio.sleep(pause)
                    continue
                backoff = None
                if push is None:
                    return
                consumed = AsyncConsumed._make(message_of(push))
                consumed._execute = self.execute
                yield consumed
        finally:
            await self._leave(connection, queue)
            self._drop(connection)

    async def _leave(self, connection: _Connection | None, queue: str) -> None:
        """Give back what was pushed and not handed out."""
        if connection is None or connection.is_closed:
            return
        try:
            await self._once(connection, QueueCancel(queue))
            pushed = connection.take_pushed()
            receipts = tuple(message_of(push).receipt or "" for push in pushed if is_message(push))
            if receipts:
                await self._once(connection, MessageNack(receipts, uncounted=True))
        except (BrokerError, ConnectionLost):
            # Its end gives back all the same.
            return

    async def _once(self, connection: _Connection, command: Any) -> None:
        outcome = await connection.finish(connection.start(call_of(command)), self._timeout_s)
        if isinstance(outcome, BrokerError):
            raise outcome

    def _drop(self, connection: _Connection | None) -> None:
        if connection is not None:
            self._consuming.discard(connection)
            connection.close()

    def transaction(self) -> AsyncTransaction:
        """Return a block in which sends, publications, acks and nacks gather.

        They are executed together, or not at all, as it ends without an error; inside
        of it nothing is awaited::

            async with client.transaction() as tx:
                tx.ack(message.receipt)
                tx.send("next", result)

        Raises:
            BrokerError: the first refusal, as the block ends; nothing was done.
        """
        return AsyncTransaction(self.execute)

    async def import_from(self, file: BinaryIO) -> Imported:
        """Take in what an export has written; all else as in :meth:`broker.Client.import_from`.

        The file is read in a thread, a batch at a time; each is awaited before the next is
        read. Cancelled, it may read to the end of the batch, and what is stored stays.
        """
        from .importing import NOTHING, steps, together

        total = NOTHING
        ahead = steps(file)
        while (step := await asyncio.to_thread(next, ahead, None)) is not None:
            with step.explained():
                stored = await self.execute(step.command)
            total = together(total, stored)
        return total

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
        for connection in (self._shared, *self._idle, *self._consuming):
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


class AsyncConsumed(Message):
    """A message that a consumer was given: a :class:`~broker.Message` that can be answered."""

    _execute: Callable[[Any], Coroutine[Any, Any, Any]]

    async def ack(self) -> None:
        """Acknowledge it: it is deleted. Stale if its lease has ended."""
        await self._settle(MessageAck((self.receipt or "",)))

    async def nack(
        self,
        *,
        delay_ms: int | None = None,
        uncounted: bool = False,
        dead: bool = False,
        reason: str | None = None,
    ) -> None:
        """Give it back, as :meth:`broker.Client.nack` does."""
        receipts = (self.receipt or "",)
        await self._settle(MessageNack(receipts, delay_ms, uncounted, dead, reason))

    async def _settle(self, command: Any) -> None:
        (refusal,) = await self._execute(command)
        if refusal is not None:
            raise refusal


class _Pending:
    """One call that waits for its replies."""

    def __init__(self, call: Call) -> None:
        self.outcome: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._call = call
        self._replies: list[Any] = []

    def done(self) -> bool:
        """Whether the outcome is there."""
        return self.outcome.done()

    def take(self, reply: Any) -> bool:
        """Take the next reply; return whether that was the last."""
        self._replies.append(reply)
        if len(self._replies) < self._call.replies:
            return False
        if not self.outcome.done():
            try:
                self.outcome.set_result(self._call.outcome(self._replies))
            except Protocol as error:
                self.outcome.set_exception(error)
        return True


class _Connection:
    """One connection: requests go out in order, replies come back in the same."""

    def __init__(self, address: Address) -> None:
        self._address = address
        self._parser = ReplyParser()
        self._calls: deque[_Pending] = deque()
        # What was pushed and not yet taken; a consumer's prefetch bounds it.
        self._pushed: deque[Push] = deque()
        self._has_pushed = asyncio.Event()
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
            reply = await self.finish(self._start(hello, _HELLO), timeout_s)
        except BaseException:
            self.close()
            raise
        if isinstance(reply, BrokerError):
            self.close()
            raise reply
        if not isinstance(reply, dict):
            self.close()
            raise Protocol(f"what listens at {address} is no broker")

    def start(self, call: Call) -> _Pending:
        """Send a call."""
        return self._start(call.request, call)

    def _start(self, request: bytes, call: Call) -> _Pending:
        if self.is_closed or self._writer is None:
            raise ConnectionLost(f"the connection to {self._address} is closed")
        pending = _Pending(call)
        self._calls.append(pending)
        if not self._outgoing:
            # What the tasks of one turn of the loop ask for goes out, and is
            # executed, together.
            asyncio.get_running_loop().call_soon(self._flush)
        self._outgoing.append(request)
        return pending

    def _flush(self) -> None:
        if self._writer is not None and not self.is_closed:
            self._writer.write(b"".join(self._outgoing))
        self._outgoing.clear()

    async def finish(self, pending: _Pending, patience_s: float) -> Any:
        """Return the outcome of a call; one that is cancelled leaves the order alone."""
        try:
            if self._writer is not None:
                await self._writer.drain()
            return await asyncio.wait_for(asyncio.shield(pending.outcome), patience_s)
        except TimeoutError:
            self.close()
            raise Unavailable(
                f"{self._address} did not answer within {patience_s:g} s; "
                "whether the command was executed is not known"
            ) from None
        except OSError as error:
            self._end(ConnectionLost(f"the connection to {self._address} broke: {error}"))
            raise ConnectionLost(f"the connection to {self._address} broke: {error}") from error

    async def next_push(self, wait_s: float | None) -> Push | None:
        """Return what is pushed next, or None if nothing was within ``wait_s`` seconds."""
        while not self._pushed:
            if self.is_closed:
                raise ConnectionLost(f"the connection to {self._address} ended")
            self._has_pushed.clear()
            try:
                await asyncio.wait_for(self._has_pushed.wait(), wait_s)
            except TimeoutError:
                return None
        return self._pushed.popleft()

    def take_pushed(self) -> list[Push]:
        """Return all that was pushed and not taken."""
        pushed = list(self._pushed)
        self._pushed.clear()
        return pushed

    async def _read(self, reader: asyncio.StreamReader) -> None:
        try:
            while data := await reader.read(READ_BYTES):
                self._parser.feed(data)
                while (reply := self._parser.next()) is not NOT_READY:
                    if isinstance(reply, Push):
                        self._pushed.append(reply)
                        self._has_pushed.set()
                    elif self._calls[0].take(reply):
                        self._calls.popleft()
            self._end(ConnectionLost(f"{self._address} closed the connection"))
        except (OSError, Protocol, IndexError) as error:
            self._end(ConnectionLost(f"the connection to {self._address} broke: {error}"))

    def _end(self, loss: ConnectionLost) -> None:
        """Fail every call that waits for a reply, and close."""
        self.is_closed = True
        self._has_pushed.set()
        while self._calls:
            outcome = self._calls.popleft().outcome
            if not outcome.done():
                outcome.set_exception(loss)
                # Whoever was cancelled does not fetch it.
                outcome.exception()
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
