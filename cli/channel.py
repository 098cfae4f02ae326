"""``brokerctl channel``."""

from __future__ import annotations

from typing import Any

import click

from broker.commands.channel import ChannelCreate, ChannelSet

from .output import write_record, write_records, write_value
from .pulling import pull_and_write, pull_options
from .sending import message_options, read_body, read_settings, send_options, write_sent
from .settings import Group, Settings

_AS = click.option("--as", "as_name", metavar="NAME", help="A second, named subscription of mine.")


@click.group(cls=Group)
def channel() -> None:
    """Channels: what is published reaches every subscription there is."""


@channel.command()
@click.argument("name")
@click.argument("words", nargs=-1, metavar="[NAME=VALUE]...")
@click.option("--if-missing", is_flag=True, help="No error if it exists.")
@click.pass_obj
def create(settings: Settings, name: str, words: tuple[str, ...], if_missing: bool) -> None:
    """Create a channel; publish=anyone lets those publish who are not subscribed."""
    with settings.connect() as client:
        client.execute(ChannelCreate(name, tuple(read_settings(words).items()), if_missing))
    write_value(settings, "name", name)


@channel.command("set", prints=False)
@click.argument("name")
@click.argument("words", nargs=-1, required=True, metavar="NAME=VALUE...")
@click.pass_obj
def change(settings: Settings, name: str, words: tuple[str, ...]) -> None:
    """Change settings of a channel: publish=subscribers or publish=anyone."""
    with settings.connect() as client:
        client.execute(ChannelSet(name, tuple(read_settings(words).items())))


@channel.command()
@click.argument("name")
@click.option("--if-exists", is_flag=True, help="No error if it is missing.")
@click.pass_obj
def delete(settings: Settings, name: str, if_exists: bool) -> None:
    """Delete a channel and its subscriptions; prints how many messages waited."""
    with settings.connect() as client:
        count = client.delete_channel(name, if_exists=if_exists)
    write_value(settings, "deleted", count)


@channel.command("list")
@click.option("--mine", is_flag=True, help="Only those I own.")
@click.option("--subscribed", is_flag=True, help="Only those I am subscribed to.")
@click.pass_obj
def list_channels(settings: Settings, mine: bool, subscribed: bool) -> None:
    """List channels with their owners."""
    with settings.connect() as client:
        channels = client.list_channels(mine=mine, subscribed=subscribed)
    write_records(settings, channels, "no channels")


@channel.command()
@click.argument("name")
@click.pass_obj
def show(settings: Settings, name: str) -> None:
    """Show a channel."""
    with settings.connect() as client:
        record = client.show_channel(name)
    write_record(settings, record)


@channel.command(prints=False)
@click.argument("name")
@click.argument("words", nargs=-1, metavar="[NAME=VALUE]...")
@_AS
@click.pass_obj
def subscribe(settings: Settings, name: str, words: tuple[str, ...], as_name: str | None) -> None:
    """Subscribe: what is published from now on waits for me.

    The settings are those of a queue, and expire_idle: a subscription nobody pulls
    from for so long ends.
    """
    with settings.connect() as client:
        client.subscribe(name, as_name=as_name, settings=read_settings(words))
    settings.remark(f"subscribed to {name}")


@channel.command()
@click.argument("name")
@_AS
@click.pass_obj
def unsubscribe(settings: Settings, name: str, as_name: str | None) -> None:
    """End a subscription; prints how many messages waited in it."""
    with settings.connect() as client:
        count = client.unsubscribe(name, as_name=as_name)
    write_value(settings, "deleted", count)


@channel.command()
@click.argument("name")
@send_options
@click.pass_obj
def publish(
    settings: Settings,
    /,
    name: str,
    body: str | None,
    path: str | None,
    **options: Any,
) -> None:
    """Publish BODY, or stdin where it is absent or -; prints the message's id."""
    content = read_body(body, path)
    with settings.connect() as client:
        sent = client.publish(name, content, **message_options(**options))
    write_sent(settings, sent)


@channel.command()
@click.argument("name")
@_AS
@pull_options
@click.pass_obj
def pull(
    settings: Settings,
    name: str,
    as_name: str | None,
    wait_ms: int,
    count: int | None,
    lease_ms: int | None,
    no_ack: bool,
) -> int:
    """Pull from my subscription, as `queue pull` does from a queue."""
    return pull_and_write(
        settings,
        lambda client, lease: client.pull_channel_many(
            name, count or 1, as_name=as_name, wait_ms=wait_ms, lease_ms=lease, no_ack=no_ack
        ),
        count=count,
        lease_ms=lease_ms,
        no_ack=no_ack,
    )
