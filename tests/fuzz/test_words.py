"""Every command's options, and the words of the session: refused or read, and read back."""

from __future__ import annotations

import tracemalloc
from typing import Any

import click
import pytest
from broker.cli import app
from broker.cli.settings import Settings
from hypothesis import given
from hypothesis import strategies as st
from spelling import commands

from broker.commands.grammar import Syntax, check, parse, words_of
from broker.commands.request import Principal
from broker.commands.table import all_syntaxes
from broker.errors import BrokerError
from broker.protocols.resp.session import SESSION_COMMANDS, Session

SYNTAXES = list(all_syntaxes().values())
#: One word of a megabyte may be turned into text and shown, not into a table of itself.
PROPORTION = 16
CONSTANT = 256 * 1024

option_words = sorted(
    {option.word for syntax in SYNTAXES for option in syntax.options}
    | {setting.name + "=" for syntax in SYNTAXES for setting in syntax.settings}
    | {"SEND"}
)
noise = (
    st.binary(max_size=20)
    | st.sampled_from(option_words).map(str.encode)
    | st.integers(-(2**70), 2**70).map(lambda n: b"%d" % n)
    | st.text(max_size=8).map(lambda text: text.encode("utf-8", "replace"))
    | st.sampled_from(
        [b"", b"0", b"1", b"{}", b"[]", b"=", b"a=b", b"ttl=", b"ttl=1s", b"@", b"a@b"]
    )
)


@st.composite
def nearly_right(draw: st.DrawFn) -> tuple[Syntax, list[bytes]]:
    """Draw the words of a command, some of them changed."""
    syntax = draw(st.sampled_from(SYNTAXES))
    words = words_of(syntax, draw(commands(syntax)))[len(syntax.words) :]
    for _ in range(draw(st.integers(0, 3))):
        position = draw(st.integers(0, len(words)))
        match draw(st.sampled_from(["insert", "drop", "change", "repeat"])):
            case "insert":
                words.insert(position, draw(noise))
            case "drop":
                del words[position : position + 1]
            case "change":
                words[position : position + 1] = [draw(noise)]
            case _:
                words += words[position : position + 2]
    return syntax, words


def held_to_its_rules(refusal: BrokerError) -> None:
    """Check what a refusal says: one line that any terminal can show."""
    assert refusal.code in ("INVALID", "TOOBIG", "NOAUTH", "WRONGPASS", "NOPROTO"), refusal
    assert refusal.message.isprintable(), refusal.message
    assert len(refusal.message) < 700, refusal.message


@given(nearly_right())
def test_words_are_refused_or_read_and_read_back(drawn: tuple[Syntax, list[bytes]]) -> None:
    syntax, words = drawn
    try:
        command = parse(syntax, words)
    except BrokerError as refusal:
        held_to_its_rules(refusal)
        return
    check(syntax, command)
    again = words_of(syntax, command)
    assert parse(syntax, again[len(syntax.words) :]) == command
    assert words_of(syntax, parse(syntax, again[len(syntax.words) :])) == again


said = (
    st.sampled_from([w.encode() for name in SESSION_COMMANDS for w in (name, name.lower())])
    | st.sampled_from(
        [b"2", b"3", b"AUTH", b"SETNAME", b"SETINFO", b"GETNAME", b"ID", b"DOCS", b"INFO"]
    )
    | noise
)


@given(
    st.lists(
        st.lists(said, min_size=1, max_size=6)
        | nearly_right().map(lambda drawn: [*(w.encode() for w in drawn[0].words), *drawn[1]]),
        min_size=1,
        max_size=6,
    ),
    st.booleans(),
)
def test_a_session_understands_or_refuses(lines: list[list[bytes]], is_local: bool) -> None:
    principal = Principal(1, "somebody", is_admin=False) if is_local else None
    session = Session(1, "1.0", principal)
    for words in lines:
        try:
            session.interpret(words)
        except BrokerError as refusal:
            held_to_its_rules(refusal)
            session.discard()


HUGE = 1_000_000


@pytest.mark.parametrize(
    "words",
    [
        [b"abcdefghij" * (HUGE // 10)],
        [b"QUEUE", b"abcdefghij" * (HUGE // 10)],
        [b"QUEUE", b"SHOW", b"q", b"abcdefghij" * (HUGE // 10)],
        [b"QUEUE", b"CREATE", b"q", b"abcdefghij" * (HUGE // 10) + b"=1"],
        [b"QUEUE", b"CREATE", b"q", b"ttl=" + b"9" * HUGE],
        [b"QUEUE", b"CREATE", b"q", b"backoff=" + b"," * HUGE],
        [b"QUEUE", b"CREATE", "ü".encode() * (HUGE // 2)],
        [b"QUEUE", b"SHOW", b"@" * HUGE],
        [b"QUEUE", b"SEND", b"q", b"", b"HEADERS", b"[" + b"{}," * (HUGE // 3) + b"{}]"],
        [b"QUEUE", b"SEND", b"q", b"", b"HEADERS", b"{" + b"}" * HUGE],
        [b"QUEUE", b"SEND", b"q", b"", b"KEY", "ü".encode() * (HUGE // 2)],
        [b"QUEUE", b"PULL", b"q", b"COUNT", b"1" * HUGE],
        [b"MESSAGE", b"ACK", b"1" * HUGE],
        [b"HELLO", b"1" * HUGE],
        [b"CLIENT", b"SETNAME", b"a" * HUGE],
        [b"COMMAND", b"DOCS", b"a" * HUGE],
    ],
    ids=lambda words: b" ".join(words)[:30].decode(errors="replace"),
)
def test_a_huge_word_costs_memory_in_proportion(words: list[bytes]) -> None:
    session = Session(1, "1.0", Principal(1, "somebody", is_admin=True))
    tracemalloc.start()
    try:
        session.interpret(words)
    except BrokerError as refusal:
        held_to_its_rules(refusal)
    finally:
        used = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert used < CONSTANT + PROPORTION * HUGE


def leaves(group: Any, *path: str) -> list[tuple[tuple[str, ...], click.Command]]:
    """Return the commands below a group of the command line, with their words."""
    found: list[tuple[tuple[str, ...], click.Command]] = []
    with click.Context(group) as context:
        for name in group.list_commands(context):
            command = group.get_command(context, name)
            if isinstance(command, click.Group):
                found += leaves(command, *path, name)
            else:
                found.append(((*path, name), command))
    return found


LEAVES = leaves(app.brokerctl)
options = sorted(
    {opt for _, command in LEAVES for parameter in command.params for opt in parameter.opts}
)


@given(
    st.sampled_from(LEAVES),
    st.lists(
        st.sampled_from([option for option in options if option.startswith("-")])
        | st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=12)
        | st.sampled_from(
            ["-1", "0", "1s", "soon", "2026-01-01T00:00:00Z", "a=b", "--", "-", "--x"]
        ),
        max_size=6,
    ),
)
def test_the_command_line_reads_options_or_refuses_them(
    leaf: tuple[tuple[str, ...], click.Command], words: list[str]
) -> None:
    path, command = leaf
    try:
        with command.make_context(path[-1], list(words), obj=Settings()):
            pass
    except BrokerError as refusal:
        held_to_its_rules(refusal)
    except (click.ClickException, click.exceptions.Exit):
        return
