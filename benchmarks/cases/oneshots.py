"""(h): a program that sends one message and ends."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

from ..bench import Bench
from ..peers import Peer

#: In each round; their median counts.
TIMES = 15


def one_shots(bench: Bench, peer: Peer, body: int) -> None:
    """(h) Send one message by the program that comes with a server."""
    with bench.queue(peer) as queue:
        command = peer.one_shot(queue)
        if command is None:
            return
        commands = {peer.name: command}
        if peer.name == "broker":
            commands |= _beside(bench, queue)
        times: dict[str, list[float]] = {name: [] for name in commands}
        for _ in range(TIMES):
            for name, words in commands.items():
                times[name].append(_microseconds(words))
    for name, measured in times.items():
        bench.record("h", "send one", "us", body, name, statistics.median(measured))


def _beside(bench: Bench, queue: str) -> dict[str, list[str]]:
    """Return the same without a server, and what Python itself and its imports take."""
    brokerctl = str(Path(sys.executable).with_name("brokerctl"))
    database = str(bench.folder / "one-shots.db")
    subprocess.run(
        [brokerctl, "--url", database, "queue", "create", queue, "--if-missing"],
        check=True, stdout=subprocess.DEVNULL,
    )  # fmt: skip
    bench.results.versions.setdefault("python", sys.version.split()[0])
    bench.results.versions.setdefault("import click", "")
    return {
        "broker-embedded": [brokerctl, "--url", database, "queue", "send", queue, "x"],
        "python": [sys.executable, "-c", "pass"],
        "import click": [sys.executable, "-c", "import click"],
    }


def _microseconds(command: list[str]) -> float:
    variables = {k: v for k, v in os.environ.items() if not k.startswith("BROKER_")}
    began = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=variables)
    return (time.perf_counter() - began) * 1e6
