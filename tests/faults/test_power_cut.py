"""The power is cut: whatever of the unsynced writes lasts, what was answered is there."""

from __future__ import annotations

import os
import random
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path

import alembic.command
import pytest
from faults.disk import Answer, Event, Sync
from faults.rebuilding import Lost, cut_all, holds
from faults.serving import checkpointing, receipts_of
from faults.tracing import events, recording
from faults.workload import Fingerprint, Step, fingerprints, steps, windows
from support import ServerProcess, environment, running_server
from wire import Wire

from broker.commands.grammar import words_of
from broker.commands.queue import QueueCreate
from broker.commands.table import syntax_of
from broker.errors import BrokerError
from broker.protocols.resp.replies import NOT_READY, ReplyParser
from broker.store import schema
from broker.tables import VERSION_TABLE

#: How many states of the disk each run is rebuilt in, and steps it has; more by hand.
STATES = int(os.environ.get("BROKER_TEST_STATES", "200"))
STEPS = int(os.environ.get("BROKER_TEST_STEPS", "60"))
#: Pages of log that bring a checkpoint: few, so that there are many.
PAGES = int(os.environ.get("BROKER_TEST_PAGES", "40"))
HERE = Path(__file__).parent


@pytest.fixture
def seed() -> int:
    """Return the seed of all that chance decides, printed to be given again."""
    chosen = int(os.environ.get("BROKER_TEST_SEED", str(random.randrange(2**32))))
    print(f"BROKER_TEST_SEED={chosen}")
    return chosen


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Return the folder that is on the simulated disk."""
    folder = tmp_path / "disk"
    folder.mkdir()
    return folder


@pytest.fixture
def scratch(tmp_path: Path) -> Iterator[Path]:
    """Return a folder for what is rebuilt: in memory where that is to be had, for its syncs."""
    memory = Path("/dev/shm")
    parent = memory if os.access(memory, os.W_OK) else tmp_path
    with tempfile.TemporaryDirectory(dir=parent) as folder:
        yield Path(folder)


def run_embedded(strace: str, root: Path, seed: int) -> list[Event]:
    """Run a workload embedded, and return what it did to its folder."""
    trace, marks = root.parent / "trace", root.parent / "marks"
    done = subprocess.run(
        [*recording(strace, trace), sys.executable, str(HERE / "embedded.py"),
         str(root / "broker.db"), str(marks), str(seed), str(STEPS), str(PAGES)],
        env=environment(PYTHONPATH=str(HERE.parent)), capture_output=True, timeout=600,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr.decode()

    def answered(path: str, written: bytes) -> int | None:
        return int(written.split()[0]) if path == str(marks) and written[:1].isdigit() else None

    return list(events(trace, root, answered))


def run_server(strace: str, root: Path, run: list[list[Step]]) -> list[Event]:
    """Run a workload on a server's socket, and return what the server did to its folder."""
    trace = root.parent / "trace"
    #: After how many replies how many steps were done: those that have no command are, too.
    steps_done = [0]
    with running_server(
        root / "broker.db",
        prefix=recording(strace, trace),
        PYTHONPATH=checkpointing(root.parent, PAGES),
    ) as server:
        connection = socket.socket(socket.AF_UNIX)
        connection.settimeout(60)
        connection.connect(server.socket)
        wire = Wire(connection)
        held: deque[str] = deque()
        number = 0
        for window in run:
            sent = 0
            for step in window:
                number += 1
                command = step.command_with(held)
                if command is None:
                    steps_done[-1] = number
                    continue
                wire.send(*words_of(syntax_of(type(command)), command))
                steps_done.append(number)
                sent += 1
            for _ in range(sent):
                reply = wire.read()
                assert not isinstance(reply, BrokerError), reply
                held.extend(receipts_of(reply))
        wire.close()
        assert server.stop() == 0
    return list(events(trace, root, replies_counted(steps_done)))


def replies_counted(steps_done: list[int]) -> Callable[[str, bytes], int | None]:
    """Return what counts the replies that left by a socket, and the steps done with them."""
    parsers: dict[str, ReplyParser] = {}
    replies = 0

    def answered(path: str, written: bytes) -> int | None:
        nonlocal replies
        if not path.startswith("socket:"):
            return None
        parser = parsers.setdefault(path, ReplyParser())
        parser.feed(written)
        before = replies
        while parser.next() is not NOT_READY:
            replies += 1
        return steps_done[replies] if replies > before else None

    return answered


def window_ends(run: list[list[Step]]) -> list[int]:
    """Return, for each number of steps answered, how many may be under way."""
    ends: list[int] = []
    for window in run:
        ends += [len(window) - n for n in range(len(window))]
    return [*ends, 0]


def test_what_an_embedded_client_was_answered_survives_any_power_cut(
    root: Path, scratch: Path, seed: int, needs_program: Callable[[str], str]
) -> None:
    happened = run_embedded(needs_program("strace"), root, seed)
    model = fingerprints(scratch, [[step] for step in steps(seed, STEPS)])
    assert sum(isinstance(event, Answer) for event in happened) == STEPS
    check = holds("broker.db", model, lambda answered: 1)
    found = cut_all(root, happened, scratch, check, seed=seed, states=STATES)
    print(found)
    assert found.states >= STATES / 2


