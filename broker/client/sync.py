"""The blocking client: typed methods over a transport."""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any

from .. import config, names
from ..commands.grammar import check
from ..commands.table import syntax_of
from ..errors import BrokerError
from .transport import Transport

if TYPE_CHECKING:
    from ..commands.channel import Channel
    from ..commands.message import Message
    from ..commands.queue import Queue
    from ..commands.sending import Sent
    from ..commands.status import ServerStatus
    from ..commands.user import User


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


class Client:
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

    # --- queues ---

    def create_queue(self, name: str, *, if_missing: bool = False) -> None:
        """Create a queue; Exists if there is one, unless ``if_missing``."""
        from ..commands.queue import QueueCreate

        self.execute(QueueCreate(name, if_missing))

    def delete_queue(self, name: str, *, if_empty: bool = False, if_exists: bool = False) -> int:
        """Delete a queue and return how many messages went with it.

        Raises:
            NotFound: there is none, unless ``if_exists``.
            Denied: it is another user's.
            Conflict: it has messages and ``if_empty`` was asked for.
        """
        from ..commands.queue import QueueDelete

        return int(self.execute(QueueDelete(name, if_empty, if_exists)))

    def list_queues(self, *, mine: bool = False) -> list[Queue]:
        """Return the queues by name, all or those of the caller."""
        from ..commands.queue import QueueList

        return list(self.execute(QueueList(mine)))

    def show_queue(self, name: str) -> Queue:
        """Return what a queue is and holds; NotFound if there is none."""
        from ..commands.queue import Queue, QueueShow

        return Queue(*self.execute(QueueShow(name)))

    def send(
        self,
        queue: str,
        body: bytes,
        *,
        priority: int = names.DEFAULT_PRIORITY,
        delay_ms: int = 0,
        key: str | None = None,
        key_ttl_ms: int = names.DEFAULT_KEY_TTL_MS,
        content_type: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Sent:
        """Send a message; when this returns it is on disk.

        Args:
            queue: where to.
            body: any bytes, up to the broker's limit (1 MiB unless set).
            priority: 0 to 9, higher first.
            delay_ms: not delivered before so many milliseconds from now.
            key: a second send with this key to this queue within ``key_ttl_ms`` stores
                nothing and returns the first one's id.
            content_type: passed on as it is.
            headers: text under text, passed on as they are.

        Raises:
            NotFound: there is no such queue.
            TooBig: the body or the headers.
        """
        from ..commands.queue import QueueSend

        return _sent(
            self.execute(
                QueueSend(
                    queue, body, priority, delay_ms, key, key_ttl_ms, content_type, headers or None
                )
            )
        )

    def pull(
        self,
        queue: str,
        *,
        wait_ms: int = 0,
        lease_ms: int = names.DEFAULT_LEASE_MS,
        no_ack: bool = False,
    ) -> Message | None:
        """Pull the first message, or return None if none came within ``wait_ms``.

        It is leased for ``lease_ms``: unless it is acknowledged by then, it is
        ready again. With ``no_ack`` it is deleted as it is pulled.
        """
        from ..commands.queue import QueuePull

        return _first(self.execute(QueuePull(queue, None, wait_ms, lease_ms, no_ack)))

    def pull_many(
        self,
        queue: str,
        max_count: int,
        *,
        wait_ms: int = 0,
        lease_ms: int = names.DEFAULT_LEASE_MS,
        no_ack: bool = False,
    ) -> list[Message]:
        """Pull up to ``max_count`` messages (1 to 1000; fewer where bodies exceed 16 MiB)."""
        from ..commands.queue import QueuePull

        return list(self.execute(QueuePull(queue, max_count, wait_ms, lease_ms, no_ack)))

    # --- channels ---

    def create_channel(
        self, name: str, *, publish: str = "subscribers", if_missing: bool = False
    ) -> None:
        """Create a channel to which ``subscribers`` or ``anyone`` may publish."""
        from ..commands.channel import ChannelCreate

        self.execute(ChannelCreate(name, (("publish", publish),), if_missing))

    def set_channel(self, name: str, *, publish: str) -> None:
        """Change who may publish; for owner and admins."""
        from ..commands.channel import ChannelSet

        self.execute(ChannelSet(name, (("publish", publish),)))

    def delete_channel(self, name: str, *, if_exists: bool = False) -> int:
        """Delete a channel with its subscriptions; return how many messages waited in them."""
        from ..commands.channel import ChannelDelete

        return int(self.execute(ChannelDelete(name, if_exists)))

    def list_channels(self, *, mine: bool = False, subscribed: bool = False) -> list[Channel]:
        """Return channels by name: all, the caller's, or those it is subscribed to."""
        from ..commands.channel import ChannelList

        return list(self.execute(ChannelList(mine, subscribed)))

    def show_channel(self, name: str) -> Channel:
        """Return what a channel is; NotFound if there is none."""
        from ..commands.channel import Channel, ChannelShow

        return Channel(*self.execute(ChannelShow(name)))

    def subscribe(self, channel: str, *, as_name: str | None = None) -> None:
        """Subscribe: what is published from now on waits for the caller. Twice is fine."""
        from ..commands.channel import ChannelSubscribe

        self.execute(ChannelSubscribe(channel, as_name))

    def unsubscribe(self, channel: str, *, as_name: str | None = None) -> int:
        """End a subscription; return how many messages waited in it."""
        from ..commands.channel import ChannelUnsubscribe

        return int(self.execute(ChannelUnsubscribe(channel, as_name)))

    def publish(
        self,
        channel: str,
        body: bytes,
        *,
        priority: int = names.DEFAULT_PRIORITY,
        delay_ms: int = 0,
        key: str | None = None,
        key_ttl_ms: int = names.DEFAULT_KEY_TTL_MS,
        content_type: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Sent:
        """Publish to every subscription there is; all else as in :meth:`send`.

        Raises:
            Denied: the caller is no subscriber and the channel is not open to anyone.
        """
        from ..commands.channel import ChannelPublish

        return _sent(
            self.execute(
                ChannelPublish(
                    channel, body, priority, delay_ms, key, key_ttl_ms, content_type,
                    headers or None,
                )
            )
        )  # fmt: skip

    def pull_channel(
        self,
        channel: str,
        *,
        as_name: str | None = None,
        wait_ms: int = 0,
        lease_ms: int = names.DEFAULT_LEASE_MS,
        no_ack: bool = False,
    ) -> Message | None:
        """Pull from the caller's own subscription, as :meth:`pull` does from a queue.

        Raises:
            NotFound: the caller is not subscribed.
        """
        from ..commands.channel import ChannelPull

        return _first(self.execute(ChannelPull(channel, as_name, None, wait_ms, lease_ms, no_ack)))

    def pull_channel_many(
        self,
        channel: str,
        max_count: int,
        *,
        as_name: str | None = None,
        wait_ms: int = 0,
        lease_ms: int = names.DEFAULT_LEASE_MS,
        no_ack: bool = False,
    ) -> list[Message]:
        """Pull up to ``max_count`` messages from the caller's own subscription."""
        from ..commands.channel import ChannelPull

        return list(
            self.execute(ChannelPull(channel, as_name, max_count, wait_ms, lease_ms, no_ack))
        )

    # --- messages ---

    def ack(self, receipt: str) -> None:
        """Acknowledge a message: it is deleted. Stale if its lease has ended."""
        _raise_first(self.ack_many([receipt]))

    def ack_many(self, receipts: Sequence[str]) -> list[BrokerError | None]:
        """Acknowledge messages; for each None, or why it was refused."""
        from ..commands.message import MessageAck

        return list(self.execute(MessageAck(tuple(receipts))))

    def nack(self, receipt: str, *, delay_ms: int = 0, uncounted: bool = False) -> None:
        """Give a message back: ready at its old place at once, or after ``delay_ms``.

        With ``uncounted`` the attempt does not count. Stale if its lease has ended.
        """
        _raise_first(self.nack_many([receipt], delay_ms=delay_ms, uncounted=uncounted))

    def nack_many(
        self, receipts: Sequence[str], *, delay_ms: int = 0, uncounted: bool = False
    ) -> list[BrokerError | None]:
        """Give messages back; for each None, or why it was refused."""
        from ..commands.message import MessageNack

        return list(self.execute(MessageNack(tuple(receipts), delay_ms, uncounted)))

    def extend(self, receipt: str, *, lease_ms: int = names.DEFAULT_LEASE_MS) -> None:
        """Let a lease end ``lease_ms`` from now. Stale if it has ended already."""
        from ..commands.message import MessageExtend

        self.execute(MessageExtend(receipt, lease_ms))

    # --- users ---

    def create_user(
        self,
        name: str,
        *,
        password: str | None = None,
        uid: int | None = None,
        admin: bool = False,
        if_missing: bool = False,
    ) -> None:
        """Create a user; for admins."""
        from ..commands.user import UserCreate

        self.execute(UserCreate(name, password, uid, admin, if_missing))

    def set_password(self, name: str, password: str) -> None:
        """Set the caller's own password; an admin anybody's."""
        from ..commands.user import UserPassword

        self.execute(UserPassword(name, password))

    def list_users(self) -> list[User]:
        """Return the users by name; for admins."""
        from ..commands.user import UserList

        return list(self.execute(UserList()))

    def show_user(self, name: str) -> User:
        """Return one user: oneself, or for admins anybody."""
        from ..commands.user import User, UserShow

        return User(*self.execute(UserShow(name)))

    def delete_user(self, name: str, *, give_to: str | None = None, if_exists: bool = False) -> int:
        """Delete a user with its subscriptions; ``give_to`` gets what it owns; for admins.

        Returns how many messages waited in the subscriptions.
        """
        from ..commands.user import UserDelete

        return int(self.execute(UserDelete(name, give_to, if_exists)))

    def whoami(self) -> User:
        """Return the user on whose behalf this client acts."""
        from ..commands.user import User, Whoami

        return User(*self.execute(Whoami()))

    def status(self) -> ServerStatus:
        """Return how the server does; Unavailable where none runs."""
        from ..commands.status import ServerStatus, Status

        return ServerStatus(*self.execute(Status()))


def _sent(outcome: int | Sent) -> Sent:
    from ..commands.sending import Sent

    return Sent(outcome, False) if isinstance(outcome, int) else outcome


def _first(messages: Sequence[Message]) -> Message | None:
    return messages[0] if messages else None


def _raise_first(outcomes: Sequence[BrokerError | None]) -> None:
    if outcomes[0] is not None:
        raise outcomes[0]
