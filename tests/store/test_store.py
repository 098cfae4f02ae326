"""The store: what opening promises, what statements cost, what failures leave."""

from __future__ import annotations

import logging
import os
import re
import sqlite3
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import stores
from stores import Store

from broker import names
from broker.commands.atomic import Atomic
from broker.commands.channel import ChannelCreate, ChannelPublish, ChannelSubscribe
from broker.commands.message import MessageAck, MessageRelease
from broker.commands.queue import (
    QueueCreate,
    QueueDelete,
    QueuePull,
    QueueSend,
    QueueSendMany,
    QueueShow,
)
from broker.commands.request import Request
from broker.errors import BrokerError, Full, Internal, NotFound, TooBig, Unavailable
from broker.store import room, statements
from broker.store.batch import run_batch
from broker.store.database import Database
from broker.store.dialect import StoreFailure, translate
from broker.store.handlers.deliveries import LONG_ACK
from broker.store.handlers.registry import HANDLERS
from broker.store.handlers.upkeep import clean_up
from broker.store.room import Room
from broker.store.transaction import Limits


def test_the_pragmas_are_those_that_keep_the_promises(store: Store) -> None:
    wanted = {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1, "auto_vacuum": 2}
    found = {name: store.rows(f"PRAGMA {name}")[0][0] for name in wanted}
    assert found == wanted


def plan_of(store: Store, statement: statements.Statement) -> str:
    parameters = max((int(number) for number in re.findall(r"\?(\d+)", statement.text)), default=0)
    with store.database.transaction(store.now) as tx:
        rows = tx.driver.execute(f"EXPLAIN QUERY PLAN {statement.text}", (1,) * parameters)
        return " | ".join(str(row[3]) for row in rows)


ALL_STATEMENTS = (
    {
        name: value
        for name, value in vars(statements).items()
        if isinstance(value, statements.Statement) and not name.startswith("_")
    }
    | {
        f"{name}_{size}": value.of(size)
        for name, value in vars(statements).items()
        if isinstance(value, statements.Bulk)
        for size in statements.BULK_SIZES
    }
    | {
        f"{name}_span": value.span
        for name, value in vars(statements).items()
        if isinstance(value, statements.ByIds)
    }
)


#: What looks through tables of few rows: all queues once, as a server starts, and lists.
OVER_ALL = {
    "BUSY_QUEUES", "COUNT_ADMINS", "LIST_QUEUES", "LIST_USERS", "SHOW_CHANNELS", "SHOW_QUEUES",
    "TOTALS",
}  # fmt: skip


@pytest.mark.parametrize("name", ALL_STATEMENTS)
def test_no_statement_scans_or_sorts(store: Store, name: str) -> None:
    plan = plan_of(store, ALL_STATEMENTS[name])
    steps = plan.split(" | ")
    # What a statement has made itself: a fan-out its publications, and the numbers of one
    # channel's queues, which are read in index order.
    made = {step.split()[1] for step in steps if step.startswith(("CO-ROUTINE", "MATERIALIZE"))}
    for step in steps:
        if step.endswith(("CONSTANT ROW", "CONSTANT ROWS", "VALUES CLAUSE")):
            continue
        assert "TEMP B-TREE" not in step, plan
        assert not step.startswith("SCAN") or step.split()[1] in made or name in OVER_ALL, plan


