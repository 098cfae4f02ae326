"""Commands on channels and subscriptions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

from .. import names
from .delivery import Message
from .grammar import BODY, NAME, Argument, Option, Setting, Syntax, choice
from .sending import PULL_OPTIONS, SEND_OPTIONS, check_pull, check_send
from .settings import SUBSCRIPTION_SETTINGS, check_change

#: Who may publish: the channel's subscribers, or everyone.
PUBLISH_SUBSCRIBERS: Final = "subscribers"
PUBLISH_ANYONE: Final = "anyone"

SETTINGS: Final = (
    Setting(
        "publish",
        choice(PUBLISH_SUBSCRIBERS, PUBLISH_ANYONE),
        "who may publish: subscribers or anyone",
        PUBLISH_SUBSCRIBERS,
    ),
)


class Channel(NamedTuple):
    """What a channel is.

    Attributes:
        name, owner: who created it, and under which name.
        created_at: milliseconds since 1970, UTC.
        subscriptions: how many there are now.
        publish: who may publish, ``subscribers`` or ``anyone``.
    """

    name: str
    owner: str
    created_at: int
    subscriptions: int
    publish: str


class ChannelCreate(NamedTuple):
    """Create a channel that belongs to the caller."""

    name: str
    settings: tuple[tuple[str, str], ...] = ()
    if_missing: bool = False


class ChannelDelete(NamedTuple):
    """Delete a channel with its subscriptions; answers how many messages waited in them."""

    name: str
    if_exists: bool = False


class ChannelList(NamedTuple):
    """List channels by name: all, those of the caller, or those the caller is subscribed to."""

    mine: bool = False
    subscribed: bool = False


class ChannelShow(NamedTuple):
    """Show one channel."""

    name: str


class ChannelSet(NamedTuple):
    """Change the settings of a channel."""

    name: str
    settings: tuple[tuple[str, str], ...] = ()


class ChannelSubscribe(NamedTuple):
    """Subscribe the caller: what is published from now on waits in a queue of its own.

    ``as_name`` makes a second, named subscription of the same user. One that exists
    already keeps all that waits in it, and gets the settings that are given.
    """

    channel: str
    as_name: str | None = None
    settings: tuple[tuple[str, str], ...] = ()


class ChannelUnsubscribe(NamedTuple):
    """End a subscription of the caller; what waits in it is deleted."""

    channel: str
    as_name: str | None = None


class ChannelPublish(NamedTuple):
    """Publish a message to every subscription there is; answers its id as a send does."""

    channel: str
    body: bytes
    priority: int = names.DEFAULT_PRIORITY
    delay_ms: int = 0
    key: str | None = None
    key_ttl_ms: int = names.DEFAULT_KEY_TTL_MS
    content_type: str | None = None
    headers: Mapping[str, str] | None = None
    at_ms: int | None = None
    ttl_ms: int | None = None


class ChannelPull(NamedTuple):
    """Pull from the caller's subscription; all else as in a pull from a queue."""

    channel: str
    as_name: str | None = None
    max_count: int | None = None
    wait_ms: int = 0
    lease_ms: int = names.DEFAULT_LEASE_MS
    no_ack: bool = False


_NAMED = (Argument("name", NAME),)
_CHANNEL = (Argument("channel", NAME),)
_AS = (Option("AS", "as_name", NAME, "the named subscription"),)

SYNTAX: Final = (
    Syntax(
        ("CHANNEL", "CREATE"), ChannelCreate, _NAMED,
        (Option("IFMISSING", "if_missing", None, "no error if it exists"),),
        "ok", "Create a channel.", settings=SETTINGS, creates=True,
    ),
    Syntax(
        ("CHANNEL", "DELETE"), ChannelDelete, _NAMED,
        (Option("IFEXISTS", "if_exists", None, "no error if it is missing"),),
        "count", "Delete a channel and its subscriptions; answers how many messages waited.",
    ),
    Syntax(
        ("CHANNEL", "LIST"), ChannelList, (),
        (
            Option("MINE", "mine", None, "only those I own"),
            Option("SUBSCRIBED", "subscribed", None, "only those I am subscribed to"),
        ),
        "records", "List channels and their owners.", Channel, reads=True,
    ),
    Syntax(
        ("CHANNEL", "SHOW"), ChannelShow, _NAMED, (),
        "record", "Show a channel.", Channel, reads=True,
    ),
    Syntax(
        ("CHANNEL", "SET"), ChannelSet, _NAMED, (),
        "ok", "Change settings of a channel.", settings=SETTINGS, rule=check_change,
    ),
    Syntax(
        ("CHANNEL", "SUBSCRIBE"), ChannelSubscribe, _CHANNEL, _AS,
        "ok", "Subscribe to a channel.", settings=SUBSCRIPTION_SETTINGS,
    ),
    Syntax(
        ("CHANNEL", "UNSUBSCRIBE"), ChannelUnsubscribe, _CHANNEL, _AS,
        "count", "End a subscription; answers how many messages waited in it.",
    ),
    Syntax(
        ("CHANNEL", "PUBLISH"), ChannelPublish,
        (*_CHANNEL, Argument("body", BODY)), SEND_OPTIONS,
        "sent", "Publish a message to every subscription; answers its id.", rule=check_send,
    ),
    Syntax(
        ("CHANNEL", "PULL"), ChannelPull, _CHANNEL, (*_AS, *PULL_OPTIONS),
        "pulled", "Pull messages from my subscription to a channel.", Message,
        rule=check_pull,
    ),
)  # fmt: skip
