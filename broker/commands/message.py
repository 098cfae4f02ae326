"""Commands on messages by receipt, and the record of a message."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

from .. import names
from .grammar import DURATION, LEASE, RECEIPT, Argument, Option, Syntax


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
        leased_until: milliseconds since 1970, or None.
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


class MessageAck(NamedTuple):
    """Delete the deliveries that the receipts name; each answers for itself."""

    receipts: tuple[str, ...]


class MessageNack(NamedTuple):
    """Give deliveries back, ready at their old place at once or after ``delay_ms``.

    ``uncounted`` takes the attempt back as well: nobody has tried.
    """

    receipts: tuple[str, ...]
    delay_ms: int = 0
    uncounted: bool = False


class MessageExtend(NamedTuple):
    """Let a lease end ``lease_ms`` from now."""

    receipt: str
    lease_ms: int = names.DEFAULT_LEASE_MS


_RECEIPTS = (Argument("receipts", RECEIPT, repeated=True),)

SYNTAX: Final = (
    Syntax(
        ("MESSAGE", "ACK"), MessageAck, _RECEIPTS, (), "outcomes",
        "Acknowledge messages: they are deleted from their queues.",
    ),
    Syntax(
        ("MESSAGE", "NACK"), MessageNack, _RECEIPTS,
        (
            Option("DELAY", "delay_ms", DURATION, "not before so long from now"),
            Option("UNCOUNTED", "uncounted", None, "do not count the attempt"),
        ),
        "outcomes",
        "Give messages back to their queues, at their old places.",
    ),
    Syntax(
        ("MESSAGE", "EXTEND"), MessageExtend, (Argument("receipt", RECEIPT),),
        (Option("LEASE", "lease_ms", LEASE, "how long from now (default 30 s)"),),
        "ok",
        "Prolong the lease of a message.",
    ),
)  # fmt: skip