def test_what_a_server_has_answered_survives_any_power_cut(
    root: Path, scratch: Path, seed: int, needs_program: Callable[[str], str]
) -> None:
    """Its commits are of several commands at a time."""
    run = windows(steps(seed, 2 * STEPS), seed, 8)
    happened = run_server(needs_program("strace"), root, run)
    model = fingerprints(scratch, run)
    last = [event for event in happened if isinstance(event, Answer)][-1]
    assert last.steps == 2 * STEPS
    under_way = window_ends(run)
    check = holds("broker.db", model, lambda answered: under_way[answered])
    found = cut_all(root, happened, scratch, check, seed=seed, states=STATES)
    print(found)
    assert found.states >= STATES / 2


@pytest.mark.parametrize("forgotten", ["the log", "the folder"])
def test_a_sync_left_out_is_found(
    root: Path, scratch: Path, seed: int, needs_program: Callable[[str], str], forgotten: str
) -> None:
    """The proof can fail: of a run without some of its syncs, something is lost."""
    happened = run_embedded(needs_program("strace"), root, seed)
    model = fingerprints(scratch, [[step] for step in steps(seed, STEPS)])
    path = {"the log": f"{root}/broker.db-wal", "the folder": str(root)}[forgotten]
    without = [event for event in happened if event != Sync(path)]
    assert len(without) < len(happened)
    check = holds("broker.db", model, lambda answered: 1)
    with pytest.raises(Lost):
        cut_all(root, without, scratch, check, seed=seed, states=STATES)


@pytest.mark.parametrize("command", ["queue create", "serve"])
def test_a_folder_made_for_the_database_survives_with_it(
    root: Path, scratch: Path, needs_program: Callable[[str], str], command: str
) -> None:
    trace = root.parent / "trace"
    prefix = recording(needs_program("strace"), trace)
    words = {"queue create": ["queue", "create", "jobs"], "serve": ["serve", "--no-listen"]}
    with subprocess.Popen(
        [*prefix, sys.executable, "-m", "broker.cli", *words[command]],
        env=environment(XDG_DATA_HOME=str(root / "data")), stdout=subprocess.PIPE,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        assert process.stdout.readline()
        if command == "serve":
            os.kill(ServerProcess(process, [], process.stdout).pid, signal.SIGTERM)
        process.wait(60)

    def answered(path: str, written: bytes) -> int | None:
        return 1 if path.startswith("pipe:") and written.startswith((b"jobs", b"list")) else None

    def check(folder: Path, answered: int) -> None:
        path = folder / "data" / "broker" / "broker.db"
        if answered and not path.exists():
            raise Lost("the database is gone with its folder")

    happened = list(events(trace, root, answered))
    assert sum(isinstance(event, Answer) for event in happened) == 1
    cut_all(root, happened, scratch, check, seed=0, states=50)


def test_an_upgrade_survives_any_power_cut(
    root: Path, scratch: Path, seed: int, needs_program: Callable[[str], str]
) -> None:
    path = root / "broker.db"
    model = first_revision(path, scratch, seed)
    files = {str(path): path.read_bytes()}
    trace = root.parent / "trace"
    done = subprocess.run(
        [*recording(needs_program("strace"), trace), sys.executable, "-m", "broker.cli",
         "db", "upgrade"],
        env=environment(BROKER_URL=str(path)), capture_output=True, timeout=600,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr.decode()
    happened = list(events(trace, root, lambda path, written: None, files))
    is_whole = holds("broker.db", [model], lambda answered: 0)

    def check(folder: Path, answered: int) -> None:
        is_whole(folder, answered)
        backup = sqlite3.connect(folder / "broker.db.0001.bak")
        try:
            assert backup.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
            assert backup.execute(f"SELECT version_num FROM {VERSION_TABLE}").fetchall() == [
                ("0001",)
            ]
            count = backup.execute("SELECT count(*) FROM broker_deliveries").fetchone()
            assert count == (sum(len(row) == 6 for row in model),)
        finally:
            backup.close()

    # Most states are upgraded again as they are opened, which takes a while.
    found = cut_all(root, happened, scratch, check, seed=seed, states=STATES // 8, files=files)
    print(found)
    assert found.states >= STATES / 16


def first_revision(path: Path, scratch: Path, seed: int) -> Fingerprint:
    """Make a database of the first revision, and return what it is to hold when upgraded."""
    kept = [step for step in steps(seed, STEPS) if step.kind != "die"]
    plain = [
        step._replace(command=QueueCreate(step.command.name))
        if isinstance(step.command, QueueCreate)
        else step
        for step in kept
    ]
    *_, model = fingerprints(scratch, [[step] for step in plain])
    with schema.opened_by_hand(str(path)) as connection:
        configuration = schema.config()
        configuration.attributes["connection"] = connection
        alembic.command.upgrade(configuration, "0001")
    old = sqlite3.connect(path)
    old.execute("ATTACH ? AS model", (str(scratch / "model.db"),))
    tables = [
        name for (name,) in old.execute("SELECT name FROM main.sqlite_master WHERE type = 'table'")
    ]
    with old:
        for table in tables:
            if table != VERSION_TABLE:
                columns = [row[1] for row in old.execute(f"PRAGMA main.table_info({table})")]
                listed = ", ".join(columns)
                old.execute(f"DELETE FROM main.{table}")
                old.execute(
                    f"INSERT INTO main.{table} ({listed}) SELECT {listed} FROM model.{table}"
                )
    old.close()
    return model