@pytest.mark.parametrize(
    ("name", "index"),
    [
        ("CLAIM", "ix_broker_deliveries_ready"),
        ("READY_HEAD", "ix_broker_deliveries_ready"),
        ("READY_SLICE", "ix_broker_deliveries_ready"),
        ("VICTIM", "ix_broker_deliveries_ready"),
        ("VICTIMS", "ix_broker_queues_channel"),
        ("OLD_READY_SLICE", "ix_broker_deliveries_ready"),
        ("FIND_DUE_DELAYED", "ix_broker_deliveries_delayed"),
        ("NEXT_DUE_DELAYED", "ix_broker_deliveries_delayed"),
        ("DELAYED_SLICE", "ix_broker_deliveries_delayed"),
        ("OLD_DELAYED_SLICE", "ix_broker_deliveries_delayed"),
        ("FIND_DUE_LEASED", "ix_broker_deliveries_leased"),
        ("FIND_CONNECTION_LEASES", "ix_broker_deliveries_leased"),
        ("NEXT_DUE_LEASED", "ix_broker_deliveries_leased"),
        ("COUNT_LEASES", "ix_broker_deliveries_leased"),
        ("LEASED_SLICE", "ix_broker_deliveries_leased"),
        ("EXPIRED", "ix_broker_deliveries_expiring"),
        ("NEXT_EXPIRY", "ix_broker_deliveries_expiring"),
        ("IS_LIMITED", "ix_broker_queues_channel"),
        ("FEEDERS", "ix_broker_queues_dead_letter"),
        ("IDLE", "ix_broker_queues_idle_at"),
        ("DEAD_SLICE", "ix_broker_dead_deliveries_queue_id_id"),
        ("LIST_DEAD", "ix_broker_dead_deliveries_queue_id_id"),
        ("PICK_DEAD", "ix_broker_dead_deliveries_queue_id_id"),
        ("PEEK_READY", "ix_broker_deliveries_ready"),
        ("PEEK_DELAYED", "ix_broker_deliveries_delayed"),
        ("PEEK_LEASED", "ix_broker_deliveries_leased"),
        ("PEEK_DEAD", "ix_broker_dead_deliveries_queue_id_id"),
        ("FAN_OUT_WITHIN_LIMITS", "ix_broker_queues_channel"),
        ("ADD_TO_SUBSCRIPTIONS", "ix_broker_queues_channel"),
        ("EXPIRED_KEYS", "ix_broker_keys_expires_at"),
    ],
)
def test_each_walk_has_its_index(store: Store, name: str, index: str) -> None:
    assert index in plan_of(store, ALL_STATEMENTS[name])


def executed(store: Store, *commands: Any) -> list[str]:
    """Return the statements that a batch executes, one as often as it does."""
    seen: list[str] = []
    with store.database.transaction(store.now) as tx:
        driver = tx.driver
    assert isinstance(driver, sqlite3.Connection)
    driver.set_trace_callback(seen.append)
    store.batch(*((store.alice, command) for command in commands))
    driver.set_trace_callback(None)
    return seen


def statements_run(store: Store, *commands: Any) -> int:
    """Return how many statements a batch executes, but for ids, which not each must reserve."""
    # One line a row of an executemany: the same statement again is not another.
    shapes = {
        "".join(c for c in line if not c.isdigit()).split("(")[0][:60]
        for line in executed(store, *commands)
        if "broker_sequences" not in line
    }
    return len(shapes)


def test_a_batch_costs_as_many_kinds_of_statements_as_one_command(store: Store) -> None:
    store.run(QueueCreate("q"))
    one = statements_run(store, QueueSend("q", b"x"))
    many = statements_run(store, *[QueueSend("q", b"x")] * 100)
    assert many == one
    # With something leased already, each claim looks for leases that have ended.
    store.run(QueuePull("q"))
    one = statements_run(store, QueuePull("q"))
    many = statements_run(store, *[QueuePull("q")] * 50)
    assert many == one


def test_acks_that_compete_share_their_statements(store: Store) -> None:
    """What several consumers were given in turn is no run of any of them."""
    store.run(QueueCreate("q"))

    def acks(consumers: int) -> list[MessageAck]:
        store.batch(*[(store.alice, QueueSend("q", b"x"))] * (consumers * LONG_ACK))
        messages = store.run(QueuePull("q", consumers * LONG_ACK))
        receipts = [message.receipt for message in messages]
        return [MessageAck(tuple(receipts[n::consumers])) for n in range(consumers)]

    few, many = acks(2), acks(8)
    assert len(executed(store, *many)) == len(executed(store, *few))
    assert store.run(QueueShow("q")).leased == 0
    store.check()


def test_a_publication_is_stored_once_without_work_per_subscriber(store: Store) -> None:
    store.run(ChannelCreate("c"))
    store.run(ChannelSubscribe("c"))
    one = statements_run(store, ChannelPublish("c", b"x"))
    for number in range(30):
        store.run(ChannelSubscribe("c", f"s{number}"))
    assert statements_run(store, ChannelPublish("c", b"x")) == one
    assert store.rows("SELECT count(*) FROM broker_messages") == [(2,)]
    assert store.rows("SELECT count(*) FROM broker_deliveries") == [(32,)]
    store.check()


def test_a_transaction_that_has_ended_holds_no_statement(store: Store) -> None:
    # One that it still held would read on, and keep the log from being begun anew.
    store.run(QueueCreate("q"))
    store.batch(*[(store.alice, QueueSend("q", b"x"))] * 3)
    store.in_transaction(
        lambda tx: tx.cursor.execute("SELECT id FROM broker_deliveries").fetchone()
    )
    store.run(QueueSend("q", b"x"))
    with sqlite3.connect(store.path) as other:
        busy, *_ = other.execute("PRAGMA wal_checkpoint(RESTART)").fetchone()
    other.close()
    assert busy == 0


