"""``python -m benchmarks.smoke``: what a change must not make worse, counted instead of timed.

Statements, commits, syncs and imported modules are the same on every machine, so
that CI can hold them. Each ceiling is what it is now (with room where a machine or
a Python version has a say): whoever makes one better lowers it, whoever makes one
worse is told, and must say why it is worth it.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from broker.client.sync import Client, connect
from broker.commands.channel import ChannelCreate, ChannelPublish, ChannelSubscribe
from broker.commands.message import MessageAck
from broker.commands.queue import QueueCreate, QueuePull, QueueSend
from broker.commands.request import Request
from broker.protocols.resp.encoder import encode_request
from broker.store.batch import run_batch
from broker.store.database import Database
from broker.store.handlers.users import principal_of_uid
from broker.store.transaction import Limits

from .reading import Reading


class Check(NamedTuple):
    """One figure; ``ceiling`` is the most it may be."""

    what: str
    value: float
    ceiling: float

    @property
    def is_met(self) -> bool:
        """Whether it is no worse than it was."""
        return round(self.value, 2) <= self.ceiling


# --- statements a batch ---

#: Messages in a batch.
BATCH = 1000


class Traced:
    """A database whose statements are counted."""

    def __init__(self, path: Path) -> None:
        self._database = Database(str(path), Limits(1_048_576))
        self._database.open(create=True)
        self._now = time.time_ns() // 1_000_000
        self._texts: list[str] = []
        with self._database.transaction(self._now) as tx:
            self.principal = principal_of_uid(tx, 1, "bench")
            driver: Any = tx.driver
            driver.set_trace_callback(self._texts.append)

    def run(self, *commands: Any) -> list[Any]:
        """Execute one batch, which nothing may refuse."""
        self._texts.clear()
        requests = [Request(self.principal, command) for command in commands]
        outcomes = run_batch(self._database, requests, self._now).outcomes
        for outcome in outcomes:
            if isinstance(outcome, Exception):
                raise outcome
        return outcomes

    @property
    def executions(self) -> int:
        """How often the last batch made SQLite execute something: each row of an executemany."""
        return len(self._texts)

    def keep(self) -> None:
        """Go on as a server's."""
        self._database.keep()

    def close(self) -> None:
        """Close it."""
        self._database.close()


def statements(folder: Path) -> Iterator[Check]:
    """Count what a batch of each kind makes SQLite do."""
    store = Traced(folder / "statements.db")
    store.run(*(QueueCreate(f"q{n}") for n in range(10)), ChannelCreate("c"))
    store.run(*(ChannelSubscribe("c", f"s{n}") for n in range(100)))

    def check(what: str, most: int) -> Check:
        return Check(f"SQL executions: {what}", store.executions, most)

    store.run(*(QueueSend("q0", b"x") for _ in range(BATCH)))
    yield check(f"{BATCH} sends to one queue", 40)
    store.run(*(QueueSend(f"q{n % 10}", b"x") for n in range(BATCH)))
    yield check(f"{BATCH} sends to ten queues", 57)
    (pulled,) = store.run(QueuePull("q0", BATCH))
    yield check(f"a pull of {BATCH}", 8)
    store.run(*(MessageAck((message.receipt,)) for message in pulled))
    yield check(f"{BATCH} acks", 8)
    single = store.run(*(QueuePull("q1") for _ in range(100)))
    yield check("100 pulls of one", 9)
    store.run(MessageAck(tuple(message.receipt for (message,) in single)))
    yield check("an ack of 100", 13)
    store.run(*(ChannelPublish("c", b"x") for _ in range(100)))
    yield check("100 publishes to 100 subscriptions", 117)
    store.run(QueueSend("q0", b"x"))
    store.run(QueueSend("q0", b"x"))
    yield check("a lone send", 6)
    store.keep()
    store.run(QueueSend("q0", b"x"))
    store.run(QueueSend("q0", b"x"))
    yield check("a lone send to a server", 6)
    store.close()


# --- Python functions a send ---


def called(work: Callable[[], Any]) -> int:
    """Return how many Python functions some work calls; those of C are not counted."""
    count = 0

    def note(frame: Any, event: str, argument: Any) -> None:
        nonlocal count
        count += event == "call"

    sys.setprofile(note)
    try:
        work()
    finally:
        sys.setprofile(None)
    return count


