"""The database as a whole: the same through every door."""

from __future__ import annotations

import os

import pytest
from doors import Door

import broker
from broker import Client
from broker.commands.db import DbCompact
from broker.store.handlers.compaction import COMPACT_SLICE


def test_compacting_gives_back_what_was_deleted(
    door: Door, boss: Client, alice: Client, name: str
) -> None:
    alice.create_queue(name)
    for _ in range(6):
        alice.send_many(name, [os.urandom(1000) for _ in range(1000)])
    alice.create_queue(f"{name}.stays")
    alice.send(f"{name}.stays", b"stays")
    assert alice.purge(name) == 6000
    given_back = boss.compact()
    # In more than two slices.
    assert given_back > 3 * COMPACT_SLICE * 4096
    size = door.database.stat().st_size
    assert boss.compact() == 0
    assert door.database.stat().st_size == size < 3_000_000
    assert alice.pull(f"{name}.stays").body == b"stays"  # type: ignore[union-attr]


def test_only_admins_compact(alice: Client) -> None:
    with pytest.raises(broker.Denied):
        alice.compact()


def test_how_compacting_goes_on_is_not_for_callers(boss: Client) -> None:
    with pytest.raises(broker.Invalid, match="not for callers"):
        boss.execute(DbCompact(left_pages=1))
