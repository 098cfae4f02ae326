"""The blocking client."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Generator
from types import TracebackType
from typing import TYPE_CHECKING, Any, BinaryIO, TypeVar

from .. import config
from ..commands.grammar import check
from ..commands.table import syntax_of
from ..errors import Unavailable
from ..names import DEFAULT_PREFETCH
from .methods import Methods
from .transport import Transport

if TYPE_CHECKING:
    from ..commands.db import Imported
    from ..service.files import Checked, Contents
    from ..store.snapshot import Progress
    from .consuming import Consumed
    from .transactions import Transaction

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

        return Client(LocalTransport(address, act_as=name, timeout_s=timeout_s), timeout_s)
    from .sockets import SocketTransport

    if password is None:
        password = os.environ.get("BROKER_PASSWORD") or None
    if address.kind == "unix" and user is None and password is not None and name is None:
        password = None
    transport = SocketTransport(address._replace(user=name), password=password, timeout_s=timeout_s)
    return Client(transport, timeout_s)


class Client(Methods):
    """A connection to a broker, made with :func:`connect`; a context manager.

    Every method returns once the broker has committed and synced what it did, and
    raises :class:`~broker.errors.BrokerError` for what it refused.

    Threads may share a client: calls are done one at a time, so a waiting pull
    holds the others up; a client a thread is the better choice. After a fork the
    child must make its own: in it every call but :meth:`close` raises RuntimeError.
    """

    def __init__(self, transport: Transport, timeout_s: float) -> None:
        self._transport = transport
        self._timeout_s = timeout_s
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

    def consume(
        self, queue: str, *, prefetch: int = DEFAULT_PREFETCH, wait_ms: int | None = None
    ) -> Generator[Consumed, None, None]:
        """Yield messages as they come; answer each with its ``ack()`` or ``nack()``.

        From a server they are pushed, on a connection of their own: their leases live
        as long as it, and when the loop is left, or the process ends, what is
        unanswered goes back at once. Of that only the oldest counts as an attempt.
        A lost connection is made again within the client's ``timeout_s``; what was
        unanswered on it is Stale then. Without a server they are pulled.

        Args:
            queue: to consume; that of a subscription is ``CHANNEL@USER[@NAME]``.
            prefetch: at most so many unanswered at a time, 1 to 1000.
            wait_ms: end when there was none for so long; None is never.

        Returns:
            A generator; leaving its loop, or ``close()``, ends it.

        Raises:
            NotFound: there is no such queue, or it was deleted meanwhile.
            Denied: it is another's subscription.
        """
        from .consuming import PullSource, Source, consume

        def open_source(name: str, count: int) -> Source:
            with self._lock:
                if self._closed:
                    raise RuntimeError("the client is closed")
                source = self._transport.consume(name, count)
            if source is not None:
                return source
            # Refuses what may not be pulled, before a thread is started for it.
            self.execute(QueueShow(name))
            return PullSource(self.execute, name, count)

        from ..commands.queue import QueueShow

        return consume(self, open_source, queue, prefetch, wait_ms, self._timeout_s)

    def transaction(self) -> Transaction:
        """Return a block in which sends, publications, acks and nacks gather.

        They are executed together, or not at all, as it ends without an error::

            with client.transaction() as tx:
                tx.ack(message.receipt)
                tx.send("next", result)

        Raises:
            BrokerError: the first refusal, as the block ends; nothing was done.
        """
        from .transactions import Transaction

        return Transaction(self.execute)

    def backup(
        self, target: str, *, replace: bool = False, progress: Progress | None = None
    ) -> Contents:
        """Copy the database as it is at this moment, in use or not; nobody has to wait.

        The copy is verified and synced before it appears under its name, mode 0600.
        It is made in this process, by who may read the file: the client must be of a
        path. :func:`broker.restore` makes a database of it.

        Args:
            target: the path of the copy.
            replace: whether a file that is there may be replaced.
            progress: told the bytes that are done and those there are.

        Raises:
            NotFound: there is no such database, or no folder for the copy.
            Exists: the target exists, unless ``replace``.
            Unavailable: this is a client of a socket, or the copy cannot be written.
            Full: there is no room for the copy.
            Internal: the copy is damaged, and so will the database be.
        """
        from ..service import files

        return files.back_up(self._database(), target, replace=replace, progress=progress)

    def check(self) -> Checked:
        """Look for damage, wrong counters and orphans, in a temporary copy of the database.

        It is made in this process, as that of :meth:`backup`.

        Raises:
            NotFound: there is no such database.
            Unavailable: this is a client of a socket, or the file cannot be read.
            Full: there is no room for the copy.
        """
        from ..service import files

        return files.check(self._database())

    def export(self, file: BinaryIO, *, with_secrets: bool = False) -> None:
        """Write all that the database holds as lines of JSON, as of one moment.

        It is read in this process, as by :meth:`backup`.

        Args:
            file: takes the lines; it may be slow.
            with_secrets: whether users come with the hashes of their passwords.

        Raises:
            NotFound: there is no such database.
            Unavailable: this is a client of a socket, or the file cannot be read.
            Full: there is no room for the copy that is read.
        """
        from ..service import files

        with files.exported(self._database(), with_secrets=with_secrets) as (_, lines):
            file.writelines(lines)

    def import_from(self, file: BinaryIO) -> Imported:
        """Take in what :meth:`export` has written; for admins.

        In batches that are stored whole or not at all, each synced. What is there
        already stays as it is; what was imported within the last 7 days does not come
        again, so an import that was cut off is simply repeated.

        Raises:
            Invalid, TooBig: a line is wrong; says which, and how far it had come.
            Denied: the caller is no admin.
            Full: the disk is.
        """
        from .importing import import_lines

        return import_lines(self, file)

    def _database(self) -> str:
        path = self._transport.database
        if path is None:
            raise Unavailable("this is done with the file: connect to the database's path")
        return path

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
