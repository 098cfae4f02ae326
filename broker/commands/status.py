"""The command that asks a server how it does."""

from __future__ import annotations

from typing import Final, NamedTuple

from .grammar import Syntax


class Totals(NamedTuple):
    """What a database holds, in total over all queues."""

    queues: int
    channels: int
    subscriptions: int
    users: int
    ready: int
    delayed: int
    leased: int
    dead: int
    bytes: int


class ServerStatus(NamedTuple):
    """How a server does.

    Attributes:
        version: of the program.
        pid: of the process.
        uptime_ms: since it opened the database.
        database: its path.
        database_bytes, wal_bytes: sizes of the file and its write-ahead log.
        schema: the revision of the database.
        doors: where it listens.
        connections: how many are open.
        commands, commits: since start; their ratio is what group commit saves.
        largest_batch: the most commands one commit has carried.
        waiting_pulls: pulls that wait for a message.
        queues, channels, subscriptions, users: how many there are.
        ready, delayed, leased, dead: deliveries by state, over all queues.
        bytes: of the bodies of all of them.
    """

    version: str
    pid: int
    uptime_ms: int
    database: str
    database_bytes: int
    wal_bytes: int
    schema: str
    doors: tuple[str, ...]
    connections: int
    commands: int
    commits: int
    largest_batch: int
    waiting_pulls: int
    queues: int
    channels: int
    subscriptions: int
    users: int
    ready: int
    delayed: int
    leased: int
    dead: int
    bytes: int


class Status(NamedTuple):
    """Ask the server for its :class:`ServerStatus`."""


SYNTAX: Final = (
    Syntax(
        ("STATUS",), Status, (), (), "record", "Show how the server does.",
        ServerStatus, reads=True,
    ),
)  # fmt: skip
