"""``brokerctl channel``."""

from __future__ import annotations

import click

from broker.commands.channel import (
    PUBLISH_ANYONE,
    PUBLISH_SUBSCRIBERS,
    ChannelCreate,
    ChannelSet,
)
from broker.errors import Invalid

from .output import write_record, write_records, write_value
from .pulling import pull_and_write, pull_options
from .sending import read_body, read_headers, send_options, write_sent
from .settings import Group, Settings

_AS = click.option("--as", "as_name", metavar="NAME", help="A second, named subscription of mine.")


@click.group(cls=Group)
def channel() -> None:
    """Channels: what is published reaches every subscription there is."""


@channel.command()
@click.argument("name")
@click.argument("settings", nargs=-1, metavar="[NAME=VALUE]...")
@click.option("--if-missing", is_flag=True, help="No error if it exists.")
@click.pass_obj
def create(context: Settings, name: str, settings: tuple[str, ...], if_missing: bool) -> None:
    """Create a channel; publish=anyone lets those publish who are not subscribed."""
    with context.connect() as client:
        client.execute(ChannelCreate(name, read_settings(settings), if_missing))
    write_value(context, "name", name)


@channel.command("set", prints=False)
@click.argument("name")
@click.argument("settings", nargs=-1, required=True, metavar="NAME=VALUE...")
@click.pass_obj
def change(context: Settings, name: str, settings: tuple[str, ...]) -> None:
    """Change settings of a channel: publish=subscribers or publish=anyone."""
    with context.connect() as client:
        client.execute(ChannelSet(name, read_settings(settings)))


def read_settings(words: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
    """Return NAME=VALUE words as pairs."""
    pairs = []
    for word in words:
        name, equals, value = word.partition("=")
        if not equals:
            raise Invalid(
                f"not a setting: {word[:40]!r}; "
                f"write publish={PUBLISH_SUBSCRIBERS} or publish={PUBLISH_ANYONE}"
            )
        pairs.append((name, value))
    return tuple(pairs)


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
@_AS
@click.pass_obj
def subscribe(settings: Settings, name: str, as_name: str | None) -> None:
    """Subscribe: what is published from now on waits for me."""
    with settings.connect() as client:
        client.subscribe(name, as_name=as_name)
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
    name: str,
    body: str | None,
    path: str | None,
    priority: int,
    delay_ms: int,
    key: str | None,
    key_ttl_ms: int,
    content_type: str | None,
    headers: tuple[str, ...],
) -> None:
    """Publish BODY, or stdin where it is absent or -; prints the message's id."""
    content = read_body(body, path)
    with settings.connect() as client:
        sent = client.publish(
            name,
            content,
            priority=priority,
            delay_ms=delay_ms,
            key=key,
            key_ttl_ms=key_ttl_ms,
            content_type=content_type,
            headers=read_headers(headers),
        )
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
