"""What may be a name, a body, a duration: the limits every door shares.

Each ``check_*`` returns its argument, so that it can stand in an expression,
and raises :class:`~broker.errors.Invalid` or :class:`~broker.errors.TooBig`
with a text that says what is allowed.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from .errors import Invalid, TooBig

MAX_NAME_LENGTH: Final = 128
#: What separates channel, user and name in the queue of a subscription.
SUBSCRIPTION_MARK: Final = "@"
#: Redis clients with a password alone log in as this user; it means "token".
RESERVED_USER: Final = "default"

DEFAULT_MAX_MESSAGE_BYTES: Final = 1024 * 1024
#: The largest value `max_message_bytes` may take: half of what SQLite stores in a row.
LARGEST_MESSAGE_BYTES: Final = 500_000_000
#: Below so much free disk (or free pages in the file) sends are refused, so that
#: pulls and acks still have room for the log they write.
MIN_FREE_BYTES: Final = 32 * 1024 * 1024
#: What a line of an export may have beside its body: copies with all their failures.
MAX_RECORD_BYTES: Final = 2 * 1024 * 1024
MAX_HEADERS: Final = 64
MAX_HEADER_BYTES: Final = 16 * 1024
MAX_CONTENT_TYPE_LENGTH: Final = 255
MAX_KEY_BYTES: Final = 255
#: bcrypt reads no further than this; a longer password would be cut in silence.
MAX_PASSWORD_BYTES: Final = 72
MAX_PRIORITY: Final = 9
DEFAULT_PRIORITY: Final = 4

#: One pull answers at most so many messages and bodies of so many bytes (one
#: message always fits): what a reply may hold in memory.
MAX_PULL_COUNT: Final = 1000
MAX_PULL_BYTES: Final = 16 * 1024 * 1024
#: Receipts in one command, each of which is looked up by itself: some 5 ms.
MAX_REPEATED: Final = 1000

DEFAULT_LEASE_MS: Final = 30_000
MAX_LEASE_MS: Final = 12 * 3_600_000
#: Delays, waits and lifetimes: ten years, far from the end of any integer.
MAX_DURATION_MS: Final = 3653 * 86_400_000
DEFAULT_KEY_TTL_MS: Final = 24 * 3_600_000
#: After so many leases without an ack a delivery is dead, unless its queue says otherwise.
DEFAULT_MAX_ATTEMPTS: Final = 5
#: A delivery remembers its last failures, each with a reason of at most so many characters.
MAX_FAILURES: Final = 5
MAX_REASON_LENGTH: Final = 500
MAX_MATCH_LENGTH: Final = 255
DEFAULT_PREFETCH: Final = 100
#: The last moment that four digits of a year can tell.
MAX_TIME_MS: Final = 253_402_300_799_999
MAX_INTEGER: Final = 2**63 - 1

_NAME: Final = re.compile(rf"[A-Za-z0-9._:][A-Za-z0-9._:-]{{0,{MAX_NAME_LENGTH - 1}}}")
_RECEIPT_FORM: Final = "[0-9a-z.]{1,32}"
_RECEIPT: Final = re.compile(_RECEIPT_FORM)
#: Some in a row, each behind a space.
RECEIPTS: Final = re.compile(f"{_RECEIPT_FORM}(?: {_RECEIPT_FORM})*".encode())
_NAME_RULE = "1 to 128 characters of A-Z a-z 0-9 . _ : -, not starting with -"
_UNITS = {"ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
_SIZE_UNITS = {"": 1, "K": 1024, "M": 1024**2, "G": 1024**3}


def check_name(name: str, what: str = "name") -> str:
    """Return ``name`` if a queue, channel or subscription may be called so."""
    if not isinstance(name, str) or _NAME.fullmatch(name) is None:
        raise Invalid(f"invalid {what} {_shown(name)}: a {what} is {_NAME_RULE}")
    return name


def check_queue_name(name: str) -> str:
    """Return ``name`` if it can name a queue, be it that of a subscription (CHANNEL@USER)."""
    if isinstance(name, str) and SUBSCRIPTION_MARK in name:
        parts = name.split(SUBSCRIPTION_MARK)
        if len(parts) > 3:
            raise Invalid(f"invalid queue name {_shown(name)}: at most CHANNEL@USER@NAME")
        for part in parts:
            check_name(part, "queue name")
        return name
    return check_name(name, "queue name")


def check_user_name(name: str) -> str:
    """Return ``name`` if a user may be called so."""
    check_name(name, "user name")
    if name == RESERVED_USER:
        raise Invalid(f"the user name {RESERVED_USER!r} is reserved")
    return name


def subscription_queue(channel: str, user: str, name: str = "") -> str:
    """Return the name of the queue of a subscription: ``CHANNEL@USER[@NAME]``."""
    queue = f"{channel}{SUBSCRIPTION_MARK}{user}"
    return f"{queue}{SUBSCRIPTION_MARK}{name}" if name else queue


def check_password(password: str) -> str:
    """Return ``password`` if bcrypt can tell it whole: 1 to 72 bytes of UTF-8, no NUL."""
    size = len(_utf8(password, "password"))
    if not 0 < size <= MAX_PASSWORD_BYTES:
        raise Invalid(f"a password is 1 to {MAX_PASSWORD_BYTES} bytes of UTF-8, not {size}")
    if "\0" in password:
        raise Invalid("a password holds no NUL character")
    return password


def check_body(body: bytes) -> bytes:
    """Return ``body`` if it is bytes; its size is checked against the broker's own limit."""
    if not isinstance(body, bytes):
        raise Invalid(f"a body is bytes, not {type(body).__name__}")
    return body


