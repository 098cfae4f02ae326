"""Back-ups of databases in use, what is made of them, and the check of a database."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from support import brokerctl, environment, running_server, wait_until

import broker
from broker.store import schema

BODIES = [os.urandom(1000) for _ in range(200)]


def fill(database: Path, batches: int = 1) -> None:
    """Put ready messages into a queue: 200 a batch, of 1000 bytes."""
    with broker.connect(str(database)) as client:
        client.create_queue("jobs", if_missing=True)
        for _ in range(batches):
            client.send_many("jobs", BODIES)


def drained(database: Path) -> list[bytes]:
    """Return what is delivered from the queue, in order."""
    bodies: list[bytes] = []
    with broker.connect(str(database)) as client:
        while messages := client.pull_many("jobs", 1000, no_ack=True):
            bodies += [message.body for message in messages]
    return bodies


def only_file(folder: Path, name: str) -> bool:
    """Return whether nothing else of a back-up's name lies there."""
    return [path.name for path in folder.iterdir() if path.name.startswith(name)] == [name]


def test_a_back_up_restores_to_what_was_there(tmp_path: Path) -> None:
    database, copy, restored = (tmp_path / n for n in ("broker.db", "copy.db", "restored.db"))
    fill(database)
    made = brokerctl("backup", str(copy), "--json", url=database)
    assert (made.returncode, made.stderr) == (0, b"")
    contents = json.loads(made.stdout)
    assert contents["file"] == str(copy)
    assert (contents["queues"], contents["messages"], contents["ready"]) == (1, 200, 200)
    assert contents["bytes"] == copy.stat().st_size
    assert copy.stat().st_mode & 0o777 == 0o600
    assert only_file(tmp_path, "copy.db")
    done = brokerctl("restore", str(copy), str(restored), "--json")
    assert done.returncode == 0
    assert json.loads(done.stdout) == {**contents, "file": str(restored)}
    assert restored.stat().st_mode & 0o777 == 0o600
    assert drained(restored) == BODIES
    # A back-up is not changed by what is made of it.
    assert only_file(tmp_path, "copy.db")


def test_a_back_up_under_load_is_of_one_moment_and_holds_nobody_up(tmp_path: Path) -> None:
    database, copy = tmp_path / "broker.db", tmp_path / "copy.db"
    fill(database, 40)
    stopped = threading.Event()
    sent = 0

    def send() -> None:
        nonlocal sent
        with broker.connect(f"broker+unix://{server.socket}") as client:
            while not stopped.is_set():
                # Two queues in one transaction: a copy has both or neither.
                with client.transaction() as transaction:
                    transaction.send("left", b"x")
                    transaction.send("right", b"x")
                sent += 1

    def after_step(done: int, total: int) -> None:
        """Hold the copy up, in its read transaction, until others have been answered."""
        before = sent
        wait_until(lambda: sent >= before + 5, "sends are answered during the back-up")

    with running_server(database) as server, broker.connect(str(database)) as client:
        client.create_queue("left")
        client.create_queue("right")
        sender = threading.Thread(target=send)
        sender.start()
        try:
            wait_until(lambda: sent > 10, "the load begins")
            client.backup(str(copy), progress=after_step)
            during = sent
        finally:
            stopped.set()
            sender.join()
    assert during > 15
    restored = tmp_path / "restored.db"
    broker.restore(str(copy), str(restored))
    with broker.connect(str(restored)) as client:
        left, right = client.show_queue("left").ready, client.show_queue("right").ready
        assert left == right
        assert 10 < left < sent
        assert client.check().problems == ()


def test_embedded_commands_go_on_during_a_back_up(tmp_path: Path) -> None:
    database = tmp_path / "broker.db"
    fill(database, 10)
    sent: list[bytes] = []

    def after_step(done: int, total: int) -> None:
        done_ = brokerctl("queue", "send", "jobs", "meanwhile", "--timeout", "20s", url=database)
        assert done_.returncode == 0, done_.stderr
        sent.append(done_.stdout)

    with broker.connect(str(database)) as client:
        contents = client.backup(str(tmp_path / "copy.db"), progress=after_step)
    assert sent
    assert contents.ready == 2000
    assert len(drained(database)) == 2000 + len(sent)


def test_an_existing_file_is_not_replaced_unless_told(tmp_path: Path) -> None:
    database, copy = tmp_path / "broker.db", tmp_path / "copy.db"
    fill(database)
    copy.write_bytes(b"precious")
    refused = brokerctl("backup", str(copy), url=database)
    assert refused.returncode == 5
    assert b"exists already" in refused.stderr
    assert copy.read_bytes() == b"precious"
    assert brokerctl("backup", str(copy), "--force", url=database).returncode == 0
    assert brokerctl("db", "check", url=copy).returncode == 0


