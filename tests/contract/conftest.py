"""The doors the contract holds for: the file itself, the Unix socket, TCP."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest
from doors import Door
from support import running_server

from broker import Client


@pytest.fixture(scope="session", params=["embedded", "unix", "tcp", "asyncio"])
def shared_door(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Door]:
    """A door to a database that all tests of it share; starting servers is slow."""
    database = tmp_path_factory.mktemp(request.param) / "broker.db"
    if request.param == "embedded":
        door = Door("embedded", database, None)
        yield door
        door.close()
        return
    with running_server(database) as server:
        door = Door(request.param, database, server)
        yield door
        door.close()


@pytest.fixture
def door(shared_door: Door) -> Iterator[Door]:
    """A door whose clients are closed after the test."""
    yield shared_door
    shared_door.close()


_NUMBERS = itertools.count(1)


@pytest.fixture
def name() -> str:
    """A name no other test uses."""
    return f"n{next(_NUMBERS)}"


@pytest.fixture
def alice(door: Door) -> Client:
    """A client of a user who is nobody special."""
    return door.client("alice")


@pytest.fixture
def bob(door: Door) -> Client:
    """A client of another."""
    return door.client("bob")


@pytest.fixture
def boss(door: Door) -> Client:
    """A client of an admin."""
    return door.client("boss")
