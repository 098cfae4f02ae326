"""What a million messages in front cost: nothing.

A database gets a million ready, delayed, leased or dead deliveries, straight into the
tables; then each operation is timed on that very queue, against the same on an empty
database, interleaved. At last the million is deleted while another client goes on
sending.
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
from broker.commands.delivery import DEAD, LEASED, READY, STATES
from broker.store.database import Database
from broker.store.transaction import Limits

ROUNDS = 100
BODY = b"x" * 100
#: Over that of the million, so that what a round sends is what comes to it; and under
#: it, for what a full queue drops first.
FIRST, LAST = 9, 0
FAR_MS = 36_000_000
SOON_MS = 1

_NUMBERS = "WITH RECURSIVE n(i) AS (VALUES(:first) UNION ALL SELECT i + 1 FROM n WHERE i < :last)"
_MESSAGES = f"""{_NUMBERS} INSERT INTO broker_messages (id, sender, sent_at, body)
    SELECT i, 'me', :now, :body FROM n"""
_LIVING = f"""{_NUMBERS} INSERT INTO broker_deliveries
    (id, queue_id, message_id, rank, size, attempts, generation, ready_at, due_at, leased_by,
     expires_at)
    SELECT i, :queue, i, 5, 100, 1, 1, :now, :due_at, :leased_by, :expires_at FROM n"""
_DEAD = f"""{_NUMBERS} INSERT INTO broker_dead_deliveries
    (id, queue_id, message_id, rank, size, attempts, generation, dead_at, reason)
    SELECT i, :queue, i, 5, 100, 1, 1, :now, 'no good' FROM n"""


def fill(path: Path, count: int, state: str) -> None:
    """Put deliveries into the queue ``big``, as sends, pulls and nacks would have left them."""
    database = Database(str(path), Limits(1000))
    database.open(create=False)
    now = time.time_ns() // 1_000_000
    with database.transaction(now) as tx:
        queue = tx.find_queue("big")
        if queue is None:
            raise AssertionError("the queue is made before")
        first = tx.allocate(count)
        values = {
            "first": first,
            "last": first + count - 1,
            "queue": queue.id,
            "now": now,
            "body": BODY,
            # Delays, leases and lives end far from now.
            "due_at": None if state == READY else now + FAR_MS,
            "leased_by": 1 if state == LEASED else None,
            "expires_at": now + 2 * FAR_MS,
        }
        driver = tx.driver
        if driver is None:
            raise AssertionError("a transaction has a connection")
        for statement in (_MESSAGES, _DEAD if state == DEAD else _LIVING):
            driver.execute(statement, values)
        counters = tx.counters(queue.id)
        setattr(counters, state, count)
        counters.bytes = len(BODY) * count
    database.close()


class Round:
    """One of each operation, timed, on the queue ``big``, which is afterwards as it was.

    Args:
        client: of the database.
        held: how many messages the queue has.
    """

    def __init__(self, client: Client, held: int) -> None:
        self.client = client
        self.times: dict[str, list[float]] = {}
        self._held = held
        self._receipt = ""

    def run(self) -> None:
        """Do and time it all."""
        client, note = self.client, self._note
        note("queue list", client.list_queues)
        note("send", self._send)
        note("claim", self._claim)
        note("nack", lambda: client.nack(self._receipt))
        self._claim()
        note("nack, delayed", lambda: client.nack(self._receipt, delay_ms=SOON_MS))
        self._let_time_pass()
        note("claim of what is due", self._claim)
        note("ack", lambda: client.ack(self._receipt))
        note("send, delayed", lambda: self._send(delay_ms=SOON_MS))
        self._let_time_pass()
        self._claim()
        client.ack(self._receipt)
        note("send, with a life", lambda: self._send(ttl_ms=SOON_MS))
        self._let_time_pass()
        # Any command takes away what has expired.
        note("expiry", lambda: client.show_queue("big"))
        self._die()
        self._be_full()

    def _die(self) -> None:
        sent = self.client.send("big", BODY, priority=FIRST)
        self._claim()
        self._note("nack, dead", lambda: self.client.nack(self._receipt, dead=True))
        self._note("dead retry", lambda: self.client.retry_dead("big", sent.id))
        self._claim()
        self.client.nack(self._receipt, dead=True)
        self._note("dead drop", lambda: self.client.drop_dead("big", sent.id))

    def _be_full(self) -> None:
        """Have a send drop the oldest of the lowest priority, which was sent just before."""
        self._send(priority=LAST)
        self.client.set_queue("big", {"max_messages": self._held + 1, "on_full": "drop-oldest"})
        sent: list[int] = []
        self._note("send, drop-oldest", lambda: sent.append(self._send(priority=LAST)))
        self.client.set_queue("big", {"max_messages": None, "on_full": None})
        self.client.delete_message("big", sent[0])

    def _note(self, name: str, action: Callable[[], object]) -> None:
        self.times.setdefault(name, []).append(timed(action))

    def _send(self, priority: int = FIRST, delay_ms: int = 0, ttl_ms: int | None = None) -> int:
        sent = self.client.send("big", BODY, priority=priority, delay_ms=delay_ms, ttl_ms=ttl_ms)
        return sent.id

    def _claim(self) -> None:
        message = self.client.pull("big")
        if message is None or message.receipt is None or message.priority != FIRST:
            raise AssertionError("what was sent is not what comes")
        self._receipt = message.receipt

    def _let_time_pass(self) -> None:
        time.sleep(2 * SOON_MS / 1000)


def timed(action: Callable[[], object]) -> float:
    """Return the milliseconds an action takes."""
    began = time.perf_counter()
    action()
    return (time.perf_counter() - began) * 1000


def compare(folder: Path, count: int, state: str) -> None:
    """Print what each operation costs with ``count`` deliveries in front, against none."""
    rounds: dict[str, Round] = {}
    for label, size in (("empty", 0), (state, count)):
        path = folder / f"{label}.db"
        with connect(str(path)) as client:
            client.create_queue("big")
        if size:
            fill(path, size, state)
        rounds[label] = Round(connect(str(path)), size)
    for _ in range(ROUNDS):
        for one in rounds.values():
            one.run()
    for name, times in rounds[state].times.items():
        empty, full = (statistics.median(t) for t in (rounds["empty"].times[name], times))
        print(f"{count:>9} {state:<8} {name:<19} {full:7.3f} ms  {full / empty:5.2f} x empty")
    print(f"{count:>9} {state:<8} {'delete':<19} {stall(folder / f'{state}.db')}")
    for one in rounds.values():
        one.client.close()


def stall(path: Path) -> str:
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
    parser.add_argument("--folder", help="where to; in memory what a disk's sync hides is seen")
    options = parser.parse_args(arguments)
    for state in STATES:
        with tempfile.TemporaryDirectory(dir=options.folder) as folder:
            compare(Path(folder), options.count, state)


if __name__ == "__main__":
    main()
