"""Lost replies: what can be repeated is, once; what cannot says that it is not known."""

from __future__ import annotations

import select
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from support import ServerProcess, running_server

import broker
from broker.client.retries import is_repeatable, with_key
from broker.commands.queue import QueueCreate, QueueList, QueuePull, QueueSend


class ReplyEater:
    """A proxy that passes the first connection's request on, and cuts it instead of replying."""

    def __init__(self, path: str, server: str) -> None:
        self.connections = 0
        self._server = server
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(path)
        self._listener.listen()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            upstream = socket.socket(socket.AF_UNIX)
            upstream.connect(self._server)
            with client, upstream:
                self._serve(client, upstream, eat=self.connections == 1)

    def _serve(self, client: socket.socket, upstream: socket.socket, *, eat: bool) -> None:
        replies = b""
        while True:
            readable, _, _ = select.select([client, upstream], [], [])
            if client in readable:
                request = client.recv(65536)
                if not request:
                    return
                upstream.sendall(request)
            if upstream in readable:
                replies += upstream.recv(65536)
                # The greeting's reply comes first, and ends with this key.
                if eat and b":" in replies.rpartition(b"registered")[2]:
                    return
                if not eat:
                    client.sendall(replies)
                    replies = b""

    def close(self) -> None:
        """Listen no more."""
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(30)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ServerProcess]:
    """A server with a queue."""
    with running_server(tmp_path / "broker.db") as running:
        with broker.connect(f"broker+unix://{running.socket}") as client:
            client.create_queue("jobs")
        yield running


def test_a_send_whose_reply_was_lost_is_stored_once(server: ServerProcess, tmp_path: Path) -> None:
    path = str(tmp_path / "proxy.sock")
    proxy = ReplyEater(path, server.socket)
    with broker.connect(f"broker+unix://{path}") as client:
        sent = client.send("jobs", b"once")
        assert proxy.connections == 2
        assert sent.duplicate
    proxy.close()
    with broker.connect(f"broker+unix://{server.socket}") as client:
        assert [m.id for m in client.pull_many("jobs", 10)] == [sent.id]


def test_what_cannot_be_repeated_says_that_it_is_not_known(
    server: ServerProcess, tmp_path: Path
) -> None:
    path = str(tmp_path / "proxy.sock")
    proxy = ReplyEater(path, server.socket)
    client = broker.connect(f"broker+unix://{path}")
    with pytest.raises(broker.Unavailable, match="not known"):
        client.delete_queue("jobs")
    assert proxy.connections == 1
    client.close()
    proxy.close()


def test_a_peer_that_is_no_broker_is_said(tmp_path: Path) -> None:
    path = str(tmp_path / "other.sock")
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    listener.listen()

    def answer() -> None:
        peer, _ = listener.accept()
        with peer:
            peer.recv(65536)
            peer.sendall(b"+hello\r\n+hello\r\n")

    thread = threading.Thread(target=answer)
    thread.start()
    client = broker.connect(f"broker+unix://{path}")
    with pytest.raises(broker.BrokerError, match="no broker"):
        client.whoami()
    client.close()
    thread.join()
    listener.close()


def test_a_server_that_never_answers_is_unavailable(tmp_path: Path) -> None:
    path = str(tmp_path / "silent.sock")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen()
        client = broker.connect(f"broker+unix://{path}", timeout_s=0.2)
        with pytest.raises(broker.Unavailable, match="did not answer"):
            client.whoami()
        client.close()


def test_the_client_waits_for_a_server_that_comes_back(tmp_path: Path) -> None:
    database = tmp_path / "broker.db"
    with running_server(database) as server:
        socket_path = server.socket
    client = broker.connect(f"broker+unix://{socket_path}", timeout_s=60)
    answers: list[object] = []
    asking = threading.Thread(target=lambda: answers.append(client.whoami()))
    asking.start()
    with running_server(database):
        asking.join(60)
    client.close()
    assert len(answers) == 1


def test_which_commands_are_repeatable() -> None:
    assert is_repeatable(with_key(QueueSend("q", b"")))
    assert not is_repeatable(QueueSend("q", b""))
    assert is_repeatable(QueuePull("q"))
    assert not is_repeatable(QueuePull("q", no_ack=True))
    assert is_repeatable(QueueList())
    assert not is_repeatable(QueueCreate("q"))
    assert with_key(QueueSend("q", b"", key="mine")).key == "mine"


def test_a_full_backlog_is_waited_for(tmp_path: Path) -> None:
    path = str(tmp_path / "full.sock")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen(0)
        waiting = []
        while True:
            peer = socket.socket(socket.AF_UNIX)
            waiting.append(peer)
            peer.setblocking(False)
            try:
                peer.connect(path)
            except BlockingIOError:
                break
        answers: list[str] = []

        def ask() -> None:
            client = broker.connect(f"broker+unix://{path}", timeout_s=60)
            try:
                client.whoami()
            except broker.BrokerError as error:
                answers.append(error.message)
            client.close()

        asking = threading.Thread(target=ask)
        asking.start()
        # Room is made one by one, until the client is among those who got in.
        while True:
            peer, _ = listener.accept()
            with peer:
                peer.settimeout(0.5)
                try:
                    request = peer.recv(100)
                except TimeoutError:
                    continue
                if request:
                    peer.sendall(b"-DENIED you are in\r\n-DENIED\r\n")
                    break
        asking.join(60)
        for peer in waiting:
            peer.close()
    assert answers == ["you are in"]
