"""The methods of every client, written once: a command, and how its result is read.

A blocking client returns what they return; the asyncio client returns awaitables
of it, which the public stub says (``broker/aio.pyi``, made from this module by
``scripts/make-aio-stub``, and held to it by a test).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from .. import commands, names
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
        return self._call(commands.queue.QueueCreate(name, _words(settings), if_missing), _nothing)

    def set_queue(self, name: str, settings: Settings) -> None:
        """Change settings of a live queue or subscription; for owner and admins.

        Args:
            name: of the queue; that of a subscription is ``CHANNEL@USER[@NAME]``.
            settings: as ``{"max_messages": 1000, "on_full": "drop-oldest"}``; None
                takes one back to its default.
        """
        return self._call(commands.queue.QueueSet(name, _words(settings)), _nothing)

    def delete_queue(self, name: str, *, if_empty: bool = False, if_exists: bool = False) -> int:
        """Delete a queue and return how many messages went with it.

        Raises:
            NotFound: there is none, unless ``if_exists``.
            Denied: it is another user's.
            Conflict: it has messages and ``if_empty`` was asked for.
        """
        return self._call(commands.queue.QueueDelete(name, if_empty, if_exists), int)

    def list_queues(self, *, mine: bool = False) -> list[Queue]:
        """Return the queues by name, all or those of the caller."""
        return self._call(commands.queue.QueueList(mine), list)

    def show_queue(self, name: str) -> Queue:
        """Return what a queue is and holds; NotFound if there is none."""
        return self._call(commands.queue.QueueShow(name), commands.queue.Queue._make)

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
        return self._call(
            commands.queue.QueueSend(
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
        return self._call(
            commands.queue.QueueSendMany(
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
        return self._call(commands.queue.QueuePull(queue, None, wait_ms, lease_ms, no_ack), _first)

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
        return self._call(
            commands.queue.QueuePull(queue, max_count, wait_ms, lease_ms, no_ack), list
        )

    def peek(self, queue: str, max_count: int = 1, *, state: str = "ready") -> list[Peeked]:
        """Return the first deliveries in a state without touching them.

        Args:
            queue: whose.
            max_count: at most so many, 1 to 1000.
            state: ``ready``, ``delayed``, ``leased`` or ``dead``.
        """
        return self._call(commands.queue.QueuePeek(queue, max_count, state), list)

    def purge(self, queue: str) -> int:
        """Delete what is ready or delayed in a queue, for owner and admins; return how many."""
        return self._call(commands.queue.QueuePurge(queue), int)

    def pause(self, queue: str, *, sends: bool = True, pulls: bool = True) -> None:
        """Refuse sends (Conflict), and let pulls find nothing; for owner and admins."""
        return self._call(commands.queue.QueuePause(queue, *_only(sends, pulls)), _nothing)

    def resume(self, queue: str, *, sends: bool = True, pulls: bool = True) -> None:
        """End a pause of sends, pulls, or both."""
        return self._call(commands.queue.QueueResume(queue, *_only(sends, pulls)), _nothing)

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
        return self._call(commands.dead.DeadList(queue, match, limit, after), list)

    def show_dead(self, queue: str, id: int) -> Peeked:
        """Return a dead message with its body and its failures."""
        return self._call(commands.dead.DeadShow(queue, id), commands.delivery.Peeked._make)

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
        return self._call(commands.dead.DeadRetry(queue, id, id is None, match, limit), int)

    def drop_dead(
        self,
        queue: str,
        id: int | None = None,
        *,
        match: str | None = None,
        limit: int | None = None,
    ) -> int:
        """Delete dead messages, chosen as in :meth:`retry_dead`; return how many."""
        return self._call(commands.dead.DeadDrop(queue, id, id is None, match, limit), int)

    # --- channels ---

    def create_channel(
        self, name: str, *, publish: str = "subscribers", if_missing: bool = False
    ) -> None:
        """Create a channel to which ``subscribers`` or ``anyone`` may publish."""
        return self._call(
            commands.channel.ChannelCreate(name, (("publish", publish),), if_missing), _nothing
        )

    def set_channel(self, name: str, *, publish: str) -> None:
        """Change who may publish; for owner and admins."""
        return self._call(commands.channel.ChannelSet(name, (("publish", publish),)), _nothing)

    def delete_channel(self, name: str, *, if_exists: bool = False) -> int:
        """Delete a channel with its subscriptions; return how many messages waited in them."""
        return self._call(commands.channel.ChannelDelete(name, if_exists), int)

    def list_channels(self, *, mine: bool = False, subscribed: bool = False) -> list[Channel]:
        """Return channels by name: all, the caller's, or those it is subscribed to."""
        return self._call(commands.channel.ChannelList(mine, subscribed), list)

    def show_channel(self, name: str) -> Channel:
        """Return what a channel is; NotFound if there is none."""
        return self._call(commands.channel.ChannelShow(name), commands.channel.Channel._make)

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
        return self._call(
            commands.channel.ChannelSubscribe(channel, as_name, _words(settings)), _nothing
        )

    def unsubscribe(self, channel: str, *, as_name: str | None = None) -> int:
        """End a subscription; return how many messages waited in it."""
        return self._call(commands.channel.ChannelUnsubscribe(channel, as_name), int)

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
        return self._call(
            commands.channel.ChannelPublish(
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
        return self._call(
            commands.channel.ChannelPull(channel, as_name, None, wait_ms, lease_ms, no_ack), _first
        )

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
        return self._call(
            commands.channel.ChannelPull(channel, as_name, max_count, wait_ms, lease_ms, no_ack),
            list,
        )

    # --- messages ---

    def ack(self, receipt: str) -> None:
        """Acknowledge a message: it is deleted. Stale if its lease has ended."""
        return self._call(commands.message.MessageAck((receipt,)), _raise_first)

    def ack_many(self, receipts: Sequence[str]) -> list[BrokerError | None]:
        """Acknowledge messages; for each None, or why it was refused."""
        return self._call(commands.message.MessageAck(_each(receipts)), list)

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
        return self._call(
            commands.message.MessageNack((receipt,), delay_ms, uncounted, dead, reason),
            _raise_first,
        )

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
        return self._call(
            commands.message.MessageNack(_each(receipts), delay_ms, uncounted, dead, reason), list
        )

    def extend(self, receipt: str, *, lease_ms: int = names.DEFAULT_LEASE_MS) -> None:
        """Let a lease end ``lease_ms`` from now. Stale if it has ended already."""
        return self._call(commands.message.MessageExtend(receipt, lease_ms), _nothing)

    def show_message(self, id: int) -> Whereabouts:
        """Return a message, and where each of its deliveries is that the caller may see."""
        return self._call(commands.message.MessageShow(id), commands.delivery.Whereabouts._make)

    def delete_message(self, queue: str, id: int) -> None:
        """Delete a message from a queue, in whatever state; for owner and admins."""
        return self._call(commands.message.MessageDelete(queue, id), _nothing)

    def release_message(self, queue: str, id: int) -> None:
        """Make a leased or delayed message ready at once, uncounted; for owner and admins."""
        return self._call(commands.message.MessageRelease(queue, id), _nothing)

    def move_message(self, queue: str, id: int, to: str) -> None:
        """Move a message to another queue, ready there, attempts at zero; for owner and admins."""
        return self._call(commands.message.MessageMove(queue, id, to), _nothing)

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
        return self._call(
            commands.user.UserCreate(name, password, uid, admin, if_missing), _nothing
        )

    def set_password(self, name: str, password: str) -> None:
        """Set the caller's own password; an admin anybody's."""
        return self._call(commands.user.UserPassword(name, password), _nothing)

    def list_users(self) -> list[User]:
        """Return the users by name; for admins."""
        return self._call(commands.user.UserList(), list)

    def show_user(self, name: str) -> User:
        """Return one user: oneself, or for admins anybody."""
        return self._call(commands.user.UserShow(name), commands.user.User._make)

    def delete_user(self, name: str, *, give_to: str | None = None, if_exists: bool = False) -> int:
        """Delete a user with its subscriptions; ``give_to`` gets what it owns; for admins.

        Returns how many messages waited in the subscriptions.
        """
        return self._call(commands.user.UserDelete(name, give_to, if_exists), int)

    def whoami(self) -> User:
        """Return the user on whose behalf this client acts."""
        return self._call(commands.user.Whoami(), commands.user.User._make)

    # --- the database ---

    def compact(self) -> int:
        """Give what is free in the database's file back; return how many bytes; for admins.

        It goes in slices, so nobody else has to wait; a back-up that is being made
        puts the cut of the file off.
        """
        return self._call(commands.db.DbCompact(), int)

    def status(self) -> ServerStatus:
        """Return how the server does; Unavailable where none runs."""
        return self._call(commands.status.Status(), commands.status.ServerStatus._make)


def _nothing(outcome: object) -> None:
    return None


def _sent(outcome: int | Sent) -> Sent:
    return commands.sending.Sent(outcome, False) if isinstance(outcome, int) else outcome


def _sent_many(outcome: Sequence[int] | SentMany) -> SentMany:
    if isinstance(outcome, commands.sending.SentMany):
        return outcome
    return commands.sending.SentMany(tuple(outcome), False)


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
