"""The request parser: whole commands from any pieces, and nothing held without bound."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.errors import BrokerError, Protocol, TooBig
from broker.protocols.resp.encoder import encode_request
from broker.protocols.resp.requests import (
    BEFORE_LOGIN,
    Limits,
    RequestParser,
    Run,
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
        if isinstance(words, Run):
            found += [[*words.head, last] for last in words.lasts]
        else:
            found.append(words)


def fed(
    *pieces: bytes, limits: Limits = LIMITS, expected: list[bytes] | None = None
) -> list[list[bytes] | str]:
    """Return what a parser makes of pieces, asked after each."""
    parser = RequestParser(limits)
    if expected is not None:
        parser.expect(expected)
    found: list[list[bytes] | str] = []
    for piece in pieces:
        if expected is not None and (last := parser.single(piece)) is not None:
            found.append([*expected, last])
            continue
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

        def find(self, what: Any, start: Any = 0, end: Any = None) -> int:
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


# --- runs ---

HEAD = [b"QUEUE", b"SEND", b"q"]
#: Bodies, those among them that look like what separates two commands.
BODIES = st.binary(max_size=40) | st.sampled_from(
    [b"", b"\r\n", b"x\r\n", encode_request([*HEAD, b"x"]), encode_request([*HEAD, b"x"])[:-7]]
)
SAME = BODIES.map(lambda body: [*HEAD, body])
OTHERS = st.lists(st.binary(max_size=20), min_size=1, max_size=5)


@given(st.lists(SAME | SAME | SAME | OTHERS, max_size=8), st.data())
def test_runs_are_what_would_be_read_one_by_one(
    commands: list[list[bytes]], data: st.DataObject
) -> None:
    stream = b"".join(map(encode_request, commands))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=8)))
    pieces = [stream[a:b] for a, b in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
    assert fed(*pieces, expected=HEAD) == commands


def one_by_one(stream: bytes) -> list[bytes]:
    return [stream[n : n + 1] for n in range(len(stream))]


def test_a_run_is_told_as_one_with_what_is_whole() -> None:
    parser = RequestParser(LIMITS)
    parser.expect(HEAD)
    stream = b"".join(encode_request([*HEAD, b"x" * n]) for n in range(100))
    parser.feed(stream + stream[:30])
    assert parser.next() == Run(HEAD, [b"x" * n for n in range(100)])
    assert parser.next() is None
    # What was cut is looked at again only once it can be whole.
    for byte in one_by_one(stream[30:-1]):
        parser.feed(byte)
        if (run := parser.next()) is not None:
            assert isinstance(run, Run)
            assert len(run.lasts) == 1
    parser.feed(stream[-1:] + stream)
    assert parser.next() == Run(HEAD, [b"x" * 99, *(b"x" * n for n in range(100))])


@pytest.mark.parametrize("size", [0, 1, 9, 10, 11, 99, 100, 999, 1000, 9999, 10_000, 100_000])
@pytest.mark.parametrize("end", [b"x", b"\r\n"])
def test_a_single_command_that_is_as_expected(size: int, end: bytes) -> None:
    body = (b"x" * size + end)[-size:] if size else b""
    parser = RequestParser(LIMITS)
    assert parser.single(encode_request([*HEAD, body])) is None
    parser.expect(HEAD)
    assert parser.single(encode_request([*HEAD, b"another"])) == b"another"
    for _ in range(2):
        assert parser.single(encode_request([*HEAD, body])) == body
    assert parser.next() is None


def test_a_single_command_after_others() -> None:
    parser = RequestParser(LIMITS)
    parser.expect(HEAD)
    sent = encode_request([*HEAD, b"x"])
    parser.feed(sent * 2)
    assert parse_all(parser) == [[*HEAD, b"x"]] * 2
    assert parser.single(sent) == b"x"
    assert parser.single(sent) == b"x"


@pytest.mark.parametrize(
    "other",
    [
        encode_request([*HEAD, b"x"]) * 2, encode_request([*HEAD, b"x"])[:-1],
        encode_request([*HEAD, b"x"]) + b"*", encode_request([*HEAD, b"x", b"y"]),
        encode_request([*HEAD, b"x"]).replace(b"$1\r\nx", b"$01\r\nx"),
        encode_request(HEAD), encode_request([*HEAD, b"x"])[1:], b"",
        # Cut at what looks like its end, at every length that could be written otherwise.
        *(
            encode_request([*HEAD, (b"x" * size + b"\r\n" + b"x" * more)])[: -2 - more]
            for size in (5, 6, 7, 8, 95, 96, 97, 98, 995, 996, 997, 998)
            for more in range(5)
        ),
    ],
)  # fmt: skip
def test_what_is_not_one_whole_command_is_no_single(other: bytes) -> None:
    parser = RequestParser(LIMITS)
    parser.expect(HEAD)
    assert parser.single(other) is None


def test_no_single_overtakes_what_came_before_it() -> None:
    sent = encode_request([*HEAD, b"x"])
    for before in (sent + sent, sent[:20], b"*2\r\n$4\r\n", b"PI"):
        parser = RequestParser(LIMITS)
        parser.expect(HEAD)
        parser.feed(before)
        parser.next()
        if before == sent + sent:
            parser.feed(sent)
        assert parser.single(sent) is None


def test_what_follows_a_run_is_read_too() -> None:
    parser = RequestParser(LIMITS)
    parser.expect(HEAD)
    parser.feed(encode_request([*HEAD, b"1"]) * 2 + encode_request([b"PING"]) + b"PING 2\r\n")
    assert parser.next() == Run(HEAD, [b"1", b"1"])
    assert parser.next() == [b"PING"]
    assert parser.next() == [b"PING", b"2"]
    assert parser.next() is None


def test_a_run_taken_back_comes_one_by_one_in_its_order() -> None:
    parser = RequestParser(LIMITS)
    parser.expect(HEAD)
    parser.feed(b"".join(encode_request([*HEAD, b"%d" % n]) for n in range(3)))
    run = parser.next()
    assert isinstance(run, Run)
    parser.unroll(run)
    parser.feed(encode_request([b"PING"]))
    assert [parser.next() for _ in range(5)] == [
        *([*HEAD, b"%d" % n] for n in range(3)), [b"PING"], None,
    ]  # fmt: skip


@pytest.mark.parametrize("size", [70_000, 300_000, 1_000_000])
def test_a_long_body_in_a_run(size: int) -> None:
    stream = encode_request([*HEAD, b"x" * size]) * 3
    pieces = [stream[n : n + 50_000] for n in range(0, len(stream), 50_000)]
    assert fed(*pieces, expected=HEAD) == [[*HEAD, b"x" * size]] * 3
    assert fed(stream, expected=HEAD) == [[*HEAD, b"x" * size]] * 3


@pytest.mark.parametrize(
    "wrong",
    [b"$x\r\n", b"$-1\r\n", b"$3\r\nabcd\r\n", b"$99999999999999999999\r\n", b"$\r\n\r\n"],
)
def test_what_is_wrong_in_a_run_is_refused_as_ever(wrong: bytes) -> None:
    good = encode_request([*HEAD, b"x"])
    stream = good * 2 + good[: good.rindex(b"$")] + wrong + good
    for pieces in ([stream], one_by_one(stream)):
        assert fed(*pieces, expected=HEAD) == fed(*pieces) == [[*HEAD, b"x"]] * 2 + ["PROTOCOL"]


def test_a_body_over_the_limit_costs_its_own_command_alone_in_a_run() -> None:
    stream = b"".join(
        encode_request([*HEAD, body]) for body in (b"1", b"x" * (LIMITS.max_bulk + 1), b"2")
    )
    pieces = [stream[n : n + 500_000] for n in range(0, len(stream), 500_000)]
    assert fed(*pieces, expected=HEAD) == [[*HEAD, b"1"], "TOOBIG", [*HEAD, b"2"]]


#: Pieces of a run that fit together in the right way and in many wrong ones.
BEGUN = encode_request([*HEAD, b""]).removesuffix(b"0\r\n\r\n")
TOKENS = st.sampled_from(
    [
        BEGUN, BEGUN, BEGUN, BEGUN[:-1], b"$", b"0", b"1", b"05", b"1\r\nx\r\n", b"0\r\n\r\n",
        b"\r\n", b"\r", b"\n", b"x", b"12\r\n", b"70000\r\n", b"*1\r\n$4\r\nPING\r\n",
    ]
)  # fmt: skip


@given(st.lists(TOKENS, max_size=12).map(b"".join), st.data())
def test_pieces_of_a_run_are_read_as_without_one(stream: bytes, data: st.DataObject) -> None:
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=5)))
    pieces = [stream[a:b] for a, b in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
    assert fed(*pieces, expected=HEAD) == fed(stream)


def test_what_comes_behind_a_run_that_ends_oddly_is_not_waited_for() -> None:
    """A length with a zero in front is read, and nothing is left behind it."""
    parser = RequestParser(LIMITS)
    parser.expect(HEAD)
    parser.feed(encode_request([*HEAD, b"x" * 50]).replace(b"$50", b"$050"))
    parser.feed(encode_request([b"PING"]))
    assert parser.next() == Run(HEAD, [b"x" * 50])
    assert parser.next() == [b"PING"]


def test_nothing_is_a_run_before_a_login() -> None:
    parser = RequestParser(BEFORE_LOGIN)
    parser.expect(HEAD)
    parser.feed(encode_request([*HEAD, b"x"]))
    assert parser.next() == [*HEAD, b"x"]
