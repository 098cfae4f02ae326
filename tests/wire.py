"""A raw RESP connection for tests: bytes out, replies in."""

from __future__ import annotations

import socket
from typing import Any

from broker.protocols.resp.encoder import encode_request
from broker.protocols.resp.replies import NOT_READY, ReplyParser


class Wire:
    """A connection to a server, spoken to in words or in bytes."""

    def __init__(self, connection: socket.socket) -> None:
        self.socket = connection
        self._parser = ReplyParser()

    def send(self, *words: str | bytes) -> None:
        """Send one command."""
        self.socket.sendall(request(*words))

    def read(self) -> Any:
        """Return the next reply; EOFError if the server has closed."""
        while True:
            reply = self._parser.next()
            if reply is not NOT_READY:
                return reply
            data = self.socket.recv(65536)
            if not data:
                raise EOFError
            self._parser.feed(data)

    def call(self, *words: str | bytes) -> Any:
        """Send one command and return its reply."""
        self.send(*words)
        return self.read()

    def is_closed_by_peer(self) -> bool:
        """Wait for the end of the connection; False if something else comes."""
        try:
            self.read()
        except (EOFError, ConnectionResetError):
            return True
        return False

    def close(self) -> None:
        """Close it."""
        self.socket.close()


def request(*words: str | bytes) -> bytes:
    """Return a command as bytes."""
    return encode_request([w.encode() if isinstance(w, str) else w for w in words])


def code_of(reply: Any) -> str:
    """Return the code of an error reply."""
    code = getattr(reply, "code", None)
    assert code is not None, f"no error: {reply!r}"
    return str(code)
