"""A database with something of everything, and what an export of one says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import broker

#: Until when the delayed ones wait, far from any test.
LATER_MS = 30 * 86_400_000
PASSWORD = "correct horse"


def make_rich(database: Path) -> None:
    """Fill a new database with rows in every table and messages in every state."""
    with broker.connect(str(database)) as admin:
        _users_and_places(admin)
        with broker.connect(str(database), user="alice") as alice:
            _direct(admin, alice)
            _published(admin, alice)
        _keys(admin)


def _users_and_places(admin: broker.Client) -> None:
    admin.create_user("alice", password=PASSWORD)
    admin.create_user("bob", uid=54321)
    admin.create_user("boss", password=PASSWORD, admin=True)
    admin.create_queue("graves")
    admin.create_queue(
        "jobs", settings={"max_attempts": 2, "backoff": "1s,2,10m", "max_bytes": "10M"}
    )
    admin.create_queue("feeding", settings={"dead_letter": "graves", "max_attempts": 1})
    admin.create_queue("odd", settings={"ttl": "30d", "on_expire": "dead", "max_messages": 9})
    admin.create_queue("paused")
    admin.create_channel("news", publish="anyone")
    admin.create_channel("empty")


def _direct(admin: broker.Client, alice: broker.Client) -> None:
    alice.send("jobs", b"nacked twice")
    for reason in ("first", "second"):
        message = alice.pull("jobs")
        assert message is not None
        alice.nack(message.receipt or "", reason=reason, delay_ms=0)
    alice.send("jobs", b"nacked once")
    message = alice.pull("jobs")
    assert message is not None
    alice.nack(message.receipt or "", reason="päng", delay_ms=0)
    alice.send("feeding", b"went to its grave", priority=7)
    message = alice.pull("feeding")
    assert message is not None
    alice.nack(message.receipt or "", reason="no use")
    alice.send("feeding", b"leased")
    assert alice.pull("feeding", lease_ms=600_000) is not None
    alice.send("jobs", bytes(range(256)), headers={"name": 'välue "x"'}, content_type="a/b")
    alice.send("jobs", b"\x01" * 50, priority=9)
    alice.send("jobs", b"", priority=0)
    alice.send("jobs", b"later", delay_ms=LATER_MS)
    alice.send("odd", b"ends some day", ttl_ms=LATER_MS)
    admin.send("paused", b"held")
    admin.pause("paused", sends=False)


def _published(admin: broker.Client, alice: broker.Client) -> None:
    alice.subscribe("news", settings={"expire_idle": "300d"})
    alice.subscribe("news", as_name="second", settings={"max_messages": 100})
    admin.subscribe("news")
    admin.publish("news", b"to all three", headers={"n": "1"})
    admin.publish("news", b"later to all", delay_ms=LATER_MS)
    message = alice.pull_channel("news")
    assert message is not None
    alice.ack(message.receipt or "")
    message = admin.pull_channel("news")
    assert message is not None
    admin.nack(message.receipt or "", dead=True, reason="unreadable")


def _keys(admin: broker.Client) -> None:
    admin.send("jobs", b"keyed", key="once", key_ttl_ms=LATER_MS)
    admin.send_many("jobs", [b"k1", b"k2"], key="both", key_ttl_ms=LATER_MS)
    admin.publish("news", b"keyed news", key="once", key_ttl_ms=LATER_MS)
    admin.send("graves", b"gone", key="its message is gone", key_ttl_ms=LATER_MS, priority=9)
    message = admin.pull("graves")
    assert message is not None
    assert message.body == b"gone"
    admin.ack(message.receipt or "")


def normal(export: bytes, *, moved: bool) -> list[dict[str, Any]]:
    """Return the records of an export without what moving may change.

    That is ids, when the user was made who imports, and the order of the keys.

    Args:
        export: all of it.
        moved: whether it has been imported; before, what was leased counts as ready,
            as it will be.
    """
    header, *lines = (json.loads(line) for line in export.splitlines())
    assert header["format"] == "broker-export"
    importer = lines[0]["name"]
    for line in lines:
        if line["kind"] == "message":
            del line["id"]
            for copy in line["copies"]:
                if copy["state"] == "leased" and not moved:
                    copy["state"] = "ready"
                    copy["attempts"] -= 1
        elif line["kind"] == "key":
            # A digest over ids too; what a key stands for has tests of its own.
            line.pop("message", None)
        elif line.get("name") == importer:
            del line["created_at"]
    keys = [line for line in lines if line["kind"] == "key"]
    rest = [line for line in lines if line["kind"] != "key"]
    return rest + sorted(keys, key=json.dumps)
