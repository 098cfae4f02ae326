"""The methods of every client, written once: a command, and how its result is read.

A blocking client returns what they return; the asyncio client returns awaitables
of it, which the public stub says (``broker/aio.pyi``, made from this module by
``scripts/make-aio-stub``, and held to it by a test).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from .. import names
from ..errors import BrokerError

if TYPE_CHECKING:
    from ..commands.channel import Channel
    from ..commands.message import Message
    from ..commands.queue import Queue
    from ..commands.sending import Sent
    from ..commands.status import ServerStatus
    from ..commands.user import User

_Result = TypeVar("_Result")


class Methods:
    """What one can do with a broker."""

    def _call(self, command: Any, read: Callable[[Any], _Result]) -> _Result:
        """Execute a command and return what ``read`` makes of its result."""
        raise NotImplementedError

    # --- queues ---

    def create_queue(self, name: str, *, if_missing: bool = False) -> None:
        """Create a queue; Exists if there is one, unless ``if_missing``."""
        from ..commands.queue import QueueCreate

        return self._call(QueueCreate(name, if_missing), _nothing)

    def delete_queue(self, name: str, *, if_empty: bool = False, if_exists: bool = False) -> int:
        """Delete a queue and return how many messages went with it.

        Raises:
            NotFound: there is none, unless ``if_exists``.
            Denied: it is another user's.
            Conflict: it has messages and ``if_empty`` was asked for.
        """
        from ..commands.queue import QueueDelete

        return self._call(QueueDelete(name, if_empty, if_exists), int)

    def list_queues(self, *, mine: bool = False) -> list[Queue]:
        """Return the queues by name, all or those of the caller."""
        from ..commands.queue import QueueList

        return self._call(QueueList(mine), list)

    def show_queue(self, name: str) -> Queue:
        """Return what a queue is and holds; NotFound if there is none."""
        from ..commands.queue import Queue, QueueShow

        return self._call(QueueShow(name), Queue._make)

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

        return self._call(
            QueueSend(
                queue, body, priority, delay_ms, key, key_ttl_ms, content_type, headers or None
            ),
            _sent,
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

        return self._call(QueuePull(queue, None, wait_ms, lease_ms, no_ack), _first)

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

        return self._call(QueuePull(queue, max_count, wait_ms, lease_ms, no_ack), list)

    # --- channels ---

    def create_channel(
        self, name: str, *, publish: str = "subscribers", if_missing: bool = False
    ) -> None:
        """Create a channel to which ``subscribers`` or ``anyone`` may publish."""
        from ..commands.channel import ChannelCreate

        return self._call(ChannelCreate(name, (("publish", publish),), if_missing), _nothing)

    def set_channel(self, name: str, *, publish: str) -> None:
        """Change who may publish; for owner and admins."""
        from ..commands.channel import ChannelSet

        return self._call(ChannelSet(name, (("publish", publish),)), _nothing)

    def delete_channel(self, name: str, *, if_exists: bool = False) -> int:
        """Delete a channel with its subscriptions; return how many messages waited in them."""
        from ..commands.channel import ChannelDelete

        return self._call(ChannelDelete(name, if_exists), int)

    def list_channels(self, *, mine: bool = False, subscribed: bool = False) -> list[Channel]:
        """Return channels by name: all, the caller's, or those it is subscribed to."""
        from ..commands.channel import ChannelList

        return self._call(ChannelList(mine, subscribed), list)

    def show_channel(self, name: str) -> Channel:
        """Return what a channel is; NotFound if there is none."""
        from ..commands.channel import Channel, ChannelShow

        return self._call(ChannelShow(name), Channel._make)

    def subscribe(self, channel: str, *, as_name: str | None = None) -> None:
        """Subscribe: what is published from now on waits for the caller. Twice is fine."""
        from ..commands.channel import ChannelSubscribe

        return self._call(ChannelSubscribe(channel, as_name), _nothing)

    def unsubscribe(self, channel: str, *, as_name: str | None = None) -> int:
        """End a subscription; return how many messages waited in it."""
        from ..commands.channel import ChannelUnsubscribe

        return self._call(ChannelUnsubscribe(channel, as_name), int)

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

        return self._call(
            ChannelPublish(
                channel,
                body,
                priority,
                delay_ms,
                key,
                key_ttl_ms,
                content_type,
                headers or None,
            ),
            _sent,
        )

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

        return self._call(ChannelPull(channel, as_name, None, wait_ms, lease_ms, no_ack), _first)

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

        return self._call(ChannelPull(channel, as_name, max_count, wait_ms, lease_ms, no_ack), list)

    # --- messages ---

    def ack(self, receipt: str) -> None:
        """Acknowledge a message: it is deleted. Stale if its lease has ended."""
        from ..commands.message import MessageAck

        return self._call(MessageAck((receipt,)), _raise_first)

    def ack_many(self, receipts: Sequence[str]) -> list[BrokerError | None]:
        """Acknowledge messages; for each None, or why it was refused."""
        from ..commands.message import MessageAck

        return self._call(MessageAck(tuple(receipts)), list)

    def nack(self, receipt: str, *, delay_ms: int = 0, uncounted: bool = False) -> None:
        """Give a message back: ready at its old place at once, or after ``delay_ms``.

        With ``uncounted`` the attempt does not count. Stale if its lease has ended.
        """
        from ..commands.message import MessageNack

        return self._call(MessageNack((receipt,), delay_ms, uncounted), _raise_first)

    def nack_many(
        self, receipts: Sequence[str], *, delay_ms: int = 0, uncounted: bool = False
    ) -> list[BrokerError | None]:
        """Give messages back; for each None, or why it was refused."""
        from ..commands.message import MessageNack

        return self._call(MessageNack(tuple(receipts), delay_ms, uncounted), list)

    def extend(self, receipt: str, *, lease_ms: int = names.DEFAULT_LEASE_MS) -> None:
        """Let a lease end ``lease_ms`` from now. Stale if it has ended already."""
        from ..commands.message import MessageExtend

        return self._call(MessageExtend(receipt, lease_ms), _nothing)

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

        return self._call(UserCreate(name, password, uid, admin, if_missing), _nothing)

    def set_password(self, name: str, password: str) -> None:
        """Set the caller's own password; an admin anybody's."""
        from ..commands.user import UserPassword

        return self._call(UserPassword(name, password), _nothing)

    def list_users(self) -> list[User]:
        """Return the users by name; for admins."""
        from ..commands.user import UserList

        return self._call(UserList(), list)

    def show_user(self, name: str) -> User:
        """Return one user: oneself, or for admins anybody."""
        from ..commands.user import User, UserShow

        return self._call(UserShow(name), User._make)

    def delete_user(self, name: str, *, give_to: str | None = None, if_exists: bool = False) -> int:
        """Delete a user with its subscriptions; ``give_to`` gets what it owns; for admins.

        Returns how many messages waited in the subscriptions.
        """
        from ..commands.user import UserDelete

        return self._call(UserDelete(name, give_to, if_exists), int)

    def whoami(self) -> User:
        """Return the user on whose behalf this client acts."""
        from ..commands.user import User, Whoami

        return self._call(Whoami(), User._make)

    def status(self) -> ServerStatus:
        """Return how the server does; Unavailable where none runs."""
        from ..commands.status import ServerStatus, Status

        return self._call(Status(), ServerStatus._make)


def _nothing(outcome: object) -> None:
    return None


def _sent(outcome: int | Sent) -> Sent:
    from ..commands.sending import Sent

    return Sent(outcome, False) if isinstance(outcome, int) else outcome


def _first(messages: Sequence[Message]) -> Message | None:
    return messages[0] if messages else None


def _raise_first(outcomes: Sequence[BrokerError | None]) -> None:
    if outcomes[0] is not None:
        raise outcomes[0]
