"""How a client process of the torture reaches the broker: by the library, or by one-shots."""

from __future__ import annotations

import json
import random
import subprocess
from typing import Any, Protocol

from crash.history import Delivered, marks_of, tag_of
from crash.setting import PASSWORD, Place, brokerctl

import broker
from broker.client.consuming import PushSource
from broker.client.sockets import SocketTransport
from broker.commands.atomic import Atomic
from broker.commands.channel import ChannelPublish
from broker.commands.delivery import Message
from broker.commands.message import MessageAck, MessageNack
from broker.commands.queue import QueuePull, QueueSendMany, QueueShow
from broker.commands.sending import Sent, SentMany
from broker.config import parse_url
from broker.errors import EXIT_EMPTY, error_for


class Lost(Exception):
    """The one-shot was killed: whether it has done anything is not known."""


class Consuming(PushSource):
    """A consumer that can make sure that it has all that the server has pushed."""

    def catch_up(self) -> None:
        """Return once all that was pushed so far is here to be taken.

        Pushes and the answer to a question that goes through the writer come in their order.
        """
        self._transport.execute_once(QueueShow(self._queue))


class Door(Protocol):
    """One way to the broker."""

    kind: str
    can_consume: bool

    def execute(self, command: Any) -> Any:
        """Execute a command and return its result as the history notes it.

        Raises:
            BrokerError: refused, or not known.
            Lost: not known.
        """

    def open_source(self, queue: str, prefetch: int) -> Consuming:
        """Begin to have messages pushed, on a connection of their own."""

    def delivered(self, message: Message) -> Delivered:
        """Return a message as the history notes it."""

    def close(self) -> None:
        """Close it."""


def delivered(message: Message) -> Delivered:
    """Return a message as the history notes it; without a tag if it is not as it was sent."""
    tag = tag_of(message.body)
    # Of many that are sent in one command each has the marks of none.
    marks = (message.content_type, dict(message.headers))
    if tag is not None and marks not in (marks_of(tag), (None, {})):
        tag = None
    delivery, generation = None, None
    if message.receipt is not None:
        delivery, generation = map(int, message.receipt.split("."))
    return Delivered(
        tag, message.queue, message.id, delivery, generation, message.attempts, message.priority,
        message.sent_at, message.leased_until,
    )  # fmt: skip


class Library:
    """A client of the library: over a socket, or at the file, with or without a server."""

    def __init__(self, place: Place, kind: str, port: int, *, timeout_s: float) -> None:
        self.kind = kind
        self.can_consume = kind in ("tcp", "unix")
        self._url = place.url(kind, port)
        self._password = PASSWORD if kind == "tcp" else None
        self._timeout_s = timeout_s
        self._client = broker.connect(self._url, password=self._password, timeout_s=timeout_s)

    def execute(self, command: Any) -> Any:
        """Execute a command by the client."""
        result = self._client.execute(command)
        if isinstance(command, Atomic):
            # Of an ack and a send.
            result = result[-1]
            return [result.id if isinstance(result, Sent) else result]
        if isinstance(result, int):
            return [result]
        if isinstance(result, Sent):
            # A key of the client's own is a duplicate when the client has repeated its send.
            is_duplicate = result.duplicate and command.key is not None
            return {"duplicate": result.id} if is_duplicate else [result.id]
        if isinstance(result, SentMany):
            return list(result.ids)
        if isinstance(command, QueueSendMany):
            return list(result)
        if isinstance(command, QueuePull):
            return [delivered(message) for message in result]
        if isinstance(result, tuple):
            return [None if answer is None else answer.code for answer in result]
        return result

    def open_source(self, queue: str, prefetch: int) -> Consuming:
        """Begin to consume on a connection that is not made again when it breaks."""
        transport = SocketTransport(
            parse_url(self._url), password=self._password, timeout_s=self._timeout_s,
            reconnects=False,
        )  # fmt: skip
        return Consuming(transport, queue, prefetch)

    def delivered(self, message: Message) -> Delivered:
        """Return a message as the history notes it."""
        return delivered(message)

    def close(self) -> None:
        """Close the client."""
        self._client.close()


