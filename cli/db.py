"""``brokerctl db``: the database file itself."""

from __future__ import annotations

import os

import click

from broker.errors import Invalid, NotFound

from .output import write_value
from .settings import Group, Settings


@click.group(cls=Group)
def db() -> None:
    """The database file; not while a server owns it."""


@db.command()
@click.pass_obj
def upgrade(settings: Settings) -> None:
    """Bring a database to this version's schema, after a back-up; prints the revision."""
    from broker.store import schema

    path = _path(settings)
    schema.upgrade_file(path, settings.timeout_ms / 1000)
    write_value(settings, "revision", schema.HEAD)


@db.command()
@click.pass_obj
def current(settings: Settings) -> None:
    """Print the revision of a database."""
    from broker.store import schema

    revision = schema.revision_of_file(_path(settings), settings.timeout_ms / 1000)
    write_value(settings, "revision", revision or "empty")


def _path(settings: Settings) -> str:
    from broker import config

    address = config.locate(settings.url)
    if address.kind != "file":
        raise Invalid(f"{address} is no database: give the path of one")
    if not os.path.exists(address.path):
        raise NotFound(f"there is no database {address.path}")
    return address.path
