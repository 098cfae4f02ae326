"""Reading a producer's sends as a connection of the server does."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from broker.commands.queue import QueueSend
from broker.commands.request import Principal
from broker.commands.table import syntax_of
from broker.protocols.resp.requests import RequestParser, after_login
from broker.protocols.resp.session import Session


class Reading:
    """What has come from a producer that has said the same before, but for the body.

    Args:
        principal: who it is.
        words: of one of its sends.
        max_message_bytes: the largest body.
    """

    def __init__(self, principal: Principal, words: list[bytes], max_message_bytes: int) -> None:
        self._parser = RequestParser(after_login(max_message_bytes))
        self._session = Session(1, "0", principal)
        syntax = syntax_of(QueueSend)
        heads = [self._session.expects(syntax, words) for _ in range(2)]
        if heads[-1] is None:
            raise AssertionError("what is said twice is not expected")
        self._parser.expect(heads[-1])

    def bodies(self, data: bytes) -> list[Sequence[bytes]]:
        """Return the bodies of the sends that were received together, as one run or several."""
        single = self._parser.single(data)
        if single is not None:
            return [(single,)]
        self._parser.feed(data)
        runs: list[Any] = list(iter(self._parser.next, None))
        return [run.lasts for run in runs]

    def commands(self, runs: list[Sequence[bytes]]) -> list[Any]:
        """Return the commands with these bodies."""
        template = self._session.template
        if template is None:
            raise AssertionError("what is expected is not made into commands at once")
        return [command for bodies in runs for command in template.commands(bodies)]
