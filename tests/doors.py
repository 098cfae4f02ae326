"""The ways to a broker that tests go through."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine, Generator
from pathlib import Path
from typing import Any, cast

from support import PATIENCE_S, ServerProcess

import broker
import broker.aio
from broker import Client

PASSWORD = "correct horse"


class Blocking:
    """An asyncio client whose methods block, so that the one contract holds for it too."""

    def __init__(self, url: str, password: str) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()
        self._client = self._run(self._connect(url, password))

    async def _connect(self, url: str, password: str) -> broker.aio.AsyncClient:
        return broker.aio.connect(url, password=password)

    def _run(self, work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(PATIENCE_S * 2)

    def consume(self, queue: str, **options: Any) -> Generator[BlockingMessage, None, None]:
        """Yield what the client consumes."""
        messages = self._client.consume(queue, **options)
        try:
            while True:
                try:
                    message = self._run(messages.__anext__())
                except StopAsyncIteration:
                    return
                yield BlockingMessage(message, self._run)
        finally:
            self._run(messages.aclose())

    def transaction(self) -> BlockingTransaction:
        """Return a transaction of the client."""
        return BlockingTransaction(self._client.transaction(), self._run)

    def __getattr__(self, name: str) -> Callable[..., Any]:
        if self._loop.is_closed():
            raise RuntimeError("the client is closed")
        method = getattr(self._client, name)
        return lambda *arguments, **options: self._run(method(*arguments, **options))

    def __enter__(self) -> Blocking:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the client and its loop."""
        if self._loop.is_closed():
            return
        self._run(self._client.close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


class BlockingMessage:
    """A message that an asyncio client has consumed, with methods that block."""

    def __init__(self, message: Any, run: Callable[[Any], Any]) -> None:
        self._message = message
        self._run = run

    def ack(self) -> None:
        """Acknowledge it."""
        self._run(self._message.ack())

    def nack(self, **options: Any) -> None:
        """Give it back."""
        self._run(self._message.nack(**options))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._message, name)


class BlockingTransaction:
    """A transaction of an asyncio client whose block is not awaited."""

    def __init__(self, transaction: Any, run: Callable[[Any], Any]) -> None:
        self._transaction = transaction
        self._run = run

    def __enter__(self) -> BlockingTransaction:
        return self

    def __exit__(self, *error: Any) -> None:
        self._run(self._transaction.__aexit__(*error))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transaction, name)


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
        if self.kind in ("embedded", "unix") or self.server is None:
            return self._connect_local(name)
        url = f"broker://{name}@127.0.0.1:{self.server.port}"
        if self.kind == "asyncio":
            client = cast(Client, Blocking(url, PASSWORD))
        else:
            client = broker.connect(url, password=PASSWORD)
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
