"""What a million messages in front cost: nothing.

A database gets a million ready, leased or delayed deliveries, straight into the
tables; then ``queue list``, send, pull and ack are timed on another queue and on
that very one, against the same on an empty database, interleaved. At last the
million is deleted while another client goes on sending.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

from broker.client.sync import Client, connect
from broker.store import statements as sql
from broker.store.database import Database
from broker.store.transaction import Limits

ROUNDS = 100


def fill(path: Path, count: int, state: str) -> None:
    """Put deliveries into the queue ``big``, as sends and pulls would have left them."""
    database = Database(str(path), Limits(1000))
    database.open(create=False)
    # Long ago, so that they come first; their leases and delays end far from now.
    now = time.time_ns() // 1_000_000
    due_at = None if state == "ready" else now + 36_000_000
    leased_by = 1 if state == "leased" else None
    with database.transaction(now) as tx:
        queue = tx.find_queue("big")
        if queue is None:
            raise AssertionError("the queue is made before")
        first = tx.allocate(count)
        for start in range(first, first + count, 10_000):
            ids = range(start, min(start + 10_000, first + count))
            tx.run_many(sql.INSERT_MESSAGE, [(i, "me", now, None, None, b"x" * 100) for i in ids])
            tx.run_many(
                sql.INSERT_DELIVERY,
                [(i, queue.id, i, 5, 100, 1, 1, now, due_at) for i in ids],
            )
        if leased_by is not None:
            tx.connection.exec_driver_sql("UPDATE broker_deliveries SET leased_by = 1")
        counters = tx.counters(queue.id)
        setattr(counters, state, count)
        counters.bytes = 100 * count
    database.close()


def timed(action: Callable[[], object]) -> float:
    """Return the milliseconds an action takes."""
    began = time.perf_counter()
    action()
    return (time.perf_counter() - began) * 1000


def cycle(client: Client, queue: str, times: dict[str, list[float]]) -> None:
    """Time one of each."""
    times["queue list"].append(timed(client.list_queues))
    times["send"].append(timed(lambda: client.send(queue, b"x" * 100, priority=9)))
    began = time.perf_counter()
    message = client.pull(queue)
    times["pull"].append((time.perf_counter() - began) * 1000)
    if message is None or message.receipt is None:
        raise AssertionError("what was sent is not there")
    receipt = message.receipt
    times["ack"].append(timed(lambda: client.ack(receipt)))


def compare(folder: Path, count: int, state: str) -> None:
    """Print what each operation costs with ``count`` deliveries in front, against none."""
    names = ("queue list", "send", "pull", "ack")
    results: dict[str, dict[str, list[float]]] = {}
    clients: dict[str, Client] = {}
    for label, size in (("empty", 0), (state, count)):
        path = folder / f"{label}.db"
        with connect(str(path)) as client:
            client.create_queue("big")
        if size:
            fill(path, size, state)
        clients[label] = connect(str(path))
        results[label] = {name: [] for name in names}
    for _ in range(ROUNDS):
        for label, client in clients.items():
            cycle(client, "big", results[label])
    for name in names:
        empty = statistics.median(results["empty"][name])
        full = statistics.median(results[state][name])
        print(f"{count:>9} {state:<8} {name:<11} {full:7.3f} ms  {full / empty:5.2f} x empty")
    print(f"{count:>9} {state:<8} {'delete':<11} {stall(folder / f'{state}.db', clients)}")
    for client in clients.values():
        client.close()


def stall(path: Path, clients: dict[str, Client]) -> str:
    """Delete the big queue while another client sends; say how long its sends took."""
    with connect(str(path)) as other:
        other.create_queue("other")
        usual = statistics.median(timed(lambda: other.send("other", b"x")) for _ in range(50))
        done = threading.Event()
        waits: list[float] = []

        def send() -> None:
            with connect(str(path)) as sender:
                while not done.is_set():
                    waits.append(timed(lambda: sender.send("other", b"x")))

        sender = threading.Thread(target=send)
        sender.start()
        took = timed(lambda: other.delete_queue("big"))
        done.set()
        sender.join()
    worst = max(waits)
    return (
        f"{took / 1000:7.1f} s, meanwhile {len(waits)} sends of median "
        f"{statistics.median(waits):.1f} ms, worst {worst:.0f} ms (usually {usual:.2f} ms)"
    )


def main(arguments: list[str] | None = None) -> None:
    """Run the comparison for each state."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=1_000_000)
    options = parser.parse_args(arguments)
    for state in ("ready", "leased", "delayed"):
        with tempfile.TemporaryDirectory() as folder:
            compare(Path(folder), options.count, state)


if __name__ == "__main__":
    main()
