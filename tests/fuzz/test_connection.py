"""Whole connections of a real server: whatever comes, others are served and memory is bounded."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from spelling import VALUES, commands
from stores import Store
from support import ServerProcess, running_server, wait_until
from wire import Wire

from broker.commands import grammar
from broker.commands.grammar import words_of
from broker.commands.table import all_syntaxes
from broker.errors import BrokerError, Internal
from broker.protocols.resp.encoder import encode_request
from broker.protocols.resp.replies import NOT_READY, ReplyParser
from broker.protocols.resp.session import SESSION_COMMANDS

SYNTAXES = list(all_syntaxes().values())
#: What its caches, its thread stacks and an allocator that gives nothing back may come to.
MOST_GROWTH = 96 * 1024 * 1024
#: Few, so that one command finds what another has made.
names = st.sampled_from(["a", "b", "c"])
FEW = {
    **VALUES,
    id(grammar.NAME): names,
    id(grammar.QUEUE): names | st.sampled_from(["a@root", "b@root@n"]),
    id(grammar.USER): st.sampled_from(["u", "v"]),
    id(grammar.RECEIPT): st.builds("{}.{}".format, st.integers(1, 60), st.integers(1, 3)),
    id(grammar.ID): st.integers(1, 60),
    id(grammar.KEY): names,
    id(grammar.UID): st.integers(1, 3),
}
of_the_broker = st.sampled_from(SYNTAXES).flatmap(
    lambda syntax: commands(syntax, FEW).map(lambda command: words_of(syntax, command))
)
of_the_session = st.builds(
    lambda name, words: [name.encode(), *words],
    st.sampled_from(sorted(SESSION_COMMANDS)),
    st.lists(st.sampled_from([b"2", b"3", b"0", b"AUTH", b"x", b"SETNAME", b"ID"]), max_size=3),
)
whole = (of_the_broker | of_the_broker | of_the_session).map(encode_request)


@st.composite
def broken(draw: st.DrawFn) -> bytes:
    """Draw a command with some of its bytes changed, or cut short."""
    data = bytearray(draw(whole))
    position = draw(st.integers(0, len(data) - 1))
    data[position : position + draw(st.integers(0, 4))] = draw(st.binary(max_size=4))
    return bytes(data[: draw(st.integers(1, len(data) + 10))])


conversations = st.lists(whole | whole | whole | broken() | st.binary(max_size=30), max_size=12)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """Run a server, and look at what it has logged and stored once all is over."""
    database = tmp_path_factory.mktemp("fuzz") / "broker.db"
    with running_server(database) as running:
        yield running
        assert running.stop() == 0
        log = running.log
    assert "Traceback" not in log, log
    assert "ERROR" not in log, log
    store = Store(Path(database))
    store.check()
    store.database.close()


@pytest.fixture(scope="module")
def memory_at_first(server: ServerProcess) -> int:
    """Return what the server holds before anything is said, in bytes."""
    return int(psutil.Process(server.process.pid).memory_info().rss)


def dialled(server: ServerProcess, *, tcp: bool = False) -> socket.socket:
    """Return a connection to a server."""
    if tcp:
        return socket.create_connection(("127.0.0.1", server.port), 60)
    connection = socket.socket(socket.AF_UNIX)
    connection.connect(server.socket)
    connection.settimeout(60)
    return connection


def replies_until_the_end(connection: socket.socket) -> list[Any]:
    """Return all that is answered up to the end of a connection."""
    parser = ReplyParser()
    found: list[Any] = []
    while True:
        try:
            data = connection.recv(65536)
        except ConnectionError:
            data = b""
        if not data:
            return found
        parser.feed(data)
        while (reply := parser.next()) is not NOT_READY:
            found.append(reply)


def errors_in(value: Any) -> Iterator[BrokerError]:
    """Yield the errors in a reply."""
    if isinstance(value, BrokerError):
        yield value
    elif isinstance(value, list):
        for item in value:
            yield from errors_in(item)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(
    conversation=conversations,
    tcp=st.sampled_from([False, False, True]),
    leaves=st.sampled_from(["half-close", "half-close", "close", "reset"]),
)
def test_whatever_is_said_others_are_served(
    server: ServerProcess,
    memory_at_first: int,
    conversation: list[bytes],
    tcp: bool,
    leaves: str,
) -> None:
    with dialled(server, tcp=tcp) as connection:
        try:
            for piece in conversation:
                connection.sendall(piece)
            if leaves == "half-close":
                connection.shutdown(socket.SHUT_WR)
                for reply in replies_until_the_end(connection):
                    assert not [e for e in errors_in(reply) if isinstance(e, Internal)]
            elif leaves == "reset":
                linger = b"\x01\0\0\0\0\0\0\0"
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        except TimeoutError:
            raise
        except OSError:
            # A server that was told nonsense may have closed by now.
            pass
    with dialled(server) as other:
        assert Wire(other).call("PING") == "PONG"


def test_afterwards_its_memory_is_bounded(server: ServerProcess, memory_at_first: int) -> None:
    """Last in this file: all that was said before has been kept no longer than it had to be."""
    held = psutil.Process(server.process.pid).memory_info().rss
    assert held < memory_at_first + MOST_GROWTH
    with dialled(server) as other:
        wire = Wire(other)
        wire.call("HELLO", "3")
        wait_until(lambda: wire.call("STATUS")["connections"] == 1, "all others are gone")
        assert wire.call("STATUS")["waiting_pulls"] == 0
