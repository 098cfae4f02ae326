"""A whole server in this process, over its Unix socket, whose time tests move."""

from __future__ import annotations

import asyncio
import contextvars
import os
import threading
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any, TypeVarTuple
from unittest.mock import patch

from stores import MAX_MESSAGE_BYTES, Store
from support import PATIENCE_S

from broker.client.sockets import SocketTransport
from broker.commands.request import Principal
from broker.config import Address
from broker.server.options import Options
from broker.server.server import Server
from broker.service import broker as service
from broker.store.transaction import Transaction

_Arguments = TypeVarTuple("_Arguments")


class Clock:
    """The service's clock, standing still until it is moved."""

    def __init__(self, now: int) -> None:
        self.now = now

    def now_ms(self) -> int:
        """Return the time."""
        return self.now

    def uptime_ms(self) -> int:
        """Nobody asks."""
        return 0

    def report_step(self) -> None:
        """There is no machine's clock to be off."""


class Loop(asyncio.SelectorEventLoop):
    """An event loop whose timers go off by a clock of ours, when they are let."""

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self._clock = clock
        self._held: list[tuple[float, asyncio.TimerHandle, Callable[..., object], Any]] = []

    def call_later(
        self,
        delay: float,
        callback: Callable[[*_Arguments], object],
        *args: *_Arguments,
        context: contextvars.Context | None = None,
    ) -> asyncio.TimerHandle:
        """Hold a timer; its handle can be cancelled as any."""
        handle = super().call_later(10**6, callback, *args, context=context)
        self._held.append((self._clock.now + delay * 1000, handle, callback, args))
        return handle

    def let_timers_go_off(self) -> None:
        """Run those whose time has come."""
        held, self._held = self._held, []
        for time, handle, callback, args in held:
            if handle.cancelled():
                continue
            if time > self._clock.now:
                self._held.append((time, handle, callback, args))
                continue
            handle.cancel()
            self.call_soon(callback, *args)

    def add_signal_handler(
        self, sig: int, callback: Callable[[*_Arguments], object], *args: *_Arguments
    ) -> None:
        """Only the main thread may have some."""

    def remove_signal_handler(self, sig: int) -> bool:
        """See above."""
        return False


class Served(Store):
    """The same as a store, but that a server owns it and commands go through its socket."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, admin_uid=os.geteuid())
        super().close()
        self._start()

    # --- the server ---

    def _start(self) -> None:
        self._socket = str(self.path.with_suffix(".sock"))
        self._clock = Clock(self._now)
        self._loop = Loop(self._clock)
        self._ready: Future[None] = Future()
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()
        self._ready.result(PATIENCE_S)
        self._connections: dict[str, SocketTransport] = {}

    def _serve(self) -> None:
        try:
            with patch.object(service, "Clock", lambda: self._clock):
                self._loop.run_until_complete(self._run())
        except BaseException as error:
            if self._ready.done():
                raise
            self._ready.set_exception(error)
        finally:
            self._loop.close()

    async def _run(self) -> None:
        options = Options(
            str(self.path), socket=self._socket, listen=(), max_message_bytes=MAX_MESSAGE_BYTES
        )
        self._server = Server(options, lambda door: self._ready.set_result(None))
        assert await self._server.run() == 0

    def close(self) -> None:
        """Stop the server."""
        for connection in self._connections.values():
            connection.close()
        self._loop.call_soon_threadsafe(self._server.stop)
        self._thread.join(PATIENCE_S)

    def reopen(self) -> None:
        """Start another."""
        self._start()

    # --- as a store ---

    @property
    def now(self) -> int:
        """The server's time."""
        return self._now

    @now.setter
    def now(self, now: int) -> None:
        self._now = now
        if hasattr(self, "_clock"):
            self._clock.now = now

    def run(self, command: Any, by: Principal | None = None) -> Any:
        """Execute a command over the socket, as a user."""
        name = (by or self.alice).name
        connection = self._connections.get(name)
        if connection is None:
            user = None if name == self.admin.name else name
            connection = self._connections[name] = SocketTransport(
                Address("unix", self._socket, user=user), password=None, timeout_s=PATIENCE_S
            )
        return connection.execute_once(command)

    def in_transaction(self, work: Callable[[Transaction], Any]) -> Any:
        """Do something between the server's own transactions."""
        done = asyncio.run_coroutine_threadsafe(self._server.broker.call(work), self._loop)
        return done.result(PATIENCE_S)

    def let_timers_go_off(self) -> None:
        """Let those go off whose time has come; what they do is done some time later."""
        self._loop.call_soon_threadsafe(self._loop.let_timers_go_off)
