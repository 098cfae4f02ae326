"""NATS JetStream, every write synced before its answer."""

from __future__ import annotations

import json
import socket
import sys
from pathlib import Path
from typing import Any

from .base import Missing, Peer, Target, accepts, output_of, program


class Nats(Peer):
    """``nats-server`` with ``sync_interval: always``."""

    name = "nats"
    label = "NATS JetStream, always"
    max_backlog = 5_000

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self._program = program(str(Path(sys.executable).with_name("nats-server")), "nats-server")
        version = tuple(int(part) for part in self.version().split(".")[:2])
        if version < (2, 10):
            raise Missing(f"nats-server {self.version()} knows no sync_interval: always")

    def version(self) -> str:
        """Return its version."""
        return output_of(self._program, "--version").rpartition(" v")[2]

    def target(self) -> Target:
        """Return where and how the load generator reaches it."""
        return Target("nats", self.port)

    def command(self) -> list[str]:
        """Return the program that serves ``self.folder`` on ``self.port``."""
        configuration = self.folder / "nats.conf"
        configuration.write_text(
            f'listen: "127.0.0.1:{self.port}"\n'
            f'jetstream {{ store_dir: "{self.folder}/store", sync_interval: always }}\n'
        )
        return [self._program, "--config", str(configuration)]

    def is_ready(self) -> bool:
        """Whether it answers."""
        return accepts(self.port)

    def create_queue(self, name: str) -> None:
        """Make a stream with one consumer to pull from and one that pushes."""
        explicit = {"ack_policy": "explicit", "max_ack_pending": 100_000}
        with _Api(self.port) as api:
            api.create_stream(name)
            api.create_consumer(name, {"durable_name": "pull", **explicit})
            api.create_consumer(
                name,
                {"durable_name": "push", "deliver_subject": f"push.{name}", **explicit,
                 "max_ack_pending": self.prefetch},
            )  # fmt: skip

    def create_topic(self, name: str, subscriptions: int) -> None:
        """Make a stream with so many durable consumers: it stores one copy."""
        with _Api(self.port) as api:
            api.create_stream(name)
            for number in range(subscriptions):
                api.create_consumer(name, {"durable_name": f"s{number}", "ack_policy": "explicit"})


class _Api:
    """JetStream's requests, over NATS's text protocol."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), 60)
        self._file = self._socket.makefile("rb")
        self._socket.sendall(b'CONNECT {"verbose":false}\r\nSUB answers 1\r\n')

    def __enter__(self) -> _Api:
        return self

    def __exit__(self, *unused: object) -> None:
        self._file.close()
        self._socket.close()

    def create_stream(self, name: str) -> None:
        stream = {"name": name, "subjects": [name], "storage": "file", "retention": "limits"}
        self._call(f"STREAM.CREATE.{name}", stream)

    def create_consumer(self, stream: str, config: dict[str, Any]) -> None:
        request = {"stream_name": stream, "config": config}
        self._call(f"CONSUMER.DURABLE.CREATE.{stream}.{config['durable_name']}", request)

    def _call(self, subject: str, request: dict[str, Any]) -> None:
        data = json.dumps(request).encode()
        self._socket.sendall(
            b"PUB $JS.API.%b answers %d\r\n%b\r\n" % (subject.encode(), len(data), data)
        )
        while not (line := self._file.readline()).startswith(b"MSG"):
            if line.startswith(b"PING"):
                self._socket.sendall(b"PONG\r\n")
            elif line.startswith(b"-ERR") or not line:
                raise AssertionError(f"NATS refuses {subject}: {line!r}")
        answer = json.loads(self._file.read(int(line.split()[-1]) + 2))
        if "error" in answer:
            raise AssertionError(f"NATS refuses {subject}: {answer['error']}")
