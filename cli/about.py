"""``brokerctl whoami`` and ``brokerctl status``."""

from __future__ import annotations

import click

from .output import write_record
from .settings import Command, Settings


@click.command(cls=Command)
@click.pass_obj
def whoami(settings: Settings) -> None:
    """Show who I am to the broker."""
    with settings.connect() as client:
        record = client.whoami()
    write_record(settings, record)


@click.command(cls=Command)
@click.pass_obj
def status(settings: Settings) -> None:
    """Show how the server does; exit 7 if none answers."""
    with settings.connect() as client:
        record = client.status()
    write_record(settings, record)
