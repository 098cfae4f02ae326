"""The torture: clients at work, and everything killed, stopped and shifted under them.

    python -m crash.torture --minutes 60 --seed 7

Runs in rounds of a minute at most, each with a database of its own and a seed one
higher; a round is checked as it ends. So a long run needs no more memory than a
short one, and a round that has shown something is repeated alone, by its seed: the
decisions of clients and driver are the same then, the timing is not.
"""

from __future__ import annotations

import argparse
import random
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

from crash import entry
from crash.checker import check
from crash.doors import Library
from crash.history import Call, Delivered, Recorder, load, tag_of
from crash.ledger import Ledger, Violation
from crash.setting import (
    CHANNEL,
    PASSWORD,
    QUEUES,
    SUBSCRIPTION,
    TCP_USER,
    WEIGHTS,
    Place,
    brokerctl,
    own_name,
)
from stores import wrong_in
from support import PATIENCE_S, wait_until

import broker
from broker.commands.message import MessageAck
from broker.commands.queue import QueuePull, QueueResume
from broker.names import subscription_queue

#: One client process each; the last runs one-shots of the command line.
DOORS: Final = ("unix", "unix", "tcp", "file", "file", "shell")
ROUND_SECONDS: Final = 60.0
#: By how much the wall clock jumps at most, both ways. Twice that is less than a key lives.
LONGEST_JUMP_MS: Final = 6 * 3_600_000
DRAIN_LATER_MS: Final = 3_600_000
DRAIN_LEASE_MS: Final = 60_000
#: Only where something cannot be drained does it take so long.
DRAIN_SECONDS: Final = 20.0
#: How many violations are told with all that was said about their message.
STORIES: Final = 5


class Process:
    """A process that is killed, stopped and started again.

    Args:
        words: its command.
        place: where it runs.
        log: where its stderr goes.
        variables: of its environment.
    """

    def __init__(self, words: list[str], place: Place, log: Path, **variables: str) -> None:
        self.log = log
        with log.open("ab") as errors:
            self._process = subprocess.Popen(
                words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors,
                env=place.variables(**variables),
            )  # fmt: skip

    def read_line(self) -> str:
        """Return its next line, empty if it has ended."""
        assert self._process.stdout is not None
        return self._process.stdout.readline().decode().strip()

    @property
    def pid(self) -> int:
        """Its number."""
        return self._process.pid

    @property
    def has_ended(self) -> bool:
        """Whether it is over."""
        return self._process.poll() is not None

    def signal(self, number: int) -> None:
        """Send it a signal."""
        self._process.send_signal(number)

    def end(self, number: int) -> int:
        """End it by a signal and return its exit status."""
        if self._process.poll() is None:
            self._process.send_signal(number)
        try:
            status = self._process.wait(PATIENCE_S)
        finally:
            if self._process.stdout is not None:
                self._process.stdout.close()
        return status


class Client(NamedTuple):
    """A client process in one of its lives."""

    name: str
    life: int
    door: str
    process: Process


