"""What a one-shot costs against a running server, as a ratio to importing Click."""

from __future__ import annotations

import argparse
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path


def seconds(*command: str, url: str) -> float:
    """Return how long a program runs."""
    began = time.perf_counter()
    subprocess.run(
        command, check=True, stdout=subprocess.DEVNULL, env={**os.environ, "BROKER_URL": url}
    )
    return time.perf_counter() - began


def main(arguments: list[str] | None = None) -> None:
    """Print the medians of one run, interleaved."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=20)
    rounds = parser.parse_args(arguments).rounds
    python = sys.executable
    with tempfile.TemporaryDirectory() as folder:
        served, embedded = str(Path(folder) / "a.db"), str(Path(folder) / "b.db")
        server = subprocess.Popen(
            [python, "-m", "broker.cli", "serve", "--database", served, "--no-listen",
             "--log-level", "error"],
            stdout=subprocess.PIPE,
        )  # fmt: skip
        if server.stdout is None or not server.stdout.readline():
            raise AssertionError("the server did not start")
        brokerctl = (str(Path(python).with_name("brokerctl")),)
        for url in (served, embedded):
            seconds(*brokerctl, "queue", "create", "q", url=url)
        cases = {
            "python": ((python, "-c", "pass"), served),
            "import click": ((python, "-c", "import click"), served),
            "send, through a server": ((*brokerctl, "queue", "send", "q", "x"), served),
            "send, embedded": ((*brokerctl, "queue", "send", "q", "x"), embedded),
        }
        times: dict[str, list[float]] = {name: [] for name in cases}
        for _ in range(rounds):
            for name, (command, url) in cases.items():
                times[name].append(seconds(*command, url=url))
        server.send_signal(signal.SIGTERM)
        server.wait()
    click = statistics.median(times["import click"])
    for name, measured in times.items():
        median = statistics.median(measured)
        print(f"{name:<24} {median * 1000:6.1f} ms  {median / click:5.2f} x importing Click")


if __name__ == "__main__":
    main()
