"""``python -m benchmarks.stages``: where the time of one send, and of one pushed message, goes.

Each stage runs alone in this process on what the stage before it made, many times
over; the least is what the stage costs where nothing disturbs it. CPU time, except
for the sync, which is time on the clock: in it the interpreter is free for others.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

from broker.commands.message import MessageAck
from broker.commands.queue import QueueConsume, QueueCreate, QueueSend
from broker.commands.request import Principal, Request
from broker.commands.table import syntax_of
from broker.protocols.resp.encoder import encode, encode_pushes, encode_request
from broker.protocols.resp.results import to_reply
from broker.service.plan import plan
from broker.store.database import Database
from broker.store.handlers import execute
from broker.store.handlers.users import principal_of_uid
from broker.store.transaction import Limits, Transaction

from .reading import Reading

MAX_BODY = 1024 * 1024
PATIENT = 60


class Stages:
    """What is measured, for commands in batches of one size."""

    def __init__(self, folder: Path, count: int, size: int) -> None:
        self.count = count
        self.body = b"x" * size
        self.database = Database(str(folder / f"{count}-{size}.db"), Limits(MAX_BODY))
        self.database.open(create=True)
        self.database.has_consumers = True
        with self.database.transaction(1) as tx:
            self.principal: Principal = principal_of_uid(tx, 1, "bench")
            execute(tx, [Request(self.principal, QueueCreate("jobs"))])

    def show(self, stage: str, least_ns: float) -> None:
        """Print the cost of a stage for each command."""
        print(f"  {stage:<46} {least_ns / self.count / 1000:8.2f} us")

    def least(self, stage: Callable[[], object]) -> float:
        """Return the least nanoseconds that a stage takes for all commands together."""
        found = float("inf")
        for _ in range(PATIENT):
            began = time.process_time_ns()
            stage()
            found = min(found, time.process_time_ns() - began)
        return found

    def run(self, requests: list[Request]) -> list[Any]:
        """Execute one batch, committed and synced."""
        with self.database.transaction(1) as tx:
            return execute(tx, requests)

    def measure_sends(self) -> None:
        """Print what a send costs from its bytes to its reply."""
        words = [b"QUEUE", b"SEND", b"jobs", self.body]
        wire = encode_request(words) * self.count
        reading = Reading(self.principal, words, MAX_BODY)
        bodies = reading.bodies(wire)
        requests = [Request(self.principal, command) for command in reading.commands(bodies)]
        syntax = syntax_of(QueueSend)
        ids = list(range(self.count))
        self.show("bytes to words", self.least(lambda: reading.bodies(wire)))
        self.show("words to a command", self.least(lambda: reading.commands(bodies)))
        self.show("planned", self.least(lambda: plan([requests])))
        with silenced():
            handler, _ = self.least_batch(requests)
        whole, commit = self.least_batch(requests)
        self.show("the handler, without the rows of its messages", handler)
        self.show("those rows into the tables", whole - handler)
        self.show("BEGIN, and COMMIT of nothing", self.least(lambda: self.run([])))
        self.show("COMMIT with its sync, on the clock", commit)
        answered = list(zip((r.command for r in requests), ids, strict=True))
        replied = self.least(
            lambda: [encode(to_reply(syntax, command, i), 2) for command, i in answered]
        )
        self.show("id to a reply", replied)

    def least_batch(self, requests: list[Request]) -> tuple[float, float]:
        """Return the least that a batch takes until its commit, and its commit on the clock."""
        handled = committed = float("inf")
        for _ in range(PATIENT):
            with self.database.transaction(1) as tx:
                began = time.process_time_ns()
                execute(tx, requests)
                handled = min(handled, time.process_time_ns() - began)
                began = time.perf_counter_ns()
            committed = min(committed, time.perf_counter_ns() - began)
        return handled, committed

    def measure_pushes(self) -> None:
        """Print what a message costs from its claim by a consumer to its ack."""
        send = Request(self.principal, QueueSend("jobs", self.body))
        consume = Request(self.principal, QueueConsume("jobs", self.count))
        claim = push = ack = float("inf")
        for _ in range(PATIENT):
            self.run([send] * self.count)
            began = time.process_time_ns()
            (messages,) = self.run([consume])
            claimed = time.process_time_ns()
            encode_pushes(messages)
            pushed = time.process_time_ns()
            self.run([Request(self.principal, MessageAck((m.receipt,))) for m in messages])
            acked = time.process_time_ns()
            claim = min(claim, claimed - began)
            push = min(push, pushed - claimed)
            ack = min(ack, acked - pushed)
        self.show("claim and lease, with its COMMIT", claim)
        self.show("message to a push", push)
        self.show("ack, with its COMMIT", ack)


@contextmanager
def silenced() -> Iterator[None]:
    """Let bulk statements do nothing."""
    with patch.object(Transaction, "run_bulk", lambda *_: None):
        yield


def main(arguments: list[str] | None = None) -> None:
    """Print the stages of batches of 1000 and of one, with bodies of 100 bytes and 1 KiB."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        for count, size in ((1000, 100), (1000, 1024), (1, 100)):
            print(f"{count} at a time, {size} bytes: a send")
            stages = Stages(Path(folder), count, size)
            stages.measure_sends()
            print(f"{count} at a time, {size} bytes: a pushed message")
            stages.measure_pushes()
            stages.database.close()


if __name__ == "__main__":
    main()