class Round:
    """One round: a database, its clients, and what is done to them.

    Args:
        folder: empty, for all of it.
        seed: of every decision.
        seconds: how long before the drain.
        fault: to be put into the server, of :mod:`crash.faults`; or None.
        doors: of the clients, one each.
        queues: that they use; the fewer, the more they meet.
        at_least: so many calls, if need be for longer, but not for ever.
    """

    def __init__(
        self,
        folder: Path,
        seed: int,
        seconds: float,
        *,
        fault: str | None = None,
        doors: Sequence[str] = DOORS,
        queues: Sequence[str] = tuple(WEIGHTS),
        at_least: int = 0,
    ) -> None:
        self.place = Place(folder)
        self.place.history.mkdir()
        self.done: Counter[str] = Counter()
        self._seed = seed
        self._seconds = seconds
        self._fault = fault
        self._doors = doors
        self._queues = queues
        self._at_least = at_least
        self._chance = random.Random(f"{seed} driver")
        self._recorder = Recorder(self.place.history, "driver")
        self._offset_ms = 0
        self._highest_ms = 0
        self._port = _free_port()
        self._server: Process | None = None
        self._server_call = 0
        self._clients: list[Client] = []

    def run(self) -> list[Call]:
        """Do all of it; return the history."""
        try:
            self._set_up()
            self._start_server()
            self._clients = [self._client(f"c{n}", 0, d) for n, d in enumerate(self._doors)]
            began = time.monotonic()
            while not self._is_enough(time.monotonic() - began):
                time.sleep(self._chance.uniform(0.1, 1.0))
                self._disturb()
            self._finish()
        finally:
            self._clean_up()
        return load(self.place.history)

    def _is_enough(self, seconds: float) -> bool:
        """Return whether the time is over and enough was done; a slow machine gets more."""
        if seconds < self._seconds:
            return False
        if seconds > self._seconds + PATIENCE_S:
            return True
        lines = sum(path.read_bytes().count(b"\n") for path in self.place.history.iterdir())
        # Two lines a call.
        return lines >= 2 * self._at_least and self.done["server kills"] > 0

    # --- beginning ---

    def _set_up(self) -> None:
        note = self._recorder.note
        entry.set_clock(self.place.clock, 0)
        note("anchor", {"ms": time.time_ns() // 1_000_000})
        note("clock", {"offset": 0})
        with broker.connect(str(self.place.database)) as client:
            client.create_user(TCP_USER, password=PASSWORD, admin=True)
            for name, settings in QUEUES.items():
                client.create_queue(name, settings=settings)
                note("create", {"queue": name, "settings": settings})
            client.create_channel(CHANNEL, publish="anyone")
            client.subscribe(CHANNEL, settings=SUBSCRIPTION)
        with broker.connect(str(self.place.database), user=TCP_USER) as client:
            client.subscribe(CHANNEL, settings=SUBSCRIPTION)
        for user in (own_name(), TCP_USER):
            queue = subscription_queue(CHANNEL, user, "")
            note("subscribe", {"channel": CHANNEL, "queue": queue})

    def _start_server(self) -> None:
        self._server_call = self._recorder.begin("server", {"offset": self._offset_ms})
        variables = {} if self._fault is None else {entry.FAULT: self._fault}
        self._server = Process(
            brokerctl(
                "serve", "--database", str(self.place.database),
                "--listen", f"127.0.0.1:{self._port}",
            ),
            self.place, self.place.folder / "server.log", **variables,
        )  # fmt: skip
        for _ in range(2):
            if not self._server.read_line():
                log = (self.place.folder / "server.log").read_text()
                raise AssertionError(f"the server did not start: {log[-2000:]}")

    def _client(self, name: str, life: int, door: str) -> Client:
        words = [
            sys.executable, "-m", "crash.workload", str(self.place.folder), name, str(life), door,
            str(self._port), str(self._seed), " ".join(self._queues),
        ]  # fmt: skip
        log = self.place.folder / f"{name}.log"
        return Client(name, life, door, Process(words, self.place, log))

    # --- disturbing ---

    def _disturb(self) -> None:
        (deed,) = self._chance.choices(
            (
                self._end_server,
                self._pause_server,
                self._kill_client,
                self._pause_client,
                self._jump,
            ),
            (6, 2, 6, 3, 2),
        )
        deed()
        for client in self._clients:
            if client.process.has_ended:
                self._tell_crash(client)
                self._replace(client)

    def _end_server(self) -> None:
        """Kill the server, or stop it; it comes again at once or after a while."""
        kills = self._chance.random() < 0.7
        self._stop_server(signal.SIGKILL if kills else signal.SIGTERM)
        self.done["server kills" if kills else "server stops"] += 1
        if self._chance.random() < 0.4:
            # Meanwhile the file is used by whoever comes.
            time.sleep(self._chance.uniform(0.3, 1.5))
        if self._chance.random() < 0.3:
            self._jump()
        self._start_server()

    def _stop_server(self, number: int) -> None:
        assert self._server is not None
        ending = self._recorder.begin("server-ends", {"signal": number})
        status = self._server.end(number)
        self._recorder.end(ending, "ok")
        self._recorder.end(self._server_call, "ok")
        self._server = None
        if status not in (0, -signal.SIGKILL):
            self._recorder.note("defect", {"text": f"the server ended with status {status}"})

    def _pause_server(self) -> None:
        assert self._server is not None
        self.done["pauses"] += 1
        self._pause(self._server, 0.6)

    def _kill_client(self) -> None:
        client = self._chance.choice(self._clients)
        self._end_client(client, signal.SIGKILL)
        self.done["client kills"] += 1
        self._replace(client)

    def _end_client(self, client: Client, number: int) -> int:
        """End a client and return its exit status; noted, for what it was given passes on."""
        args = {"client": f"{client.name}.{client.life}", "signal": number}
        ending = self._recorder.begin("client-ends", args)
        status = client.process.end(number)
        self._recorder.end(ending, "ok")
        return status

    def _pause_client(self) -> None:
        """Stop a client for longer than some of its leases."""
        self.done["pauses"] += 1
        self._pause(self._chance.choice(self._clients).process, 1.2)

    def _pause(self, process: Process, longest_s: float) -> None:
        process.signal(signal.SIGSTOP)
        try:
            time.sleep(self._chance.uniform(0.05, longest_s))
        finally:
            process.signal(signal.SIGCONT)

    def _jump(self) -> None:
        """Set the wall clock back or forth; a server takes it over at its next start."""
        self._set_clock(self._chance.randrange(-LONGEST_JUMP_MS, LONGEST_JUMP_MS))
        self.done["clock jumps"] += 1

    def _set_clock(self, offset_ms: int) -> None:
        self._offset_ms = offset_ms
        self._highest_ms = max(self._highest_ms, offset_ms)
        # Noted before and after, so that nobody has a time that was not said to be possible.
        self._recorder.note("clock", {"offset": offset_ms})
        entry.set_clock(self.place.clock, offset_ms)

    def _replace(self, client: Client) -> None:
        self._clients[self._clients.index(client)] = self._client(
            client.name, client.life + 1, client.door
        )

    def _tell_crash(self, client: Client) -> None:
        text = client.process.log.read_text(errors="replace")[-2000:]
        self._recorder.note("defect", {"text": f"client {client.name} crashed: {text}"})

    # --- ending ---

    def _finish(self) -> None:
        for client in self._clients:
            # One that had only just begun did not know yet how to stop.
            if self._end_client(client, signal.SIGTERM) not in (0, -signal.SIGTERM):
                self._tell_crash(client)
        self._clients = []
        self._stop_server(signal.SIGTERM)
        wrong = self._wrong()
        # Later than the latest time there was all is due, and nobody waits for a lease.
        self._set_clock(self._highest_ms + DRAIN_LATER_MS)
        self._start_server()
        self._drain()
        self._stop_server(signal.SIGTERM)
        wrong += [text for text in self._wrong() if text not in wrong]
        log = (self.place.folder / "server.log").read_text(errors="replace")
        for line in log.splitlines():
            if " ERROR " in line or " CRITICAL " in line or line.startswith("Traceback"):
                self._recorder.note("defect", {"text": f"in the server's log: {line}"})
        self._recorder.note("final", {**self._left(wrong), "wrong": wrong})

    def _drain(self) -> None:
        """Take everything that can still be had."""
        door = Library(self.place, "unix", self._port, timeout_s=PATIENCE_S)
        recorder = Recorder(self.place.history, "drain")

        def call(verb: str, args: dict[str, Any], command: Any) -> Any:
            number = recorder.begin(verb, {**args, "door": door.kind})
            result = door.execute(command)
            recorder.end(number, "ok", result)
            return result

        def is_empty() -> bool:
            for queue, ready, delayed, leased in self._rows(
                "SELECT name, ready, delayed, leased FROM broker_queues"
            ):
                if ready or delayed or leased:
                    args = {"queue": queue, "count": 1000, "wait": 0, "lease": DRAIN_LEASE_MS}
                    messages = call("pull", args, QueuePull(queue, 1000, 0, DRAIN_LEASE_MS))
                    receipts = [f"{m.delivery}.{m.generation}" for m in messages]
                    if receipts:
                        call("ack", {"receipts": receipts}, MessageAck(tuple(receipts)))
            return not any(
                sum(row) for row in self._rows("SELECT ready, delayed, leased FROM broker_queues")
            )

        for (queue,) in self._rows("SELECT name FROM broker_queues"):
            call("resume", {"queue": queue}, QueueResume(queue))
        try:
            wait_until(is_empty, "everything is drained", DRAIN_SECONDS)
        except AssertionError as stuck:
            # What is left says it all.
            self._recorder.note("defect", {"text": str(stuck)})
        finally:
            door.close()
            recorder.note("goodbye", {})
            recorder.close()

    def _rows(self, query: str) -> list[tuple[Any, ...]]:
        connection = sqlite3.connect(f"file:{self.place.database}?mode=ro", uri=True)
        try:
            return connection.execute(query).fetchall()
        finally:
            connection.close()

    def _wrong(self) -> list[str]:
        found = wrong_in(self._rows)
        integrity = self._rows("PRAGMA integrity_check")
        return found + [str(row[0]) for row in integrity if row[0] != "ok"]

    def _left(self, wrong: list[str]) -> dict[str, Any]:
        """Return what the drain has left, which can only be dead, and the counters of losses."""
        columns = (
            "q.name, d.message_id, d.id, d.generation, d.attempts, 9 - d.rank, m.sent_at, m.body"
        )
        tables = "d JOIN broker_messages m ON m.id = d.message_id JOIN broker_queues q"
        query = f"SELECT {columns} FROM {{}} {tables} ON q.id = d.queue_id"
        dead = self._rows(query.format("broker_dead_deliveries"))
        alive = self._rows(query.format("broker_deliveries"))
        if alive:
            wrong.append(f"{len(alive)} were not to be drained, as {alive[0][:7]}")
        left = [
            Delivered(
                tag_of(body), queue, number, delivery, generation, attempts, priority, sent, None
            )
            for queue, number, delivery, generation, attempts, priority, sent, body in dead + alive
        ]
        dropped = dict(self._rows("SELECT name, dropped FROM broker_queues"))
        return {"left": left, "dropped": dropped}

    def _clean_up(self) -> None:
        for process in [*(c.process for c in self._clients), self._server]:
            if process is not None and not process.has_ended:
                process.end(signal.SIGKILL)
        self._recorder.close()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


# --- telling ----------------------------------------------------------------------


def count(calls: Sequence[Call]) -> Counter[str]:
    """Return how much of what there is in a history."""
    counted: Counter[str] = Counter()
    events = {
        "anchor", "clock", "create", "server", "server-ends", "client-ends", "goodbye", "final",
        "defect", "pushed", "idle",
    }  # fmt: skip
    for call in calls:
        if call.verb in events:
            continue
        counted["operations"] += 1
        counted[call.outcome] += 1
        if call.verb in ("send", "publish", "transact") and call.outcome == "ok":
            counted["messages sent"] += len(call.args["tags"])
    for call in calls:
        if call.verb in ("pull", "pushed") and call.outcome == "ok":
            counted["deliveries"] += len(call.result)
    return counted


def tell(calls: Sequence[Call], violations: Sequence[Violation]) -> str:
    """Return what is wrong, the first few with all that was said about their message."""
    ledger = Ledger(list(calls))
    lines = []
    for number, violation in enumerate(violations):
        lines.append(f"VIOLATION {violation.rule}: {violation.text}")
        if number < STORIES and (violation.tag or violation.delivery):
            lines.append(f"  all that is known of {violation.tag} (delivery {violation.delivery}):")
            lines += [f"    {call}" for call in ledger.story(violation.tag, violation.delivery)]
    return "\n".join(lines)


def summary(counts: Counter[str], violations: int) -> str:
    """Return the figures of a run in a line."""
    order = (
        "operations", "ok", "refused", "unknown", "messages sent", "deliveries", "server kills",
        "server stops", "client kills", "pauses", "clock jumps",
    )  # fmt: skip
    return ", ".join(f"{counts[name]} {name}" for name in order) + f", {violations} violations"


def main() -> int:
    """Torture for as long as asked; return the exit status: 1 after a violation."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=1.0)
    parser.add_argument("--seed", type=int, default=None)
    options = parser.parse_args()
    # So that a run that is ended takes its processes with it.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(130))
    seed = random.randrange(2**31) if options.seed is None else options.seed
    total: Counter[str] = Counter()
    found = 0
    left_s = options.minutes * 60
    while left_s > 0:
        seconds = min(left_s, ROUND_SECONDS)
        left_s -= seconds
        folder = Path(tempfile.mkdtemp(prefix="torture-"))
        print(f"seed {seed}: {seconds:.0f} s in {folder}", flush=True)
        this_round = Round(folder, seed, seconds)
        calls = this_round.run()
        violations = check(calls)
        counts = count(calls) + this_round.done
        total += counts
        found += len(violations)
        print(f"seed {seed}: {summary(counts, len(violations))}", flush=True)
        if violations:
            print(tell(calls, violations))
            minutes = seconds / 60
            print(f"kept {folder}; again: make torture MINUTES={minutes:g} SEED={seed}", flush=True)
        else:
            shutil.rmtree(folder)
        seed += 1
    print(f"in all: {summary(total, found)}")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
