"""Run by tests as a program: does the steps of a workload embedded, and says how far it is.

``embedded.py DATABASE MARKS SEED COUNT PAGES`` writes a line to the file MARKS once a
step has been answered: its number from 1, and what it was told, ``UNKNOWN`` where
that it is not known was all.
"""

from __future__ import annotations

import os
import sys
from collections import deque

from faults.workload import MAX_MESSAGE_BYTES, receipts_in, steps

from broker.errors import BrokerError
from broker.service.embedded import EmbeddedBroker
from broker.store import dialect
from broker.store.dialect import StoreFailure


def main(database: str, marks: str, seed: int, count: int, pages: int) -> None:
    """Do the steps; a checkpoint is due after ``pages`` of log."""
    dialect.AUTOCHECKPOINT_PAGES = pages
    descriptor = os.open(marks, os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o600)
    held: deque[str] = deque()
    broker = EmbeddedBroker(
        database, act_as=None, timeout_s=30, max_message_bytes=MAX_MESSAGE_BYTES
    )
    for number, step in enumerate(steps(seed, count), 1):
        command = step.command_with(held)
        told = "OK"
        if command is not None:
            try:
                held.extend(receipts_in(broker.execute(command)))
            except BrokerError as refusal:
                is_unknown = isinstance(refusal.__cause__, StoreFailure)
                told = "UNKNOWN" if is_unknown else refusal.code
        os.write(descriptor, f"{number} {told}\n".encode())
    broker.close()
    os.write(descriptor, b"closed\n")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], *map(int, sys.argv[3:]))
