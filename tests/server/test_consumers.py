"""Consumers on the wire: pushes, credit, what happens when either end goes."""

from __future__ import annotations

import signal
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support import PATIENCE_S, ServerProcess, running_server, wait_until
from wire import Wire, code_of, request

import broker
from broker.names import MAX_PULL_COUNT
from broker.server.connection import MAX_CONSUMERS

Dial = Callable[..., Wire]


def hello(wire: Wire) -> Wire:
    """Speak RESP3."""
    assert wire.call("HELLO", "3")["proto"] == 3
    return wire


def pushed(wire: Wire) -> dict[str, Any]:
    """Return the message that must be pushed next."""
    kind, message = wire.read()
    assert kind == b"message"
    assert isinstance(message, dict)
    return message


def counts(server: ServerProcess, queue: str) -> tuple[int, int, int]:
    """Return how many are ready, leased, dead."""
    with broker.connect(f"broker+unix://{server.socket}") as client:
        shown = client.show_queue(queue)
    return shown.ready, shown.leased, shown.dead


def test_messages_are_pushed_within_the_credit(server: ServerProcess, dial: Dial) -> None:
    wire = hello(dial(server))
    wire.call("QUEUE", "CREATE", "credit")
    wire.call("QUEUE", "SENDMANY", "credit", "4", "1", "2", "3", "4")
    assert wire.call("QUEUE", "CONSUME", "credit", "PREFETCH", "2") == "OK"
    first, second = pushed(wire), pushed(wire)
    assert (first["body"], second["body"]) == (b"1", b"2")
    assert (first["leased_until"], first["attempts"]) == (None, 1)
    # The answer to a command comes before any further push: there is no credit.
    assert wire.call("PING") == "PONG"
    wire.send("MESSAGE", "ACK", first["receipt"])
    replies = [wire.read(), wire.read()]
    assert "OK" in replies
    (third,) = [reply[1] for reply in replies if isinstance(reply, list)]
    assert third["body"] == b"3"
    # Any connection may answer; the credit is that of who consumes.
    other = dial(server)
    assert other.call("MESSAGE", "NACK", second["receipt"], "DEAD") == "OK"
    assert pushed(wire)["body"] == b"4"
    assert counts(server, "credit") == (0, 2, 1)


def test_resp2_is_told_what_to_use_instead(server: ServerProcess, dial: Dial) -> None:
    wire = dial(server)
    wire.call("QUEUE", "CREATE", "resp2")
    refusal = wire.call("QUEUE", "CONSUME", "resp2")
    assert code_of(refusal) == "INVALID"
    assert "QUEUE PULL ... WAIT" in refusal.message


def test_what_cannot_be_consumed_is_refused(server: ServerProcess, dial: Dial) -> None:
    wire = hello(dial(server))
    assert code_of(wire.call("QUEUE", "CONSUME", "none")) == "NOTFOUND"
    wire.call("QUEUE", "CREATE", "twice")
    assert wire.call("QUEUE", "CONSUME", "twice") == "OK"
    assert code_of(wire.call("QUEUE", "CONSUME", "twice")) == "CONFLICT"
    assert code_of(wire.call("QUEUE", "CANCEL", "none")) == "NOTFOUND"
    assert wire.call("QUEUE", "CANCEL", "twice") == "OK"
    assert wire.call("QUEUE", "CONSUME", "twice") == "OK"
    assert code_of(wire.call("QUEUE", "CONSUME", "twice", "PREFETCH", "1001")) == "INVALID"


def test_a_connection_has_so_many_consumers_and_no_more(server: ServerProcess, dial: Dial) -> None:
    wire = hello(dial(server))
    for number in range(MAX_CONSUMERS + 1):
        wire.call("QUEUE", "CREATE", f"many{number}")
    for number in range(MAX_CONSUMERS):
        assert wire.call("QUEUE", "CONSUME", f"many{number}") == "OK"
    assert code_of(wire.call("QUEUE", "CONSUME", f"many{MAX_CONSUMERS}")) == "CONFLICT"


def test_after_a_cancel_nothing_is_pushed_and_the_leases_stay(
    server: ServerProcess, dial: Dial
) -> None:
    wire = hello(dial(server))
    wire.call("QUEUE", "CREATE", "cancel")
    wire.call("QUEUE", "SEND", "cancel", "1")
    wire.call("QUEUE", "CONSUME", "cancel")
    message = pushed(wire)
    assert wire.call("QUEUE", "CANCEL", "cancel") == "OK"
    wire.call("QUEUE", "SEND", "cancel", "2")
    assert wire.call("PING") == "PONG"
    assert counts(server, "cancel") == (1, 1, 0)
    assert wire.call("MESSAGE", "EXTEND", message["receipt"]) == "OK"
    wire.close()
    wait_until(lambda: counts(server, "cancel") == (2, 0, 0), "both are ready")


