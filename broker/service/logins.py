"""Who a caller is: by name and password, by uid, or as whom an admin acts.

Passwords are compared in a bounded pool of threads and remembered in memory.

A login that succeeded once is remembered as an HMAC of the password under a
secret of this process, so that a one-shot does not pay for bcrypt each time;
it is forgotten when the password changes.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Final, NamedTuple, TypeVar

from ..commands.request import Principal
from ..commands.user import PasswordHash
from ..errors import Invalid, Unavailable, WrongPass
from ..names import check_password, check_user_name
from ..store.handlers import users
from .accounts import login_name
from .broker import Broker
from .passwords import hash_password, matches

_Result = TypeVar("_Result")

#: bcrypt holds a core; the rest is the broker's.
THREADS: Final = 1
#: Who waits for bcrypt; at a quarter of a second each, more would give up anyway.
MAX_WAITING: Final = 64
#: Logins remembered; the oldest is forgotten first.
MAX_REMEMBERED: Final = 10_000
#: Names and addresses with failures that are remembered.
MAX_FAILING: Final = 10_000
#: An answer to a failed login comes later with each failure, up to this, in seconds.
FIRST_DELAY: Final = 0.1
LONGEST_DELAY: Final = 3.0
#: Failures are forgiven after so many seconds without another.
FORGIVEN_AFTER: Final = 300.0


class _Remembered(NamedTuple):
    digest: bytes
    principal: Principal


class Logins:
    """Verifies logins; a name never seen registers where that is open.

    Args:
        broker: for looking users up and registering them.
        registration: whether an unknown name may register.
    """

    def __init__(self, broker: Broker, *, registration: bool) -> None:
        self._broker = broker
        self._registration = registration
        self._pool = ThreadPoolExecutor(THREADS, thread_name_prefix="broker-bcrypt")
        self._waiting = 0
        self._secret = os.urandom(32)
        self._remembered: dict[str, _Remembered] = {}
        # As many as the machine has users.
        self._by_uid: dict[int, Principal] = {}
        self._failures: dict[str, tuple[int, float]] = {}

    async def login(self, name: str, password: str, address: str) -> tuple[Principal, bool]:
        """Return the user of a name and password, and whether this login registered it.

        Args:
            address: where the peer comes from; failures slow it, and the name,
                down, but lock nobody out: a right password is answered at once.

        Raises:
            WrongPass: they do not match, or the name is unknown and may not
                register: the same text, after the same work.
            Unavailable: too many logins wait already.
        """
        remembered = self._remembered.get(name)
        if remembered is not None and hmac.compare_digest(
            remembered.digest, self._digest(name, password)
        ):
            return remembered.principal, False
        verified = await self._verify(name, password)
        if verified is None:
            await asyncio.sleep(self._note_failure(name, address))
            raise WrongPass("wrong user name or password")
        self._remember(name, password, verified[0])
        return verified

    async def _verify(self, name: str, password: str) -> tuple[Principal, bool] | None:
        known = await self._broker.call(lambda tx: users.principal_of_name(tx, name))
        if known is not None:
            principal, password_hash = known
            same = await self._in_pool(partial(matches, password, password_hash))
            return (principal, False) if same else None
        if not self._registration or not _may_register(name, password):
            await self._in_pool(partial(matches, password, None))
            return None
        hashed = await self.hash(password)
        registered = await self._broker.call(lambda tx: users.register(tx, name, hashed))
        if registered is not None:
            return registered, True
        # Somebody registered the name meanwhile: now the password must match.
        return await self._verify(name, password)

    async def principal_of_uid(self, uid: int) -> Principal:
        """Return the user an operating-system uid stands for, made if it is new."""
        principal = self._by_uid.get(uid)
        if principal is None:
            principal = self._by_uid[uid] = await self._broker.call(
                lambda tx: users.principal_of_uid(tx, uid, login_name(uid))
            )
        return principal

    async def act_as(self, principal: Principal, name: str) -> Principal:
        """Return the user as whom ``principal`` asks to act.

        Raises:
            Denied: it is neither itself nor an admin.
            NotFound: there is no such user.
        """
        return await self._broker.call(lambda tx: users.acting_as(tx, principal, name))

    async def exists(self, principal: Principal) -> bool:
        """Return whether a user is still the one it was."""
        known = await self._broker.call(lambda tx: users.principal_of_name(tx, principal.name))
        return known is not None and known[0].id == principal.id

    async def hash(self, password: str) -> PasswordHash:
        """Return the hash of a password that a command carries."""
        return await self._in_pool(partial(hash_password, password))

    async def _in_pool(self, work: Callable[[], _Result]) -> _Result:
        if self._waiting >= MAX_WAITING:
            raise Unavailable("too many logins at once: try again")
        self._waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._pool, work)
        finally:
            self._waiting -= 1

    def forget(self, user_ids: set[int]) -> None:
        """Forget remembered logins of users whose password changed or who are gone."""
        for name, remembered in list(self._remembered.items()):
            if remembered.principal.id in user_ids:
                del self._remembered[name]
        for uid, principal in list(self._by_uid.items()):
            if principal.id in user_ids:
                del self._by_uid[uid]

    def close(self) -> None:
        """End the pool; who waits for it is cancelled."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _digest(self, name: str, password: str) -> bytes:
        text = f"{name}\0{password}".encode("utf-8", "surrogateescape")
        return hmac.digest(self._secret, text, hashlib.sha256)

    def _remember(self, name: str, password: str, principal: Principal) -> None:
        while len(self._remembered) >= MAX_REMEMBERED:
            del self._remembered[next(iter(self._remembered))]
        self._remembered[name] = _Remembered(self._digest(name, password), principal)

    def _note_failure(self, name: str, address: str) -> float:
        """Count a failure of a name and of an address; return the delay of the answer."""
        now = time.monotonic()
        counts = [self._count_failure(key, now) for key in (f"user {name}", f"from {address}")]
        return float(min(LONGEST_DELAY, FIRST_DELAY * 2 ** min(10, max(counts) - 1)))

    def _count_failure(self, key: str, now: float) -> int:
        count, last = self._failures.pop(key, (0, now))
        count = 1 if now - last > FORGIVEN_AFTER else count + 1
        while len(self._failures) >= MAX_FAILING:
            del self._failures[next(iter(self._failures))]
        self._failures[key] = (count, now)
        return count


def _may_register(name: str, password: str) -> bool:
    try:
        check_user_name(name)
        check_password(password)
    except Invalid:
        return False
    return True
