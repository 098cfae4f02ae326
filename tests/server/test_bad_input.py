"""What is wrong gets its code or the connection closed, and everyone else goes on."""

from __future__ import annotations

import resource
import socket
import time
from collections.abc import Callable

import psutil
import pytest
from support import ServerProcess, wait_until
from wire import Wire, code_of, request

Dial = Callable[..., Wire]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["FOO"], "unknown command"),
        (["QUEUE"], "unknown command"),
        (["QUEUE", "SHW", "x"], "did you mean QUEUE SHOW"),
        (["QUEUE", "CREATE"], "QUEUE CREATE name [name=value ...] [IFMISSING]"),
        (["QUEUE", "LIST", "MIEN"], "did you mean MINE"),
        (["QUEUE", "CREATE", b"\xff\xfe"], "UTF-8"),
        (["QUEUE", "CREATE", "a b"], "A-Z a-z"),
        (["QUEUE", "PULL", "q", "COUNT"], "wants a value"),
        (["QUEUE", "PULL", "q", "COUNT", "0"], "from 1 to 1000"),
        (["QUEUE", "PULL", "q", "COUNT", "x"], "whole number"),
        (["QUEUE", "PULL", "q", "COUNT", "1", "COUNT", "2"], "twice"),
        (["QUEUE", "SEND", "q", "b", "HEADERS", "[1]"], "JSON object"),
        (["QUEUE", "SEND", "q", "b", "HEADERS", "[" * 5000], "JSON object"),
        (["QUEUE", "SEND", "q", "b", "PRIORITY", "12"], "0 to 9"),
        (["MESSAGE", "ACK", "???"], "receipt"),
        (["MESSAGE", "ACK"], "MESSAGE ACK receipt ..."),
        (["CHANNEL", "CREATE", "c", "publish=nobody"], "subscribers, anyone"),
        (["CHANNEL", "CREATE", "c", "colour=red"], "unknown setting"),
        (["SELECT", "1"], "one database"),
        (["CLIENT", "MAINT_NOTIFICATIONS", "ON"], "CLIENT"),
        (["PING", "a", "b"], "PING"),
        (["HELLO", "3", "AUTH", "x"], "HELLO"),
    ],
)
def test_a_bad_command_is_invalid_and_the_connection_goes_on(
    server: ServerProcess, dial: Dial, words: list[str | bytes], said: str
) -> None:
    wire = dial(server)
    reply = wire.call(*words)
    assert code_of(reply) == "INVALID"
    assert said in reply.message
    assert wire.call("PING") == "PONG"


def test_an_unspoken_protocol_version_is_noproto(server: ServerProcess, dial: Dial) -> None:
    wire = dial(server)
    assert code_of(wire.call("HELLO", "4")) == "NOPROTO"
    assert wire.call("PING") == "PONG"


@pytest.mark.parametrize(
    "frame",
    [
        b"*1\r\n:5\r\n",
        b"*x\r\n",
        b"*-7\r\n",
        b"*1\r\n$-1\r\n",
        b"*1\r\n$99999999999999999999\r\n",
        b"*99999999999\r\n",
        b"*1\r\n*1\r\n$4\r\nPING\r\n",
        b"*1\r\n$4\r\nPINGxx",
        b"*1\n$4\nPING\n",
        b'PING "unbalanced\r\n',
        b"x" * 200_000,
        b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
        b"POST /queue HTTP/1.1\r\n\r\n",
    ],
)
def test_what_is_no_protocol_is_said_and_closed(
    server: ServerProcess, dial: Dial, frame: bytes
) -> None:
    wire = dial(server)
    wire.socket.sendall(frame)
    assert code_of(wire.read()) == "PROTOCOL"
    assert wire.is_closed_by_peer()
    assert dial(server).call("PING") == "PONG"


def test_what_came_before_a_bad_frame_is_executed_and_answered(
    server: ServerProcess, dial: Dial
) -> None:
    wire = dial(server)
    wire.socket.sendall(
        request("QUEUE", "CREATE", "before", "IFMISSING")
        + request("QUEUE", "SEND", "before", "x")
        + b"*x\r\n"
        + request("QUEUE", "SEND", "before", "never")
    )
    assert wire.read() == "OK"
    assert isinstance(wire.read(), int)
    assert code_of(wire.read()) == "PROTOCOL"
    assert wire.is_closed_by_peer()
    other = dial(server)
    other.call("HELLO", "3")
    assert other.call("QUEUE", "SHOW", "before")["ready"] == 1


