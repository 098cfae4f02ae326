"""The long run: half of what the server can do, for as long as asked, and does anything grow?

    python -m crash.soak --minutes 30

First it finds out how much the machine can do, for a few seconds; then it sends half
of that, at a steady pace whatever the answers, and looks every now and then at the
file, its log, the server's memory, descriptors, threads and tasks, and at how long
sends took, counted from when each was due.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import shutil
import signal
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import psutil
from crash import entry
from crash.setting import Place, brokerctl
from crash.torture import Process

import broker
from broker.errors import BrokerError
from broker.protocols.resp.encoder import encode_request
from broker.protocols.resp.replies import NOT_READY, ReplyParser

SENDERS: Final = 16
WORKERS: Final = 8
SUBSCRIPTIONS: Final = ("a", "b", "c")
CALIBRATION_SECONDS: Final = 6.0
#: How many messages may wait before the calibration holds the senders back.
MOST_WAITING: Final = 2000
MIB: Final = 1024 * 1024
#: A third of them must be more than one or two, however slow the machine.
LEAST_SAMPLES: Final = 9
#: Below this, in minutes, nothing is said of latencies: the machine may be busy otherwise.
LONG_MINUTES: Final = 10.0


class Peer:
    """A connection to the server that says one thing at a time, without a key of its own."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._parser = ReplyParser()

    @classmethod
    async def connect(cls, path: Path) -> Peer:
        """Connect, and speak RESP3."""
        peer = cls(*await asyncio.open_unix_connection(str(path)))
        await peer.call("HELLO", "3")
        return peer

    async def call(self, *words: str | bytes) -> Any:
        """Say something and return what is answered."""
        self._writer.write(encode_request([w.encode() if isinstance(w, str) else w for w in words]))
        while (reply := self._parser.next()) is NOT_READY:
            data = await self._reader.read(65536)
            if not data:
                raise EOFError("the server has closed the connection")
            self._parser.feed(data)
        if isinstance(reply, BrokerError):
            raise reply
        return reply

    async def close(self) -> None:
        """Close it."""
        self._writer.close()
        await self._writer.wait_closed()


class Sample(NamedTuple):
    """How it was at the end of a window.

    Attributes:
        seconds: since the beginning.
        rate: messages sent a second in the window.
        file, wal, rss: bytes.
        descriptors, threads, tasks: of the server.
        waiting: how many messages were ready.
        p50, p99: of the sends of the window, in milliseconds.
    """

    seconds: float
    rate: float
    file: int
    wal: int
    rss: int
    descriptors: int
    threads: int
    tasks: int
    waiting: int
    p50: float
    p99: float

    def line(self) -> str:
        """Return it as a line of the curve."""
        return (
            f"{self.seconds:7.0f} s {self.rate:7.0f}/s  file {self.file / MIB:7.1f}  "
            f"wal {self.wal / MIB:5.1f}  rss {self.rss / MIB:6.1f} MiB  fds {self.descriptors:3d}  "
            f"threads {self.threads:2d}  tasks {self.tasks:3d}  waiting {self.waiting:5d}  "
            f"p50 {self.p50:6.2f}  p99 {self.p99:7.2f} ms"
        )


class Load:
    """Senders and workers on one server.

    Args:
        socket: of the server.
    """

    def __init__(self, socket: Path) -> None:
        self._socket = socket
        self._numbers = itertools.count()
        self.sent = 0
        self.done = 0
        self.latencies: list[float] = []
        #: Messages a second in all; None is as many as possible.
        self.rate: float | None = None
        self._ending = False

    async def run(self, until: Callable[[Load], Any]) -> None:
        """Work until ``until(self)`` is over."""
        async with asyncio.TaskGroup() as group:
            for _ in range(SENDERS):
                group.create_task(self._send())
            for number in range(WORKERS):
                group.create_task(self._work("jobs", number))
            for number, name in enumerate(SUBSCRIPTIONS):
                group.create_task(self._work(f"news@{name}", number))
            try:
                await until(self)
            finally:
                self._ending = True

    async def _send(self) -> None:
        peer = await Peer.connect(self._socket)
        due = time.monotonic()
        while not self._ending:
            if self.rate is None:
                if self.sent - self.done > MOST_WAITING:
                    await asyncio.sleep(0.01)
                due = time.monotonic()
            else:
                due += SENDERS / self.rate
                await asyncio.sleep(max(0.0, due - time.monotonic()))
            await peer.call(*self._words())
            self.sent += 1
            self.latencies.append(time.monotonic() - due)
        await peer.close()

    def _words(self) -> list[str | bytes]:
        """Return what is sent next: mostly plain, now and then with options, or to a channel."""
        number = next(self._numbers)
        body = b"x" * (100, 200, 500, 2000)[number % 4]
        if number % 20 == 1:
            return ["CHANNEL", "PUBLISH", "news", body]
        words: list[str | bytes] = ["QUEUE", "SEND", "jobs", body]
        match number % 20:
            case 2:
                words += ["DELAY", "300"]
            case 3:
                words += ["KEY", f"key {number}", "KEYTTL", "1000"]
            case 4:
                words += ["PRIORITY", "9", "TTL", "600000", "HEADERS", '{"a": "b"}']
        return words

    async def _work(self, queue: str, number: int) -> None:
        """Pull and acknowledge; give one in a hundred back first."""
        peer = await Peer.connect(self._socket)
        while not self._ending:
            if queue == "jobs":
                pull = ["QUEUE", "PULL", queue]
            else:
                pull = ["CHANNEL", "PULL", "news", "AS", queue.partition("@")[2]]
            messages = await peer.call(*pull, "COUNT", "20", "WAIT", "500")
            receipts = [message["receipt"] for message in messages or ()]
            if not receipts:
                continue
            number += len(receipts)
            if number % 100 < len(receipts):
                await peer.call("MESSAGE", "NACK", receipts.pop())
            if receipts:
                await peer.call("MESSAGE", "ACK", *receipts)
            if queue == "jobs":
                self.done += len(receipts)
        await peer.close()


