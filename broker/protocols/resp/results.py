"""Results as replies and back: the same table read from both ends.

A server turns outcomes into plain values for the encoder, a client turns parsed
replies into the results an embedded broker would have returned.
"""

from __future__ import annotations

from typing import Any

from ...commands.grammar import Syntax
from ...commands.sending import Sent, SentMany
from ...commands.table import syntax_of
from ...errors import BrokerError, Protocol
from .encoder import OK


def to_reply(syntax: Syntax, command: Any, outcome: Any) -> Any:
    """Return the value that the encoder writes for an outcome.

    Args:
        syntax: of the command.
        command: what was executed; a pull without COUNT answers bare.
        outcome: its result, or the BrokerError that refused it.
    """
    if isinstance(outcome, BrokerError):
        return outcome
    kind = syntax.result
    if kind == "ok":
        return OK
    if kind in ("pulled", "peeked") and command.max_count is None:
        return outcome[0] if outcome else None
    if kind == "all":
        return [
            to_reply(syntax_of(type(part)), part, answer)
            for part, answer in zip(command.commands, outcome, strict=True)
        ]
    if kind == "outcomes" and getattr(command, "send", None) is None:
        if len(outcome) == 1:
            return OK if outcome[0] is None else outcome[0]
        return [OK if answer is None else answer for answer in outcome]
    return outcome


def from_reply(syntax: Syntax, command: Any, reply: Any) -> Any:
    """Return the outcome that a reply stands for.

    Raises:
        Protocol: it is not of the form this command's reply has.
    """
    kind = syntax.result
    if getattr(command, "send", None) is not None:
        kind = "sent"
    if kind == "outcomes" and len(command.receipts) == 1:
        return (_refusal_or_none(reply),)
    if isinstance(reply, BrokerError):
        return reply
    try:
        if kind == "all":
            return tuple(
                from_reply(syntax_of(type(part)), part, item)
                for part, item in zip(command.commands, reply, strict=True)
            )
        return _READERS[kind](syntax, reply)
    except (TypeError, KeyError, ValueError, AttributeError) as error:
        words = " ".join(syntax.words)
        raise Protocol(f"an unexpected reply to {words}: {str(reply)[:80]!r}") from error


def _refusal_or_none(reply: Any) -> BrokerError | None:
    return reply if isinstance(reply, BrokerError) else None


def _ok(syntax: Syntax, reply: Any) -> None:
    if reply != OK:
        raise ValueError(reply)


def _count(syntax: Syntax, reply: Any) -> int:
    if not isinstance(reply, int):
        raise TypeError(reply)
    return reply


def _sent(syntax: Syntax, reply: Any) -> int | Sent:
    if isinstance(reply, dict):
        return Sent(reply["id"], bool(reply["duplicate"]))
    return _count(syntax, reply)


def _sent_many(syntax: Syntax, reply: Any) -> tuple[int, ...] | SentMany:
    if isinstance(reply, dict):
        return SentMany(tuple(reply["ids"]), bool(reply["duplicate"]))
    return tuple(_count(syntax, item) for item in reply)


def _record(syntax: Syntax, reply: Any) -> Any:
    if syntax.record is None:
        raise TypeError(reply)
    return record_of(syntax.record, reply)


def record_of(record: type, reply: Any) -> Any:
    """Return a record as a map on the wire has it.

    A newer server may send keys this client does not know: they are left out.
    """
    return record(**{name: _value(name, reply[name]) for name in record._fields})  # type: ignore[attr-defined]


def _records(syntax: Syntax, reply: Any) -> tuple[Any, ...]:
    return tuple(_record(syntax, item) for item in reply)


def _pulled(syntax: Syntax, reply: Any) -> tuple[Any, ...]:
    if reply is None:
        return ()
    return (_record(syntax, reply),) if isinstance(reply, dict) else _records(syntax, reply)


def _outcomes(syntax: Syntax, reply: Any) -> tuple[BrokerError | None, ...]:
    return tuple(_refusal_or_none(item) for item in reply)


def _value(name: str, value: Any) -> Any:
    """Return a field's value: text but for a body, which stays bytes."""
    if isinstance(value, bytes):
        return value if name == "body" else value.decode()
    if isinstance(value, list):
        return tuple(_value("", item) for item in value)
    if isinstance(value, dict):
        return {_value("", key): _value("", item) for key, item in value.items()}
    return value


_READERS = {
    "raw": lambda syntax, reply: reply,
    "ok": _ok,
    "count": _count,
    "sent": _sent,
    "sent_many": _sent_many,
    "record": _record,
    "records": _records,
    "pulled": _pulled,
    "peeked": _pulled,
    "outcomes": _outcomes,
}
