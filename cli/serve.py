"""``brokerctl serve``."""

from __future__ import annotations

import gc
import os

import click

from broker import config
from broker.errors import Invalid
from broker.names import LARGEST_MESSAGE_BYTES
from broker.server.main import run
from broker.server.options import Options

from .settings import Command, Settings


@click.command(cls=Command, prints=False)
@click.option(
    "--listen", multiple=True, metavar="HOST:PORT",
    help="A TCP door; may be repeated; port 0 is any free one (default: 127.0.0.1:6470).",
)  # fmt: skip
@click.option("--no-listen", is_flag=True, help="No TCP door.")
@click.option(
    "--socket", metavar="PATH|none",
    help="The Unix socket (default: the database's path with .sock at its end).",
)  # fmt: skip
@click.option(
    "--socket-mode", default="0600", metavar="MODE", show_default=True,
    help="Permissions of the socket, octal.",
)  # fmt: skip
@click.option("--socket-group", metavar="GROUP", help="The group the socket is given to.")
@click.option("--database", metavar="PATH", help="The database (default: as --url says).")
@click.option(
    "--registration", type=click.Choice(["open", "closed"]),
    help="Whether an unknown name that logs in becomes a user "
    "(default: open while every TCP door is on loopback).",
)  # fmt: skip
@click.option(
    "--max-message-bytes", type=click.IntRange(1, LARGEST_MESSAGE_BYTES), metavar="N",
    help="The largest body (default: 1 MiB).",
)  # fmt: skip
@click.option(
    "--log-level", type=click.Choice(["debug", "info", "warning", "error"]), default="info",
    show_default=True, help="What to log on stderr.",
)  # fmt: skip
@click.pass_obj
def serve(
    settings: Settings,
    listen: tuple[str, ...],
    no_listen: bool,
    socket: str | None,
    socket_mode: str,
    socket_group: str | None,
    database: str | None,
    registration: str | None,
    max_message_bytes: int | None,
    log_level: str,
) -> int:
    """Run the server: it owns the database for its life, and ends at SIGTERM or SIGINT.

    Prints one line for each door once it accepts.
    """
    if no_listen and listen:
        raise click.UsageError("--listen and --no-listen exclude each other")
    path = _database(database or settings.url)
    doors = tuple(config.parse_host(place) for place in listen)
    if not listen and not no_listen:
        doors = Options._field_defaults["listen"]
    options = Options(
        path,
        listen=doors,
        socket=None if socket == "none" else os.path.abspath(socket or config.socket_path(path)),
        socket_mode=_mode(socket_mode),
        socket_group=socket_group,
        registration=None if registration is None else registration == "open",
        max_message_bytes=config.max_message_bytes(max_message_bytes),
    )
    if not options.listen and options.socket is None:
        raise click.UsageError("without --listen and --socket nobody could come in")
    gc.enable()
    return run(
        options,
        announce=lambda door: click.echo(f"listening {door}"),
        log_level=log_level,
    )


def _database(url: str | None) -> str:
    address = config.locate(url)
    if address.kind != "file":
        raise Invalid(f"{address} is no database: give the path of one")
    if address.is_default:
        config.make_default_folder(address.path)
    return address.path


def _mode(text: str) -> int:
    try:
        mode = int(text, 8)
    except ValueError:
        mode = -1
    if not 0 <= mode <= 0o777:
        raise Invalid(f"not permissions in octal: {text[:20]!r}; write 0600 or 0660")
    return mode
