"""The broker inside a process, where a server may take the file over at any moment."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from broker.commands.queue import QueueCreate, QueueDelete, QueuePull, QueueSend
from broker.service import embedded as service
from broker.service.embedded import LOOK_SECONDS, EmbeddedBroker
from broker.store.owner import SERVER, Owner, OwnerLock


def open_broker(folder: Path) -> EmbeddedBroker:
    return EmbeddedBroker(
        str(folder / "broker.db"), act_as=None, timeout_s=5, max_message_bytes=1000
    )


class Naps:
    """Time that passes only as somebody sleeps; in each sleep comes one message, at its end."""

    time_ns = staticmethod(time.time_ns)

    def __init__(self, sender: EmbeddedBroker) -> None:
        self.sender = sender
        self.now = 0.0

    def monotonic(self) -> float:
        """Return the time, in seconds."""
        return self.now

    def sleep(self, seconds: float) -> None:
        """Sleep for exactly so long."""
        self.now += seconds
        self.sender.execute(QueueSend("jobs", b"job"))


def test_a_waiting_pull_looks_once_more_at_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    embedded, sender = open_broker(tmp_path), open_broker(tmp_path)
    embedded.execute(QueueCreate("jobs"))
    with monkeypatch.context() as patched:
        naps = Naps(sender)
        patched.setattr(service, "time", naps)
        wait_ms = int(LOOK_SECONDS * 1000)
        (message,) = embedded.execute(QueuePull("jobs", wait_ms=wait_ms))
        assert (message.body, naps.now) == (b"job", LOOK_SECONDS)
    embedded.close()
    sender.close()


def test_a_waiting_pull_ends_though_others_never_cease_to_write(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    embedded, sender = open_broker(tmp_path), open_broker(tmp_path)
    embedded.execute(QueueCreate("jobs"))
    embedded.execute(QueueCreate("others"))
    with monkeypatch.context() as patched:
        naps = Naps(sender)
        patched.setattr(service, "time", naps)
        assert embedded.execute(QueuePull("others", wait_ms=100)) == ()
        assert naps.now == pytest.approx(0.1)
    embedded.close()
    sender.close()


def test_a_deletion_is_done_though_a_server_starts_before_its_messages_are_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Were it told to go to the server instead, it would hear that there is no such queue."""
    embedded = open_broker(tmp_path)
    embedded.execute(QueueCreate("jobs"))
    embedded.execute(QueueSend("jobs", b"job"))
    acquire = OwnerLock.acquire
    turns: list[float] = []

    def acquire_once(lock: OwnerLock, timeout_s: float) -> Owner | None:
        turns.append(timeout_s)
        return acquire(lock, timeout_s) if len(turns) == 1 else Owner(SERVER, 1, (), True)

    with monkeypatch.context() as patched:
        patched.setattr(OwnerLock, "acquire", acquire_once)
        assert embedded.execute(QueueDelete("jobs")) == 1
    assert len(turns) == 2
    embedded.close()
