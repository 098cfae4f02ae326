"""Databases of every earlier revision, upgraded by this program; make.py has made them."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from stores import Store, schema_of
from support import brokerctl, environment, running_server

import broker
from broker.models import Base
from broker.service import files
from broker.store import schema
from broker.tables import VERSION_TABLE

HERE = Path(__file__).parent
REVISIONS = sorted(path.stem for path in HERE.glob("*.sql"))
OLDER = [revision for revision in REVISIONS if revision != schema.HEAD]

#: A delivery: its queue, its message's body.
Deliveries = Counter[tuple[str, bytes]]


def make(path: Path, revision: str) -> Path:
    """Make the database that a program of a revision has left."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA auto_vacuum=INCREMENTAL")
        connection.execute("PRAGMA journal_mode=WAL").fetchone()
        connection.executescript((HERE / f"{revision}.sql").read_text())
    path.chmod(0o600)
    return path


def tables_of(path: Path) -> dict[str, list[dict[str, Any]]]:
    """Return all rows of the broker's tables, by the names of their columns."""
    with closing(sqlite3.connect(path)) as connection:
        connection.row_factory = sqlite3.Row
        names = [
            name
            for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
        ]
        return {
            name: [dict(row) for row in connection.execute(f"SELECT * FROM {name} ORDER BY rowid")]
            for name in names
        }


def held(path: Path) -> Deliveries:
    """Return what a database holds, in whatever state, as its tables say."""
    tables = tables_of(path)
    queues = {row["id"]: row["name"] for row in tables["broker_queues"]}
    bodies = {row["id"]: row["body"] for row in tables["broker_messages"]}
    rows = tables["broker_deliveries"] + tables.get("broker_dead_deliveries", [])
    return Counter(
        (queues[row["queue_id"]], bodies[row["message_id"]])
        for row in rows
        if row["queue_id"] in queues
    )


def delivered(path: Path) -> Deliveries:
    """Have everything delivered, whatever it waits for, and return what that was."""
    got: Deliveries = Counter()
    queues = [row["name"] for row in tables_of(path)["broker_queues"]]
    with broker.connect(str(path)) as client:
        for queue in queues:
            client.resume(queue)
            client.set_queue(queue, {"dead_letter": ""})
            client.retry_dead(queue)
            for state in ("delayed", "leased"):
                for found in client.peek(queue, 1000, state=state):
                    client.release_message(queue, found.id)
            for message in client.pull_many(queue, 1000, no_ack=True):
                got[queue, message.body] += 1
        assert client.check().problems == ()
    return got


def test_there_is_one_of_every_revision_and_it_has_rows_in_every_table(tmp_path: Path) -> None:
    assert set(REVISIONS) == schema.known_revisions()
    tables = tables_of(make(tmp_path / "newest.db", REVISIONS[-1]))
    assert tables.keys() == {*Base.metadata.tables, VERSION_TABLE}
    assert all(tables.values())
    for revision in REVISIONS:
        rows = tables_of(make(tmp_path / f"{revision}.db", revision))
        assert all(rows.values()), revision
        states = {
            (row["due_at"] is not None, row["leased_by"] is not None)
            for row in rows["broker_deliveries"]
        }
        assert states == {(False, False), (True, False), (True, True)}


@pytest.mark.parametrize("revision", REVISIONS)
def test_everything_is_delivered(tmp_path: Path, revision: str) -> None:
    path = make(tmp_path / "broker.db", revision)
    waiting = held(path)
    assert waiting.total() > 15
    assert delivered(path) == waiting


@pytest.mark.parametrize("revision", REVISIONS)
def test_a_server_delivers_it_too(tmp_path: Path, revision: str) -> None:
    path = make(tmp_path / "broker.db", revision)
    waiting = held(path)
    with running_server(path) as server:
        url = f"broker://alice@127.0.0.1:{server.port}"
        with broker.connect(url, password="correct horse") as alice:
            assert alice.whoami().name == "alice"
            # Sent with a key that a program of that revision has remembered.
            assert alice.send("jobs", b"again", key="once").duplicate
        assert delivered(path) == waiting


