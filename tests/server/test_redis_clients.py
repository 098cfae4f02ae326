"""Redis clients of other makers are clients of ours."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry
from support import ServerProcess, environment

PASSWORD = "correct horse"


def everything(call: Callable[..., str], prefix: str) -> None:
    """Do all that a user can do; ``call`` takes words and returns the reply as text.

    A refusal is text too, with its code or its reason in it.
    """
    queue, channel = f"{prefix}q", f"{prefix}c"
    assert "OK" in call("QUEUE", "CREATE", queue)
    assert "exists already" in call("QUEUE", "CREATE", queue)
    assert queue in call("QUEUE", "LIST", "MINE")
    assert queue in call("QUEUE", "LIST")
    assert call("QUEUE", "SEND", queue, "hello world").strip().isdigit()
    assert "hello world" in call("QUEUE", "PULL", queue, "NOACK")
    assert "hello world" not in call("QUEUE", "PULL", queue)
    assert "there is no queue" in call("QUEUE", "PULL", f"{queue}.missing")
    assert "0" in call("QUEUE", "DELETE", queue)
    assert "OK" in call("CHANNEL", "CREATE", channel)
    assert channel in call("CHANNEL", "LIST", "MINE")
    assert channel in call("CHANNEL", "LIST")
    assert channel not in call("CHANNEL", "LIST", "SUBSCRIBED")
    assert "only subscribers" in call("CHANNEL", "PUBLISH", channel, "unheard")
    assert "not subscribed" in call("CHANNEL", "PULL", channel)
    assert "OK" in call("CHANNEL", "SUBSCRIBE", channel)
    assert channel in call("CHANNEL", "LIST", "SUBSCRIBED")
    assert call("CHANNEL", "PUBLISH", channel, "great news").strip().isdigit()
    assert "great news" in call("CHANNEL", "PULL", channel, "NOACK")
    assert "great news" not in call("CHANNEL", "PULL", channel)
    assert "0" in call("CHANNEL", "UNSUBSCRIBE", channel)
    assert "0" in call("CHANNEL", "DELETE", channel)


@pytest.mark.parametrize("protocol", [2, 3])
@pytest.mark.parametrize("decode", [False, True])
def test_redis_py_does_everything(server: ServerProcess, protocol: int, decode: bool) -> None:
    with redis.Redis(
        port=server.port, username="rosa", password=PASSWORD, protocol=protocol,
        decode_responses=decode,
    ) as client:  # fmt: skip

        def call(*words: str) -> str:
            try:
                return str(client.execute_command(*words))
            except redis.ResponseError as refusal:
                return str(refusal)

        everything(call, f"rosa{protocol}{decode}.")


@pytest.mark.parametrize("protocol", [2, 3])
@pytest.mark.parametrize("decode", [False, True])
def test_redis_py(server: ServerProcess, protocol: int, decode: bool) -> None:
    queue = f"py{protocol}{decode}"
    with redis.Redis(
        port=server.port, username="pia", password=PASSWORD, protocol=protocol,
        decode_responses=decode,
    ) as client:  # fmt: skip
        assert client.ping()
        assert client.execute_command("QUEUE CREATE", queue) in (b"OK", "OK", True)
        pipeline = client.pipeline(transaction=False)
        for number in range(100):
            pipeline.execute_command("QUEUE SEND", queue, f"body {number}", "PRIORITY", number % 10)
        ids = pipeline.execute()
        assert len(set(ids)) == 100
        message = client.execute_command("QUEUE PULL", queue)
        if protocol == 2:
            message = dict(zip(message[::2], message[1::2], strict=True))

        def text(value: str | bytes) -> str:
            return value if isinstance(value, str) else value.decode()

        message = {text(key): value for key, value in message.items()}
        assert text(message["body"]) == "body 9"
        assert message["attempts"] == 1
        client.execute_command("MESSAGE ACK", message["receipt"])
        with pytest.raises(redis.ResponseError, match="lease"):
            client.execute_command("MESSAGE ACK", message["receipt"])
        assert len(client.execute_command("QUEUE PULL", queue, "COUNT", 1000, "NOACK")) == 99
        assert client.execute_command("QUEUE PULL", queue) is None
        assert client.execute_command("QUEUE DELETE", queue) == 0


def test_a_wrong_password_is_an_authentication_error(server: ServerProcess) -> None:
    with redis.Redis(port=server.port, username="quinn", password=PASSWORD) as client:
        client.ping()
    with (
        redis.Redis(
            port=server.port, username="quinn", password="no", retry=Retry(NoBackoff(), 0)
        ) as client,
        pytest.raises(redis.RedisError, match=r"wrong user name|WRONGPASS"),
    ):
        client.ping()


@pytest.mark.parametrize("version", ["-2", "-3"])
def test_redis_cli(
    server: ServerProcess, needs_program: Callable[[str], str], version: str
) -> None:
    program = needs_program("redis-cli")

    def run(*arguments: str) -> str:
        done = subprocess.run(
            [program, version, "-s", server.socket, *arguments],
            capture_output=True, text=True, timeout=60, check=True,
        )  # fmt: skip
        return done.stdout

    everything(run, f"cli{version}.")
    assert "NOTFOUND" in run("QUEUE", "PULL", "nowhere")


IOREDIS = """
const Redis = require("ioredis");
const client = new Redis({port: Number(process.argv[2]), username: "nora", password: "x"});
(async () => {
  await client.call("QUEUE", "CREATE", "node", "IFMISSING");
  const sends = [];
  for (let n = 0; n < 50; n++) sends.push(client.call("QUEUE", "SEND", "node", "body " + n));
  const ids = await Promise.all(sends);
  const pulled = await client.call("QUEUE", "PULL", "node", "COUNT", "50", "NOACK");
  console.log(JSON.stringify({ids: new Set(ids).size, pulled: pulled.length, body: pulled[0][5]}));
  client.disconnect();
})().catch((error) => { console.error(error); process.exit(1); });
"""


def test_ioredis(
    server: ServerProcess, needs_program: Callable[[str], str],
    tmp_path_factory: pytest.TempPathFactory,
) -> None:  # fmt: skip
    node, npm = needs_program("node"), needs_program("npm")
    folder: Path = tmp_path_factory.mktemp("node")
    installed = subprocess.run(
        [npm, "install", "--silent", "--no-audit", "--no-fund", "ioredis"],
        cwd=folder, capture_output=True, text=True, env=environment(), timeout=300,
    )  # fmt: skip
    if installed.returncode:
        if os.environ.get("BROKER_REQUIRE_PROGRAMS") == "1":
            pytest.fail(installed.stderr)
        pytest.skip(f"ioredis cannot be installed here: {installed.stderr[-200:]}")
    (folder / "client.js").write_text(IOREDIS)
    done = subprocess.run(
        [node, "client.js", str(server.port)],
        cwd=folder, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.stdout == '{"ids":50,"pulled":50,"body":"body 0"}\n', done.stderr
