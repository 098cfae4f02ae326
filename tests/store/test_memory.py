"""What is remembered from one transaction to the next is what the database holds."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from stores import Store

from broker import connect
from broker.commands.channel import ChannelCreate, ChannelPublish, ChannelPull, ChannelSubscribe
from broker.commands.message import MessageAck, MessageExtend, MessageNack
from broker.commands.queue import (
    QueueCreate,
    QueueDelete,
    QueuePull,
    QueuePurge,
    QueueSend,
    QueueSet,
    QueueShow,
)
from broker.commands.request import Request
from broker.errors import Conflict, Full, NotFound
from broker.store import memory
from broker.store import statements as sql
from broker.store.handlers import execute
from broker.store.handlers.deliveries import CONNECTION_LEASE
from broker.store.statements import Bulk, Statement
from broker.store.transaction import KNOWN_TABLES, QueueRow


def statements_of(store: Store, work: Callable[[], Any]) -> list[str]:
    """Return the statements that SQLite executes for some work."""
    seen: list[str] = []
    driver = store.database._connection
    assert driver is not None
    driver.set_trace_callback(seen.append)
    try:
        work()
    finally:
        driver.set_trace_callback(None)
    return seen


def remembered(store: Store) -> list[QueueRow]:
    """Return the queues that are remembered, and hold them to their rows as another reads them."""
    rows: dict[Any, Any] = store.database._memory.rows
    queues = [row for row in rows.values() if isinstance(row, QueueRow)]
    with sqlite3.connect(store.path) as reader:
        for queue in queues:
            found = reader.execute(sql.FIND_QUEUE_BY_ID.text, (queue.id,)).fetchone()
            assert found == tuple(getattr(queue, column) for column in QueueRow.__annotations__)
    reader.close()
    return queues


def elsewhere(store: Store, statement: str) -> None:
    """Change the database by another connection."""
    with sqlite3.connect(store.path) as other:
        other.execute(statement)
    other.close()


def test_a_queue_is_read_once_as_long_as_nobody_else_writes(store: Store) -> None:
    store.run(QueueCreate("q"))
    store.run(QueueSend("q", b"1"))
    again = statements_of(store, lambda: store.run(QueueSend("q", b"2")))
    assert not [text for text in again if "FROM broker_queues" in text]
    (queue, *_) = remembered(store)
    assert (queue.name, queue.ready, queue.bytes) == ("q", 2, 2)
    elsewhere(store, "UPDATE broker_queues SET sends_paused = 1")
    with pytest.raises(Conflict):
        store.run(QueueSend("q", b"3"))


def test_limits_count_what_is_remembered(store: Store) -> None:
    store.run(QueueCreate("q", (("max_messages", "3"),)))
    for _ in range(3):
        store.run(QueueSend("q", b"x"))
    with pytest.raises(Full):
        store.run(QueueSend("q", b"x"))
    (message,) = store.run(QueuePull("q"))
    store.run(MessageAck((message.receipt,)))
    store.run(QueueSend("q", b"x"))
    with pytest.raises(Full):
        store.run(QueueSend("q", b"x"))
    remembered(store)


def test_settings_and_deletions_count_at_once(store: Store) -> None:
    store.run(QueueCreate("q"))
    store.run(QueueSend("q", b"x"))
    store.run(QueueSet("q", (("max_messages", "1"),)))
    with pytest.raises(Full):
        store.run(QueueSend("q", b"x"))
    store.run(QueueDelete("q"))
    with pytest.raises(NotFound):
        store.run(QueueSend("q", b"x"))


def test_what_is_rolled_back_is_not_remembered(store: Store) -> None:
    store.run(QueueCreate("q"))
    store.run(QueueSend("q", b"x"))

    class Undone(Exception):
        pass

    def undone(tx: Any) -> None:
        execute(tx, [Request(store.alice, QueueSend("q", b"y"))])
        raise Undone

    with pytest.raises(Undone):
        store.in_transaction(undone)
    store.run(QueueSend("q", b"z"))
    assert {queue.ready for queue in remembered(store)} == {2}


def test_it_forgets_rather_than_grow(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "MOST_REMEMBERED", 10)
    for n in range(20):
        store.run(QueueCreate(f"q{n}"))
    for n in range(20):
        store.run(QueueSend(f"q{n}", b"x"))
        # And what one transaction finds: its queue by name and id, and what it knows of it.
        assert len(store.database._memory.rows) <= 10 + 4
        assert f"q{n}" in [queue.name for queue in remembered(store)]


def test_what_is_remembered_is_changed_in_no_way_that_is_not_looked_at() -> None:
    """By ``run`` and ``run_many`` alone: where a statement answers rows, nobody looks."""
    for name, statement in vars(sql).items():
        if isinstance(statement, Bulk):
            assert statement.of(1).changes not in KNOWN_TABLES, name
        elif isinstance(statement, Statement):
            assert statement.changes not in KNOWN_TABLES or "RETURNING" not in statement.text, name


def test_who_feeds_a_queue_is_asked_again_once_anybody_does(store: Store) -> None:
    store.run(QueueCreate("dead"))
    store.run(QueueSend("dead", b"1"))
    asked = [
        [text for text in statements_of(store, pull) if "dead_letter =" in text]
        for pull in [lambda: store.run(QueuePull("dead"))] * 2
    ]
    assert [len(texts) for texts in asked] == [1, 0]
    store.run(QueueCreate("q", (("max_attempts", "1"), ("dead_letter", "dead"))))
    store.run(QueuePull("dead"))
    store.run(QueueSend("q", b"2"))
    store.run(QueuePull("q", lease_ms=10))
    store.now += 10
    assert [message.body for message in store.run(QueuePull("dead", 2))] == [b"2"]


def test_leases_of_connections_are_looked_for_once_as_long_as_nobody_else_writes(
    store: Store,
) -> None:
    store.run(QueueCreate("q"))
    for body in (b"1", b"2"):
        store.run(QueueSend("q", body))
    store.run(QueuePull("q"))
    looked = [
        [text for text in statements_of(store, pull) if f"due_at >= {CONNECTION_LEASE}" in text]
        for pull in [lambda: store.run(QueuePull("q"))] * 2
    ]
    assert [len(texts) for texts in looked] == [1, 0]
    # As a server does that is killed.
    elsewhere(
        store,
        f"UPDATE broker_deliveries SET due_at = {CONNECTION_LEASE} "
        "WHERE id = (SELECT min(id) FROM broker_deliveries)",
    )
    (back,) = store.run(QueuePull("q"))
    assert back.body == b"1"


def test_an_embedded_client_is_who_it_is_after_others_have_written(tmp_path: Path) -> None:
    path = str(tmp_path / "broker.db")
    with connect(path) as one, connect(path) as two:
        one.create_queue("q")
        name = one.whoami().name
        one.send("q", b"1")
        two.create_user("somebody", password="a long password")
        two.send("q", b"2")
        two.set_queue("q", {"max_messages": "2"})
        assert one.whoami().name == name
        with pytest.raises(Full):
            one.send("q", b"3")
        two.delete_queue("q")
        with pytest.raises(NotFound):
            one.send("q", b"4")


NAMES = st.sampled_from(["a", "b"])
RECEIPTS = st.builds("{}.{}".format, st.integers(1, 60), st.integers(1, 2)).map(lambda r: (r,))
SETTINGS = st.sampled_from([(("max_messages", "3"),), (("max_messages", "0"),)])
COMMANDS = st.one_of(
    st.builds(
        lambda queue, body, delay: QueueSend(queue, body, delay_ms=delay),
        NAMES, st.binary(max_size=5), st.sampled_from([0, 0, 5]),
    ),
    st.builds(lambda queue, no_ack: QueuePull(queue, no_ack=no_ack), NAMES, st.booleans()),
    st.builds(lambda queue, ms: QueuePull(queue, 3, lease_ms=ms), NAMES, st.sampled_from([3, 99])),
    RECEIPTS.map(MessageAck),
    st.builds(lambda receipts, dead: MessageNack(receipts, dead=dead), RECEIPTS, st.booleans()),
    st.sampled_from([ChannelPublish("c", b"p"), ChannelPull("c")]),
    st.builds(QueueSet, NAMES, SETTINGS),
    NAMES.map(lambda queue: QueueCreate(queue, if_missing=True)),
    NAMES.map(lambda queue: QueueDelete(queue, if_exists=True)),
    RECEIPTS.map(lambda receipts: MessageExtend(*receipts)),
    NAMES.map(QueueShow),
    NAMES.map(QueuePurge),
)  # fmt: skip


@pytest.fixture
def busy(store: Store) -> Store:
    """Return a store with the queues and the channel of :data:`COMMANDS`."""
    for command in (QueueCreate("a"), QueueCreate("b"), ChannelCreate("c"), ChannelSubscribe("c")):
        store.run(command)
    return store


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(COMMANDS, min_size=1, max_size=4))
def test_it_is_what_the_database_holds_after_each_batch(busy: Store, batch: list[Any]) -> None:
    """Whatever came before: all examples are of one store."""
    busy.now += 1
    busy.batch(*((busy.alice, command) for command in batch))
    remembered(busy)


def test_after_all_of_that_it_is_whole(busy: Store) -> None:
    test_it_is_what_the_database_holds_after_each_batch(busy)
    busy.check()
