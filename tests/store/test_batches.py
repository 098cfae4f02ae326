"""A batch gives what its commands give one by one, and one that fails harms nobody else."""

from __future__ import annotations

import sqlite3
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from stores import Store

from broker.commands.atomic import Atomic
from broker.commands.channel import (
    ChannelCreate,
    ChannelDelete,
    ChannelList,
    ChannelPublish,
    ChannelPull,
    ChannelSet,
    ChannelSubscribe,
    ChannelUnsubscribe,
)
from broker.commands.dead import Dead, DeadDrop, DeadList, DeadRetry, DeadShow
from broker.commands.delivery import STATES, Message, Peeked, Whereabouts
from broker.commands.message import (
    MessageAck,
    MessageDelete,
    MessageExtend,
    MessageMove,
    MessageNack,
    MessageRelease,
    MessageShow,
)
from broker.commands.queue import (
    QueueCreate,
    QueueDelete,
    QueueList,
    QueuePause,
    QueuePeek,
    QueuePull,
    QueuePurge,
    QueueResume,
    QueueSend,
    QueueSendMany,
    QueueSet,
    QueueShow,
)
from broker.commands.request import Request
from broker.commands.sending import Sent, SentMany
from broker.commands.user import UserDelete
from broker.errors import BrokerError, Unavailable
from broker.store import dialect
from broker.store.batch import run_batch

QUEUES = st.sampled_from(["a", "b", "c", "c@alice", "c@bob", "c@alice@two"])
CHANNELS = st.sampled_from(["c", "d"])
BODIES = st.sampled_from([b"", b"x", b"x" * 1001])
DELAYS = st.sampled_from([0, 0, 5])
KEYS = st.sampled_from([None, None, "k"])
COUNTS = st.sampled_from([None, 1, 3])
#: What :func:`prepared` gives out: leases of ``a`` and of both subscriptions.
RECEIPTS = 5


RECEIPT_LISTS = st.lists(st.integers(0, RECEIPTS), min_size=1, max_size=3)
#: Those of the messages that :func:`prepared` sends, and some around them.
IDS = st.integers(5, 25)
SETTINGS = st.lists(
    st.sampled_from(
        [
            ("max_messages", "7"), ("max_bytes", "12"), ("on_full", "drop-oldest"), ("ttl", "2ms"),
            ("on_expire", "dead"), ("dead_letter", "b"), ("max_attempts", "1"),
            ("backoff", "1ms,2,3ms"),
        ]
    ),
    max_size=3,
    unique_by=lambda setting: setting[0],
).map(tuple)  # fmt: skip