def test_places_where_no_back_up_can_be_are_refused(tmp_path: Path) -> None:
    database, copy = tmp_path / "broker.db", tmp_path / "copy.db"
    fill(database)
    itself = brokerctl("backup", str(database), "--force", url=database)
    assert itself.returncode == 2
    assert b"the database itself" in itself.stderr
    assert brokerctl("backup", str(tmp_path / "no" / "copy"), url=database).returncode == 4
    assert brokerctl("backup", str(tmp_path), "--force", url=database).returncode == 2
    assert brokerctl("backup", str(copy), url=tmp_path / "none.db").returncode == 4
    assert brokerctl("backup", str(copy), url="broker://localhost").returncode == 2
    # A log that lies there would be played into the copy.
    (tmp_path / "copy.db-wal").touch()
    used = brokerctl("backup", str(copy), "--force", url=database)
    assert used.returncode == 7
    assert b"in use" in used.stderr
    with running_server(database) as server:
        client = broker.connect(f"broker+unix://{server.socket}")
        with client, pytest.raises(broker.Unavailable, match="path"):
            client.backup(str(copy))
    assert sorted(path.name for path in tmp_path.glob("copy*")) == ["copy.db-wal"]


#: Kills itself in the middle of a back-up.
KILLED = """
import os, signal, sys
import broker

def after_step(done, total):
    if done * 2 > total:
        os.kill(os.getpid(), signal.SIGKILL)

broker.connect(sys.argv[1]).backup(sys.argv[2], progress=after_step)
"""


def test_a_killed_back_up_leaves_nothing_under_its_name_and_is_repeated(tmp_path: Path) -> None:
    database, copy = tmp_path / "broker.db", tmp_path / "copy.db"
    fill(database, 60)
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(database), str(copy)], env=environment(), timeout=60
    )
    assert done.returncode == -signal.SIGKILL
    assert [path.name for path in tmp_path.glob("copy*")] == ["copy.db.partial"]
    assert brokerctl("backup", str(copy), url=database).returncode == 0
    assert only_file(tmp_path, "copy.db")
    assert brokerctl("db", "check", url=copy).returncode == 0


