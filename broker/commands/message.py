"""Commands on messages: by the receipt of a lease, or by their id."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING, Final, NamedTuple

from .. import names
from ..errors import Invalid
from .delivery import Whereabouts
from .grammar import (
    DURATION,
    ID,
    LEASE,
    QUEUE,
    REASON,
    RECEIPT,
    Argument,
    Option,
    Syntax,
    Tail,
    exclusive,
)

if TYPE_CHECKING:
    from .queue import QueueSend


class MessageAck(NamedTuple):
    """Delete the deliveries that the receipts name; each answers for itself.

    With ``send`` it is all or nothing: the message is sent and all are deleted, or
    the first refusal is the answer and nothing was done.
    """

    receipts: tuple[str, ...]
    send: QueueSend | None = None


class MessageNack(NamedTuple):
    """Give deliveries back, at their old places; each answers for itself.

    Ready again after ``delay_ms``, or by the queue's backoff where that is None.
    ``uncounted`` takes the attempt back as well: nobody has tried. ``dead`` has it
    die at once. A failure is remembered with its ``reason``.
    """

    receipts: tuple[str, ...]
    delay_ms: int | None = None
    uncounted: bool = False
    dead: bool = False
    reason: str | None = None


class MessageExtend(NamedTuple):
    """Let a lease end ``lease_ms`` from now."""

    receipt: str
    lease_ms: int = names.DEFAULT_LEASE_MS


class MessageShow(NamedTuple):
    """Show a message, and where each of its deliveries is."""

    id: int


class MessageDelete(NamedTuple):
    """Delete a message from a queue, in whatever state it is; for owner and admins."""

    queue: str
    id: int


class MessageRelease(NamedTuple):
    """Make a leased or delayed message ready at once, uncounted; for owner and admins."""

    queue: str
    id: int


class MessageMove(NamedTuple):
    """Move a message to another queue, ready there, attempts at zero; for owner and admins."""

    queue: str
    id: int
    to: str


def _check_nack(command: MessageNack, given: Collection[str]) -> None:
    exclusive(given, "delay_ms", "dead")
    exclusive(given, "uncounted", "dead")
    if command.uncounted and command.reason is not None:
        raise Invalid("what is not counted is no failure and has no reason")


def _send_syntax() -> Syntax:
    """Return the syntax of QUEUE SEND; who only acknowledges does not import it."""
    from .queue import QueueSend
    from .table import syntax_of

    return syntax_of(QueueSend)


_RECEIPTS = (Argument("receipts", RECEIPT, repeated=True),)
_IN_QUEUE = (Argument("queue", QUEUE), Argument("id", ID))

SYNTAX: Final = (
    Syntax(
        ("MESSAGE", "ACK"), MessageAck, _RECEIPTS, (), "outcomes",
        "Acknowledge messages: they are deleted from their queues. With SEND a message is "
        "sent as well, all of it or nothing.",
        tail=Tail("SEND", "send", _send_syntax),
    ),
    Syntax(
        ("MESSAGE", "NACK"), MessageNack, _RECEIPTS,
        (
            Option("DELAY", "delay_ms", DURATION,
                   "ready again so long from now; without it, by the queue's backoff"),
            Option("UNCOUNTED", "uncounted", None, "do not count the attempt"),
            Option("DEAD", "dead", None, "let it die at once"),
            Option("REASON", "reason", REASON, "why, for people"),
        ),
        "outcomes",
        "Give messages back to their queues, at their old places.",
        rule=_check_nack,
    ),
    Syntax(
        ("MESSAGE", "EXTEND"), MessageExtend, (Argument("receipt", RECEIPT),),
        (Option("LEASE", "lease_ms", LEASE, "how long from now (default 30 s)"),),
        "ok",
        "Prolong the lease of a message.",
    ),
    Syntax(
        ("MESSAGE", "SHOW"), MessageShow, (Argument("id", ID),), (),
        "record", "Show a message and where it is.", Whereabouts, reads=True,
    ),
    Syntax(
        ("MESSAGE", "DELETE"), MessageDelete, _IN_QUEUE, (),
        "ok", "Delete a message from a queue, in whatever state.",
    ),
    Syntax(
        ("MESSAGE", "RELEASE"), MessageRelease, _IN_QUEUE, (),
        "ok", "Make a leased or delayed message ready at once.",
    ),
    Syntax(
        ("MESSAGE", "MOVE"), MessageMove, (*_IN_QUEUE, Argument("to", QUEUE)), (),
        "ok", "Move a message to another queue.",
    ),
)  # fmt: skip
