"""One client's connection: bytes to requests, outcomes to bytes, with bounds on both sides.

The states of a connection:

- *reading*: commands are parsed as they come and submitted a read at a time;
- *holding*: something must be answered before what follows is even looked at (a
  pull that may wait, a command that goes in slices, a new consumer, a login, a
  password to hash); bytes gather, up to a bound;
- *congested*: too much is outstanding, or the client does not read its replies;
  it is not read from until that is over;
- *ending*: it said QUIT or sent what is no protocol: what was submitted is
  answered, then it is closed. After a half-close, or when the server stops, all
  that was received is executed and answered first, but nothing waits any more.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Sequence
from functools import partial
from itertools import repeat
from typing import TYPE_CHECKING, Any, Final, cast

from ..commands.channel import ChannelPublish, ChannelPull
from ..commands.db import DbCompact
from ..commands.dead import DeadDrop, DeadList, DeadRetry
from ..commands.delivery import Message
from ..commands.grammar import Syntax
from ..commands.message import MessageAck
from ..commands.queue import QueueCancel, QueueConsume, QueuePull, QueuePurge, QueueSend
from ..commands.request import Principal, Request
from ..commands.user import UserCreate, UserPassword
from ..errors import BrokerError, Conflict, Denied, Invalid, NoAuth, NotFound, Protocol, TooBig
from ..protocols.resp.encoder import OK, Push, encode, encode_pushes
from ..protocols.resp.requests import BEFORE_LOGIN, RequestParser, Run, after_login
from ..protocols.resp.results import to_reply
from ..protocols.resp.session import RESP3, Goodbye, Login, Reply, Session
from ..service.consumer import Consumer
from ..service.passwords import wants_hashing
from ..service.writer import MAX_BYTES_A_SOURCE, weight
from .listeners import peer_uid

if TYPE_CHECKING:
    from .server import Server

logger = logging.getLogger(__name__)

#: Commands of one connection that are submitted and not answered: twice what
#: one batch takes of it, so that the next batch is there when one is done.
MAX_OUTSTANDING: Final = 2000
#: Bodies of those, and of what outstanding pulls may bring, in bytes: as much again.
MAX_OUTSTANDING_BYTES: Final = 2 * MAX_BYTES_A_SOURCE
#: Bytes kept of what follows a command that is held for.
MAX_HELD_BYTES: Final = 256 * 1024
#: Commands parsed in one go before others get the event loop.
MAX_PARSED: Final = 500
#: Replies not yet taken by the kernel before the client counts as not reading.
WRITE_HIGH_WATER: Final = 1024 * 1024
#: Consumers of one connection: each is a pull that waits.
MAX_CONSUMERS: Final = 100
#: What holds what follows until it is answered: it may be executed in several
#: transactions, or makes a consumer.
_HOLDING: Final = frozenset([QueuePurge, DeadList, DeadRetry, DeadDrop, DbCompact, QueueConsume])
#: What is not simply handed on: that, what may wait, and what is to be hashed before.
_SPECIAL: Final = _HOLDING | {QueuePull, ChannelPull, QueueCancel, UserCreate, UserPassword}
#: What is said again and again, and holds no more than what was received: not so what is
#: weighed by its answer, of which a run could ask for any number.
_REPEATED: Final = frozenset([QueueSend, ChannelPublish, MessageAck])
#: What a session asks for that is no command of the broker.
_ANSWERED_HERE: Final = (Reply, Login, Goodbye)
#: Makes a record of its fields, without its class's detour through Python.
_new: Final = tuple.__new__
#: Who has not logged in after so many seconds is disconnected.
LOGIN_SECONDS: Final = 30.0


class ClientConnection(asyncio.Protocol):
    """A client of the server; the broker's :class:`~broker.service.broker.Client`.

    Args:
        server: what it belongs to.
        is_local: whether it came through the Unix socket, whose peers are known by uid.
    """

    def __init__(self, server: Server, *, is_local: bool) -> None:
        self.closed = False
        self._server = server
        self._is_local = is_local
        self._identity = server.next_identity()
        self._parser = RequestParser(BEFORE_LOGIN)
        self._session = Session(self._identity, server.version, None)
        self._transport: asyncio.Transport
        self._address = ""
        # What is to be answered, in order: (syntax, command, protocol, weight) for what
        # the broker executes, (None, reply, protocol, 0) for what was known at once.
        self._owed: deque[tuple[Any, Any, int, int]] = deque()
        self._outstanding_bytes = 0
        # Messages of the last replies, which the kernel may not have taken yet.
        self._unsure: list[tuple[Principal, tuple[Message, ...]]] = []
        # By the queue; and those that were cancelled and still have something leased.
        self._consumers: dict[str, Consumer] = {}
        self._cancelled: list[Consumer] = []
        self._held = False
        self._ending = False
        self._input_over = False
        self._may_hold_commands = False
        self._write_paused = False
        self._is_congested = False
        self._read_paused = False
        self._scheduled = False
        self._task: asyncio.Task[None] | None = None
        self._check: asyncio.Task[None] | None = None
        self._login_timer: asyncio.TimerHandle | None = None

    @property
    def principal(self) -> Principal | None:
        """On whose behalf its commands run."""
        return self._session.principal

    @property
    def may_wait(self) -> bool:
        """Whether its pulls may wait; not after a half-close or when the server stops."""
        return not self._input_over

    @property
    def may_push(self) -> bool:
        """Whether it takes pushed messages; not while the client does not read."""
        return not (self._write_paused or self.closed or self._input_over)

    # --- asyncio's callbacks ---

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin: a local peer is looked up, another has so long to log in."""
        # uvloop's transports are no subclasses of asyncio's.
        self._transport = cast(asyncio.Transport, transport)
        self._transport.set_write_buffer_limits(high=WRITE_HIGH_WATER)
        self._server.add(self)
        if self._is_local:
            self._address = "local"
            self._hold(self._identify())
        else:
            peer = self._transport.get_extra_info("peername")
            self._address = str(peer[0]) if peer else "?"
            loop = asyncio.get_running_loop()
            self._login_timer = loop.call_later(LOGIN_SECONDS, self._end_unless_logged_in)
        logger.debug("[%d] connected from %s", self._identity, self._address)

    def data_received(self, data: bytes) -> None:
        """Parse and submit what came, unless something is held for."""
        if self._execute_single(data):
            return
        self._parser.feed(data)
        self._may_hold_commands = True
        if not self._scheduled:
            self._process()

    def eof_received(self) -> bool:
        """Half-close: all received is answered, a waiting pull with nothing, then closed."""
        self.stop()
        return True

    def connection_lost(self, error: Exception | None) -> None:
        """End: nobody is there to be answered any more."""
        self.closed = True
        if self._login_timer is not None:
            self._login_timer.cancel()
        if self._task is not None:
            self._task.cancel()
        self._server.remove(self)
        self._server.broker.leave(self)
        for consumer in (*self._consumers.values(), *self._cancelled):
            self._server.broker.end_consumer(consumer, counted=not self._server.is_stopping)
        if isinstance(error, BrokenPipeError):
            # The peer was gone before these were written: as if nobody had pulled.
            for principal, messages in self._unsure:
                self._server.broker.give_back(principal, messages)
        logger.debug("[%d] disconnected (%s)", self._identity, error or "closed")

    def pause_writing(self) -> None:
        """The client does not read: it is not read from either."""
        self._write_paused = self._is_congested = True
        self._pause_reading()

    def resume_writing(self) -> None:
        """It reads again."""
        self._write_paused = False
        self._notice_congestion()
        self._go_on()
        for consumer in self._consumers.values():
            consumer.ask()

    # --- in ---

    def _process(self) -> None:
        """Parse and submit as much as the bounds allow."""
        self._scheduled = False
        requests: list[Request] = []
        parsed, before = 0, self._outstanding_bytes
        parser, session = self._parser, self._session
        while not (self._held or self._ending or self._is_congested):
            if parsed >= MAX_PARSED:
                self._schedule()
                break
            try:
                words = parser.next()
                if words is None:
                    self._may_hold_commands = False
                    break
                if isinstance(words, Run):
                    if self._execute_run(words.lasts, requests):
                        parsed += len(words.lasts)
                    else:
                        parser.unroll(words)
                    continue
                parsed += 1
                action = session.interpret(words)
            except BrokerError as refusal:
                session.discard()
                self._owe(refusal)
                if parser.broken:
                    self._end_broken(refusal)
                continue
            if isinstance(action, _ANSWERED_HERE):
                self._act(action, requests)
                continue
            self._execute(*action, requests)
            if type(action[1]) in _REPEATED:
                head = session.expects(action[0], words)
                if head is not None:
                    parser.expect(head)
        if requests:
            self._server.broker.submit(self, requests, self._outstanding_bytes - before)
        if self._owed and self._owed[0][0] is None:
            self._write_known()
        if self._is_congested or (self._held and parser.buffered > MAX_HELD_BYTES):
            self._pause_reading()
        if self._ending or self._input_over:
            self._close_when_done()

    def _act(self, action: Reply | Login | Goodbye, requests: list[Request]) -> None:
        if isinstance(action, Login):
            if requests:
                # They run as who the connection was until now.
                self._server.broker.submit(self, requests[:])
                requests.clear()
            self._hold(self._log_in(action))
        else:
            self._owe(action.value)
            self._ending = isinstance(action, Goodbye)

    def _execute(self, syntax: Syntax, command: Any, requests: list[Request]) -> None:
        session = self._session
        principal = session.principal
        if principal is None:
            raise AssertionError("the session lets nobody execute before a login")
        kind = type(command)
        if kind in _SPECIAL and self._is_answered_here(kind, command):
            return
        size = weight(command, self._server.max_message_bytes)
        self._owed.append((syntax, command, session.protocol, size))
        self._owes(size)
        if kind in _SPECIAL:
            if kind in _HOLDING or (syntax.result == "pulled" and command.wait_ms > 0):
                self._held = True
            elif wants_hashing(command):
                if requests:
                    self._server.broker.submit(self, requests[:])
                    requests.clear()
                self._hold(self._execute_hashed(principal, command))
                return
        requests.append(Request(principal, command))

    def _execute_run(self, lasts: list[bytes], requests: list[Request]) -> bool:
        """Execute commands as are expected, with those last words.

        They weigh what these do: such (:data:`_REPEATED`) hold no more than what was received.

        Returns:
            False, and nothing is done, if they are to be looked at one by one.
        """
        session = self._session
        template = session.template
        if template is None:
            return False
        try:
            commands = template.commands(lasts)
        except BrokerError:
            return False
        sizes = [*map(len, lasts)]
        self._owed += zip(repeat(template.syntax), commands, repeat(session.protocol), sizes)
        self._owes(sum(sizes))
        requests += map(partial(_new, Request), zip(repeat(session.principal), commands))
        return True

    def _execute_single(self, data: bytes) -> bool:
        """Execute what was received of who awaits each answer: a run of one, mostly.

        As :meth:`_process` would, but for the lists of a run, which were a fifth of all that is
        done for one command. One such is far within all bounds.

        Returns:
            False, and nothing is done, if it is to be looked at as all else is.
        """
        if self._owed or self._held or self._ending or self._is_congested:
            return False
        session = self._session
        template = session.template
        if template is None:
            return False
        last = self._parser.single(data)
        if last is None:
            return False
        try:
            command = template.command(last)
        except BrokerError:
            return False
        size = len(last)
        self._owed.append((template.syntax, command, session.protocol, size))
        self._outstanding_bytes += size
        self._server.broker.submit(self, [_new(Request, (session.principal, command))], size)
        return True

    def _owes(self, size: int) -> None:
        """Take note that commands that weigh so much are to be answered too."""
        self._outstanding_bytes += size
        if len(self._owed) >= MAX_OUTSTANDING or self._outstanding_bytes >= MAX_OUTSTANDING_BYTES:
            self._is_congested = True

    def _is_answered_here(self, kind: type, command: Any) -> bool:
        """Owe the answer to what concerns consumers, if it needs nobody else."""
        if kind is QueueCancel:
            self._owe(self._cancel(command.queue))
            return True
        refusal = self._refusal_to_consume(command) if kind is QueueConsume else None
        if refusal is not None:
            self._owe(refusal)
        return refusal is not None

    def _notice_congestion(self) -> None:
        """Take note of whether too much is outstanding, or the client does not read."""
        self._is_congested = (
            len(self._owed) >= MAX_OUTSTANDING
            or self._outstanding_bytes >= MAX_OUTSTANDING_BYTES
            or self._write_paused
        )

    def _schedule(self) -> None:
        """Go on parsing after others have had the event loop."""
        if not self._scheduled:
            self._scheduled = True
            asyncio.get_running_loop().call_soon(self._process_if_open)

    def _process_if_open(self) -> None:
        self._scheduled = False
        if not self.closed:
            self._process()

    def _pause_reading(self) -> None:
        if not self._read_paused and not self._transport.is_closing():
            self._read_paused = True
            self._transport.pause_reading()

    def _go_on(self) -> None:
        """Read and parse again, after what had stopped it is over."""
        if self.closed or self._held or self._is_congested:
            return
        if self._read_paused and not (self._input_over or self._transport.is_closing()):
            self._read_paused = False
            self._transport.resume_reading()
        if self._may_hold_commands:
            self._schedule()

    # --- holding ---

    def _hold(self, work: Any) -> None:
        """Do ``work`` before anything that follows is looked at."""
        self._held = True
        self._task = asyncio.get_running_loop().create_task(self._release_after(work))

    async def _release_after(self, work: Any) -> None:
        try:
            await work
        except BrokerError as refusal:
            self._owe(refusal)
            self._write_known()
        except Exception:  # the boundary of the connection: a defect ends it alone
            logger.exception("[%d] the connection failed", self._identity)
            self.abort()
        finally:
            self._held = False
            self._task = None
        self._go_on()
        self._close_when_done()

    async def _identify(self) -> None:
        """Find out who is at the other end of the Unix socket."""
        principal = await self._server.logins.principal_of_uid(peer_uid(self._transport))
        self._session = Session(self._identity, self._server.version, principal)
        self._parser.limits = after_login(self._server.max_message_bytes)

    async def _log_in(self, login: Login) -> None:
        """Verify a login, once all that came before it is answered."""
        if self._is_local and not login.password and self._session.principal is not None:
            principal = await self._server.logins.act_as(self._session.principal, login.name)
            registered = False
        else:
            principal, registered = await self._server.logins.login(
                login.name, login.password, self._address
            )
        if self.closed:
            return
        self._session.logged_in(principal, login.protocol)
        self._parser.limits = after_login(self._server.max_message_bytes)
        self._owe(self._session.greeting(registered=registered) if login.hello else OK)
        self._write_known()

    async def _execute_hashed(self, principal: Principal, command: Any) -> None:
        try:
            hashed = await self._server.logins.hash(command.password)
        except BrokerError as refusal:
            self.answer([Request(principal, command)], [refusal])
            return
        request = Request(principal, command._replace(password=hashed))
        self._server.broker.submit(self, [request])

    def _end_unless_logged_in(self) -> None:
        if self._session.principal is not None:
            return
        if self._held:
            # A login is being verified: it has the same time once more.
            loop = asyncio.get_running_loop()
            self._login_timer = loop.call_later(LOGIN_SECONDS, self._end_unless_logged_in)
        else:
            self._owe(Denied(f"no login within {LOGIN_SECONDS:g} s"))
            self._ending = True
            self._write_known()
            self._close_when_done()

    # --- out ---

    def answer(self, requests: Sequence[Request], outcomes: Sequence[Any]) -> None:
        """Write the replies to the next requests, in one piece."""
        if self.closed:
            return
        if self._unsure and not self._transport.get_write_buffer_size():
            self._unsure.clear()
        if len(self._owed) == 1 and type(outcomes[0]) is int:
            # An id or a count, to who had one in flight: there is nothing more to it.
            self._outstanding_bytes -= self._owed.popleft()[3]
            self._transport.write(b":%d\r\n" % outcomes[0])
        else:
            self._transport.write(self._replies(requests, outcomes))
        if self._held and not self._owed and self._task is None:
            # What was held for was the last that was submitted.
            self._held = False
        if self._is_congested:
            self._notice_congestion()
        if self._read_paused or self._may_hold_commands:
            self._go_on()
        if self._ending or self._input_over:
            self._close_when_done()

    def _replies(self, requests: Sequence[Request], outcomes: Sequence[Any]) -> bytes:
        """Return the replies to the next requests, and what is known at once behind them."""
        owed = self._owed
        pieces: list[bytes] = []
        for request, outcome in zip(requests, outcomes, strict=True):
            syntax, command, protocol, size = owed.popleft()
            while syntax is None:
                pieces.append(encode(command, protocol))
                syntax, command, protocol, size = owed.popleft()
            self._outstanding_bytes -= size
            if type(outcome) is int:
                pieces.append(b":%d\r\n" % outcome)
                continue
            pieces.append(encode(to_reply(syntax, command, outcome), protocol))
            if type(outcome) is tuple:
                self._handed_out(request, syntax, outcome, pieces)
        while owed and owed[0][0] is None:
            _, value, protocol, _ = owed.popleft()
            pieces.append(encode(value, protocol))
        return b"".join(pieces)

    def _handed_out(
        self, request: Request, syntax: Syntax, outcome: tuple[Any, ...], pieces: list[bytes]
    ) -> None:
        """Take note of messages that a reply hands out, or that a new consumer begins with."""
        if type(request.command) is QueueConsume:
            pieces.append(encode_pushes(outcome))
            self._add_consumer(request, outcome)
        elif syntax.result == "pulled" and outcome:
            self._unsure.append((request.principal, outcome))

    def _owe(self, value: Any) -> None:
        """Note a reply that is known at once, after those that are not."""
        self._owed.append((None, value, self._session.protocol, 0))

    def _write_known(self) -> None:
        """Write the replies at the front that wait for nobody."""
        owed = self._owed
        pieces: list[bytes] = []
        while owed and owed[0][0] is None:
            _, value, protocol, _ = owed.popleft()
            pieces.append(encode(value, protocol))
        if pieces and not self.closed:
            self._transport.write(b"".join(pieces))

    # --- consumers ---

    def _refusal_to_consume(self, command: QueueConsume) -> BrokerError | None:
        if self._session.protocol != RESP3:
            return Invalid(
                "messages are pushed in RESP3 only: say HELLO 3 first, or use QUEUE PULL ... WAIT"
            )
        if command.queue in self._consumers:
            return Conflict(f"this connection consumes {command.queue!r} already")
        if len(self._consumers) >= MAX_CONSUMERS:
            return Conflict(f"a connection has at most {MAX_CONSUMERS} consumers")
        return None

    def _add_consumer(self, request: Request, messages: Sequence[Message]) -> None:
        command = request.command
        broker = self._server.broker
        consumer = Consumer(broker, self, request.principal, command.queue, command.prefetch)
        self._consumers[command.queue] = consumer
        broker.add_consumer(consumer, messages)

    def _cancel(self, queue: str) -> Any:
        """End a consumer; return the answer to that."""
        consumer = self._consumers.pop(queue, None)
        if consumer is None:
            return NotFound(f"this connection does not consume {queue!r}")
        self._server.broker.cancel_consumer(consumer)
        self._cancelled = [c for c in (*self._cancelled, consumer) if c.in_flight]
        return OK

    def push(self, messages: Sequence[Message]) -> None:
        """Write messages of a consumer."""
        if not self.closed:
            self._transport.write(encode_pushes(messages))

    def consumer_ended(self, consumer: Consumer, refusal: BrokerError) -> None:
        """Say why a consumer gets nothing more."""
        if self._consumers.get(consumer.name) is consumer:
            del self._consumers[consumer.name]
            self._cancelled.append(consumer)
            if not self.closed:
                said = Push(["cancelled", consumer.name, refusal.code, refusal.message])
                self._transport.write(encode(said, RESP3))

    # --- the end ---

    def check_principal(self) -> None:
        """Find out whether its user still exists, and end the connection if not."""
        task = asyncio.get_running_loop().create_task(self._check_principal())
        self._check = task

    async def _check_principal(self) -> None:
        principal = self._session.principal
        if principal is not None and not await self._server.logins.exists(principal):
            self._owe(NoAuth(f"the user {principal.name!r} is no more"))
            self._ending = True
            self._write_known()
            self._close_when_done()

    def _end_broken(self, refusal: BrokerError) -> None:
        if isinstance(refusal, Protocol | TooBig):
            logger.info("[%d] %s: %s", self._identity, self._address, refusal)
        self._ending = True

    def stop(self) -> None:
        """Take no more than has come by now; what was received is answered, then closed."""
        self._input_over = True
        self._pause_reading()
        if not self._held:
            self._process()
        self._server.broker.release(self)
        self._close_when_done()

    def _close_when_done(self) -> None:
        over = self._ending or (self._input_over and not self._may_hold_commands)
        if over and not (self._owed or self._held or self.closed):
            self._transport.close()

    def abort(self) -> None:
        """Close without another byte: what is owed is not known to be stored."""
        self.closed = True
        self._transport.abort()
