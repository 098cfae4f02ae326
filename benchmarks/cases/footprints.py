"""(g): memory, processor, disk and start-up, idle and with many waiting."""

from __future__ import annotations

import time

from ..bench import Bench
from ..generator import pull, send
from ..peers import Peer
from .pulls import BATCH, fill

FEW, MANY = 100_000, 1_000_000
#: How long an idle server is watched.
WATCH_S = 5.0
MIB = 1024 * 1024


def footprint(bench: Bench, peer: Peer, body: int) -> None:
    """(g) Idle, with 100,000 waiting and, where filling takes no minutes, with a million."""
    with bench.fresh(peer):
        if peer.is_quick_to_start:
            peer.halt()
            _note(bench, peer, body, "start-up, empty", "ms", peer.restart() * 1000)
        peer.settle()
        _note_idle(bench, peer, body)
        peer.create_queue("full")
        waiting = 0
        for size in (FEW, MANY):
            if size > peer.max_backlog:
                break
            fill(bench, peer, "full", body, size - waiting)
            peer.settle()
            _note_size(bench, peer, body, size)
            waiting = size + _note_rates(bench, peer, body, size)
            if peer.is_quick_to_start:
                peer.halt()
                _note(bench, peer, body, f"start-up, {size:,}", "ms", peer.restart() * 1000)
        if not peer.is_quick_to_start:
            peer.delete_queue("full")


def _note(bench: Bench, peer: Peer, body: int, figure: str, unit: str, value: float) -> None:
    bench.record("g", figure, unit, body, peer.name, value)


def _note_idle(bench: Bench, peer: Peer, body: int) -> None:
    before = peer.footprint()
    time.sleep(WATCH_S)
    after = peer.footprint()
    _note(bench, peer, body, "memory, idle", "MiB", after.resident_bytes / MIB)
    _note(bench, peer, body, "CPU, idle", "%", 100 * (after.cpu_s - before.cpu_s) / WATCH_S)


def _note_size(bench: Bench, peer: Peer, body: int, size: int) -> None:
    _note(bench, peer, body, f"memory, {size:,}", "MiB", peer.footprint().resident_bytes / MIB)
    _note(bench, peer, body, f"files, {size:,}", "MiB", peer.disk_bytes() / MIB)


def _note_rates(bench: Bench, peer: Peer, body: int, size: int) -> int:
    """Note how fast it is with so many in front; returns by how many they have changed."""
    sent = bench.measure(peer, "full", body, send(window=1000)).groups[0]
    _note(bench, peer, body, f"sends, {size:,}", "/s", sent.rate)
    pulled = bench.measure(peer, "full", body, pull(BATCH)).groups[0]
    _note(bench, peer, body, f"pulls of {BATCH}, {size:,}", "/s", pulled.rate)
    return sent.answered - pulled.answered
