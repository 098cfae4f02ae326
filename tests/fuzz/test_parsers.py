"""The parsers of the socket: any bytes in any pieces, the same events, and memory in proportion."""

from __future__ import annotations

import tracemalloc
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.errors import BrokerError, Protocol
from broker.protocols.resp.encoder import encode, encode_request
from broker.protocols.resp.replies import NOT_READY, ReplyParser
from broker.protocols.resp.requests import (
    BEFORE_LOGIN,
    Limits,
    RequestParser,
    Run,
    after_login,
    split_inline,
)

#: Small, so that examples of a few hundred bytes come to every one of them.
SMALL = Limits(max_inline=40, max_arguments=6, max_bulk=30, max_command=80)
LIMITS = st.sampled_from([SMALL, BEFORE_LOGIN, after_login(1024)])
#: What a byte held may cost in memory: a word of two bytes is an object of 35 and a
#: reference to it, and comes as eight bytes.
PROPORTION = 16
#: What the parsers and the measuring itself need.
CONSTANT = 64 * 1024

lengths = st.integers(-2, 40) | st.sampled_from([2**31, 2**63, 10**30, -1, 64 * 1024 * 1024])
headers = st.builds(
    lambda mark, length, end: mark + b"%d" % length + end,
    st.sampled_from([b"*", b"$", b"%", b"~", b">", b"|", b"=", b"!", b":", b"("]),
    lengths,
    st.sampled_from([b"\r\n", b"\r\n", b"\r\n", b"\n", b"\r", b""]),
)
requests = st.lists(st.binary(max_size=45), min_size=1, max_size=8).map(encode_request)
inline = st.lists(
    st.sampled_from([b"PING", b" ", b"'", b'"', b"\\x41", b"\\", b"\0", b"GET / HTTP", b"x" * 50]),
    max_size=6,
).map(lambda parts: b"".join(parts) + b"\r\n")
values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.binary(max_size=30),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text("abc", min_size=1, max_size=4), inner, max_size=4)
    ),
    max_leaves=10,
)
replies = st.builds(encode, values, st.sampled_from([2, 3])) | st.sampled_from(
    [b"+OK\r\n", b"-STALE gone\r\n", b",nan\r\n", b"#t\r\n", b"(123\r\n", b"=7\r\ntxt:abc\r\n",
     b"|1\r\n+a\r\n:1\r\n", b">2\r\n+a\r\n_\r\n", b"%1\r\n*0\r\n:1\r\n", b"%1\r\n~0\r\n:1\r\n",
     b"%1\r\n%0\r\n:1\r\n", b"%1\r\n>0\r\n:1\r\n", b"%1\r\n-X y\r\n:1\r\n", b"%1\r\n,nan\r\n:1\r\n"]
)  # fmt: skip


@st.composite
def streams(draw: st.DrawFn, whole: st.SearchStrategy[bytes]) -> bytes:
    """Draw bytes that are nearly right: whole ones, headers, noise, and some bytes changed."""
    stream = bytearray(
        b"".join(draw(st.lists(whole | whole | headers | st.binary(max_size=20), max_size=8)))
    )
    for _ in range(draw(st.integers(0, 3)) if stream else 0):
        position = draw(st.integers(0, len(stream) - 1))
        match draw(st.sampled_from(["change", "drop", "insert"])):
            case "change":
                stream[position] = draw(st.integers(0, 255))
            case "drop":
                del stream[position : position + draw(st.integers(1, 8))]
                if not stream:
                    break
            case _:
                stream[position:position] = draw(st.binary(min_size=1, max_size=8))
    return bytes(stream)


@st.composite
def pieces(draw: st.DrawFn, stream: bytes) -> list[bytes]:
    """Draw a stream in pieces, as a network may deliver it."""
    if draw(st.booleans()):
        return [stream[n : n + 1] for n in range(len(stream))]
    cuts = sorted(draw(st.lists(st.integers(0, len(stream)), max_size=8)))
    return [stream[a:b] for a, b in zip([0, *cuts], [*cuts, len(stream)], strict=True)]


def check_refusal(refusal: BrokerError) -> None:
    """Check what a refusal says: one line, for any terminal."""
    assert refusal.code in ("PROTOCOL", "TOOBIG")
    assert refusal.message.isascii()
    assert refusal.message.isprintable()
    assert len(refusal.message) < 300


