"""The composition root: what a server is made of, started in order and stopped in reverse."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import resource
import signal
from collections.abc import Callable
from typing import Final

from .. import _version
from ..errors import BrokerError, Unavailable
from ..service.broker import Broker
from ..service.logins import Logins
from ..store.database import Database
from ..store.owner import SERVER, OwnerLock
from ..store.transaction import Limits
from .connection import ClientConnection
from .listeners import Listeners
from .options import Options

logger = logging.getLogger(__name__)

#: How long an embedded command may still hold the database as the server starts.
START_SECONDS: Final = 10.0
#: How long connections have, as the server stops, to take their last replies.
STOP_SECONDS: Final = 5.0
#: How often the machine's clock is compared with ours.
CLOCK_SECONDS: Final = 60.0


class Server:
    """One running server.

    Args:
        options: how it listens and what it allows.
        announce: called with each door once it accepts, all at once.
    """

    version = _version.__version__

    def __init__(self, options: Options, announce: Callable[[str], None]) -> None:
        self._options = options
        self._announce = announce
        self._lock = OwnerLock(options.database)
        self._database = Database(options.database, Limits(options.max_message_bytes))
        self._listeners = Listeners()
        self._connections: set[ClientConnection] = set()
        self._identity = 0
        self._stopping = asyncio.Event()
        self._all_gone = asyncio.Event()
        self._failure: Exception | None = None
        self.max_message_bytes = options.max_message_bytes
        self.broker: Broker
        self.logins: Logins

    async def run(self) -> int:
        """Serve until a signal or :meth:`stop`; return the exit status.

        Raises:
            BrokerError: it could not start; nothing is left behind.
        """
        self._own()
        try:
            await asyncio.to_thread(self._database.open, create=True)
            try:
                return await self._serve()
            finally:
                if self._database.is_open:
                    await asyncio.to_thread(self._database.close)
        finally:
            self._lock.release()
            self._lock.close()

    @property
    def is_stopping(self) -> bool:
        """Whether it has begun to stop."""
        return self._stopping.is_set()

    def stop(self) -> None:
        """Begin to stop; :meth:`run` returns when that is done."""
        self._stopping.set()

    def _own(self) -> None:
        owner = self._lock.acquire(START_SECONDS)
        if owner is not None:
            raise Unavailable(
                f"a server (pid {owner.pid}) runs on {self._options.database} already"
            )
        self._lock.announce(SERVER)

    async def _serve(self) -> int:
        loop = asyncio.get_running_loop()
        self.broker = Broker(
            self._database, on_failure=self._fail, on_users_changed=self._users_changed
        )
        self.broker.connections = lambda: len(self._connections)
        self.logins = Logins(self.broker, registration=self._options.is_registration_open)
        await self.broker.start()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.stop)
        try:
            # Whoever starts the first server on a new database is its first admin.
            await self.logins.principal_of_uid(os.geteuid())
            # What is there by now stays: a collection that looked through all of it would
            # stall everybody for some 50 ms.
            gc.freeze()
            await self._listen()
            self._watch_clock()
            await self._stopping.wait()
        finally:
            for number in (signal.SIGTERM, signal.SIGINT):
                loop.remove_signal_handler(number)
            await self._stop()
        return 0 if self._failure is None else 1

    async def _listen(self) -> None:
        options = self._options
        _allow_many_files()
        try:
            for host, port in options.listen:
                await self._listeners.listen_tcp(host, port, self._accept_tcp)
            if options.socket is not None:
                await self._listeners.listen_unix(
                    options.socket, options.socket_mode, options.socket_group, self._accept_unix
                )
        except BrokerError:
            self._listeners.close()
            raise
        doors = tuple(self._listeners.doors)
        self.broker.doors = doors
        self._lock.announce(SERVER, doors, ready=True)
        logger.info(
            "version %s serves %s; registration is %s",
            self.version,
            options.database,
            "open: whoever reaches a door may log in under a new name"
            if options.is_registration_open
            else "closed",
        )
        for door in doors:
            self._announce(door)

    async def _stop(self) -> None:
        """Stop in the reverse order of starting, answering what was received."""
        self._listeners.close()
        if self._failure is None:
            self.broker.release_waiting()
            for connection in list(self._connections):
                connection.stop()
            await self._connections_gone(STOP_SECONDS)
        for connection in list(self._connections):
            connection.abort()
        self.logins.close()
        self.broker.close()
        logger.info("stopped")

    async def _connections_gone(self, seconds: float) -> None:
        if not self._connections:
            return
        self._all_gone.clear()
        try:
            await asyncio.wait_for(self._all_gone.wait(), seconds)
        except TimeoutError:
            logger.warning("%d connections did not take their replies", len(self._connections))

    def _fail(self, error: Exception) -> None:
        """End without another reply: whether the last commit is on disk is not known."""
        self._failure = error
        logger.critical("the database failed, the server stops: %s", error)
        for connection in list(self._connections):
            connection.abort()
        self.stop()

    def _watch_clock(self) -> None:
        self.broker.clock.report_step()
        if not self._stopping.is_set():
            asyncio.get_running_loop().call_later(CLOCK_SECONDS, self._watch_clock)

    # --- connections ---

    def _accept_tcp(self) -> ClientConnection:
        return ClientConnection(self, is_local=False)

    def _accept_unix(self) -> ClientConnection:
        return ClientConnection(self, is_local=True)

    def next_identity(self) -> int:
        """Return a number no other connection of this server has had."""
        self._identity += 1
        return self._identity

    def add(self, connection: ClientConnection) -> None:
        """Take note of an open connection; one that comes too late is closed."""
        self._connections.add(connection)
        if self._stopping.is_set():
            connection.stop()

    def remove(self, connection: ClientConnection) -> None:
        """Take note that a connection is gone."""
        self._connections.discard(connection)
        if not self._connections:
            self._all_gone.set()

    def _users_changed(self, user_ids: set[int]) -> None:
        """Forget what was remembered of users, and disconnect those who are no more."""
        self.logins.forget(user_ids)
        for connection in list(self._connections):
            if connection.principal is not None and connection.principal.id in user_ids:
                connection.check_principal()


def _allow_many_files() -> None:
    """Raise the limit of open files to what the system lets us have."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
