"""Any command that may be: strategies drawn from the table, so that a new one is tried by itself.

A kind of argument, or a setting, that has no values here fails the tests of the
commands that use it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hypothesis import assume
from hypothesis import strategies as st

from broker import names
from broker.commands import grammar
from broker.commands.delivery import STATES
from broker.commands.grammar import Argument, Option, Syntax, check
from broker.errors import Invalid

name_texts = st.from_regex(r"[A-Za-z0-9._:][A-Za-z0-9._:-]{0,127}", fullmatch=True)
texts = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=255)
#: As receipts are made: two numbers. A word that is none could be an option's.
receipts = st.from_regex(r"[1-9][0-9]{0,15}\.[1-9][0-9]{0,14}", fullmatch=True)
VALUES: dict[int, st.SearchStrategy[Any]] = {
    id(grammar.NAME): name_texts,
    id(grammar.QUEUE): st.lists(name_texts, min_size=1, max_size=3).map("@".join),
    id(grammar.USER): name_texts.filter(lambda name: name != names.RESERVED_USER),
    id(grammar.PASSWORD): texts.filter(lambda text: len(text.encode()) <= 72),
    id(grammar.RECEIPT): receipts,
    id(grammar.KEY): texts.filter(lambda text: len(text.encode()) <= 255),
    id(grammar.CONTENT_TYPE): st.text(
        st.characters(min_codepoint=32, max_codepoint=126), min_size=1, max_size=255
    ),
    id(grammar.BODY): st.binary(),
    id(grammar.HEADERS): st.dictionaries(texts, st.text(st.characters(codec="utf-8")), max_size=4),
    id(grammar.COUNT): st.integers(1, names.MAX_PULL_COUNT),
    id(grammar.UID): st.integers(0, 2**32 - 2),
    id(grammar.PRIORITY): st.integers(0, 9),
    id(grammar.LEASE): st.integers(1, names.MAX_LEASE_MS),
    id(grammar.DURATION): st.integers(0, names.MAX_DURATION_MS),
    id(grammar.LIFETIME): st.integers(1, names.MAX_DURATION_MS),
    id(grammar.MEMORY): st.integers(1, names.MAX_DURATION_MS),
    id(grammar.TIME): st.integers(0, names.MAX_TIME_MS),
    id(grammar.ID): st.integers(1, names.MAX_INTEGER),
    id(grammar.AFTER): st.integers(0, names.MAX_INTEGER),
    id(grammar.LIMIT): st.integers(1, names.MAX_INTEGER),
    id(grammar.STATE): st.sampled_from(STATES),
    id(grammar.REASON): texts,
    id(grammar.MATCH): texts,
    id(grammar.MEMORY): st.integers(1, names.MAX_DURATION_MS),
    id(grammar.LINE): st.binary(max_size=60),
}  # fmt: skip
durations = st.integers(1, names.MAX_DURATION_MS).map(names.format_duration)
SETTINGS = {
    "publish": st.sampled_from(["subscribers", "anyone"]),
    "max_attempts": st.integers(0, 1_000_000).map(str),
    "dead_letter": name_texts,
    "backoff": st.sampled_from(["1s,2,10m", "500ms,1.5,1h"]),
    "ttl": durations,
    "on_expire": st.sampled_from(["drop", "dead"]),
    "max_messages": st.integers(0, 2**53).map(str),
    "max_bytes": st.sampled_from(["0", "1000", "64K", "2G"]),
    "on_full": st.sampled_from(["reject", "drop-oldest"]),
    "expire_idle": durations,
}


Values = Mapping[int, st.SearchStrategy[Any]]


def of_argument(argument: Argument, values: Values) -> st.SearchStrategy[Any]:
    """Return the values of an argument."""
    chosen = values[id(argument.kind)]
    return st.lists(chosen, min_size=1, max_size=5).map(tuple) if argument.repeated else chosen


def of_option(option: Option, default: Any, values: Values) -> st.SearchStrategy[Any]:
    """Return the values of an option, and that of leaving it out."""
    chosen = st.booleans() if option.kind is None else values[id(option.kind)]
    return st.just(default) | chosen


@st.composite
def commands(draw: st.DrawFn, syntax: Syntax, values: Values = VALUES) -> Any:
    """Draw any command of a syntax, of values by the identity of their kind."""
    defaults = getattr(syntax.command, "_field_defaults", {})
    fields = {a.field: draw(of_argument(a, values)) for a in syntax.arguments}
    fields |= {o.field: draw(of_option(o, defaults[o.field], values)) for o in syntax.options}
    if syntax.settings:
        chosen = draw(st.sets(st.sampled_from([s.name for s in syntax.settings])))
        fields["settings"] = tuple((name, draw(SETTINGS[name])) for name in sorted(chosen))
    if syntax.tail is not None and draw(st.booleans()):
        fields[syntax.tail.field] = draw(commands(syntax.tail.syntax(), values))
    command = syntax.command(**fields)
    try:
        check(syntax, command)
    except Invalid:
        # Each field is allowed: together they contradict each other.
        assert syntax.rule is not None
        assume(False)
    return command
