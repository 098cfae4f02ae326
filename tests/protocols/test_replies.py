"""Values as replies and back, in both versions, from any pieces."""

from __future__ import annotations

from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.commands.delivery import Message
from broker.errors import Invalid, Protocol, Stale
from broker.protocols.resp.encoder import OK, Push, encode, encode_pushes
from broker.protocols.resp.replies import NOT_READY, ReplyParser


class Point(NamedTuple):
    """A record."""

    x: int
    label: str | None


def parsed(*pieces: bytes) -> list[Any]:
    """Return the replies in pieces."""
    parser = ReplyParser()
    found = []
    for piece in pieces:
        parser.feed(piece)
        while (reply := parser.next()) is not NOT_READY:
            found.append(reply)
    return found


ids = st.integers(1, 2**63 - 1)
names = st.text("abc@.", min_size=1, max_size=9)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.binary(max_size=30),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text("abc", min_size=1, max_size=4), inner, max_size=4)
    ),
    max_leaves=10,
)


@given(VALUES, st.data())
def test_resp3_comes_back_as_it_was_from_any_split(value: Any, data: st.DataObject) -> None:
    stream = encode(value, 3)
    cut = data.draw(st.integers(0, len(stream)))
    assert parsed(stream[:cut], stream[cut:]) == [value]


def test_a_record_is_a_map_in_resp3_and_flat_in_resp2() -> None:
    assert parsed(encode(Point(1, None), 3)) == [{"x": 1, "label": None}]
    assert parsed(encode(Point(1, "a"), 2)) == [[b"x", 1, b"label", b"a"]]


def test_null_is_as_the_protocol_document_says() -> None:
    assert (encode(None, 2), encode(None, 3)) == (b"*-1\r\n", b"_\r\n")
    assert encode(True, 2) == b":1\r\n"


def test_errors_keep_their_code_and_stay_on_one_line() -> None:
    (error,) = parsed(encode(Stale("gone\r\nand forgotten"), 3))
    assert isinstance(error, Stale)
    assert "\n" not in error.message
    (nested,) = parsed(encode([OK, Invalid("no")], 2))
    assert nested[0] == "OK"
    assert isinstance(nested[1], Invalid)


def test_every_kind_of_resp3_is_understood() -> None:
    stream = (
        b"+OK\r\n,1.5\r\n#t\r\n(12345678901234567890\r\n=7\r\ntxt:abc\r\n~1\r\n:1\r\n"
        b">2\r\n+push\r\n:1\r\n|1\r\n+a\r\n:1\r\n:7\r\n$-1\r\n*-1\r\n!9\r\nSTALE bye\r\n"
    )
    found = parsed(stream)
    assert found[:6] == [OK, 1.5, True, 12345678901234567890, b"abc", [1]]
    assert isinstance(found[6], Push)
    assert found[7:10] == [7, None, None]
    assert isinstance(found[10], Stale)


@pytest.mark.parametrize(
    "stream", [b"?\r\n", b":x\r\n", b"$3\r\nabcde", b"*1\r\n" * 40, b"#x\r\n", b"$99999999999\r\n"]
)
def test_what_is_no_reply_is_refused(stream: bytes) -> None:
    with pytest.raises(Protocol):
        parsed(stream)


@given(st.binary(max_size=60))
def test_arbitrary_bytes_raise_nothing_but_protocol(stream: bytes) -> None:
    try:
        parsed(stream)
    except Protocol:
        return


@given(
    message=st.builds(
        Message,
        id=ids,
        queue=names,
        body=st.binary(max_size=50),
        content_type=st.none() | names,
        headers=st.dictionaries(names, st.text(max_size=9), max_size=3),
        sender=names,
        sent_at=st.integers(0, 2**53),
        attempts=st.integers(0, 9),
        priority=st.integers(0, 9),
        receipt=st.none() | names,
        leased_until=st.none() | st.integers(0, 2**53),
        died=st.none() | st.fixed_dictionaries({"queue": names, "reason": st.text(), "at": ids}),
    ),
    protocol=st.sampled_from([2, 3]),
)
def test_a_message_is_written_as_any_record_is(message: Message, protocol: int) -> None:
    written = encode(message._asdict(), protocol)
    assert encode(message, protocol) == written
    assert encode_pushes([message]) == encode(Push(["message", message._asdict()]), 3)
