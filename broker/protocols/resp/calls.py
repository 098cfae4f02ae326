"""A command as a client sends it, and what its replies stand for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from ...commands.grammar import Syntax, words_of
from ...commands.table import syntax_of
from ...errors import BrokerError
from .encoder import encode_request
from .results import from_reply


class Call(NamedTuple):
    """One command on its way.

    Attributes:
        syntax, command: what it is.
        request: its bytes.
        replies: how many replies it brings, of which the last is the answer.
    """

    syntax: Syntax
    command: Any
    request: bytes
    replies: int

    def outcome(self, replies: Sequence[Any]) -> Any:
        """Return the outcome that the replies stand for: a result, or the refusal.

        Raises:
            Protocol: they are not of the form that the command's have.
        """
        for reply in replies[:-1]:
            # Of a transaction: what was wrong with a part says more than EXEC does.
            if isinstance(reply, BrokerError):
                return reply
        return from_reply(self.syntax, self.command, replies[-1])


def call_of(command: Any) -> Call:
    """Return a command as it is sent; a transaction is MULTI, its parts, and EXEC."""
    syntax = syntax_of(type(command))
    if syntax.result != "all":
        return Call(syntax, command, encode_request(words_of(syntax, command)), 1)
    parts = [words_of(syntax_of(type(part)), part) for part in command.commands]
    words = [[b"MULTI"], *parts, [b"EXEC"]]
    return Call(syntax, command, b"".join(map(encode_request, words)), len(words))
