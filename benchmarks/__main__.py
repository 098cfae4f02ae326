"""``python -m benchmarks``: the broker and its peers, side by side in one run."""

from __future__ import annotations

import argparse
import os
import platform
import sqlite3
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from . import report
from .bench import Bench
from .cases import CASES
from .generator import Generator
from .peers import SERVERS, Missing, Peer

BODIES = (100, 1024)


def arguments() -> argparse.Namespace:
    """Return what was asked for."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--cases", default="", help="letters, blanks between; all unless given")
    parser.add_argument("--peers", default="", help="names, blanks between; all unless given")
    parser.add_argument("--bodies", default=" ".join(map(str, BODIES)), help="sizes, in bytes")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=2.0, help="for each measurement")
    parser.add_argument("--output", type=Path, default=Path("build/bench"))
    parser.add_argument("--folder", type=Path, default=None, help="where the servers' files are")
    return parser.parse_args()


def present(bench: Bench, root: Path, names: list[str]) -> list[Peer]:
    """Return the servers that can be measured, and note why the others cannot."""
    found: list[Peer] = []
    for kind in SERVERS:
        if names and kind.name not in names:
            continue
        try:
            peer = kind(root)
        except Missing as reason:
            bench.results.skipped[kind.name] = str(reason)
            print(f"without {kind.label}: {reason}", flush=True)
            continue
        found.append(peer)
    return found


def about_machine() -> dict[str, Any]:
    """Return what a reader must know of where it ran."""
    model = ""
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        lines = cpuinfo.read_text().splitlines()
        model = next((ln.partition(": ")[2] for ln in lines if ln.startswith("model name")), "")
    return {
        "when": time.strftime("%Y-%m-%d %H:%M:%S %z"),
        "machine": f"{os.cpu_count()} cores, {model}".strip(", "),
        "system": platform.platform(),
        "python": sys.version.split()[0],
        "sqlite": sqlite3.sqlite_version,
    }


def main() -> None:
    """Run what was asked for, interleaved, and report it."""
    options = arguments()
    letters = options.cases.split() or list(CASES)
    with tempfile.TemporaryDirectory(prefix="bench-", dir=options.folder) as name:
        root = Path(name)
        root.chmod(0o755)
        bench = Bench(root, Generator(root), options.seconds)
        peers = present(bench, root, options.peers.split())
        try:
            for peer in peers:
                peer.start()
                bench.results.versions[peer.name] = peer.version()
                if peer.is_quick_to_start:
                    peer.stop()
            run(
                bench,
                peers,
                letters,
                [int(size) for size in options.bodies.split()],
                options.rounds,
            )
        finally:
            for peer in peers:
                peer.stop()
    print(report.table(bench.results))
    about = {**about_machine(), "rounds": options.rounds, "seconds": options.seconds}
    report.write(options.output, bench.results, about)
    print(f"written to {options.output}/")


def run(
    bench: Bench, peers: list[Peer], letters: list[str], bodies: list[int], rounds: int
) -> None:
    """Measure: all peers within each case, and all of that again each round."""
    began = time.monotonic()
    for number in range(1, rounds + 1):
        for letter in letters:
            for body in bodies:
                for peer in peers:
                    at = f"{time.monotonic() - began:6.0f} s  round {number}/{rounds}"
                    print(f"{at}  ({letter}) {body} B  {peer.name}", file=sys.stderr, flush=True)
                    CASES[letter].run(bench, peer, body)


main()
