"""Servers and programs for tests: on free doors, waited for by condition, stopped by pid."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import psutil

#: Long enough for a busy machine; only a failing test ever waits for it.
PATIENCE_S = 60.0


def wait_until(condition: Callable[[], object], what: str, patience_s: float = PATIENCE_S) -> None:
    """Wait until a condition holds."""
    deadline = time.monotonic() + patience_s
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"timed out waiting until {what}")
        time.sleep(0.005)


def environment(**more: str) -> dict[str, str]:
    """Return the environment of a program that is tried as a user would."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("BROKER_", "PYTHON"))}
    return {**kept, **more}


def brokerctl(
    *arguments: str, url: str | Path | None = None, stdin: bytes | None = None, **more: str
) -> subprocess.CompletedProcess[bytes]:
    """Run ``brokerctl`` to its end."""
    variables = environment(**more) if url is None else environment(BROKER_URL=str(url), **more)
    return subprocess.run(
        [sys.executable, "-m", "broker.cli", *arguments],
        input=stdin,
        stdin=subprocess.DEVNULL if stdin is None else None,
        capture_output=True,
        env=variables,
        timeout=PATIENCE_S * 2,
    )


class ServerProcess:
    """A running ``brokerctl serve``."""

    def __init__(self, process: subprocess.Popen[bytes], doors: list[str], log: IO[bytes]) -> None:
        self.process = process
        self.doors = doors
        self._log = log

    @property
    def port(self) -> int:
        """The port of its first TCP door."""
        (door,) = [door for door in self.doors if door.startswith("tcp://")][:1]
        return int(door.rpartition(":")[2])

    @property
    def socket(self) -> str:
        """The path of its Unix socket."""
        return next(d.removeprefix("unix://") for d in self.doors if d.startswith("unix://"))

    @property
    def log(self) -> str:
        """What it has logged."""
        self._log.seek(0)
        return self._log.read().decode()

    @property
    def pid(self) -> int:
        """The server's own pid, where a tracer stands in front of it."""
        children = psutil.Process(self.process.pid).children()
        return children[0].pid if children else self.process.pid

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Send a signal and return the exit status."""
        if self.process.poll() is None:
            os.kill(self.pid, number)
        return self.process.wait(PATIENCE_S)


@contextmanager
def running_server(
    database: Path, *arguments: str, prefix: tuple[str, ...] = (), **more: str
) -> Iterator[ServerProcess]:
    """Run a server on a free TCP port and the database's own socket until the block ends."""
    log_path = database.with_suffix(".log")
    with log_path.open("w+b") as log:
        process = subprocess.Popen(
            [
                *prefix, sys.executable, "-m", "broker.cli", "serve",
                "--database", str(database), "--listen", "127.0.0.1:0", *arguments,
            ],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log,
            env=environment(**more),
        )  # fmt: skip
        server: ServerProcess | None = None
        try:
            server = ServerProcess(process, _read_doors(process, log_path, arguments), log)
            yield server
        finally:
            if server is not None:
                server.stop()
            elif process.poll() is None:
                process.kill()
                process.wait()
            if process.stdout is not None:
                process.stdout.close()


def _read_doors(
    process: subprocess.Popen[bytes], log: Path, arguments: tuple[str, ...]
) -> list[str]:
    assert process.stdout is not None
    doors: list[str] = []
    wanted = 1 if "none" in arguments else 2
    while len(doors) < wanted:
        line = process.stdout.readline().decode().strip()
        if not line:
            raise AssertionError(f"the server did not start: {log.read_text()}")
        doors.append(line.removeprefix("listening "))
    return doors
