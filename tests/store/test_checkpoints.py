"""Checkpoints: inside the commits of those who come and go, between them for a server."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from stores import Store

from broker.commands.queue import QueueCreate, QueueSend
from broker.store import checkpoints
from broker.store.checkpoints import paced

PAGES = 50
FILLING = [QueueSend("q", b"x" * 900)] * 40


@pytest.fixture
def filled(store: Store, monkeypatch: pytest.MonkeyPatch) -> Store:
    """Return a store whose checkpoints are its own affair, with a queue."""
    monkeypatch.setattr(checkpoints, "MOST_PAGES", PAGES)
    store.run(QueueCreate("q"))
    store.database.keep()
    return store


def send_until(store: Store, log_bytes: int) -> None:
    while store.database.sizes()[1] < log_bytes:
        store.batch(*((store.alice, command) for command in FILLING))


def test_no_commit_checkpoints_and_what_is_due_is_done_between_them(filled: Store) -> None:
    send_until(filled, 4 * PAGES * 4096)
    before = filled.database.sizes()[0]
    filled.database.checkpoint_if_due()
    assert filled.database.sizes()[0] > before + 2 * PAGES * 4096
    # From its head again: the log grows no more.
    log = filled.database.sizes()[1]
    for _ in range(20):
        filled.run(QueueSend("q", b"x" * 900))
        filled.database.checkpoint_if_due()
    assert filled.database.sizes()[1] == log


def test_a_short_log_is_left_alone(filled: Store) -> None:
    send_until(filled, 2 * PAGES * 4096)
    filled.database.checkpoint_if_due()
    before = filled.database.sizes()[0]
    filled.run(QueueSend("q", b"x" * 900))
    filled.database.checkpoint_if_due()
    assert filled.database.sizes()[0] == before


def test_a_reader_does_not_make_it_look_through_the_log_again_and_again(filled: Store) -> None:
    reader = sqlite3.connect(f"file:{filled.path}?mode=ro", uri=True, isolation_level=None)
    reader.execute("BEGIN")
    reader.execute("SELECT count(*) FROM broker_messages").fetchone()
    seen: list[str] = []
    driver: Any
    with filled.database.transaction(filled.now) as tx:
        driver = tx.driver
    send_until(filled, 4 * PAGES * 4096)
    driver.set_trace_callback(seen.append)
    for _ in range(5):
        filled.database.checkpoint_if_due()
    driver.set_trace_callback(None)
    assert seen == ["PRAGMA wal_checkpoint(PASSIVE)"]
    reader.close()
    send_until(filled, 8 * PAGES * 4096)
    before = filled.database.sizes()[0]
    filled.database.checkpoint_if_due()
    assert filled.database.sizes()[0] > before


@pytest.mark.parametrize(
    ("pages", "seconds", "expected"),
    [
        (3000, 0.015, 3000), (3000, 0.05, 1500), (1500, 0.05, 1000), (1000, 1.0, 1000),
        (1000, 0.03, 1250), (2800, 0.001, 3000),
    ],
)  # fmt: skip
def test_a_slow_disk_is_given_less_at_a_time(pages: int, seconds: float, expected: int) -> None:
    assert paced(pages, seconds) == expected


def test_after_a_slow_one_the_next_comes_earlier(
    filled: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoints, "SLOW_S", 3600.0)
    sends_until_one_is_due(filled)
    before = sends_until_one_is_due(filled)
    monkeypatch.setattr(checkpoints, "SLOW_S", 0.0)
    sends_until_one_is_due(filled)
    assert sends_until_one_is_due(filled) <= before // 2 + 1 < before
    monkeypatch.setattr(checkpoints, "SLOW_S", 3600.0)
    # It recovers, however long that was so.
    for _ in range(10):
        sends_until_one_is_due(filled)
    assert sends_until_one_is_due(filled) >= before - 1


def sends_until_one_is_due(store: Store) -> int:
    """Return how many commits it takes until a checkpoint is due, and have that."""
    sent = 0
    while not store.database.is_checkpoint_due:
        store.run(QueueSend("q", b"x" * 900))
        sent += 1
    store.database.checkpoint_if_due()
    return sent


LOCKED = """
import fcntl, sys
with open(sys.argv[1], "rb") as index:
    for offset in range(120, 128):
        try:
            fcntl.lockf(index, fcntl.LOCK_SH | fcntl.LOCK_NB, 1, offset)
        except OSError:
            sys.exit("locked")
"""


def test_its_look_at_the_index_drops_no_lock_of_sqlite(filled: Store) -> None:
    """A descriptor of that file that is closed would take all locks of the process with it."""
    index = f"{filled.path}-shm"
    with filled.database.transaction(filled.now):
        filled.database.checkpoint_if_due()
        asked = subprocess.run(
            [sys.executable, "-c", LOCKED, index], capture_output=True, text=True
        )
        assert asked.stderr.strip() == "locked"
    filled.database.close()
    assert not Path(index).exists()
    assert not [name for name in os.listdir("/proc/self/fd") if is_of(name, index)]


def is_of(descriptor: str, path: str) -> bool:
    """Return whether a descriptor of this process is of a file, be it gone by now."""
    try:
        return os.readlink(f"/proc/self/fd/{descriptor}").startswith(path)
    except FileNotFoundError:
        return False
