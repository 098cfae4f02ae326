"""Whether a server syncs before it answers, as its system calls show."""

from __future__ import annotations

import shutil
import signal
import subprocess

from ..bench import Bench
from ..generator import send
from ..peers import Peer
from ..peers.base import wait_until

SENDS = 200
#: The longest that many may take under a tracer.
PATIENCE_S = 30.0


def syncs(bench: Bench, peer: Peer, body: int) -> None:
    """Count the syncs of sends with one in flight: at least one each, if it keeps its word."""
    strace = shutil.which("strace")
    if strace is None:
        bench.results.skipped["syncs"] = "the program strace is not installed"
        return
    with bench.queue(peer) as queue:
        trace, log = bench.folder / "trace", bench.folder / "strace"
        pids = [word for process in peer.processes() for word in ("-p", str(process.pid))]
        calls = "trace=fsync,fdatasync,sync_file_range,msync"
        with log.open("wb") as errors:
            tracer = subprocess.Popen(
                [strace, "-f", "-e", calls, "-o", str(trace), *pids], stderr=errors
            )
        try:
            wait_until(lambda: "attached" in log.read_text(), "strace watches")
            load = bench.generator.run(peer, queue, body, PATIENCE_S, send(limit=SENDS))
        finally:
            tracer.send_signal(signal.SIGINT)
            tracer.wait()
    done = sum(line.rstrip().endswith("= 0") for line in trace.read_text().splitlines())
    bench.record("syncs", "for each send", "", body, peer.name, done / load.groups[0].answered)
