"""Ids: no two things ever have the same, whatever is undone, whoever reserves."""

from __future__ import annotations

import sqlite3

import pytest
from stores import Store

from broker.commands.atomic import Atomic
from broker.commands.channel import ChannelCreate, ChannelPublish, ChannelSubscribe
from broker.commands.queue import QueueCreate, QueueSend, QueueShow
from broker.commands.request import Request
from broker.errors import NotFound
from broker.store import ids
from broker.store.dialect import StoreFailure, commit
from broker.store.handlers import execute
from broker.store.transaction import Transaction

BLOCK = 5


@pytest.fixture
def kept(store: Store, monkeypatch: pytest.MonkeyPatch) -> Store:
    """Return the store of an owner that stays, with a queue; it reserves few at a time."""
    monkeypatch.setattr("broker.store.database.BLOCK", BLOCK)
    monkeypatch.setattr("broker.store.ids.SMALL_BLOCK", BLOCK)
    store.run(QueueCreate("q"))
    store.close()
    store.reopen()
    store.database.keep()
    return store


def send(store: Store, count: int = 1) -> list[int]:
    return [int(o) for o in store.batch(*[(store.alice, QueueSend("q", b"x"))] * count)]


def test_they_go_on_without_a_gap_from_block_to_block(kept: Store) -> None:
    given = [id_ for count in (1, 3, 2, 12, 1, 1) for id_ in send(kept, count)]
    assert given == list(range(given[0], given[0] + len(given)))
    assert given[-1] <= kept.reserved() < given[-1] + BLOCK


def test_a_block_serves_several_transactions(kept: Store) -> None:
    send(kept)
    before = kept.reserved()
    for _ in range(BLOCK - 1):
        send(kept)
    assert kept.reserved() == before


def test_a_rollback_undoes_what_was_reserved_and_gives_nothing_out_twice(kept: Store) -> None:
    given = send(kept, BLOCK - 1)
    taken: list[int] = []

    def take_and_fail(tx: Transaction) -> None:
        taken.append(tx.allocate(3 * BLOCK))
        raise LookupError

    with pytest.raises(LookupError):
        kept.in_transaction(take_and_fail)
    assert taken == [given[-1] + 1]
    given += send(kept, 4 * BLOCK)
    assert len({*given}) == len(given)
    assert given[-1] <= kept.reserved()


def test_an_interrupt_just_after_the_commit_gives_nothing_out_twice(
    kept: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = send(kept)

    def commit_and_interrupt(cursor: sqlite3.Cursor) -> None:
        commit(cursor)
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("broker.store.database.commit", commit_and_interrupt)
        with pytest.raises(KeyboardInterrupt):
            send(kept)
    given += send(kept, BLOCK)
    assert len({*given}) == len(given)
    assert kept.run(QueueShow("q")).ready == len(given) + 1


def test_an_interrupt_that_leaves_a_transaction_open_is_made_good_by_the_next(store: Store) -> None:
    """As one does that comes just before its end begins: nothing has undone it."""
    store.run(QueueCreate("q", (("max_messages", "100"),)))
    other = Store(store.path)
    given = send(store) + send(other)
    left_open = store.database.transaction(store.now).__enter__()
    sends = [Request(store.alice, QueueSend("q", b"x"))] * 60
    assert all(isinstance(outcome, int) for outcome in execute(left_open, sends))
    # What it has counted and given out was never there: nothing is full, or given out twice.
    given += send(store, 40)
    for _ in range(5):
        given += send(store) + send(other)
    assert given == sorted({*given})
    assert store.run(QueueShow("q")).ready == len(given)
    store.check()
    other.close()


def test_so_does_a_transaction_of_parts_that_is_refused(kept: Store) -> None:
    given = send(kept, BLOCK - 1)
    parts = (*[QueueSend("q", b"x")] * BLOCK, QueueSend("nowhere", b"x"))
    outcomes = kept.batch(
        (kept.alice, Atomic(parts)), *[(kept.alice, QueueSend("q", b"x"))] * 2 * BLOCK
    )
    assert isinstance(outcomes[0], NotFound)
    given += outcomes[1:]
    assert len({*given}) == len(given)
    assert given[-1] <= kept.reserved()


def test_a_publication_and_its_copies_are_in_a_row(kept: Store) -> None:
    kept.run(ChannelCreate("c"))
    for name in ("a", "b", "c"):
        kept.run(ChannelSubscribe("c", name))
    send(kept, BLOCK - 1)
    published = int(kept.run(ChannelPublish("c", b"x")))
    assert send(kept) == [published + 4]


def test_an_owner_that_comes_and_goes_reserves_no_more_than_it_has_needed(store: Store) -> None:
    store.run(QueueCreate("q"))
    store.close()
    store.reopen()
    (first,) = send(store)
    assert store.reserved() == first
    given = [first] + [id_ for _ in range(200) for id_ in send(store)]
    assert given == list(range(first, first + 201))
    assert given[-1] <= store.reserved() < given[-1] + ids.SMALL_BLOCK


def test_what_two_send_in_turns_comes_in_the_order_in_which_it_was_sent(store: Store) -> None:
    store.run(QueueCreate("q"))
    other = Store(store.path)
    given: list[int] = []
    for count in (1, 5, 1, 9, 2, 30, 1, 1, 1):
        given += [id_ for _ in range(count) for id_ in send(store)]
        given += [id_ for _ in range(count) for id_ in send(other)]
    assert given == sorted({*given})
    # Who goes first gives nothing back that the other's ids lie beyond.
    store.close()
    (more,) = send(other)
    assert more > given[-1]
    other.close()
    store.reopen()
    assert send(store) == [more + 1]


def test_who_fails_after_another_has_written_gives_out_and_back_nothing_before_it(
    store: Store,
) -> None:
    store.run(QueueCreate("q"))
    for _ in range(10):
        send(store)
    other = Store(store.path)
    (between,) = send(other)

    def fail(tx: Transaction) -> None:
        raise LookupError

    with pytest.raises(LookupError):
        store.in_transaction(fail)
    (given,) = send(store)
    assert given > between
    (between,) = send(other)
    with pytest.raises(LookupError):
        store.in_transaction(fail)
    store.close()
    assert send(other)[0] > between
    other.close()


def test_what_is_moved_on_by_an_import_is_not_given_out(kept: Store) -> None:
    (given,) = send(kept)
    beyond = given + 100 * ids.BLOCK
    kept.in_transaction(lambda tx: tx.allocate_beyond(beyond))
    assert send(kept, 2) == [beyond + 1, beyond + 2]
    kept.in_transaction(lambda tx: tx.allocate_beyond(given))
    (last,) = send(kept)
    assert last > beyond + 2


def test_what_is_left_at_the_end_is_given_back(kept: Store) -> None:
    (given,) = send(kept)
    kept.close()
    kept.reopen()
    assert kept.reserved() == given
    assert send(kept) == [given + 1]


def test_a_disk_that_fails_at_the_end_loses_them_and_nothing_else(
    kept: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    (given,) = send(kept)

    def fail(cursor: object) -> None:
        raise StoreFailure("the disk has failed")

    with monkeypatch.context() as patched:
        patched.setattr("broker.store.database.commit", fail)
        kept.close()
    assert not kept.database.is_open
    kept.reopen()
    assert given < send(kept)[0] <= given + BLOCK
