"""The brokers that are measured side by side: how each is started, filled and stopped."""

from __future__ import annotations

from .base import Missing, Peer
from .beanstalkd import Beanstalkd
from .broker import Broker
from .nats import Nats
from .rabbitmq import RabbitClassic, RabbitQuorum
from .redis import Redis

#: The servers, the broker first, in the order of the tables.
SERVERS: tuple[type[Peer], ...] = (Broker, Redis, RabbitQuorum, RabbitClassic, Nats, Beanstalkd)

__all__ = ["SERVERS", "Missing", "Peer"]