def commands_in(
    parts: Sequence[bytes], limits: Limits, expected: list[bytes] | None = None
) -> list[list[bytes] | str]:
    """Return what a parser finds, commands and the codes of refusals, and hold it to its rules."""
    parser = RequestParser(limits)
    if expected is not None:
        parser.expect(expected)
    found: list[list[bytes] | str] = []
    for part in parts:
        if expected is not None and (last := parser.single(part)) is not None:
            found.append([*expected, last])
            continue
        parser.feed(part)
        while not parser.broken:
            try:
                words = parser.next()
            except BrokerError as refusal:
                check_refusal(refusal)
                found.append(refusal.code)
                continue
            if words is None:
                break
            if isinstance(words, Run):
                assert words.lasts
                found += [[*words.head, last] for last in words.lasts]
                continue
            assert 0 < len(words) <= limits.max_arguments
            found.append(words)
        if parser.broken:
            assert parser.buffered == 0
            break
        # A command in the making, and a line or a bulk string that has not ended.
        most = limits.max_command + max(limits.max_bulk, limits.max_inline) + 64
        assert parser.buffered <= most + len(part)
    return found


def replies_in(parts: Sequence[bytes]) -> list[Any]:
    """Return what a parser finds; an error by its code."""
    parser = ReplyParser()
    found: list[Any] = []
    try:
        for part in parts:
            parser.feed(part)
            while (reply := parser.next()) is not NOT_READY:
                found.append(reply)
    except Protocol as error:
        found.append(error)
    # NaN is not itself, and errors are not compared: what is shown is.
    return [repr(reply) for reply in found]


@given(streams(requests | inline), LIMITS, st.data())
def test_any_split_of_requests_gives_the_same(
    stream: bytes, limits: Limits, data: st.DataObject
) -> None:
    assert commands_in(data.draw(pieces(stream)), limits) == commands_in([stream], limits)


def test_what_follows_a_run_is_not_the_first_line() -> None:
    """Only there OPTIONS is a browser's word."""
    parser = RequestParser(after_login(1024))
    parser.expect([b"PING"])
    parser.feed(b"*2\r\n$4\r\nPING\r\n$1\r\nx\r\nOPTIONS ")
    assert parser.next() == Run([b"PING"], [b"x"])
    assert parser.next() is None
    parser.feed(b"x\r\n")
    assert parser.next() == [b"OPTIONS", b"x"]


@given(streams(requests | inline), LIMITS, st.data())
def test_what_is_expected_changes_nothing_of_what_is_found(
    stream: bytes, limits: Limits, data: st.DataObject
) -> None:
    plain = commands_in([stream], limits)
    seen = [words[:-1] for words in plain if isinstance(words, list)]
    head = data.draw(st.sampled_from(seen) if seen else st.just([b"QUEUE"]))
    assert commands_in(data.draw(pieces(stream)), limits, head) == plain


@given(streams(replies), st.data())
def test_any_split_of_replies_gives_the_same(stream: bytes, data: st.DataObject) -> None:
    assert replies_in(data.draw(pieces(stream))) == replies_in([stream])


@given(
    st.binary(max_size=200)
    | st.lists(st.sampled_from([b"'", b'"', b"\\x", b"a", b" "])).map(b"".join)
)
def test_an_inline_line_is_split_or_refused(line: bytes) -> None:
    words = split_inline(line)
    assert words is None or sum(map(len, words)) <= len(line)


def peak(parser: RequestParser | ReplyParser, parts: Sequence[bytes]) -> int:
    """Return the most memory held while parts were parsed and what was found let go, in bytes."""
    tracemalloc.start()
    try:
        for part in parts:
            parser.feed(part)
            while True:
                try:
                    found = parser.next()
                except BrokerError as refusal:
                    if isinstance(refusal, Protocol):
                        return tracemalloc.get_traced_memory()[1]
                    continue
                if found is None or found is NOT_READY:
                    break
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@given(streams(requests | inline), st.sampled_from([1, 10, 100]))
def test_requests_take_memory_in_proportion(stream: bytes, times: int) -> None:
    used = peak(RequestParser(after_login(1024 * 1024)), [stream] * times)
    assert used < CONSTANT + PROPORTION * times * len(stream)


@given(streams(replies), st.sampled_from([1, 10, 100]))
def test_replies_take_memory_in_proportion(stream: bytes, times: int) -> None:
    used = peak(ReplyParser(), [stream] * times)
    assert used < CONSTANT + 2 * PROPORTION * times * len(stream)


@pytest.mark.parametrize(
    "stream",
    [
        b"*65536\r\n" + b"$2\r\nab\r\n" * 65_535,
        b"*2\r\n" + b"$1048576\r\n" + b"x" * 1_048_000,
        b"*65536\r\n" * 1,
        b"x" * 60_000,
        (b"*1\r\n$2000000\r\n" + b"x" * 2_000_002) * 3,
    ],
    ids=["many words", "a long body", "announced", "a long line", "too long"],
)
def test_the_worst_requests_take_memory_in_proportion(stream: bytes) -> None:
    parts = [stream[n : n + 65536] for n in range(0, len(stream), 65536)]
    used = peak(RequestParser(after_login(1024 * 1024)), parts)
    assert used < CONSTANT + PROPORTION * len(stream)
