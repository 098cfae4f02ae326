"""One run of the bench: who takes part, and what a case needs to measure one of them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .generator import Generator, Group, Load
from .peers import Peer
from .results import Results, Row


class Bench:
    """What the cases share.

    Attributes:
        seconds: how long each measurement lasts, unless what it works on ends before.
        rounds: how many have been completed.
    """

    def __init__(self, folder: Path, generator: Generator, seconds: float) -> None:
        self.folder = folder
        self.generator = generator
        self.seconds = seconds
        self.rounds = 0
        self.results = Results()
        self._queues = 0

    @contextmanager
    def fresh(self, peer: Peer) -> Iterator[None]:
        """Have the server run, with nothing left to do from before; stop it if that is cheap."""
        peer.start()
        peer.settle()
        try:
            yield
        finally:
            if peer.is_quick_to_start:
                peer.stop()

    @contextmanager
    def queue(self, peer: Peer) -> Iterator[str]:
        """Have a fresh server with one empty queue; yields its name."""
        self._queues += 1
        name = f"q{self._queues}"
        with self.fresh(peer):
            peer.create_queue(name)
            try:
                yield name
            finally:
                if not peer.is_quick_to_start:
                    peer.delete_queue(name)

    def measure(self, peer: Peer, queue: str, body: int, *groups: str) -> Load:
        """Load a queue for the usual time."""
        return self.generator.run(peer, queue, body, self.seconds, *groups)

    def record(self, case: str, figure: str, unit: str, body: int, peer: str, value: float) -> None:
        """Note one figure of one round."""
        self.results.add(Row(case, figure, unit, body), peer, value)

    def record_group(self, case: str, body: int, peer: str, group: Group) -> None:
        """Note how many, how fast, and the longest silence."""
        self.record(case, "rate", "/s", body, peer, group.rate)
        self.record(case, "p50", "us", body, peer, group.p50_us)
        self.record(case, "p99", "us", body, peer, group.p99_us)
        self.record(case, "max stall", "us", body, peer, group.stall_us)

    def record_shares(self, case: str, figure: str, body: int, peer: str, load: Load) -> None:
        """Note who used the processor, so that a reader sees who was the limit."""
        what = f"{figure}: " if figure else ""
        self.record(case, f"{what}server's CPU", "%", body, peer, 100 * load.server_share)
        self.record(case, f"{what}generator's CPU", "%", body, peer, 100 * load.generator_share)
