"""Names, durations, and the other limits every door shares."""

from __future__ import annotations

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker import names
from broker.errors import Invalid

ALLOWED = string.ascii_letters + string.digits + "._:-"


@pytest.mark.parametrize("name", ["a", "A", "0", ".", "_", ":", "a-b", "x" * 128, "a.b:c_d-e"])
def test_a_name_of_the_allowed_characters_is_a_name(name: str) -> None:
    assert names.check_name(name) == name
    assert names.check_queue_name(name) == name
    assert names.check_queue_name(f"{name}@{name}@{name}") == f"{name}@{name}@{name}"


@pytest.mark.parametrize(
    "name",
    ["", "-", "-a", "x" * 129, "a b", "a\n", "a/b", "ä", "\u0661", "a\0", "@", None, 5, b"a"],
)
def test_anything_else_is_none(name: str) -> None:
    with pytest.raises(Invalid, match="1 to 128 characters"):
        names.check_name(name)
    with pytest.raises(Invalid):
        names.check_queue_name(name)
    with pytest.raises(Invalid):
        names.check_user_name(name)


@given(st.text())
def test_a_name_is_decided_by_length_first_and_character(name: str) -> None:
    allowed = 0 < len(name) <= 128 and name[0] != "-" and set(name) <= set(ALLOWED)
    if allowed:
        assert names.check_name(name) == name
        return
    with pytest.raises(Invalid) as caught:
        names.check_name(name)
    assert caught.value.message.isascii()
    assert "\n" not in caught.value.message


@pytest.mark.parametrize("name", ["c@", "@u", "c@u@", "c@@n", "c@u@n@m", "c@-u", "c@u\n"])
def test_a_subscription_has_two_parts_or_three(name: str) -> None:
    with pytest.raises(Invalid):
        names.check_queue_name(name)


def test_the_queue_of_a_subscription_is_named_after_both() -> None:
    assert names.subscription_queue("c", "u") == "c@u"
    assert names.subscription_queue("c", "u", "n") == "c@u@n"


def test_a_reserved_name_is_no_users() -> None:
    with pytest.raises(Invalid, match="reserved"):
        names.check_user_name("default")
    assert names.check_name("default") == "default"


@pytest.mark.parametrize(
    ("text", "milliseconds"),
    [
        ("0", 0), ("0s", 0), ("500ms", 500), ("30s", 30_000), ("10m", 600_000), ("2h", 7_200_000),
        ("7d", 604_800_000), ("1.5s", 1500), ("0.001s", 1), ("0.5d", 43_200_000),
        ("1.50h", 5_400_000), ("3653d", names.MAX_DURATION_MS),
    ],
)  # fmt: skip
def test_a_duration_is_a_number_and_a_unit(text: str, milliseconds: int) -> None:
    assert names.parse_duration(text) == milliseconds


@pytest.mark.parametrize(
    "text",
    [
        "", "1", "s", "ms", "-1s", "+1s", "1 s", " 1s", "1s ", "1S", "1w", "1.s", ".5s", "1..5s",
        "1e3s", "1_0s", "0x1s", "\u0661s", "\uff11s", "1s\n", "nans", "infs", "1m30s", "1,5s",
        "0.5ms", "0.0001s", "3654d", "9" * 16 + "s", "9" * 5000 + "s", "0." + "0" * 7 + "1d",
    ],
)  # fmt: skip
def test_anything_else_is_no_duration(text: str) -> None:
    with pytest.raises(Invalid) as caught:
        names.parse_duration(text)
    assert len(caught.value.message) < 200


@given(st.integers(0, names.MAX_DURATION_MS))
def test_milliseconds_are_read_back(milliseconds: int) -> None:
    assert names.parse_duration(f"{milliseconds}ms") == milliseconds
    assert names.parse_duration(f"{milliseconds / 1000:.3f}s") == milliseconds


@given(st.text())
def test_arbitrary_text_is_a_duration_or_invalid(text: str) -> None:
    try:
        milliseconds = names.parse_duration(text)
    except Invalid:
        return
    assert 0 <= milliseconds <= names.MAX_DURATION_MS


@pytest.mark.parametrize("password", ["x", "x" * 72, "ä" * 36, "pass word", "\n"])
def test_a_password_is_what_bcrypt_can_tell(password: str) -> None:
    assert names.check_password(password) == password


@pytest.mark.parametrize("password", ["", "x" * 73, "ä" * 37, "a\0b", "\ud800"])
def test_what_bcrypt_would_cut_is_no_password(password: str) -> None:
    with pytest.raises(Invalid) as caught:
        names.check_password(password)
    assert password not in caught.value.message or not password


@pytest.mark.parametrize("receipt", ["1.1", "0", "a.b", "9" * 32])
def test_a_receipt_is_opaque(receipt: str) -> None:
    assert names.check_receipt(receipt) == receipt


@pytest.mark.parametrize("receipt", ["", "A", "1-1", "1.1 ", "9" * 33, "\u0661.1", None, 1])
def test_what_has_not_its_form_is_no_receipt(receipt: str) -> None:
    with pytest.raises(Invalid):
        names.check_receipt(receipt)


@pytest.mark.parametrize("content_type", ["", "a\n", "ä", "x" * 256, "\x7f", 5])
def test_a_content_type_is_printable_ascii(content_type: str) -> None:
    with pytest.raises(Invalid):
        names.check_content_type(content_type)


@pytest.mark.parametrize("headers", [{"": "x"}, {"a": "\ud800"}, {"a": None}, {1: "a"}, "ab", None])
def test_headers_are_text_under_text(headers: dict[str, str]) -> None:
    with pytest.raises(Invalid):
        names.check_headers(headers)


def test_headers_have_limits() -> None:
    names.check_headers({str(n): "" for n in range(names.MAX_HEADERS)})
    names.check_headers({"a": "x" * (names.MAX_HEADER_BYTES - 1)})
    with pytest.raises(Invalid, match="64"):
        names.check_headers({str(n): "" for n in range(names.MAX_HEADERS + 1)})