def test_when_a_connection_ends_its_leases_go_back_and_the_oldest_counts(
    server: ServerProcess, dial: Dial
) -> None:
    wire = hello(dial(server))
    wire.call("QUEUE", "CREATE", "gone", "max_attempts=1")
    wire.call("QUEUE", "SENDMANY", "gone", "3", "1", "2", "3")
    wire.call("QUEUE", "CONSUME", "gone")
    assert [pushed(wire)["body"] for _ in range(3)] == [b"1", b"2", b"3"]
    wire.close()
    wait_until(lambda: counts(server, "gone") == (2, 0, 1), "they are back")
    with broker.connect(f"broker+unix://{server.socket}") as client:
        (dead,) = client.list_dead("gone")
        assert dead.reason == "1 attempt, the last: the consumer's connection ended"
        assert [m.attempts for m in client.pull_many("gone", 9)] == [1, 1]


def waiting_pulls(wire: Wire) -> int:
    """Return how many pulls wait, those of consumers among them."""
    words = wire.call("STATUS")
    return int(words[words.index(b"waiting_pulls") + 1])


def test_a_consumer_waits_its_turn(own_server: ServerProcess, dial: Dial) -> None:
    server = own_server
    first, second = hello(dial(server)), hello(dial(server))
    first.call("QUEUE", "CREATE", "turns")
    for wire in (first, second):
        assert wire.call("QUEUE", "CONSUME", "turns") == "OK"
    sender = dial(server)
    got = []
    for number in range(4):
        wait_until(lambda: waiting_pulls(sender) == 2, "both wait")
        sender.call("QUEUE", "SEND", "turns", str(number))
        got.append(pushed(first if number % 2 == 0 else second)["body"])
    assert got == [b"0", b"1", b"2", b"3"]


def test_a_deleted_queue_cancels_its_consumer(server: ServerProcess, dial: Dial) -> None:
    wire = hello(dial(server))
    wire.call("QUEUE", "CREATE", "deleted")
    wire.call("QUEUE", "CONSUME", "deleted")
    assert dial(server).call("QUEUE", "DELETE", "deleted") == 0
    kind, queue, code, _ = wire.read()
    assert (kind, queue, code) == (b"cancelled", b"deleted", b"NOTFOUND")
    assert wire.call("PING") == "PONG"


def test_a_paused_queue_pushes_nothing_until_it_is_resumed(
    server: ServerProcess, dial: Dial
) -> None:
    wire, other = hello(dial(server)), dial(server)
    wire.call("QUEUE", "CREATE", "paused")
    other.call("QUEUE", "PAUSE", "paused", "PULLS")
    wire.call("QUEUE", "CONSUME", "paused")
    other.call("QUEUE", "SEND", "paused", "x")
    assert wire.call("PING") == "PONG"
    other.call("QUEUE", "RESUME", "paused")
    assert pushed(wire)["body"] == b"x"


def test_a_message_taken_in_hand_frees_its_credit(server: ServerProcess, dial: Dial) -> None:
    wire, other = hello(dial(server)), dial(server)
    wire.call("QUEUE", "CREATE", "hand")
    wire.call("QUEUE", "CREATE", "hand.other")
    ids = wire.call("QUEUE", "SENDMANY", "hand", "4", "1", "2", "3", "4")
    wire.call("QUEUE", "CONSUME", "hand", "PREFETCH", "1")
    assert pushed(wire)["body"] == b"1"
    other.call("MESSAGE", "DELETE", "hand", str(ids[0]))
    assert pushed(wire)["body"] == b"2"
    other.call("MESSAGE", "MOVE", "hand", str(ids[1]), "hand.other")
    assert pushed(wire)["body"] == b"3"
    other.call("MESSAGE", "RELEASE", "hand", str(ids[2]))
    again = pushed(wire)
    assert (again["body"], again["attempts"]) == (b"3", 1)


