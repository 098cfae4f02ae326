"""Which handler executes which command, and executing a batch of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import groupby
from typing import Any, TypeVar

from ...commands.request import Principal, Request
from ...errors import BrokerError, Invalid
from ..transaction import Transaction

#: Executes a batch of one kind of command.
BatchHandler = Callable[[Transaction, list[Request]], list[Any]]
_Command = TypeVar("_Command")

HANDLERS: dict[type, BatchHandler] = {}


def execute(tx: Transaction, requests: Sequence[Request]) -> list[Any]:
    """Execute requests in their order and return their outcomes in the same.

    Neighbours of one kind go to their handler together, so a caller that may
    reorder puts those of a kind side by side. A single command is a batch of one.

    Returns:
        For each request its result, or the :class:`BrokerError` that refused it.
    """
    if len(requests) == 1:
        return _execute_kind(tx, type(requests[0].command), [*requests])
    kinds = [type(command) for _, command in requests]
    if len({*kinds}) == 1:
        return _execute_kind(tx, kinds[0], [*requests])
    outcomes: list[Any] = []
    for kind, group in groupby(kinds):
        start = len(outcomes)
        outcomes += _execute_kind(tx, kind, [*requests[start : start + len([*group])]])
    return outcomes


def _execute_kind(tx: Transaction, kind: type, requests: list[Request]) -> list[Any]:
    handler = HANDLERS.get(kind)
    if handler is None:
        refusal: BrokerError = Invalid(f"{kind.__name__} cannot be executed here")
        return [refusal] * len(requests)
    return handler(tx, requests)


def all_or_none(tx: Transaction, requests: Sequence[Request]) -> list[Any]:
    """Execute requests together or not at all, within the transaction.

    Returns:
        Their results.

    Raises:
        BrokerError: the first refusal, be it of one receipt of many; nothing was done.
    """
    with tx.savepoint():
        outcomes = execute(tx, requests)
        for outcome in outcomes:
            for answer in outcome if isinstance(outcome, tuple) else (outcome,):
                if isinstance(answer, BrokerError):
                    raise answer
    return outcomes


def handles_batch(*commands: type) -> Callable[[BatchHandler], BatchHandler]:
    """Register a handler that takes all commands of a kind together."""

    def register(handler: BatchHandler) -> BatchHandler:
        for command in commands:
            HANDLERS[command] = handler
        return handler

    return register


def handles(
    command: type[_Command],
) -> Callable[
    [Callable[[Transaction, Principal, _Command], Any]],
    Callable[[Transaction, Principal, _Command], Any],
]:
    """Register a handler for one command at a time, for what is never hot."""

    def register(
        handler: Callable[[Transaction, Principal, _Command], Any],
    ) -> Callable[[Transaction, Principal, _Command], Any]:
        def one_by_one(tx: Transaction, requests: list[Request]) -> list[Any]:
            return [outcome_of(handler, tx, request) for request in requests]

        HANDLERS[command] = one_by_one
        return handler

    return register


def outcome_of(
    handler: Callable[[Transaction, Principal, Any], Any], tx: Transaction, request: Request
) -> Any:
    """Return what a handler answers to one request, or the refusal it raises."""
    try:
        return handler(tx, request.principal, request.command)
    except BrokerError as refusal:
        return refusal
