"""``brokerctl backup`` and ``brokerctl restore``."""

from __future__ import annotations

import os

import click

from broker.errors import Invalid

from .output import write_record
from .progress import Progress
from .settings import Command, Settings


@click.command(cls=Command)
@click.argument("target", metavar="FILE")
@click.option("--force", is_flag=True, help="Replace FILE if it exists.")
@click.pass_obj
def backup(settings: Settings, target: str, force: bool) -> None:
    """Copy the database to FILE, as it is at this moment; prints what the copy holds.

    With a server running or without: nobody has to wait for it. The copy is verified
    and synced before it appears under its name, and readable by its owner alone.
    """
    from broker.service import files

    database = database_path(settings)
    size = os.path.getsize(database) if os.path.exists(database) else 0
    with Progress(settings, "copying", size, "bytes") as progress:
        contents = files.back_up(database, target, replace=force, progress=progress.at)
    write_record(settings, contents)


@click.command(cls=Command)
@click.argument("source", metavar="BACKUP")
@click.argument("target", metavar="TO")
@click.option(
    "--dry-run", is_flag=True, help="Verify it and print what would be there; make nothing."
)
@click.pass_obj
def restore(settings: Settings, source: str, target: str, dry_run: bool) -> None:
    """Make a database of a back-up where there is none; prints what it holds.

    It is verified first, and upgraded if it is of an older revision.
    """
    from broker.service import files

    contents = files.restore(source, target, dry_run=dry_run, timeout_s=settings.timeout_ms / 1000)
    write_record(settings, contents)
    if dry_run:
        settings.remark("a dry run: nothing was made")


def database_path(settings: Settings) -> str:
    """Return the path of the database the settings name.

    Raises:
        Invalid: they name a server by its door.
    """
    from broker import config

    address = config.locate(settings.url)
    if address.kind != "file":
        raise Invalid(f"{address} is no database: give the path of one")
    return address.path
