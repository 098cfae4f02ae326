"""The lines of an export: what is written is read, and what is not is refused."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker import names
from broker.commands.archive import (
    COPIES_A_LINE,
    CopyRecord,
    Header,
    KeyRecord,
    MessageRecord,
    UserRecord,
    read_header,
    read_record,
    write_header,
    write_record,
)
from broker.commands.delivery import DEAD, DELAYED, LEASED, READY
from broker.errors import BrokerError, Invalid, TooBig

NAMES = st.from_regex(r"\A[A-Za-z0-9._:][A-Za-z0-9._:-]{0,20}\Z").filter(lambda n: n != "default")
TIMES = st.integers(0, names.MAX_TIME_MS)
TEXTS = st.text(st.characters(codec="utf-8"), min_size=1, max_size=30)
FAILURES = st.builds(
    lambda at, who, why: {"at": at, "consumer": who, "reason": why}, TIMES, NAMES, TEXTS
)


@st.composite
def copies(draw: st.DrawFn) -> CopyRecord:
    state = draw(st.sampled_from([READY, DELAYED, LEASED, DEAD]))
    return CopyRecord(
        draw(NAMES), state, draw(st.integers(0, 9)), draw(st.integers(0, 2**31)),
        draw(st.none() | TIMES),
        draw(TIMES) if state == DELAYED else None,
        draw(st.none() | TIMES),
        draw(TIMES) if state == DEAD else None,
        draw(TEXTS) if state == DEAD else None,
        draw(st.none() | st.lists(FAILURES, max_size=5).map(tuple)),
        draw(
            st.none()
            | st.builds(lambda q, r, at: {"queue": q, "reason": r, "at": at}, NAMES, TEXTS, TIMES)
        ),
    )  # fmt: skip


MESSAGES = st.booleans().flatmap(
    lambda published: st.builds(
        MessageRecord,
        st.integers(1, 2**62), st.integers(0, 2**62) if published else st.just(0),
        st.just(published), NAMES, TIMES, st.none() | st.just("text/plain"),
        st.dictionaries(TEXTS, st.text(st.characters(codec="utf-8"), max_size=9), max_size=4),
        st.binary(max_size=200) | TEXTS.map(str.encode),
        st.lists(copies(), min_size=1, max_size=4 if published else 1).map(tuple),
    )
)  # fmt: skip
RECORDS = (
    MESSAGES
    | st.builds(
        UserRecord, NAMES, st.none() | st.integers(0, 2**32 - 2), st.booleans(), TIMES,
        st.none() | st.just("$2b$12$" + "./Aa0" * 10 + "xyz"),
    )
    | st.builds(
        KeyRecord, NAMES, st.none(), TEXTS.filter(lambda t: len(t.encode()) <= 255), TIMES,
        st.integers(1, 1000), st.none() | st.just("0" * 32),
    )
)  # fmt: skip


@given(RECORDS)
def test_what_is_written_is_read(record: Any) -> None:
    line = write_record(record)
    assert b"\n" not in line
    assert read_record(line) == record


@given(MESSAGES)
def test_a_line_is_hardly_longer_than_its_body_as_base64(message: MessageRecord) -> None:
    bare = len(write_record(message._replace(body=b"")))
    assert len(write_record(message)) <= bare + len(message.body) * 4 // 3 + 8


@given(MESSAGES, MESSAGES)
def test_different_messages_have_different_identities(
    one: MessageRecord, other: MessageRecord
) -> None:
    same = one._replace(copies=()) == other._replace(copies=(), published=one.published)
    assert (one.identity == other.identity) is same
    assert one.identity != one._replace(body=one.body + b"x").identity


#: What any JSON may hold, near what is expected and far from it.
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | NAMES,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner),
    max_leaves=8,
)


@given(RECORDS, st.data())
def test_a_changed_record_is_read_or_refused_and_nothing_else(record: Any, data: Any) -> None:
    fields = json.loads(write_record(record))
    place = fields
    if "copies" in fields and data.draw(st.booleans()):
        place = fields["copies"][0]
    key = data.draw(st.sampled_from(sorted(place)) | st.text(max_size=6))
    if data.draw(st.booleans()):
        place.pop(key, None)
    else:
        place[key] = data.draw(JSON)
    for read in (read_record, read_header):
        try:
            read(json.dumps(fields).encode())
        except (Invalid, TooBig):
            continue


@given(st.binary(max_size=100) | JSON.map(lambda value: json.dumps(value).encode()))
def test_any_line_is_read_or_refused_and_nothing_else(line: bytes) -> None:
    for read in (read_record, read_header):
        try:
            read(line)
        except (Invalid, TooBig):
            continue


def test_the_header_is_read_as_written() -> None:
    header = Header(2**62, 5, True)
    assert read_header(write_header(header)) == header


def test_a_line_of_the_most_copies_with_the_most_failures_is_within_its_bound() -> None:
    # What JSON makes longest of a character, six times over.
    longest = "\x01" * names.MAX_REASON_LENGTH
    failures = [{"at": names.MAX_TIME_MS, "consumer": "c" * 128, "reason": longest}] * 5
    died: dict[str, str | int] = {"queue": "q" * 128, "reason": longest, "at": names.MAX_TIME_MS}
    time = names.MAX_TIME_MS
    copy = CopyRecord(
        "q" * 386, DEAD, 9, 2**31, time, None, time, time, longest,
        cast(Sequence[Mapping[str, str | int]], failures), died,
    )  # fmt: skip
    headers = {"n": "\x01" * (names.MAX_HEADER_BYTES - 1)}
    record = MessageRecord(
        1, 0, True, "s" * 128, 1, "t" * 255, headers, b"", (copy,) * COPIES_A_LINE
    )
    assert names.MAX_RECORD_BYTES / 2 < len(write_record(record)) < names.MAX_RECORD_BYTES


def test_errors_are_the_broker_s_own() -> None:
    with pytest.raises(BrokerError, match="kind"):
        read_record(b"{}")
