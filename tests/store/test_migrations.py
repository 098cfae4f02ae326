"""Alembic at the root of the checkout, and upgrades that are killed at any moment."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from stores import Store, schema_of
from support import environment

from broker.commands.queue import QueueCreate, QueueSend, QueueShow
from broker.errors import Invalid
from broker.store import schema
from broker.store.database import Database
from broker.store.owner import OwnerLock
from broker.store.transaction import Limits
from broker.tables import VERSION_TABLE

ROOT = Path(__file__).parents[2]


def alembic(*arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
    """Run ``alembic`` at the root of the checkout."""
    return subprocess.run(
        [sys.executable, "-m", "alembic", *arguments],
        cwd=ROOT, env=environment(**more), capture_output=True, text=True, timeout=120,
    )  # fmt: skip


@contextmanager
def writing(path: Path) -> Iterator[sqlite3.Connection]:
    """Open a database as any other program would, and commit."""
    connection = sqlite3.connect(path)
    with connection:
        yield connection
    connection.close()


def test_alembic_upgrades_an_empty_place_to_what_the_program_makes(tmp_path: Path) -> None:
    by_hand, made = tmp_path / "by hand.db", tmp_path / "made.db"
    done = alembic("upgrade", "head", BROKER_URL=str(by_hand))
    assert done.returncode == 0, done.stderr
    Store(made).database.close()
    assert schema_of(by_hand) == schema_of(made)
    assert by_hand.stat().st_mode & 0o777 == 0o600
    checked = alembic("-x", f"url={by_hand}", "check")
    assert (checked.returncode, checked.stdout) == (0, "No new upgrade operations detected.\n")
    current = alembic("-x", f"url=sqlite:///{by_hand}", "current")
    assert current.stdout == f"{schema.HEAD} (head)\n"
    store = Store(by_hand)
    store.run(QueueCreate("q"))
    assert isinstance(store.run(QueueSend("q", b"works")), int)
    store.database.close()


def test_an_upgrade_by_hand_leaves_a_database_in_use_alone(tmp_path: Path) -> None:
    lock = OwnerLock(str(tmp_path / "broker.db"))
    assert lock.acquire(0) is None
    try:
        other = subprocess.run(
            [sys.executable, "-c",
             "from broker.store import schema; import sys\n"
             "with schema.opened_by_hand(sys.argv[1], 0.1): pass", str(tmp_path / "broker.db")],
            capture_output=True, text=True, timeout=60,
        )  # fmt: skip
    finally:
        lock.release()
        lock.close()
    assert other.returncode == 1
    assert "Unavailable" in other.stderr
    assert not (tmp_path / "broker.db").exists()


@pytest.mark.parametrize(
    ("url", "said"),
    [("broker://localhost", "is no database"), ("/nowhere/at/all/x.db", "/nowhere/at/all")],
)
def test_alembic_says_where_no_database_can_be(url: str, said: str) -> None:
    done = alembic("upgrade", "head", BROKER_URL=url)
    assert done.returncode == 1
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_alembic_has_no_offline_mode(tmp_path: Path) -> None:
    done = alembic("upgrade", "head", "--sql", BROKER_URL=str(tmp_path / "x.db"))
    assert done.returncode == 1
    assert "no offline mode" in done.stderr


def test_the_history_is_one_line() -> None:
    from alembic.script import ScriptDirectory

    scripts = ScriptDirectory.from_config(schema.config())
    walked = list(scripts.walk_revisions())
    assert len(scripts.get_bases()) == len(scripts.get_heads()) == 1
    assert not any(script.is_branch_point or script.is_merge_point for script in walked)
    assert [script.revision for script in walked] == sorted(
        (script.revision for script in walked), reverse=True
    )


#: Kills itself at the nth statement of what opening a database runs.
KILLED_WHILE_OPENING = """
import os, signal, sys
import sqlite3
from broker.store import dialect
from broker.store.database import Database
from broker.store.transaction import Limits

left = int(sys.argv[2])
connect = dialect.SQLiteDialect.connect

def counted(self):
    connection = connect(self)
    def tick(statement):
        global left
        left -= 1
        if left < 0:
            os.kill(os.getpid(), signal.SIGKILL)
    connection.set_trace_callback(tick)
    return connection

dialect.SQLiteDialect.connect = counted
database = Database(sys.argv[1], Limits(10))
database.open(create=True)
database.close()
"""


@pytest.mark.parametrize("statement", [0, 1, 2, 5, 10, 20, 25])
def test_a_creation_killed_at_any_statement_is_repeated(tmp_path: Path, statement: int) -> None:
    path = tmp_path / "broker.db"
    done = subprocess.run(
        [sys.executable, "-c", KILLED_WHILE_OPENING, str(path), str(statement)], timeout=60
    )
    assert done.returncode == -signal.SIGKILL
    store = Store(path)
    store.run(QueueCreate("q"))
    assert store.run(QueueShow("q")).ready == 0
    store.database.close()
    made = tmp_path / "made.db"
    Store(made).database.close()
    assert schema_of(path) == schema_of(made)


def opened(path: Path) -> None:
    """Open and close a database as the program does."""
    database = Database(str(path), Limits(10))
    database.open(create=True)
    database.close()


def test_the_database_of_another_program_is_left_byte_for_byte(tmp_path: Path) -> None:
    path = tmp_path / "songs.db"
    with writing(path) as connection:
        connection.execute("CREATE TABLE songs (title)")
    before = path.read_bytes()
    with pytest.raises(Invalid, match="another program"):
        opened(path)
    assert path.read_bytes() == before
    assert sorted(os.listdir(tmp_path)) == ["songs.db"]


def test_a_copy_that_is_not_in_wal_mode_is_put_into_it(tmp_path: Path) -> None:
    path, copy = tmp_path / "broker.db", tmp_path / "copy.db"
    store = Store(path)
    store.run(QueueCreate("q"))
    store.database.close()
    with writing(path) as connection:
        connection.execute("PRAGMA journal_mode=DELETE")
    path.rename(copy)
    opened(copy)
    with writing(copy) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        assert connection.execute("SELECT name FROM broker_queues").fetchall() == [("q",)]


def test_a_database_that_names_no_revision_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "broker.db"
    Store(path).database.close()
    with writing(path) as connection:
        connection.execute(f"DELETE FROM {VERSION_TABLE}")
    with pytest.raises(Invalid, match="no revision"):
        opened(path)
