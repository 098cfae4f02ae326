"""Which handler executes which command."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from ...commands.request import Principal, Request
from ...errors import BrokerError
from ..transaction import Transaction

#: Executes a batch of one kind of command.
BatchHandler = Callable[[Transaction, list[Request]], list[Any]]
_Command = TypeVar("_Command")

HANDLERS: dict[type, BatchHandler] = {}


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
            return [_outcome(handler, tx, request) for request in requests]

        HANDLERS[command] = one_by_one
        return handler

    return register


def _outcome(
    handler: Callable[[Transaction, Principal, Any], Any], tx: Transaction, request: Request
) -> Any:
    try:
        return handler(tx, request.principal, request.command)
    except BrokerError as refusal:
        return refusal
