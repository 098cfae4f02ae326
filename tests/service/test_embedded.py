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


def dying(folder: Path) -> tuple[EmbeddedBroker, EmbeddedBroker]:
    """Return two of a database where what expires in ``jobs`` goes to ``dead``; both know it."""
    one, other = open_broker(folder), open_broker(folder)
    one.execute(QueueCreate("dead"))
    one.execute(QueueCreate("jobs", (("on_expire", "dead"), ("dead_letter", "dead"))))
    for _ in range(2):
        for broker in (other, one):
            assert broker.execute(QueuePull("dead")) == ()
    return one, other


def test_what_another_has_sent_expires_though_a_transaction_came_between(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What one knows to be calm it forgets with the first look after somebody else has written."""
    one, other = dying(tmp_path)
    other.execute(QueueSend("jobs", b"x", ttl_ms=1))

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(service, "execute", interrupt)
        with pytest.raises(KeyboardInterrupt):
            one.execute(QueuePull("dead"))
    (message,) = one.execute(QueuePull("dead", wait_ms=60_000))
    assert message.body == b"x"
    one.close()
    other.close()


def test_what_another_has_sent_expires_though_it_came_during_a_removal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = dying(tmp_path)
    finish = EmbeddedBroker._finish_removals

    def send_first(self: EmbeddedBroker) -> None:
        # It lives for longer than that takes.
        other.execute(QueueSend("jobs", b"x", ttl_ms=500))
        finish(self)

    with monkeypatch.context() as patched:
        patched.setattr(EmbeddedBroker, "_finish_removals", send_first)
        one.execute(QueueDelete("none", if_exists=True))
    (message,) = one.execute(QueuePull("dead", wait_ms=60_000))
    assert message.body == b"x"
    one.close()
    other.close()


def test_what_is_calm_is_not_looked_at_again(tmp_path: Path) -> None:
    one, other = dying(tmp_path)
    looks: list[object] = []

    def looked(*arguments: object) -> bool:
        looks.append(arguments)
        return False

    for broker in (one, one, one):
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr("broker.service.embedded.upkeep.clean_up", looked)
            broker.execute(QueueSend("jobs", b"y"))
    assert len(looks) <= 1
    other.execute(QueueSend("jobs", b"z"))
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("broker.service.embedded.upkeep.clean_up", looked)
        looks.clear()
        one.execute(QueueSend("jobs", b"y"))
    assert len(looks) == 1
    one.close()
    other.close()
