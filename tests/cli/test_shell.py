"""The interactive client, driven on a pseudo-terminal as a person would."""

from __future__ import annotations

import subprocess
import sys
import termios
from collections.abc import Iterator
from pathlib import Path

import pexpect
import pytest
from support import environment, running_server, wait_until

PROMPT = "broker> "


class Person:
    """Somebody at a terminal."""

    def __init__(self, url: str, home: Path) -> None:
        self.terminal = pexpect.spawn(
            sys.executable, ["-m", "broker.cli", "shell"], encoding="utf-8", timeout=60,
            dimensions=(50, 160),
            env=environment(BROKER_URL=url, HOME=str(home), TERM="dumb", XDG_STATE_HOME=str(home)),
        )  # fmt: skip

    def say(self, line: str, *answers: str) -> None:
        """Type a line at the prompt, and the answers to its questions."""
        self.terminal.expect_exact(PROMPT)
        self.terminal.sendline(line)
        for answer in answers:
            self.terminal.expect(r"\w+> ")
            self.terminal.sendline(answer)

    def press_control(self, key: str) -> None:
        """Press a key of control at the prompt, once that has taken the terminal over.

        Before, it would be a signal or an end of input, wherever the shell is then.
        """
        self.terminal.expect_exact(PROMPT)
        wait_until(self._reads_keys, "the prompt takes the terminal over")
        self.terminal.sendcontrol(key)

    def _reads_keys(self) -> bool:
        local_modes = termios.tcgetattr(self.terminal.child_fd)[3]
        return not local_modes & (termios.ISIG | termios.ICANON)

    def expect(self, text: str) -> None:
        """Wait until a text is printed."""
        self.terminal.expect_exact(text)


@pytest.fixture
def person(tmp_path: Path) -> Iterator[Person]:
    """Somebody at a terminal, with an own database."""
    subprocess.run(
        [sys.executable, "-m", "broker.cli", "queue", "create", "first"], check=True,
        env=environment(BROKER_URL=str(tmp_path / "broker.db")), stdout=subprocess.DEVNULL,
    )  # fmt: skip
    someone = Person(str(tmp_path / "broker.db"), tmp_path)
    yield someone
    someone.terminal.close(force=True)


def do_everything(person: Person) -> None:
    """Go through every line of the menu."""
    person.expect("0  close")
    for line, answers, printed in [
        ("1", ["jobs"], "queue jobs is created"),
        ("1", ["jobs"], "EXISTS: the queue 'jobs' exists already"),
        ("3", [], "jobs"),
        ("4", [], "jobs"),
        ("5", ["jobs", "hello there"], "sent as message"),
        ("6", ["jobs"], "hello there"),
        ("6", ["jobs"], "the queue jobs is empty"),
        ("6", ["nowhere"], "NOTFOUND: there is no queue 'nowhere'"),
        ("2", ["jobs"], "queue jobs is deleted, with 0 messages"),
        ("7", ["news"], "channel news is created"),
        ("9", [], "news"),
        ("10", [], "news"),
        ("11", [], "you are subscribed to no channels"),
        ("12", ["news", "x"], "DENIED: only subscribers publish to 'news'"),
        ("15", ["news"], "NOTFOUND: you are not subscribed to 'news'"),
        ("13", ["news"], "subscribed to news"),
        ("11", [], "news"),
        ("12", ["news", "big news"], "published as message"),
        ("15", ["news"], "big news"),
        ("15", ["news"], "nothing new in news"),
        ("14", ["news"], "unsubscribed from news, 0 messages waited"),
        ("8", ["news"], "channel news is deleted"),
        ("16", [], "admin"),
        ("99", [], "1 to 16"),
        ("queue create typed", [], "typed"),
        ("queue show typed --json", [], '"name": "typed"'),
        ("queue pull typed", [], "no message"),
        ("queue snd", [], "did you mean send"),
        ("queue 'list", [], "No closing quotation"),
        ("?", [], "show my queues"),
    ]:
        person.say(line, *answers)
        person.expect(printed)


def test_every_line_of_the_menu(person: Person, tmp_path: Path) -> None:
    do_everything(person)
    person.press_control("c")
    person.say("0")
    person.expect("closed")
    person.terminal.expect(pexpect.EOF)
    person.terminal.wait()
    assert person.terminal.exitstatus == 0
    assert (tmp_path / "broker" / "history").stat().st_mode & 0o777 == 0o600


def test_the_end_of_input_closes(person: Person) -> None:
    person.press_control("d")
    person.expect("closed")
    person.terminal.wait()
    assert person.terminal.exitstatus == 0


def test_over_tcp_it_asks_for_user_and_password(tmp_path: Path) -> None:
    with running_server(tmp_path / "broker.db", "--socket", "none") as server:
        someone = Person(f"broker://127.0.0.1:{server.port}", tmp_path)
        someone.expect("user> ")
        someone.terminal.sendline("henry")
        someone.expect("Password: ")
        someone.terminal.sendline("secret words")
        do_everything(someone)
        someone.say("close")
        someone.expect("closed")
        someone.terminal.wait()
        assert someone.terminal.exitstatus == 0
        history = (tmp_path / "broker" / "history").read_text()
        assert "secret" not in history
    someone.terminal.close()


def test_without_a_terminal_it_takes_lines(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "broker.cli", "shell"],
        input="1\njobs\n5\njobs\nhello\nqueue pull jobs\nclose\n", text=True, capture_output=True,
        env=environment(BROKER_URL=str(tmp_path / "broker.db")), timeout=60,
    )  # fmt: skip
    assert done.returncode == 0
    assert "hello" in done.stdout
    assert done.stderr == ""
