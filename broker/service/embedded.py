"""The broker inside the caller's process: the owner lock is held for each transaction."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, Final, NoReturn, TypeVar

from ..commands.channel import ChannelDelete, ChannelPull, ChannelUnsubscribe
from ..commands.queue import QueueCancel, QueueConsume, QueueDelete, QueuePull
from ..commands.request import Principal, Request, Unfinished
from ..commands.status import Status
from ..commands.table import syntax_of
from ..commands.user import UserCreate, UserDelete, UserPassword
from ..errors import Invalid, NotFound, Unavailable
from ..store.database import Database
from ..store.dialect import StoreFailure
from ..store.handlers import execute, upkeep, users
from ..store.handlers.expiry import NEVER
from ..store.owner import OwnerLock, ServerRunning
from ..store.transaction import Limits, Transaction
from .accounts import login_name
from .passwords import with_hash

_Result = TypeVar("_Result")

#: How many deliveries of deleted queues one transaction takes away: some 5 ms.
REMOVAL_SLICE = 500
#: How long the lock is left free after each slice, in lengths of that slice.
REMOVAL_PAUSE = 2.0
#: How often a waiting pull looks at the file's time stamps: two system calls.
LOOK_SECONDS = 0.02

#: By what a transaction knows when there is something to be cleaned up.
_CALM_UNTIL = ("calm until",)


class EmbeddedBroker:
    """Executes commands on a database file; for one thread at a time.

    The lock is taken for each transaction and never held while waiting, so that
    many processes share a file without one of them being told that it is locked.
    The connection stays open in between.

    Args:
        path: the database.
        act_as: on whose behalf commands run, if not the process's own user.
        timeout_s: how long another process may hold the lock, in seconds.
        max_message_bytes: the largest body.
    """

    def __init__(
        self, path: str, *, act_as: str | None, timeout_s: float, max_message_bytes: int
    ) -> None:
        self._path = path
        self._act_as = act_as
        self._timeout_s = timeout_s
        # What the system calls the process's user, looked up once.
        self._login_name = cache(login_name)
        self._database = Database(path, Limits(max_message_bytes))
        self._lock = OwnerLock(path)

    def execute(self, command: Any) -> Any:
        """Execute a command and return its result once it is committed and synced.

        Raises:
            BrokerError: refused; nothing was changed.
            ServerRunning: a server owns the database.
        """
        return _WAYS.get(type(command), EmbeddedBroker._do)(self, command)

    def _do(self, command: Any) -> Any:
        """Execute a command, slice by slice if it goes in such."""
        outcome, _ = self._transact(command)
        while type(outcome) is Unfinished:
            began = time.monotonic()
            outcome, _ = self._transact(outcome.command)
            self._let_others_in(began)
        return outcome

    def _do_hashed(self, command: UserCreate | UserPassword) -> Any:
        """Execute a command that may carry a password."""
        return self._do(with_hash(command))

    def _remove(self, command: Any) -> Any:
        """Execute a deletion, and take away all that it leaves."""
        outcome = self._do(command)
        self._finish_removals()
        return outcome

    def _refuse_status(self, _: Status) -> NoReturn:
        raise Unavailable(f"no server is running for {self._path}")

    def _refuse_pushes(self, _: QueueConsume | QueueCancel) -> NoReturn:
        raise Invalid("messages are pushed by a server only: pull, or consume in the library")

    def _pull(self, command: QueuePull | ChannelPull) -> Any:
        return self._pull_waiting(command) if command.wait_ms else self._do(command)

    def _pull_waiting(self, command: QueuePull | ChannelPull) -> Any:
        """Pull; while there is nothing, look again when the file changed or something is due.

        And once more at the end, for what has come since the last look at the file.
        """
        deadline = time.monotonic() + command.wait_ms / 1000
        is_over = False
        while True:
            seen = self._stamps()
            outcome, tx = self._transact(command)
            if outcome or is_over:
                return outcome
            # What expires elsewhere may be what is waited for here.
            due_at = min([*tx.due.values(), tx.clean_up_at or 0])
            is_over = not self._wait(seen, deadline, due_at)

    def _wait(self, seen: object, deadline: float, due_at: int) -> bool:
        """Wait until the file differs from ``seen`` or ``due_at`` comes; False at the deadline."""
        while (left := deadline - time.monotonic()) > 0:
            if self._stamps() != seen:
                return True
            until_due = (due_at - wall_clock_ms()) / 1000
            if until_due <= 0:
                return True
            # Nothing tells one process that another has written: it has to look.
            time.sleep(min(left, LOOK_SECONDS, until_due))
        return False

    def _stamps(self) -> tuple[tuple[int, int] | None, ...]:
        """Return what changes with every commit: times and sizes of the file and its log."""
        return tuple(_stamp(path) for path in (self._path, f"{self._path}-wal"))

    def _transact(self, command: Any) -> tuple[Any, Transaction]:
        """Execute a command in one transaction.

        Returns:
            Its result, and what the transaction has to tell.
        """
        creates = syntax_of(type(command)).creates
        if not creates and not os.access(self._path, os.F_OK):
            raise NotFound(f"there is no database {self._path}")

        def work(tx: Transaction) -> Any:
            (outcome,) = execute(tx, (Request(self._principal(tx), command),))
            self._clean_up(tx)
            return outcome

        outcome, tx = self._as_owner(work, creates=creates)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome, tx

    def _clean_up(self, tx: Transaction) -> None:
        """Take away a slice of what has had its time, or note when there will be something.

        It is known until when there is nothing, as long as nobody else has written.
        """
        calm_until: int = tx.recall(_CALM_UNTIL) or 0
        if tx.now >= calm_until or tx.left_to_clean_up:
            if upkeep.clean_up(tx, REMOVAL_SLICE):
                calm_until = tx.now
            else:
                upkeep.note_next_clean_up(tx)
                calm_until = NEVER
        elif tx.clean_up_at is None:
            # As mostly.
            tx.clean_up_at = calm_until
            return
        tx.to_clean_up(calm_until)
        tx.remember(_CALM_UNTIL, tx.clean_up_at)

    def _finish_removals(self) -> None:
        """Take away what a deletion left, letting others in between the slices.

        The deletion itself is committed: a server that has started meanwhile does the
        rest, and must not be asked for what it would no longer find.
        """

        def work(tx: Transaction) -> bool:
            tx.remember(_CALM_UNTIL, tx.now)
            return upkeep.clean_up(tx, REMOVAL_SLICE)

        more = True
        while more:
            began = time.monotonic()
            try:
                more, _ = self._as_owner(work)
            except ServerRunning:
                return
            if more:
                self._let_others_in(began)

    def _let_others_in(self, began: float) -> None:
        """Leave the lock free for longer than it was held since ``began``.

        Who waits for it looks for it again and again, and a long deletion would
        keep everybody out.
        """
        time.sleep(REMOVAL_PAUSE * (time.monotonic() - began))

    def _principal(self, tx: Transaction) -> Principal:
        uid = os.geteuid()
        principal = users.principal_of_uid(tx, uid, self._login_name(uid))
        if self._act_as is None:
            return principal
        return users.acting_as(tx, principal, self._act_as)

    def _as_owner(
        self, work: Callable[[Transaction], _Result], *, creates: bool = False
    ) -> tuple[_Result, Transaction]:
        """Do some work in one transaction under the lock; return its result, and that."""
        owner = self._lock.acquire(self._timeout_s)
        if owner is not None:
            raise ServerRunning(owner)
        try:
            self._database.open(create=creates)
            with self._database.transaction(wall_clock_ms()) as tx:
                result = work(tx)
            return result, tx
        except StoreFailure as failure:
            raise Unavailable(
                f"the disk or the file failed, and whether this was stored is not known: {failure}"
            ) from failure
        finally:
            self._lock.release()

    def close(self) -> None:
        """Close the file under the lock; twice is fine.

        If a server owns it by now, SQLite's own locks are enough: a connection
        that is not the last one writes nothing as it closes.
        """
        if self._database.is_open:
            try:
                owned = self._lock.acquire(self._timeout_s) is None
            except Unavailable:
                owned = False
            try:
                self._database.close(is_owned=owned)
            finally:
                if owned:
                    self._lock.release()
        self._lock.close()


#: How a command is executed that is not one transaction as it stands.
_WAYS: Final[Mapping[type, Callable[[EmbeddedBroker, Any], Any]]] = {
    Status: EmbeddedBroker._refuse_status,
    QueueConsume: EmbeddedBroker._refuse_pushes,
    QueueCancel: EmbeddedBroker._refuse_pushes,
    QueuePull: EmbeddedBroker._pull,
    ChannelPull: EmbeddedBroker._pull,
    UserCreate: EmbeddedBroker._do_hashed,
    UserPassword: EmbeddedBroker._do_hashed,
    QueueDelete: EmbeddedBroker._remove,
    ChannelDelete: EmbeddedBroker._remove,
    ChannelUnsubscribe: EmbeddedBroker._remove,
    UserDelete: EmbeddedBroker._remove,
}


def wall_clock_ms() -> int:
    """Return the time, in milliseconds since 1970, UTC."""
    return time.time_ns() // 1_000_000


def _stamp(path: str) -> tuple[int, int] | None:
    try:
        status = os.stat(path)
    except FileNotFoundError:
        return None
    return status.st_mtime_ns, status.st_size
