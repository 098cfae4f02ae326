"""The documents are held to the program."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from crash.faults import FAULTS

from broker import names
from broker.commands.channel import ChannelPull
from broker.commands.dead import DeadList, DeadRetry
from broker.commands.message import MessageNack
from broker.commands.queue import QueueConsume, QueuePause, QueuePeek, QueuePull, QueueSend
from broker.commands.settings import SUBSCRIPTION_SETTINGS
from broker.commands.table import all_syntaxes, syntax_of
from broker.errors import BrokerError
from broker.protocols.resp.requests import BEFORE_LOGIN, MAX_SKIPPED
from broker.protocols.resp.session import SESSION_COMMANDS
from broker.server import connection
from broker.service import logins, writer

ROOT = Path(__file__).resolve().parent.parent.parent


def read(name: str) -> str:
    return (ROOT / name).read_text()


def test_what_is_made_from_the_program_is_as_made() -> None:
    done = subprocess.run(
        [sys.executable, str(ROOT / "scripts" / "make-docs"), "--check"],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr


def test_every_command_of_the_wire_has_its_section_and_usage() -> None:
    text = read("docs/protocol.md")
    for syntax in all_syntaxes().values():
        assert f"### {' '.join(syntax.words)}\n\n    {syntax.usage}\n" in text
    for name, command in SESSION_COMMANDS.items():
        assert f"### {name}\n\n    {command.usage}\n" in text


def test_every_error_code_is_explained_with_its_retryability() -> None:
    rows = dict(
        re.findall(r"^\| `([A-Z]+)` \| .* \| (yes|no) \|$", read("docs/protocol.md"), re.MULTILINE)
    )
    errors = {error.code: error for error in BrokerError.__subclasses__()}
    assert rows.keys() == errors.keys()
    for code, error in errors.items():
        assert rows[code] == ("yes" if error.retryable else "no"), code


def test_the_limits_in_the_server_document_are_the_constants() -> None:
    text = read("docs/server.md")
    for number in (
        names.DEFAULT_MAX_MESSAGE_BYTES,
        BEFORE_LOGIN.max_bulk,
        BEFORE_LOGIN.max_arguments,
        MAX_SKIPPED,
        connection.MAX_OUTSTANDING,
        connection.MAX_OUTSTANDING_BYTES,
        connection.MAX_CONSUMERS,
        connection.WRITE_HIGH_WATER,
        int(connection.LOGIN_SECONDS),
        writer.MAX_COMMANDS_A_SOURCE,
        writer.MAX_STORED_A_SOURCE,
        names.MAX_PULL_COUNT,
        names.MAX_PULL_BYTES,
        logins.MAX_WAITING,
        names.MIN_FREE_BYTES,
    ):
        assert re.search(rf"\b{number}\b", text), number


def test_the_tests_and_faults_that_promises_name_exist() -> None:
    text = read("docs/reliability.md")
    named = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", text)
    assert named
    for file, test in named:
        assert re.search(rf"^ *(def {test}\(|{test} = )", read(file), re.MULTILINE), (file, test)
    faults = set(re.findall(r"`([a-z]+(?:-[a-z]+)+)`", text)) - {"drop-oldest"}
    assert faults == FAULTS.keys()


def test_the_links_between_documents_lead_somewhere() -> None:
    for document in [ROOT / "README.md", ROOT / "ARCHITECTURE.md", *(ROOT / "docs").glob("*.md")]:
        for target in re.findall(r"\]\(([^)#]+)\)", document.read_text()):
            assert target.startswith("https://") or (document.parent / target).exists(), target


def test_the_python_examples_of_the_readme_run(tmp_path: Path) -> None:
    *blocking, _ = re.findall(r"```python\n(.*?)```", read("README.md"), re.DOTALL)
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", "".join(blocking)],
        capture_output=True,
        text=True,
        env={"BROKER_URL": str(tmp_path / "broker.db"), "PATH": "/usr/bin:/bin"},
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "b'resize photo 17' 1\n"


# --- docs/delivery.md ------------------------------------------------------------


def test_every_setting_and_option_of_delivery_is_explained() -> None:
    text = re.sub(r"```.*?```", "", read("docs/delivery.md"), flags=re.DOTALL)
    said = set(re.findall(r"[A-Za-z_]+", " ".join(re.findall(r"`([^`]+)`", text))))
    settings = {setting.name for setting in SUBSCRIPTION_SETTINGS}
    options = {
        option.word
        for command in (
            QueueSend, QueuePull, QueuePeek, QueuePause, QueueConsume, ChannelPull, MessageNack,
            DeadList, DeadRetry,
        )
        for option in syntax_of(command).options
    }  # fmt: skip
    assert (settings | options) - said == set()


def test_the_console_examples_of_delivery_print_what_they_say(tmp_path: Path) -> None:
    environment = {
        "BROKER_URL": str(tmp_path / "broker.db"),
        "XDG_CONFIG_HOME": str(tmp_path),
        "PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin",
    }
    sessions = re.findall(r"```console\n(.*?)```", read("docs/delivery.md"), re.DOTALL)
    assert len(sessions) == 4
    for command, said in re.findall(r"^\$ (.*)\n((?:[^$].*\n)*)", "".join(sessions), re.MULTILINE):
        done = subprocess.run(
            ["bash", "-c", command],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            text=True, env=environment,
        )  # fmt: skip
        expected = re.escape(said.strip()).replace(re.escape("..."), ".*")
        assert re.fullmatch(expected, done.stdout.strip()), (command, done.stdout)


def test_the_python_examples_of_delivery_run(tmp_path: Path) -> None:
    printed = []
    for example in re.findall(r"```python\n(.*?)```", read("docs/delivery.md"), re.DOTALL):
        done = subprocess.run(
            [sys.executable, "-W", "error", "-c", example],
            capture_output=True,
            text=True,
            env={"BROKER_URL": str(tmp_path / "broker.db"), "PATH": "/usr/bin:/bin"},
        )
        assert (done.returncode, done.stderr) == (0, "")
        printed.append(done.stdout.split("\n")[:-1])
    assert printed == [["b'1'", "b'2'", "b'3'"], ["b'bill for 17'"]]
