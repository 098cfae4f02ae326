"""Power cuts: a run's disk rebuilt at each moment that matters, and opened as any database."""

from __future__ import annotations

import random
import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from faults.disk import MODES, Answer, Disk, Event, Sync
from faults.workload import Fingerprint, fingerprint
from stores import Store

from broker.commands.message import MessageAck
from broker.commands.queue import QueueCreate, QueuePull, QueueSend


class Lost(AssertionError):
    """A rebuilt disk does not hold what was promised."""


class Cut(NamedTuple):
    """A power cut: after how many events it comes, and what was promised by then."""

    position: int
    answered: int


class Found(NamedTuple):
    """What a run of cuts came to."""

    cuts: int
    states: int
    modes: Counter[str]


#: Looks at the folder of one rebuilt state, given how many steps had been answered.
Check = Callable[[Path, int], None]


def cut_all(
    root: Path,
    events: Sequence[Event],
    scratch: Path,
    check: Check,
    *,
    seed: int,
    states: int,
    files: dict[str, bytes] | None = None,
) -> Found:
    """Cut the power at every sync and every answer, and check what may be on the disk.

    Just before a sync ends is when most is unsure, just after an answer when most is
    promised: what may be left in between may be left at one of these as well.

    Args:
        root: the folder of the run.
        events: all that happened to it.
        scratch: a folder for the states.
        check: raises what is wrong with a state.
        seed: of what chance decides.
        states: about how many to rebuild in all.
        files: what the folder held before.

    Raises:
        Lost: a state is wrong; says how to see it again.
    """
    cuts = list(moments(events))
    each = max(1, round(states / len(cuts)))
    disk = Disk(root, files)
    applied = 0
    modes: Counter[str] = Counter()
    for number, cut in enumerate(cuts):
        for event in events[applied : cut.position]:
            disk.apply(event)
        applied = cut.position
        # Where nothing is unsure all states are the same.
        for turn in range(1 if disk.is_settled else each):
            chance = random.Random(f"{seed}.{number}.{turn}")
            mode = MODES[turn] if each >= len(MODES) > turn else chance.choice(MODES)
            modes[mode] += 1
            state = disk.state(mode, chance)
            folder = scratch / "state"
            try:
                _lay_out(folder, root, state, chance)
                check(folder, cut.answered)
            except Exception as error:
                raise Lost(
                    f"power cut {number} of {len(cuts)} (event {cut.position}, "
                    f"{cut.answered} answered), state {turn} ({mode}), seed {seed}: {error}"
                ) from error
            finally:
                shutil.rmtree(folder, ignore_errors=True)
    return Found(len(cuts), modes.total(), modes)


def moments(events: Iterable[Event]) -> Iterator[Cut]:
    """Yield the cuts: before each sync, after each answer, and at the end."""
    answered = position = 0
    for position, event in enumerate(events, 1):
        if isinstance(event, Sync):
            yield Cut(position - 1, answered)
        elif isinstance(event, Answer):
            answered = event.steps
            yield Cut(position, answered)
    yield Cut(position, answered)


def _lay_out(folder: Path, root: Path, state: dict[str, bytes], chance: random.Random) -> None:
    folder.mkdir()
    for path, content in state.items():
        place = folder / Path(path).relative_to(root)
        place.parent.mkdir(parents=True, exist_ok=True)
        if not path.endswith("-shm"):
            place.write_bytes(content)
        elif chance.random() < 0.5:
            # The index of the log is never synced: whatever is in it must not matter.
            place.write_bytes(chance.randbytes(32768))


def holds(name: str, model: Sequence[Fingerprint], in_flight: Callable[[int], int]) -> Check:
    """Return a check that a database holds what was answered, or some of what was under way.

    Args:
        name: of the database, in the folder.
        model: what it holds before the first step and after each.
        in_flight: how many steps may have been under way when so many were answered.
    """

    def check(folder: Path, answered: int) -> None:
        path = folder / name
        if answered and not path.exists():
            raise Lost("the database is gone")
        store = Store(path)
        try:
            allowed = model[answered : answered + in_flight(answered) + 1]
            found = fingerprint(store)
            if found not in allowed:
                raise Lost(_difference(found, allowed))
            store.check()
            assert store.rows("PRAGMA integrity_check") == [("ok",)]
            _works(store)
        finally:
            store.database.close()

    return check


def _difference(found: Fingerprint, allowed: Sequence[Fingerprint]) -> str:
    nearest = min(allowed, key=lambda model: len({*model} ^ {*found}))
    missing = [row for row in nearest if row not in found]
    extra = [row for row in found if row not in nearest]
    return f"what was answered is not what is there: missing {missing}, instead {extra}"


def _works(store: Store) -> None:
    store.run(QueueCreate("after-the-cut"))
    store.run(QueueSend("after-the-cut", b"goes on"))
    (message,) = store.run(QueuePull("after-the-cut"))
    assert message.body == b"goes on"
    assert store.run(MessageAck((message.receipt,))) == (None,)
