"""Commands that differ in their last word alone are read as runs; nobody can tell."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from support import ServerProcess, wait_until
from wire import Wire, code_of, request

from broker.commands.channel import ChannelPublish
from broker.commands.message import MessageAck
from broker.commands.queue import QueueSend
from broker.server.connection import _REPEATED, MAX_PARSED
from broker.service.writer import weight

Dial = Callable[..., Wire]
#: A broker's largest.
MAX_BODY = 1024 * 1024


@pytest.fixture
def wire(server: ServerProcess, dial: Dial, request: pytest.FixtureRequest) -> Wire:
    """Return a connection that has sent to a queue of the test's name so often that it is a run."""
    wire = dial(server)
    queue = queue_of(request)
    wire.call("QUEUE", "CREATE", queue)
    for _ in range(3):
        wire.call("QUEUE", "SEND", queue, "before")
    wire.call("QUEUE", "PURGE", queue)
    for _ in range(3):
        wire.call("QUEUE", "SEND", queue, "before")
    return wire


def queue_of(request: pytest.FixtureRequest) -> str:
    """Return the name of a test's queue."""
    return str(request.node.name)[:60].replace("[", ".").replace("]", "")


@pytest.fixture
def queue(request: pytest.FixtureRequest) -> str:
    """Return the name of the queue that the connection sends to."""
    return queue_of(request)


def all_at_once(wire: Wire, *commands: tuple[str | bytes, ...]) -> list[object]:
    """Send commands in one piece and return their replies."""
    wire.socket.sendall(b"".join(request(*words) for words in commands))
    return [wire.read() for _ in commands]


def bodies(wire: Wire, queue: str) -> list[bytes]:
    """Return the bodies a queue holds, in their order."""
    found: list[bytes] = []
    while records := wire.call("QUEUE", "PULL", queue, "COUNT", "1000", "NOACK"):
        found += [r[r.index(b"body") + 1] for r in records]
    return found


def test_a_window_is_answered_and_stored_in_order(wire: Wire, queue: str) -> None:
    sent = [b"%d\r\n" % n * (n % 7) for n in range(3 * MAX_PARSED)]
    ids = all_at_once(wire, *(("QUEUE", "SEND", queue, body) for body in sent))
    first = ids[0]
    assert isinstance(first, int)
    assert ids == list(range(first, first + len(sent)))
    assert bodies(wire, queue) == [b"before"] * 3 + sent


def test_other_commands_within_it(wire: Wire, queue: str) -> None:
    send = ("QUEUE", "SEND", queue, "x")
    replies = all_at_once(
        wire, send, send, ("PING",), send, ("QUEUE", "SEND", queue, "y", "KEY", "k"), send, send
    )
    assert replies.pop(2) == "PONG"
    assert [type(reply) for reply in replies] == [int, int, int, list, int, int]
    assert bodies(wire, queue) == [b"before"] * 3 + [b"x", b"x", b"x", b"y", b"x", b"x"]


def test_a_transaction_queues_them(wire: Wire, queue: str) -> None:
    send = ("QUEUE", "SEND", queue, "x")
    replies = all_at_once(wire, send, ("MULTI",), send, send, send, ("DISCARD",), send)
    assert replies[1:6] == ["OK", "QUEUED", "QUEUED", "QUEUED", "OK"]
    replies = all_at_once(wire, send, ("MULTI",), send, send, ("EXEC",), send)
    done = replies[4]
    assert isinstance(done, list)
    assert len(done) == 2
    assert bodies(wire, queue) == [b"before"] * 3 + [b"x"] * 6


def test_one_that_is_refused_is_refused_alone(wire: Wire, queue: str) -> None:
    for _ in range(2):
        assert code_of(wire.call("MESSAGE", "ACK", "1.99")) == "STALE"
    receipts: list[str | bytes] = ["1.99", "1.99", b"\xff", "1.98"]
    replies = all_at_once(wire, *(("MESSAGE", "ACK", receipt) for receipt in receipts))
    assert [code_of(reply) for reply in replies] == ["STALE", "STALE", "INVALID", "STALE"]


def test_pulls_are_answered_one_by_one(wire: Wire, queue: str) -> None:
    pull = ("QUEUE", "PULL", queue)
    replies = all_at_once(wire, *[pull] * 5)
    assert [reply is not None for reply in replies] == [True, True, True, False, False]


def test_one_that_comes_while_a_pull_waits_is_executed_after_it(
    server: ServerProcess, dial: Dial, wire: Wire, queue: str
) -> None:
    other = dial(server)
    assert len(bodies(wire, queue)) == 3
    wire.send("QUEUE", "PULL", queue, "WAIT", "60000")
    wait_until(lambda: is_waiting(other), "the pull waits")
    # It would wake the pull that it waits for.
    wire.send("QUEUE", "SEND", queue, "1")
    other.call("QUEUE", "SEND", queue, "0")
    assert b"0" in wire.read()
    assert type(wire.read()) is int
    assert bodies(wire, queue) == [b"1"]


def test_who_logs_in_is_answered_that_first(server: ServerProcess, dial: Dial) -> None:
    """A password takes long to verify; what comes meanwhile, and alone, waits for that."""
    wire = dial(server, tcp=True)
    wire.call("HELLO", "2", "AUTH", "twice", "secret")
    wire.call("QUEUE", "CREATE", "twice")
    for _ in range(3):
        wire.call("QUEUE", "SEND", "twice", "x")
    other = dial(server)
    wire.send("AUTH", "twice", "secret")
    # By the time that another is answered, that was read.
    other.call("PING")
    wire.send("QUEUE", "SEND", "twice", "x")
    assert wire.read() == "OK"
    assert type(wire.read()) is int


def is_waiting(wire: Wire) -> bool:
    """Return whether a pull waits at the server."""
    fields = wire.call("STATUS")
    return bool(fields[fields.index(b"waiting_pulls") + 1])


def test_who_has_logged_out_is_refused(server: ServerProcess, dial: Dial) -> None:
    wire = dial(server, tcp=True)
    wire.call("HELLO", "2", "AUTH", "runner", "secret")
    wire.call("QUEUE", "CREATE", "logged-out")
    send = ("QUEUE", "SEND", "logged-out", "x")
    all_at_once(wire, *[send] * 4)
    replies = all_at_once(wire, send, ("RESET",), send, send)
    assert [code_of(reply) for reply in replies[2:]] == ["NOAUTH", "NOAUTH"]


def test_a_body_that_is_a_command(wire: Wire, queue: str) -> None:
    inner = request("QUEUE", "SEND", queue, "x")
    sent = [b"a", inner, b"b", inner * 3, inner[:-3], b"c"]
    for _ in range(2):
        all_at_once(wire, *(("QUEUE", "SEND", queue, body) for body in sent))
    assert bodies(wire, queue) == [b"before"] * 3 + sent * 2


def test_only_what_weighs_no_more_than_was_received_is_a_run() -> None:
    """A run is not stopped in its midst when its answers become too many."""
    body = 1000
    weights = {
        QueueSend: weight(QueueSend("q", b"x" * body), MAX_BODY),
        ChannelPublish: weight(ChannelPublish("c", b"x" * body), MAX_BODY),
        MessageAck: weight(MessageAck(("1.1",)), MAX_BODY),
    }
    assert set(weights) == _REPEATED
    assert max(weights.values()) == body
