"""Which commands may be sent again when their reply was lost, and at what pace."""

from __future__ import annotations

import os
import time
from typing import Any, Final

from ..commands.table import syntax_of

#: A repeated send must find its key; after this nobody repeats it any more.
KEY_TTL_MS: Final = 10 * 60_000
_FIRST_PAUSE_S: Final = 0.02
_LONGEST_PAUSE_S: Final = 1.0
_RECEIPT_COMMANDS: Final = frozenset(["MessageAck", "MessageNack", "MessageExtend"])
#: Done a second time, they find it done.
_IDEMPOTENT_COMMANDS: Final = frozenset(["DbCompact", "DbImport"])


def with_key(command: Any) -> Any:
    """Return a send or publication with a key of its own, unless it has one.

    With it, repeating the command stores nothing twice; so have those of a transaction.
    """
    if hasattr(command, "commands"):
        return command._replace(commands=tuple(map(with_key, command.commands)))
    if getattr(command, "key", "") is not None:
        return command
    return command._replace(key=f"auto:{os.urandom(16).hex()}", key_ttl_ms=KEY_TTL_MS)


def is_repeatable(command: Any) -> bool:
    """Return whether executing a command a second time changes nothing more.

    By name for receipts, so that a one-shot does not import nouns it does not use.
    """
    if hasattr(command, "commands"):
        # Sends have keys; what uses a receipt is refused a second time.
        return all(getattr(part, "key", None) is not None for part in command.commands)
    if getattr(command, "send", None) is not None:
        # Acknowledged a second time it would be refused, though it was all done.
        return False
    if getattr(command, "key", None) is not None:
        return True
    if hasattr(command, "no_ack"):
        return not command.no_ack
    name = type(command).__name__
    return name in _RECEIPT_COMMANDS | _IDEMPOTENT_COMMANDS or syntax_of(type(command)).reads


class Backoff:
    """Growing pauses with jitter, up to a total.

    Args:
        total_s: how long all tries together may take, in seconds.
    """

    def __init__(self, total_s: float) -> None:
        self._deadline = time.monotonic() + total_s
        self._pause_s = _FIRST_PAUSE_S

    def next_pause(self) -> float | None:
        """Return how long to wait before the next try, in seconds, or None if time is up."""
        left = self._deadline - time.monotonic()
        if left <= 0:
            return None
        # Imported here: hardly any one-shot gets so far, and it is a tenth of its imports.
        from random import uniform

        pause = min(left, uniform(0.5, 1.0) * self._pause_s)  # noqa: S311 - no secret
        self._pause_s = min(_LONGEST_PAUSE_S, self._pause_s * 2)
        return pause

    def pause(self) -> bool:
        """Wait before the next try; False if time is up."""
        pause = self.next_pause()
        if pause is None:
            return False
        time.sleep(pause)
        return True
