"""The schema: fresh and migrated are the same, upgrades keep every row, newer is left alone."""

from __future__ import annotations

import hashlib
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest
from stores import schema_of

from broker.commands.channel import ChannelCreate, ChannelPublish, ChannelPull, ChannelSubscribe
from broker.commands.message import MessageAck
from broker.commands.queue import QueueCreate, QueueList, QueuePull, QueueSend
from broker.commands.request import Principal, Request
from broker.errors import Invalid, NotFound
from broker.store import schema
from broker.store.database import Database
from broker.store.handlers import execute, users
from broker.store.transaction import Limits
from broker.tables import VERSION_TABLE

#: A later revision that rebuilds a table others refer to: SQLite knows no ALTER for it.
NEXT_REVISION = """
import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    with op.batch_alter_table("broker_queues", recreate="always") as batch:
        batch.add_column(sa.Column("color", sa.String(16), nullable=True))
{after}
"""


def statements_of(path: Path) -> dict[str, str]:
    """Return the schema without Alembic's own table."""
    return {name: sql for name, sql in schema_of(path).items() if name != VERSION_TABLE}


def rows_of(path: Path) -> dict[str, list[tuple[object, ...]]]:
    """Return the rows of every table of the broker."""
    connection = sqlite3.connect(path)
    tables = [
        name
        for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
        if name != VERSION_TABLE
    ]
    found = {
        table: sorted(connection.execute(f"SELECT * FROM {table}").fetchall(), key=repr)
        for table in tables
    }
    connection.close()
    return found


def open_database(path: Path, *, create: bool = True) -> Database:
    database = Database(str(path), Limits(1024))
    database.open(create=create)
    return database


def run(database: Database, *commands: object, now: int = 1000) -> list[object]:
    with database.transaction(now) as tx:
        principal = users.principal_of_uid(tx, 7, "somebody")
        return execute(tx, [Request(principal, command) for command in commands])


def fill(path: Path) -> None:
    """Make a database with rows in every table and deliveries in every state."""
    database = open_database(path)
    run(
        database,
        QueueCreate("jobs"),
        ChannelCreate("news"),
        ChannelSubscribe("news"),
        ChannelSubscribe("news", "ci"),
        ChannelPublish("news", b"both"),
        QueueSend("jobs", b"leased", key="k"),
        QueueSend("jobs", b"delayed", delay_ms=50_000),
        QueuePull("jobs"),
        QueueSend("jobs", b"ready", headers={"a": "b"}, content_type="text/plain"),
    )
    database.close()