def test_extending_a_consumers_lease_changes_nothing(server: ServerProcess, dial: Dial) -> None:
    wire, other = hello(dial(server)), dial(server)
    wire.call("QUEUE", "CREATE", "extended")
    wire.call("QUEUE", "SEND", "extended", "x")
    wire.call("QUEUE", "CONSUME", "extended")
    receipt = pushed(wire)["receipt"]
    assert other.call("MESSAGE", "EXTEND", receipt, "LEASE", "1") == "OK"
    peeked = hello(other).call("QUEUE", "PEEK", "extended", "STATE", "leased")
    assert (peeked["leased_until"], peeked["leased_by"]) == (None, peeked["sender"])


def test_who_does_not_read_is_not_pushed_to_without_end(server: ServerProcess, dial: Dial) -> None:
    wire = hello(dial(server))
    wire.call("QUEUE", "CREATE", "slow")
    body = b"x" * 1_000_000
    for _ in range(60):
        wire.call("QUEUE", "SEND", "slow", body)
    wire.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    wire.call("QUEUE", "CONSUME", "slow", "PREFETCH", str(MAX_PULL_COUNT))
    # A claim brings at most 16 MiB, and the next waits until these are taken.
    assert counts(server, "slow")[1] < 40
    assert sum(len(pushed(wire)["body"]) for _ in range(60)) == 60 * len(body)


def test_a_killed_server_gives_back_uncounted(own_server: ServerProcess, dial: Dial) -> None:
    wire = hello(dial(own_server))
    wire.call("QUEUE", "CREATE", "jobs", "max_attempts=1")
    wire.call("QUEUE", "SENDMANY", "jobs", "3", "1", "2", "3")
    wire.call("QUEUE", "CONSUME", "jobs")
    receipts = [pushed(wire)["receipt"].decode() for _ in range(3)]
    database = own_server.socket.removesuffix(".sock")
    own_server.stop(signal.SIGKILL)
    # Without a server no connection can be alive.
    with broker.connect(database) as client:
        with pytest.raises(broker.Stale):
            client.ack(receipts[0])
        assert [m.attempts for m in client.pull_many("jobs", 2)] == [1, 1]


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_the_next_server_gives_back_what_the_last_has_leased(
    own_server: ServerProcess, dial: Dial, number: signal.Signals
) -> None:
    wire = hello(dial(own_server))
    wire.call("QUEUE", "CREATE", "jobs", "max_attempts=1")
    wire.call("QUEUE", "SENDMANY", "jobs", "3", "1", "2", "3")
    wire.call("QUEUE", "CONSUME", "jobs")
    assert pushed(wire)["body"] == b"1"
    own_server.stop(number)
    database = own_server.socket.removesuffix(".sock")
    with running_server(Path(database)) as again:
        assert counts(again, "jobs") == (3, 0, 0)
        consumer = hello(dial(again))
        assert consumer.call("QUEUE", "CONSUME", "jobs") == "OK"
        assert [pushed(consumer)["attempts"] for _ in range(3)] == [1, 1, 1]


def test_a_client_survives_the_server_under_its_consumer(
    own_server: ServerProcess, dial: Dial
) -> None:
    database = own_server.socket.removesuffix(".sock")
    with broker.connect(database, timeout_s=PATIENCE_S) as client:
        client.create_queue("jobs")
        client.send_many("jobs", [b"1", b"2", b"3"])
        messages = client.consume("jobs", prefetch=1, wait_ms=20_000)
        first = next(messages)
        first.ack()
        second = next(messages)
        own_server.stop(signal.SIGKILL)
        with running_server(Path(database)):
            again = next(messages)
            assert (again.body, again.attempts) == (b"2", 1)
            with pytest.raises(broker.Stale):
                second.ack()
            again.ack()
            assert next(messages).body == b"3"
            messages.close()


# --- transactions on the wire ----------------------------------------------------


def test_multi_and_exec_are_all_or_nothing(server: ServerProcess, dial: Dial) -> None:
    wire = dial(server)
    wire.call("QUEUE", "CREATE", "multi")
    assert wire.call("MULTI") == "OK"
    assert wire.call("QUEUE", "SEND", "multi", "1") == "QUEUED"
    assert wire.call("QUEUE", "SENDMANY", "multi", "2", "2", "3", "KEY", "k") == "QUEUED"
    assert counts(server, "multi") == (0, 0, 0)
    sent, many = wire.call("EXEC")
    assert isinstance(sent, int)
    assert many == [b"ids", [sent + 1, sent + 2], b"duplicate", 0]
    wire.call("MULTI")
    wire.call("QUEUE", "SEND", "multi", "4")
    wire.call("MESSAGE", "ACK", "1.1")
    assert code_of(wire.call("EXEC")) == "STALE"
    assert counts(server, "multi") == (3, 0, 0)
    wire.call("MULTI")
    wire.call("QUEUE", "SEND", "multi", "4")
    assert wire.call("DISCARD") == "OK"
    assert counts(server, "multi") == (3, 0, 0)


