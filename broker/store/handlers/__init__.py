"""The rules of the broker: for each command a handler, a module a noun.

A handler takes a transaction and a list of requests whose commands are all of
its kind, and returns an outcome for each: a result, or the BrokerError that
refuses it. It commits nothing and waits for nothing. It refuses before it
writes, so that a refused command leaves no trace in a batch that goes on.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import Any

from ...commands.request import Request
from ...errors import BrokerError, Invalid
from ..transaction import Transaction
from . import channels, deliveries, messages, queues, status, users
from .registry import HANDLERS

__all__ = ["channels", "deliveries", "execute", "messages", "queues", "status", "users"]


def execute(tx: Transaction, requests: Sequence[Request]) -> list[Any]:
    """Execute requests in their order and return their outcomes in the same.

    Neighbours of one kind go to their handler together, so a caller that may
    reorder puts those of a kind side by side. A single command is a batch of one.

    Returns:
        For each request its result, or the :class:`BrokerError` that refused it.
    """
    outcomes: list[Any] = []
    for kind, group in groupby(requests, key=_kind_of):
        handler = HANDLERS.get(kind)
        batch = list(group)
        if handler is None:
            refusal: BrokerError = Invalid(f"{kind.__name__} cannot be executed here")
            outcomes += [refusal] * len(batch)
        else:
            outcomes += handler(tx, batch)
    tx.flush()
    return outcomes


def _kind_of(request: Request) -> type:
    return type(request.command)
