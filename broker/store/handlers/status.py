"""What the database holds in total."""

from __future__ import annotations

from ...commands.request import Principal
from ...commands.status import Status, Totals
from .. import statements as sql
from ..transaction import Transaction
from .registry import handles


@handles(Status)
def totals(tx: Transaction, principal: Principal, command: Status) -> Totals:
    """Return the totals over all queues; costs their number, not that of their messages."""
    tx.flush()
    return Totals(*tx.one(sql.TOTALS, ()))
