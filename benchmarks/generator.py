"""The load generator: a C program, compiled for the run, that measures one server at a time."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import NamedTuple

from .peers.base import Missing, Peer

SOURCES = Path(__file__).with_name("load")
#: Besides the time of a run: for logins, and for what is in flight at its end.
PATIENCE_S = 300.0


class Group(NamedTuple):
    """What the connections of a group have done.

    Attributes:
        answered: operations that were answered within the time.
        rate: those a second.
        p50_us: of one operation, from the request to its answer; with p99, max.
        transit_p50_us: of one message, from before its send to its arrival; with p99, max.
        stall_us: the longest time in which the group got no answer.
    """

    answered: int
    rate: float
    p50_us: float
    p99_us: float
    max_us: float
    transit_p50_us: float
    transit_p99_us: float
    transit_max_us: float
    stall_us: float


class Load(NamedTuple):
    """What a run has measured.

    Attributes:
        groups: in the order they were asked for.
        seconds: how long it was measured.
        generator_share: of one core, what the generator itself took.
        server_share: of one core, what the server's processes took.
    """

    groups: list[Group]
    seconds: float
    generator_share: float
    server_share: float


class Generator:
    """The compiled program.

    Raises:
        Missing: there is no C compiler.
    """

    def __init__(self, folder: Path) -> None:
        compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
        if compiler is None:
            raise Missing("the load generator needs a C compiler (on Debian: apt-get install gcc)")
        self._program = folder / "load"
        sources = [str(path) for path in sorted(SOURCES.glob("*.c"))]
        subprocess.run(
            [compiler, "-std=gnu11", "-O2", "-Wall", "-Wextra", "-o", str(self._program), *sources],
            check=True,
        )

    def run(
        self,
        peer: Peer,
        queue: str,
        body: int,
        seconds: float,
        *groups: str,
        copies: int | None = None,
    ) -> Load:
        """Load a server.

        Args:
            peer: what is running.
            queue: the queue, or what is published to.
            body: the size of each, in bytes.
            seconds: when to end if no limit is reached before.
            groups: ``ROLE:CONNECTIONS:WINDOW[:RATE[:LIMIT]]``.
            copies: publish instead of sending; how many sends one publish is, 0 if
                the server makes the copies.

        Raises:
            AssertionError: the server refused something or has gone.
        """
        target = peer.target()
        publish = [] if copies is None else [f"publish={copies}"]
        with subprocess.Popen(
            [
                str(self._program), target.protocol, "127.0.0.1", str(target.port), queue,
                str(body), str(seconds), f"user={target.user}", f"password={target.password}",
                *publish, *groups,
            ],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        ) as process:  # fmt: skip
            if process.stdout is None:
                raise AssertionError("there is a pipe")
            try:
                started = process.stdout.readline()
                before = peer.footprint().cpu_s
                output, errors = process.communicate(timeout=seconds + PATIENCE_S)
            except BaseException:
                process.kill()
                raise
        if process.returncode != 0 or not started:
            raise AssertionError(f"{peer.name}, {' '.join(groups)}: {errors.strip()}")
        spent = peer.footprint().cpu_s - before
        result = json.loads(output)
        elapsed = max(result["seconds"], 1e-9)
        return Load(
            [Group(**group) for group in result["groups"]],
            elapsed,
            result["cpu_seconds"] / elapsed,
            spent / elapsed,
        )


def send(connections: int = 1, window: int = 1, rate: float = 0, limit: int = 0) -> str:
    """Return a group that sends."""
    return f"send:{connections}:{window}:{rate}:{limit}"


def pull(batch: int = 1) -> str:
    """Return a group that pulls so many and acknowledges them, again and again."""
    return f"pull:1:{batch}"


def consume(prefetch: int, limit: int = 0) -> str:
    """Return a group that has messages pushed and acknowledges them."""
    return f"consume:1:{prefetch}:0:{limit}"


def idle(connections: int) -> str:
    """Return a group that does nothing."""
    return f"idle:{connections}:1"
