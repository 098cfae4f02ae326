"""Users, and the client object itself: the same through every door."""

from __future__ import annotations

import os
import threading

import pytest
from doors import PASSWORD, Door

import broker
from broker import Client


def test_whoami_is_the_one_who_acts(alice: Client, boss: Client) -> None:
    assert alice.whoami().name == "alice"
    assert not alice.whoami().admin
    assert boss.whoami().admin


def test_only_admins_manage_users(alice: Client, boss: Client, name: str) -> None:
    for call in (
        lambda: alice.create_user(name),
        lambda: alice.delete_user("bob"),
        alice.list_users,
        lambda: alice.show_user("bob"),
        lambda: alice.set_password("bob", "x"),
    ):
        with pytest.raises(broker.Denied):
            call()
    boss.create_user(name)
    assert name in {user.name for user in boss.list_users()}
    with pytest.raises(broker.Exists):
        boss.create_user(name)
    boss.create_user(name, if_missing=True)
    assert boss.show_user(name).password is False
    assert boss.delete_user(name) == 0
    with pytest.raises(broker.NotFound):
        boss.delete_user(name)
    assert boss.delete_user(name, if_exists=True) == 0


def test_an_owner_is_deleted_only_with_an_heir(door: Door, boss: Client, name: str) -> None:
    boss.create_user(name, password=PASSWORD)
    owner = door.client(name)
    owner.create_queue(f"{name}.q")
    owner.create_channel(f"{name}.c")
    owner.subscribe(f"{name}.c")
    owner.publish(f"{name}.c", b"waits")
    with pytest.raises(broker.Conflict, match="1 queues and 1 channels"):
        boss.delete_user(name)
    assert boss.delete_user(name, give_to="alice") == 1
    assert boss.show_queue(f"{name}.q").owner == "alice"
    assert boss.show_channel(f"{name}.c").owner == "alice"
    assert boss.show_channel(f"{name}.c").subscriptions == 0


@pytest.mark.parametrize("bad", ["", "x" * 73, "ä" * 37, "nul\0", "\udcff"])
def test_a_bad_password_is_invalid(alice: Client, bad: str) -> None:
    with pytest.raises(broker.Invalid):
        alice.set_password("alice", bad)


@pytest.mark.parametrize("bad", ["default", "a@b", "", "-x"])
def test_a_bad_user_name_is_invalid(boss: Client, bad: str) -> None:
    with pytest.raises(broker.Invalid):
        boss.create_user(bad)


def test_a_user_may_change_its_own_password(alice: Client) -> None:
    alice.set_password("alice", PASSWORD)


def test_threads_share_a_client(alice: Client, name: str) -> None:
    alice.create_queue(name)

    def send() -> None:
        for _ in range(20):
            alice.send(name, b"x")

    threads = [threading.Thread(target=send) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert alice.show_queue(name).ready == 80


def test_a_forked_child_is_refused_and_leaves_the_parent_alone(
    door: Door, alice: Client, name: str
) -> None:
    if door.kind == "asyncio":
        pytest.skip("an event loop does not survive a fork, nor does what runs in it")
    alice.create_queue(name)
    child = os.fork()
    if child == 0:
        status = 1
        try:
            alice.send(name, b"from the child")
        except RuntimeError:
            alice.close()
            status = 0
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    alice.send(name, b"from the parent")
    assert alice.show_queue(name).ready == 1


def test_a_closed_client_says_so(alice: Client) -> None:
    alice.close()
    alice.close()
    with pytest.raises(RuntimeError, match="closed"):
        alice.whoami()


def test_a_client_is_a_context_manager(door: Door) -> None:
    with door.client("alice") as client:
        assert client.whoami().name == "alice"
    with pytest.raises(RuntimeError):
        client.whoami()


def test_headers_have_limits(alice: Client, name: str) -> None:
    alice.create_queue(name)
    with pytest.raises(broker.Invalid, match="64"):
        alice.send(name, b"", headers={str(n): "" for n in range(65)})
    with pytest.raises(broker.TooBig):
        alice.send(name, b"", headers={"a": "x" * 16384})
    with pytest.raises(broker.Invalid):
        alice.send(name, b"", headers={"": "x"})
    with pytest.raises(broker.Invalid):
        alice.send(name, b"", content_type="a\nb")
    with pytest.raises(broker.Invalid):
        alice.send(name, b"", key="")
