"""A server's life: its doors, its logins, its commits, its end."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import stat
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from support import ServerProcess, brokerctl, environment, running_server, wait_until
from wire import Wire, code_of, request

import broker
from broker.service import broker as broker_service
from broker.store.database import Database
from broker.store.handlers import messages, upkeep
from broker.store.transaction import Limits

Dial = Callable[..., Wire]


def test_the_doors_are_announced_and_private(own_server: ServerProcess) -> None:
    assert [door.partition("://")[0] for door in own_server.doors] == ["tcp", "unix"]
    assert stat.S_IMODE(os.stat(own_server.socket).st_mode) == 0o600
    assert "registration is open" in own_server.log


def test_collections_of_garbage_pass_over_what_stays(tmp_path: Path) -> None:
    """Else each that looks through everything would stall everybody meanwhile."""
    code = """if True:
        import gc, os, signal, sys
        from broker.server.main import run
        from broker.server.options import Options

        def announce(door):
            left = len(gc.get_objects())
            print(gc.get_freeze_count() > 10 * left, flush=True)
            os.kill(os.getpid(), signal.SIGTERM)

        run(Options(sys.argv[1], (), sys.argv[2]), announce=announce, log_level="error")
    """
    paths = [str(tmp_path / "broker.db"), str(tmp_path / "s")]
    done = subprocess.run(
        [sys.executable, "-c", code, *paths], capture_output=True, text=True, timeout=60
    )
    assert done.stdout == "True\n", done.stdout + done.stderr


def test_sigterm_answers_who_waits_and_ends_with_0(own_server: ServerProcess, dial: Dial) -> None:
    wire = dial(own_server)
    wire.call("QUEUE", "CREATE", "q")
    busy = dial(own_server)
    busy.socket.sendall(request("QUEUE", "SEND", "q", "x", "DELAY", "60000") * 500)
    wire.send("QUEUE", "PULL", "q", "WAIT", "60000")
    began = time.monotonic()
    ids = [busy.read()]
    own_server.process.send_signal(signal.SIGTERM)
    assert wire.read() is None
    assert wire.is_closed_by_peer()
    try:
        while True:
            ids.append(busy.read())
    except EOFError:
        pass
    assert own_server.process.wait(30) == 0
    assert time.monotonic() - began < 10
    assert not Path(own_server.socket).exists()
    database = Path(own_server.socket.removesuffix(".sock"))
    with broker.connect(str(database)) as client:
        assert client.show_queue("q").delayed == len(ids)


def test_a_second_server_on_the_same_database_is_exit_7(own_server: ServerProcess) -> None:
    database = own_server.socket.removesuffix(".sock")
    done = brokerctl("serve", "--database", database, "--no-listen")
    assert done.returncode == 7
    assert done.stderr.count(b"\n") == 1
    assert str(own_server.process.pid) in done.stderr.decode()


def test_a_taken_port_is_one_line_and_exit_7(own_server: ServerProcess, tmp_path: Path) -> None:
    done = brokerctl(
        "serve", "--database", str(tmp_path / "other.db"), "--log-level", "error",
        "--listen", f"127.0.0.1:{own_server.port}",
    )  # fmt: skip
    assert (done.returncode, done.stderr.count(b"\n")) == (7, 1)
    assert b"in use" in done.stderr


def test_a_socket_left_by_a_killed_server_is_replaced(tmp_path: Path) -> None:
    database = tmp_path / "broker.db"
    with running_server(database) as server:
        server.stop(signal.SIGKILL)
        assert Path(server.socket).exists()
    with running_server(database) as server:
        assert brokerctl("status", url=database).returncode == 0


def test_a_database_client_survives_the_start_and_the_death_of_a_server(tmp_path: Path) -> None:
    database = tmp_path / "broker.db"
    with broker.connect(str(database)) as client:
        client.create_queue("q")
        client.send("q", b"embedded")
        with running_server(database) as server:
            client.send("q", b"served")
            assert client.status().pid == server.process.pid
            server.stop(signal.SIGKILL)
            client.send("q", b"embedded again")
        with running_server(database):
            assert [m.body for m in client.pull_many("q", 9)] == [
                b"embedded", b"served", b"embedded again",
            ]  # fmt: skip


def test_an_embedded_pull_that_waits_goes_on_with_a_server(tmp_path: Path) -> None:
    database = tmp_path / "broker.db"
    found: list[object] = []
    with broker.connect(str(database)) as client, broker.connect(str(database)) as sender:
        sender.create_queue("q")
        waiting = threading.Thread(target=lambda: found.append(client.pull("q", wait_ms=60_000)))
        waiting.start()
        with running_server(database):
            sender.send("q", b"through the server")
            waiting.join(30)
            assert not waiting.is_alive()
    assert found[0].body == b"through the server"  # type: ignore[attr-defined]


def test_a_server_without_a_socket_is_said(tmp_path: Path) -> None:
    database = tmp_path / "broker.db"
    with running_server(database, "--socket", "none") as server:
        done = brokerctl("queue", "list", url=database)
        assert (done.returncode, done.stderr.count(b"\n")) == (7, 1)
        assert f"tcp://127.0.0.1:{server.port}" in done.stderr.decode()


def imported_by_one_shots(database: str) -> set[str]:
    """Return the packages that a process has loaded once it has created and used a queue."""
    program = (
        "import sys, broker.cli.app as app\n"
        "for words in (['queue', 'create', 'q'], ['queue', 'send', 'q', 'x'], ['queue', 'list']):\n"
        "    try: app.run(words)\n"
        "    except SystemExit as done: assert not done.code, done.code\n"
        "print(*sorted({m.partition('.')[0] for m in sys.modules}))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, check=True,
        env=environment(BROKER_URL=database),
    )  # fmt: skip
    return set(done.stdout.decode().splitlines()[-1].split())


def test_a_one_shot_through_a_server_imports_no_store(own_server: ServerProcess) -> None:
    imported = imported_by_one_shots(own_server.socket.removesuffix(".sock"))
    assert imported.isdisjoint({"sqlalchemy", "alembic", "asyncio", "sqlite3", "bcrypt"})


def test_a_one_shot_without_a_server_runs_on_the_text_of_its_statements(tmp_path: Path) -> None:
    imported = imported_by_one_shots(str(tmp_path / "fresh.db"))
    assert "sqlite3" in imported
    assert imported.isdisjoint({"sqlalchemy", "alembic", "asyncio", "bcrypt"})


def test_fifty_senders_share_commits(own_server: ServerProcess, dial: Dial) -> None:
    wires = [dial(own_server) for _ in range(50)]
    wires[0].call("QUEUE", "CREATE", "q")
    wires[0].call("HELLO", "3")
    before = wires[0].call("STATUS")
    for _ in range(40):
        for wire in wires:
            wire.send("QUEUE", "SEND", "q", "x")
        for wire in wires:
            assert isinstance(wire.read(), int)
    after = wires[0].call("STATUS")
    commands = after["commands"] - before["commands"]
    commits = after["commits"] - before["commits"]
    assert commands >= 2000
    assert commits * 2 < commands
    assert after["largest_batch"] > 1


def test_an_unknown_name_registers_and_a_known_one_must_match(own_server: ServerProcess) -> None:
    url = f"broker://127.0.0.1:{own_server.port}"
    with broker.connect(url, user="carol", password="secret") as client:
        assert client.whoami().name == "carol"
    with broker.connect(url, user="carol", password="secret") as client:
        assert client.whoami().name == "carol"
    client = broker.connect(url, user="carol", password="wrong")
    with pytest.raises(broker.WrongPass) as wrong:
        client.whoami()
    client.close()
    assert "secret" not in own_server.log
    assert wrong.value.message == "wrong user name or password"


def test_hello_tells_who_registered(own_server: ServerProcess, dial: Dial) -> None:
    first = dial(own_server, tcp=True).call("HELLO", "3", "AUTH", "dave", "secret")
    assert (first["user"], first["registered"], first["proto"]) == (b"dave", True, 3)
    again = dial(own_server, tcp=True).call("HELLO", "3", "AUTH", "dave", "secret")
    assert again["registered"] is False


def test_two_simultaneous_registrations_make_one_user(
    own_server: ServerProcess, dial: Dial
) -> None:
    wires = [dial(own_server, tcp=True) for _ in range(4)]
    for number, wire in enumerate(wires):
        wire.send("AUTH", "twin", "same" if number % 2 else "other")
    answers = [str(getattr(wire.read(), "code", "OK")) for wire in wires]
    assert sorted(answers) == ["OK", "OK", "WRONGPASS", "WRONGPASS"]


def test_closed_registration_answers_as_a_wrong_password(tmp_path: Path, dial: Dial) -> None:
    with running_server(tmp_path / "broker.db", "--registration", "closed") as server:
        url = f"broker+unix://{server.socket}"
        with broker.connect(url) as admin:
            admin.create_user("known", password="secret")
        answers = [
            dial(server, tcp=True).call("AUTH", name, "guess") for name in ("known", "unknown")
        ]
        assert [code_of(answer) for answer in answers] == ["WRONGPASS", "WRONGPASS"]
        assert answers[0].message == answers[1].message
        assert dial(server, tcp=True).call("AUTH", "known", "secret") == "OK"
        assert "registration is closed" in server.log


def test_a_changed_password_is_forgotten_at_once(own_server: ServerProcess, dial: Dial) -> None:
    wire = dial(own_server, tcp=True)
    assert wire.call("AUTH", "erin", "old") == "OK"
    assert wire.call("USER", "PASSWORD", "erin", "new") == "OK"
    assert code_of(dial(own_server, tcp=True).call("AUTH", "erin", "old")) == "WRONGPASS"
    assert dial(own_server, tcp=True).call("AUTH", "erin", "new") == "OK"
    assert wire.call("PING") == "PONG"


def test_a_deleted_users_connections_end(own_server: ServerProcess, dial: Dial) -> None:
    wire = dial(own_server, tcp=True)
    assert wire.call("AUTH", "frank", "x") == "OK"
    assert dial(own_server).call("USER", "DELETE", "frank") == 0
    assert code_of(wire.read()) == "NOAUTH"
    assert wire.is_closed_by_peer()


def test_an_admin_acts_as_another_on_the_socket_only(own_server: ServerProcess, dial: Dial) -> None:
    local = dial(own_server)
    local.call("USER", "CREATE", "grace")
    assert local.call("HELLO", "3", "AUTH", "grace", "")["user"] == b"grace"
    assert code_of(local.call("AUTH", "root", "")) == "DENIED"
    assert code_of(dial(own_server, tcp=True).call("AUTH", "grace", "")) == "WRONGPASS"


def test_a_path_too_long_for_a_socket_has_one_elsewhere(tmp_path: Path) -> None:
    folder = tmp_path / ("long" * 25)
    folder.mkdir()
    runtime = Path(tempfile.mkdtemp(prefix="run"))
    with running_server(folder / "broker.db", XDG_RUNTIME_DIR=str(runtime)) as server:
        assert Path(server.socket).parent == runtime
        done = brokerctl("status", url=folder / "broker.db", XDG_RUNTIME_DIR=str(runtime))
        assert done.returncode == 0
    runtime.rmdir()
    with running_server(folder / "broker.db") as server:
        private = Path(server.socket).parent
        assert private == Path(f"/tmp/broker-{os.geteuid()}")
        assert private.stat().st_mode & 0o777 == 0o700
        assert brokerctl("status", url=folder / "broker.db").returncode == 0


def test_a_member_of_the_sockets_group_needs_no_lock_file(
    tmp_path: Path,
) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root becomes somebody else")
    folder = tmp_path / "shared"
    folder.mkdir()
    for parent in (folder, *folder.parents):
        if parent == Path("/tmp"):
            break
        parent.chmod(0o755)
    with running_server(folder / "broker.db", "--socket-mode", "0666"):
        program = (
            "import json, os, sys, broker.client.sync, broker.client.local\n"
            "import broker.commands.queue, broker.commands.user\n"
            # Where the interpreter lies, only root may read: what is needed is imported by now.
            "os.setgid(65534); os.setuid(65534)\n"
            "client = broker.connect(sys.argv[1]); me = client.whoami()\n"
            "print(me.uid, me.admin); client.create_queue('theirs'); client.close()\n"
        )
        done = subprocess.run(
            [sys.executable, "-c", program, str(folder / "broker.db")],
            capture_output=True, text=True, env=environment(HOME=str(folder)),
        )  # fmt: skip
        assert done.stderr == ""
        assert done.stdout == "65534 False\n"


def test_failed_logins_are_answered_later_and_right_ones_at_once(
    own_server: ServerProcess, dial: Dial
) -> None:
    assert dial(own_server, tcp=True).call("AUTH", "ivan", "right") == "OK"
    took = []
    for _ in range(4):
        began = time.monotonic()
        assert code_of(dial(own_server, tcp=True).call("AUTH", "ivan", "wrong")) == "WRONGPASS"
        took.append(time.monotonic() - began)
    # Twice as long each time: 0.1, 0.2, 0.4, 0.8 s, on top of what bcrypt takes.
    assert took[3] >= 0.8
    began = time.monotonic()
    assert dial(own_server, tcp=True).call("AUTH", "ivan", "right") == "OK"
    assert time.monotonic() - began < took[3]


def test_keys_left_by_an_earlier_run_are_taken_away_in_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = tmp_path / "broker.db"
    with broker.connect(str(database)) as client:
        client.create_queue("q")
        client.send("q", b"x", key="k", key_ttl_ms=500)

    async def main() -> None:
        monkeypatch.setattr(messages, "KEY_CLEAN_UP_DELAY_MS", 0)
        monkeypatch.setattr(upkeep, "KEY_CLEAN_UP_DELAY_MS", 0)
        opened = Database(str(database), Limits(1000))
        opened.open(create=False)
        service = broker_service.Broker(
            opened, on_failure=lambda error: None, on_users_changed=lambda ids: None
        )
        await service.start()
        count = 1
        while count:
            count = await service.call(
                lambda tx: tx.driver.execute("SELECT count(*) FROM broker_keys").fetchone()[0]
            )
            await asyncio.sleep(0.01)
        service.close()

    asyncio.run(asyncio.wait_for(main(), 60))


def test_what_falls_due_while_no_server_runs_or_after_comes_to_who_waits(tmp_path: Path) -> None:
    database = tmp_path / "broker.db"
    with running_server(database), broker.connect(str(database)) as client:
        client.create_queue("q")
        client.send("q", b"while down", delay_ms=400)
        client.send("q", b"after", delay_ms=4000)
    time.sleep(0.4)
    with running_server(database), broker.connect(str(database)) as client:
        for body, delay_ms in ((b"while down", 400), (b"after", 4000)):
            message = client.pull("q", wait_ms=30_000)
            assert message is not None
            assert message.body == body
            assert time.time_ns() // 1_000_000 >= message.sent_at + delay_ms


def test_status_counts(own_server: ServerProcess) -> None:
    url = Path(own_server.socket.removesuffix(".sock"))
    brokerctl("queue", "create", "q", url=url)
    brokerctl("queue", "send", "q", "12345", url=url)
    found = json.loads(brokerctl("status", "--json", url=url).stdout)
    assert found["pid"] == own_server.process.pid
    assert found["doors"] == own_server.doors
    assert (found["queues"], found["ready"], found["bytes"]) == (1, 1, 5)
    assert found["commands"] >= 2
    assert found["database"] == str(url)


def test_syncs_come_before_replies(
    tmp_path: Path, needs_program: Callable[[str], str], dial: Dial
) -> None:
    strace = needs_program("strace")
    trace = tmp_path / "trace"
    calls = "trace=fdatasync,fsync,sendto,write,sendmsg,writev"
    with running_server(
        tmp_path / "broker.db", prefix=(strace, "-f", "-e", calls, "-s", "16", "-o", str(trace))
    ) as server:
        wire = dial(server)
        wire.call("QUEUE", "CREATE", "q")
        marker = len(trace.read_text().splitlines())
        for _ in range(5):
            assert isinstance(wire.call("QUEUE", "SEND", "q", "x"), int)
        wait_until(
            lambda: sum('":' in line for line in trace.read_text().splitlines()[marker:]) >= 5,
            "the trace is written",
        )
        lines = trace.read_text().splitlines()[marker:]
    synced = 0
    replies = 0
    for line in lines:
        if "sync(" in line or "sync resumed" in line:
            synced += "= 0" in line
        elif '":' in line:
            replies += 1
            assert synced >= replies, "a reply left before its sync"
    assert replies == 5


def test_a_disk_that_fills_refuses_sends_while_the_rest_goes_on(tmp_path: Path, dial: Dial) -> None:
    folder = tmp_path / "small"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", str(folder)], capture_output=True
    )
    if mounted.returncode:
        pytest.skip("a small file system cannot be mounted here")
    try:
        with running_server(folder / "broker.db") as server:
            wire = dial(server)
            wire.call("QUEUE", "CREATE", "q")
            replies = [wire.call("QUEUE", "SEND", "q", b"x" * 1_000_000) for _ in range(60)]
            assert code_of(replies[-1]) == "FULL"
            stored = [reply for reply in replies if isinstance(reply, int)]
            assert len(stored) > 5
            pulled = []
            while messages := wire.call("QUEUE", "PULL", "q", "COUNT", "10", "NOACK"):
                pulled += messages
            assert len(pulled) == len(stored)
            # What has become free inside the file counts as room.
            assert isinstance(wire.call("QUEUE", "SEND", "q", b"room again"), int)
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_disk_without_room_for_anything_says_full(tmp_path: Path, dial: Dial) -> None:
    folder = tmp_path / "tiny"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=40m", "tmpfs", str(folder)], capture_output=True
    )
    if mounted.returncode:
        pytest.skip("a small file system cannot be mounted here")
    try:
        with running_server(folder / "broker.db") as server:
            wire = dial(server)
            wire.call("QUEUE", "CREATE", "q")
            assert isinstance(wire.call("QUEUE", "SEND", "q", b"kept"), int)
            ballast = folder / "ballast"
            with ballast.open("wb") as file:
                try:
                    while file.write(b"x" * 65536):
                        file.flush()
                except OSError:
                    pass
            for body in (b"x" * 500_000, b"x" * 100):
                assert code_of(wire.call("QUEUE", "SEND", "q", body)) == "FULL"
            assert wire.call("PING") == "PONG"
            ballast.unlink()
            assert isinstance(wire.call("QUEUE", "SEND", "q", b"room again"), int)
            pulled = wire.call("QUEUE", "PULL", "q", "COUNT", "10")
            assert [dict(zip(m[::2], m[1::2], strict=True))[b"body"] for m in pulled] == [
                b"kept", b"room again",
            ]  # fmt: skip
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)
