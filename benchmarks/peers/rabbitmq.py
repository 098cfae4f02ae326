"""RabbitMQ: durable queues, persistent messages, publisher confirms."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import subprocess
from importlib.util import find_spec
from pathlib import Path
from typing import Any, ClassVar

import psutil

from .base import Missing, Peer, Target, accepts, free_port, program, wait_until

#: Whom the packages make for it.
USER = "rabbitmq"


def rabbitmq_server() -> str:
    """Return the script that starts a node as who one is.

    Raises:
        Missing: it is not installed.
    """
    packaged = Path("/usr/lib/rabbitmq/bin/rabbitmq-server")
    return str(packaged) if packaged.exists() else program("rabbitmq-server")


class _Node:
    """One node of RabbitMQ, which all kinds of queues share: it takes long to start."""

    def __init__(self, root: Path) -> None:
        self.folder = root / "rabbitmq"
        self.port = 0
        self._process: subprocess.Popen[bytes] | None = None
        self._names: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        if self._process is not None:
            return
        self.folder.mkdir()
        self.port = free_port()
        name = f"bench{os.getpid()}@localhost"
        (self.folder / "rabbitmq.conf").write_text(f"listeners.tcp.1 = 127.0.0.1:{self.port}\n")
        variables = {
            **os.environ,
            "HOME": str(self.folder),
            "RABBITMQ_NODENAME": name,
            "RABBITMQ_MNESIA_BASE": str(self.folder / "data"),
            "RABBITMQ_LOG_BASE": str(self.folder / "logs"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(self.folder / "plugins"),
            "RABBITMQ_CONFIG_FILE": str(self.folder / "rabbitmq.conf"),
            "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODE_PORT": str(self.port),
            "RABBITMQ_DIST_PORT": str(free_port()),
            # A daemon of its own, so that none that runs on this machine is disturbed;
            # started here, since one that the node starts would outlive it.
            "ERL_EPMD_PORT": str(free_port()),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
        }
        self._names = subprocess.Popen(
            [program("epmd")], env=variables, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        wait_until(lambda: accepts(int(variables["ERL_EPMD_PORT"])), "epmd answers")
        # It refuses to be root. The packages' own change of user would limit its files.
        user = USER if os.geteuid() == 0 else None
        if user is not None:
            shutil.chown(self.folder, user, user)
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [rabbitmq_server()], env=variables, cwd=self.folder, user=user, group=user,
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip
        wait_until(self._has_started, f"RabbitMQ answers (see {self.folder}/log)")

    def _has_started(self) -> bool:
        if self._process is not None and self._process.poll() is not None:
            raise AssertionError((self.folder / "log").read_text(errors="replace")[-2000:])
        return accepts(self.port)

    def processes(self) -> list[psutil.Process]:
        if self._process is None:
            return []
        first = psutil.Process(self._process.pid)
        return [first, *first.children(recursive=True)]

    def stop(self) -> None:
        if self._process is None:
            return
        family = self.processes()
        for process in family:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.terminate()
        _, left = psutil.wait_procs(family, 30)
        for process in left:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        self._process.wait()
        if self._names is not None:
            self._names.kill()
            self._names.wait()
        self._process = self._names = None
        shutil.rmtree(self.folder, ignore_errors=True)


class _Rabbit(Peer):
    """One kind of queue of a node that is shared."""

    is_quick_to_start = False
    max_subscriptions = 100
    arguments: ClassVar[dict[str, str]]
    _nodes: ClassVar[dict[Path, _Node]] = {}

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        rabbitmq_server()
        if os.geteuid() == 0 and not any(user.pw_name == USER for user in pwd.getpwall()):
            raise Missing(f"it refuses to be root, and there is no user {USER}")
        if find_spec("amqp") is None:
            raise Missing("the Python package amqp is not installed")
        self._node = self._nodes.setdefault(root, _Node(root))

    def version(self) -> str:
        """Return its version."""
        with self._connection() as connection:
            return str(connection.server_properties["version"])

    def target(self) -> Target:
        """Return where and how the load generator reaches it."""
        return Target("amqp", self._node.port, "guest", "guest")

    def command(self) -> list[str]:
        """Not used: the node has its own way to start."""
        raise NotImplementedError

    def is_ready(self) -> bool:
        """Whether it answers."""
        return accepts(self._node.port)

    def start(self) -> None:
        """Start the node, once for all kinds of queues."""
        self._node.start()
        self.folder, self.port = self._node.folder, self._node.port

    def restart(self) -> float:
        """Not measured: it is shared."""
        raise NotImplementedError

    def halt(self) -> None:
        """Stop the node."""
        self._node.stop()

    def stop(self) -> None:
        """Stop the node and remove its folder."""
        self._node.stop()

    def processes(self) -> list[psutil.Process]:
        """Return the node's processes."""
        return self._node.processes()

    @contextlib.contextmanager
    def _connection(self) -> Any:
        import amqp

        with amqp.Connection(f"127.0.0.1:{self._node.port}") as connection:
            yield connection

    def create_queue(self, name: str) -> None:
        """Make a durable queue of this kind."""
        with self._connection() as connection:
            connection.channel().queue_declare(
                name, durable=True, auto_delete=False, arguments=self.arguments
            )

    def delete_queue(self, name: str) -> None:
        """Take it away again, with what is in it."""
        with self._connection() as connection:
            connection.channel().queue_delete(name)

    def create_topic(self, name: str, subscriptions: int) -> None:
        """Make a fanout exchange with a queue a subscription."""
        with self._connection() as connection:
            channel = connection.channel()
            channel.exchange_declare(name, "fanout", durable=True, auto_delete=False)
            for number in range(subscriptions):
                queue = f"{name}.{number}"
                channel.queue_declare(
                    queue, durable=True, auto_delete=False, arguments=self.arguments
                )
                channel.queue_bind(queue, name)

    def delete_topic(self, name: str, subscriptions: int) -> None:
        """Take exchange and queues away."""
        with self._connection() as connection:
            channel = connection.channel()
            channel.exchange_delete(name)
            for number in range(subscriptions):
                channel.queue_delete(f"{name}.{number}")

    def one_shot(self, queue: str) -> list[str] | None:
        """Return the amqp-publish that sends one message."""
        client = shutil.which("amqp-publish")
        if client is None:
            return None
        return [
            client, "--server", "127.0.0.1", "--port", str(self.port), "-p", "-r", queue, "-b", "x",
        ]  # fmt: skip


class RabbitQuorum(_Rabbit):
    """Quorum queues, of one node."""

    name = "rabbitmq-quorum"
    label = "RabbitMQ quorum"
    arguments: ClassVar[dict[str, str]] = {"x-queue-type": "quorum"}


class RabbitClassic(_Rabbit):
    """Classic queues, version 1: version 2 confirms without a sync."""

    name = "rabbitmq-classic"
    label = "RabbitMQ classic v1"
    arguments: ClassVar[dict[str, str]] = {"x-queue-type": "classic"}