def drawn(command: Any, *fields: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Return commands with drawn first fields and the rest as it is by default."""
    return st.tuples(*fields).map(lambda values: command(*values))


ATOMIC_PARTS: st.SearchStrategy[Any] = st.one_of(
    drawn(QueueSend, QUEUES, BODIES, st.sampled_from([4, 9]), DELAYS, KEYS),
    drawn(ChannelPublish, CHANNELS, BODIES, st.just(4), DELAYS, KEYS),
    drawn(MessageAck, RECEIPT_LISTS),
)
COMMANDS: st.SearchStrategy[Any] = st.one_of(
    drawn(QueueSend, QUEUES, BODIES, st.sampled_from([4, 9]), DELAYS, KEYS),
    drawn(QueuePull, QUEUES, COUNTS, st.just(0), st.sampled_from([1, 30_000]), st.booleans()),
    drawn(ChannelPublish, CHANNELS, BODIES, st.just(4), DELAYS, KEYS),
    drawn(ChannelPull, CHANNELS, st.sampled_from([None, "two"]), COUNTS),
    drawn(MessageAck, RECEIPT_LISTS),
    drawn(MessageNack, RECEIPT_LISTS, st.sampled_from([None, 0, 5])),
    drawn(MessageNack, RECEIPT_LISTS, st.just(None), st.just(False), st.just(True)),
    drawn(MessageExtend, st.integers(0, RECEIPTS), st.just(70)),
    drawn(QueueCreate, QUEUES.filter(lambda name: "@" not in name), SETTINGS, st.booleans()),
    drawn(QueueSet, QUEUES, SETTINGS),
    drawn(
        QueueSendMany, QUEUES, st.lists(BODIES, min_size=1, max_size=3), st.just(4), DELAYS, KEYS
    ),
    drawn(QueuePeek, QUEUES, COUNTS, st.sampled_from(STATES)),
    drawn(QueuePurge, QUEUES),
    drawn(QueuePause, QUEUES, st.booleans()),
    drawn(QueueResume, QUEUES),
    drawn(MessageShow, IDS),
    drawn(MessageDelete, QUEUES, IDS),
    drawn(MessageRelease, QUEUES, IDS),
    drawn(MessageMove, QUEUES, IDS, QUEUES),
    drawn(DeadList, QUEUES, st.sampled_from([None, "1"])),
    drawn(DeadShow, QUEUES, IDS),
    drawn(DeadRetry, QUEUES, st.just(None), st.just(True), st.sampled_from([None, "1"])),
    drawn(DeadDrop, QUEUES, IDS),
    drawn(lambda *parts: Atomic(parts), ATOMIC_PARTS, ATOMIC_PARTS),
    drawn(MessageAck, RECEIPT_LISTS, ATOMIC_PARTS.filter(lambda part: type(part) is QueueSend)),
    drawn(QueueDelete, QUEUES, st.booleans(), st.booleans()),
    drawn(QueueShow, QUEUES),
    drawn(QueueList, st.booleans()),
    drawn(ChannelCreate, CHANNELS),
    drawn(ChannelSet, CHANNELS, st.sampled_from([(("publish", "anyone"),), ()])),
    drawn(ChannelDelete, CHANNELS),
    drawn(ChannelList, st.booleans(), st.booleans()),
    drawn(ChannelSubscribe, CHANNELS, st.sampled_from([None, "two"])),
    drawn(ChannelUnsubscribe, CHANNELS, st.sampled_from([None, "two"])),
    drawn(UserDelete, st.just("bob"), st.sampled_from([None, "alice"])),
)
#: These answer a number, not an id.
COUNTING = (
    QueueDelete,
    ChannelDelete,
    ChannelUnsubscribe,
    QueuePurge,
    DeadRetry,
    DeadDrop,
    UserDelete,
)
HISTORIES = st.lists(
    st.tuples(st.sampled_from(["alice", "bob", "admin"]), COMMANDS, st.integers(1, 3)),
    min_size=1,
    max_size=12,
)


def prepared(path: Path) -> tuple[Store, list[str]]:
    """Return a store with something in every state, the same each time, and its receipts."""
    store = Store(path)
    store.run(QueueCreate("a"))
    store.run(QueueCreate("b"), store.bob)
    store.run(ChannelCreate("c"))
    for user in (store.alice, store.bob):
        store.run(ChannelSubscribe("c"), user)
    for number in range(5):
        store.run(QueueSend("a", b"%d" % number))
    store.run(QueueSend("a", b"later", delay_ms=5))
    store.run(ChannelPublish("c", b"news"))
    store.run(ChannelPublish("c", b"more"))
    for body in (b"d1", b"d2"):
        store.run(QueueSend("a", body, priority=9))
        (doomed,) = store.run(QueuePull("a"))
        store.run(MessageNack((str(doomed.receipt),), dead=True, reason="for the test"))
    pulled = [
        *store.run(QueuePull("a", 2)),
        *store.run(QueuePull("a", 1, lease_ms=3)),
        *store.run(ChannelPull("c")),
        *store.run(ChannelPull("c"), store.bob),
    ]
    store.now += 3
    return store, [*(str(message.receipt) for message in pulled), "999999.1"]


def with_receipts(command: Any, receipts: list[str]) -> Any:
    """Return a drawn command with receipts in the place of their numbers."""
    if isinstance(command, Atomic):
        return Atomic(tuple(with_receipts(part, receipts) for part in command.commands))
    if isinstance(command, MessageAck | MessageNack):
        return command._replace(receipts=tuple(receipts[int(n)] for n in command.receipts))
    if isinstance(command, MessageExtend):
        return command._replace(receipt=receipts[int(command.receipt)])
    return command


def comparable(outcome: Any, ids: bool = False) -> Any:
    """Return an outcome without ids: a batch allocates its own."""
    if isinstance(outcome, BrokerError):
        return outcome.code, outcome.message
    if isinstance(outcome, Message):
        return outcome._replace(id=0, receipt=None if outcome.receipt is None else "")
    if isinstance(outcome, Peeked | Whereabouts | Dead | Sent):
        return outcome._replace(id=0)
    if isinstance(outcome, SentMany):
        return len(outcome.ids), outcome.duplicate
    if isinstance(outcome, tuple) and not hasattr(outcome, "_fields"):
        return tuple(comparable(item, ids) for item in outcome)
    return "id" if ids and isinstance(outcome, int) else outcome


@settings(max_examples=150)
@given(history=HISTORIES, initial=SETTINGS)
def test_a_batch_gives_what_its_commands_give_one_by_one(history: list[Any], initial: Any) -> None:
    with tempfile.TemporaryDirectory() as folder:
        results = []
        for together in (True, False):
            store, receipts = prepared(Path(folder) / f"{together}.db")
            for queue in ("a", "c@alice"):
                store.run(QueueSet(queue, initial))
            requests = [
                (getattr(store, user), with_receipts(command, receipts))
                for user, command, times in history
                for _ in range(times)
            ]
            if together:
                outcomes = store.batch(*requests)
            else:
                outcomes = [store.batch(request)[0] for request in requests]
            results.append(
                [
                    comparable(outcome, ids=not isinstance(command, COUNTING))
                    for outcome, (_, command) in zip(outcomes, requests, strict=True)
                ]
            )
            more: bool = True
            while more:
                more = store.clean_up(7)
            results[-1].append(store.run(QueueList()))
            results[-1].append(store.run(ChannelList()))
            store.check()
            store.database.close()
        assert results[0] == results[1]


def test_a_commit_that_fails_leaves_no_transaction_open(store: Store) -> None:
    store.run(QueueCreate("q"))

    def break_a_reference() -> None:
        with store.database.transaction(store.now) as tx:
            tx.driver.execute("PRAGMA defer_foreign_keys=ON")
            tx.driver.execute("UPDATE broker_queues SET owner_id = 999")

    with pytest.raises(sqlite3.IntegrityError):
        break_a_reference()
    # Others may write at once: nothing is held back for the next transaction.
    other = sqlite3.connect(store.path, timeout=0)
    other.execute("BEGIN IMMEDIATE")
    other.close()
    assert store.run(QueueShow("q")).owner == "alice"
    store.check()


def test_a_foreign_lock_is_unavailable_and_passes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dialect, "BUSY_TIMEOUT_MS", 0)
    store = Store(tmp_path / "broker.db")
    store.run(QueueCreate("q"))
    other = sqlite3.connect(store.path)
    other.execute("BEGIN IMMEDIATE")
    requests = [Request(store.alice, QueueSend("q", b"x"))] * 2
    outcomes = run_batch(store.database, requests, store.now).outcomes
    assert all(isinstance(outcome, Unavailable) for outcome in outcomes)
    other.rollback()
    other.close()
    assert all(
        isinstance(outcome, int)
        for outcome in run_batch(store.database, requests, store.now).outcomes
    )
    store.check()
    store.database.close()


def test_what_a_batch_has_sent_counts_for_what_dies_into_the_same_queue(store: Store) -> None:
    store.run(QueueCreate("graves", (("max_messages", "1"),)))
    store.run(
        QueueCreate(
            "short",
            (("max_messages", "1"), ("on_expire", "dead"), ("dead_letter", "graves")),
        )
    )
    store.run(QueueSend("short", b"old", ttl_ms=10))
    store.now += 10
    # The second makes room by letting what has expired die, and the first has filled its place.
    store.batch(
        (store.alice, QueueSend("graves", b"sent")), (store.alice, QueueSend("short", b"new"))
    )
    assert store.run(QueueShow("graves")).ready == 1
    assert store.run(QueueShow("short")).dead == 1


SEND, PULL = QueueSend("q", b"x"), QueuePull("q")


@pytest.mark.parametrize(
    ("commands", "woken"),
    [
        ((SEND, PULL), 0),
        ((SEND, SEND, PULL), 1),
        # What was there before is what the pull took: the send is for who waits.
        ((PULL, PULL, SEND), 1),
    ],
)
def test_who_waits_is_woken_for_what_nobody_took_since(
    store: Store, commands: tuple[Any, ...], woken: int
) -> None:
    store.run(QueueCreate("q"))
    store.run(SEND)
    if commands[0] is SEND:
        store.run(PULL)
    store.batch(*((store.alice, command) for command in commands))
    assert store.last.woken_queues["q"] == woken
