"""One-shots that are killed or come all at once: nothing promised is lost."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

from support import brokerctl, environment

import broker

#: How many one-shots are killed; more by hand.
KILLS = int(os.environ.get("BROKER_TEST_KILLS", "100"))
SIMULTANEOUS = int(os.environ.get("BROKER_TEST_SIMULTANEOUS", "200"))


def start(url: Path, *arguments: str) -> subprocess.Popen[bytes]:
    """Start a one-shot without waiting for it."""
    return subprocess.Popen(
        [sys.executable, "-m", "broker.cli", *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment(BROKER_URL=str(url)),
    )


def test_two_hundred_sends_at_once_all_succeed(tmp_path: Path) -> None:
    url = tmp_path / "broker.db"
    assert brokerctl("queue", "create", "jobs", url=url).returncode == 0
    senders = [
        start(url, "queue", "send", "jobs", f"body {n}", "--timeout", "5m")
        for n in range(SIMULTANEOUS)
    ]
    results = [(*sender.communicate(), sender.returncode) for sender in senders]
    assert [error for _, error, status in results if status or error] == []
    ids = {int(output) for output, _, _ in results}
    assert len(ids) == SIMULTANEOUS
    with broker.connect(str(url)) as client:
        bodies = {m.body for m in client.pull_many("jobs", 1000)}
    assert bodies == {b"body %d" % n for n in range(SIMULTANEOUS)}


def test_killed_one_shots_lose_nothing_that_was_promised(tmp_path: Path) -> None:
    """Sends and acks are killed at random moments, before and after they have printed."""
    seed = int(os.environ.get("BROKER_TEST_SEED", str(random.randrange(2**32))))
    print(f"BROKER_TEST_SEED={seed}")
    chance = random.Random(seed)
    url = tmp_path / "broker.db"
    assert brokerctl("queue", "create", "jobs", url=url).returncode == 0
    promised: set[bytes] = set()
    acknowledged: set[bytes] = set()
    tried: set[bytes] = set()
    # Long enough for most to get somewhere, short enough for few to end.
    usual = one_shot_seconds(url)
    with broker.connect(str(url)) as client:
        for number in range(KILLS):
            body = b"body %d" % number
            message = client.pull("jobs", lease_ms=3_600_000) if number % 3 == 2 else None
            if message is None:
                tried.add(body)
                process = start(url, "queue", "send", "jobs", body.decode())
            else:
                assert message.receipt is not None
                process = start(url, "message", "ack", message.receipt)
            kill_within(process, chance.uniform(0.3, 1.3) * usual)
            output, _ = process.communicate()
            if message is None:
                if output.endswith(b"\n"):
                    promised.add(body)
                continue
            # Killed before or after it had acknowledged: now it is, one way or the other.
            (outcome,) = client.ack_many([str(message.receipt)])
            if process.returncode == 0:
                assert isinstance(outcome, broker.Stale), "an ack that exited 0 was not done"
            acknowledged.add(message.body)
        left = [m.body for m in client.pull_many("jobs", 1000)]
        shown = client.show_queue("jobs")
    assert len(left) == len(set(left))
    assert set(left) <= tried
    assert promised - acknowledged <= set(left)
    assert not acknowledged & set(left)
    assert shown.leased == len(left)
    assert brokerctl("queue", "send", "jobs", "after all", url=url).returncode == 0


def one_shot_seconds(url: Path) -> float:
    """Return how long a one-shot takes here, in seconds."""
    began = time.monotonic()
    brokerctl("queue", "show", "jobs", url=url)
    return time.monotonic() - began


def kill_within(process: subprocess.Popen[bytes], seconds: float) -> None:
    """Kill a process with SIGKILL unless it ends by itself before."""
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGKILL)