def check_body_size(size: int, max_message_bytes: int) -> None:
    """Refuse a body of ``size`` bytes that is over the limit."""
    if size > max_message_bytes:
        raise TooBig(f"the body has {size} bytes, the limit is {max_message_bytes}")


def check_receipt(receipt: str) -> str:
    """Return ``receipt`` if it has the form of one: ``[0-9a-z.]+``, at most 32 characters."""
    if not isinstance(receipt, str) or _RECEIPT.fullmatch(receipt) is None:
        raise not_a_receipt(receipt)
    return receipt


def not_a_receipt(receipt: object) -> Invalid:
    """Return the refusal of what no pull has ever answered."""
    return Invalid(f"not a receipt: {_shown(receipt)}; it comes with a pulled message, as 17.1")


def check_key(key: str) -> str:
    """Return ``key`` if a send may be told by it: 1 to 255 bytes of UTF-8."""
    size = len(_utf8(key, "key"))
    if not 0 < size <= MAX_KEY_BYTES:
        raise Invalid(f"a key is 1 to {MAX_KEY_BYTES} bytes of UTF-8, not {size}")
    return key


def check_content_type(content_type: str) -> str:
    """Return ``content_type`` if it is text: printable ASCII of at most 255 characters."""
    if (
        not isinstance(content_type, str)
        or not 0 < len(content_type) <= MAX_CONTENT_TYPE_LENGTH
        or not content_type.isascii()
        or not content_type.isprintable()
    ):
        raise Invalid(
            f"a content type is 1 to {MAX_CONTENT_TYPE_LENGTH} printable ASCII characters"
        )
    return content_type


def check_headers(headers: Mapping[str, str]) -> Mapping[str, str]:
    """Return ``headers`` if they are few, small, and text under text.

    Raises:
        Invalid: not a mapping of text to text, an empty name, or over 64 of them.
        TooBig: names and values together have over 16 KiB of UTF-8.
    """
    if not isinstance(headers, Mapping):
        raise Invalid("headers are an object of text values")
    if len(headers) > MAX_HEADERS:
        raise Invalid(f"at most {MAX_HEADERS} headers, not {len(headers)}")
    size = 0
    for name, value in headers.items():
        if not isinstance(name, str) or not name or not isinstance(value, str):
            raise Invalid("a header is a name and a text")
        size += len(_utf8(name, "header")) + len(_utf8(value, "header"))
    if size > MAX_HEADER_BYTES:
        raise TooBig(f"the headers have {size} bytes, the limit is {MAX_HEADER_BYTES}")
    return headers


