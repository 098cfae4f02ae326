"""The lock on a database: one owner at a time, and who it is."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.errors import BrokerError, Denied, Full, Invalid, NotFound, Unavailable
from broker.store import owner as owner_module
from broker.store.owner import EMBEDDED, SERVER, Owner, OwnerLock, lock_path, read_owner

DOORS = ("tcp://127.0.0.1:6470", "unix:///run/broker.db.sock")

#: Holds the lock of argv[1], then does what each line on stdin says.
HOLDER = """
import subprocess
import sys
from broker.store.owner import OwnerLock

lock = OwnerLock(sys.argv[1])
assert lock.acquire(10) is None
print("held", flush=True)
for line in sys.stdin:
    word = line.strip()
    if word in ("starting", "ready"):
        lock.announce("server", tuple(sys.argv[2:]), ready=word == "ready")
    elif word == "release":
        lock.release()
    elif word == "spawn":
        # Ends with this process's stdin.
        subprocess.Popen(["cat"], stdout=subprocess.DEVNULL, close_fds=False)
    print(word, flush=True)
"""


class Holder:
    """Another process that holds the lock and does as it is told."""

    def __init__(self, database: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", HOLDER, database, *DOORS],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._expect("held")

    @property
    def pid(self) -> int:
        return self.process.pid

    def tell(self, word: str) -> None:
        """Have it done, and wait until it is."""
        assert self.process.stdin is not None
        self.process.stdin.write(f"{word}\n")
        self.process.stdin.flush()
        self._expect(word)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def close(self) -> None:
        self.kill()
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.close()
        self.process.stdout.close()

    def _expect(self, word: str) -> None:
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == f"{word}\n"


@pytest.fixture
def database(tmp_path: Path) -> str:
    return str(tmp_path / "broker.db")


@pytest.fixture
def lock(database: str) -> Iterator[OwnerLock]:
    lock = OwnerLock(database)
    yield lock
    lock.close()


@pytest.fixture
def hold(database: str) -> Iterator[Callable[[], Holder]]:
    """Return a function that starts another process, which holds the lock."""
    with ExitStack() as stack:

        def start() -> Holder:
            holder = Holder(database)
            stack.callback(holder.close)
            return holder

        yield start


def content(database: str) -> Any:
    return json.loads(Path(lock_path(database)).read_text())


def run(script: str, database: str) -> list[str]:
    """Return the words that ``script`` prints, in a process of one thread, fit to fork."""
    finished = subprocess.run(
        [sys.executable, "-c", script, database], capture_output=True, text=True, check=True
    )
    assert finished.stderr == ""
    return finished.stdout.split()


class TestHolding:
    def test_free_lock_is_held_at_once(self, lock: OwnerLock) -> None:
        assert not lock.held
        assert lock.acquire(0) is None
        assert lock.held

    def test_released_lock_can_be_had_by_another(self, lock: OwnerLock, database: str) -> None:
        other = OwnerLock(database)
        lock.acquire(0)
        lock.release()

        assert not lock.held
        assert other.acquire(0) is None
        other.close()

    def test_acquiring_twice_is_a_mistake(self, lock: OwnerLock) -> None:
        lock.acquire(0)

        with pytest.raises(RuntimeError, match="already"):
            lock.acquire(0)
        assert lock.held

    def test_release_of_what_is_not_held_does_nothing(self, lock: OwnerLock) -> None:
        lock.release()
        lock.acquire(0)
        lock.release()
        lock.release()

        assert not lock.held

    def test_close_releases_and_may_be_called_twice(self, lock: OwnerLock, database: str) -> None:
        lock.acquire(0)
        lock.close()
        lock.close()

        assert not lock.held
        other = OwnerLock(database)
        assert other.acquire(0) is None
        other.close()

    def test_file_stays_open_between_uses_and_is_never_unlinked(
        self, lock: OwnerLock, database: str
    ) -> None:
        lock.acquire(0)
        before = os.stat(lock_path(database)).st_ino
        lock.release()
        lock.acquire(0)
        lock.close()

        assert os.stat(lock_path(database)).st_ino == before

    def test_file_is_for_its_user_alone(self, lock: OwnerLock, database: str) -> None:
        lock.acquire(0)

        assert os.stat(lock_path(database)).st_mode & 0o777 == 0o600

    def test_programs_started_by_the_owner_do_not_keep_the_lock(
        self, lock: OwnerLock, hold: Callable[[], Holder]
    ) -> None:
        holder = hold()
        holder.tell("spawn")
        holder.kill()

        assert lock.acquire(0) is None

    def test_a_link_to_the_database_has_the_same_lock(
        self, lock: OwnerLock, database: str, tmp_path: Path
    ) -> None:
        Path(database).touch()
        link = tmp_path / "link.db"
        link.symlink_to(database)
        lock.acquire(0)

        other = OwnerLock(str(link))
        with pytest.raises(Unavailable):
            other.acquire(0)
        other.close()

    def test_a_deleted_lock_file_is_made_anew(self, lock: OwnerLock, database: str) -> None:
        lock.acquire(0)
        lock.release()
        Path(lock_path(database)).unlink()
        other = OwnerLock(database)
        other.acquire(0)

        with pytest.raises(Unavailable):
            lock.acquire(0)
        other.close()

    def test_a_deleted_lock_file_keeps_nobody_waiting(self, lock: OwnerLock, database: str) -> None:
        lock.acquire(0)
        lock.release()
        Path(lock_path(database)).unlink()
        assert lock.acquire(0) is None

        other = OwnerLock(database)
        with pytest.raises(Unavailable):
            other.acquire(0)
        other.close()


class TestWaiting:
    def test_embedded_holder_is_waited_for(
        self, lock: OwnerLock, hold: Callable[[], Holder]
    ) -> None:
        holder = hold()
        releasing = threading.Timer(0.05, holder.tell, ["release"])
        releasing.start()

        assert lock.acquire(10) is None
        assert lock.held
        releasing.join()

    def test_killed_holder_leaves_nothing_locked(
        self, lock: OwnerLock, hold: Callable[[], Holder]
    ) -> None:
        hold().kill()

        assert lock.acquire(0) is None

    def test_timeout_names_the_holder(
        self, lock: OwnerLock, hold: Callable[[], Holder], database: str
    ) -> None:
        holder = hold()

        with pytest.raises(Unavailable) as caught:
            lock.acquire(0.1)
        assert caught.value.message == (
            f"an embedded client (pid {holder.pid}) holds the database {database}; waited 0.1 s"
        )
        assert not lock.held

    def test_timeout_names_the_latest_of_several_holders(
        self, lock: OwnerLock, hold: Callable[[], Holder]
    ) -> None:
        lock.acquire(0)
        lock.release()
        hold().tell("release")
        last = hold()

        with pytest.raises(Unavailable, match=rf"\(pid {last.pid}\)"):
            lock.acquire(0)

    def test_timeout_without_a_name_says_another_process(
        self, lock: OwnerLock, hold: Callable[[], Holder], database: str
    ) -> None:
        hold()
        Path(lock_path(database)).write_bytes(b"")

        with pytest.raises(Unavailable, match=r"^another process holds the database"):
            lock.acquire(0)

    def test_timeout_of_zero_is_one_try(
        self, lock: OwnerLock, hold: Callable[[], Holder], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        hold()
        pauses: list[float] = []
        monkeypatch.setattr(time, "sleep", pauses.append)

        with pytest.raises(Unavailable):
            lock.acquire(0)
        assert pauses == []

    def test_two_hundred_waiters_all_get_it(self, database: str) -> None:
        # A thread with an open file of its own is to `flock` what a process is.
        served: list[int] = []
        together = threading.Barrier(200)

        def one_shot(number: int) -> None:
            lock = OwnerLock(database)
            together.wait()
            assert lock.acquire(30) is None
            served.append(number)
            time.sleep(0.001)  # what a transaction takes
            lock.close()

        threads = [threading.Thread(target=one_shot, args=[number]) for number in range(200)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(served) == list(range(200))

    def test_a_busy_process_does_not_starve_a_waiter(self, lock: OwnerLock, database: str) -> None:
        stopping = threading.Event()
        started = threading.Event()

        def busy() -> None:
            mine = OwnerLock(database)
            while not stopping.is_set():
                mine.acquire(30)
                started.set()
                time.sleep(0.001)  # what a transaction takes
                mine.release()
            mine.close()

        thread = threading.Thread(target=busy)
        thread.start()
        try:
            started.wait()
            for _ in range(3):
                assert lock.acquire(20) is None
                lock.release()
        finally:
            stopping.set()
            thread.join()


class TestServers:
    def test_ready_server_is_returned_at_once(
        self,
        lock: OwnerLock,
        hold: Callable[[], Holder],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        holder = hold()
        holder.tell("ready")
        pauses: list[float] = []
        monkeypatch.setattr(time, "sleep", pauses.append)

        assert lock.acquire(30) == Owner(SERVER, holder.pid, DOORS, ready=True)
        assert pauses == []
        assert not lock.held

    def test_starting_server_is_waited_for(
        self, lock: OwnerLock, hold: Callable[[], Holder]
    ) -> None:
        holder = hold()
        holder.tell("starting")
        becoming_ready = threading.Timer(0.05, holder.tell, ["ready"])
        becoming_ready.start()

        assert lock.acquire(10) == Owner(SERVER, holder.pid, DOORS, ready=True)
        becoming_ready.join()

    def test_server_that_never_listens_is_named(
        self, lock: OwnerLock, hold: Callable[[], Holder]
    ) -> None:
        holder = hold()
        holder.tell("starting")

        text = rf"^a server that is starting or stopping \(pid {holder.pid}\) holds the database"
        with pytest.raises(Unavailable, match=text):
            lock.acquire(0)

    def test_entry_of_a_killed_server_is_overwritten(
        self, lock: OwnerLock, hold: Callable[[], Holder], database: str
    ) -> None:
        holder = hold()
        holder.tell("ready")
        holder.kill()
        assert read_owner(database) == Owner(SERVER, holder.pid, DOORS, ready=True)

        assert lock.acquire(0) is None
        assert read_owner(database) == Owner(EMBEDDED, os.getpid(), (), ready=False)

    def test_entry_of_a_killed_server_is_doubted_until_its_successor_has_written(
        self, lock: OwnerLock, hold: Callable[[], Holder], database: str
    ) -> None:
        dead = hold()
        dead.tell("ready")
        dead.kill()
        stale = Path(lock_path(database)).read_bytes()
        successor = hold()
        Path(lock_path(database)).write_bytes(stale)
        releasing = threading.Timer(0.05, successor.tell, ["release"])
        releasing.start()

        assert lock.acquire(30) is None
        releasing.join()

    def test_server_of_another_pid_namespace_is_returned_after_a_while(
        self,
        lock: OwnerLock,
        hold: Callable[[], Holder],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        holder = hold()
        holder.tell("ready")
        monkeypatch.setattr(os, "kill", no_process)

        assert lock.acquire(0.1) == Owner(SERVER, holder.pid, DOORS, ready=True)

    def test_server_of_another_user_is_returned_at_once(
        self, lock: OwnerLock, hold: Callable[[], Holder], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        holder = hold()
        holder.tell("ready")
        monkeypatch.setattr(os, "kill", not_permitted)
        monkeypatch.setattr(time, "sleep", no_process)

        assert lock.acquire(30) == Owner(SERVER, holder.pid, DOORS, ready=True)

    def test_stopped_server_leaves_no_entry(self, lock: OwnerLock, database: str) -> None:
        lock.acquire(0)
        lock.announce(SERVER, DOORS, ready=True)
        lock.release()

        assert read_owner(database) is None
        lock.acquire(0)
        assert read_owner(database) == Owner(EMBEDDED, os.getpid(), (), ready=False)

    def test_shorter_entry_leaves_nothing_of_a_longer_one(
        self, lock: OwnerLock, database: str
    ) -> None:
        lock.acquire(0)
        lock.announce(SERVER, DOORS, ready=True)
        lock.announce(SERVER, (), ready=True)

        assert content(database) == {
            "kind": "server",
            "pid": os.getpid(),
            "doors": [],
            "ready": True,
        }

    def test_only_the_holder_may_announce_itself(self, lock: OwnerLock) -> None:
        with pytest.raises(RuntimeError, match="holds"):
            lock.announce(SERVER)


class TestEntries:
    def test_an_embedded_owner_writes_its_entry_once(self, lock: OwnerLock, database: str) -> None:
        lock.acquire(0)
        lock.release()
        before = os.stat(lock_path(database)).st_mtime_ns
        os.utime(lock_path(database), ns=(0, 0))
        lock.acquire(0)

        assert before != 0
        assert os.stat(lock_path(database)).st_mtime_ns == 0

    def test_missing_file_says_nothing(self, database: str) -> None:
        assert read_owner(database) is None

    @pytest.mark.parametrize(
        "garbage",
        [
            b"",
            b"\n",
            b"\0" * 100,
            b"{",
            b'{"kind": "server", "pid": 12',
            b"[]",
            b"{}",
            b"\xff\xfe",
            b'{"a":' * 10_000,
            b'{"kind": "server", "pid": ' + b"9" * 5000 + b', "doors": [], "ready": true}',
            b'{"kind": "server", "pid": true, "doors": [], "ready": true}',
            b'{"kind": "server", "pid": -1, "doors": [], "ready": true}',
            b'{"kind": "server", "pid": 9999999999, "doors": [], "ready": true}',
            b'{"kind": "landlord", "pid": 1, "doors": [], "ready": true}',
            b'{"kind": ["server"], "pid": 1, "doors": [], "ready": true}',
            b'{"kind": "server", "pid": 1, "doors": [1], "ready": true}',
            b'{"kind": "server", "pid": 1, "doors": "tcp://", "ready": true}',
            b'{"kind": "server", "pid": 1, "doors": [], "ready": 1}',
        ],
        ids=range(18),
    )
    def test_garbage_says_nothing_and_keeps_nobody_out(
        self, lock: OwnerLock, database: str, garbage: bytes
    ) -> None:
        Path(lock_path(database)).write_bytes(garbage)

        assert read_owner(database) is None
        assert lock.acquire(0) is None
        assert read_owner(database) == Owner(EMBEDDED, os.getpid(), (), ready=False)

    @given(st.binary(max_size=200))
    def test_no_content_is_an_error(self, garbage: bytes) -> None:
        for prefix in (b"", b"{", b'{"kind": '):
            assert owner_module._parse(prefix + garbage) is None

    def test_what_follows_the_first_line_is_the_rest_of_an_older_entry(self, database: str) -> None:
        line = b'{"kind": "embedded", "pid": 7, "doors": [], "ready": false}\n'
        Path(lock_path(database)).write_bytes(line + b'0.1:6470"], "ready": true}\n')

        assert read_owner(database) == Owner(EMBEDDED, 7, (), ready=False)

    def test_a_full_disk_keeps_no_embedded_owner_out(
        self, lock: OwnerLock, database: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        stale = b'{"kind": "server", "pid": 7, "doors": [], "ready": true}\n'
        Path(lock_path(database)).write_bytes(stale)
        monkeypatch.setattr(os, "pwrite", no_space)

        assert lock.acquire(0) is None
        assert read_owner(database) is None
        with pytest.raises(Full):
            lock.announce(SERVER)


def no_space(*_: object) -> int:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def no_process(*_: object) -> None:
    raise ProcessLookupError


def not_permitted(*_: object) -> None:
    raise PermissionError


class TestRefusals:
    def test_missing_folder(self, tmp_path: Path) -> None:
        with pytest.raises(NotFound, match=r"there is no folder .*/missing"):
            OwnerLock(str(tmp_path / "missing" / "broker.db")).acquire(0)

    @pytest.mark.parametrize(
        ("number", "expected"),
        [
            (errno.EACCES, Denied),
            (errno.EROFS, Denied),
            (errno.ENOSPC, Full),
            (errno.ENOTDIR, NotFound),
            (errno.EMFILE, Unavailable),
        ],
    )
    def test_file_that_cannot_be_opened(
        self,
        lock: OwnerLock,
        database: str,
        number: int,
        expected: type[BrokerError],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        def refuse(*_: object) -> int:
            raise OSError(number, os.strerror(number))

        monkeypatch.setattr(os, "open", refuse)

        with pytest.raises(expected):
            lock.acquire(0)
        assert read_owner(database) is None

    def test_symbolic_link_in_place_of_the_file(self, database: str, tmp_path: Path) -> None:
        Path(lock_path(database)).symlink_to(tmp_path / "elsewhere")

        with pytest.raises(Invalid, match="not a regular file"):
            OwnerLock(database).acquire(0)
        assert read_owner(database) is None
        assert not (tmp_path / "elsewhere").exists()

    def test_pipe_in_place_of_the_file(self, database: str) -> None:
        os.mkfifo(lock_path(database))

        with pytest.raises(Invalid, match="not a regular file"):
            OwnerLock(database).acquire(0)
        assert read_owner(database) is None

    def test_folder_in_place_of_the_file(self, database: str) -> None:
        Path(lock_path(database)).mkdir()

        with pytest.raises(Invalid, match="not a regular file"):
            OwnerLock(database).acquire(0)
        assert read_owner(database) is None


#: What each script about forks begins with: the lock is held and announced.
FORKING = """
import os, sys
from broker.store.owner import OwnerLock