@pytest.mark.parametrize("revision", OLDER)
def test_an_upgrade_keeps_every_row_and_leaves_a_back_up(tmp_path: Path, revision: str) -> None:
    path = make(tmp_path / "broker.db", revision)
    before = tables_of(path)
    assert brokerctl("db", "upgrade", url=path).stdout.decode().strip() == schema.HEAD
    after = tables_of(path)
    for table, rows in before.items():
        if table != VERSION_TABLE:
            kept = [{name: row[name] for name in rows[0]} for row in after[table]]
            assert kept == rows, table
    copy = tmp_path / f"broker.db.{revision}.bak"
    assert tables_of(copy) == before
    assert copy.stat().st_mode & 0o777 == 0o600
    made = tmp_path / "made.db"
    Store(made).database.close()
    assert schema_of(path) == schema_of(made)
    # The back-up leads to the same once more.
    broker.restore(str(copy), str(tmp_path / "restored.db"))
    assert tables_of(tmp_path / "restored.db") == after


@pytest.mark.parametrize("revision", OLDER)
def test_an_older_database_is_backed_up_checked_and_exported_as_it_is(
    tmp_path: Path, revision: str
) -> None:
    path = make(tmp_path / "broker.db", revision)
    before, waiting = tables_of(path), held(path)
    contents = files.back_up(str(path), str(tmp_path / "copy.db"))
    assert contents.revision == revision
    assert files.check(str(path)).problems == ()
    exported = brokerctl("export", str(tmp_path / "all.jsonl"), url=path)
    assert exported.returncode == 0, exported.stderr
    assert tables_of(path) == before
    assert tables_of(tmp_path / "copy.db") == before
    target = tmp_path / "target.db"
    assert brokerctl("import", str(tmp_path / "all.jsonl"), url=target).returncode == 0
    assert delivered(target) == waiting


#: Upgrades copies of a database, each in a child that kills itself at another
#: statement, until one gets through; prints how many were killed.
KILLED = """
import os, shutil, signal, sys
from broker.store import dialect
from broker.store.database import Database
from broker.store.transaction import Limits

source, folder = sys.argv[1:]
connect = dialect.SQLiteDialect.connect

def upgraded(path, statements):
    left = statements

    def counted(self):
        connection = connect(self)

        def tick(statement):
            nonlocal left
            left -= 1
            if left < 0:
                os.kill(os.getpid(), signal.SIGKILL)

        connection.set_trace_callback(tick)
        return connection

    dialect.SQLiteDialect.connect = counted
    database = Database(path, Limits(10))
    database.open(create=False)
    database.close()

# Once before the children, so that they need not import what it takes.
shutil.copy(source, f"{folder}/whole.db")
upgraded(f"{folder}/whole.db", 1_000_000)
statements = 0
while True:
    path = f"{folder}/{statements}.db"
    shutil.copy(source, path)
    child = os.fork()
    if not child:
        upgraded(path, statements)
        os._exit(0)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if status == 0:
        break
    assert status == -signal.SIGKILL, status
    statements += 1
print(statements)
"""


@pytest.mark.parametrize("revision", OLDER)
def test_an_upgrade_killed_at_any_statement_is_repeated(tmp_path: Path, revision: str) -> None:
    source = make(tmp_path / "source.db", revision)
    before, waiting = tables_of(source), held(source)
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(source), str(tmp_path)],
        env=environment(), capture_output=True, text=True, timeout=600,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    whole, killed = tables_of(tmp_path / "whole.db"), int(done.stdout)
    # It was in the middle of it: there are that many statements between two revisions.
    assert killed > 50
    both = 0
    for number in range(killed):
        path = tmp_path / f"{number}.db"
        # SQLite's own recovery: all of the upgrade or nothing of it.
        left = tables_of(path)
        assert left in (before, whole), number
        both |= 1 if left == before else 2
        schema.upgrade_file(str(path), 10)
        assert tables_of(path) == whole, number
        assert tables_of(tmp_path / f"{number}.db.{revision}.bak") == before, number
    assert both == 3
    assert delivered(tmp_path / "0.db") == waiting


def test_a_newer_revision_is_refused_byte_for_byte(tmp_path: Path) -> None:
    path = make(tmp_path / "broker.db", schema.HEAD)
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(f"UPDATE {VERSION_TABLE} SET version_num = '9999'")
    before = path.read_bytes()
    for words in (
        ("queue", "list"), ("queue", "send", "jobs", "x"), ("db", "upgrade"),
        ("serve", "--no-listen"), ("import",), ("export",), ("db", "check"),
    ):  # fmt: skip
        more = ("--database", str(path)) if words[0] == "serve" else ()
        done = brokerctl(*words, *more, url=path, stdin=b"")
        assert done.returncode == 2, (words, done.stderr)
    assert path.read_bytes() == before
    assert sorted(os.listdir(tmp_path)) == ["broker.db", "broker.db.lock"]