@pytest.mark.parametrize(
    "bad",
    [
        request("QUEUE", "PULL", "multi"),
        request("QUEUE", "SEND", "multi", "x", "PRIORITY", "12"),
        request("NONSENSE"),
        request("QUEUE", "SEND", "multi", "x" * 5_000_000),
        request("MULTI"),
    ],
)
def test_after_a_refused_part_exec_does_nothing(
    server: ServerProcess, dial: Dial, bad: bytes
) -> None:
    wire = dial(server)
    wire.call("QUEUE", "CREATE", "multi")
    before = counts(server, "multi")
    assert wire.call("MULTI") == "OK"
    wire.call("QUEUE", "SEND", "multi", "1")
    wire.socket.sendall(bad)
    assert code_of(wire.read()) in ("INVALID", "TOOBIG")
    refusal = wire.call("EXEC")
    assert code_of(refusal) == "INVALID"
    assert "nothing of the transaction was done" in refusal.message
    assert counts(server, "multi") == before
    assert code_of(wire.call("EXEC")) == "INVALID"
    assert code_of(wire.call("DISCARD")) == "INVALID"


def test_a_transaction_is_bounded(server: ServerProcess, dial: Dial) -> None:
    wire = dial(server)
    wire.call("QUEUE", "CREATE", "bounded")
    wire.call("MULTI")
    for _ in range(16):
        assert wire.call("QUEUE", "SEND", "bounded", "x" * 1_000_000) == "QUEUED"
    assert code_of(wire.call("QUEUE", "SEND", "bounded", "x" * 1_000_000)) == "TOOBIG"
    assert code_of(wire.call("EXEC")) == "INVALID"
    wire.call("MULTI")
    for _ in range(1000):
        assert wire.call("QUEUE", "SEND", "bounded", "x") == "QUEUED"
    assert code_of(wire.call("QUEUE", "SEND", "bounded", "x")) == "INVALID"


def test_redis_py_pipelines_are_transactions(server: ServerProcess) -> None:
    import redis

    with redis.Redis(unix_socket_path=server.socket, protocol=3) as client:
        client.execute_command("QUEUE", "CREATE", "pipe")
        with client.pipeline(transaction=True) as pipe:
            pipe.execute_command("QUEUE", "SEND", "pipe", "1")
            pipe.execute_command("QUEUE", "SEND", "pipe", "2")
            first, second = pipe.execute()
        assert second == first + 1
        with client.pipeline(transaction=True) as pipe:
            pipe.execute_command("QUEUE", "SEND", "pipe", "3")
            pipe.execute_command("QUEUE", "SEND", "nowhere", "4")
            with pytest.raises(redis.ResponseError):
                pipe.execute()
    assert counts(server, "pipe") == (2, 0, 0)


def test_an_ack_may_send_in_one(server: ServerProcess, dial: Dial) -> None:
    wire = hello(dial(server))
    for queue in ("from", "to"):
        wire.call("QUEUE", "CREATE", queue)
    wire.call("QUEUE", "SENDMANY", "from", "2", "1", "2")
    first, second = wire.call("QUEUE", "PULL", "from", "COUNT", "2")
    assert code_of(wire.call("MESSAGE", "ACK", first["receipt"], "SEND", "no", "x")) == "NOTFOUND"
    assert counts(server, "from") == (0, 2, 0)
    sent = wire.call("MESSAGE", "ACK", first["receipt"], "SEND", "to", "x", "PRIORITY", "7")
    assert wire.call("QUEUE", "PEEK", "to")["id"] == sent
    again = wire.call("MESSAGE", "ACK", first["receipt"], second["receipt"], "SEND", "to", "y")
    assert code_of(again) == "STALE"
    assert (counts(server, "from"), counts(server, "to")) == ((0, 1, 0), (1, 0, 0))
    keyed = wire.call("MESSAGE", "ACK", second["receipt"], "SEND", "to", "z", "KEY", "k")
    assert (set(keyed), keyed["duplicate"]) == ({"id", "duplicate"}, False)
    assert (counts(server, "from"), counts(server, "to")) == ((0, 0, 0), (2, 0, 0))
