"""The session: which commands it expects to be said again, and what a run of them means."""

from __future__ import annotations

import tracemalloc
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from spelling import commands

from broker.commands.grammar import Syntax, parse, template, words_of
from broker.commands.queue import QueueSend
from broker.commands.request import Principal
from broker.commands.table import all_syntaxes
from broker.errors import Invalid
from broker.protocols.resp.session import Session

SEND = [b"QUEUE", b"SEND", b"q", b"x"]
SYNTAXES = list(all_syntaxes().values())


@pytest.fixture
def session() -> Session:
    return Session(1, "1.0", Principal(1, "alice", is_admin=False))


def said(session: Session, words: list[bytes]) -> list[bytes] | None:
    """Return what a session expects after a command."""
    action = session.interpret(words)
    syntax = action[0]
    assert isinstance(syntax, Syntax)
    return session.expects(syntax, words)


def test_what_is_said_twice_is_expected_again(session: Session) -> None:
    assert said(session, SEND) is None
    head = said(session, [*SEND[:3], b"y"])
    assert head == SEND[:3]
    # It is expected already.
    assert said(session, SEND) is None
    found = session.template
    assert found is not None
    assert found.syntax.words == ("QUEUE", "SEND")
    assert found.commands([b"1", b"2"]) == [QueueSend("q", b"1"), QueueSend("q", b"2")]


def test_nothing_long_is_kept(session: Session) -> None:
    long = b"x" * 1_000_000
    tracemalloc.start()
    try:
        for words in ([*SEND[:3], long, b"PRIORITY", b"3"], [*SEND[:3], long]):
            for _ in range(3):
                said(session, [word[:1] + word[1:] for word in words])
        assert tracemalloc.get_traced_memory()[0] < len(long) // 2
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    "words",
    [[*SEND, b"PRIORITY", b"3"], [b"QUEUE", b"LIST"], [b"QUEUE", b"SENDMANY", b"q", b"1", b"x"]],
    ids=["an option is last", "no argument", "counted"],
)
def test_what_ends_otherwise_is_not_expected(session: Session, words: list[bytes]) -> None:
    assert [said(session, words) for _ in range(3)] == [None, None, None]


def test_nothing_is_expected_of_who_queues_or_has_logged_out(session: Session) -> None:
    said(session, SEND)
    assert said(session, SEND) is not None
    for word in (b"MULTI", b"DISCARD", b"RESET"):
        session.interpret([word])
        assert session.template is None
        if word == b"MULTI":
            continue
        said(session, SEND)
        assert session.template is None
        assert said(session, SEND) is not None
        assert session.template is not None


def test_a_run_with_one_that_is_refused_is_not_interpreted(session: Session) -> None:
    said(session, [b"MESSAGE", b"ACK", b"1.1"])
    assert said(session, [b"MESSAGE", b"ACK", b"1.1"]) is not None
    found = session.template
    assert found is not None
    assert len(found.commands([b"1.1", b"2.1"])) == 2
    for make in (lambda: found.commands([b"1.1", b"\xff"]), lambda: found.command(b"\xff")):
        with pytest.raises(Invalid):
            make()


@given(st.sampled_from(SYNTAXES).flatmap(lambda s: st.tuples(st.just(s), commands(s))))
def test_a_template_makes_what_parsing_makes(drawn: tuple[Syntax, Any]) -> None:
    syntax, command = drawn
    words = words_of(syntax, command)[len(syntax.words) :]
    found = template(syntax, words[:-1]) if words else None
    if found is not None:
        assert found.commands(words[-1:]) == [parse(syntax, words)]
        assert found.command(words[-1]) == parse(syntax, words)