def test_an_oversized_body_is_refused_and_the_connection_goes_on(
    server: ServerProcess, dial: Dial
) -> None:
    wire = dial(server)
    wire.call("QUEUE", "CREATE", "big", "IFMISSING")
    wire.socket.sendall(request("QUEUE", "SEND", "big", b"x" * 3_000_000) + request("PING"))
    assert code_of(wire.read()) == "TOOBIG"
    assert wire.read() == "PONG"


def test_half_a_command_then_the_end_executes_nothing(server: ServerProcess, dial: Dial) -> None:
    wire = dial(server)
    wire.call("QUEUE", "CREATE", "half", "IFMISSING")
    wire.socket.sendall(request("QUEUE", "SEND", "half", "whole")[:-3])
    wire.socket.shutdown(socket.SHUT_WR)
    assert wire.is_closed_by_peer()
    other = dial(server)
    other.call("HELLO", "3")
    assert other.call("QUEUE", "SHOW", "half")["ready"] == 0


def test_a_half_close_gets_all_its_answers(server: ServerProcess, dial: Dial) -> None:
    wire = dial(server)
    wire.socket.sendall(
        b"QUEUE CREATE closing IFMISSING\r\n"
        + request("QUEUE", "SEND", "closing", "x") * 2000
        + b"QUEUE PULL closing COUNT 1\r\nQUEUE PULL empty WAIT 60000\r\nPING\r\n"
    )
    wire.socket.shutdown(socket.SHUT_WR)
    assert wire.read() == "OK"
    assert len({wire.read() for _ in range(2000)}) == 2000
    assert len(wire.read()) == 1
    assert code_of(wire.read()) == "NOTFOUND"
    assert wire.read() == "PONG"
    assert wire.is_closed_by_peer()


def test_a_half_close_ends_a_waiting_pull_with_nothing(server: ServerProcess, dial: Dial) -> None:
    wire = dial(server)
    wire.call("QUEUE", "CREATE", "nothing", "IFMISSING")
    wire.socket.sendall(request("QUEUE", "PULL", "nothing", "WAIT", "60000") + request("PING"))
    wire.socket.shutdown(socket.SHUT_WR)
    assert wire.read() is None
    assert wire.read() == "PONG"
    assert wire.is_closed_by_peer()


def test_ten_thousand_commands_in_one_write_are_answered_in_order(
    server: ServerProcess, dial: Dial
) -> None:
    wire = dial(server)
    wire.call("QUEUE", "CREATE", "many", "IFMISSING")
    wire.socket.settimeout(60)
    sender = b"".join(request("QUEUE", "SEND", "many", f"{n}") for n in range(10_000))
    wire.socket.sendall(sender)
    ids = [wire.read() for _ in range(10_000)]
    assert ids == sorted(ids)
    assert len(set(ids)) == 10_000
    pulled = wire.call("QUEUE", "PULL", "many", "COUNT", "1000", "NOACK")
    bodies = [dict(zip(m[::2], m[1::2], strict=True))[b"body"] for m in pulled]
    assert bodies == [b"%d" % n for n in range(1000)]


def test_commands_before_a_login_are_refused(server: ServerProcess, dial: Dial) -> None:
    wire = dial(server, tcp=True)
    for words in (["QUEUE", "LIST"], ["WHOAMI"], ["FOO"], ["COMMAND"], ["HELLO", "3"]):
        assert code_of(wire.call(*words)) == "NOAUTH"
    assert wire.call("PING") == "PONG"
    wire.socket.sendall(request("AUTH", "eve", "x" * 5000))
    assert code_of(wire.read()) == "TOOBIG"
    wire.socket.sendall(b"*5000\r\n")
    assert code_of(wire.read()) == "PROTOCOL"
    assert wire.is_closed_by_peer()


def test_a_client_that_never_reads_costs_bounded_memory(server: ServerProcess, dial: Dial) -> None:
    wire = dial(server)
    wire.call("QUEUE", "CREATE", "unread", "IFMISSING")
    for _ in range(40):
        wire.call("QUEUE", "SEND", "unread", b"x" * 1_000_000)
    process = psutil.Process(server.process.pid)
    before = process.memory_info().rss
    deaf = dial(server)
    deaf.socket.setblocking(False)
    asks = request("QUEUE", "PULL", "unread", "COUNT", "10", "LEASE", "1") * 100
    written = 0
    began = time.monotonic()
    # It asks for gigabytes, for as long as the server takes the questions.
    while written < 20_000_000 and time.monotonic() - began < 3:
        try:
            written += deaf.socket.send(asks)
        except BlockingIOError:
            assert wire.call("PING") == "PONG"
    assert process.memory_info().rss - before < 200 * 1024 * 1024
    assert wire.call("PING") == "PONG"


