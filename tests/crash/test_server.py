"""A server killed in the middle of many clients' sends and acks: what it answered holds."""

from __future__ import annotations

import os
import random
import signal
import threading
from pathlib import Path

from support import running_server, wait_until

import broker
from broker.client.sockets import SocketTransport
from broker.commands.message import MessageAck
from broker.commands.queue import QueuePull, QueueSend
from broker.config import Address
from broker.errors import BrokerError

ROUNDS = int(os.environ.get("BROKER_TEST_ROUNDS", "20"))
CLIENTS = 6


class Worker(threading.Thread):
    """Sends and acknowledges until its server is gone, and keeps a log of what was answered."""

    def __init__(self, socket: str, name: str) -> None:
        super().__init__(name=name)
        self.sent: list[bytes] = []
        self.unknown: list[bytes] = []
        self.acknowledged: list[bytes] = []
        self.unknown_acks: list[bytes] = []
        self._transport = SocketTransport(
            Address("unix", socket), password=None, timeout_s=30, reconnects=False
        )

    def run(self) -> None:
        """Work until the connection breaks."""
        number = 0
        try:
            while True:
                number += 1
                body = f"{self.name}.{number}".encode()
                self.unknown.append(body)
                self._transport.execute(QueueSend("jobs", body))
                self.sent.append(self.unknown.pop())
                if number % 2:
                    self._acknowledge_one()
        except BrokerError:
            self._transport.close()

    def _acknowledge_one(self) -> None:
        messages = self._transport.execute(QueuePull("jobs", lease_ms=600))
        for message in messages:
            self.unknown_acks.append(message.body)
            (outcome,) = self._transport.execute(MessageAck((message.receipt,)))
            self.unknown_acks.pop()
            if outcome is None:
                self.acknowledged.append(message.body)


def test_what_was_answered_survives_kill_9(tmp_path: Path) -> None:
    seed = int(os.environ.get("BROKER_TEST_SEED", str(random.randrange(2**32))))
    print(f"BROKER_TEST_SEED={seed}")
    chance = random.Random(seed)
    database = tmp_path / "broker.db"
    with broker.connect(str(database)) as client:
        client.create_queue("jobs")
    sent: set[bytes] = set()
    unknown: set[bytes] = set()
    acknowledged: set[bytes] = set()
    unknown_acks: set[bytes] = set()
    for number in range(ROUNDS):
        with running_server(database) as server:
            workers = [Worker(server.socket, f"{number}.{n}") for n in range(CLIENTS)]
            for worker in workers:
                worker.start()
            goal = chance.randrange(20, 400)
            wait_until(
                lambda workers=workers, goal=goal: sum(len(w.sent) for w in workers) >= goal,  # type: ignore[misc]
                "enough was sent",
            )
            server.stop(signal.SIGKILL)
            for worker in workers:
                worker.join(60)
                assert not worker.is_alive()
                sent.update(worker.sent)
                unknown.update(worker.unknown)
                acknowledged.update(worker.acknowledged)
                unknown_acks.update(worker.unknown_acks)
    left: list[bytes] = []
    with broker.connect(str(database)) as client:
        while messages := client.pull_many("jobs", 1000, wait_ms=800, no_ack=True):
            left += [message.body for message in messages]
        shown = client.show_queue("jobs")
    assert len(left) == len(set(left)), "something was delivered twice after all was popped"
    assert not acknowledged & set(left), "an acknowledged message came back"
    lost = sent - acknowledged - unknown_acks - set(left)
    assert not lost, "an answered send is lost"
    assert set(left) <= sent | unknown, "something appeared that nobody sent"
    assert (shown.ready, shown.leased, shown.delayed, shown.bytes) == (0, 0, 0, 0)
