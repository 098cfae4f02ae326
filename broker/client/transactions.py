"""Sends, publications, acks and nacks that are done together or not at all."""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import Any

from ..commands.atomic import PARTS, Atomic
from ..commands.grammar import check
from ..commands.table import syntax_of
from ..errors import Invalid
from .methods import Methods


class _Collected(Methods):
    """Takes the calls of a transaction.

    Its :meth:`~Methods.send`, :meth:`~Methods.send_many`, :meth:`~Methods.publish`,
    :meth:`~Methods.ack`, :meth:`~Methods.ack_many`, :meth:`~Methods.nack` and
    :meth:`~Methods.nack_many` return nothing; a value that is not allowed is refused
    at once.

    Attributes:
        results: once it is done, what they would have returned, in their order.
    """

    def __init__(self) -> None:
        self.results: tuple[Any, ...] = ()
        self._commands: list[Any] = []
        self._readers: list[Callable[[Any], Any]] = []

    def _call(self, command: Any, read: Callable[[Any], Any]) -> Any:
        if not isinstance(command, PARTS):
            raise Invalid(f"{type(command).__name__} cannot be part of a transaction")
        check(syntax_of(type(command)), command)
        self._commands.append(command)
        self._readers.append(read)

    def _take(self, outcomes: Any) -> None:
        self.results = tuple(
            read(outcome) for read, outcome in zip(self._readers, outcomes, strict=True)
        )


class Transaction(_Collected):
    """A transaction of a blocking client: executed as its ``with`` block ends without an error."""

    def __init__(self, execute: Callable[[Any], Any]) -> None:
        super().__init__()
        self._execute = execute

    def __enter__(self) -> Transaction:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is None and self._commands:
            self._take(self._execute(Atomic(tuple(self._commands))))


class AsyncTransaction(_Collected):
    """A transaction of an asyncio client; its methods are not awaited, only its block is."""

    def __init__(self, execute: Callable[[Any], Any]) -> None:
        super().__init__()
        self._execute = execute

    async def __aenter__(self) -> AsyncTransaction:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is None and self._commands:
            self._take(await self._execute(Atomic(tuple(self._commands))))