class Soak:
    """One long run.

    Args:
        folder: empty, for the database.
        minutes: for how long.
        tell: takes each line of the curve.
    """

    def __init__(self, folder: Path, minutes: float, tell: Callable[[str], None]) -> None:
        self._place = Place(folder)
        self._minutes = minutes
        self._tell = tell
        self.samples: list[Sample] = []
        self.maximum = 0.0
        self.sent = 0

    def run(self) -> list[Sample]:
        """Do all of it; return the samples."""
        tasks = self._place.folder / "tasks"
        entry.set_clock(self._place.clock, 0)
        with broker.connect(str(self._place.database)) as client:
            client.create_queue("jobs", settings={"max_attempts": 0})
            client.create_channel("news", publish="anyone")
            for name in SUBSCRIPTIONS:
                client.subscribe("news", as_name=name)
        server = Process(
            brokerctl("serve", "--no-listen", "--database", str(self._place.database)),
            self._place,
            self._place.folder / "server.log",
            **{entry.TASKS: str(tasks)},
        )
        try:
            assert server.read_line()
            load = Load(self._place.socket)
            asyncio.run(load.run(lambda _: self._watch(load, psutil.Process(server.pid), tasks)))
            self.sent = load.sent
            assert server.end(signal.SIGTERM) == 0
        finally:
            if not server.has_ended:
                server.end(signal.SIGKILL)
        return self.samples

    async def _watch(self, load: Load, server: psutil.Process, tasks: Path) -> None:
        await asyncio.sleep(CALIBRATION_SECONDS / 3)
        done, began = load.done, time.monotonic()
        await asyncio.sleep(CALIBRATION_SECONDS)
        self.maximum = (load.done - done) / (time.monotonic() - began)
        load.rate = self.maximum / 2
        self._tell(f"at most {self.maximum:.0f} messages a second, now {load.rate:.0f}")
        status = await Peer.connect(self._place.socket)
        window = max(2.0, self._minutes * 60 / 60)
        began = last = time.monotonic()
        load.latencies.clear()
        while last - began < self._minutes * 60 or len(self.samples) < LEAST_SAMPLES:
            sent = load.sent
            await asyncio.sleep(window)
            now = time.monotonic()
            latencies, load.latencies = sorted(load.latencies), []
            said = await status.call("STATUS")
            sample = Sample(
                now - began,
                (load.sent - sent) / (now - last),
                said["database_bytes"],
                said["wal_bytes"],
                server.memory_info().rss,
                server.num_fds(),
                server.num_threads(),
                _number_in(tasks),
                said["ready"],
                _percentile(latencies, 0.50),
                _percentile(latencies, 0.99),
            )
            last = now
            self.samples.append(sample)
            self._tell(sample.line())
        await status.close()


def _number_in(path: Path) -> int:
    return int(path.read_text() or 0)


def _percentile(values: Sequence[float], share: float) -> float:
    """Return a percentile of sorted seconds in milliseconds."""
    return values[min(len(values) - 1, int(len(values) * share))] * 1000 if values else 0.0


def growth(samples: Sequence[Sample], minutes: float) -> list[str]:
    """Return what has grown that must not: the last third of a run against the second.

    The first third is the warm-up: caches and free pages fill, the log finds its size.
    The bounds are of sizes, which no slow machine changes; latencies are looked at in
    a long run only.
    """
    third = len(samples) // 3
    middle, end = samples[third : 2 * third], samples[-third:]
    found = []

    def compare(
        name: str, of: Callable[[Sequence[float]], float], factor: float, more: float
    ) -> None:
        before = of([getattr(sample, name) for sample in middle])
        after = of([getattr(sample, name) for sample in end])
        if after > before * factor + more:
            found.append(f"{name} went from {before:.0f} to {after:.0f}")

    compare("file", max, 1.10, 4 * MIB)
    compare("wal", max, 1.5, 4 * MIB)
    compare("rss", statistics.median, 1.05, 6 * MIB)
    compare("descriptors", max, 1, 2)
    compare("threads", max, 1, 1)
    compare("tasks", max, 1, 2)
    compare("waiting", statistics.median, 2, 2 * MOST_WAITING)
    if minutes >= LONG_MINUTES:
        compare("p99", statistics.median, 2, 5)
    return found


def slope(samples: Sequence[Sample], name: str) -> float:
    """Return by how much something grows in an hour, after the first third: least squares."""
    rest = samples[len(samples) // 3 :]
    seconds = [sample.seconds for sample in rest]
    fit = statistics.linear_regression(seconds, [getattr(sample, name) for sample in rest])
    return fit.slope * 3600


def main() -> int:
    """Run for as long as asked; return the exit status: 1 if something has grown."""
    parser = argparse.ArgumentParser(description="Half the maximal load, and does anything grow?")
    parser.add_argument("--minutes", type=float, default=1.0)
    minutes = parser.parse_args().minutes
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(130))
    folder = Path(tempfile.mkdtemp(prefix="soak-"))
    soak = Soak(folder, minutes, lambda line: print(line, flush=True))
    try:
        samples = soak.run()
    finally:
        shutil.rmtree(folder)
    for name in ("file", "wal", "rss"):
        print(f"{name}: {slope(samples, name) / MIB:+.1f} MiB an hour after the warm-up")
    print(f"{soak.sent} messages in {minutes:g} minutes")
    found = growth(samples, minutes)
    for text in found:
        print(f"GROWS {text}")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