def functions(folder: Path) -> Iterator[Check]:
    """Count the functions between the bytes of a send and its commit."""
    store = Traced(folder / "functions.db")
    store.run(QueueCreate("q"))
    store.keep()
    words = [b"QUEUE", b"SEND", b"q", b"x" * 100]
    reading = Reading(store.principal, words, 1_048_576)

    def read(count: int) -> list[Any]:
        """Return the commands of a read."""
        return reading.commands(reading.bodies(encode_request(words) * count))

    for count, most_read, most_run in ((1, 7, 50), (BATCH, 0.1, 2.15)):
        sends = read(count)
        store.run(*sends)
        if len(sends) != count:
            raise AssertionError(f"{len(sends)} commands of {count}")
        what = f"Python functions for each of {count} sends"
        yield Check(f"{what}: read", called(partial(read, count)) / count, most_read)
        yield Check(f"{what}: executed", called(partial(store.run, *sends)) / count, most_run)
    (pulled,) = store.run(QueuePull("q", BATCH))
    ack = MessageAck(tuple(message.receipt for message in pulled))
    executed = called(partial(store.run, ack)) / BATCH
    yield Check(f"Python functions for each of {BATCH} acks: executed", executed, 0.1)
    store.close()


# --- commits and syncs of a server ---

#: Kept in flight, of so many.
WINDOW, SENDS = 1000, 20_000
#: One after the other.
SINGLE_SENDS = 200
#: Connections that send at once.
TOGETHER = 50
#: For a start, a reply, an end; only what has failed ever takes so long.
PATIENCE_S = 60.0


@contextmanager
def server(database: Path, *prefix: str) -> Iterator[Path]:
    """Run a server, behind another program if that is asked for; yields its socket."""
    process = subprocess.Popen(
        [*prefix, sys.executable, "-m", "broker.cli", "serve", "--database", str(database),
         "--no-listen", "--log-level", "error"],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, env=environment(),
    )  # fmt: skip
    try:
        if process.stdout is None or not (line := process.stdout.readline().decode()):
            raise AssertionError("the server did not start")
        yield Path(line.strip().removeprefix("listening unix://"))
        # A tracer hands it on to none: the server itself ends, and the tracer with it.
        os.kill(pid_of(database), signal.SIGTERM)
        process.wait(PATIENCE_S)
    finally:
        process.kill()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()


def pid_of(database: Path) -> int:
    """Return the pid of a database's server."""
    with connect(str(database)) as client:
        return client.status().pid


def environment() -> dict[str, str]:
    """Return this process's variables but those that would change what is measured."""
    return {k: v for k, v in os.environ.items() if not k.startswith(("BROKER_", "PYTHON"))}


def send(path: Path, count: int, window: int) -> None:
    """Send so many with so many in flight, over one connection."""
    request = encode_request([b"QUEUE", b"SEND", b"q", b"x" * 100])
    with dial(path) as connection:
        issued = answered = 0
        while answered < count:
            more = min(window - (issued - answered), count - issued)
            connection.sendall(request * more)
            issued += more
            replies = connection.recv(1 << 20)
            if not replies or b"-" in replies:
                raise AssertionError(f"a send was refused: {replies[:80]!r}")
            answered += replies.count(b"\n")


def commits(folder: Path) -> Iterator[Check]:
    """Count how many commits carry what many send, and what somebody waits for."""
    database = folder / "commits.db"
    with server(database) as path, connect(str(database)) as client:
        client.create_queue("q")
        client.create_queue("q2")
        before = client.status().commits
        send(path, SENDS, WINDOW)
        made = client.status().commits - before - 1
        # A window is read, executed and answered in a few pieces, however fast the machine.
        yield Check(f"commits for {WINDOW} sends of a window", made * WINDOW / SENDS, 3)
        yield Check(f"commits for a send each of {TOGETHER} connections", together(path, client), 1)
        yield Check("commits for a send and the pull that waits for it", meeting(path, client), 1)
        pushed = pushing(database, client)
        yield Check("commits for a message sent, pushed and acknowledged", pushed, 2)


def together(path: Path, client: Client) -> float:
    """Return the commits for sends that have all come before the server looks."""
    status = client.status()
    request = encode_request([b"QUEUE", b"SEND", b"q", b"x"])
    with ExitStack() as stack:
        connections = [stack.enter_context(dial(path)) for _ in range(TOGETHER)]
        # All are known, by the time that all have been answered something.
        for connection in connections:
            ask(connection, encode_request([b"PING"]))
        os.kill(status.pid, signal.SIGSTOP)
        try:
            # The signal is sent, but the server may still be reading.
            os.waitid(os.P_PID, status.pid, os.WSTOPPED)
            for connection in connections:
                connection.sendall(request)
        finally:
            os.kill(status.pid, signal.SIGCONT)
        for connection in connections:
            connection.recv(100)
    return client.status().commits - status.commits - 1


def meeting(path: Path, client: Client) -> float:
    """Return the commits for a send and its lease to who waits."""
    with dial(path) as waits, dial(path) as sends:
        waits.sendall(encode_request([b"QUEUE", b"PULL", b"q2", b"WAIT", b"60000"]))
        while not (status := client.status()).waiting_pulls:
            pass
        ask(sends, encode_request([b"QUEUE", b"SEND", b"q2", b"x"]))
        waits.recv(1000)
    return client.status().commits - status.commits - 1


