"""``brokerctl dead``."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

from broker.names import MAX_INTEGER, MAX_PULL_COUNT

from .output import write_record, write_records, write_value
from .settings import Group, Settings, WholeNumber

if TYPE_CHECKING:
    from broker.client.sync import Client

_Function = TypeVar("_Function", bound=Callable[..., Any])
_ID = click.option(
    "--id", "message_id", type=WholeNumber(1, MAX_INTEGER), metavar="N", help="The one message."
)
_MATCH = click.option(
    "--match", metavar="TEXT", help="Only those with this text in body, headers or reason."
)


@click.group(cls=Group)
def dead() -> None:
    """What has died in a queue: too many attempts, given up, or expired."""


def _which(function: _Function) -> _Function:
    """Add the options that choose dead messages."""
    for decorate in reversed(
        (
            _ID,
            click.option("--all", "all_", is_flag=True, help="All of them."),
            _MATCH,
            click.option(
                "--limit", type=WholeNumber(1, MAX_INTEGER), metavar="N", help="At most so many."
            ),
        )
    ):
        function = decorate(function)
    return function


@dead.command("list")
@click.argument("queue")
@_MATCH
@click.option(
    "--limit", type=WholeNumber(1, MAX_PULL_COUNT), default=100, show_default=True, metavar="N",
    help="At most so many.",
)  # fmt: skip
@click.option(
    "--after", type=WholeNumber(0, MAX_INTEGER), default=0, metavar="ID",
    help="Only those after this message, to go on with a list.",
)  # fmt: skip
@click.pass_obj
def list_dead(settings: Settings, queue: str, match: str | None, limit: int, after: int) -> None:
    """List dead messages, the oldest first."""
    with settings.connect() as client:
        found = client.list_dead(queue, match=match, limit=limit, after=after)
    write_records(settings, found, "nothing is dead")


@dead.command()
@click.argument("queue")
@click.option(
    "--id", "message_id", type=WholeNumber(1, MAX_INTEGER), required=True, metavar="N",
    help="The message.",
)  # fmt: skip
@click.pass_obj
def show(settings: Settings, queue: str, message_id: int) -> None:
    """Show a dead message, with its body and its failures."""
    with settings.connect() as client:
        record = client.show_dead(queue, message_id)
    write_record(settings, record)


@dead.command()
@click.argument("queue")
@_which
@click.pass_obj
def retry(settings: Settings, /, queue: str, **which: Any) -> None:
    """Put dead messages back at their old places, attempts at zero; prints how many."""
    _treat(settings, "retried", lambda client: client.retry_dead(queue, **_checked(**which)))


@dead.command()
@click.argument("queue")
@_which
@click.pass_obj
def drop(settings: Settings, /, queue: str, **which: Any) -> None:
    """Delete dead messages; prints how many."""
    _treat(settings, "dropped", lambda client: client.drop_dead(queue, **_checked(**which)))


def _treat(settings: Settings, name: str, treat: Callable[[Client], int]) -> None:
    with settings.connect() as client:
        count = treat(client)
    write_value(settings, name, count)


def _checked(
    message_id: int | None, all_: bool, match: str | None, limit: int | None
) -> dict[str, Any]:
    """Return what was chosen, if it was chosen in one way."""
    if (message_id is None) is not all_:
        raise click.UsageError("say which: --id N, or --all; not both")
    return {"id": message_id, "match": match, "limit": limit}
