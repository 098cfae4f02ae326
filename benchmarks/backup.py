"""What a back-up costs those who go on: the longest wait for a reply, before, during and after.

A server on a large database gets all the sends it can take, from windows of a
separate process, and a probe that sends one at a time and notes how long each took.
Then the database is backed up: as ``brokerctl backup`` does it, and for comparison
by VACUUM INTO on a reader. ``--megabytes`` is the size of the database.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import broker.aio
from broker.client.sync import connect

WINDOWS, WINDOW, BODY_BYTES = 4, 50, 1000
PHASE_S = 4.0


def fill(database: Path, megabytes: int) -> None:
    """Make a database of that size, of ready messages."""
    with connect(str(database)) as client:
        client.create_queue("jobs")
        client.create_queue("probe")
        while database.stat().st_size < megabytes * 1_000_000:
            client.send_many("jobs", [os.urandom(BODY_BYTES) for _ in range(1000)])


async def load(url: str) -> None:
    """Send until killed; print for each send of the probe when it ended and what it took."""

    async def send_window(client: broker.aio.AsyncClient) -> None:
        while True:
            await asyncio.gather(*(client.send("jobs", b"x" * BODY_BYTES) for _ in range(WINDOW)))

    async def probe(client: broker.aio.AsyncClient) -> None:
        while True:
            began = time.monotonic()
            await client.send("probe", b"x")
            ended = time.monotonic()
            print(ended, (ended - began) * 1000, flush=True)

    clients = [broker.aio.connect(url) for _ in range(WINDOWS + 1)]
    await asyncio.gather(probe(clients[0]), *(send_window(client) for client in clients[1:]))


def vacuum_into(database: Path, copy: Path) -> None:
    """Copy as the other way would, and sync."""
    reader = sqlite3.connect(f"file:{database}?mode=ro", uri=True, isolation_level=None)
    reader.execute("VACUUM INTO ?", (str(copy),))
    reader.close()
    descriptor = os.open(copy, os.O_RDONLY)
    os.fsync(descriptor)
    os.close(descriptor)


def back_up(database: Path, copy: Path) -> None:
    """Copy as ``brokerctl backup`` does."""
    subprocess.run(
        [sys.executable, "-m", "broker.cli", "backup", str(copy), "--quiet"],
        env={**os.environ, "BROKER_URL": str(database)}, stdout=subprocess.DEVNULL, check=True,
    )  # fmt: skip


def measure(name: str, source: Path, copy: Callable[[Path, Path], None]) -> None:
    """Run a server, the load and one back-up, and print the longest waits."""
    with tempfile.TemporaryDirectory(dir=source.parent) as folder:
        database = Path(folder) / "broker.db"
        shutil.copy(source, database)
        server = subprocess.Popen(
            [sys.executable, "-m", "broker.cli", "serve", "--database", str(database),
             "--no-listen"],
            stdout=subprocess.PIPE,
        )  # fmt: skip
        assert server.stdout is not None
        server.stdout.readline()
        log = Path(folder) / "probe.log"
        with log.open("w") as file:
            loading = subprocess.Popen(
                [sys.executable, "-m", "benchmarks.backup", "--load", str(database)], stdout=file
            )
        time.sleep(PHASE_S * 2)
        began = time.monotonic()
        copy(database, Path(folder) / "copy.db")
        ended = time.monotonic()
        wal = Path(f"{database}-wal").stat().st_size
        time.sleep(PHASE_S)
        loading.kill()
        loading.wait()
        server.send_signal(signal.SIGTERM)
        server.wait()
        waits = [tuple(map(float, line.split())) for line in log.read_text().splitlines()[:-1]]
    size = source.stat().st_size / 1e6
    print(f"{name}: {size:.0f} MB in {ended - began:.1f} s, log {wal / 1e6:.0f} MB at its end")
    for phase, start, end in (
        ("before", began - PHASE_S, began),
        ("during", began, ended),
        ("after", ended, ended + PHASE_S),
    ):
        took = sorted(ms for at, ms in waits if start <= at < end)
        if took:
            middle = took[len(took) // 2]
            print(f"  {phase:<7} {len(took):5} sends, median {middle:6.1f} ms, "
                  f"longest {took[-1]:6.1f} ms")  # fmt: skip


def main(arguments: list[str] | None = None) -> None:
    """Measure both ways."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--megabytes", type=int, default=200)
    parser.add_argument("--folder", help="where the databases lie (default: a temporary one)")
    parser.add_argument("--load", metavar="DATABASE", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.load:
        asyncio.run(load(options.load))
        return
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        source = Path(folder) / "source.db"
        fill(source, options.megabytes)
        measure("back-up", source, back_up)
        measure("VACUUM INTO", source, vacuum_into)


if __name__ == "__main__":
    main()
