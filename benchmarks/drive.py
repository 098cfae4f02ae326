"""``python -m benchmarks.drive STORE FOLDER HOW BODY SECONDS [COUNT]``: measure an embedded queue.

A process each, so that none finds another's imports, caches or garbage. ``HOW`` is
``fill`` (not measured: so many, unsynced), or a method of :class:`~benchmarks.stores.Store`.
It prints one line of JSON.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

from .stores import STORES, Store

#: How many a batch has.
BATCH = {"put_many": 1000, "take_many": 100}


def action(store: Store, how: str, body: bytes) -> Callable[[], int]:
    """Return what is done again and again; it returns how many messages that were."""
    size = BATCH.get(how, 1)
    bodies = [body] * size

    def put_many() -> int:
        store.put_many(bodies)
        return size

    def put() -> int:
        store.put(body)
        return 1

    return {
        "put": put,
        "put_many": put_many,
        "take": lambda: int(store.take()),
        "pop": lambda: int(store.pop()),
        "consume": lambda: int(store.consume()),
        "take_many": lambda: store.take_many(size),
    }[how]


def measure(act: Callable[[], int], seconds: float) -> dict[str, float]:
    """Do it until the time is over, or there is nothing left; return what is measured."""
    times: list[float] = []
    done = 0
    cpu = time.process_time()
    began = before = time.perf_counter()
    while before < began + seconds:
        count = act()
        now = time.perf_counter()
        if count == 0:
            break
        done += count
        times.append(now - before)
        before = now
    elapsed = before - began
    return {
        "rate": done / elapsed,
        "p50_us": statistics.median(times) * 1e6,
        "p99_us": sorted(times)[int(len(times) * 0.99)] * 1e6,
        "cpu_share": (time.process_time() - cpu) / elapsed,
    }


def main() -> None:
    """Do what the arguments say."""
    name, folder, how, size, seconds, *rest = sys.argv[1:]
    kind = next(store for store in STORES if store.name == name)
    body = b"x" * int(size)
    if how == "fill":
        kind(Path(folder), durable=False).fill(body, int(rest[0]))
        print("{}")
        return
    print(json.dumps(measure(action(kind(Path(folder), durable=True), how, body), float(seconds))))


if __name__ == "__main__":
    main()
