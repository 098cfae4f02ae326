"""``brokerctl export`` and ``brokerctl import``."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator

import click

from .backup import database_path
from .bulk import opened
from .output import write_record
from .progress import Progress
from .settings import Command, Settings


@click.command("export", cls=Command)
@click.argument("target", metavar="[FILE]", required=False)
@click.option("--force", is_flag=True, help="Replace FILE if it exists.")
@click.option("--with-secrets", is_flag=True, help="Users come with the hashes of their passwords.")
@click.pass_obj
def export_(settings: Settings, target: str | None, force: bool, with_secrets: bool) -> None:
    """Write all that the database holds as lines of JSON, to FILE or stdout.

    As of one moment, with a server running or without: nobody has to wait for it.
    FILE appears once it is whole, readable by its owner alone.
    """
    from broker.service import files

    with (
        files.exported(database_path(settings), with_secrets=with_secrets) as (messages, lines),
        Progress(settings, "exporting", messages, "records") as progress,
    ):
        counted = _counted(lines, progress)
        if target is not None and target != "-":
            files.export_to_file(counted, target, replace=force)
            return
        for line in counted:
            sys.stdout.buffer.write(line)


def _counted(lines: Iterator[bytes], progress: Progress) -> Iterator[bytes]:
    for line in lines:
        yield line
        if line.startswith(b'{"kind":"message"'):
            progress.advance(1)


@click.command("import", cls=Command)
@click.argument("source", metavar="[FILE]", required=False)
@click.pass_obj
def import_(settings: Settings, source: str | None) -> None:
    """Take in what an export has written, from FILE or stdin (admins only); prints what is new.

    With a server running or without. What is there already stays as it is; one that
    was cut off is simply repeated. What was leased is ready, as if nobody had tried.
    """
    from broker.client.importing import import_lines

    path = None if source == "-" else source
    with (
        opened(path) as file,
        Progress(settings, "importing", os.fstat(file.fileno()).st_size, "records") as progress,
        settings.connect() as client,
    ):
        imported = import_lines(
            client, file, lambda batch: progress.advance(batch.size, len(batch.lines))
        )
    write_record(settings, imported)
