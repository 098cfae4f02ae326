"""The record of what clients asked for and what they were told, written so that no crash loses it.

Each process appends to a file of its own: a line before a call and a line after it,
each by one ``write``, which the kernel has once it returns, whoever is killed then.
Times are of the monotonic clock, which all processes of a machine share: if one call
ended before another began, it was first. A call without its second line is *unknown*:
it may have been done, wholly or not at all, then or any time later.
"""

from __future__ import annotations

import itertools
import json
import os
import time
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, NamedTuple

OK: Final = "ok"
REFUSED: Final = "refused"
UNKNOWN: Final = "unknown"
#: Later than anything, in nanoseconds: when an unknown call may still be done.
NEVER: Final = 2**63


@dataclass(slots=True)
class Call:
    """One call of a client, or an event that somebody has noted.

    Attributes:
        client: which process, in which of its lives.
        verb, args: what it asked for.
        began, ended: monotonic nanoseconds; ``ended`` is NEVER if nothing came back.
        outcome: ``ok``, ``refused`` or ``unknown``.
        code: of the refusal.
        result: what came back, as :mod:`crash.workload` notes it.
        number: of the call in its record.
        heard: when its client heard of it, be it that nothing is known; or NEVER.
    """

    client: str
    verb: str
    args: dict[str, Any] = field(default_factory=dict)
    began: int = 0
    ended: int = NEVER
    outcome: str = UNKNOWN
    code: str | None = None
    result: Any = None
    number: int = 0
    heard: int = NEVER

    @property
    def may_be_done(self) -> bool:
        """Whether it may have had an effect."""
        return self.outcome != REFUSED

    def __str__(self) -> str:
        said = self.code or json.dumps(self.result)
        asked = json.dumps(self.args)
        end = "never" if self.ended == NEVER else f"{self.ended / 1e9:.4f}"
        when = f"{self.began / 1e9:.4f}-{end}"
        return f"{when} {self.client} {self.verb} {asked}: {self.outcome} {said}"


class Recorder:
    """Appends to the record of one process.

    Args:
        folder: of the history.
        client: the name of the process; no other has it.
    """

    def __init__(self, folder: Path, client: str) -> None:
        self.client = client
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
        self._descriptor = os.open(folder / f"{client}.jsonl", flags, 0o600)
        self._numbers = itertools.count()

    def begin(self, verb: str, args: dict[str, Any]) -> int:
        """Note what is about to be asked for; return the number to end it with."""
        number = next(self._numbers)
        self._write({"n": number, "verb": verb, "args": args, "at": time.monotonic_ns()})
        return number

    def end(self, number: int, outcome: str, result: Any = None, code: str | None = None) -> None:
        """Note what came back."""
        at = time.monotonic_ns()
        self._write({"n": number, "outcome": outcome, "result": result, "code": code, "at": at})

    def note(self, verb: str, args: dict[str, Any], result: Any = None) -> None:
        """Note an event, or something that came without being asked for."""
        self.end(self.begin(verb, args), OK, result)

    def _write(self, record: dict[str, Any]) -> None:
        os.write(self._descriptor, json.dumps(record, separators=(",", ":")).encode() + b"\n")

    def close(self) -> None:
        """Close the file."""
        os.close(self._descriptor)


def load(folder: Path) -> list[Call]:
    """Return all calls of a history, in the order in which they began."""
    calls: list[Call] = []
    for path in sorted(folder.glob("*.jsonl")):
        # What follows the last line's end was torn off as its writer was killed.
        calls += _read(path.stem, path.read_bytes().split(b"\n")[:-1])
    return sorted(calls, key=lambda call: call.began)


def _read(client: str, lines: Iterable[bytes]) -> Iterator[Call]:
    calls: dict[int, Call] = {}
    for line in lines:
        record = json.loads(line)
        number, at = record["n"], record["at"]
        if "verb" in record:
            calls[number] = Call(client, record["verb"], record["args"], at, number=number)
            continue
        call = calls[number]
        call.outcome, call.result, call.code = record["outcome"], record["result"], record["code"]
        call.heard = at
        if call.outcome != UNKNOWN:
            call.ended = at
    return iter(calls.values())


class Delivered(NamedTuple):
    """A message as a client was handed it, or as it was found at the end.

    Attributes:
        tag: which message; None if its body or what goes with it is not as it was sent.
        queue: where it was.
        id: of the message.
        delivery, generation: what its receipt says; None without one.
        attempts, priority, sent_at: as it says itself.
        until: when its lease ends; None without one, or with a consumer's.
    """

    tag: str | None
    queue: str
    id: int
    delivery: int | None
    generation: int | None
    attempts: int
    priority: int
    sent_at: int
    until: int | None


# --- bodies ---------------------------------------------------------------------


def body_of(tag: str) -> bytes:
    """Return the body that is sent under a tag: what is read from it can be checked."""
    number = zlib.crc32(tag.encode())
    size = (0, 10, 100, 1000, 20_000)[min(number % 23, 4)]
    return f"{tag}\n".encode() + (b"%08x" % number) * (size // 8)


def tag_of(body: bytes) -> str | None:
    """Return the tag under which a body was sent, or None if it is not as it was sent."""
    tag = body.partition(b"\n")[0].decode(errors="replace")
    return tag if body_of(tag) == body else None


def marks_of(tag: str) -> tuple[str | None, dict[str, str]]:
    """Return the content type and the headers that are sent under a tag."""
    number = zlib.crc32(tag.encode()) >> 8
    return ("text/x-tag" if number % 3 == 0 else None), ({"tag": tag} if number % 4 == 0 else {})