@pytest.mark.parametrize(
    ("call", "error", "status"),
    [
        ("pwrite64", "ENOSPC", 8),
        ("pwrite64", "EIO", 7),
        ("fsync", "EIO", 7),
    ],
)
def test_a_disk_that_fails_leaves_no_back_up(
    tmp_path: Path, needs_program: Callable[[str], str], call: str, error: str, status: int
) -> None:
    strace = needs_program("strace")
    database, copy = tmp_path / "broker.db", tmp_path / "copy.db"
    fill(database, 10)
    done = subprocess.run(
        [
            strace, "-f", "-o", "/dev/null", "-P", f"{copy}.partial", "-e", f"trace={call}",
            "-e", f"inject={call}:error={error}:when=1+",
            sys.executable, "-m", "broker.cli", "backup", str(copy),
        ],
        env=environment(BROKER_URL=str(database)), capture_output=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == status, done.stderr
    assert b"Traceback" not in done.stderr
    assert not list(tmp_path.glob("copy*"))


def damage(database: Path) -> None:
    """Overwrite a page in the middle of a database."""
    with database.open("r+b") as file:
        file.seek(database.stat().st_size // 2 // 4096 * 4096)
        file.write(b"\xff" * 4096)


def test_a_damaged_database_yields_no_back_up(tmp_path: Path) -> None:
    database, copy = tmp_path / "broker.db", tmp_path / "copy.db"
    fill(database, 10)
    damage(database)
    done = brokerctl("backup", str(copy), url=database)
    assert done.returncode == 1
    assert b"damaged" in done.stderr
    assert not list(tmp_path.glob("copy*"))
    checked = brokerctl("db", "check", url=database)
    assert checked.returncode == 1
    assert checked.stdout


def test_a_damaged_back_up_is_not_restored(tmp_path: Path) -> None:
    database, copy = tmp_path / "broker.db", tmp_path / "copy.db"
    fill(database, 10)
    assert brokerctl("backup", str(copy), url=database).returncode == 0
    damage(copy)
    for more in ((), ("--dry-run",)):
        done = brokerctl("restore", str(copy), str(tmp_path / "new.db"), *more)
        assert done.returncode == 1
        assert b"damaged" in done.stderr
    assert not (tmp_path / "new.db").exists()


@pytest.mark.parametrize(
    ("statement", "said"),
    [
        ("UPDATE broker_queues SET ready = 7", "queue jobs counts 7 as ready, and there are 200"),
        ("UPDATE broker_queues SET bytes = 1", "queue jobs counts 1 as bytes"),
        ("DELETE FROM broker_messages WHERE id = 5", "delivery 5 has no message"),
        ("DELETE FROM broker_deliveries WHERE id = 5", "message 5 has no delivery"),
        ("UPDATE broker_deliveries SET queue_id = 99 WHERE id = 5", "delivery 5 is in no queue"),
        ("UPDATE broker_queues SET owner_id = 99", "refers to no row of broker_users"),
        ("UPDATE broker_queues SET is_limited = 1", "queue jobs is marked as limited wrongly"),
        ("UPDATE broker_sequences SET value = 1", "is beyond the last that was given out"),
        ("UPDATE broker_channels SET subscriptions = 9", "channel news counts other"),
        ("UPDATE broker_publications SET remaining = 9", "counts other copies"),
        ("DELETE FROM broker_publications", "have no publication"),
        ("DELETE FROM broker_subscriptions", "is of a channel, but of no subscription"),
    ],
)
def test_a_check_finds_what_is_wrong(tmp_path: Path, statement: str, said: str) -> None:
    database = tmp_path / "broker.db"
    fill(database)
    with broker.connect(str(database)) as client:
        client.create_channel("news")
        client.subscribe("news")
        client.publish("news", b"both")
        assert client.check().problems == ()
    connection = sqlite3.connect(database)
    with connection:
        connection.execute(statement)
    connection.close()
    before = database.read_bytes()
    done = brokerctl("db", "check", url=database)
    assert done.returncode == 1
    assert said in done.stdout.decode()
    assert b"problems" in done.stderr
    assert database.read_bytes() == before


def test_a_dry_run_says_what_would_be_there_and_makes_nothing(tmp_path: Path) -> None:
    database, copy, new = (tmp_path / name for name in ("broker.db", "copy.db", "new.db"))
    fill(database)
    brokerctl("backup", str(copy), url=database)
    done = brokerctl("restore", str(copy), str(new), "--dry-run", "--json")
    assert done.returncode == 0
    assert json.loads(done.stdout)["ready"] == 200
    assert b"nothing was made" in done.stderr
    assert not list(tmp_path.glob("new*"))


def test_a_restore_never_replaces(tmp_path: Path) -> None:
    database, copy = tmp_path / "broker.db", tmp_path / "copy.db"
    fill(database)
    brokerctl("backup", str(copy), url=database)
    before = database.read_bytes()
    for more in ((), ("--dry-run",)):
        done = brokerctl("restore", str(copy), str(database), *more)
        assert done.returncode == 5
    assert database.read_bytes() == before
    with running_server(database):
        os.rename(database, tmp_path / "moved.db")
        done = brokerctl("restore", str(copy), str(database))
        assert done.returncode == 7
        assert b"owns" in done.stderr
        os.rename(tmp_path / "moved.db", database)


def test_a_back_up_of_a_newer_version_is_left_alone(tmp_path: Path) -> None:
    database = tmp_path / "broker.db"
    fill(database)
    connection = sqlite3.connect(database)
    with connection:
        connection.execute("UPDATE broker_version SET version_num = '9999'")
    connection.close()
    for words in (
        ("backup", str(tmp_path / "copy.db")),
        ("restore", str(database), str(tmp_path / "new.db")),
        ("db", "check"),
    ):
        done = brokerctl(*words, url=database)
        assert done.returncode == 2, words
        assert b"newer version" in done.stderr
    assert schema.HEAD < "9999"


def test_a_read_only_folder_is_no_hindrance_to_restore(tmp_path: Path) -> None:
    database, shelf = tmp_path / "broker.db", tmp_path / "shelf"
    shelf.mkdir()
    fill(database)
    brokerctl("backup", str(shelf / "copy.db"), url=database)
    shelf.chmod(0o500)
    try:
        broker.restore(str(shelf / "copy.db"), str(tmp_path / "new.db"))
    finally:
        shelf.chmod(0o700)
    assert only_file(shelf, "copy.db")
    assert len(drained(tmp_path / "new.db")) == 200


def test_reading_leaves_nothing_beside_a_database_at_rest(tmp_path: Path) -> None:
    database = tmp_path / "broker.db"
    fill(database)
    before = database.read_bytes()
    for words in (("backup", str(tmp_path / "copy.db")), ("db", "check"), ("export",)):
        assert brokerctl(*words, url=database).returncode == 0
        assert sorted(path.name for path in tmp_path.glob("broker*")) == [
            "broker.db",
            "broker.db.lock",
        ]
    assert database.read_bytes() == before


def test_a_log_that_a_killed_process_has_left_is_part_of_the_back_up(tmp_path: Path) -> None:
    database, copy = tmp_path / "broker.db", tmp_path / "copy.db"
    with running_server(database) as server:
        with broker.connect(str(database)) as client:
            client.create_queue("jobs")
            client.send_many("jobs", BODIES)
        server.stop(signal.SIGKILL)
        assert (tmp_path / "broker.db-wal").stat().st_size > 200_000
        assert brokerctl("backup", str(copy), url=database).returncode == 0
        assert drained(copy) == BODIES
        assert drained(database) == BODIES


def test_compacting_does_not_wait_for_a_back_up(tmp_path: Path) -> None:
    database, copy = tmp_path / "broker.db", tmp_path / "copy.db"
    fill(database, 20)
    with running_server(database), broker.connect(str(database)) as client:
        client.purge("jobs")
        given_back: list[int] = []

        def after_step(done: int, total: int) -> None:
            given_back.append(client.compact())

        with broker.connect(str(database)) as other:
            other.backup(str(copy), progress=after_step)
        assert given_back[0] > 3_000_000
        # The copy has kept the log alive; now the file can be cut.
        client.compact()
        assert database.stat().st_size < 1_000_000
    assert brokerctl("db", "check", url=copy).returncode == 0
