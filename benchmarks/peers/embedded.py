"""The embedded queues, each driven by a Python process of its own."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from ..stores import STORES, Store
from .base import Missing

#: Besides the time of a measurement: imports, and filling.
PATIENCE_S = 300.0


class Embedded:
    """An embedded queue, on a folder of its own.

    Raises:
        Missing: it is not installed.
    """

    def __init__(self, store: type[Store], root: Path) -> None:
        self.name = store.name
        self.label = store.label
        self.has_batches = store.has_batches
        self.has_pop = store.has_pop
        self.has_loop = store.has_loop
        self._store = store
        self._folder = root / f"{store.name}-files"
        try:
            self.version = self._version()
        except PackageNotFoundError:
            raise Missing(f"the Python package {store.distribution} is not installed") from None

    def _version(self) -> str:
        import sqlite3

        from broker import __version__

        if not self._store.distribution:
            return __version__ if self.name.startswith("broker") else sqlite3.sqlite_version
        return version(self._store.distribution)

    def empty(self) -> None:
        """Begin with nothing."""
        shutil.rmtree(self._folder, ignore_errors=True)
        self._folder.mkdir()

    def fill(self, body: int, count: int) -> None:
        """Put so many, without syncing."""
        self._drive("fill", body, 0, count)

    def measure(self, how: str, body: int, seconds: float) -> dict[str, float]:
        """Return what came of a method of :class:`Store`, again and again."""
        return self._drive(how, body, seconds)

    def _drive(self, how: str, body: int, seconds: float, *count: int) -> dict[str, float]:
        done = subprocess.run(
            [
                sys.executable, "-m", "benchmarks.drive", self.name, str(self._folder), how,
                str(body), str(seconds), *map(str, count),
            ],
            capture_output=True, text=True, timeout=seconds + PATIENCE_S, check=False,
            cwd=Path(__file__).parents[2],
            env={k: v for k, v in os.environ.items() if not k.startswith("BROKER_")},
        )  # fmt: skip
        if done.returncode != 0:
            raise AssertionError(f"{self.name}, {how}: {done.stderr.strip()}")
        result: dict[str, float] = json.loads(done.stdout)
        return result


def embedded(root: Path) -> list[Embedded | tuple[str, str]]:
    """Return all of them; of one that is not installed its name, and why."""
    found: list[Embedded | tuple[str, str]] = []
    for store in STORES:
        try:
            found.append(Embedded(store, root))
        except Missing as reason:
            found.append((store.name, str(reason)))
    # Its sources need a Rust toolchain, and no release of it has wheels.
    return [*found, ("honker", "no wheel of it is to be had")]
