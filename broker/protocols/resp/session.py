"""A RESP session without its socket: words in, what to do about them out.

Commands of the broker become requests; what Redis clients say among themselves
and their server (HELLO, PING, CLIENT ...) is answered here. It knows no asyncio,
no socket and no clock.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

from ...commands.atomic import EXEC, PARTS, Atomic
from ...commands.grammar import (
    Syntax,
    Template,
    nearest,
    parse,
    read_integer,
    read_text,
    template,
)
from ...commands.request import Principal
from ...commands.table import all_syntaxes
from ...errors import BrokerError, Invalid, NoAuth, NoProto, TooBig, WrongPass
from ...names import MAX_REPEATED, RESERVED_USER
from .encoder import OK, Status

QUEUED: Final = Status("QUEUED")
RESP2: Final = 2
RESP3: Final = 3
MAX_CLIENT_NAME: Final = 128
#: What a transaction holds in memory until EXEC: as much as one command may.
MAX_TRANSACTION_BYTES: Final = 16 * 1024 * 1024


#: A command for the broker and its syntax: bare, for there is one for nearly each command.
Execute = tuple[Syntax, Any]


class Reply(NamedTuple):
    """An answer that needs nobody else."""

    value: Any


class Login(NamedTuple):
    """A login to be verified before anything that follows is read.

    Attributes:
        name, password: an empty password asks to act as another (Unix socket only).
        hello: whether the answer is HELLO's.
        protocol: the version to speak from the answer on.
    """

    name: str
    password: str
    hello: bool
    protocol: int


class Goodbye(NamedTuple):
    """Answer, then close."""

    value: Any


Action = Execute | Reply | Login | Goodbye

#: What may be said before a login.
_BEFORE_LOGIN: Final = frozenset(["HELLO", "AUTH", "QUIT", "RESET", "PING"])


class SessionCommand(NamedTuple):
    """A command of the session itself, for documents and for COMMAND DOCS."""

    usage: str
    summary: str


SESSION_COMMANDS: Final[Mapping[str, SessionCommand]] = {
    "HELLO": SessionCommand(
        "HELLO [2|3 [AUTH name password] [SETNAME name]]",
        "Choose the protocol version and log in; answers what the server is.",
    ),
    "AUTH": SessionCommand("AUTH name password", "Log in."),
    "PING": SessionCommand("PING [text]", "Answer PONG, or the text."),
    "ECHO": SessionCommand("ECHO text", "Answer the text."),
    "SELECT": SessionCommand("SELECT 0", "Accepted for Redis clients; there is one database."),
    "CLIENT": SessionCommand(
        "CLIENT SETINFO attribute value | SETNAME name | GETNAME | ID",
        "What Redis clients say about themselves.",
    ),
    "COMMAND": SessionCommand(
        "COMMAND [COUNT | DOCS [name ...] | INFO [name ...]]", "What commands there are."
    ),
    "INFO": SessionCommand("INFO [section]", "A few lines about the server, as Redis gives them."),
    "MULTI": SessionCommand(
        "MULTI",
        "Begin a transaction: sends, publications, acks and nacks that follow are queued.",
    ),
    "EXEC": SessionCommand(
        "EXEC",
        "Execute what is queued, all or none; answers an array of the replies, or the first "
        "refusal, and then nothing was done.",
    ),
    "DISCARD": SessionCommand("DISCARD", "Forget what is queued."),
    "RESET": SessionCommand("RESET", "Forget login, name and protocol version."),
    "QUIT": SessionCommand("QUIT", "Answer OK and close the connection."),
}


class Session:
    """What one connection has said about itself.

    Args:
        identity: of the connection, for CLIENT ID and logs.
        version: of the program.
        principal: who it is without any login (the peer of a Unix socket), or None.

    Attributes:
        principal: on whose behalf its commands run, or None before a login.
        protocol: the version replies are written in.
        name: as CLIENT SETNAME gave it.
        template: what makes the commands that begin as :meth:`expects` has returned last;
            None where each is to be interpreted.
    """

    def __init__(self, identity: int, version: str, principal: Principal | None) -> None:
        self.identity = identity
        self.principal = principal
        self.protocol = RESP2
        self.name = ""
        self._version = version
        self._peer = principal
        # What was queued since MULTI, or None outside of it.
        self._queued: list[Any] | None = None
        self._queued_bytes = 0
        self._is_discarded = False
        # The words of the last command but for its last, and those that runs begin with.
        self._said: list[bytes] = []
        self._head: list[bytes] = []
        self.template: Template | None = None

    def interpret(self, words: Sequence[bytes]) -> Action:
        """Return what one command asks for.

        Raises:
            BrokerError: it is malformed, unknown, or wants a login first.
        """
        syntax = _BY_BYTES.get((words[0], words[1])) if len(words) > 1 else None
        if syntax is None:
            return self._interpret_slowly(words)
        if self.principal is None:
            raise _no_auth()
        command = parse(syntax, words[2:])
        return (syntax, command) if self._queued is None else self._queue(syntax, command, words)

    def expects(self, syntax: Syntax, words: list[bytes]) -> list[bytes] | None:
        """Return what all but the last word of the next commands are likely to be.

        None if they cannot be told, or were the last time already.

        Args:
            syntax: of the last command.
            words: which it was.
        """
        arguments = syntax.arguments
        if len(words) != len(syntax.words) + len(arguments) or not arguments:
            # What is kept would be as long as what a client says.
            self._said = []
            return None
        head = words[:-1]
        if head != self._said:
            self._said = head
            return None
        if head == self._head:
            return None
        self._head = head
        self.template = template(syntax, head[len(syntax.words) :])
        return None if self.template is None else head

    def _interpret_each(self) -> None:
        """Expect nothing, until something is said again and again from now on."""
        self._said = self._head = []
        self.template = None

    def _queue(self, syntax: Syntax, command: Any, words: Sequence[bytes]) -> Action:
        """Queue a command in a transaction, or have it executed where there is none."""
        if self._queued is None:
            return syntax, command
        if not isinstance(command, PARTS):
            raise Invalid(f"{' '.join(syntax.words)} cannot be part of a transaction")
        if len(self._queued) >= MAX_REPEATED:
            raise Invalid(f"at most {MAX_REPEATED} commands in a transaction")
        self._queued_bytes += sum(map(len, words))
        if self._queued_bytes > MAX_TRANSACTION_BYTES:
            raise TooBig(f"a transaction of over {MAX_TRANSACTION_BYTES} bytes")
        self._queued.append(command)
        return Reply(QUEUED)

    def discard(self) -> None:
        """Take note that a command was refused: a transaction it was to be part of fails."""
        self._is_discarded = self._queued is not None

    def _interpret_slowly(self, words: Sequence[bytes]) -> Action:
        first = words[0].decode("ascii", "replace").upper()
        if self.principal is None and first not in _BEFORE_LOGIN:
            raise _no_auth()
        if first in SESSION_COMMANDS:
            handler = getattr(self, f"_{first.lower()}")
            action: Action = handler([bytes(word) for word in words[1:]])
            return action
        table = all_syntaxes()
        for length in (2, 1):
            key = tuple(word.decode("ascii", "replace").upper() for word in words[:length])
            syntax = table.get(key)
            if syntax is not None:
                return self._queue(syntax, parse(syntax, words[len(key) :]), words)
        raise _unknown(words)

    def logged_in(self, principal: Principal, protocol: int) -> None:
        """Take note of a login that was verified."""
        self.principal = principal
        self.protocol = protocol

    def greeting(self, *, registered: bool) -> dict[str, Any]:
        """Return the answer to HELLO."""
        return {
            "server": "broker",
            "version": self._version,
            "proto": self.protocol,
            "id": self.identity,
            "mode": "standalone",
            "role": "master",
            "modules": [],
            "user": self.principal.name if self.principal else None,
            "registered": registered,
        }

    # --- the session's own commands ---

    def _hello(self, words: list[bytes]) -> Action:
        protocol = self.protocol
        if words:
            if not words[0].isdigit() or int(words[0][:3]) not in (RESP2, RESP3):
                raise NoProto("unsupported protocol version: 2 and 3 are spoken here")
            protocol = int(words[0])
        login: tuple[bytes, bytes] | None = None
        name = None
        position = 1
        while position < len(words):
            option = words[position].upper()
            if option == b"AUTH" and position + 2 < len(words):
                login = (words[position + 1], words[position + 2])
                position += 3
            elif option == b"SETNAME" and position + 1 < len(words):
                name = _client_name(words[position + 1])
                position += 2
            else:
                raise Invalid(f"wrong arguments: {SESSION_COMMANDS['HELLO'].usage}")
        if login is None and self.principal is None:
            raise NoAuth("log in first: HELLO 3 AUTH name password")
        if name is not None:
            self.name = name
        if login is not None:
            return self._login(*login, hello=True, protocol=protocol)
        self.protocol = protocol
        return Reply(self.greeting(registered=False))

    def _auth(self, words: list[bytes]) -> Action:
        if len(words) == 1:
            words = [RESERVED_USER.encode(), *words]
        _expect(words, 2, "AUTH")
        return self._login(words[0], words[1], hello=False, protocol=self.protocol)

    def _login(self, name: bytes, password: bytes, *, hello: bool, protocol: int) -> Login:
        text = read_text(name)
        if text == RESERVED_USER:
            raise WrongPass("no login by token here: give a user name and a password")
        return Login(text, password.decode("utf-8", "surrogateescape"), hello, protocol)

    def _ping(self, words: list[bytes]) -> Action:
        if len(words) > 1:
            raise Invalid(f"wrong number of arguments: {SESSION_COMMANDS['PING'].usage}")
        return Reply(words[0] if words else Status("PONG"))

    def _echo(self, words: list[bytes]) -> Action:
        _expect(words, 1, "ECHO")
        return Reply(words[0])

    def _select(self, words: list[bytes]) -> Action:
        _expect(words, 1, "SELECT")
        if read_integer(words[0]) != 0:
            raise Invalid("there is one database, 0")
        return Reply(OK)

    def _client(self, words: list[bytes]) -> Action:
        verb = words[0].upper() if words else b""
        if verb == b"SETINFO" and len(words) == 3:
            return Reply(OK)
        if verb == b"SETNAME" and len(words) == 2:
            self.name = _client_name(words[1])
            return Reply(OK)
        if verb == b"GETNAME" and len(words) == 1:
            return Reply(self.name or None)
        if verb == b"ID" and len(words) == 1:
            return Reply(self.identity)
        raise Invalid(f"unknown CLIENT subcommand: {SESSION_COMMANDS['CLIENT'].usage}")

    def _command(self, words: list[bytes]) -> Action:
        verb = words[0].upper() if words else b"INFO"
        if verb == b"COUNT":
            return Reply(len(_first_words()))
        wanted = {word.decode("ascii", "replace").upper() for word in words[1:]}
        known = _first_words()
        chosen = [word for word in known if word in wanted] if wanted else list(known)
        if verb == b"DOCS":
            return Reply({w.lower(): {"summary": known[w], "group": "broker"} for w in chosen})
        if verb == b"INFO":
            # Name, arity (at least one word), flags, and no keys to route by.
            return Reply([[word.lower(), -1, [], 0, 0, 0] for word in chosen])
        raise Invalid(f"unknown COMMAND subcommand: {SESSION_COMMANDS['COMMAND'].usage}")

    def _info(self, words: list[bytes]) -> Action:
        lines = ("# Server", f"broker_version:{self._version}", "redis_mode:standalone")
        return Reply("\r\n".join(lines) + "\r\n")

    def _multi(self, words: list[bytes]) -> Action:
        _expect(words, 0, "MULTI")
        if self._queued is not None:
            raise Invalid("a transaction has begun already: EXEC or DISCARD it")
        self._queued, self._queued_bytes, self._is_discarded = [], 0, False
        self._interpret_each()
        return Reply(OK)

    def _exec(self, words: list[bytes]) -> Action:
        _expect(words, 0, "EXEC")
        queued, self._queued = self._queued, None
        if queued is None:
            raise Invalid("no transaction has begun: MULTI begins one")
        if self._is_discarded:
            raise Invalid("a command was refused: nothing of the transaction was done")
        return EXEC, Atomic(tuple(queued))

    def _discard(self, words: list[bytes]) -> Action:
        _expect(words, 0, "DISCARD")
        if self._queued is None:
            raise Invalid("no transaction has begun: MULTI begins one")
        self._queued = None
        return Reply(OK)

    def _reset(self, words: list[bytes]) -> Action:
        self.principal = self._peer
        self.protocol = RESP2
        self.name = ""
        self._queued = None
        self._interpret_each()
        return Reply(Status("RESET"))

    def _quit(self, words: list[bytes]) -> Action:
        return Goodbye(OK)


def _no_auth() -> BrokerError:
    return NoAuth("log in first: AUTH name password, or HELLO 3 AUTH name password")


def _expect(words: list[bytes], count: int, command: str) -> None:
    if len(words) != count:
        raise Invalid(f"wrong number of arguments: {SESSION_COMMANDS[command].usage}")


def _client_name(word: bytes) -> str:
    name = read_text(word)
    if len(name) > MAX_CLIENT_NAME or any(not "!" <= character <= "~" for character in name):
        raise Invalid(f"a client name is up to {MAX_CLIENT_NAME} printable characters")
    return name


def _first_words() -> dict[str, str]:
    """Return the first words of all commands with a summary, as Redis counts commands."""
    words = {name: command.summary for name, command in SESSION_COMMANDS.items()}
    for syntax in all_syntaxes().values():
        if len(syntax.words) == 1:
            words[syntax.words[0]] = syntax.summary
        else:
            words.setdefault(syntax.words[0], f"Commands on {syntax.words[0].lower()}s.")
    return words


def _unknown(words: Sequence[bytes]) -> BrokerError:
    first = words[0].decode("ascii", "replace").upper()
    table = all_syntaxes()
    verbs = [" ".join(known) for known in table if known[0] == first]
    if verbs:
        second = words[1].decode("ascii", "replace").upper() if len(words) > 1 else ""
        said = f"{first} {second}".strip()
        return Invalid(f"unknown command {said[:60]!a}{nearest(said, verbs)}")
    known = sorted({*SESSION_COMMANDS, *(key[0] for key in table)})
    return Invalid(f"unknown command {first[:40]!a}{nearest(first, known)}")


def _by_bytes() -> dict[tuple[bytes, bytes], Syntax]:
    """Return the two-word commands as they are mostly spelled, for the hot path."""
    found: dict[tuple[bytes, bytes], Syntax] = {}
    for words, syntax in all_syntaxes().items():
        if len(words) == 2:
            noun, verb = (word.encode() for word in words)
            found[noun, verb] = syntax
            found[noun.lower(), verb.lower()] = syntax
    return found


_BY_BYTES: Final = _by_bytes()
