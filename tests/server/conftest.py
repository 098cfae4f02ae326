"""A server of their own for the tests of the socket, and raw connections to it."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support import ServerProcess, running_server
from wire import Wire


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A server that the tests of a module share."""
    with running_server(tmp_path_factory.mktemp("server") / "broker.db") as running:
        yield running


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[ServerProcess]:
    """A server for one test, which may stop or kill it."""
    with running_server(tmp_path / "broker.db") as running:
        yield running


@pytest.fixture
def dial() -> Iterator[Callable[..., Wire]]:
    """Return a function that opens a raw connection, by the Unix socket or TCP."""
    opened: list[Wire] = []

    def connect(server: ServerProcess, *, tcp: bool = False) -> Wire:
        if tcp:
            connection = socket.create_connection(("127.0.0.1", server.port), 30)
        else:
            connection = socket.socket(socket.AF_UNIX)
            # Blocking: with a timeout a full backlog is an error at once.
            connection.connect(server.socket)
            connection.settimeout(30)
        wire = Wire(connection)
        opened.append(wire)
        return wire

    yield connect
    for wire in opened:
        wire.close()
