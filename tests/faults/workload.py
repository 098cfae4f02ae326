"""A repeatable run of commands, and what a store holds after each of them.

The same steps go to an embedded client, to a server's socket and to a store that
nothing happens to; what the last one holds after each step is what the others
must be found to hold, whatever befell them below SQLite.
"""

from __future__ import annotations

import hashlib
import os
import random
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from stores import Store

from broker.commands.channel import ChannelCreate, ChannelPublish, ChannelSubscribe
from broker.commands.message import MessageAck, MessageNack
from broker.commands.queue import (
    QueueCreate,
    QueueDelete,
    QueuePull,
    QueuePurge,
    QueueSend,
    QueueSendMany,
)
from broker.commands.request import Principal
from broker.service.accounts import login_name
from broker.store.handlers import users
from broker.store.transaction import Limits

LEASE_MS = 3_600_000
MAX_MESSAGE_BYTES = 1024 * 1024
#: What a store holds: its queues with their counters, its deliveries, its keys.
Fingerprint = tuple[tuple[Any, ...], ...]


class Step(NamedTuple):
    """One command, but for the receipts, which only whoever pulled has."""

    kind: str
    command: Any = None
    #: How many of the receipts held it uses, the oldest first.
    receipts: int = 0

    def command_with(self, held: deque[str]) -> Any:
        """Return the command; None if there is no receipt for it to use."""
        if not self.receipts:
            return self.command
        taken = tuple(held.popleft() for _ in range(min(self.receipts, len(held))))
        return self.command._replace(receipts=taken) if taken else None


def steps(seed: int, count: int, *, largest: int = 6000) -> list[Step]:
    """Return a run of ``count`` steps that touches every table."""
    chance = random.Random(seed)
    made = [
        Step("create", QueueCreate("work", (("max_attempts", "3"),))),
        Step("create", QueueCreate("side")),
        Step("create", ChannelCreate("news")),
        Step("subscribe", ChannelSubscribe("news")),
        Step("subscribe", ChannelSubscribe("news", "second")),
    ]
    while len(made) < count:
        made.append(_one(chance, len(made), largest))
    return made[:count]


def _one(chance: random.Random, number: int, largest: int) -> Step:
    body = _body(chance, number, largest)
    kind = chance.choices(
        ["send", "keyed", "delayed", "many", "publish", "pull", "ack", "ack-send", "nack", "die",
         "purge", "temporary"],
        [20, 4, 3, 4, 8, 16, 14, 5, 4, 3, 1, 1],
    )[0]  # fmt: skip
    if kind == "send":
        return Step(kind, QueueSend("work", body, priority=chance.randrange(10)))
    if kind == "keyed":
        # Few keys: some are sent twice, and stored once.
        return Step(kind, QueueSend("work", body, key=f"key {chance.randrange(6)}"))
    if kind == "delayed":
        return Step(kind, QueueSend("side", body, delay_ms=LEASE_MS))
    if kind == "many":
        return Step(kind, QueueSendMany("work", tuple(body + b"%d" % n for n in range(3))))
    if kind == "publish":
        return Step(kind, ChannelPublish("news", body))
    if kind == "pull":
        queue = chance.choice(["work", "work", "work", "side"])
        return Step(kind, QueuePull(queue, chance.randrange(1, 4), lease_ms=LEASE_MS))
    if kind == "ack":
        return Step(kind, MessageAck(()), chance.randrange(1, 4))
    if kind == "ack-send":
        return Step(kind, MessageAck((), QueueSend("side", body)), 1)
    if kind == "nack":
        return Step(kind, MessageNack(()), 1)
    if kind == "die":
        return Step(kind, MessageNack((), dead=True), 1)
    if kind == "purge":
        return Step(kind, QueuePurge("side"))
    name = f"temporary-{number}"
    return Step(
        kind, QueueCreate(name) if chance.random() < 0.7 else QueueDelete(name, if_exists=True)
    )


