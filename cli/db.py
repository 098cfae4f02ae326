"""``brokerctl db``: the database file itself."""

from __future__ import annotations

import os

import click

from broker.errors import NotFound

from .backup import database_path
from .output import write_record, write_value
from .settings import Group, Settings


@click.group(cls=Group)
def db() -> None:
    """The database file itself."""


@db.command()
@click.pass_obj
def upgrade(settings: Settings) -> None:
    """Bring a database to this version's schema, after a back-up; prints the revision.

    Not while a server owns it, and hardly needed: its next use does the same.
    """
    from broker.store import schema

    path = _existing(settings)
    schema.upgrade_file(path, settings.timeout_ms / 1000)
    write_value(settings, "revision", schema.HEAD)


@db.command()
@click.pass_obj
def current(settings: Settings) -> None:
    """Print the revision of a database; not while a server owns it."""
    from broker.store import schema

    revision = schema.revision_of_file(_existing(settings), settings.timeout_ms / 1000)
    write_value(settings, "revision", revision or "empty")


@db.command()
@click.pass_obj
def check(settings: Settings) -> int:
    """Look for damage, wrong counters and orphans; prints what there is, or the problems.

    It looks at a temporary copy, so nobody has to wait for it, with a server running
    or without. Exit 1 if something is wrong.
    """
    from broker.service import files

    checked = files.check(database_path(settings))
    for problem in checked.problems:
        write_value(settings, "problem", problem)
    if checked.problems:
        settings.remark(f"{len(checked.problems)} problems")
        return 1
    write_record(settings, checked.contents)
    return 0


@db.command()
@click.pass_obj
def compact(settings: Settings) -> None:
    """Give what is free in the file back, in use or not (admins only); prints the bytes.

    It goes in slices of a few milliseconds, so nobody has to wait for it.
    """
    with settings.connect() as client:
        given_back = client.compact()
    write_value(settings, "given_back", given_back)


def _existing(settings: Settings) -> str:
    path = database_path(settings)
    if not os.path.exists(path):
        raise NotFound(f"there is no database {path}")
    return path
