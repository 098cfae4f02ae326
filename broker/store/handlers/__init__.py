"""The rules of the broker: for each command a handler, a module a noun.

A handler takes a transaction and a list of requests whose commands are all of
its kind, and returns an outcome for each: a result, or the BrokerError that
refuses it. It commits nothing and waits for nothing. It refuses before it
writes, so that a refused command leaves no trace in a batch that goes on.
"""

from . import (
    atomic,
    channels,
    compaction,
    copies,
    dead,
    deliveries,
    imports,
    messages,
    queues,
    status,
    users,
)
from .registry import execute

__all__ = [
    "atomic", "channels", "compaction", "copies", "dead", "deliveries", "execute", "imports",
    "messages", "queues", "status", "users",
]  # fmt: skip
