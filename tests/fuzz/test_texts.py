"""What people write: names, durations, sizes, backoffs, receipts, settings, times, JSON lines."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from broker.cli.bulk import _read_object
from hypothesis import given
from hypothesis import strategies as st
from spelling import SETTINGS

from broker import names
from broker.client.times import parse_time, time_ms
from broker.commands.grammar import Setting, default_settings, read_settings
from broker.commands.settings import SUBSCRIPTION_SETTINGS, backoff_ms, parse_backoff
from broker.commands.table import all_syntaxes
from broker.errors import BrokerError, Invalid

#: Digits and letters of many scripts, which Python's own conversions take for ours.
odd = st.sampled_from(
    ["²", "٣", "\uff11", "½", "\u0660", "é", "\u200b", "\n", "\0", "\ud800", "_", "+", "e5"]
)
numbers = st.integers(0, 10**20).map(str) | st.sampled_from(
    ["", "0", "00", "1.", ".5", "1.5", "1e3"]
)


def mixed(*parts: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    """Return texts made of some parts, of odd characters, and of anything."""
    return st.lists(st.one_of(*parts, odd), max_size=6).map("".join) | st.text(max_size=20)


durations = mixed(numbers, st.sampled_from(["ms", "s", "m", "h", "d", "."]))
sizes = mixed(numbers, st.sampled_from(["K", "M", "G", "k"]))
factors = st.tuples(
    st.sampled_from(["1", "2", ""]), st.sampled_from([".", "", "e"]), odd | numbers
).map("".join)
backoffs = mixed(numbers, st.sampled_from(["1s", ",", "2", "10m", "1s,2,10m", "1s,1.5,"])) | (
    st.tuples(st.just("1s") | durations, factors, st.just("10m") | durations).map(",".join)
)
times = mixed(
    numbers,
    st.sampled_from(["2026", "-12-24", "T18:00", ":00", "Z", "+01:00", "-99:00", "W01", " "]),
) | st.datetimes().map(datetime.isoformat)
SETTING_LIST = sorted(
    {
        setting.name: setting for syntax in all_syntaxes().values() for setting in syntax.settings
    }.values(),
    key=lambda setting: setting.name,
)


def refused(refusal: BrokerError) -> None:
    """Check what a refusal says: one line, of a length that can be read."""
    assert refusal.code in ("INVALID", "TOOBIG")
    assert refusal.message.isprintable(), refusal.message
    assert len(refusal.message) < 400


@given(durations)
def test_a_duration_is_within_its_range_or_refused(text: str) -> None:
    try:
        milliseconds = names.parse_duration(text)
    except Invalid as refusal:
        refused(refusal)
        return
    assert 0 <= milliseconds <= names.MAX_DURATION_MS
    assert names.parse_duration(names.format_duration(milliseconds)) == milliseconds


@given(sizes)
def test_a_size_is_within_its_range_or_refused(text: str) -> None:
    try:
        size = names.parse_size(text)
    except Invalid as refusal:
        refused(refusal)
        return
    assert 0 <= size <= 2**53
    assert text.isascii()


@given(backoffs, st.integers(1, 10**6))
def test_a_backoff_is_within_its_range_or_refused(text: str, attempts: int) -> None:
    try:
        base_ms, factor, ceiling_ms = parse_backoff(text)
    except Invalid as refusal:
        refused(refusal)
        return
    assert 0 < base_ms <= ceiling_ms <= names.MAX_DURATION_MS
    assert 1 <= factor <= 100
    assert text.isascii()
    assert base_ms <= backoff_ms(text, attempts) <= ceiling_ms


@given(times)
def test_a_time_is_after_1970_or_refused(text: str) -> None:
    try:
        time = parse_time(text)
    except Invalid as refusal:
        refused(refusal)
        return
    assert 0 <= time_ms(time) <= names.MAX_TIME_MS


@given(
    st.datetimes(datetime(1970, 1, 3, tzinfo=UTC).replace(tzinfo=None)),
    st.integers(-23 * 60, 23 * 60),
)
def test_a_time_is_read_back(time: datetime, minutes: int) -> None:
    aware = time.replace(tzinfo=UTC, microsecond=0)
    try:
        there = aware.astimezone(UTC) + timedelta(minutes=minutes)
    except OverflowError:
        return
    assert parse_time(there.isoformat()) == there


@pytest.mark.parametrize(
    "check",
    [
        names.check_name, names.check_queue_name, names.check_user_name, names.check_password,
        names.check_receipt, names.check_key, names.check_content_type,
        lambda text: names.check_text(text, 10, "text"),
    ],
)  # fmt: skip
@given(text=mixed(st.sampled_from(["a", "-", "@", ".", "1.1", "default", " "])))
def test_a_text_is_returned_as_it_was_or_refused(check: Callable[[Any], Any], text: str) -> None:
    try:
        assert check(text) == text
    except BrokerError as refusal:
        refused(refusal)


@given(st.sampled_from(SETTING_LIST), durations | sizes | backoffs | mixed(numbers))
def test_a_setting_is_stored_or_refused(setting: Setting, text: str) -> None:
    try:
        stored = read_settings((setting,), ((setting.name, text),))[setting.name]
    except BrokerError as refusal:
        refused(refusal)
        return
    json.dumps(setting.show(stored))
    # What is shown is in the form in which it is written.
    shown = setting.show(stored)
    written = "" if shown is None else str(shown)
    assert read_settings((setting,), ((setting.name, written),))[setting.name] == stored


@given(st.data())
def test_the_settings_of_the_tests_are_all_there_are(data: st.DataObject) -> None:
    assert set(SETTINGS) == {setting.name for setting in SETTING_LIST}
    assert set(default_settings(SUBSCRIPTION_SETTINGS)) < set(SETTINGS)
    setting = data.draw(st.sampled_from(SETTING_LIST))
    setting.read(data.draw(SETTINGS[setting.name]))


fields = st.sampled_from(
    ["body", "encoding", "content_type", "headers", "priority", "delay", "at", "ttl", "key",
     "key_ttl", "id", "died", "colour"]
)  # fmt: skip
anything = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | durations
    | times,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3)
    ),
    max_leaves=4,
)
likely = {
    "body": st.text(max_size=20) | st.just("aGk="),
    "encoding": st.sampled_from(["utf-8", "base64", "utf-16"]),
    "headers": st.dictionaries(st.text(max_size=3), st.text(max_size=3), max_size=2),
    "priority": st.integers(-1, 10),
    "delay": durations,
    "ttl": durations,
    "at": times,
    "key": st.text(max_size=5),
}


@st.composite
def json_lines(draw: st.DrawFn) -> bytes:
    """Draw a line that says what a message may say, or what it may not."""
    chosen = {
        name: draw(st.one_of(likely[name], likely[name], anything) if name in likely else anything)
        for name in draw(st.sets(fields, max_size=6))
    }
    chosen.setdefault("body", draw(st.text(max_size=5)))
    line = json.dumps(chosen).encode()
    if draw(st.booleans()):
        return line
    position = draw(st.integers(0, len(line)))
    return (
        line[:position] + draw(st.binary(max_size=4)) + line[position + draw(st.integers(0, 4)) :]
    )


@given(json_lines() | st.binary(max_size=40))
def test_a_line_of_json_is_a_message_or_refused(line: bytes) -> None:
    """What it chooses is then held to the limits of a command, as any caller's is."""
    from broker.client.transactions import Transaction

    try:
        body, chosen = _read_object(line)
        assert isinstance(body, bytes)
        transaction = Transaction(_nowhere)
        transaction.send("q", body, **chosen)
    except BrokerError as refusal:
        refused(refusal)


def _nowhere(commands: Any) -> Any:
    raise AssertionError(f"nothing is sent: {commands}")