class Shell:
    """One-shots of ``brokerctl``, some of which are killed on their way."""

    kind = "shell"
    can_consume = False

    def __init__(self, place: Place, chance: random.Random) -> None:
        self._chance = chance
        self._variables = place.variables(BROKER_URL=str(place.database))

    def execute(self, command: Any) -> Any:
        """Run the one-shot that does what a command says."""
        pulls = isinstance(command, QueuePull)
        process = subprocess.Popen(
            brokerctl(*_words(command), "--json", "--timeout", "10s"),
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            env=self._variables,
        )  # fmt: skip
        patience_s = self._chance.uniform(0.05, 1.0) if self._chance.random() < 0.15 else None
        body = getattr(command, "body", b"")
        try:
            output, errors = process.communicate(body, timeout=patience_s)
        except subprocess.TimeoutExpired:
            process.kill()
            output, errors = process.communicate()
            # Its last word counts if it got it out.
            if not output.endswith(b"\n"):
                raise Lost from None
        if process.returncode not in (0, EXIT_EMPTY, -9):
            return self._refused(command, errors)
        lines = [json.loads(line) for line in output.splitlines()]
        if pulls:
            return [delivered(_message(line)) for line in lines]
        if isinstance(command, MessageAck | MessageNack):
            return [None] * len(command.receipts)
        (answer,) = lines
        is_duplicate = answer["duplicate"] and command.key is not None
        return {"duplicate": answer["id"]} if is_duplicate else [answer["id"]]

    def _refused(self, command: Any, errors: bytes) -> Any:
        """Return the answers to receipts, or raise what a one-shot was refused with."""
        said = [json.loads(line) for line in errors.splitlines() if line.startswith(b"{")]
        refusals = [line for line in said if "error" in line]
        if not refusals:
            raise AssertionError(f"a one-shot failed: {errors.decode()}")
        if isinstance(command, MessageAck | MessageNack):
            codes = {
                receipt: line["error"]
                for receipt in command.receipts
                for line in refusals
                if repr(receipt) in line["message"]
            }
            if len(codes) == len(refusals):
                return [codes.get(receipt) for receipt in command.receipts]
        raise error_for(refusals[0]["error"], refusals[0]["message"])

    def open_source(self, queue: str, prefetch: int) -> Consuming:
        """One-shots do not consume."""
        raise AssertionError("one-shots do not consume")

    def delivered(self, message: Message) -> Delivered:
        """Return a message as the history notes it."""
        return delivered(message)

    def close(self) -> None:
        """Nothing is open."""


def _words(command: Any) -> list[str]:
    if isinstance(command, QueuePull):
        words = ["queue", "pull", command.queue, "--lease", f"{command.lease_ms}ms"]
        words += ["--wait", f"{command.wait_ms}ms"] if command.wait_ms else []
        return words + (["--count", str(command.max_count)] if command.max_count else [])
    if isinstance(command, MessageAck):
        return ["message", "ack", *command.receipts]
    if isinstance(command, MessageNack):
        words = ["message", "nack", *command.receipts]
        words += [] if command.delay_ms is None else ["--delay", f"{command.delay_ms}ms"]
        words += ["--uncounted"] if command.uncounted else []
        return words + (["--dead"] if command.dead else [])
    if isinstance(command, ChannelPublish):
        return ["channel", "publish", command.channel, *_send_options(command)]
    return ["queue", "send", command.queue, *_send_options(command)]


def _send_options(command: Any) -> list[str]:
    words = ["--priority", str(command.priority)]
    for option in ("delay", "ttl"):
        value = getattr(command, f"{option}_ms")
        words += [f"--{option}", f"{value}ms"] if value else []
    if command.at_ms is not None:
        words += ["--at", _as_time(command.at_ms)]
    if command.key is not None:
        words += ["--key", command.key, "--key-ttl", f"{command.key_ttl_ms}ms"]
    if command.content_type is not None:
        words += ["--content-type", command.content_type]
    for name, value in (command.headers or {}).items():
        words += ["--header", f"{name}={value}"]
    return words


def _as_time(milliseconds: int) -> str:
    from datetime import UTC, datetime

    return datetime.fromtimestamp(milliseconds / 1000, UTC).isoformat(timespec="milliseconds")


def _message(line: dict[str, Any]) -> Message:
    """Return the message that a line of JSON shows."""
    from base64 import b64decode
    from datetime import datetime

    def milliseconds(text: str | None) -> int | None:
        return None if text is None else round(datetime.fromisoformat(text).timestamp() * 1000)

    body = line["body"]
    data = b64decode(body) if line["encoding"] == "base64" else body.encode()
    return Message(
        line["id"], line["queue"], data, line["content_type"], line["headers"], line["sender"],
        milliseconds(line["sent_at"]) or 0, line["attempts"], line["priority"], line["receipt"],
        milliseconds(line["leased_until"]),
    )  # fmt: skip
