"""Several commands together or not at all."""

from __future__ import annotations

from typing import Any

from ...commands.atomic import PARTS, Atomic
from ...commands.request import Principal, Request
from ...errors import Invalid
from ..transaction import Transaction
from .registry import all_or_none, handles


@handles(Atomic)
def execute_together(tx: Transaction, principal: Principal, command: Atomic) -> tuple[Any, ...]:
    """Execute the parts, and undo them all if one is refused."""
    for part in command.commands:
        if not isinstance(part, PARTS):
            raise Invalid(f"{type(part).__name__} cannot be part of a transaction")
    return tuple(all_or_none(tx, [Request(principal, part) for part in command.commands]))
