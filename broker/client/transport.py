"""What carries a command to the broker and its outcome back."""

from __future__ import annotations

from typing import Any, Protocol


class Transport(Protocol):
    """One way to a broker; for one thread at a time."""

    def execute(self, command: Any) -> Any:
        """Return the command's result.

        Raises:
            BrokerError: refused, or no broker could be reached.
        """

    def close(self) -> None:
        """Let go of it; twice is fine."""
