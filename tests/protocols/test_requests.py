"""The request parser: whole commands from any pieces, and nothing held without bound."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.errors import BrokerError, Protocol, TooBig
from broker.protocols.resp.encoder import encode_request
from broker.protocols.resp.requests import (
    BEFORE_LOGIN,
    RequestParser,
    after_login,
    split_inline,
)

LIMITS = after_login(1024 * 1024)


def parse_all(parser: RequestParser) -> list[list[bytes] | str]:
    """Return what a parser has, commands and the codes of refusals."""
    found: list[list[bytes] | str] = []
    while True:
        try:
            words = parser.next()
        except BrokerError as refusal:
            found.append(refusal.code)
            if parser.broken:
                return found
            continue
        if words is None:
            return found
        found.append(words)


def fed(*pieces: bytes, limits: object = LIMITS) -> list[list[bytes] | str]:
    """Return what a parser makes of pieces, asked after each."""
    parser = RequestParser(limits)  # type: ignore[arg-type]
    found: list[list[bytes] | str] = []
    for piece in pieces:
        parser.feed(piece)
        found += parse_all(parser)
        if parser.broken:
            break
    return found


COMMANDS = st.lists(st.lists(st.binary(max_size=40), min_size=1, max_size=6), max_size=6)


@given(COMMANDS, st.data())
def test_any_split_gives_the_same_commands(
    commands: list[list[bytes]], data: st.DataObject
) -> None:
    stream = b"".join(encode_request(words) for words in commands)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=8)))
    pieces = [stream[a:b] for a, b in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
    assert fed(*pieces) == commands


@given(st.lists(st.binary(max_size=200), max_size=10))
def test_arbitrary_bytes_raise_nothing_but_refusals(pieces: list[bytes]) -> None:
    parser = RequestParser(BEFORE_LOGIN)
    total = 0
    for piece in pieces:
        parser.feed(piece)
        total += len(piece)
        parse_all(parser)
        assert parser.buffered <= total
        if parser.broken:
            assert parser.buffered == 0
            with pytest.raises(Protocol):
                parser.next()
            return


@given(st.binary(max_size=100), st.data())
def test_any_split_of_arbitrary_bytes_gives_the_same(stream: bytes, data: st.DataObject) -> None:
    cut = data.draw(st.integers(0, len(stream)))
    assert fed(stream[:cut], stream[cut:]) == fed(stream)


def test_blank_lines_and_empty_arrays_are_passed_over() -> None:
    assert fed(b"\r\n\n*0\r\n*-1\r\nPING\r\n") == [[b"PING"]]


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (b"QUEUE SHOW  jobs ", [b"QUEUE", b"SHOW", b"jobs"]),
        (rb'SEND "a b\x41\n\"" c', [b"SEND", b'a bA\n"', b"c"]),
        (rb"SEND 'it\'s' ''", [b"SEND", b"it's", b""]),
        (b'"', None),
        (b'"a"b', None),
        (b"'a", None),
        (rb'"\xZZ"', [b"xZZ"]),
    ],
)
def test_inline_lines_are_split_as_redis_does(line: bytes, words: list[bytes] | None) -> None:
    assert split_inline(line) == words


def test_an_oversized_argument_costs_its_own_command_only() -> None:
    small = LIMITS._replace(max_bulk=10)
    stream = encode_request([b"a", b"x" * 11, b"b"]) + encode_request([b"PING"])
    assert fed(stream, limits=small) == ["TOOBIG", [b"PING"]]
    assert fed(*(bytes([byte]) for byte in stream), limits=small) == ["TOOBIG", [b"PING"]]


def test_a_skipped_argument_is_not_kept() -> None:
    parser = RequestParser(LIMITS._replace(max_bulk=10))
    parser.feed(b"*1\r\n$1000000\r\n")
    assert parser.next() is None
    for _ in range(10):
        parser.feed(b"x" * 100_000)
        assert parser.next() is None
        assert parser.buffered < 100
    parser.feed(b"\r\n")
    with pytest.raises(TooBig):
        parser.next()
    assert not parser.broken


def test_an_announced_size_allocates_nothing() -> None:
    parser = RequestParser(LIMITS)
    parser.feed(b"*65000\r\n$1000000\r\n")
    assert parser.next() is None
    assert parser.buffered < 100


def test_a_long_line_is_searched_once() -> None:
    class Counted(bytearray):
        searched = 0

        def find(self, what, start=0, end=None):  # type: ignore[no-untyped-def]
            Counted.searched += len(self) - start
            return super().find(what, start)

    parser = RequestParser(LIMITS)
    parser._data = Counted()
    for _ in range(60_000):
        parser.feed(b"x")
        assert parser.next() is None
    assert Counted.searched < 4 * 60_000


def test_the_limits_may_change_between_commands() -> None:
    parser = RequestParser(BEFORE_LOGIN)
    parser.feed(encode_request([b"AUTH", b"x"]) + encode_request([b"SEND", b"y" * 2000]))
    assert parser.next() == [b"AUTH", b"x"]
    parser.limits = LIMITS
    assert parser.next() == [b"SEND", b"y" * 2000]