def check_text(text: str, max_length: int, what: str) -> str:
    """Return ``text`` if it is valid Unicode of 1 to ``max_length`` characters."""
    if not _utf8(text, what) or len(text) > max_length:
        raise Invalid(f"a {what} is 1 to {max_length} characters, not {len(text)}")
    return text


def check_range(value: int, low: int, high: int, what: str) -> int:
    """Return ``value`` if it is an integer from ``low`` to ``high``."""
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
        raise Invalid(f"{what} is a whole number from {low} to {high}, not {_shown(value)}")
    return value


def parse_duration(text: str) -> int:
    """Return the milliseconds of ``500ms``, ``30s``, ``10m``, ``2h`` or ``7d``.

    A fraction is allowed where it comes to whole milliseconds (``1.5s``); ``0``
    needs no unit.

    Raises:
        Invalid: no such form, negative, or over ten years.
    """
    number = text.rstrip("abcdefghijklmnopqrstuvwxyz")
    factor = _UNITS.get(text[len(number) :]) if text != "0" else 1
    whole, _, fraction = number.partition(".")
    if (
        factor is None
        or not is_digits(whole)
        or ((fraction or "." in number) and not is_digits(fraction))
    ):
        raise Invalid(f"not a duration: {_shown(text)}; write 500ms, 30s, 10m, 2h or 7d")
    if len(whole) > 15 or len(fraction) > 6:
        raise Invalid(f"the duration {_shown(text)} is out of range: at most 3653d")
    scaled = int(whole + fraction) * factor
    milliseconds, rest = divmod(scaled, int(10 ** len(fraction)))
    if rest:
        raise Invalid(f"the duration {_shown(text)} is finer than a millisecond")
    if milliseconds > MAX_DURATION_MS:
        raise Invalid(f"the duration {_shown(text)} is out of range: at most 3653d")
    return milliseconds


def format_duration(milliseconds: int) -> str:
    """Return a duration as :func:`parse_duration` reads it, in the largest whole unit."""
    for unit, factor in reversed(_UNITS.items()):
        if milliseconds % factor == 0 and milliseconds >= factor:
            return f"{milliseconds // factor}{unit}"
    return "0"


def parse_size(text: str) -> int:
    """Return the bytes of ``1000``, ``64K``, ``10M`` or ``2G`` (units of 1024).

    Raises:
        Invalid: no such form, or over 2**53.
    """
    number = text.rstrip("KMG")
    factor = _SIZE_UNITS.get(text[len(number) :])
    if factor is None or not is_digits(number) or len(number) > 16:
        raise Invalid(f"not a size: {_shown(text)}; write a number of bytes, 64K, 10M or 2G")
    size = int(number) * factor
    if size > 2**53:
        raise Invalid(f"the size {_shown(text)} is out of range")
    return size


def is_digits(text: str) -> bool:
    """Return whether ``text`` is one or more of the digits 0 to 9."""
    return text.isascii() and text.isdigit()


def _utf8(text: str, what: str) -> bytes:
    if not isinstance(text, str):
        raise Invalid(f"a {what} is text, not {type(text).__name__}")
    try:
        return text.encode()
    except UnicodeEncodeError:
        raise Invalid(f"the {what} is not valid UTF-8") from None


def _shown(value: object) -> str:
    """Return ``value`` as an error text shows it: quoted, escaped, cut."""
    shown = ascii(value)
    return shown if len(shown) <= 80 else f"{shown[:76]}...{shown[-1]}"
