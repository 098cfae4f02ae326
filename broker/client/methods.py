"""The methods of every client, written once: a command, and how its result is read.

A blocking client returns what they return; the asyncio client returns awaitables
of it, which the public stub says (``broker/aio.pyi``, made from this module by
``scripts/make-aio-stub``, and held to it by a test).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from .. import names
from ..errors import BrokerError, Invalid

if TYPE_CHECKING:
    from datetime import datetime

    from ..commands.channel import Channel
    from ..commands.dead import Dead
    from ..commands.delivery import Message, Peeked, Whereabouts
    from ..commands.queue import Queue
    from ..commands.sending import Sent, SentMany
    from ..commands.status import ServerStatus
    from ..commands.user import User

_Result = TypeVar("_Result")
#: Settings of a queue by name, each as text or as a whole number; None is its default.
Settings = Mapping[str, str | int | None]


class Methods:
    """What one can do with a broker."""

    def _call(self, command: Any, read: Callable[[Any], _Result]) -> _Result:
        """Execute a command and return what ``read`` makes of its result."""
        raise NotImplementedError

    # --- queues ---

    def create_queue(
        self, name: str, *, settings: Settings | None = None, if_missing: bool = False
    ) -> None:
        """Create a queue; Exists if there is one, unless ``if_missing``.

        Args:
            name: of the queue.
            settings: as ``{"max_attempts": 3, "ttl": "10m"}``; those of a queue that
                exists already stay as they are.
        """
        from ..commands.queue import QueueCreate

        return self._call(QueueCreate(name, _words(settings), if_missing), _nothing)

    def set_queue(self, name: str, settings: Settings) -> None:
        """Change settings of a live queue or subscription; for owner and admins.

        Args:
            name: of the queue; that of a subscription is ``CHANNEL@USER[@NAME]``.
            settings: as ``{"max_messages": 1000, "on_full": "drop-oldest"}``; None
                takes one back to its default.
        """
        from ..commands.queue import QueueSet

        return self._call(QueueSet(name, _words(settings)), _nothing)

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
        at: datetime | None = None,
        ttl_ms: int | None = None,
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
            at: not delivered before that time, which has a zone; not with ``delay_ms``.
            ttl_ms: expires so many milliseconds from now, unless leased by then.

        Raises:
            NotFound: there is no such queue.
            TooBig: the body or the headers.
            Full: the queue or the disk is full.
            Conflict: sends to the queue are paused.
        """
        from ..commands.queue import QueueSend

        return self._call(
            QueueSend(
                queue, body, priority, delay_ms, key, key_ttl_ms, content_type, headers or None,
                _at_ms(at), ttl_ms,
            ),
            _sent,
        )  # fmt: skip

    def send_many(
        self,
        queue: str,
        bodies: Sequence[bytes],
        *,
        priority: int = names.DEFAULT_PRIORITY,
        delay_ms: int = 0,
        key: str | None = None,
        key_ttl_ms: int = names.DEFAULT_KEY_TTL_MS,
        content_type: str | None = None,
        headers: Mapping[str, str] | None = None,
        at: datetime | None = None,
        ttl_ms: int | None = None,
    ) -> SentMany:
        """Send up to 1000 messages alike, all or none; all else as in :meth:`send`.

        A ``key`` is that of all of them together.
        """
        from ..commands.queue import QueueSendMany

        return self._call(
            QueueSendMany(
                queue, _each(bodies), priority, delay_ms, key, key_ttl_ms, content_type,
                headers or None, _at_ms(at), ttl_ms,
            ),
            _sent_many,
        )  # fmt: skip

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

    def peek(self, queue: str, max_count: int = 1, *, state: str = "ready") -> list[Peeked]:
        """Return the first deliveries in a state without touching them.

        Args:
            queue: whose.
            max_count: at most so many, 1 to 1000.
            state: ``ready``, ``delayed``, ``leased`` or ``dead``.
        """
        from ..commands.queue import QueuePeek

        return self._call(QueuePeek(queue, max_count, state), list)

    def purge(self, queue: str) -> int:
        """Delete what is ready or delayed in a queue, for owner and admins; return how many."""
        from ..commands.queue import QueuePurge

        return self._call(QueuePurge(queue), int)

    def pause(self, queue: str, *, sends: bool = True, pulls: bool = True) -> None:
        """Refuse sends (Conflict), and let pulls find nothing; for owner and admins."""
        from ..commands.queue import QueuePause

        return self._call(QueuePause(queue, *_only(sends, pulls)), _nothing)

    def resume(self, queue: str, *, sends: bool = True, pulls: bool = True) -> None:
        """End a pause of sends, pulls, or both."""
        from ..commands.queue import QueueResume

        return self._call(QueueResume(queue, *_only(sends, pulls)), _nothing)

    # --- the dead ---

    def list_dead(
        self, queue: str, *, match: str | None = None, limit: int = 100, after: int = 0
    ) -> list[Dead]:
        """Return dead messages of a queue without their bodies, the oldest first.

        Args:
            queue: whose.
            match: only those with this text in body, headers or reason.
            limit: at most so many, 1 to 1000.
            after: only those after the message of this id.
        """
        from ..commands.dead import DeadList

        return self._call(DeadList(queue, match, limit, after), list)

    def show_dead(self, queue: str, id: int) -> Peeked:
        """Return a dead message with its body and its failures."""
        from ..commands.dead import DeadShow
        from ..commands.delivery import Peeked

        return self._call(DeadShow(queue, id), Peeked._make)

    def retry_dead(
        self,
        queue: str,
        id: int | None = None,
        *,
        match: str | None = None,
        limit: int | None = None,
    ) -> int:
        """Put dead messages back at their old places, attempts at zero; return how many.

        The one of that ``id``, or without it all, at most ``limit``, those that
        ``match``. For owner and admins.
        """
        from ..commands.dead import DeadRetry

        return self._call(DeadRetry(queue, id, id is None, match, limit), int)

    def drop_dead(
        self,
        queue: str,
        id: int | None = None,
        *,
        match: str | None = None,
        limit: int | None = None,
    ) -> int:
        """Delete dead messages, chosen as in :meth:`retry_dead`; return how many."""
        from ..commands.dead import DeadDrop

        return self._call(DeadDrop(queue, id, id is None, match, limit), int)

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

    def subscribe(
        self, channel: str, *, as_name: str | None = None, settings: Settings | None = None
    ) -> None:
        """Subscribe: what is published from now on waits for the caller. Twice is fine.

        Args:
            channel: what to.
            as_name: a second, named subscription of the caller.
            settings: as of a queue, and ``expire_idle``: a subscription nobody pulls
                from for so long ends. One that exists already gets them too.
        """
        from ..commands.channel import ChannelSubscribe

        return self._call(ChannelSubscribe(channel, as_name, _words(settings)), _nothing)

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
        at: datetime | None = None,
        ttl_ms: int | None = None,
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
                _at_ms(at),
                ttl_ms,
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

        return self._call(MessageAck(_each(receipts)), list)

    def nack(
        self,
        receipt: str,
        *,
        delay_ms: int | None = None,
        uncounted: bool = False,
        dead: bool = False,
        reason: str | None = None,
    ) -> None:
        """Give a message back to its old place; Stale if its lease has ended.

        Args:
            receipt: of its lease.
            delay_ms: ready again so many milliseconds from now, 0 is at once; None is
                by the queue's ``backoff``, at once where there is none.
            uncounted: the attempt does not count.
            dead: it dies at once.
            reason: why, for people; remembered with the failure.
        """
        from ..commands.message import MessageNack

        return self._call(MessageNack((receipt,), delay_ms, uncounted, dead, reason), _raise_first)

    def nack_many(
        self,
        receipts: Sequence[str],
        *,
        delay_ms: int | None = None,
        uncounted: bool = False,
        dead: bool = False,
        reason: str | None = None,
    ) -> list[BrokerError | None]:
        """Give messages back; for each None, or why it was refused."""
        from ..commands.message import MessageNack

        return self._call(MessageNack(_each(receipts), delay_ms, uncounted, dead, reason), list)

    def extend(self, receipt: str, *, lease_ms: int = names.DEFAULT_LEASE_MS) -> None:
        """Let a lease end ``lease_ms`` from now. Stale if it has ended already."""
        from ..commands.message import MessageExtend

        return self._call(MessageExtend(receipt, lease_ms), _nothing)

    def show_message(self, id: int) -> Whereabouts:
        """Return a message, and where each of its deliveries is that the caller may see."""
        from ..commands.delivery import Whereabouts
        from ..commands.message import MessageShow

        return self._call(MessageShow(id), Whereabouts._make)

    def delete_message(self, queue: str, id: int) -> None:
        """Delete a message from a queue, in whatever state; for owner and admins."""
        from ..commands.message import MessageDelete

        return self._call(MessageDelete(queue, id), _nothing)

    def release_message(self, queue: str, id: int) -> None:
        """Make a leased or delayed message ready at once, uncounted; for owner and admins."""
        from ..commands.message import MessageRelease

        return self._call(MessageRelease(queue, id), _nothing)

    def move_message(self, queue: str, id: int, to: str) -> None:
        """Move a message to another queue, ready there, attempts at zero; for owner and admins."""
        from ..commands.message import MessageMove

        return self._call(MessageMove(queue, id, to), _nothing)

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

    # --- the database ---

    def compact(self) -> int:
        """Give what is free in the database's file back; return how many bytes; for admins.

        It goes in slices, so nobody else has to wait; a back-up that is being made
        puts the cut of the file off.
        """
        from ..commands.db import DbCompact

        return self._call(DbCompact(), int)

    def status(self) -> ServerStatus:
        """Return how the server does; Unavailable where none runs."""
        from ..commands.status import ServerStatus, Status

        return self._call(Status(), ServerStatus._make)


