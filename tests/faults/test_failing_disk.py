"""A disk that is full or broken at any write or sync: what was answered is there, and no more."""

from __future__ import annotations

import os
import random
import socket
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import pytest
from faults.serving import checkpointing, receipts_of
from faults.tracing import failing
from faults.workload import Fingerprint, Step, fingerprint, replayed, steps
from stores import Store
from support import brokerctl, environment, running_server
from wire import Wire

import broker
from broker.commands.grammar import words_of
from broker.commands.table import syntax_of
from broker.errors import BrokerError, Full, Unavailable

#: At how many places each fault strikes; at all of them with 0.
PLACES = int(os.environ.get("BROKER_TEST_PLACES", "3"))
STEPS = 40
#: Pages of log that bring a checkpoint: few, so that the faults strike some.
PAGES = 20
#: The highest place that strace takes, which none of these runs comes to.
NEVER = "65535"
HERE = Path(__file__).parent
#: NOTFOUND and DENIED are what follows from a creation or a subscription that was refused.
ANSWERS = {"OK", "FULL", "UNKNOWN", "UNAVAILABLE", "NOTFOUND", "DENIED"}


class Fault(NamedTuple):
    """What fails, from the n-th call on for a while, or for good."""

    calls: str
    error: str
    when: str

    def at(self, place: int) -> str:
        """Return which calls fail if the first to fail is ``place``, as strace wants it."""
        return self.when.format(n=place, m=place + 9)


FAULTS = {
    "a full disk, for a while": Fault("pwrite64", "ENOSPC", "{n}..{m}"),
    "a full disk, for good": Fault("pwrite64", "ENOSPC", "{n}+"),
    "one failed write": Fault("pwrite64", "EIO", "{n}"),
    "one failed sync": Fault("fsync,fdatasync", "EIO", "{n}"),
    "a dead disk": Fault("pwrite64,fsync,fdatasync,ftruncate", "EIO", "{n}+"),
}


@pytest.fixture
def chance() -> random.Random:
    """Return chance with a seed that is printed, to be given again."""
    seed = int(os.environ.get("BROKER_TEST_SEED", str(random.randrange(2**32))))
    print(f"BROKER_TEST_SEED={seed}")
    return random.Random(seed)


@pytest.fixture(params=list(FAULTS))
def fault(request: pytest.FixtureRequest) -> Fault:
    """Return one way in which a disk fails."""
    return FAULTS[request.param]


@pytest.fixture
def database(tmp_path: Path) -> Path:
    """Return where a database is to be."""
    return tmp_path / "broker.db"


def files_of(database: Path) -> tuple[Path, ...]:
    """Return the files that fail: the database, its log, and its journal as it is made."""
    return database, Path(f"{database}-wal"), Path(f"{database}-journal")


