"""The settings of queues and subscriptions, and those a QueueRow is made of.

A setting is written ``name=value``, at creation and on a live queue; ``name=``
takes it back to its default. It is shown under its name in the form it is
written in: numbers as numbers (0 is no limit), the rest as text, null if unset.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any, Final

from .. import names
from ..errors import Invalid
from .grammar import Setting, choice

ON_EXPIRE_DROP: Final = "drop"
ON_EXPIRE_DEAD: Final = "dead"
ON_FULL_REJECT: Final = "reject"
ON_FULL_DROP_OLDEST: Final = "drop-oldest"


def _same(value: Any) -> Any:
    return value


def check_change(command: Any, given: Collection[str]) -> None:
    """Refuse a SET that sets nothing."""
    if "settings" not in given:
        raise Invalid("nothing to set: write name=value")


def _whole(high: int) -> Callable[[str], int]:
    def read(text: str) -> int:
        if not names.is_digits(text) or len(text) > 16 or int(text) > high:
            raise Invalid(f"not a whole number from 0 to {high}: {text[:40]!a}")
        return int(text)

    return read


def _show_duration(milliseconds: int) -> str | None:
    return names.format_duration(milliseconds) if milliseconds else None


def _read_queue(text: str) -> str | None:
    if names.SUBSCRIPTION_MARK in text:
        raise Invalid(f"{text[:40]!a} is a subscription: nothing is sent to it")
    return names.check_name(text, "queue name") if text else None


def _read_backoff(text: str) -> str | None:
    """Return a backoff in its one form: base, factor and ceiling."""
    if not text or text == "0":
        return None
    base_ms, factor, ceiling_ms = parse_backoff(text)
    return f"{names.format_duration(base_ms)},{factor:g},{names.format_duration(ceiling_ms)}"


def parse_backoff(text: str) -> tuple[int, float, int]:
    """Return base in milliseconds, factor and ceiling in milliseconds of ``1s,2,10m``.

    Raises:
        Invalid: another form, a base of 0, a factor not from 1 to 100, or a ceiling
            below the base.
    """
    parts = text.split(",")
    if len(parts) != 3:
        raise Invalid(f"not a backoff: {text[:40]!a}; write base,factor,ceiling as in 1s,2,10m")
    base_ms, ceiling_ms = names.parse_duration(parts[0]), names.parse_duration(parts[2])
    whole, dot, fraction = parts[1].partition(".")
    if not names.is_digits(whole + fraction) or (dot and not fraction) or len(parts[1]) > 8:
        raise Invalid(f"a backoff's factor is a number from 1 to 100, not {parts[1][:40]!a}")
    factor = float(parts[1])
    if not 1 <= factor <= 100:
        raise Invalid(f"a backoff's factor is a number from 1 to 100, not {parts[1]}")
    if not 0 < base_ms <= ceiling_ms:
        raise Invalid("a backoff's base is over 0 and not over its ceiling")
    return base_ms, factor, ceiling_ms


def backoff_ms(backoff: str | None, attempts: int) -> int:
    """Return how long a delivery rests after its ``attempts``-th failure, in milliseconds."""
    if backoff is None:
        return 0
    base_ms, factor, ceiling_ms = parse_backoff(backoff)
    delay_ms = float(base_ms)
    # Not by a power, which overflows.
    for _ in range(attempts - 1):
        delay_ms *= factor
        if delay_ms >= ceiling_ms:
            return ceiling_ms
    return min(int(delay_ms), ceiling_ms)


QUEUE_SETTINGS: Final = (
    Setting(
        "max_attempts", _whole(1_000_000),
        "leases without an ack after which a message is dead; 0: no limit",
        str(names.DEFAULT_MAX_ATTEMPTS), _same,
    ),
    Setting(
        "dead_letter", _read_queue, "the queue that dead messages move to; unset: they stay", "",
        _same,
    ),
    Setting(
        "backoff", _read_backoff,
        "how long a nacked message rests: base,factor,ceiling as in 1s,2,10m; unset: not at all",
        "", _same,
    ),
    Setting(
        "ttl", names.parse_duration, "how long a message lives from its sending; 0: for ever",
        "0", _show_duration,
    ),
    Setting(
        "on_expire", choice(ON_EXPIRE_DROP, ON_EXPIRE_DEAD),
        "what becomes of expired messages: drop or dead", ON_EXPIRE_DROP, _same,
    ),
    Setting(
        "max_messages", _whole(2**53),
        "how many messages it holds, in all states together; 0: no limit", "0", _same,
    ),
    Setting(
        "max_bytes", names.parse_size,
        "how many bytes their bodies have together, as in 64K, 10M, 2G; 0: no limit", "0", _same,
    ),
    Setting(
        "on_full", choice(ON_FULL_REJECT, ON_FULL_DROP_OLDEST),
        "what a send to a full queue does: reject, or drop-oldest", ON_FULL_REJECT, _same,
    ),
)  # fmt: skip
SUBSCRIPTION_SETTINGS: Final = (
    *QUEUE_SETTINGS,
    Setting(
        "expire_idle", names.parse_duration,
        "a subscription nobody pulls from for so long ends; 0: never", "0", _show_duration,
    ),
)  # fmt: skip