def test_ids_are_never_reused(store: Store) -> None:
    store.run(QueueCreate("q"))
    first = store.run(QueueSend("q", b"x"))
    store.run(QueuePull("q", no_ack=True))
    store.database.close()
    store.database.open(create=False)
    assert store.run(QueueSend("q", b"x")) > first


def test_a_deleted_queue_is_emptied_in_slices(store: Store) -> None:
    store.run(QueueCreate("q"))
    store.batch(*[(store.alice, QueueSend("q", b"x"))] * 50)
    store.batch(*[(store.alice, QueueSend("q", b"x", delay_ms=1000))] * 20)
    store.run(QueuePull("q", 10))
    assert store.run(QueueDelete("q")) == 70
    assert store.last.left_to_clean_up
    store.run(QueueCreate("q"))
    store.run(QueueSend("q", b"new"))
    left = []
    more = True
    while more:
        with store.database.transaction(store.now) as tx:
            more = clean_up(tx, 16)
        left.append(store.rows("SELECT count(*) FROM broker_deliveries")[0][0])
    assert all(before - after <= 16 for before, after in zip([71, *left], left, strict=False))
    assert left[-1] == 1
    assert store.run(QueueShow("q")).ready == 1
    assert store.rows("SELECT count(*) FROM broker_messages") == [(1,)]
    assert not store.rows("SELECT * FROM broker_removals")


def test_expired_keys_go(store: Store) -> None:
    store.run(QueueCreate("q"))
    store.run(QueueSend("q", b"x", key="k", key_ttl_ms=10))
    assert store.last.clean_up_at == store.now + 10 + 60_000
    store.now += 11
    with store.database.transaction(store.now) as tx:
        assert clean_up(tx, 10) is False
    assert not store.rows("SELECT * FROM broker_keys")


