"""Databases where none can be used: each is one clear line, and left as it was."""

from __future__ import annotations

import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support import brokerctl, environment

import broker

VERBS = (
    ["queue", "list"], ["queue", "create", "more"], ["queue", "send", "jobs", "x"],
    ["queue", "pull", "jobs"], ["db", "upgrade"],
)  # fmt: skip


@pytest.fixture
def url(tmp_path: Path) -> Path:
    """A database with a queue ``jobs`` that holds a message."""
    path = tmp_path / "broker.db"
    with broker.connect(str(path)) as client:
        client.create_queue("jobs")
        client.send("jobs", b"kept")
    return path


def assert_is_refused(
    done: subprocess.CompletedProcess[bytes], statuses: set[int], said: str = ""
) -> None:
    assert done.returncode in statuses, done.stderr
    assert done.stdout == b""
    assert done.stderr.startswith(b"brokerctl: ")
    assert done.stderr.count(b"\n") == 1
    assert said in done.stderr.decode()


@pytest.mark.parametrize("verb", VERBS)
def test_a_database_of_a_newer_version_is_left_as_it_is(url: Path, verb: list[str]) -> None:
    connection = sqlite3.connect(url)
    connection.execute("UPDATE broker_version SET version_num = '9999'")
    connection.commit()
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
    before = url.read_bytes()
    assert_is_refused(brokerctl(*verb, url=url), {2}, "newer version")
    assert url.read_bytes() == before
    assert brokerctl("db", "current", url=url).stdout == b"9999\n"


@pytest.mark.parametrize("verb", VERBS)
def test_the_database_of_another_program_is_left_as_it_is(tmp_path: Path, verb: list[str]) -> None:
    path = tmp_path / "other.db"
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE notes (text)")
    connection.execute("INSERT INTO notes VALUES ('mine')")
    connection.commit()
    connection.close()
    assert_is_refused(brokerctl(*verb, url=path), {2}, "another program")
    connection = sqlite3.connect(path)
    assert connection.execute("SELECT name, text FROM sqlite_master, notes").fetchall() == [
        ("notes", "mine")
    ]
    connection.close()


@pytest.mark.parametrize("verb", VERBS)
def test_what_is_no_file_is_refused(tmp_path: Path, verb: list[str]) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    assert_is_refused(brokerctl(*verb, url=folder), {2, 7})
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("verb", VERBS)
def test_a_folder_that_is_not_there_is_said(tmp_path: Path, verb: list[str]) -> None:
    assert_is_refused(brokerctl(*verb, url=tmp_path / "none" / "broker.db"), {4}, "none")
    assert not (tmp_path / "none").exists()


def test_only_creating_commands_make_a_database(tmp_path: Path) -> None:
    path = tmp_path / "broker.db"
    for verb in (["queue", "list"], ["queue", "send", "jobs", "x"], ["whoami"], ["db", "current"]):
        assert_is_refused(brokerctl(*verb, url=path), {4}, "no database")
        assert not path.exists()
    assert brokerctl("channel", "create", "news", url=path).returncode == 0


def without_privileges(*arguments: str, url: Path) -> subprocess.CompletedProcess[bytes]:
    """Run a command that permissions bind, even where the tests run as root."""
    setpriv = shutil.which("setpriv")
    if setpriv is None:
        pytest.skip("there is no setpriv here, to bind root by permissions")
    return subprocess.run(
        [setpriv, "--bounding-set", "-dac_override,-dac_read_search", "--",
         sys.executable, "-m", "broker.cli", *arguments],
        stdin=subprocess.DEVNULL, capture_output=True, timeout=60,
        env=environment(BROKER_URL=str(url)),
    )  # fmt: skip


@pytest.mark.parametrize("verb", [["queue", "list"], ["queue", "send", "jobs", "x"]])
def test_a_database_one_may_not_write_is_said(url: Path, verb: list[str]) -> None:
    lock = url.with_name("broker.db.lock")
    lock.chmod(0o000)
    assert_is_refused(without_privileges(*verb, url=url), {6, 7}, "broker.db.lock")
    lock.chmod(0o600)
    assert without_privileges("queue", "show", "jobs", url=url).returncode == 0
    url.chmod(0o400)
    assert_is_refused(without_privileges(*verb, url=url), {6, 7}, "broker.db")


def test_a_folder_one_may_not_write_is_said(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir(0o500)
    done = without_privileges("queue", "create", "jobs", url=folder / "broker.db")
    folder.chmod(0o700)
    assert_is_refused(done, {6, 7}, "Permission denied")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Callable[[str], None]]:
    """Mount a disk of some size at ``disk``, anew with each call."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = False

    def mount(options: str) -> None:
        nonlocal mounted
        done = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)], capture_output=True
        )
        if done.returncode:
            pytest.skip("nothing may be mounted here")
        mounted = True

    yield mount
    if mounted:
        subprocess.run(["umount", str(folder)], check=True)


def fill_up(folder: Path) -> Path:
    filling = folder / "filling"
    with filling.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(65536))
        except OSError:
            return filling


def test_a_full_disk_is_said_and_loses_nothing(
    tmp_path: Path, small_disk: Callable[[str], None]
) -> None:
    small_disk("size=40m")
    folder = tmp_path / "disk"
    url = folder / "broker.db"
    assert brokerctl("queue", "create", "jobs", url=url).returncode == 0
    assert brokerctl("queue", "send", "jobs", "kept", url=url).returncode == 0
    filling = fill_up(folder)
    assert_is_refused(brokerctl("queue", "send", "jobs", "more", url=url), {7, 8})
    filling.unlink()
    assert brokerctl("queue", "pull", "jobs", url=url).stdout == b"kept"
    assert brokerctl("queue", "pull", "jobs", url=url).returncode == 3


def test_no_room_for_a_new_database_is_said(
    tmp_path: Path, small_disk: Callable[[str], None]
) -> None:
    small_disk("size=1m")
    filling = fill_up(tmp_path / "disk")
    url = tmp_path / "disk" / "broker.db"
    assert_is_refused(brokerctl("queue", "create", "jobs", url=url), {8})
    filling.unlink()
    assert brokerctl("queue", "create", "jobs", url=url).returncode == 0


def test_a_read_only_disk_is_said(tmp_path: Path, small_disk: Callable[[str], None]) -> None:
    small_disk("size=40m")
    folder = tmp_path / "disk"
    url = folder / "broker.db"
    assert brokerctl("queue", "create", "jobs", url=url).returncode == 0
    subprocess.run(["mount", "-o", "remount,ro", str(folder)], check=True)
    for verb in VERBS:
        assert_is_refused(brokerctl(*verb, url=url), {6, 7}, "Read-only file system")
