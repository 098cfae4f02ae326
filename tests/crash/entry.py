"""``brokerctl`` as the torture starts it: with a clock that jumps, or with a fault put in.

    python -m crash.entry serve ...

The machine's clock cannot be set for one process, so that of this one is shifted
before the program starts. Nothing of it is in the program itself.
"""

from __future__ import annotations

import os
import runpy
import struct
import sys
import time
from pathlib import Path

#: Names the file with the shift of the wall clock, in milliseconds.
CLOCK = "CRASH_CLOCK"
#: Names the fault that is put in.
FAULT = "CRASH_FAULT"
#: Names the file into which a server writes every second how many tasks it has.
TASKS = "CRASH_TASKS"


def set_clock(path: Path, offset_ms: int) -> None:
    """Let the clocks of all processes that follow ``path`` jump."""
    path.touch()
    with path.open("r+b") as file:
        file.write(struct.pack("<q", offset_ms))


def follow_clock(path: Path) -> None:
    """Shift the wall clock of this process by what the file says, whenever it is read."""
    true_time_ns = time.time_ns
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)

    def time_ns() -> int:
        (offset_ms,) = struct.unpack("<q", os.pread(descriptor, 8, 0))
        return int(true_time_ns() + offset_ms * 1_000_000)

    time.time_ns = time_ns


def count_tasks(path: Path) -> None:
    """Have a server write down how many tasks its event loop has."""
    import asyncio

    from broker.server.server import Server

    watch = Server._watch_clock
    path.touch()

    def count() -> None:
        path.write_text(str(len(asyncio.all_tasks())))
        asyncio.get_running_loop().call_later(1.0, count)

    def watch_and_count(self: Server) -> None:
        watch(self)
        if not path.read_text():
            count()

    Server._watch_clock = watch_and_count  # type: ignore[method-assign]


def prepare() -> None:
    """Do what the environment asks for."""
    clock = os.environ.get(CLOCK)
    if clock:
        follow_clock(Path(clock))
    fault = os.environ.get(FAULT)
    if fault:
        from crash.faults import FAULTS

        FAULTS[fault]()
    tasks = os.environ.get(TASKS)
    if tasks:
        count_tasks(Path(tasks))


if __name__ == "__main__":
    prepare()
    sys.argv[0] = "brokerctl"
    runpy.run_module("broker.cli", run_name="__main__")