def places(total: int, chance: random.Random) -> Iterator[int]:
    """Yield the calls, of so many, at which a fault is to strike."""
    if not PLACES or total <= PLACES:
        yield from range(1, total + 1)
        return
    for part in range(PLACES):
        low = part * total // PLACES
        yield chance.randrange(low, (part + 1) * total // PLACES) + 1


def count(trace: Path, marker: str = "= ") -> int:
    """Return how many calls a trace lists, or how many of them were made to fail."""
    return sum(marker in line for line in trace.read_text().splitlines())


def check(database: Path, run: Sequence[Step], told: Sequence[str], scratch: Path) -> None:
    """Hold a database to the answers: what was told OK is there, and perhaps what was unknown.

    Of several whose outcome was unknown only the first may be stored: after it the
    disk took nothing more, or the broker asked nothing more of it.
    """
    allowed: list[Fingerprint] = [replayed(scratch, run, told, unknown_is_stored=False)]
    if "UNKNOWN" in told:
        allowed.append(replayed(scratch, run, told, unknown_is_stored=True))
    if not any(answer == "OK" for answer in told) and not database.exists():
        return
    store = Store(database)
    try:
        found = fingerprint(store)
        assert found in allowed, f"{told}: {set(allowed[0]) ^ set(found)}"
        store.check()
        assert store.rows("PRAGMA integrity_check") == [("ok",)]
    finally:
        store.database.close()


def run_embedded(
    prefix: tuple[str, ...], database: Path, seed: int
) -> tuple[list[str], subprocess.CompletedProcess[bytes]]:
    """Do a workload embedded; return what each step was told."""
    marks = database.with_suffix(".marks")
    marks.unlink(missing_ok=True)
    done = subprocess.run(
        [*prefix, sys.executable, str(HERE / "embedded.py"), str(database), str(marks),
         str(seed), str(STEPS), str(PAGES)],
        env=environment(PYTHONPATH=str(HERE.parent)), capture_output=True, timeout=300,
    )  # fmt: skip
    lines = [line.split() for line in marks.read_text().splitlines()]
    return [line[1] for line in lines if len(line) == 2], done


class Served(NamedTuple):
    """What a run against a server came to.

    Attributes:
        told: what each step was told, up to the one without an answer.
        status: what the server exited with, of itself or at a SIGTERM.
        log: what it has logged.
    """

    told: list[str]
    status: int
    log: str


def run_server(prefix: tuple[str, ...], database: Path, run: Sequence[Step]) -> Served:
    """Do a workload on a server's socket, until it closes the connection."""
    told: list[str] = []
    held: deque[str] = deque()
    with running_server(
        database, prefix=prefix, PYTHONPATH=checkpointing(database.parent, PAGES)
    ) as server:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(60)
            connection.connect(server.socket)
            wire = Wire(connection)
            for step in run:
                command = step.command_with(held)
                if command is None:
                    told.append("OK")
                    continue
                try:
                    reply = wire.call(*words_of(syntax_of(type(command)), command))
                except (EOFError, ConnectionError):
                    told.append("UNKNOWN")
                    break
                told.append(reply.code if isinstance(reply, BrokerError) else "OK")
                held.extend(receipts_of(reply))
        if told[-1] == "UNKNOWN":
            # It ends by itself.
            server.process.wait(60)
        return Served(told, server.stop(), server.log)


def remove(database: Path) -> None:
    """Remove a database with all that is beside it."""
    for path in database.parent.glob(f"{database.name}*"):
        path.unlink()


def test_an_embedded_client_is_told_what_became_of_each_call(
    database: Path,
    tmp_path: Path,
    chance: random.Random,
    fault: Fault,
    needs_program: Callable[[str], str],
) -> None:
    strace = needs_program("strace")
    trace = tmp_path / "trace"
    seed = chance.randrange(2**32)
    run = steps(seed, STEPS)

    def prefix(when: str) -> tuple[str, ...]:
        return failing(strace, fault.calls, fault.error, when, files_of(database), trace)

    run_embedded(prefix(NEVER), database, seed)
    total = count(trace)
    assert total > STEPS
    struck = 0
    for place in places(total, chance):
        remove(database)
        told, done = run_embedded(prefix(fault.at(place)), database, seed)
        assert done.returncode == 0, (place, done.stderr.decode())
        assert len(told) == STEPS
        assert set(told) <= ANSWERS, told
        assert fault.error != "ENOSPC" or "UNKNOWN" not in told, (place, told)
        struck += count(trace, "(INJECTED)")
        check(database, run, told, tmp_path)
    print(f"{fault}: {struck} failed calls of {total}")
    assert struck


def test_a_server_says_full_or_stops_and_never_says_ok_for_what_is_unknown(
    database: Path,
    tmp_path: Path,
    chance: random.Random,
    fault: Fault,
    needs_program: Callable[[str], str],
) -> None:
    strace = needs_program("strace")
    trace = tmp_path / "trace"
    run = steps(chance.randrange(2**32), STEPS)

    def serve(when: str) -> Served:
        remove(database)
        Store(database).database.close()
        with broker.connect(str(database)) as client:
            # Makes its user, so that the server writes nothing before it serves.
            client.whoami()
        words = failing(strace, fault.calls, fault.error, when, files_of(database), trace)
        return run_server(words, database, run)

    assert serve(NEVER).told == ["OK"] * STEPS
    total = count(trace)
    struck = 0
    for place in places(total, chance):
        served = serve(fault.at(place))
        assert set(served.told) <= ANSWERS, served
        assert "Traceback" not in served.log or "the writer has stopped" in served.log, served.log
        if fault.error == "ENOSPC":
            # It goes on, whatever happens, and stops when it is told to.
            assert "UNKNOWN" not in served.told, served
            assert served.status == 0, served
        elif "UNKNOWN" in served.told:
            assert served.status == 1, served
            assert "the database failed" in served.log
        struck += count(trace, "(INJECTED)")
        check(database, run, served.told, tmp_path)
    print(f"{fault}: {struck} failed calls of {total}")
    assert struck


@pytest.mark.parametrize(
    ("calls", "error", "refusal", "said"),
    [
        ("pwrite64", "ENOSPC", Full, "the disk of"),
        ("pwrite64", "EIO", Unavailable, "whether this was stored is not known"),
        ("fsync,fdatasync", "EIO", Unavailable, "whether this was stored is not known"),
    ],
)
def test_a_one_shot_exits_with_what_became_of_it(
    database: Path,
    tmp_path: Path,
    needs_program: Callable[[str], str],
    calls: str,
    error: str,
    refusal: type[BrokerError],
    said: str,
) -> None:
    with broker.connect(str(database)) as client:
        client.create_queue("jobs")
        client.send("jobs", b"before")
    prefix = failing(
        needs_program("strace"), calls, error, "1+", files_of(database), tmp_path / "trace"
    )
    done = subprocess.run(
        [*prefix, sys.executable, "-m", "broker.cli", "queue", "send", "jobs", "lost"],
        env=environment(BROKER_URL=str(database)), stdin=subprocess.DEVNULL, capture_output=True,
        timeout=120,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (refusal.exit_status, b""), done.stderr
    assert said in done.stderr.decode()
    assert done.stderr.count(b"\n") == 1
    assert brokerctl("queue", "send", "jobs", "after", url=database).returncode == 0
    with broker.connect(str(database)) as client:
        bodies = [message.body for message in client.pull_many("jobs", 10)]
    # What was refused is not there; what was unknown is there whole or not at all.
    maybe = [b"before", b"lost", b"after"]
    assert bodies == [b"before", b"after"] or (refusal is Unavailable and bodies == maybe)


@pytest.mark.parametrize("place", ["1+", "2+", "3+"])
def test_a_server_that_cannot_write_does_not_start(
    database: Path, tmp_path: Path, needs_program: Callable[[str], str], place: str
) -> None:
    Store(database).database.close()
    prefix = failing(
        needs_program("strace"), "pwrite64,fsync,fdatasync", "EIO", place, files_of(database),
        tmp_path / "trace",
    )  # fmt: skip
    done = subprocess.run(
        [*prefix, sys.executable, "-m", "broker.cli", "serve", "--database", str(database),
         "--no-listen"],
        env=environment(), stdin=subprocess.DEVNULL, capture_output=True, timeout=120,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (Unavailable.exit_status, b""), done.stderr
    assert "the database failed" in done.stderr.decode().splitlines()[-1]
    with broker.connect(str(database)) as client:
        client.create_queue("jobs")


@pytest.mark.parametrize("suffix", ["", "-wal", "-shm", ".lock"])
@pytest.mark.parametrize("what", ["a one-shot", "its first one-shot", "a server"])
def test_a_disk_without_room_for_another_file_refuses_what_opens_the_database(
    database: Path, tmp_path: Path, needs_program: Callable[[str], str], suffix: str, what: str
) -> None:
    bodies = [b"after"]
    if what != "its first one-shot":
        with broker.connect(str(database)) as client:
            client.create_queue("jobs")
            client.send("jobs", b"before")
        # As after a crash or a restore: none of the files beside it is there.
        for path in database.parent.glob(f"{database.name}?*"):
            path.unlink()
        bodies = [b"before", b"after"]
    words = ["queue", "create", "lost", "--url", str(database)]
    if what == "a server":
        words = ["serve", "--database", str(database), "--no-listen"]
    trace = tmp_path / "trace"
    file = Path(f"{database}{suffix}")
    prefix = failing(needs_program("strace"), "openat", "ENOSPC", "1+", (file,), trace)
    done = subprocess.run(
        [*prefix, sys.executable, "-m", "broker.cli", *words],
        env=environment(), stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert count(trace, "(INJECTED)")
    assert done.returncode in (Full.exit_status, Unavailable.exit_status), done.stderr
    assert done.stdout == ""
    said = done.stderr.splitlines()[-1]
    assert str(database) in said
    assert "Traceback" not in done.stderr
    # With room again all is as it was, and goes on.
    with broker.connect(str(database)) as client:
        client.create_queue("jobs", if_missing=True)
        client.send("jobs", b"after")
        assert [queue.name for queue in client.list_queues()] == ["jobs"]
        assert [message.body for message in client.pull_many("jobs", 9)] == bodies


#: A send of more pages than the first part of the log's index has room for, and a crash:
#: before the broker has let go of the file, or after.
LARGE_SEND = """
import os, sys
from broker.commands.queue import QueueCreate, QueueSend
from broker.errors import BrokerError
from broker.service.embedded import EmbeddedBroker
from broker.store.database import Database
embedded = EmbeddedBroker(sys.argv[1], act_as=None, timeout_s=5, max_message_bytes=1 << 26)
embedded.execute(QueueCreate("jobs"))
if sys.argv[2] == "before":
    Database.abandon = lambda self: os._exit(0)
try:
    embedded.execute(QueueSend("jobs", bytes(20_000_000)))
except BrokerError as refusal:
    print(refusal.message, flush=True)
os._exit(0)
"""


@pytest.mark.parametrize("crash", ["before", "after"])
def test_a_commit_that_the_index_of_the_log_has_no_room_for_is_unknown(
    database: Path, tmp_path: Path, needs_program: Callable[[str], str], crash: str
) -> None:
    """It is in the log by then, synced, so it may be there after a crash."""
    trace = tmp_path / "trace"
    index = Path(f"{database}-shm")
    # The first 32 KiB, a page at a time, are made as the database is opened.
    prefix = failing(needs_program("strace"), "pwrite64", "ENOSPC", "9+", (index,), trace)
    done = subprocess.run(
        [*prefix, sys.executable, "-c", LARGE_SEND, str(database), crash],
        env=environment(), capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert count(trace, "(INJECTED)")
    with broker.connect(str(database)) as client:
        ready = client.show_queue("jobs").ready
    if crash == "before":
        assert (ready, done.stdout) == (1, "")
    else:
        assert "whether this was stored is not known" in done.stdout