@pytest.fixture
def next_revision(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Return a function that makes this program one revision newer."""

    def install(after: str = "") -> None:
        scripts = tmp_path / "scripts"
        if not scripts.exists():
            shutil.copytree(Path(str(schema.config().get_main_option("script_location"))), scripts)
        (scripts / "versions" / "0003_next.py").write_text(NEXT_REVISION.format(after=after))
        original = schema.config

        def config() -> object:
            configuration = original()
            configuration.set_main_option("script_location", str(scripts))
            return configuration

        monkeypatch.setattr(schema, "config", config)
        monkeypatch.setattr(schema, "HEAD", "0003")

    return install


def test_migrating_an_empty_file_leads_to_the_models(tmp_path: Path) -> None:
    made, migrated = tmp_path / "made.db", tmp_path / "migrated.db"
    open_database(made).close()
    with schema.opened_by_hand(str(migrated)) as connection:
        configuration = schema.config()
        configuration.attributes["connection"] = connection
        from alembic import command

        command.upgrade(configuration, "head")
    assert statements_of(migrated) == statements_of(made)
    assert rows_of(migrated) == rows_of(made)
    assert open_database(migrated, create=False).is_open


def test_head_is_the_newest_revision() -> None:
    from alembic.script import ScriptDirectory

    scripts = ScriptDirectory.from_config(schema.config())
    assert scripts.get_heads() == [schema.HEAD]


def test_an_upgrade_keeps_every_row(tmp_path: Path, next_revision: Callable[[str], None]) -> None:
    path = tmp_path / "broker.db"
    fill(path)
    before = rows_of(path)
    next_revision("")
    database = open_database(path, create=False)
    after = rows_of(path)
    assert [row[:-1] for row in after.pop("broker_queues")] == before.pop("broker_queues")
    assert after == before
    assert "color" in statements_of(path)["broker_queues"]
    # And all of it is delivered.
    pulled = run(database, QueuePull("jobs", 10), ChannelPull("news"), now=60_000)
    bodies = [message.body for outcome in pulled for message in outcome]  # type: ignore[attr-defined]
    assert sorted(bodies) == [b"both", b"delayed", b"leased", b"ready"]
    database.close()


def test_an_upgrade_leaves_a_whole_copy_of_what_was(
    tmp_path: Path, next_revision: Callable[[str], None]
) -> None:
    path = tmp_path / "broker.db"
    fill(path)
    before = rows_of(path)
    next_revision("")
    open_database(path, create=False).close()
    copy = tmp_path / "broker.db.0002.bak"
    assert rows_of(copy) == before
    assert copy.stat().st_mode & 0o777 == 0o600


def test_an_upgrade_that_fails_half_way_leaves_what_was_and_can_be_repeated(
    tmp_path: Path, next_revision: Callable[[str], None]
) -> None:
    path = tmp_path / "broker.db"
    fill(path)
    before, statements = rows_of(path), statements_of(path)
    next_revision("    raise RuntimeError('the lights went out')")
    with pytest.raises(RuntimeError, match="lights"):
        open_database(path, create=False)
    assert rows_of(path) == before
    assert statements_of(path) == statements
    next_revision("")
    database = open_database(path, create=False)
    assert len(rows_of(path)["broker_deliveries"]) == len(before["broker_deliveries"])
    database.close()


def test_an_upgrade_that_breaks_a_reference_is_undone(
    tmp_path: Path, next_revision: Callable[[str], None]
) -> None:
    path = tmp_path / "broker.db"
    fill(path)
    before = rows_of(path)
    next_revision("    op.execute('DELETE FROM broker_users')")
    with pytest.raises(Invalid, match="broken references"):
        open_database(path, create=False)
    assert rows_of(path) == before


def test_foreign_keys_are_on_again_after_an_upgrade(
    tmp_path: Path, next_revision: Callable[[str], None]
) -> None:
    path = tmp_path / "broker.db"
    fill(path)
    next_revision("")
    database = open_database(path, create=False)
    with database.transaction(1) as tx:
        assert tx.driver.execute("PRAGMA foreign_keys").fetchone() == (1,)
    database.close()


def test_a_newer_database_is_refused_untouched(tmp_path: Path) -> None:
    path = tmp_path / "broker.db"
    fill(path)
    connection = sqlite3.connect(path)
    with connection:
        connection.execute(f"UPDATE {VERSION_TABLE} SET version_num = '9999'")
    connection.close()
    before = hashlib.sha256(path.read_bytes()).hexdigest()
    with pytest.raises(Invalid, match="newer version"):
        open_database(path)
    assert hashlib.sha256(path.read_bytes()).hexdigest() == before


def test_the_database_of_another_program_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "other.db"
    connection = sqlite3.connect(path)
    with connection:
        connection.execute("CREATE TABLE songs (title)")
    connection.close()
    with pytest.raises(Invalid, match="another program"):
        open_database(path)


@pytest.mark.parametrize("table", ["broker_version (other TEXT)", "broker_version (version_num)"])
def test_a_database_whose_revision_cannot_be_read_is_refused(tmp_path: Path, table: str) -> None:
    path = tmp_path / "broker.db"
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute(f"CREATE TABLE {table}")
    connection.close()
    before = path.read_bytes()
    with pytest.raises(Invalid, match="revision"):
        open_database(path)
    assert path.read_bytes() == before


def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("these are my notes, " * 200)
    with pytest.raises(Invalid, match="not a broker database"):
        open_database(path)
    assert path.read_text() == "these are my notes, " * 200


def test_a_folder_is_no_database(tmp_path: Path) -> None:
    with pytest.raises(Invalid, match="folder"):
        open_database(tmp_path)


def test_a_creation_that_was_killed_is_made_good(tmp_path: Path) -> None:
    path = tmp_path / "broker.db"
    path.touch(0o600)
    with pytest.raises(NotFound, match="empty"):
        open_database(path, create=False)
    database = open_database(path)
    assert run(database, QueueCreate("jobs"), QueueList())[0] is None
    database.close()


def test_everything_survives_a_restart(tmp_path: Path) -> None:
    path = tmp_path / "broker.db"
    fill(path)
    database = open_database(path, create=False)
    (queues,) = run(database, QueueList(), now=2000)
    queue = queues[0]  # type: ignore[index]
    assert (queue.ready, queue.delayed, queue.leased) == (1, 1, 1)
    # The lease given before the restart still holds, and its receipt still works.
    with database.transaction(2000) as tx:
        delivery = tx.driver.execute(
            "SELECT id, generation FROM broker_deliveries WHERE leased_by IS NOT NULL"
        ).fetchone()
        principal = Principal(1, "somebody", is_admin=True)
        receipt = f"{delivery[0]}.{delivery[1]}"
        (outcome,) = execute(tx, [Request(principal, MessageAck((receipt,)))])
    assert outcome == (None,)
    database.close()
