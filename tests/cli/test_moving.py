"""Exports and imports: everything arrives, nothing comes twice, nothing wrong gets in."""

from __future__ import annotations

import asyncio
import io
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pexpect
import pytest
from rich import PASSWORD, make_rich, normal
from support import PATIENCE_S, ServerProcess, brokerctl, environment, running_server

import broker
import broker.aio
from broker.client import lines
from broker.commands.archive import COPIES_A_LINE
from broker.commands.db import DbImport, Imported
from broker.store.handlers import imports


@pytest.fixture(scope="module")
def rich(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database with something of everything, to be read only."""
    database = tmp_path_factory.mktemp("rich") / "broker.db"
    make_rich(database)
    return database


def export_of(database: Path, *, with_secrets: bool = True) -> bytes:
    """Return the export of a database."""
    written = io.BytesIO()
    with broker.connect(str(database)) as client:
        client.export(written, with_secrets=with_secrets)
    return written.getvalue()


def import_into(database: Path, export: bytes) -> Imported:
    """Import into a database, made if it is missing."""
    with broker.connect(str(database)) as client:
        return client.import_from(io.BytesIO(export))


def is_whole(database: Path) -> bool:
    """Return whether a check finds nothing wrong."""
    with broker.connect(str(database)) as client:
        return client.check().problems == ()


def new_in(imported: Imported) -> int:
    """Return how many records were new."""
    return sum(imported) - imported.known - imported.deliveries


@pytest.mark.parametrize("served", [False, True], ids=["embedded", "served"])
def test_everything_arrives_as_it_was(tmp_path: Path, rich: Path, served: bool) -> None:
    file, target = tmp_path / "all.jsonl", tmp_path / "target.db"
    done = brokerctl("export", str(file), "--with-secrets", url=rich)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    assert file.stat().st_mode & 0o777 == 0o600
    with running_server(target) if served else nullcontext():
        done = brokerctl("import", str(file), "--json", url=target)
        assert (done.returncode, done.stderr) == (0, b"")
        imported = json.loads(done.stdout)
        assert imported["messages"] == 16
        assert imported["known"] == 1
        exported = brokerctl("export", "--with-secrets", url=target)
        again = brokerctl("import", str(file), "--json", url=target)
    assert normal(exported.stdout, moved=True) == normal(file.read_bytes(), moved=False)
    assert json.loads(again.stdout) == {**dict.fromkeys(imported, 0), "known": 34}
    assert is_whole(target)


def test_what_has_arrived_is_delivered(tmp_path: Path, rich: Path) -> None:
    target = tmp_path / "target.db"
    import_into(target, export_of(rich))
    with broker.connect(str(target)) as client, broker.connect(str(target), user="alice") as alice:
        bodies = [m.body for m in client.pull_many("jobs", 100)]
        assert bodies == [
            b"\x01" * 50, b"nacked once", bytes(range(256)), b"keyed", b"k1", b"k2", b"",
        ]  # fmt: skip
        assert client.retry_dead("jobs") == 1
        revived = client.pull("jobs")
        assert revived is not None
        assert revived.body == b"nacked twice"
        leased = client.pull("feeding")
        assert leased is not None
        assert (leased.body, leased.attempts) == (b"leased", 1)
        grave = client.pull("graves")
        assert grave is not None
        assert grave.died is not None
        assert grave.died["queue"] == "feeding"
        assert client.pull("paused") is None
        client.resume("paused")
        assert client.pull("paused") is not None
        assert [m.body for m in alice.pull_channel_many("news", 9)] == [b"keyed news"]
        # The settings and the place are those of before: a publication reaches all three.
        alice.publish("news", b"new")
        assert client.peek("news@alice@second", 9)[-1].body == b"new"
    assert is_whole(target)


def import_awaited(server: ServerProcess, file: io.BytesIO) -> Imported:
    """Import through a server, with the asyncio client."""

    async def main() -> Imported:
        async with broker.aio.connect(f"broker+unix://{server.socket}") as client:
            return await client.import_from(file)

    return asyncio.run(main())


def test_an_awaited_import_brings_the_same(
    tmp_path: Path, rich: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lines, "BATCH_LINES", 7)
    target, export = tmp_path / "target.db", export_of(rich)
    pieces = export.splitlines(keepends=True)
    with running_server(target) as server:
        with pytest.raises(broker.Invalid, match=r"line 17: .*\(the 13 records before line 15"):
            import_awaited(server, io.BytesIO(b"".join(pieces[:16]) + b"no record"))
        with pytest.raises(broker.Invalid, match="line 1: not an export: it is empty"):
            import_awaited(server, io.BytesIO())
        assert import_awaited(server, io.BytesIO(export)).known == 13
        again = import_awaited(server, io.BytesIO(export))
        assert again == import_into(target, export)
        assert new_in(again) == 0
    assert normal(export_of(target), moved=True) == normal(export, moved=False)
    assert is_whole(target)


def test_while_a_file_of_an_awaited_import_is_read_the_loop_goes_on(
    tmp_path: Path, rich: Path
) -> None:
    export = export_of(rich)
    is_read, may_be_read = threading.Event(), threading.Event()

    class Slow(io.BytesIO):
        """A file that has nothing before the event loop has done something else."""

        def readline(self, size: int | None = -1, /) -> bytes:
            is_read.set()
            assert may_be_read.wait(PATIENCE_S)
            return super().readline(size)

    async def main(server: ServerProcess) -> None:
        async with broker.aio.connect(f"broker+unix://{server.socket}") as client:
            importing = asyncio.create_task(client.import_from(Slow(export)))
            while not is_read.is_set():
                await asyncio.sleep(0.01)
            assert (await client.whoami()).admin
            assert not importing.done()
            may_be_read.set()
            assert (await importing).messages == 16

    with running_server(tmp_path / "target.db") as server:
        asyncio.run(main(server))


def test_keys_arrive_with_what_they_stand_for(tmp_path: Path, rich: Path) -> None:
    target = tmp_path / "target.db"
    import_into(target, export_of(rich))
    with broker.connect(str(target)) as client:
        (keyed,) = [m for m in client.peek("jobs", 100) if m.body == b"keyed"]
        sent = client.send("jobs", b"keyed", key="once")
        assert (sent.id, sent.duplicate) == (keyed.id, True)
        assert client.send_many("jobs", [b"k1", b"k2"], key="both").duplicate
        gone = client.send("graves", b"gone", key="its message is gone")
        assert gone.duplicate
        with pytest.raises(broker.NotFound):
            client.show_message(gone.id)
        published = client.publish("news", b"keyed news", key="once")
        assert published.duplicate
        assert client.show_message(published.id).body == b"keyed news"


def test_users_come_without_secrets_unless_asked(tmp_path: Path, rich: Path) -> None:
    for secrets in (False, True):
        target = tmp_path / f"target{secrets}.db"
        export = export_of(rich, with_secrets=secrets)
        assert (b"password_hash" in export) is secrets
        import_into(target, export)
        with running_server(target, "--registration", "closed") as server:
            url = f"broker://alice@127.0.0.1:{server.port}"
            with broker.connect(url, password=PASSWORD) as client:
                if secrets:
                    assert client.whoami().name == "alice"
                else:
                    with pytest.raises(broker.WrongPass):
                        client.whoami()


def test_receipts_of_the_source_are_stale_in_the_target(tmp_path: Path) -> None:
    source, target = tmp_path / "source.db", tmp_path / "target.db"
    with broker.connect(str(source)) as client:
        client.create_queue("jobs")
        client.send_many("jobs", [b"%d" % n for n in range(50)])
        receipts = [m.receipt or "" for m in client.pull_many("jobs", 50)]
    import_into(target, export_of(source))
    with broker.connect(str(target)) as client:
        assert len(client.pull_many("jobs", 50)) == 50
        outcomes = client.ack_many(receipts)
        assert {type(outcome) for outcome in outcomes} == {broker.Stale}


def test_order_is_kept_within_priorities_and_across_batches(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, target = tmp_path / "source.db", tmp_path / "target.db"
    with broker.connect(str(source)) as client:
        client.create_queue("jobs")
        for number in range(300):
            client.send("jobs", b"%d" % number, priority=number % 3)
    monkeypatch.setattr(lines, "BATCH_LINES", 7)
    import_into(target, export_of(source))
    with broker.connect(str(source)) as a, broker.connect(str(target)) as b:
        there = [m.body for m in a.pull_many("jobs", 1000)]
        assert [m.body for m in b.pull_many("jobs", 1000)] == there
        assert len(there) == 300


@pytest.mark.parametrize("stored", [1, 3, 10, 20, 33])
def test_an_import_that_was_cut_off_is_repeated(
    tmp_path: Path, rich: Path, monkeypatch: pytest.MonkeyPatch, stored: int
) -> None:
    monkeypatch.setattr(lines, "BATCH_LINES", 1)
    target, export = tmp_path / "target.db", export_of(rich)
    pieces = export.splitlines(keepends=True)
    # The line in which it broke off has no end.
    broken = b"".join(pieces[: stored + 1]) + pieces[-1][:20]
    with pytest.raises(broker.Invalid, match=rf"line {stored + 2}: .*\(the {stored} records"):
        import_into(target, broken)
    assert is_whole(target)
    imported = import_into(target, export)
    assert imported.known == stored
    assert normal(export_of(target), moved=True) == normal(export, moved=False)
    assert is_whole(target)


def test_what_was_imported_and_acknowledged_does_not_come_again(tmp_path: Path) -> None:
    source, target = tmp_path / "source.db", tmp_path / "target.db"
    with broker.connect(str(source)) as client:
        client.create_queue("jobs")
        client.create_channel("news", publish="anyone")
        client.subscribe("news")
        client.send("jobs", b"first")
        client.publish("news", b"both")
    import_into(target, export_of(source))
    with broker.connect(str(target)) as client:
        assert client.pull("jobs", no_ack=True) is not None
        assert client.pull_channel("news", no_ack=True) is not None
    with broker.connect(str(source)) as client:
        client.send("jobs", b"second")
    assert import_into(target, export_of(source)).messages == 1
    with broker.connect(str(target)) as client:
        assert [m.body for m in client.pull_many("jobs", 9)] == [b"second"]
        assert client.pull_channel("news") is None


def test_after_its_time_an_import_is_forgotten(
    tmp_path: Path, rich: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(imports, "REMEMBERED_MS", 0)
    target, export = tmp_path / "target.db", export_of(rich)
    assert import_into(target, export).messages == 16
    assert import_into(target, export).messages == 16
    assert is_whole(target)


def test_a_database_takes_nothing_from_its_own_export_or_its_copy_s(
    tmp_path: Path, rich: Path
) -> None:
    copy = tmp_path / "copy.db"
    with broker.connect(str(rich)) as client:
        client.backup(str(tmp_path / "backup.db"))
    broker.restore(str(tmp_path / "backup.db"), str(copy))
    assert new_in(import_into(copy, export_of(rich))) == 0
    assert is_whole(copy)


def test_a_publication_to_many_is_several_lines(tmp_path: Path) -> None:
    source, target = tmp_path / "source.db", tmp_path / "target.db"
    count = COPIES_A_LINE * 2 + 5
    with broker.connect(str(source)) as client:
        client.create_channel("news", publish="anyone")
        for number in range(count):
            client.subscribe("news", as_name=f"s{number}")
        client.publish("news", b"to all")
    imported = import_into(target, export_of(source))
    assert (imported.messages, imported.deliveries) == (3, count)
    assert new_in(import_into(target, export_of(source))) == 0
    assert is_whole(target)
    with broker.connect(str(target)) as client:
        for number in range(count):
            message = client.pull_channel("news", as_name=f"s{number}", no_ack=True)
            assert message is not None
    assert is_whole(target)
    with broker.connect(str(source)) as client:
        client.pull_channel("news", as_name="s0", no_ack=True)
    # Other copies of the same line are not taken for something new.
    assert new_in(import_into(target, export_of(source))) == 0


def test_large_bodies_go_through_a_server(tmp_path: Path) -> None:
    source, target = tmp_path / "source.db", tmp_path / "target.db"
    bodies = [os.urandom(1024 * 1024), b"\0" * 1024 * 1024, b'"' * 1024 * 1024]
    with broker.connect(str(source)) as client:
        client.create_queue("jobs")
        for body in bodies:
            client.send("jobs", body)
    export = export_of(source)
    with running_server(target):
        assert import_into(target, export).messages == 3
        with broker.connect(str(target)) as client:
            assert [m.body for m in client.pull_many("jobs", 9)] == bodies
    with running_server(tmp_path / "small.db", "--max-message-bytes", "1000"):
        with pytest.raises(broker.TooBig, match="line 4"):
            import_into(tmp_path / "small.db", export)
        with broker.connect(str(tmp_path / "small.db")) as client:
            # What came before it is there, and said to be.
            assert client.show_queue("jobs").ready == 0


HEADER = b'{"format":"broker-export","version":1,"last_id":9,"exported_at":1,"secrets":false}'
USER = {"kind": "user", "name": "ann", "admin": False, "created_at": 1}
QUEUE = {
    "kind": "queue", "name": "jobs", "owner": "ann", "created_at": 1, "settings": {}, "dropped": 0,
}  # fmt: skip
COPY = {"queue": "jobs", "state": "ready", "priority": 4, "attempts": 0}
MESSAGE = {
    "kind": "message", "id": 5, "part": 0, "published": False, "sender": "ann", "sent_at": 1,
    "body": "text", "copies": [COPY],
}  # fmt: skip


def export_with(*records: dict[str, Any]) -> bytes:
    """Return an export of a user, a queue, and records."""
    return b"\n".join([HEADER, *(json.dumps(r).encode() for r in (USER, QUEUE, *records))])


@pytest.mark.parametrize(
    ("record", "said"),
    [
        ({**MESSAGE, "kind": "mistake"}, "kind"),
        ({**MESSAGE, "color": "red"}, "unknown keys"),
        ({**MESSAGE, "id": "5"}, "id: "),
        ({**MESSAGE, "id": 2**63}, "id: "),
        ({**MESSAGE, "sent_at": 1.5}, "sent_at: "),
        ({**MESSAGE, "sent_at": True}, "sent_at: "),
        ({**MESSAGE, "body": None}, "body: "),
        ({**MESSAGE, "body": "\ud800"}, "body: "),
        ({**MESSAGE, "encoding": "base64", "body": "!"}, "body: "),
        ({**MESSAGE, "encoding": ["utf-8"]}, "body: "),
        ({**MESSAGE, "headers": {"a": 1}}, "headers: "),
        ({**MESSAGE, "content_type": "\n"}, "content_type: "),
        ({**MESSAGE, "copies": []}, "copies: "),
        ({**MESSAGE, "copies": [COPY, COPY]}, "copies: "),
        ({**MESSAGE, "id": 6, "copies": [{**COPY, "queue": "none"}]}, "no queue 'none'"),
        ({**MESSAGE, "copies": [{**COPY, "state": "asleep"}]}, "state: "),
        ({**MESSAGE, "copies": [{**COPY, "state": {}}]}, "state: "),
        ({**MESSAGE, "copies": [{**COPY, "priority": 10}]}, "priority: "),
        ({**MESSAGE, "copies": [{**COPY, "state": "delayed"}]}, "due_at: "),
        ({**MESSAGE, "copies": [{**COPY, "due_at": 5}]}, "due_at: "),
        ({**MESSAGE, "copies": [{**COPY, "state": "dead"}]}, "dead_at and reason: "),
        ({**MESSAGE, "copies": [{**COPY, "state": "dead", "dead_at": 1}]}, "dead_at and reason"),
        ({**MESSAGE, "copies": [{**COPY, "reason": "x"}]}, "dead_at and reason"),
        ({**MESSAGE, "copies": [{**COPY, "failures": [{}]}]}, "failures: at: "),
        ({**MESSAGE, "copies": [{**COPY, "died": []}]}, "died: "),
        ({**QUEUE, "name": "a b"}, "name: "),
        ({**QUEUE, "name": "b", "owner": "nobody"}, "no user 'nobody'"),
        ({**QUEUE, "name": "b", "settings": {"ttl": "soon"}}, "settings: "),
        ({**QUEUE, "name": "b", "settings": {"dead_letter": "b"}}, "own dead-letter"),
        ({**QUEUE, "name": "b", "settings": {"expire_idle": "1d"}}, "settings: "),
        ({**QUEUE, "name": "b", "settings": []}, "settings: "),
        ({**QUEUE, "name": "b", "paused": "never"}, "paused: "),
        ({**USER, "name": "default"}, "name: "),
        ({**USER, "name": "eve", "password_hash": "$2b$31$" + "." * 53}, "password_hash: "),
        ({**USER, "name": "eve", "password_hash": "plain"}, "password_hash: "),
        ({"kind": "key", "key": "k", "expires_at": 2**40, "messages": 1}, "of a queue or"),
    ],
)
def test_a_wrong_line_is_named_and_nothing_of_its_batch_is_stored(
    tmp_path: Path, record: dict[str, Any], said: str
) -> None:
    target = tmp_path / "target.db"
    with pytest.raises(broker.Invalid, match=r"^line 5: ") as refusal:
        import_into(target, export_with(MESSAGE, record))
    assert said in refusal.value.message
    assert "nothing is stored" in refusal.value.message
    with broker.connect(str(target)) as client:
        assert client.list_queues() == []
        assert len(client.list_users()) == 1
    assert import_into(target, export_with(MESSAGE)).messages == 1


@pytest.mark.parametrize(
    ("export", "said"),
    [
        (b"", "line 1: not an export"),
        (b"\n", "line 1: not a JSON object"),
        (b"[]\n", "line 1: not a JSON object"),
        (b'{"body": "a"}\n', "line 1: not an export"),
        (HEADER.replace(b'"version":1', b'"version":2'), "line 1: an export of format version 2"),
        (HEADER.replace(b'"version":1', b'"version":0'), "line 1: the version"),
        (HEADER.replace(b":9,", b":9223372036854775807,"), "line 1: last_id: "),
        (HEADER + b"\n\n", "line 2: not a JSON object"),
        (HEADER + b"\n" + b"[" * 100_000, "line 2: not a JSON object"),
        (HEADER + b'\n{"kind": ' + b"9" * 10_000 + b"}", "line 2: not a JSON object"),
        (HEADER + b"\n\xff\xfe", "line 2: not a JSON object"),
    ],
)
def test_what_is_no_export_is_refused(tmp_path: Path, export: bytes, said: str) -> None:
    target = tmp_path / "target.db"
    done = brokerctl("import", url=target, stdin=export)
    assert done.returncode == 2
    assert said in done.stderr.decode()
    assert b"Traceback" not in done.stderr


def test_a_user_id_that_is_another_s_does_not_come(tmp_path: Path) -> None:
    target = tmp_path / "target.db"
    import_into(target, export_with({**USER, "name": "me", "uid": os.geteuid(), "admin": True}))
    with broker.connect(str(target)) as client:
        assert client.whoami().name != "me"
        assert client.show_user("me").uid is None


def test_only_admins_import(tmp_path: Path) -> None:
    target = tmp_path / "target.db"
    import_into(target, export_with())
    with broker.connect(str(target), user="ann") as client, pytest.raises(broker.Denied):
        client.execute(DbImport((HEADER,)))
    done = brokerctl("import", "--user", "ann", url=target, stdin=export_with(MESSAGE))
    assert done.returncode == 6


def test_an_export_never_replaces_unless_told(tmp_path: Path, rich: Path) -> None:
    file = tmp_path / "all.jsonl"
    file.write_bytes(b"precious")
    assert brokerctl("export", str(file), url=rich).returncode == 5
    assert file.read_bytes() == b"precious"
    assert brokerctl("export", str(file), "--force", url=rich).returncode == 0
    assert file.read_bytes().startswith(b'{"format":"broker-export"')
    assert brokerctl("export", url="broker://localhost").returncode == 2
    assert brokerctl("export", url=tmp_path / "none.db").returncode == 4
    assert not (tmp_path / "none.db").exists()


def test_an_export_into_a_broken_pipe_ends_quietly(tmp_path: Path) -> None:
    source = tmp_path / "source.db"
    with broker.connect(str(source)) as client:
        client.create_queue("jobs")
        client.send_many("jobs", [os.urandom(1000) for _ in range(1000)])
    done = subprocess.run(
        f"{sys.executable} -m broker.cli export | head -1; exit ${{PIPESTATUS[0]}}",
        shell=True, executable="/bin/bash", env=environment(BROKER_URL=str(source)),
        capture_output=True, timeout=60,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (141, b"")
    assert done.stdout.count(b"\n") == 1


def test_a_full_disk_leaves_no_export(
    tmp_path: Path, rich: Path, needs_program: Callable[[str], str]
) -> None:
    strace = needs_program("strace")
    file = tmp_path / "all.jsonl"
    done = subprocess.run(
        [
            strace, "-f", "-o", "/dev/null", "-P", f"{file}.partial", "-e", "trace=write",
            "-e", "inject=write:error=ENOSPC", sys.executable, "-m", "broker.cli",
            "export", str(file),
        ],
        env=environment(BROKER_URL=str(rich)), capture_output=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 8, done.stderr
    assert not list(tmp_path.iterdir())


def test_a_terminal_sees_how_far_it_has_come(tmp_path: Path, rich: Path) -> None:
    file = tmp_path / "all.jsonl"
    for words in (
        ["export", str(file)], ["backup", str(tmp_path / "copy.db")], ["import", str(file)],
    ):  # fmt: skip
        url = rich if words[0] != "import" else tmp_path / "target.db"
        child = pexpect.spawn(
            sys.executable, ["-m", "broker.cli", *words], env=environment(BROKER_URL=str(url))
        )
        child.expect(b"(exporting|copying|importing) .*100%")
        child.expect(pexpect.EOF)
        child.close()
        assert child.exitstatus == 0
