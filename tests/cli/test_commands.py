"""brokerctl, as cron and the shell use it: what it prints, where, and what it exits with."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from support import brokerctl, environment, running_server

from broker.names import DEFAULT_MAX_MESSAGE_BYTES


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A database with a queue ``jobs``, and no server."""
    path = tmp_path / "broker.db"
    done = brokerctl("queue", "create", "jobs", url=path)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"jobs\n", b"")
    return path


@pytest.fixture(params=["embedded", "served"])
def url(request: pytest.FixtureRequest, file: Path) -> Iterator[Path]:
    """The same, without a server and with one: no command may tell the difference."""
    if request.param == "embedded":
        yield file
        return
    with running_server(file):
        yield file


def test_a_message_goes_in_and_comes_out_unchanged(url: Path) -> None:
    body = bytes(range(256)) * 300
    sent = brokerctl("queue", "send", "jobs", url=url, stdin=body)
    assert sent.returncode == 0
    assert re.fullmatch(rb"\d+\n", sent.stdout)
    pulled = brokerctl("queue", "pull", "jobs", url=url)
    assert (pulled.returncode, pulled.stdout, pulled.stderr) == (0, body, b"")
    empty = brokerctl("queue", "pull", "jobs", url=url)
    assert (empty.returncode, empty.stdout, empty.stderr) == (3, b"", b"no message\n")
    assert brokerctl("queue", "pull", "jobs", "--quiet", url=url).stderr == b""


def test_a_body_comes_from_the_argument_a_file_or_stdin(url: Path, tmp_path: Path) -> None:
    (tmp_path / "body").write_bytes(b"from a file")
    assert brokerctl("queue", "send", "jobs", "as typed", url=url).returncode == 0
    assert brokerctl("queue", "send", "jobs", "-", url=url, stdin=b"dash").returncode == 0
    sent = brokerctl("queue", "send", "jobs", "--file", str(tmp_path / "body"), url=url)
    assert sent.returncode == 0
    both = brokerctl("queue", "send", "jobs", "x", "--file", str(tmp_path / "body"), url=url)
    assert both.returncode == 2
    missing = brokerctl("queue", "send", "jobs", "--file", "/nowhere/at/all", url=url)
    assert missing.returncode == 2
    pulled = brokerctl("queue", "pull", "jobs", "--count", "9", url=url)
    assert pulled.stdout == b"as typed\ndash\nfrom a file\n"


def test_json_has_the_documented_keys(url: Path) -> None:
    brokerctl(
        "queue", "send", "jobs", "--header", "a=b=c", "--content-type", "text/plain",
        "--priority", "6", url=url, stdin=b"\xff\xfe",
    )  # fmt: skip
    pulled = brokerctl("--json", "queue", "pull", "jobs", "--lease", "1m", url=url)
    message = json.loads(pulled.stdout)
    assert list(message) == [
        "id", "queue", "body", "encoding", "content_type", "headers", "sender", "sent_at",
        "attempts", "priority", "receipt", "leased_until", "died",
    ]  # fmt: skip
    assert (message["body"], message["encoding"]) == ("//4=", "base64")
    assert (message["headers"], message["priority"]) == ({"a": "b=c"}, 6)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", message["sent_at"])
    shown = json.loads(brokerctl("queue", "show", "jobs", "--json", url=url).stdout)
    assert list(shown) == [
        "name", "owner", "created_at", "ready", "delayed", "leased", "dead", "bytes",
        "oldest_ready_ms", "dropped", "paused", "max_attempts", "dead_letter", "backoff", "ttl",
        "on_expire", "max_messages", "max_bytes", "on_full", "expire_idle",
    ]  # fmt: skip
    assert shown["leased"] == 1
    receipt = message["receipt"]
    assert brokerctl("message", "extend", receipt, "--lease", "5m", url=url).returncode == 0
    assert brokerctl("message", "ack", receipt, url=url).returncode == 0
    again = brokerctl("message", "ack", receipt, "--json", url=url)
    assert again.returncode == 9
    assert json.loads(again.stderr)["error"] == "STALE"


def test_receipts_answer_each_and_the_first_refusal_decides(url: Path) -> None:
    for body in ("a", "b"):
        brokerctl("queue", "send", "jobs", body, url=url)
    pulled = brokerctl("queue", "pull", "jobs", "--count", "2", "--lease", "1m", "--json", url=url)
    first, second = (json.loads(line)["receipt"] for line in pulled.stdout.splitlines())
    done = brokerctl("message", "ack", first, "1.77", second, url=url)
    assert done.returncode == 9
    assert done.stderr.count(b"\n") == 1
    assert brokerctl("queue", "delete", "jobs", "--if-empty", url=url).returncode == 0