def _nothing(outcome: object) -> None:
    return None


def _sent(outcome: int | Sent) -> Sent:
    from ..commands.sending import Sent

    return Sent(outcome, False) if isinstance(outcome, int) else outcome


def _sent_many(outcome: Sequence[int] | SentMany) -> SentMany:
    from ..commands.sending import SentMany

    return outcome if isinstance(outcome, SentMany) else SentMany(tuple(outcome), False)


def _words(settings: Settings | None) -> tuple[tuple[str, str], ...]:
    """Return settings as words; one that is None goes back to its default."""
    if settings is None:
        return ()
    if not isinstance(settings, Mapping):
        raise Invalid(f"settings are a mapping of names to values, not {type(settings).__name__}")
    for name, value in settings.items():
        if not isinstance(value, str | int | None) or isinstance(value, bool):
            raise Invalid(f"{name}: a setting is text, a whole number or None, not {value!a}")
    return tuple((name, "" if value is None else str(value)) for name, value in settings.items())


def _only(sends: bool, pulls: bool) -> tuple[bool, bool]:
    """Return which of two a pause is limited to; both is not to limit it."""
    if not sends and not pulls:
        raise Invalid("neither sends nor pulls: say which")
    return not pulls, not sends


def _each(values: Sequence[_Result]) -> tuple[_Result, ...]:
    """Return values as a command has them; one text alone is not many."""
    if isinstance(values, str | bytes):
        raise Invalid(f"a sequence of them is wanted, not one {type(values).__name__}")
    return tuple(values)


def _at_ms(at: datetime | None) -> int | None:
    if at is None:
        return None
    # Imported here: hardly any one-shot gives a time.
    from .times import time_ms

    return time_ms(at)


def _first(messages: Sequence[Message]) -> Message | None:
    return messages[0] if messages else None


def _raise_first(outcomes: Sequence[BrokerError | None]) -> None:
    if outcomes[0] is not None:
        raise outcomes[0]
