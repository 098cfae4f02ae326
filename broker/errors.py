"""The errors of the broker: a machine code for the peer, a sentence for people.

The code is API: doors map it to a reply, an exit status or an exception and
never invent one of their own. Internal exceptions never cross a door; they
become :class:`Internal` there and the cause goes to the log.
"""

from __future__ import annotations

from typing import ClassVar


class BrokerError(Exception):
    """What the broker refuses, and why.

    Attributes:
        code: the machine code, upper-case ASCII, the same at every door.
        message: one sentence for people, without the code.
        retryable: whether the same call may succeed later, unchanged.
        exit_status: what ``brokerctl`` exits with.
    """

    code: ClassVar[str] = "INTERNAL"
    retryable: ClassVar[bool] = False
    exit_status: ClassVar[int] = 1

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class Invalid(BrokerError):
    """A value, option or combination that is not allowed."""

    code = "INVALID"
    exit_status = 2


class TooBig(BrokerError):
    """A body, header or reply over its limit."""

    code = "TOOBIG"
    exit_status = 2


class NotFound(BrokerError):
    """A queue, channel, subscription, message, user or database that is not there."""

    code = "NOTFOUND"
    exit_status = 4


class Exists(BrokerError):
    """A name that is taken."""

    code = "EXISTS"
    exit_status = 5


class Conflict(BrokerError):
    """The state of the thing forbids it, as deleting a queue that is not empty."""

    code = "CONFLICT"
    exit_status = 5


class NoAuth(BrokerError):
    """Nobody has logged in on this connection."""

    code = "NOAUTH"
    exit_status = 6


class WrongPass(BrokerError):
    """Name and password do not match, or the name is unknown and may not register."""

    code = "WRONGPASS"
    exit_status = 6


class Denied(BrokerError):
    """The user may not do this."""

    code = "DENIED"
    exit_status = 6


class Unavailable(BrokerError):
    """No server answers, or another process holds the database."""

    code = "UNAVAILABLE"
    retryable = True
    exit_status = 7


class Full(BrokerError):
    """A limit or the disk is reached."""

    code = "FULL"
    retryable = True
    exit_status = 8


class Stale(BrokerError):
    """A receipt whose lease has ended or passed to another."""

    code = "STALE"
    exit_status = 9


class Protocol(BrokerError):
    """Bytes that are not the protocol; the connection is closed after it."""

    code = "PROTOCOL"


class NoProto(BrokerError):
    """A protocol version that is not spoken here."""

    code = "NOPROTO"


class Internal(BrokerError):
    """A defect of the broker; the log has the cause."""


#: "Nothing there" is no error: an empty or timed-out pull exits with this.
EXIT_EMPTY = 3

_BY_CODE: dict[str, type[BrokerError]] = {
    error.code: error
    for error in (
        Invalid, TooBig, NotFound, Exists, Conflict, NoAuth, WrongPass, Denied,
        Unavailable, Full, Stale, Protocol, NoProto, Internal,
    )
}  # fmt: skip


def error_for(code: str, message: str) -> BrokerError:
    """Return the error a peer named by ``code``; an unknown code becomes INTERNAL."""
    error = _BY_CODE.get(code)
    if error is None:
        return Internal(f"{code} {message}".strip())
    return error(message)