def test_without_lease_a_pull_acknowledges(url: Path) -> None:
    brokerctl("queue", "send", "jobs", "x", url=url)
    brokerctl("queue", "pull", "jobs", url=url)
    shown = json.loads(brokerctl("queue", "show", "jobs", "--json", url=url).stdout)
    assert (shown["ready"], shown["leased"]) == (0, 0)


def test_lists_are_tab_separated_in_a_pipe_and_empty_ones_say_so(url: Path) -> None:
    line = brokerctl("queue", "list", url=url).stdout.decode().rstrip("\n").split("\t")
    assert line[0] == "jobs"
    assert line[3:9] == ["0", "0", "0", "0", "0", ""]
    empty = brokerctl("channel", "list", url=url)
    assert (empty.returncode, empty.stdout, empty.stderr) == (0, b"", b"no channels\n")


def test_channels_from_the_shell(url: Path) -> None:
    assert brokerctl("channel", "create", "news", url=url).stdout == b"news\n"
    assert brokerctl("channel", "publish", "news", "x", url=url).returncode == 6
    assert brokerctl("channel", "pull", "news", url=url).returncode == 4
    assert brokerctl("channel", "subscribe", "news", url=url).returncode == 0
    assert brokerctl("channel", "publish", "news", "hello", url=url).returncode == 0
    assert brokerctl("channel", "pull", "news", url=url).stdout == b"hello"
    subscribed = brokerctl("channel", "list", "--subscribed", url=url).stdout
    assert subscribed.startswith(b"news\t")
    assert brokerctl("channel", "set", "news", "publish=anyone", url=url).returncode == 0
    shown = json.loads(brokerctl("channel", "show", "news", "--json", url=url).stdout)
    assert (shown["publish"], shown["subscriptions"]) == ("anyone", 1)
    assert brokerctl("channel", "set", "news", "color=red", url=url).returncode == 2
    assert brokerctl("channel", "unsubscribe", "news", url=url).stdout == b"0\n"
    assert brokerctl("channel", "delete", "news", url=url).stdout == b"0\n"


def test_users_from_the_shell(url: Path) -> None:
    me = json.loads(brokerctl("whoami", "--json", url=url).stdout)
    assert (me["uid"], me["admin"]) == (os.geteuid(), True)
    created = brokerctl("user", "create", "eve", "--password-file", "-", url=url, stdin=b"secret\n")
    assert (created.returncode, created.stdout) == (0, b"eve\n")
    assert json.loads(brokerctl("user", "show", "eve", "--json", url=url).stdout)["password"]
    brokerctl("queue", "create", "eves", "--user", "eve", url=url)
    assert brokerctl("queue", "list", "--mine", "--user", "eve", url=url).stdout[:4] == b"eves"
    assert brokerctl("queue", "delete", "jobs", "--user", "eve", url=url).returncode == 6
    assert brokerctl("user", "delete", "eve", url=url).returncode == 5
    assert brokerctl("user", "delete", "eve", "--give-to", me["name"], url=url).returncode == 0
    changed = brokerctl("user", "password", me["name"], "--password-file", "-", url=url, stdin=b"x")
    assert changed.returncode == 0
    assert brokerctl("user", "password", me["name"], url=url).returncode == 2
    long = brokerctl("user", "password", me["name"], "--password-file", "-", url=url,
                     stdin=b"x" * 73)  # fmt: skip
    assert long.returncode == 2
    empty = brokerctl("user", "create", "joe", "--password-file", "-", url=url, stdin=b"\n")
    assert empty.returncode == 2


def test_scripts_may_run_twice(url: Path) -> None:
    assert brokerctl("queue", "create", "jobs", url=url).returncode == 5
    assert brokerctl("queue", "create", "jobs", "--if-missing", url=url).returncode == 0
    assert brokerctl("queue", "delete", "nope", url=url).returncode == 4
    assert brokerctl("queue", "delete", "nope", "--if-exists", url=url).returncode == 0


