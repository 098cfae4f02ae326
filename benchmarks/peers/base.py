"""What a measured server is, and how a process of one is started, watched and stopped."""

from __future__ import annotations

import contextlib
import shutil
import socket
import subprocess
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar, NamedTuple

import psutil

#: Long enough for a slow start; only what has failed ever waits for it.
PATIENCE_S = 120.0
#: A server does nothing of its own any more below this share of a core, or after so long.
QUIET_SHARE = 0.05
SETTLE_S = 15.0


class Missing(Exception):
    """This peer cannot be measured here; the message says why."""


class Target(NamedTuple):
    """What the load generator is told.

    Attributes:
        protocol: its name for the wire format.
        port: on 127.0.0.1.
        user: the login's name.
        password: the login's password.
    """

    protocol: str
    port: int
    user: str = "bench"
    password: str = "bench"


class Footprint(NamedTuple):
    """What a server takes.

    Attributes:
        resident_bytes: memory of all its processes, shared pages counted once each.
        cpu_s: seconds of CPU since its start.
    """

    resident_bytes: int
    cpu_s: float


class Peer(ABC):
    """A broker's server, on a port and in a folder of its own."""

    #: As it is named in ``PEERS=...``.
    name: ClassVar[str]
    #: As the tables name it, with what makes it sync.
    label: ClassVar[str]
    #: Whether each run gets a new process on an empty folder.
    is_quick_to_start: ClassVar[bool] = True
    #: Messages its consumers may have unacknowledged.
    prefetch: ClassVar[int] = 1000
    #: How many subscriptions it can be asked for in the time of a run.
    max_subscriptions: ClassVar[int] = 1000
    #: How many messages it can be filled with in the time of a run.
    max_backlog: ClassVar[int] = 100_000
    #: Whether a publish is that many sends, made by the publisher.
    copies_itself: ClassVar[bool] = False

    def __init__(self, root: Path) -> None:
        """Prepare to run below ``root``; starts nothing.

        Raises:
            Missing: what it needs is not installed.
        """
        self._root = root
        self._runs = 0
        self._process: subprocess.Popen[bytes] | None = None
        self.folder = root
        self.port = 0

    @abstractmethod
    def version(self) -> str:
        """Return its version."""

    @abstractmethod
    def target(self) -> Target:
        """Return where and how the load generator reaches it."""

    @abstractmethod
    def command(self) -> list[str]:
        """Return the program that serves ``self.folder`` on ``self.port``."""

    @abstractmethod
    def is_ready(self) -> bool:
        """Whether it answers."""

    @abstractmethod
    def create_queue(self, name: str) -> None:
        """Make an empty durable queue."""

    def delete_queue(self, name: str) -> None:
        """Take it away again, with what is in it; of a server that is not stopped instead."""
        raise NotImplementedError(name)

    @abstractmethod
    def create_topic(self, name: str, subscriptions: int) -> None:
        """Make something to publish to, with so many durable subscriptions."""

    def delete_topic(self, name: str, subscriptions: int) -> None:
        """Take it away again; of a server that is not stopped instead."""
        raise NotImplementedError(name)

    def one_shot(self, queue: str) -> list[str] | None:
        """Return a command line that sends one message, or None if it comes with none."""
        del queue
        return None

    # --- life ---

    def start(self) -> None:
        """Start it on an empty folder and wait until it answers; does nothing if it runs."""
        if self._process is not None:
            return
        self._runs += 1
        self.folder = self._root / f"{self.name}-{self._runs}"
        self.folder.mkdir()
        self.restart()

    def restart(self) -> float:
        """Start it on the folder it has; returns the seconds until it answered."""
        self.port = free_port()
        began = time.perf_counter()
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                self.command(), cwd=self.folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                env=self.environment(), start_new_session=True,
            )  # fmt: skip
        wait_until(self._has_started, f"{self.name} answers (see {self.folder}/log)")
        return time.perf_counter() - began

    def environment(self) -> dict[str, str] | None:
        """Return the variables of its process; None is those of this one."""
        return None

    def _has_started(self) -> bool:
        if self._process is not None and self._process.poll() is not None:
            log = (self.folder / "log").read_text(errors="replace")[-2000:]
            raise AssertionError(f"{self.name} did not start:\n{log}")
        return self.is_ready()

    def halt(self) -> None:
        """Stop it and keep its folder; does nothing if it does not run."""
        if self._process is None:
            return
        family = self.processes()
        self._process.terminate()
        try:
            self._process.wait(60)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        for process in family:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.terminate()
        self._process = None

    def stop(self) -> None:
        """Stop it and remove its folder; does nothing if it does not run."""
        if self._process is None:
            return
        self.halt()
        shutil.rmtree(self.folder, ignore_errors=True)

    def processes(self) -> list[psutil.Process]:
        """Return its processes."""
        if self._process is None:
            return []
        first = psutil.Process(self._process.pid)
        return [first, *first.children(recursive=True)]

    def footprint(self) -> Footprint:
        """Return what it takes at this moment."""
        resident, cpu = 0, 0.0
        for process in self.processes():
            with contextlib.suppress(psutil.NoSuchProcess):
                resident += process.memory_info().rss
                times = process.cpu_times()
                cpu += times.user + times.system
        return Footprint(resident, cpu)

    def settle(self) -> None:
        """Wait until it has nothing left to do from the run before."""
        deadline = time.monotonic() + SETTLE_S
        step_s = 0.2
        before = self.footprint().cpu_s
        while time.monotonic() < deadline:
            time.sleep(step_s)
            after = self.footprint().cpu_s
            if after - before <= QUIET_SHARE * step_s:
                return
            before = after

    def disk_bytes(self) -> int:
        """Return what its files take."""
        return sum(p.stat().st_blocks * 512 for p in self.folder.rglob("*") if p.is_file())


def wait_until(condition: Callable[[], bool], what: str) -> None:
    """Wait until a condition holds.

    Raises:
        AssertionError: it did not within :data:`PATIENCE_S`.
    """
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"timed out waiting until {what}")
        time.sleep(0.01)


def free_port() -> int:
    """Return a port nobody listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def accepts(port: int) -> bool:
    """Whether somebody listens on a port."""
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True


def program(*names: str) -> str:
    """Return the path of the first program that is there.

    Raises:
        Missing: none is.
    """
    for name in names:
        path = shutil.which(name) or shutil.which(name, path="/usr/sbin:/usr/local/sbin")
        if path is not None:
            return path
    raise Missing(f"the program {names[0]} is not installed")


def output_of(*command: str) -> str:
    """Return the first line a program prints."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    lines = (done.stdout or done.stderr).strip().splitlines()
    return lines[0] if lines else "?"
