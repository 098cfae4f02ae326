"""``brokerctl user``."""

from __future__ import annotations

import os

import click

from broker.errors import Invalid

from .output import write_record, write_records, write_value
from .settings import Group, Settings, WholeNumber, read_password_file

_PASSWORD_FILE = click.option(
    "--password-file", metavar="FILE",
    help="Where the new password is: the first line of a file, - is stdin (default: a prompt).",
)  # fmt: skip


@click.group(cls=Group)
def user() -> None:
    """Users: known by password, by operating-system uid, or by both."""


@user.command()
@click.argument("name")
@click.option(
    "--uid", type=WholeNumber(0, 2**32 - 2), metavar="N", help="The operating-system user it is."
)
@click.option("--admin", is_flag=True, help="May do everything.")
@click.option("--if-missing", is_flag=True, help="No error if it exists.")
@_PASSWORD_FILE
@click.pass_obj
def create(
    settings: Settings,
    name: str,
    uid: int | None,
    admin: bool,
    if_missing: bool,
    password_file: str | None,
) -> None:
    """Create a user (admins only); without a password nobody logs in by that name."""
    password = None
    if password_file is not None or (uid is None and os.isatty(0)):
        password = _new_password(password_file)
    with settings.connect() as client:
        client.create_user(name, password=password, uid=uid, admin=admin, if_missing=if_missing)
    write_value(settings, "name", name)


@user.command(prints=False)
@click.argument("name")
@_PASSWORD_FILE
@click.pass_obj
def password(settings: Settings, name: str, password_file: str | None) -> None:
    """Set my password, an admin anybody's."""
    new = _new_password(password_file)
    with settings.connect() as client:
        client.set_password(name, new)


def _new_password(path: str | None) -> str:
    if path is not None:
        return read_password_file(path)
    if not os.isatty(0):
        raise Invalid("no password: give --password-file FILE, or - for stdin")
    return str(click.prompt("New password", hide_input=True, confirmation_prompt=True, err=True))


@user.command("list")
@click.pass_obj
def list_users(settings: Settings) -> None:
    """List the users (admins only)."""
    with settings.connect() as client:
        users = client.list_users()
    write_records(settings, users, "no users")


@user.command()
@click.argument("name")
@click.pass_obj
def show(settings: Settings, name: str) -> None:
    """Show a user: myself, or for admins anybody."""
    with settings.connect() as client:
        record = client.show_user(name)
    write_record(settings, record)


@user.command()
@click.argument("name")
@click.option("--give-to", metavar="NAME", help="Who gets the queues and channels it owns.")
@click.option("--if-exists", is_flag=True, help="No error if it is missing.")
@click.pass_obj
def delete(settings: Settings, name: str, give_to: str | None, if_exists: bool) -> None:
    """Delete a user and its subscriptions; prints how many messages waited in them."""
    with settings.connect() as client:
        count = client.delete_user(name, give_to=give_to, if_exists=if_exists)
    write_value(settings, "deleted", count)