def test_a_duplicate_prints_the_first_id(url: Path) -> None:
    first = brokerctl("queue", "send", "jobs", "x", "--key", "k", url=url)
    second = brokerctl("queue", "send", "jobs", "y", "--key", "k", url=url)
    assert second.stdout == first.stdout
    assert b"duplicate" in second.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["qeue"], "did you mean queue"),
        (["queue", "snd", "jobs"], "did you mean send"),
        (["queue", "list", "--mien"], "--mine"),
        (["queue", "create"], "Missing argument"),
        (["queue", "create", "a b"], "A-Z a-z 0-9"),
        (["queue", "create", "--", "-x"], "not starting with -"),
        (["queue", "send", "jobs", "x", "--priority", "12"], "12"),
        (["queue", "send", "jobs", "x", "--delay", "-5s"], "-5s"),
        (["queue", "send", "jobs", "x", "--delay", "soon"], "500ms"),
        (["queue", "send", "jobs", "x", "--header", "novalue"], "NAME=VALUE"),
        (["queue", "pull", "jobs", "--count", "0"], "0"),
        (["queue", "pull", "jobs", "--count", "1.5"], "1.5"),
        (["queue", "pull", "jobs", "--lease", "0"], "lease"),
        (["queue", "pull", "jobs", "--lease", "9s", "--no-ack"], "exclude"),
        (["message", "ack", "nonsense!"], "not a receipt"),
        (["queue", "list", "--timeout", "x"], "not a duration"),
        (["serve", "--listen", "localhost:x"], "not a port"),
        (["serve", "--listen", "localhost:99999"], "port"),
        (["serve", "--no-listen", "--socket", "none"], "come in"),
        (["serve", "--socket-mode", "9"], "octal"),
    ],
)
def test_bad_input_is_one_clear_line_and_exit_2(
    file: Path, arguments: list[str], said: str
) -> None:
    done = brokerctl(*arguments, url=file)
    assert done.returncode == 2
    assert done.stdout == b""
    assert done.stderr.count(b"\n") == 1
    assert said in done.stderr.decode()


@pytest.mark.parametrize(
    ("place", "status", "said"),
    [
        ("http://example", 2, "unknown kind of URL"),
        ("broker://a:b@localhost", 2, "password in a URL"),
        ("broker://127.0.0.1:1", 6, "user and a password"),
        ("broker+unix:///nowhere/at.sock", 7, "no server answers"),
        ("/nowhere/at/all.db", 4, "no database"),
    ],
)
def test_a_place_where_no_broker_is(place: str, status: int, said: str) -> None:
    done = brokerctl("queue", "list", "--timeout", "100ms", url=place)
    assert (done.returncode, done.stderr.count(b"\n")) == (status, 1)
    assert said in done.stderr.decode()


def test_a_missing_folder_is_said_by_a_creating_command() -> None:
    done = brokerctl("queue", "create", "jobs", url="/nowhere/at/all.db")
    assert (done.returncode, done.stderr.count(b"\n")) == (4, 1)
    assert b"/nowhere" in done.stderr


def test_a_file_that_is_no_database_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "notes"
    path.write_bytes(b"my notes " * 1000)
    done = brokerctl("queue", "create", "jobs", url=path)
    assert (done.returncode, done.stderr.count(b"\n")) == (2, 1)
    assert path.read_bytes() == b"my notes " * 1000


def test_the_default_database_is_made_with_its_folder(tmp_path: Path) -> None:
    done = brokerctl("queue", "create", "jobs", XDG_DATA_HOME=str(tmp_path / "data"))
    assert done.returncode == 0, done.stderr
    database = tmp_path / "data" / "broker" / "broker.db"
    assert database.stat().st_mode & 0o777 == 0o600
    assert database.parent.stat().st_mode & 0o777 == 0o700


def test_the_configuration_file_names_the_broker(tmp_path: Path) -> None:
    folder = tmp_path / "config" / "broker"
    folder.mkdir(parents=True)
    (folder / "config.toml").write_text(f'url = "{tmp_path}/there.db"\n')
    done = brokerctl("queue", "create", "jobs", XDG_CONFIG_HOME=str(tmp_path / "config"))
    assert done.returncode == 0
    assert (tmp_path / "there.db").exists()
    (folder / "config.toml").write_text("url = [")
    done = brokerctl("queue", "list", XDG_CONFIG_HOME=str(tmp_path / "config"))
    assert (done.returncode, done.stderr.count(b"\n")) == (2, 1)


def test_a_body_over_the_limit_is_refused(url: Path) -> None:
    done = brokerctl("queue", "send", "jobs", url=url, stdin=b"x" * (DEFAULT_MAX_MESSAGE_BYTES + 1))
    assert done.returncode == 2
    assert b"limit" in done.stderr


def run_shell(line: str, url: Path) -> subprocess.CompletedProcess[bytes]:
    """Run a line of shell in which ``brokerctl`` is the program."""
    return subprocess.run(
        ["bash", "-c", f'brokerctl() {{ "{sys.executable}" -m broker.cli "$@"; }}; {line}'],
        capture_output=True,
        env=environment(BROKER_URL=str(url)),
        timeout=60,
    )


