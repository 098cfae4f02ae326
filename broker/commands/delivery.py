"""The records of deliveries: as they are pulled, and as they are looked at."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

READY: Final = "ready"
DELAYED: Final = "delayed"
LEASED: Final = "leased"
DEAD: Final = "dead"
STATES: Final = (READY, DELAYED, LEASED, DEAD)


class Message(NamedTuple):
    """A message as it was delivered.

    Attributes:
        id: of the message, the same in every queue that has a copy.
        queue: where it was pulled from.
        body: any bytes.
        content_type: as its sender said, or None.
        headers: text under text.
        sender: the user who sent it.
        sent_at: milliseconds since 1970, UTC.
        attempts: how many leases it has had, this one counted.
        priority: 0 to 9, higher first.
        receipt: what acknowledges it; None if it was taken without a lease.
        leased_until: milliseconds since 1970; None without a lease, or where the
            lease lives as long as its consumer's connection.
        died: None, or in a dead-letter queue a mapping of ``queue`` (where it comes
            from), ``reason`` and ``at`` (milliseconds since 1970).
    """

    id: int
    queue: str
    body: bytes
    content_type: str | None
    headers: Mapping[str, str]
    sender: str
    sent_at: int
    attempts: int
    priority: int
    receipt: str | None
    leased_until: int | None
    died: Mapping[str, str | int] | None = None


class Peeked(NamedTuple):
    """A delivery somebody looked at, which changes nothing about it.

    Attributes:
        id, queue, body, content_type, headers, sender, sent_at, attempts, priority: as
            in a :class:`Message`; ``attempts`` are those so far.
        state: ``ready``, ``delayed``, ``leased`` or ``dead``.
        ready_at: when it first became ready, or None.
        delayed_until, leased_until: when that ends, or None.
        leased_by: the user who has it leased, or None.
        expires_at: when it expires, or None.
        dead_at: when it died, or None.
        reason: why it died, or None.
        failures: the last few, the newest last, each a mapping of ``at``,
            ``consumer`` and ``reason``.
        died: as in a :class:`Message`.

    All times are milliseconds since 1970, UTC.
    """

    id: int
    queue: str
    body: bytes
    content_type: str | None
    headers: Mapping[str, str]
    sender: str
    sent_at: int
    attempts: int
    priority: int
    state: str
    ready_at: int | None
    delayed_until: int | None
    leased_until: int | None
    leased_by: str | None
    expires_at: int | None
    dead_at: int | None
    reason: str | None
    failures: tuple[Mapping[str, str | int], ...]
    died: Mapping[str, str | int] | None


class Place(NamedTuple):
    """Where one delivery of a message is; the attributes are those of :class:`Peeked`."""

    queue: str
    state: str
    attempts: int
    priority: int
    ready_at: int | None
    delayed_until: int | None
    leased_until: int | None
    leased_by: str | None
    expires_at: int | None
    dead_at: int | None
    reason: str | None
    failures: tuple[Mapping[str, str | int], ...]
    died: Mapping[str, str | int] | None


class Whereabouts(NamedTuple):
    """A message and where its deliveries are.

    Attributes:
        id, body, content_type, headers, sender, sent_at: as in a :class:`Message`.
        deliveries: a mapping with the keys of :class:`Place` for each delivery the
            caller may see; at most 1000.
    """

    id: int
    body: bytes
    content_type: str | None
    headers: Mapping[str, str]
    sender: str
    sent_at: int
    deliveries: tuple[Mapping[str, object], ...]