def pushing(database: Path, client: Client) -> float:
    """Return the commits for each message that a consumer is pushed as it waits."""
    count = 20
    with connect(str(database)) as consumer:
        client.send("q2", b"first")
        messages = consumer.consume("q2")
        consumer.ack(str(next(messages).receipt))
        before = client.status().commits
        for _ in range(count):
            client.send("q2", b"x")
            consumer.ack(str(next(messages).receipt))
        return (client.status().commits - before - 1) / count


def dial(path: Path) -> socket.socket:
    """Connect."""
    connection = socket.socket(socket.AF_UNIX)
    connection.settimeout(PATIENCE_S)
    connection.connect(str(path))
    return connection


def ask(connection: socket.socket, request: bytes) -> None:
    """Send a request, and take its answer, which is no refusal."""
    connection.sendall(request)
    reply = connection.recv(1000)
    if not reply or reply.startswith(b"-"):
        raise AssertionError(f"refused: {reply[:80]!r}")


def syncs(folder: Path) -> Iterator[Check]:
    """Count the syncs of sends one after the other: each commit has one, and few are added."""
    strace = shutil.which("strace")
    if strace is None:
        if os.environ.get("BROKER_REQUIRE_PROGRAMS") == "1":
            raise SystemExit("the program strace is not installed")
        print("syncs are not counted: the program strace is not installed")
        return
    database, trace = folder / "syncs.db", folder / "trace"
    traced = (strace, "-f", "-qq", "-e", "trace=fsync,fdatasync", "-o", str(trace))
    with server(database, *traced) as path, connect(str(database)) as client:
        client.create_queue("q")
        before, marked = client.status().commits, synced(trace)
        send(path, SINGLE_SENDS, 1)
        made, needed = client.status().commits - before, synced(trace) - marked
    yield Check("sends for each sync, one in flight", SINGLE_SENDS / max(needed, 1), 1.0)
    yield Check("syncs for each commit, one in flight", needed / made, 1.05)


def synced(trace: Path) -> int:
    """Return how many syncs have ended well."""
    return sum(line.rstrip().endswith("= 0") for line in trace.read_text().splitlines())


# --- modules of a one-shot ---


def modules(*arguments: str, url: Path) -> list[str]:
    """Return the modules that a Python program imports, in their order."""
    done = subprocess.run(
        [sys.executable, "-X", "importtime", *arguments],
        capture_output=True, text=True, check=True,
        env={**environment(), "BROKER_URL": str(url)},
    )  # fmt: skip
    found = (line.rpartition("|")[2].strip() for line in done.stderr.splitlines())
    return [name for name in found if name and name != "imported package"]


def packages(names: Iterable[str]) -> set[str]:
    """Return the packages that modules belong to."""
    return {name.partition(".")[0] for name in names}


def imports(folder: Path) -> Iterator[Check]:
    """Count what a one-shot imports, against Python alone and Click."""
    database = folder / "imports.db"
    with server(database), connect(str(database)) as client:
        client.create_queue("q")
        own = modules("-c", "pass", url=database)
        click = modules("-c", "import click", url=database)
        sent = modules("-m", "broker.cli", "queue", "send", "q", "x", url=database)
    alone = modules("-m", "broker.cli", "queue", "send", "q", "x", url=database)
    heavy = {"sqlalchemy", "alembic", "asyncio"}
    yield Check("modules of a one-shot, beyond Python's own", len(set(sent) - set(own)), 90)
    yield Check("those, beyond Click's too", len(set(sent) - set(own) - set(click)), 55)
    yield Check("those that only the store needs", len(packages(sent) & {*heavy, "sqlite3"}), 0)
    yield Check("without a server, beyond Click's", len(set(alone) - set(own) - set(click)), 130)
    yield Check("those that take long to import", len(packages(alone) & heavy), 0)


PARTS: tuple[Callable[[Path], Iterator[Check]], ...] = (
    statements, functions, commits, syncs, imports,
)  # fmt: skip


def main() -> None:
    """Print each figure beside its ceiling; status 1 if one is over it."""
    failed = passed = 0
    for part in PARTS:
        with tempfile.TemporaryDirectory(prefix="smoke-") as name:
            for check in part(Path(name)):
                word = "ok" if check.is_met else "WORSE"
                print(f"{word:<6} {check.value:8.2f}  at most {check.ceiling:8.2f}  {check.what}")
                passed += check.is_met
                failed += not check.is_met
    print(f"bench-smoke: {passed} passed, {failed} failed")
    if failed:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
