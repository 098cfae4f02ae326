"""What carries a command to the broker and its outcome back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from .consuming import Source


class Transport(Protocol):
    """One way to a broker; for one thread at a time.

    Attributes:
        database: the path of the database's file, or None behind a server's door.
    """

    database: str | None

    def execute(self, command: Any) -> Any:
        """Return the command's result.

        Raises:
            BrokerError: refused, or no broker could be reached.
        """

    def consume(self, queue: str, prefetch: int) -> Source | None:
        """Return where the messages of a queue come from; None is by pulling.

        Raises:
            ConnectionRefused, ConnectionLost: there was no connection to be had.
            BrokerError: it may not be consumed.
        """

    def close(self) -> None:
        """Let go of it; twice is fine."""