def test_five_thousand_idle_connections_cost_little(own_server: ServerProcess, dial: Dial) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    count = min(5000, hard - 200)
    process = psutil.Process(own_server.process.pid)
    before = process.memory_info().rss
    wires = [dial(own_server, tcp=n % 2 == 0) for n in range(count)]
    assert wires[-1].call("PING") == "PONG"
    assert process.memory_info().rss - before < 40 * 1024 * 1024
    assert wires[0].call("PING") == "PONG"
    wires[1].call("HELLO", "3")
    assert wires[1].call("STATUS")["connections"] == count
    for wire in wires:
        wire.close()
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_who_disconnects_while_waiting_leaves_the_message_to_others(
    server: ServerProcess, dial: Dial
) -> None:
    first, second, sender = dial(server), dial(server), dial(server)
    sender.call("QUEUE", "CREATE", "gone", "IFMISSING")
    sender.call("HELLO", "3")
    first.send("QUEUE", "PULL", "gone", "WAIT", "60000")
    wait_until(lambda: sender.call("STATUS")["waiting_pulls"] == 1, "the first pull waits")
    first.close()
    wait_until(lambda: sender.call("STATUS")["waiting_pulls"] == 0, "it is forgotten")
    second.send("QUEUE", "PULL", "gone", "WAIT", "60000")
    sender.call("QUEUE", "SEND", "gone", "x")
    message = second.read()
    assert dict(zip(message[::2], message[1::2], strict=True))[b"attempts"] == 1


def test_a_claim_for_who_is_gone_is_given_back_uncounted(server: ServerProcess, dial: Dial) -> None:
    other = dial(server)
    other.call("QUEUE", "CREATE", "vanished", "IFMISSING")
    other.call("HELLO", "3")
    other.call("QUEUE", "SEND", "vanished", "x")
    for _ in range(20):
        gone = dial(server)
        gone.send("QUEUE", "PULL", "vanished", "LEASE", "3600000")
        gone.close()
    # Who is served came after them: none of them is still to be let in.
    last = dial(server)
    last.call("PING")
    last.close()
    wait_until(lambda: other.call("STATUS")["connections"] == 1, "they are gone")
    wait_until(lambda: other.call("QUEUE", "SHOW", "vanished")["ready"] == 1, "it is given back")
    assert other.call("QUEUE", "PULL", "vanished")["attempts"] == 1


def test_waiters_are_served_in_the_order_they_came(server: ServerProcess, dial: Dial) -> None:
    sender = dial(server)
    sender.call("QUEUE", "CREATE", "fair", "IFMISSING")
    sender.call("HELLO", "3")
    waiters = []
    for count in range(1, 5):
        waiter = dial(server)
        waiter.send("QUEUE", "PULL", "fair", "WAIT", "60000", "NOACK")
        wait_until(
            lambda count=count: sender.call("STATUS")["waiting_pulls"] == count,  # type: ignore[misc]
            "the pull waits",
        )
        waiters.append(waiter)
    for number, waiter in enumerate(waiters):
        sender.call("QUEUE", "SEND", "fair", f"{number}")
        message = waiter.read()
        assert dict(zip(message[::2], message[1::2], strict=True))[b"body"] == b"%d" % number


def test_a_waiting_pull_holds_back_its_own_connection_only(
    server: ServerProcess, dial: Dial
) -> None:
    waiter, other = dial(server), dial(server)
    other.call("QUEUE", "CREATE", "held", "IFMISSING")
    waiter.socket.sendall(
        request("QUEUE", "PULL", "held", "WAIT", "60000", "NOACK")
        + request("QUEUE", "SEND", "held", "after")
        + request("PING")
    )
    other.call("HELLO", "3")
    wait_until(lambda: other.call("STATUS")["waiting_pulls"] == 1, "it waits")
    assert other.call("QUEUE", "SHOW", "held")["ready"] == 0
    other.call("QUEUE", "SEND", "held", "first")
    message = waiter.read()
    assert dict(zip(message[::2], message[1::2], strict=True))[b"body"] == b"first"
    assert isinstance(waiter.read(), int)
    assert waiter.read() == "PONG"


def test_a_deleted_queue_ends_the_wait(server: ServerProcess, dial: Dial) -> None:
    waiter, other = dial(server), dial(server)
    other.call("QUEUE", "CREATE", "doomed", "IFMISSING")
    other.call("HELLO", "3")
    waiter.send("QUEUE", "PULL", "doomed", "WAIT", "60000")
    wait_until(lambda: other.call("STATUS")["waiting_pulls"] == 1, "it waits")
    other.call("QUEUE", "DELETE", "doomed")
    assert code_of(waiter.read()) == "NOTFOUND"
