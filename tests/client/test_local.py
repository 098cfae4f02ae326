"""A database by its path, whose owner changes under a call."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from broker.client import local
from broker.client.local import LocalTransport
from broker.commands.queue import QueuePull
from broker.config import Address
from broker.store.owner import Owner, ServerRunning

WAIT_MS = 60_000


class Server:
    """What a pull is passed on to."""

    def __init__(self) -> None:
        self.asked: list[QueuePull] = []

    def execute(self, command: QueuePull) -> Any:
        """Find nothing."""
        self.asked.append(command)
        return ()

    def close(self) -> None:
        """Nothing is open."""


@pytest.mark.parametrize(("waited_s", "left_ms"), [(45.0, 15_000), (60.0, 0), (61.0, 0)])
def test_a_pull_waits_at_a_server_that_has_started_meanwhile_for_the_rest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, waited_s: float, left_ms: int
) -> None:
    clock = SimpleNamespace(now=0.0)
    monkeypatch.setattr(local, "time", SimpleNamespace(monotonic=lambda: clock.now))
    server = Server()
    found = iter([None, server])

    def wait_here(command: QueuePull) -> Any:
        assert command.wait_ms == WAIT_MS
        clock.now += waited_s
        raise ServerRunning(Owner("server", 1, (), ready=True))

    def find(self: LocalTransport, owner: Owner | None) -> Any:
        vars(self)["_server"] = found_server = next(found)
        return found_server

    here = SimpleNamespace(execute=wait_here)
    monkeypatch.setattr(LocalTransport, "_find_server", find)
    monkeypatch.setattr(LocalTransport, "_open", lambda self, command: here)
    address = Address("file", str(tmp_path / "broker.db"))
    transport = LocalTransport(address, act_as=None, timeout_s=5)
    assert transport.execute(QueuePull("jobs", wait_ms=WAIT_MS)) == ()
    assert server.asked == [QueuePull("jobs", wait_ms=left_ms)]
