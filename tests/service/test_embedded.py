"""The broker inside a process, where a server may take the file over at any moment."""

from __future__ import annotations

from pathlib import Path

import pytest

from broker.commands.queue import QueueCreate, QueueDelete, QueueSend
from broker.service.embedded import EmbeddedBroker
from broker.store.owner import SERVER, Owner, OwnerLock


def test_a_deletion_is_done_though_a_server_starts_before_its_messages_are_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Were it told to go to the server instead, it would hear that there is no such queue."""
    embedded = EmbeddedBroker(
        str(tmp_path / "broker.db"), act_as=None, timeout_s=5, max_message_bytes=1000
    )
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