def _body(chance: random.Random, number: int, largest: int) -> bytes:
    """Return a body unlike any other, now and then of several pages."""
    size = chance.randrange(10, 200) if chance.random() < 0.7 else chance.randrange(200, largest)
    return b"%d:" % number + chance.randbytes(size)


def receipts_in(outcome: Any) -> list[str]:
    """Return the receipts in what a command has answered, if it was a pull."""
    if not isinstance(outcome, tuple):
        return []
    return [part.receipt for part in outcome if getattr(part, "receipt", None) is not None]


def windows(run: Sequence[Step], seed: int, largest: int) -> list[list[Step]]:
    """Return a run cut into windows of at most ``largest`` steps, sent without waiting between."""
    chance = random.Random(seed)
    cut: list[list[Step]] = []
    position = 0
    while position < len(run):
        size = chance.randrange(1, largest + 1)
        cut.append(list(run[position : position + size]))
        position += size
    return cut


def fingerprints(folder: Path, run: Sequence[Sequence[Step]]) -> list[Fingerprint]:
    """Return what a store holds before the first step of windows of steps, and after each.

    A receipt can be used from the window on that follows its pull's.
    """
    store, me = _store_of_mine(folder / "model.db")
    held: deque[str] = deque()
    found = [fingerprint(store)]
    try:
        for window in run:
            pulled: list[str] = []
            for step in window:
                command = step.command_with(held)
                if command is not None:
                    pulled += receipts_in(store.run(command, me))
                found.append(fingerprint(store))
            held.extend(pulled)
    finally:
        store.database.close()
    return found


def replayed(
    folder: Path, run: Sequence[Step], told: Sequence[str], *, unknown_is_stored: bool
) -> Fingerprint:
    """Return what a store holds after those steps of a run that were told OK.

    Args:
        folder: for the store.
        run: the steps, each of which was tried.
        told: what each was told: ``OK``, ``UNKNOWN``, or the code of a refusal.
        unknown_is_stored: whether the first of unknown outcome was done.
    """
    path = folder / "replayed.db"
    store, me = _store_of_mine(path)
    held: deque[str] = deque()
    unknown = 0
    try:
        for step, answer in zip(run, told, strict=False):
            command = step.command_with(held)
            unknown += answer == "UNKNOWN"
            is_first_unknown = answer == "UNKNOWN" and unknown == 1
            if command is None or not (answer == "OK" or (is_first_unknown and unknown_is_stored)):
                continue
            receipts = receipts_in(store.run(command, me))
            if answer == "OK":
                held.extend(receipts)
        return fingerprint(store)
    finally:
        store.database.close()
        for left in folder.glob(f"{path.name}*"):
            left.unlink()


def _store_of_mine(path: Path) -> tuple[Store, Principal]:
    """Return a new store, and the principal that an embedded client of this user is."""
    store = Store(path)
    store.database.limits = Limits(MAX_MESSAGE_BYTES)
    with store.database.transaction(store.now) as tx:
        return store, users.principal_of_uid(tx, os.geteuid(), login_name(os.geteuid()))


def fingerprint(store: Store) -> Fingerprint:
    """Return what a store holds, without times and without ids."""
    queues = store.rows(
        "SELECT name, ready, delayed, leased, dead, bytes, max_attempts FROM broker_queues"
    )
    live = store.rows(
        "SELECT q.name, d.rank, d.attempts, d.due_at IS NULL, d.leased_by IS NULL, m.body"
        " FROM broker_deliveries d JOIN broker_queues q ON q.id = d.queue_id"
        " JOIN broker_messages m ON m.id = d.message_id ORDER BY d.id"
    )
    dead = store.rows(
        "SELECT q.name, d.rank, d.attempts, 'dead', d.reason, m.body"
        " FROM broker_dead_deliveries d JOIN broker_queues q ON q.id = d.queue_id"
        " JOIN broker_messages m ON m.id = d.message_id ORDER BY d.id"
    )
    keys = store.rows("SELECT key, count FROM broker_keys")
    deliveries = [(*row[:-1], hashlib.sha256(row[-1]).hexdigest()) for row in [*live, *dead]]
    return (*sorted(queues), *deliveries, *sorted(keys))
