"""What only the asyncio client has: pipelines, cancellation, its stub."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from support import ServerProcess, running_server

import broker
import broker.aio

ROOT = Path(__file__).resolve().parent.parent.parent


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A server that the tests of the module share."""
    with running_server(tmp_path_factory.mktemp("aio") / "broker.db") as running:
        yield running


def connect(server: ServerProcess) -> broker.aio.AsyncClient:
    return broker.aio.connect(f"broker+unix://{server.socket}")


def test_calls_of_many_tasks_share_a_connection_and_commits(server: ServerProcess) -> None:
    async def main() -> None:
        async with connect(server) as client:
            await client.create_queue("many")
            before = await client.status()
            sent = await asyncio.gather(*(client.send("many", b"%d" % n) for n in range(500)))
            after = await client.status()
            assert len({answer.id for answer in sent}) == 500
            assert after.connections == before.connections
            assert after.commits - before.commits < 250
            bodies = [m.body for m in await client.pull_many("many", 1000)]
            assert bodies == [b"%d" % n for n in range(500)]

    asyncio.run(main())


def test_a_waiting_pull_holds_nobody_up_and_cancelled_it_takes_nothing(
    server: ServerProcess,
) -> None:
    async def main() -> None:
        async with connect(server) as client:
            await client.create_queue("cancelled")
            waiting = asyncio.create_task(client.pull("cancelled", wait_ms=60_000))
            while (await client.status()).waiting_pulls == 0:
                await asyncio.sleep(0.01)
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting
            while (await client.status()).waiting_pulls:
                await asyncio.sleep(0.01)
            await client.send("cancelled", b"kept")
            message = await client.pull("cancelled")
            assert message is not None
            assert message.attempts == 1

    asyncio.run(main())


def test_a_cancelled_pull_gives_back_what_it_would_have_brought(server: ServerProcess) -> None:
    async def main() -> None:
        async with connect(server) as client:
            await client.create_queue("given")
            await client.send("given", b"back")
            pulling = asyncio.create_task(client.pull("given"))
            # One turn of the loop: the request is out, the reply is not in.
            await asyncio.sleep(0)
            pulling.cancel()
            with pytest.raises(asyncio.CancelledError):
                await pulling
            message = await client.pull("given", wait_ms=30_000, lease_ms=60_000)
            assert message is not None
            assert message.attempts == 1
            assert (await client.show_queue("given")).ready == 0

    asyncio.run(main())


def test_a_database_is_found_through_its_server_and_without_one_refused(
    server: ServerProcess, tmp_path: Path
) -> None:
    async def main() -> None:
        async with broker.aio.connect(server.socket.removesuffix(".sock")) as client:
            assert (await client.whoami()).admin
        async with broker.aio.connect(str(tmp_path / "none.db")) as client:
            with pytest.raises(broker.Unavailable, match="no server"):
                await client.whoami()

    asyncio.run(main())


def test_nobody_at_the_door_is_unavailable_after_the_timeout(tmp_path: Path) -> None:
    async def main() -> None:
        url = f"broker+unix://{tmp_path}/nobody.sock"
        async with broker.aio.connect(url, timeout_s=0.2) as client:
            with pytest.raises(broker.Unavailable, match="no server answers"):
                await client.whoami()

    asyncio.run(main())


def test_the_stub_is_what_the_methods_make() -> None:
    made = subprocess.run(
        [sys.executable, str(ROOT / "scripts" / "make-aio-stub"), "--print"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert (ROOT / "broker" / "aio.pyi").read_text() == made.stdout, "run scripts/make-aio-stub"
