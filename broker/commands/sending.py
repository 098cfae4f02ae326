"""What QUEUE SEND and CHANNEL PUBLISH, QUEUE PULL and CHANNEL PULL have in common."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Final, NamedTuple

from ..errors import Invalid
from .grammar import (
    CONTENT_TYPE,
    COUNT,
    DURATION,
    HEADERS,
    KEY,
    LEASE,
    LIFETIME,
    MEMORY,
    PRIORITY,
    TIME,
    Option,
    exclusive,
)


class Sent(NamedTuple):
    """The answer to a send with a key.

    Attributes:
        id: of the message; the first one's if this was a duplicate.
        duplicate: whether the key was known, and nothing stored.
    """

    id: int
    duplicate: bool


class SentMany(NamedTuple):
    """The answer to many sends in one command, with a key.

    Attributes:
        ids: of the messages, in their order; the first ones' if these were duplicates.
        duplicate: whether the key was known, and nothing stored.
    """

    ids: tuple[int, ...]
    duplicate: bool


def check_send(command: Any, given: Collection[str]) -> None:
    """Refuse a send or publication whose options contradict each other."""
    if not given:
        return
    exclusive(given, "delay_ms", "at_ms")
    if command.ttl_ms is not None and command.ttl_ms <= command.delay_ms:
        raise Invalid("a message that lives no longer than its delay never comes")
    if "key_ttl_ms" in given and command.key is None:
        raise Invalid("the time a key is remembered was given without a key")


def check_pull(command: Any, given: Collection[str]) -> None:
    """Refuse a pull whose options contradict each other."""
    exclusive(given, "lease_ms", "no_ack")


SEND_OPTIONS: Final = (
    Option("PRIORITY", "priority", PRIORITY, "0 to 9, higher first (default 4)"),
    Option("DELAY", "delay_ms", DURATION, "not delivered before so long from now"),
    Option("AT", "at_ms", TIME, "not delivered before that time; not with DELAY"),
    Option("TTL", "ttl_ms", LIFETIME, "expires so long from now, unless leased by then"),
    Option("KEY", "key", KEY, "send once: a second send with this key stores nothing"),
    Option("KEYTTL", "key_ttl_ms", MEMORY, "how long the key is remembered (default 24 h)"),
    Option("TYPE", "content_type", CONTENT_TYPE, "the content type"),
    Option("HEADERS", "headers", HEADERS, "a JSON object of text values"),
)

PULL_OPTIONS: Final = (
    Option("COUNT", "max_count", COUNT, "up to so many (1 to 1000); the answer is an array"),
    Option("WAIT", "wait_ms", DURATION, "if there is none, wait so long for one"),
    Option("LEASE", "lease_ms", LEASE, "how long it is leased (default 30 s)"),
    Option("NOACK", "no_ack", None, "no lease: it is deleted as it is pulled"),
)
