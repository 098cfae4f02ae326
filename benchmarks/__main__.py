"""``python -m benchmarks``: the broker and its peers, side by side in one run."""

from __future__ import annotations

import argparse
import os
import platform
import resource
import signal
import sqlite3
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import psutil

from . import plot, report
from .bench import Bench
from .cases import CASES
from .generator import Generator
from .peers import SERVERS, Missing, Peer
from .peers.embedded import Embedded, embedded

BODIES = (100, 1024)


def arguments() -> argparse.Namespace:
    """Return what was asked for."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--cases", default="", help="letters, blanks between; all unless given")
    parser.add_argument("--peers", default="", help="names, blanks between; all unless given")
    parser.add_argument("--bodies", default=" ".join(map(str, BODIES)), help="sizes, in bytes")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=1.0, help="for each measurement")
    parser.add_argument("--output", type=Path, default=Path("build/bench"))
    parser.add_argument("--folder", type=Path, default=None, help="where the servers' files are")
    return parser.parse_args()


def present(bench: Bench, root: Path, names: list[str]) -> tuple[list[Peer], list[Embedded]]:
    """Return what can be measured, servers and embedded, and note why the rest cannot."""
    servers: list[Peer] = []
    for kind in SERVERS:
        if not names or kind.name in names:
            try:
                servers.append(kind(root))
            except Missing as reason:
                bench.results.skipped[kind.name] = str(reason)
    libraries: list[Embedded] = []
    for found in embedded(root):
        if isinstance(found, Embedded):
            if not names or found.name in names:
                libraries.append(found)
        elif not names or found[0] in names:
            bench.results.skipped[found[0]] = found[1]
    return servers, libraries


def file_system(folder: Path) -> str:
    """Return the type of the file system that a folder is on."""
    mounts = {Path(p.mountpoint): p.fstype for p in psutil.disk_partitions(all=True)}
    return next((mounts[p] for p in [folder, *folder.parents] if p in mounts), "")


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
        # Of the last 15 minutes: far above 2, and others used the machine as well.
        "load_average": round(os.getloadavg()[2], 1),
    }


def main() -> None:
    """Run what was asked for, interleaved, and report it, an interrupted run as well."""
    options = arguments()
    unknown = [letter for letter in options.cases.split() if letter not in CASES]
    if unknown:
        raise SystemExit(f"no case: {' '.join(unknown)}; there are: {' '.join(CASES)}")
    # As the keyboard's interrupt: the servers are stopped, their files removed.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    # Inherited by the servers and the generator: (i) takes a thousand connections and more.
    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
    with tempfile.TemporaryDirectory(prefix="bench-", dir=options.folder) as name:
        root = Path(name)
        kind = file_system(root)
        if kind in ("tmpfs", "ramfs"):
            raise SystemExit(f"{root} is in memory ({kind}): nothing would be synced; set TMPDIR")
        # A server may run as a user of its own.
        root.chmod(0o755)
        try:
            bench = Bench(root, Generator(root), options.seconds)
        except Missing as reason:
            raise SystemExit(str(reason)) from None
        try:
            measure(bench, root, options)
        except KeyboardInterrupt:
            print("interrupted: what follows is of the rounds so far", file=sys.stderr)
    conclude(bench, options.output)


def measure(bench: Bench, root: Path, options: argparse.Namespace) -> None:
    """Start what can be measured, measure it, stop it."""
    servers, libraries = present(bench, root, options.peers.split())
    for skipped, why in bench.results.skipped.items():
        print(f"without {skipped}: {why}", file=sys.stderr)
    try:
        for peer in servers:
            peer.start()
            bench.results.versions[peer.name] = peer.version()
            if peer.is_quick_to_start:
                peer.stop()
        for library in libraries:
            bench.results.versions[library.name] = library.version
        run(bench, servers, libraries, options)
    finally:
        for peer in servers:
            peer.stop()


def conclude(bench: Bench, output: Path) -> None:
    """Print the tables, and write them with the plot and all values."""
    results = bench.results
    print(report.table(results))
    for skipped, why in results.skipped.items():
        print(f"without {skipped}: {why}")
    about = {**about_machine(), "rounds": bench.rounds, "seconds": bench.seconds}
    report.write(output, results, about)
    if not plot.draw(output / "bench.png", results):
        print("no plot: matplotlib is not installed", file=sys.stderr)
    print(f"written to {output}/")


def run(
    bench: Bench, servers: list[Peer], libraries: list[Embedded], options: argparse.Namespace
) -> None:
    """Measure: all peers within each case, and all of that again each round."""
    began = time.monotonic()
    sizes = [int(size) for size in options.bodies.split()]
    for number in range(1, options.rounds + 1):
        for letter in options.cases.split() or CASES:
            case = CASES[letter]
            if number > case.rounds:
                continue
            for body in sizes if case.body is None else [case.body]:
                at = f"round {number}/{options.rounds}  ({letter}) {body} B"
                for peer in servers:
                    print(f"{time.monotonic() - began:6.0f} s  {at}  {peer.name}", file=sys.stderr)
                    try:
                        case.run(bench, peer, body)
                    except AssertionError as reason:
                        # One peer's failure must not cost what the others have shown.
                        bench.results.skipped[f"({letter}) {body} B, {peer.name}"] = str(reason)
                        print(reason, file=sys.stderr)
                        peer.stop()
                for library in libraries if case.embedded else ():
                    print(
                        f"{time.monotonic() - began:6.0f} s  {at}  {library.name}", file=sys.stderr
                    )
                    if case.embedded:
                        case.embedded(bench, library, body)
        bench.rounds = number


main()
