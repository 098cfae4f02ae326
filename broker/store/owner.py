"""Who owns a database: at any moment one process, which holds the lock beside the file.

The rules:

- The owner is whoever holds ``flock`` on ``<database>.lock``. A server holds it
  for its life, embedded use for each transaction, open and close.
- What the file *says* (:class:`Owner`) is for those who did not get the lock:
  whose doors to knock at, or whom to name. It proves nothing about the lock:
  a killed owner leaves its entry behind, and the next one overwrites it.
- The lock file is never unlinked and never the database itself: closing any
  descriptor of a database drops SQLite's own locks on it.
- Who only reads, through a connection that is opened read-only, needs no lock: it
  writes nothing and checkpoints nothing (:mod:`.snapshot`).
- ``flock`` belongs to the open file and dies with its last descriptor, so a
  ``kill -9`` leaves nothing locked. A forked child shares the open file, and
  must not give its parent's lock away.

Linux and macOS differ little here. On Linux ``flock`` and SQLite's ``fcntl``
locks do not see each other, on macOS they conflict on one file: one more
reason for a file apart. Over a network file system Linux turns ``flock`` into
``fcntl`` locks, macOS may refuse it; databases do not belong there.

Only the standard library, and json only when there is something to parse: a
one-shot that ends up talking to a server pays for this module at every start.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import time
from typing import Final, NamedTuple

from ..errors import BrokerError, Denied, Full, Invalid, NotFound, Unavailable

SERVER: Final = "server"
EMBEDDED: Final = "embedded"

#: An entry is a line of JSON; nobody has doors enough to fill this.
_MAX_ENTRY_BYTES: Final = 64 * 1024

#: Between two tries, in seconds. Waiting is polling, since ``flock`` knows no
#: timeout: a blocking one could only be left by a signal, which a library does
#: not own, or by a thread that may get the lock after nobody wants it any more.
#: Embedded owners hold it for about a millisecond; 20 ms keeps two hundred
#: waiters at a few per cent of a core.
_FIRST_PAUSE_S: Final = 0.001
_LONGEST_PAUSE_S: Final = 0.020
_GROWTH: Final = 1.5

#: A process that takes the lock again as soon as it has released it leaves
#: pollers a window of microseconds: beside one such, a waiter was seen to starve
#: for over ten seconds. So after a run of this length without a gap it makes
#: one, for 2 % of its time, and the waiter is in after a quarter of a second.
_LONGEST_RUN_S: Final = 0.100
_GAP_S: Final = 0.002

#: For so long a ready server is doubted whose process is not to be seen: either
#: it was killed and the owner after it is about to replace its entry, or it
#: lives in another pid namespace.
_DOUBT_S: Final = 1.0
_LARGEST_PID: Final = 2**31 - 1


class Owner(NamedTuple):
    """What a lock file says about its owner.

    Attributes:
        kind: ``server`` or ``embedded``.
        pid: of the process, in its own pid namespace.
        doors: where a server listens, as URLs.
        ready: whether a server listens there by now.
    """

    kind: str
    pid: int
    doors: tuple[str, ...]
    ready: bool


class ServerRunning(Exception):
    """A server owns the database: the caller talks to it instead.

    Attributes:
        owner: what its lock file says.
    """

    def __init__(self, owner: Owner) -> None:
        super().__init__(f"a server (pid {owner.pid}) owns the database")
        self.owner = owner


def lock_path(database: str) -> str:
    """Return the path of the lock file of ``database``.

    Symbolic links are resolved, as SQLite does for its own files: one database
    under two names must not have two owners.
    """
    return f"{os.path.realpath(database)}.lock"


def read_owner(database: str) -> Owner | None:
    """Return what the lock file says, or None if it says nothing that can be read.

    The entry may be that of an owner long gone. Never raises: a missing,
    unreadable, empty or half-written file is None.
    """
    try:
        # Not blocking, should somebody have put a pipe there.
        descriptor = os.open(lock_path(database), os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return None
    try:
        return _parse(os.pread(descriptor, _MAX_ENTRY_BYTES, 0))
    except OSError:
        return None
    finally:
        os.close(descriptor)


class OwnerLock:
    """The lock on one database, held or not, by this process.

    The file stays open between uses, which is most of what a lock costs. Not
    for several threads at once: the caller sees to that. Nor for forked
    children, who must make their own; there, :meth:`close` is all that works.
    """

    def __init__(self, database: str) -> None:
        self._database = database
        self._path = lock_path(database)
        self._process = os.getpid()
        self._descriptor: int | None = None
        self._held = False
        self._entry = b""
        self._announced_server = False
        # When the present run of holding without a gap began, and last ended.
        self._run_began_at = 0.0
        self._released_at = 0.0

    @property
    def held(self) -> bool:
        """Whether this process owns the database; a forked child never does."""
        return self._held and os.getpid() == self._process

    def acquire(self, timeout_s: float) -> Owner | None:
        """Become the owner, or return the server that is.

        An entry of somebody else is replaced by this process's own at once, so
        that a killed server's is not taken for a living one. The server
        returned may still end before anybody knocks at its doors: who finds
        them closed asks again.

        Args:
            timeout_s: how long to wait for another embedded owner or for a
                server that does not listen yet; 0 is one try.

        Returns:
            None once the lock is held; otherwise the owner, a server that
            listens at its doors, without waiting for it.

        Raises:
            Unavailable: somebody else held it all the time; says who.
            NotFound, Denied, Full, Invalid: the lock file cannot be opened.
            RuntimeError: it is held already, or this is a forked child.
        """
        if os.getpid() != self._process:
            raise _made_before_a_fork()
        if self._held:
            raise RuntimeError("the owner lock is held already")
        started_at = self._leave_a_gap()
        pause_s = _FIRST_PAUSE_S
        while True:
            descriptor = self._open() if self._descriptor is None else self._descriptor
            if self._try(descriptor):
                return None
            if self._is_deleted(descriptor):
                # At once, for nobody may hold the new one; but only once, before it waits.
                descriptor = self._open()
                if self._try(descriptor):
                    return None
            owner = _parse(os.pread(descriptor, _MAX_ENTRY_BYTES, 0))
            waited_s = time.monotonic() - started_at
            left_s = timeout_s - waited_s
            if owner is not None and owner.kind == SERVER and owner.ready:
                if _is_running(owner.pid) or waited_s >= min(_DOUBT_S, timeout_s):
                    return owner
            elif left_s <= 0:
                raise self._unavailable(owner, waited_s)
            # Waiters that came together part: the clock's low bits are jitter
            # enough, and cheaper than to import `random`.
            jitter = time.monotonic_ns() % 1024 / 2048
            time.sleep(min(pause_s * (0.5 + jitter), left_s))
            pause_s = min(pause_s * _GROWTH, _LONGEST_PAUSE_S)

    def announce(self, kind: str, doors: tuple[str, ...] = (), ready: bool = False) -> None:
        """Write who owns the database into the lock file.

        Args:
            kind: ``server`` or ``embedded``.
            doors: where the server listens, as URLs.
            ready: whether it listens by now; others are sent there from then on.

        Raises:
            Full: the disk is.
            RuntimeError: the lock is not held, or this is a forked child.
        """
        if os.getpid() != self._process:
            raise _made_before_a_fork()
        if not self._held:
            raise RuntimeError("only who holds the owner lock may announce itself")
        import json

        self._write(
            json.dumps({"kind": kind, "pid": self._process, "doors": list(doors), "ready": ready})
        )
        self._announced_server = kind == SERVER

    def release(self) -> None:
        """Let others have the database; does nothing if it is not held.

        Raises:
            RuntimeError: this is a forked child.
        """
        if os.getpid() != self._process:
            raise _made_before_a_fork()
        descriptor = self._descriptor
        if not self._held or descriptor is None:
            return
        if self._announced_server:
            # Nobody is sent to doors that have closed.
            self._erase(descriptor)
            self._announced_server = False
        self._held = False
        # Explicitly, for closing unlocks nothing while a child that has not
        # yet reached its exec shares the open file.
        fcntl.flock(descriptor, fcntl.LOCK_UN)
        self._released_at = time.monotonic()

    def close(self) -> None:
        """Release the lock and close the file; may be called twice.

        In a forked child it closes the child's descriptor alone: to unlock
        there would take the lock from the parent.
        """
        descriptor = self._descriptor
        if descriptor is None:
            return
        try:
            if os.getpid() == self._process:
                self.release()
        finally:
            self._descriptor = None
            self._held = False
            os.close(descriptor)

    def _leave_a_gap(self) -> float:
        """Return the time, after a pause if this process has left nobody else a chance."""
        now = time.monotonic()
        if now - self._released_at >= _GAP_S:
            self._run_began_at = now
        elif now - self._run_began_at >= _LONGEST_RUN_S:
            time.sleep(_GAP_S)
            now = self._run_began_at = time.monotonic()
        return now

    def _open(self) -> int:
        """Return the descriptor of the lock file."""
        if self._descriptor is not None:
            return self._descriptor
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
        try:
            descriptor = os.open(self._path, flags, 0o600)
        except OSError as error:
            raise _refusal(error, self._path) from error
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            raise Invalid(f"the lock file {self._path} is not a regular file")
        self._descriptor = descriptor
        self._entry = b""
        return descriptor

    def _is_deleted(self, descriptor: int) -> bool:
        """Return whether the lock file was deleted, and is to be opened anew.

        Nothing here unlinks it, but somebody who removes ``broker.db*`` does,
        and a lock on a file without a name keeps nobody out.
        """
        if os.fstat(descriptor).st_nlink:
            return False
        self._descriptor = None
        os.close(descriptor)
        return True

    def _try(self, descriptor: int) -> bool:
        """Take the lock if nobody holds it, and put this process's entry in the file.

        Returns:
            Whether it has it: not where another has, nor where the file was deleted.
        """
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        except OSError as error:
            raise _refusal(error, self._path) from error
        if not os.fstat(descriptor).st_nlink:
            fcntl.flock(descriptor, fcntl.LOCK_UN)
            return False
        self._held = True
        try:
            # Who finds its own writes nothing.
            if not self._entry or os.pread(descriptor, len(self._entry), 0) != self._entry:
                self._sign(descriptor)
        except BaseException:
            self.release()
            raise
        return True

    def _sign(self, descriptor: int) -> None:
        """Replace the entry of another owner."""
        try:
            self._write(
                f'{{"kind": "{EMBEDDED}", "pid": {self._process}, "doors": [], "ready": false}}'
            )
        except Full:
            # Reading must go on with a full disk. Nobody is named then, nor misled.
            self._erase(descriptor)

    def _write(self, entry: str) -> None:
        """Make ``entry`` what the file says.

        One write, then the cut: a reader that comes between them finds the
        whole new line first, and reads no further. Not synced: the lock does
        not survive a power cut either.
        """
        assert self._descriptor is not None
        line = f"{entry}\n".encode()
        try:
            os.pwrite(self._descriptor, line, 0)
            os.ftruncate(self._descriptor, len(line))
        except OSError as error:
            raise _refusal(error, self._path) from error
        self._entry = line

    def _erase(self, descriptor: int) -> None:
        self._entry = b""
        os.ftruncate(descriptor, 0)

    def _unavailable(self, owner: Owner | None, waited_s: float) -> Unavailable:
        if owner is None:
            who = "another process"
        elif owner.kind == SERVER:
            who = f"a server that is starting or stopping (pid {owner.pid})"
        else:
            who = f"an embedded client (pid {owner.pid})"
        return Unavailable(f"{who} holds the database {self._database}; waited {waited_s:.1f} s")


def _made_before_a_fork() -> RuntimeError:
    return RuntimeError("the owner lock was made before a fork; open the database anew")


def _parse(content: bytes) -> Owner | None:
    """Return the owner in the first line of ``content``, or None if there is none."""
    line = content.partition(b"\n")[0]
    if not line.startswith(b"{"):
        return None
    import json

    try:
        entry = json.loads(line)
    except (ValueError, RecursionError):
        return None
    kind, pid, doors, ready = (entry.get(key) for key in Owner._fields)
    if (
        kind not in (SERVER, EMBEDDED)
        or type(pid) is not int
        or not 0 < pid <= _LARGEST_PID
        or not isinstance(doors, list)
        or not all(isinstance(door, str) for door in doors)
        or not isinstance(ready, bool)
    ):
        return None
    return Owner(kind, pid, tuple(doors), ready)


def _is_running(pid: int) -> bool:
    """Return whether there is such a process, as far as this one can see."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _refusal(error: OSError, path: str) -> BrokerError:
    """Return what to tell a caller whose lock file cannot be opened, locked or written."""
    reason = error.strerror or str(error)
    match error.errno:
        case errno.ENOENT | errno.ENOTDIR:
            return NotFound(f"there is no folder {os.path.dirname(path)}")
        case errno.EACCES | errno.EPERM | errno.EROFS:
            return Denied(f"cannot open the lock file {path}: {reason}")
        case errno.ENOSPC | errno.EDQUOT:
            return Full(f"cannot write the lock file {path}: {reason}")
        case errno.ELOOP | errno.EISDIR | errno.ENXIO:
            return Invalid(f"the lock file {path} is not a regular file")
        case _:
            return Unavailable(f"cannot lock {path}: {reason}")