def ready(url: Path) -> tuple[int, int]:
    shown = json.loads(brokerctl("queue", "show", "jobs", "--json", url=url).stdout)
    return shown["ready"], shown["leased"]


def test_a_broken_pipe_gives_the_message_back_uncounted(url: Path) -> None:
    brokerctl("queue", "send", "jobs", url=url, stdin=b"x" * 500_000)
    done = run_shell(
        "brokerctl queue pull jobs | head -c 10 >/dev/null; exit ${PIPESTATUS[0]}", url
    )
    assert (done.returncode, done.stderr) == (141, b"")
    assert ready(url) == (1, 0)
    pulled = json.loads(brokerctl("queue", "pull", "jobs", "--json", url=url).stdout)
    assert pulled["attempts"] == 1


def test_a_closed_stdout_pulls_nothing(url: Path) -> None:
    brokerctl("queue", "send", "jobs", "kept", url=url)
    done = run_shell("brokerctl queue pull jobs >&-", url)
    assert done.returncode != 0
    assert done.stderr.count(b"\n") == 1
    assert ready(url) == (1, 0)


def test_a_full_stdout_gives_the_message_back(url: Path) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("there is no /dev/full here")
    brokerctl("queue", "send", "jobs", "kept", url=url)
    done = run_shell("brokerctl queue pull jobs >/dev/full", url)
    assert (done.returncode, done.stderr.count(b"\n")) == (1, 1)
    assert ready(url) == (1, 0)


def test_a_closed_stdin_is_said(url: Path) -> None:
    done = run_shell("brokerctl queue send jobs <&-", url)
    assert (done.returncode, done.stderr.count(b"\n")) == (2, 1)
    assert b"stdin" in done.stderr
    assert run_shell("brokerctl queue send jobs argument <&-", url).returncode == 0


def test_a_closed_stderr_does_no_harm(file: Path) -> None:
    assert run_shell("brokerctl queue pull nope 2>&-", file).returncode == 4


def test_a_list_into_a_broken_pipe_says_nothing(url: Path) -> None:
    done = run_shell("brokerctl queue list | true; brokerctl queue list --json | head -c 1", url)
    assert done.stderr == b""


def test_status_without_a_server_is_exit_7(file: Path) -> None:
    done = brokerctl("status", url=file)
    assert (done.returncode, done.stderr.count(b"\n")) == (7, 1)


def test_the_revision_is_shown(file: Path) -> None:
    assert brokerctl("db", "current", url=file).stdout == b"0002\n"
    assert brokerctl("db", "upgrade", url=file).stdout == b"0002\n"


def test_the_version_and_the_help_cost_no_database() -> None:
    done = brokerctl("--version", url="/nowhere")
    assert re.fullmatch(rb"brokerctl \d+\.\d+\.\d+\n", done.stdout)
    for arguments in (["--help"], ["queue", "--help"], ["queue", "send", "-h"]):
        assert brokerctl(*arguments, url="/nowhere").returncode == 0


def test_a_read_only_database_is_said(file: Path, tmp_path: Path) -> None:
    if os.geteuid() == 0:
        pytest.skip("root writes to what is read-only")
    tmp_path.chmod(0o500)
    try:
        done = brokerctl("queue", "send", "jobs", "x", url=file)
    finally:
        tmp_path.chmod(0o700)
    assert done.returncode in (6, 7)
    assert done.stderr.count(b"\n") == 1


def test_a_full_disk_is_said(tmp_path: Path) -> None:
    folder = tmp_path / "small"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)], capture_output=True
    )
    if mounted.returncode:
        pytest.skip("a small file system cannot be mounted here")
    try:
        database = folder / "broker.db"
        assert brokerctl("queue", "create", "jobs", url=database).returncode == 0
        done = brokerctl("queue", "send", "jobs", "x", url=database)
        assert (done.returncode, done.stderr.count(b"\n")) == (8, 1)
        assert brokerctl("queue", "pull", "jobs", url=database).returncode == 3
        (folder / "ballast").write_bytes(b"")
        with (folder / "ballast").open("wb", buffering=0) as ballast:
            try:
                while ballast.write(b"x" * 4096):
                    pass
            except OSError:
                pass
        done = brokerctl("queue", "create", "more", url=database)
        assert (done.returncode, done.stderr.count(b"\n")) == (8, 1)
        done = brokerctl("queue", "create", "more", url=folder / "other.db")
        assert (done.returncode, done.stderr.count(b"\n")) == (8, 1)
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)
