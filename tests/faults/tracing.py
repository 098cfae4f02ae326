"""Programs run under strace: what they wrote and synced, and calls of theirs made to fail."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import NamedTuple

from faults.disk import Answer, Create, Event, Remove, Rename, Resize, Sync, Write

_TRACED = (
    "openat,mkdir,pwrite64,write,writev,sendto,sendmsg,fsync,fdatasync,ftruncate,"
    "unlink,unlinkat,rename,renameat,renameat2"
)
#: Longer than anything a test writes at once: strace cuts what is longer.
_LONGEST = 1 << 20
_SYNCS = frozenset(["fsync", "fdatasync"])
_SENDS = frozenset(["write", "writev", "sendto", "sendmsg"])
_LINE = re.compile(r"(\d+) +(\w+)\((.*)\) += (-?\d+)")
_UNFINISHED = re.compile(r"(\d+) +(\w+)\((.*) <unfinished \.\.\.>$")
_RESUMED = re.compile(r"(\d+) +<\.\.\. (\w+) resumed>(.*)$")
_TEXT = re.compile(r'"((?:\\x[0-9a-f]{2})*)"')
#: With what follows a file that has no name any more.
_DESCRIPTOR = re.compile(r"^\w+<([^>]*)>(\(deleted\))?")


def recording(strace: str, trace: Path) -> tuple[str, ...]:
    """Return the words to put before a program's, so that ``trace`` tells what it wrote."""
    return (
        strace, "--seccomp-bpf", "-f", "-y", "-xx", "-s", str(_LONGEST),
        "-e", f"trace={_TRACED}", "-e", "signal=none", "-o", str(trace),
    )  # fmt: skip


def failing(
    strace: str, calls: str, error: str, when: str, paths: tuple[Path, ...], trace: Path
) -> tuple[str, ...]:
    """Return the words to put before a program's, so that some calls on some files fail.

    Args:
        calls: as ``pwrite64`` or ``fsync,fdatasync``.
        error: as ``EIO``.
        when: which of them, counted by thread: ``3``, ``3+``, ``3..9``.
        paths: the files.
        trace: where the calls are listed; those that were made to fail end in ``(INJECTED)``.
    """
    return (
        strace, "--seccomp-bpf", "-f", *(word for path in paths for word in ("-P", str(path))),
        "-s", "0", "-e", f"trace={calls}", "-e", "signal=none",
        "-e", f"inject={calls}:error={error}:when={when}", "-o", str(trace),
    )  # fmt: skip


class Call(NamedTuple):
    """A system call that was made, by its name, with its arguments as strace shows them."""

    name: str
    arguments: str
    result: int


def calls(trace: Path) -> Iterator[Call]:
    """Yield the calls of a trace.

    A sync stands where it ended, for nothing is sure before; all else where it began.
    """
    made: list[Call | None] = []
    begun: dict[str, tuple[int, str]] = {}
    with trace.open(encoding="ascii") as lines:
        for line in lines:
            if (whole := _LINE.match(line)) is not None:
                made.append(Call(whole[2], whole[3], int(whole[4])))
            elif (start := _UNFINISHED.match(line)) is not None:
                begun[start[1]] = (len(made), start[3])
                made.append(None)
            elif (end := _RESUMED.match(line)) is not None:
                place, arguments = begun.pop(end[1])
                joined = _LINE.match(f"{end[1]} {end[2]}({arguments}{end[3]}")
                if joined is None:
                    continue
                call = Call(joined[2], joined[3], int(joined[4]))
                if call.name in _SYNCS:
                    made.append(call)
                else:
                    made[place] = call
    return (call for call in made if call is not None and call.result >= 0)


def events(
    trace: Path,
    root: Path,
    answered: Callable[[str, bytes], int | None],
    files: Collection[str] = (),
) -> Iterator[Event]:
    """Yield what a trace tells of the files below ``root``, and what was answered.

    Args:
        root: the folder; logs in it are passed over.
        answered: is given where something was written that is no file of the folder, as
            a socket or a log, and what; returns how many steps have been answered in all
            by now, or None if it says nothing of that.
        files: the paths of those that were there before.
    """
    below = f"{root}/"
    known = set(files)
    for call in calls(trace):
        path = _path_of(call)
        if path is not None and (path == str(root) or path.startswith(below)):
            yield from _file_events(call, path, known)
        elif path is not None and call.name in _SENDS:
            count = answered(path, _written(call))
            if count is not None:
                yield Answer(count)


def _file_events(call: Call, path: str, known: set[str]) -> Iterator[Event]:
    arguments = call.arguments
    match call.name:
        case "openat":
            if "O_CREAT" in arguments and path not in known:
                known.add(path)
                yield Create(path)
            elif "O_TRUNC" in arguments:
                yield Resize(path, 0)
        case "mkdir":
            yield Create(path, is_folder=True)
        case "pwrite64":
            yield Write(path, int(arguments.rpartition(", ")[2]), _written(call))
        case "ftruncate":
            yield Resize(path, int(arguments.rpartition(", ")[2]))
        case "fsync" | "fdatasync":
            yield Sync(path)
        case "unlink" | "unlinkat":
            known.discard(path)
            yield Remove(path)
        case "rename" | "renameat" | "renameat2":
            to = _texts(arguments)[-1].decode()
            known.discard(path)
            known.add(to)
            yield Rename(path, to)
        case _ if path.endswith(".log"):
            pass
        case _:
            raise AssertionError(f"a database is not written by {call.name}: {path}")


def _path_of(call: Call) -> str | None:
    """Return the path a call is about, of its descriptor or of its first text."""
    if call.name in ("openat", "mkdir", "unlink", "unlinkat", "rename", "renameat", "renameat2"):
        texts = _texts(call.arguments)
        return texts[0].decode(errors="surrogateescape") if texts else None
    descriptor = _DESCRIPTOR.match(call.arguments)
    if descriptor is None or descriptor[2]:
        return None
    return _decoded(descriptor[1]).decode(errors="surrogateescape")


def _written(call: Call) -> bytes:
    return b"".join(_texts(call.arguments))[: call.result]


def _texts(arguments: str) -> list[bytes]:
    return [_decoded(text) for text in _TEXT.findall(arguments)]


def _decoded(text: str) -> bytes:
    if not text.startswith("\\x"):
        return text.encode()
    return bytes.fromhex(text.replace("\\x", ""))
