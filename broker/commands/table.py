"""Finding the syntax of a command, importing no more nouns than asked for."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from functools import cache
from importlib import import_module
from typing import Any, Final

from .grammar import Syntax

#: The modules that have commands, by the order in which documents list them.
NOUNS: Final = ("queue", "channel", "message", "dead", "user", "db", "status")
# By their commands, of the nouns that were asked for.
_SYNTAXES: Final[dict[type[Any], Syntax]] = {}


def syntax_of(command: type[Any]) -> Syntax:
    """Return the syntax of a command's class."""
    found = _SYNTAXES.get(command)
    if found is None:
        for syntax in sys.modules[command.__module__].SYNTAX:
            _SYNTAXES[syntax.command] = syntax
        found = _SYNTAXES.get(command)
    if found is None:
        raise LookupError(f"{command.__name__} has no syntax")
    return found


@cache
def all_syntaxes() -> Mapping[tuple[str, ...], Syntax]:
    """Return every syntax by its words, importing all nouns."""
    return {
        syntax.words: syntax
        for noun in NOUNS
        for syntax in import_module(f"{__package__}.{noun}").SYNTAX
    }