def in_child(action):
    child = os.fork()
    if child == 0:
        try:
            action()
        except RuntimeError:
            os._exit(1)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

lock = OwnerLock(sys.argv[1])
lock.acquire(0)
lock.announce("server", (), ready=True)
"""


class TestForks:
    def test_child_cannot_use_the_lock(self, database: str) -> None:
        script = """
print(in_child(lambda: lock.acquire(0)))
print(in_child(lambda: lock.announce("server")))
print(in_child(lock.release))
print(in_child(lambda: os._exit(7 if lock.held else 8)))
print(lock.held)
"""
        assert run(FORKING + script, database) == ["1", "1", "1", "8", "True"]

    def test_close_in_a_child_leaves_the_parent_the_owner(self, database: str) -> None:
        script = """
def close_twice():
    lock.close()
    lock.close()

print(in_child(close_twice))
found = OwnerLock(sys.argv[1]).acquire(0)
print(found is not None and found.pid == os.getpid())
"""
        assert run(FORKING + script, database) == ["0", "True"]

    def test_release_unlocks_while_a_child_has_the_file_open(self, database: str) -> None:
        script = """
reader, writer = os.pipe()
child = os.fork()
if child == 0:
    os.close(writer)
    os.read(reader, 1)  # until the parent closes its end
    os._exit(0)
os.close(reader)
lock.release()
print(OwnerLock(sys.argv[1]).acquire(0))
os.close(writer)
os.waitpid(child, 0)
"""
        assert run(FORKING + script, database) == ["None"]


def test_importing_it_costs_only_cheap_modules(database: str) -> None:
    loaded = set(run("import sys, broker.store.owner; print(*sys.modules)", database))

    assert loaded.isdisjoint({"asyncio", "json", "logging", "random", "socket", "sqlalchemy"})
