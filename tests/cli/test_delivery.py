"""brokerctl and what can be delivered how: settings, the dead, bulk sends, consuming."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pexpect
import pytest
from support import brokerctl, environment, running_server, wait_until

import broker

PROGRAM = [sys.executable, "-m", "broker.cli"]


@pytest.fixture(params=["embedded", "served"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    """A database with a queue ``jobs``, without a server and with one."""
    path = tmp_path / "broker.db"
    assert brokerctl("queue", "create", "jobs", "max_attempts=2", url=path).stdout == b"jobs\n"
    if request.param == "embedded":
        yield path
        return
    with running_server(path):
        yield path


def ctl(url: Path, *arguments: str, stdin: bytes | None = None) -> str:
    """Return what a command that must succeed prints."""
    done = brokerctl(*arguments, url=url, stdin=stdin)
    assert done.returncode == 0, done.stderr
    return done.stdout.decode()


def objects(url: Path, *arguments: str) -> list[dict[str, Any]]:
    """Return what a command prints as JSON."""
    return [json.loads(line) for line in ctl(url, *arguments, "--json").splitlines()]


def test_settings_are_changed_and_shown(url: Path) -> None:
    assert ctl(url, "queue", "set", "jobs", "ttl=90s", "max_bytes=64K", "backoff=1s,2,1m") == ""
    (shown,) = objects(url, "queue", "show", "jobs")
    assert (shown["max_attempts"], shown["ttl"], shown["max_bytes"]) == (2, "90s", 65_536)
    ctl(url, "queue", "set", "jobs", "ttl=", "max_attempts=")
    (shown,) = objects(url, "queue", "show", "jobs")
    assert (shown["max_attempts"], shown["ttl"]) == (5, None)
    ctl(url, "channel", "create", "news")
    ctl(url, "channel", "subscribe", "news", "--as", "ci", "max_messages=10", "expire_idle=30d")
    (shown,) = objects(url, "queue", "show", f"news@{shown['owner']}@ci")
    assert (shown["max_messages"], shown["expire_idle"]) == (10, "30d")


def test_a_full_queue_is_exit_8(url: Path) -> None:
    ctl(url, "queue", "set", "jobs", "max_messages=1")
    ctl(url, "queue", "send", "jobs", "x")
    full = brokerctl("queue", "send", "jobs", "y", "--json", url=url)
    assert (full.returncode, full.stdout) == (8, b"")
    assert json.loads(full.stderr)["retryable"] is True


def test_the_life_of_a_dead_message(url: Path) -> None:
    sent = ctl(url, "queue", "send", "jobs", "poison", "--header", "a=b").strip()
    for reason in ("first", "second"):
        (message,) = objects(url, "queue", "pull", "jobs", "--lease", "1m")
        ctl(url, "message", "nack", message["receipt"], "--reason", reason)
    assert brokerctl("queue", "pull", "jobs", url=url).returncode == 3
    (dead,) = objects(url, "dead", "list", "jobs")
    assert (str(dead["id"]), dead["reason"]) == (sent, "2 attempts, the last: second")
    assert "body" not in dead
    (shown,) = objects(url, "dead", "show", "jobs", "--id", sent)
    assert [failure["reason"] for failure in shown["failures"]] == ["first", "second"]
    assert shown["failures"][0]["at"].endswith("Z")
    assert ctl(url, "dead", "list", "jobs", "--match", "absent") == ""
    assert ctl(url, "dead", "retry", "jobs", "--all", "--match", "poison") == "1\n"
    (message,) = objects(url, "queue", "pull", "jobs", "--lease", "1m")
    assert message["attempts"] == 1
    ctl(url, "message", "nack", message["receipt"], "--dead")
    assert ctl(url, "dead", "drop", "jobs", "--id", sent) == "1\n"
    assert brokerctl("dead", "drop", "jobs", "--id", sent, url=url).returncode == 4


def test_messages_are_found_and_taken_in_hand(url: Path) -> None:
    ctl(url, "queue", "create", "other")
    first, second, third = (ctl(url, "queue", "send", "jobs", b).strip() for b in "abc")
    (message,) = objects(url, "queue", "pull", "jobs", "--lease", "1m")
    (found,) = objects(url, "message", "show", first)
    (place,) = found["deliveries"]
    assert (place["state"], place["leased_until"]) == ("leased", message["leased_until"])
    ctl(url, "message", "release", "jobs", first)
    assert brokerctl("message", "ack", message["receipt"], url=url).returncode == 9
    ctl(url, "message", "delete", "jobs", second)
    ctl(url, "message", "move", "jobs", third, "other")
    assert [o["body"] for o in objects(url, "queue", "peek", "jobs", "--count", "9")] == ["a"]
    assert [o["body"] for o in objects(url, "queue", "peek", "other")] == ["c"]
    assert brokerctl("queue", "peek", "jobs", "--state", "dead", url=url).returncode == 3
    assert brokerctl("message", "show", second, url=url).returncode == 4


def test_acknowledge_and_send_in_one(url: Path) -> None:
    ctl(url, "queue", "create", "results")
    ctl(url, "queue", "send", "jobs", "x")
    (message,) = objects(url, "queue", "pull", "jobs", "--lease", "1m")
    missing = ("message", "ack", message["receipt"], "--send", "nowhere", "y")
    assert brokerctl(*missing, url=url).returncode == 4
    assert objects(url, "queue", "show", "jobs")[0]["leased"] == 1
    sent = ctl(url, "message", "ack", message["receipt"], "--send", "results", "-", stdin=b"y")
    assert objects(url, "queue", "pull", "results")[0]["id"] == int(sent)
    again = brokerctl("message", "ack", message["receipt"], "--send", "results", "y", url=url)
    assert again.returncode == 9
    assert objects(url, "queue", "show", "results")[0]["ready"] == 0


def test_pauses_and_purges(url: Path) -> None:
    ctl(url, "queue", "send", "jobs", "x")
    ctl(url, "queue", "pause", "jobs", "--sends")
    assert brokerctl("queue", "send", "jobs", "y", url=url).returncode == 5
    ctl(url, "queue", "pause", "jobs", "--pulls")
    assert objects(url, "queue", "show", "jobs")[0]["paused"] == "all"
    assert brokerctl("queue", "pull", "jobs", url=url).returncode == 3
    ctl(url, "queue", "resume", "jobs")
    ctl(url, "queue", "send", "jobs", "y", "--delay", "1h")
    assert ctl(url, "queue", "purge", "jobs") == "2\n"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["queue", "create", "q", "max_attempts=-1"], "from 0 to"),
        (["queue", "create", "q", "nothing"], "name=value"),
        (["queue", "set", "jobs"], "Missing argument"),
        (["queue", "set", "jobs", "max_mesages=1"], "did you mean max_messages?"),
        (["queue", "set", "jobs", "ttl=1h", "ttl=2h"], "given twice"),
        (["queue", "set", "jobs", "expire_idle=1h"], "for subscriptions"),
        (["queue", "send", "jobs", "x", "--at", "2026-12-24T18:00:00"], "no zone"),
        (["queue", "send", "jobs", "x", "--at", "tomorrow"], "2026-12-24T18:00:00+01:00"),
        (["queue", "send", "jobs", "x", "--ttl", "0"], "from 1ms to"),
        (["queue", "send", "jobs", "x", "--at", "2030-01-01T00:00:00Z", "--delay", "1s"],
         "exclude each other"),
        (["queue", "send", "jobs", "x", "--lines"], "exclude each other"),
        (["queue", "send", "jobs", "--lines", "--jsonl"], "exclude each other"),
        (["queue", "send", "jobs", "--lines", "--key", "k"], "one key for many"),
        (["queue", "send", "jobs", "--lines", "--file", "/nowhere/at/all"], "cannot be read"),
        (["queue", "pause", "jobs", "--sends", "--pulls"], "exclude each other"),
        (["queue", "peek", "jobs", "--state", "asleep"], "ready"),
        (["message", "nack", "1.1", "--delay", "1s", "--dead"], "exclude each other"),
        (["message", "nack", "1.1", "--uncounted", "--reason", "x"], "no reason"),
        (["message", "show", "x"], "whole number"),
        (["message", "show", "0"], "0"),
        (["dead", "retry", "jobs"], "--id N, or --all"),
        (["dead", "drop", "jobs", "--all", "--id", "1"], "not both"),
        (["dead", "retry", "jobs", "--id", "1", "--limit", "1"], "by its id"),
        (["queue", "pull", "jobs", "--lease", "13h"], "from 1ms to 12h"),
        (["queue", "send", "jobs", "x", "--key", "k", "--key-ttl", "0"], "from 1ms to 3653d"),
        (["queue", "send", "jobs", "x", "--at", "9999-12-31T23:59:59-12:00"], "1970 and 9999"),
        (["queue", "send", "jobs", "x", "--delay", "-1s"], "write 500ms, 30s, 10m, 2h or 7d"),
        (["queue", "send", "jobs", "x", "--priority", "12"], "0<=x<=9"),
        (["message", "extend", "1.1", "--lease", "0"], "from 1ms to 12h"),
        (["message", "ack", "nope"], "it comes with a pulled message"),
    ],
)  # fmt: skip
def test_bad_input_is_one_clear_line_and_exit_2(
    tmp_path: Path, arguments: list[str], said: str
) -> None:
    path = tmp_path / "broker.db"
    brokerctl("queue", "create", "jobs", url=path)
    done = brokerctl(*arguments, url=path, stdin=b"")
    assert (done.returncode, done.stdout) == (2, b"")
    assert done.stderr.count(b"\n") == 1
    assert said in done.stderr.decode()


# --- many at once ----------------------------------------------------------------


def test_a_message_for_each_line(url: Path, tmp_path: Path) -> None:
    lines = [b"%d" % n for n in range(1201)] + [b"", b"\xff\x00 last, without a newline"]
    ids = ctl(url, "queue", "send", "jobs", "--lines", "--priority", "7", stdin=b"\n".join(lines))
    numbers = [int(line) for line in ids.splitlines()]
    assert len(numbers) == len(lines)
    assert numbers == sorted(numbers)
    with broker.connect(str(url)) as client:
        pulled = client.pull_many("jobs", 1000) + client.pull_many("jobs", 1000)
    assert [m.body for m in pulled] == lines
    assert {m.priority for m in pulled} == {7}
    (tmp_path / "file").write_bytes(b"from\na file\n")
    assert (
        len(ctl(url, "queue", "send", "jobs", "--lines", "--file", str(tmp_path / "file")).split())
        == 2
    )
    assert ctl(url, "queue", "send", "jobs", "--lines", stdin=b"") == ""


def test_a_message_for_each_object(url: Path) -> None:
    lines = [
        {"body": "plain"},
        {"body": "//4=", "encoding": "base64", "headers": {"a": "b"}, "priority": 9},
        {"body": "typed", "content_type": "text/plain", "key": "k", "ttl": "1h"},
        {"body": "again", "key": "k", "key_ttl": "1h"},
        {"body": "later", "delay": "1h"},
        {"body": "at", "at": "2026-01-01T00:00:00Z"},
    ]
    text = "".join(json.dumps(line) + "\n" for line in lines).encode()
    ids = ctl(url, "queue", "send", "jobs", "--jsonl", "--priority", "2", stdin=text).split()
    assert ids[2] == ids[3]
    with broker.connect(str(url)) as client:
        pulled = client.pull_many("jobs", 10)
        assert client.show_queue("jobs").delayed == 1
    assert [(m.body, m.priority) for m in pulled] == [
        (b"\xff\xfe", 9), (b"plain", 2), (b"typed", 2), (b"at", 2),
    ]  # fmt: skip
    assert (dict(pulled[0].headers), pulled[2].content_type) == ({"a": "b"}, "text/plain")


def test_what_was_pulled_as_json_can_be_sent_as_it_is(url: Path) -> None:
    ctl(url, "queue", "create", "copy")
    ctl(url, "queue", "send", "jobs", "--header", "a=b", "--priority", "8", stdin=b"\xff")
    pulled = ctl(url, "queue", "pull", "jobs", "--json").encode()
    ctl(url, "queue", "send", "copy", "--jsonl", stdin=pulled)
    (copy,) = objects(url, "queue", "pull", "copy")
    assert (copy["body"], copy["encoding"]) == ("/w==", "base64")
    assert (copy["headers"], copy["priority"]) == ({"a": "b"}, 8)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("nonsense", "line 2: not a JSON object"),
        ("[1]", 'with the text "body"'),
        ('{"body": 5}', 'with the text "body"'),
        ('{"body": "x", "prio": 5}', "unknown keys: prio"),
        ('{"body": "x", "priority": 12}', "from 0 to 9"),
        ('{"body": "x", "delay": "soon"}', "not a duration"),
        ('{"body": "x", "delay": 5}', "delay is text"),
        ('{"body": "x", "at": "2026-01-01"}', "no zone"),
        ('{"body": "x", "headers": {"a": 1}}', "a name and a text"),
        ('{"body": "x", "headers": "a"}', "headers"),
        ('{"body": "x!", "encoding": "base64"}', "not base64"),
        ('{"body": "x", "encoding": "latin-1"}', "utf-8 or base64"),
    ],
)
def test_a_bad_line_is_named_and_its_batch_not_stored(tmp_path: Path, line: str, said: str) -> None:
    path = tmp_path / "broker.db"
    brokerctl("queue", "create", "jobs", url=path)
    text = f'{{"body": "fine"}}\n{line}\n'.encode()
    done = brokerctl("queue", "send", "jobs", "--jsonl", url=path, stdin=text)
    assert (done.returncode, done.stdout) == (2, b"")
    assert said in done.stderr.decode()
    assert b"(0 messages were sent before)" in done.stderr
    assert objects(path, "queue", "show", "jobs")[0]["ready"] == 0


def test_how_many_were_sent_before_a_refusal_is_said(url: Path) -> None:
    ctl(url, "queue", "set", "jobs", "max_messages=700")
    done = brokerctl("queue", "send", "jobs", "--lines", url=url, stdin=b"x\n" * 1500)
    assert done.returncode == 8
    assert len(done.stdout.split()) == 500
    assert b"(500 messages were sent before)" in done.stderr
    assert objects(url, "queue", "show", "jobs")[0]["ready"] == 500


@pytest.mark.parametrize("source", ["file", "pipe"])
def test_a_terminal_sees_how_far_it_is(tmp_path: Path, source: str) -> None:
    path = tmp_path / "broker.db"
    brokerctl("queue", "create", "jobs", url=path)
    (tmp_path / "lines").write_bytes(b"x\n" * 1200)
    arguments = "--file lines" if source == "file" else ""
    line = f"{' '.join(PROGRAM)} queue send jobs --lines {arguments}"
    terminal = pexpect.spawn(
        "bash", ["-c", line if source == "file" else f"cat lines | {line}"], encoding="utf-8",
        timeout=60, env=environment(BROKER_URL=str(path), TERM="xterm"), cwd=tmp_path,
        dimensions=(50, 160),
    )  # fmt: skip
    terminal.expect("100%" if source == "file" else "1200 messages")
    terminal.expect("1200 messages sent")
    terminal.expect(pexpect.EOF)
    terminal.close()
    assert terminal.exitstatus == 0


# --- consuming -------------------------------------------------------------------


def test_consume_writes_and_acknowledges_until_nothing_comes(url: Path) -> None:
    ctl(url, "queue", "send", "jobs", "--lines", stdin=b"1\n2\n3\n")
    assert ctl(url, "queue", "consume", "jobs", "--wait", "100ms") == "1\n2\n3\n"
    (shown,) = objects(url, "queue", "show", "jobs")
    assert (shown["ready"], shown["leased"]) == (0, 0)
    assert brokerctl("queue", "consume", "none", "--wait", "1ms", url=url).returncode == 4


def test_an_interrupted_consumer_leaves_nothing_leased(url: Path) -> None:
    ctl(url, "queue", "send", "jobs", "--lines", stdin=b"1\n2\n3\n")
    process = subprocess.Popen(
        [*PROGRAM, "queue", "consume", "jobs", "--prefetch", "2"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment(BROKER_URL=str(url)),
    )  # fmt: skip
    assert process.stdout is not None
    for expected in (b"1\n", b"2\n", b"3\n"):
        assert process.stdout.readline() == expected
    ctl(url, "queue", "send", "jobs", "4")
    assert process.stdout.readline() == b"4\n"
    process.send_signal(signal.SIGINT)
    assert process.wait(60) == 130
    process.stdout.close()
    assert process.stderr is not None
    assert b"Traceback" not in process.stderr.read()
    process.stderr.close()
    wait_until(lambda: objects(url, "queue", "show", "jobs")[0]["leased"] == 0, "nothing is leased")


def test_a_consumer_into_a_broken_pipe_gives_back_what_was_not_taken(url: Path) -> None:
    ctl(url, "queue", "send", "jobs", "--lines", stdin=b"x" * 200_000 + b"\nsecond\n")
    reader, writer = os.pipe()
    process = subprocess.Popen(
        [*PROGRAM, "queue", "consume", "jobs", "--prefetch", "2"],
        stdout=writer, stderr=subprocess.DEVNULL, env=environment(BROKER_URL=str(url)),
    )  # fmt: skip
    os.close(writer)
    assert os.read(reader, 10) == b"x" * 10
    os.close(reader)
    assert process.wait(60) == 141
    with broker.connect(str(url)) as client:
        found = [client.pull("jobs", wait_ms=30_000) for _ in range(2)]
    assert [m.attempts for m in found if m is not None] == [1, 1]
