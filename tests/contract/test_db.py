"""The database as a whole: the same through every door."""

from __future__ import annotations

import json
import os
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from doors import Door

import broker
from broker import Client
from broker.commands.db import DbCompact, DbImport, Imported
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


def records(name: str) -> list[bytes]:
    """Return the lines of an export: a queue of boss's with a dead and a ready message."""
    copy = {"queue": name, "priority": 4, "attempts": 2}
    message = {"kind": "message", "part": 0, "published": False, "sender": "boss", "sent_at": 1}
    lines: list[dict[str, Any]] = [
        {"format": "broker-export", "version": 1, "last_id": 9, "exported_at": 1, "secrets": False},
        {
            "kind": "queue", "name": name, "owner": "boss", "created_at": 5, "settings": {},
            "dropped": 3,
        },
        {**message, "id": 7, "body": name, "copies": [{**copy, "state": "ready"}]},
        {
            **message, "id": 8, "body": f"dead {name}",
            "copies": [{**copy, "state": "dead", "dead_at": 4, "reason": "old"}],
        },
    ]  # fmt: skip
    return [json.dumps(line).encode() for line in lines]


def test_what_was_exported_is_imported_once(boss: Client, alice: Client, name: str) -> None:
    lines = tuple(records(name))
    imported = Imported._make(boss.execute(DbImport(lines)))
    assert imported == Imported(0, 0, 1, 0, 2, 2, 0, 0)
    queue = boss.show_queue(name)
    assert (queue.created_at, queue.dropped, queue.ready, queue.dead) == (5, 3, 1, 1)
    assert Imported._make(boss.execute(DbImport(lines))) == Imported(0, 0, 0, 0, 0, 0, 0, 3)
    message = alice.pull(name, wait_ms=0)
    assert message is not None
    assert (message.body, message.attempts) == (name.encode(), 3)
    assert boss.list_dead(name)[0].reason == "old"


def test_who_waits_is_woken_by_an_import(door: Door, boss: Client, name: str) -> None:
    boss.create_queue(name)
    with ThreadPoolExecutor() as pool:
        waiting = pool.submit(door.client("alice").pull, name, wait_ms=60_000)
        boss.execute(DbImport(tuple(records(name))))
        message = waiting.result()
    assert message is not None
    assert message.body == name.encode()


def test_an_import_is_all_or_none_and_names_the_line(boss: Client, name: str) -> None:
    lines = (*records(name), b"{}")
    with pytest.raises(broker.Invalid, match=r"^line 104: "):
        boss.execute(DbImport(lines, 101))
    with pytest.raises(broker.NotFound):
        boss.show_queue(name)


def test_only_admins_may_import(alice: Client, name: str) -> None:
    with pytest.raises(broker.Denied):
        alice.execute(DbImport(tuple(records(name))))
