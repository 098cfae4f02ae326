"""What QUEUE SEND and CHANNEL PUBLISH, QUEUE PULL and CHANNEL PULL have in common."""

from __future__ import annotations

from typing import Final, NamedTuple

from .grammar import (
    CONTENT_TYPE,
    COUNT,
    DURATION,
    HEADERS,
    KEY,
    LEASE,
    PRIORITY,
    Option,
)


class Sent(NamedTuple):
    """The answer to a send with a key.

    Attributes:
        id: of the message; the first one's if this was a duplicate.
        duplicate: whether the key was known, and nothing stored.
    """

    id: int
    duplicate: bool


SEND_OPTIONS: Final = (
    Option("PRIORITY", "priority", PRIORITY, "0 to 9, higher first (default 4)"),
    Option("DELAY", "delay_ms", DURATION, "not delivered before so long from now"),
    Option("KEY", "key", KEY, "send once: a second send with this key stores nothing"),
    Option("KEYTTL", "key_ttl_ms", DURATION, "how long the key is remembered (default 24 h)"),
    Option("TYPE", "content_type", CONTENT_TYPE, "the content type"),
    Option("HEADERS", "headers", HEADERS, "a JSON object of text values"),
)

PULL_OPTIONS: Final = (
    Option("COUNT", "max_count", COUNT, "up to so many (1 to 1000); the answer is an array"),
    Option("WAIT", "wait_ms", DURATION, "if there is none, wait so long for one"),
    Option("LEASE", "lease_ms", LEASE, "how long it is leased (default 30 s)"),
    Option("NOACK", "no_ack", None, "no lease: it is deleted as it is pulled"),
)
