"""brokerctl at its edges: closed and full descriptors, pipes that break or are slow, terminals."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import pexpect
import psutil
import pytest
from support import brokerctl, environment, wait_until

import broker
from broker.store.owner import OwnerLock, lock_path

PROGRAM = [sys.executable, "-m", "broker.cli"]


@pytest.fixture
def url(tmp_path: Path) -> Path:
    """A database with a queue ``jobs``."""
    path = tmp_path / "broker.db"
    assert brokerctl("queue", "create", "jobs", url=path).returncode == 0
    return path


def fill(url: Path, *bodies: bytes) -> None:
    with broker.connect(str(url)) as client:
        for body in bodies:
            client.send("jobs", body)


def counts(url: Path) -> tuple[int, int]:
    """Return how many messages are ready, and how many leased."""
    with broker.connect(str(url)) as client:
        queue = client.show_queue("jobs")
    return queue.ready, queue.leased


def bodies_left(url: Path) -> list[tuple[bytes, int]]:
    with broker.connect(str(url)) as client:
        return [(m.body, m.attempts) for m in client.pull_many("jobs", 1000)]


def run(line: str, url: Path) -> subprocess.CompletedProcess[bytes]:
    """Run a line of shell in which ``brokerctl`` is the program."""
    return subprocess.run(
        ["bash", "-c", f'brokerctl() {{ "{sys.executable}" -m broker.cli "$@"; }}; {line}'],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        env=environment(BROKER_URL=str(url)),
        timeout=60,
    )


def start(url: Path, *arguments: str, **streams: Any) -> subprocess.Popen[bytes]:
    variables = environment(BROKER_URL=str(url))
    return subprocess.Popen(
        [*PROGRAM, *arguments], stdin=subprocess.DEVNULL, env=variables, **streams
    )


# --- stdout ---


@pytest.mark.parametrize(
    "arguments",
    [
        "queue send jobs lost", "queue create more", "queue delete jobs", "queue list",
        "queue pull jobs", "channel create news", "whoami", "db current",
    ],
)  # fmt: skip
def test_with_a_closed_stdout_nothing_is_done_that_would_have_to_be_told(
    url: Path, arguments: str
) -> None:
    fill(url, b"kept")
    done = run(f"brokerctl {arguments} >&-", url)
    assert done.returncode == 2
    assert done.stderr == b"brokerctl: stdout is closed: nothing was done\n"
    with broker.connect(str(url)) as client:
        assert [(q.name, q.ready, q.leased) for q in client.list_queues()] == [("jobs", 1, 0)]
        assert client.list_channels() == []


def test_what_prints_nothing_works_with_a_closed_stdout(url: Path) -> None:
    fill(url, b"x")
    with broker.connect(str(url)) as client:
        message = client.pull("jobs")
    assert message is not None
    done = run(f"brokerctl message ack {message.receipt} >&- <&-", url)
    assert (done.returncode, done.stderr) == (0, b"")
    assert counts(url) == (0, 0)


def test_a_closed_descriptor_is_not_taken_by_a_file_of_the_database(url: Path) -> None:
    process = subprocess.Popen(
        ["bash", "-c", 'exec "$0" -m broker.cli queue pull jobs --wait 60s <&- 2>&-',
         sys.executable],
        stdout=subprocess.PIPE, env=environment(BROKER_URL=str(url)),
    )  # fmt: skip
    try:
        files = f"/proc/{process.pid}/fd"

        def opened() -> dict[str, str]:
            found = {}
            for name in os.listdir(files):
                # A file of its imports may be closed between the two looks.
                with suppress(FileNotFoundError):
                    found[name] = os.readlink(f"{files}/{name}")
            return found

        if not os.path.isdir(files):
            pytest.skip("there is no /proc here")
        wait_until(lambda: lock_path(str(url)) in opened().values(), "it has opened its lock")
        assert opened()["0"] == opened()["2"] == os.devnull
    finally:
        process.kill()
        process.communicate()


@pytest.mark.parametrize("json_option", [[], ["--json"]])
def test_a_full_stdout_is_named(url: Path, json_option: list[str]) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("there is no /dev/full here")
    with open("/dev/full", "wb") as full:
        process = start(url, "queue", "list", *json_option, stdout=full, stderr=subprocess.PIPE)
        _, said = process.communicate(timeout=60)
    assert process.returncode == 1
    assert said.count(b"\n") == 1
    assert b"stdout: No space left on device" in said


def test_a_full_stderr_changes_no_exit_status(url: Path) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("there is no /dev/full here")
    assert run("brokerctl queue pull jobs 2>/dev/full", url).returncode == 3
    first = run("brokerctl queue send jobs x --key k 2>/dev/full", url)
    second = run("brokerctl queue send jobs x --key k 2>/dev/full", url)
    assert (second.returncode, second.stdout) == (0, first.stdout)
    assert run("brokerctl 2>/dev/full", url).returncode == 2


def test_a_broken_pipe_gives_all_of_a_batch_back(url: Path) -> None:
    large = b"x" * 200_000
    fill(url, b"small", large, b"last")
    process = start(url, "queue", "pull", "jobs", "--count", "3", stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert os.read(process.stdout.fileno(), 5) == b"small"
    process.stdout.close()
    assert process.wait(60) == 141
    assert bodies_left(url) == [(b"small", 1), (large, 1), (b"last", 1)]


def test_a_lease_that_was_asked_for_is_not_acknowledged_by_a_broken_pipe(url: Path) -> None:
    fill(url, b"small", b"x" * 200_000)
    process = start(
        url, "queue", "pull", "jobs", "--count", "2", "--lease", "5m", stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    assert os.read(process.stdout.fileno(), 5) == b"small"
    process.stdout.close()
    assert process.wait(60) == 141
    assert counts(url) == (1, 1)


def test_a_slow_reader_keeps_its_lease(url: Path) -> None:
    body = os.urandom(300_000)
    fill(url, body)
    slow = start(url, "queue", "pull", "jobs", "--lease", "900ms", stdout=subprocess.PIPE)
    assert slow.stdout is not None
    first = os.read(slow.stdout.fileno(), 1)
    # For thrice the lease another one waits for it to end, in vain.
    other = brokerctl("queue", "pull", "jobs", "--wait", "2700ms", url=url)
    assert (other.returncode, other.stdout) == (3, b"")
    rest, _ = slow.communicate(timeout=60)
    assert slow.returncode == 0
    assert first + rest == body


# --- stdin ---


def test_a_password_from_a_closed_stdin_is_refused(url: Path) -> None:
    done = run("brokerctl user create eve --password-file - <&-", url)
    assert done.returncode == 2
    assert done.stderr == b"brokerctl: no password: it is to come from stdin, which is closed\n"


def test_a_body_may_be_empty_or_no_text(url: Path) -> None:
    assert brokerctl("queue", "send", "jobs", "", url=url).returncode == 0
    assert brokerctl("queue", "send", "jobs", url=url, stdin=b"").returncode == 0
    assert run(r"brokerctl queue send jobs $'\xff\x01\xfe'", url).returncode == 0
    assert [body for body, _ in bodies_left(url)] == [b"", b"", b"\xff\x01\xfe"]


# --- words ---


def test_without_a_command_there_is_help_and_exit_2(url: Path) -> None:
    for words in ([], ["queue"]):
        done = brokerctl(*words, url=url)
        assert (done.returncode, done.stdout) == (2, b"")
        assert re.search(rb"^Commands:\n  \w+ ", done.stderr, re.MULTILINE)
        done = brokerctl("--json", *words, url=url)
        assert done.returncode == 2
        assert json.loads(done.stderr)["error"] == "INVALID"


def test_every_refused_receipt_is_an_object_with_json(url: Path) -> None:
    done = brokerctl("message", "ack", "1.1", "2.1", "--json", url=url)
    assert done.returncode == 9
    errors = [json.loads(line) for line in done.stderr.splitlines()]
    assert [list(error) for error in errors] == [["error", "message", "retryable"]] * 2
    assert [error["error"] for error in errors] == ["STALE", "STALE"]


def test_common_options_work_anywhere_and_the_later_wins(url: Path, tmp_path: Path) -> None:
    wrong, right = str(tmp_path / "none.db"), str(url)
    for words in (
        ["--url", right, "--json", "queue", "list"],
        ["queue", "--url", right, "--json", "list"],
        ["queue", "list", "--url", right, "--json"],
        ["--url", wrong, "queue", "--json", "list", "--url", right],
    ):
        done = brokerctl(*words)
        assert (done.returncode, done.stderr) == (0, b"")
        assert json.loads(done.stdout)["name"] == "jobs"
    assert brokerctl("--url", right, "queue", "list", "--url", wrong).returncode == 4


# --- people ---


def on_terminal(url: Path, *arguments: str) -> tuple[str, int | None]:
    """Return what a command writes on a terminal, and its exit status."""
    terminal = pexpect.spawn(
        sys.executable, ["-m", "broker.cli", *arguments], encoding="utf-8", timeout=60,
        env=environment(BROKER_URL=str(url), TERM="dumb"), dimensions=(50, 160),
    )  # fmt: skip
    terminal.expect(pexpect.EOF)
    terminal.close()
    return str(terminal.before).replace("\r\n", "\n"), terminal.exitstatus


def test_on_a_terminal_lists_are_tables_and_bodies_end_their_line(url: Path) -> None:
    fill(url, b"hello")
    text, status = on_terminal(url, "queue", "list")
    header, line = text.splitlines()
    assert status == 0
    assert header.split()[:3] == ["name", "owner", "ready"]
    assert header.index("owner") == line.index(line.split()[1])
    text, _ = on_terminal(url, "queue", "show", "jobs")
    assert re.search(r"^ready +1$", text, re.MULTILINE)
    assert on_terminal(url, "queue", "pull", "jobs") == ("hello\n", 0)


def test_on_a_terminal_a_body_is_typed_and_a_password_asked_for_twice(url: Path) -> None:
    variables = environment(BROKER_URL=str(url), TERM="dumb")
    typing = pexpect.spawn(
        sys.executable, [*PROGRAM[1:], "queue", "send", "jobs"], env=variables, timeout=60,
        encoding="utf-8",
    )  # fmt: skip
    typing.sendline("typed")
    typing.sendeof()
    typing.expect(pexpect.EOF)
    typing.close()
    assert typing.exitstatus == 0
    assert [body for body, _ in bodies_left(url)] == [b"typed\n"]
    asked = pexpect.spawn(
        sys.executable, [*PROGRAM[1:], "user", "create", "eve"], env=variables, timeout=60,
        encoding="utf-8",
    )  # fmt: skip
    for _ in range(2):
        asked.expect_exact(":")
        asked.sendline("open sesame")
    asked.expect(pexpect.EOF)
    asked.close()
    assert asked.exitstatus == 0
    assert asked.before is not None
    assert "sesame" not in asked.before
    with broker.connect(str(url)) as client:
        assert client.show_user("eve").password


# --- others ---


def test_an_interrupted_wait_is_exit_130_and_takes_nothing(url: Path) -> None:
    process = start(
        url, "queue", "pull", "jobs", "--wait", "60s",
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    lock = lock_path(str(url))
    files = psutil.Process(process.pid)
    wait_until(lambda: any(f.path == lock for f in files.open_files()), "it has opened its lock")
    process.send_signal(signal.SIGINT)
    output, said = process.communicate(timeout=60)
    assert (process.returncode, output, said) == (130, b"", b"")
    fill(url, b"x")
    assert counts(url) == (1, 0)


def test_who_waits_too_long_for_another_is_told_who_that_is(url: Path) -> None:
    lock = OwnerLock(str(url))
    assert lock.acquire(0) is None
    try:
        done = brokerctl("queue", "send", "jobs", "x", "--timeout", "200ms", "--json", url=url)
        current = brokerctl("db", "current", "--timeout", "0", url=url)
    finally:
        lock.release()
        lock.close()
    assert done.returncode == 7
    error = json.loads(done.stderr)
    assert (error["error"], error["retryable"]) == ("UNAVAILABLE", True)
    assert str(os.getpid()) in error["message"]
    assert (current.returncode, current.stderr.count(b"\n")) == (7, 1)
