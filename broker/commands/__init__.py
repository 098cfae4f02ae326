"""Every operation of the broker as a small immutable record, a module a noun.

A door builds a command, one place executes it, the door renders its result.
Commands and results are ``NamedTuple``: frozen, slotted, plain data, and four
times cheaper to import than frozen dataclasses, which a one-shot would pay at
every start. Each module ends with ``SYNTAX``, the words of its commands
(:mod:`broker.commands.grammar`).

Who names many of them writes ``commands.queue.QueueSend``: a noun is imported as it is
first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from . import channel as channel
    from . import db as db
    from . import dead as dead
    from . import delivery as delivery
    from . import message as message
    from . import queue as queue
    from . import sending as sending
    from . import status as status
    from . import user as user

_MODULES = frozenset(
    ["channel", "db", "dead", "delivery", "message", "queue", "sending", "status", "user"]
)


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    # Which makes it an attribute: the next time nobody comes here.
    return import_module(f".{name}", __name__)
