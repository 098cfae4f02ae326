"""(e), (f), (i) and the fairness of sends: several connections that do different things."""

from __future__ import annotations

from ..bench import Bench
from ..generator import consume, idle, send
from ..peers import Peer

#: Publishes in flight, or, of a publisher that makes them itself, copies.
PUBLISHES, COPIES = 100, 1000
#: Sends a second at which the time from end to end is looked at.
CALM_RATE = 200


def end_to_end(bench: Bench, peer: Peer, body: int) -> None:
    """(e) One producer and one consumer: as fast as it goes, and calmly."""
    with bench.queue(peer) as queue:
        load = bench.measure(peer, queue, body, send(window=1000), consume(peer.prefetch))
    bench.record("e", "rate", "/s", body, peer.name, load.groups[1].rate)
    bench.record("e", "max stall", "us", body, peer.name, load.groups[1].stall_us)
    bench.record_shares("e", "", body, peer.name, load)
    with bench.queue(peer) as queue:
        # By one, where a batch of pulls would have to fill before it is acknowledged.
        prefetch = 1 if peer.name == "beanstalkd" else peer.prefetch
        load = bench.measure(
            peer, queue, body, send(window=1000, rate=CALM_RATE), consume(prefetch)
        )
    calm = load.groups[1]
    bench.record("e", "latency p50", "us", body, peer.name, calm.transit_p50_us)
    bench.record("e", "latency p99", "us", body, peer.name, calm.transit_p99_us)
    bench.record("e", "latency max", "us", body, peer.name, calm.transit_max_us)


def publish(bench: Bench, peer: Peer, body: int) -> None:
    """(f) Publish to 100 and to 1000 durable subscriptions; deliveries a second."""
    for subscriptions in (100, 1000):
        if subscriptions > peer.max_subscriptions:
            continue
        with bench.fresh(peer):
            topic = f"t{subscriptions}"
            peer.create_topic(topic, subscriptions)
            peer.settle()
            copies = subscriptions if peer.copies_itself else 0
            window = max(1, COPIES // copies) if copies else PUBLISHES
            load = bench.generator.run(
                peer, topic, body, bench.seconds, send(window=window), copies=copies
            )
            if not peer.is_quick_to_start:
                peer.delete_topic(topic, subscriptions)
        name = f"to {subscriptions}"
        rate = load.groups[0].rate
        bench.record("f", f"{name}: publishes", "/s", body, peer.name, rate)
        bench.record("f", f"{name}: deliveries", "/s", body, peer.name, rate * subscriptions)
        bench.record_shares("f", name, body, peer.name, load)


def crowd(bench: Bench, peer: Peer, body: int) -> None:
    """(i) 1000 connections that are idle, and 200 that send, one in flight each."""
    with bench.queue(peer) as queue:
        load = bench.measure(peer, queue, body, send(200), idle(1000))
    bench.record_group("i", body, peer.name, load.groups[0])
    bench.record_shares("i", "", body, peer.name, load)


def fairness(bench: Bench, peer: Peer, body: int) -> None:
    """50 connections with one in flight, without and beside one with a window of 1000."""
    with bench.queue(peer) as queue:
        alone = bench.measure(peer, queue, body, send(50)).groups[0]
    with bench.queue(peer) as queue:
        load = bench.measure(peer, queue, body, send(50), send(window=1000))
    beside, window = load.groups
    for when, group in (("alone", alone), ("beside it", beside)):
        bench.record("fair", f"50 {when}: rate", "/s", body, peer.name, group.rate)
        bench.record("fair", f"50 {when}: p50", "us", body, peer.name, group.p50_us)
        bench.record("fair", f"50 {when}: p99", "us", body, peer.name, group.p99_us)
    bench.record("fair", "the window's rate", "/s", body, peer.name, window.rate)