def test_a_million_due_at_once_are_made_ready_in_slices(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("broker.store.handlers.deliveries.DUE_SLICE", 5)
    store.run(QueueCreate("q"))
    store.batch(*[(store.alice, QueueSend("q", b"x", delay_ms=10))] * 12)
    store.now += 10
    seen = 0
    for expected in (5, 5, 2):
        store.run(QueuePull("q"))
        seen += expected
        assert store.rows("SELECT count(*) FROM broker_deliveries WHERE due_at <= 1000010") == [
            (12 - seen,)
        ]
    store.check()


def test_only_the_culprit_of_a_batch_fails(
    store: Store, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    store.run(QueueCreate("q"))
    original = HANDLERS[QueueSend]

    def faulty(tx: Any, requests: list[Request]) -> list[Any]:
        outcomes = original(tx, requests)
        if any(request.command.body == b"bomb" for request in requests):
            tx.driver.execute("INSERT INTO broker_queues SELECT * FROM broker_queues")
        return outcomes

    monkeypatch.setitem(HANDLERS, QueueSend, faulty)
    bodies = [b"one", b"bomb", b"two"]
    with caplog.at_level(logging.CRITICAL):
        batch = run_batch(
            store.database, [Request(store.alice, QueueSend("q", b)) for b in bodies], store.now
        )
    assert isinstance(batch.outcomes[0], int)
    assert isinstance(batch.outcomes[1], Internal)
    assert isinstance(batch.outcomes[2], int)
    assert [m.body for m in store.run(QueuePull("q", 9))] == [b"one", b"two"]
    store.check()


def test_a_refused_command_of_a_batch_leaves_no_trace(store: Store) -> None:
    store.run(QueueCreate("q"))
    outcomes = store.batch(
        (store.alice, QueueSend("q", b"x" * 2000)),
        (store.alice, QueueSend("q", b"fits")),
        (store.alice, QueueSend("nowhere", b"x")),
    )
    assert isinstance(outcomes[0], TooBig)
    assert store.run(QueueShow("q")).ready == 1
    store.check()


def test_a_full_file_is_full_and_leaves_what_was(tmp_path: Path) -> None:
    store = Store(tmp_path / "broker.db")
    store.run(QueueCreate("q"))
    store.run(QueueSend("q", b"kept"))
    pages = store.rows("PRAGMA page_count")[0][0]
    store.rows(f"PRAGMA max_page_count={pages + 2}")
    batch = run_batch(
        store.database,
        [Request(store.alice, QueueSend("q", b"x" * 1000)) for _ in range(60)]
        + [Request(store.alice, QueueShow("q"))],
        store.now,
    )
    codes = {getattr(outcome, "code", "OK") for outcome in batch.outcomes}
    assert codes == {"OK", "FULL"}
    assert isinstance(batch.outcomes[59], Full)
    stored = sum(isinstance(outcome, int) for outcome in batch.outcomes)
    assert store.run(QueueShow("q")).ready == stored + 1
    store.check()
    store.database.close()


@pytest.mark.parametrize(
    "parts",
    [
        (QueueSend("q", b"x" * 100_000),),
        (QueueSend("q", b"x"), QueueSend("q", b"x" * 100_000)),
        (ChannelPublish("c", b"x" * 100_000),),
        (QueueSendMany("q", (b"x" * 30_000,) * 4),),
        (MessageAck(("1.1",)), QueueSend("q", b"x" * 100_000)),
    ],
)
def test_parts_that_fill_a_file_are_full_and_leave_what_was(
    tmp_path: Path, parts: tuple[Any, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    # A full disk within a statement makes SQLite undo the whole transaction, savepoints and all.
    monkeypatch.setattr(stores, "MAX_MESSAGE_BYTES", 1_000_000)
    store = Store(tmp_path / "broker.db")
    store.run(QueueCreate("q"))
    store.run(ChannelCreate("c"))
    for name in ("a", "b"):
        store.run(ChannelSubscribe("c", name))
    store.run(QueueSend("q", b"kept"))
    (message,) = store.run(QueuePull("q"))
    parts = tuple(
        part._replace(receipts=(message.receipt,)) if isinstance(part, MessageAck) else part
        for part in parts
    )
    pages = store.rows("PRAGMA page_count")[0][0]
    store.rows(f"PRAGMA max_page_count={pages + 2}")
    before = [store.run(QueueShow(queue)) for queue in ("q", "c@alice@a")]
    requests = [Request(store.alice, Atomic(parts)), Request(store.alice, QueueShow("q"))]
    for asked in (requests[:1], requests):
        outcomes = run_batch(store.database, asked, store.now).outcomes
        assert isinstance(outcomes[0], Full)
        assert outcomes[1:] in ([], [before[0]])
    assert [store.run(QueueShow(queue)) for queue in ("q", "c@alice@a")] == before
    store.check()
    store.database.close()


@pytest.mark.parametrize(
    ("free", "refusal"), [((0, 9, 9), Full), ((9, 9, 0), Full), ((9, 0, 0), Unavailable)]
)
def test_a_log_that_cannot_be_made_is_a_full_disk_where_it_is_full(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    free: tuple[int, int, int],
    refusal: type[BrokerError],
) -> None:
    """Some file systems do not count files, and say that there are none and none free."""
    Store(tmp_path / "broker.db").close()
    log = tmp_path / "broker.db-wal"
    log.mkdir()
    blocks, files, free_files = free
    disk = SimpleNamespace(f_bavail=blocks, f_frsize=4096, f_files=files, f_favail=free_files)
    with monkeypatch.context() as patched:
        patched.setattr(os, "statvfs", lambda path: disk)
        with pytest.raises(refusal):
            Database(str(tmp_path / "broker.db"), Limits(1000)).open(create=False)
    log.rmdir()
    database = Database(str(tmp_path / "broker.db"), Limits(1000))
    database.open(create=False)
    database.close()


def test_an_io_error_is_a_failure_whose_outcome_is_unknown() -> None:
    class Broken(sqlite3.OperationalError):
        sqlite_errorcode = sqlite3.SQLITE_IOERR_FSYNC

    assert isinstance(translate("x.db", Broken("disk I/O error")), StoreFailure)
    assert translate("x.db", sqlite3.IntegrityError("unique")) is None


def test_a_second_ack_in_one_batch_is_stale(store: Store) -> None:
    store.run(QueueCreate("q"))
    store.run(QueueSend("q", b"x"))
    (message,) = store.run(QueuePull("q"))
    first, second = store.batch(
        (store.alice, MessageAck((message.receipt,))), (store.bob, MessageAck((message.receipt,)))
    )
    assert first == (None,)
    assert second[0].code == "STALE"
    store.check()


def test_a_lone_send_costs_one_sync(tmp_path: Path, needs_program: Callable[[str], str]) -> None:
    import subprocess
    import sys

    strace = needs_program("strace")
    program = (
        "import sys, broker\n"
        "client = broker.connect(sys.argv[1])\n"
        "client.create_queue('q', if_missing=True)\n"
        "client.send('q', b'warm')\n"
        "open(sys.argv[2], 'w').close()\n"
        "for _ in range(10): client.send('q', b'x')\n"
        "open(sys.argv[2], 'a').close()\n"
        "client.close()\n"
    )
    mark = str(tmp_path / "mark")
    trace = tmp_path / "trace"
    subprocess.run(
        [strace, "-f", "-e", "trace=fsync,fdatasync,openat", "-o", str(trace),
         sys.executable, "-c", program, str(tmp_path / "broker.db"), mark],
        check=True,
    )  # fmt: skip
    lines = trace.read_text().splitlines()
    first, last = (i for i, line in enumerate(lines) if mark in line)
    assert sum("sync(" in line for line in lines[first:last]) == 10


def test_a_database_is_opened_for_its_owner_alone(tmp_path: Path) -> None:
    database = Database(str(tmp_path / "broker.db"), Limits(10))
    database.open(create=True)
    assert (tmp_path / "broker.db").stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "broker.db-wal").stat().st_mode & 0o777 == 0o600
    database.close()
    database.close()


def test_a_refused_subscription_leaves_no_trace(store: Store) -> None:
    store.run(ChannelCreate("news"))
    refused = ChannelSubscribe("news", settings=(("dead_letter", "missing"),))
    with pytest.raises(NotFound):
        store.run(refused, store.bob)
    with pytest.raises(NotFound):
        store.run(QueueShow("news@bob"), store.admin)
    store.check()


def test_a_released_delay_is_ready_since_then(store: Store) -> None:
    store.run(QueueCreate("jobs"))
    sent = store.run(QueueSend("jobs", b"later", delay_ms=1000))
    store.now += 100
    store.run(MessageRelease("jobs", sent))
    store.now += 30
    assert store.run(QueueShow("jobs")).oldest_ready_ms == 30


def test_a_known_key_is_answered_though_the_disk_is_nearly_full(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.run(QueueCreate("q"))
    store.run(ChannelCreate("c"))
    store.run(ChannelSubscribe("c"))
    commands: list[Any] = [
        QueueSend("q", b"x", key="one"),
        QueueSendMany("q", (b"x",), key="many"),
        ChannelPublish("c", b"x", key="k"),
    ]
    first = [store.run(command) for command in commands]
    monkeypatch.setattr(room, "_HOLDS_S", 0)
    monkeypatch.setattr(Room, "free_bytes", lambda self, connection: 0)
    # As if the reply had been lost: the client sends it again.
    again = [store.run(command) for command in commands]
    assert [answer._replace(duplicate=False) for answer in again] == first
    for command in commands:
        with pytest.raises(Full):
            store.run(command._replace(key="new"))


@pytest.mark.parametrize("settings", [(), (("max_messages", "100000"), ("ttl", "1h"))])
def test_a_fan_out_takes_no_python_for_each_subscriber(
    tmp_path: Path, settings: tuple[tuple[str, str], ...]
) -> None:
    calls = []
    for subscribers in (5, 500):
        store = Store(tmp_path / f"{subscribers}.db")
        store.run(ChannelCreate("c"))
        store.batch(
            *((store.alice, ChannelSubscribe("c", f"s{n}", settings)) for n in range(subscribers))
        )
        store.run(ChannelPublish("c", b"compiles the statements"))
        calls.append(calls_of(partial(store.run, ChannelPublish("c", b"x"))))
        assert store.rows("SELECT min(ready), max(ready) FROM broker_queues") == [(2, 2)]
        store.check()
        store.close()
    few, many = calls
    assert many - few < 100


def calls_of(action: Callable[[], object]) -> int:
    """Return how many functions an action calls, of Python's and of C's."""
    count = 0

    def note(_frame: object, event: str, _argument: object) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    sys.setprofile(note)
    try:
        action()
    finally:
        sys.setprofile(None)
    return count


def test_little_room_is_looked_at_each_time(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    free = [names.MIN_FREE_BYTES, names.MIN_FREE_BYTES - 1, names.MIN_FREE_BYTES]
    store.run(QueueCreate("q"))
    monkeypatch.setattr(room, "_HOLDS_S", 3600)
    monkeypatch.setattr(Room, "free_bytes", lambda self, connection: free.pop(0))
    store.database._room = Room(str(store.path))
    store.run(QueueSend("q", b"x"))
    with pytest.raises(Full):
        store.run(QueueSend("q", b"x"))
    store.run(QueueSend("q", b"x"))
    # Much is not.
    free += [room._AMPLE_BYTES]
    for _ in range(3):
        store.run(QueueSend("q", b"x"))
