"""Several commands that are executed together or not at all."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

from .channel import ChannelPublish
from .grammar import Syntax
from .message import MessageAck, MessageNack
from .queue import QueueSend, QueueSendMany

#: What may be part of it: what stores messages, and what ends leases.
PARTS: Final = (QueueSend, QueueSendMany, ChannelPublish, MessageAck, MessageNack)


class Atomic(NamedTuple):
    """Execute commands (of :data:`PARTS`) in their order, all or none.

    Answers a tuple of their results; the first refusal is the answer to all of it.
    """

    commands: tuple[Any, ...]


#: Not in the table: the socket spells it MULTI, the commands, EXEC.
EXEC: Final = Syntax(("EXEC",), Atomic, (), (), "all", "Execute what was said since MULTI.")
SYNTAX: Final = (EXEC,)
