"""Who a caller is: users by uid and users by name are never mixed up."""

from __future__ import annotations

import pytest
from stores import Store

from broker.commands.channel import ChannelCreate, ChannelPull, ChannelSubscribe
from broker.commands.queue import QueueCreate
from broker.commands.request import Principal
from broker.commands.user import PasswordHash, UserCreate, UserDelete, UserList, Whoami
from broker.errors import Conflict, Denied, Exists, NoAuth, NotFound
from broker.names import check_user_name
from broker.store.handlers import users

HASH = PasswordHash("$2b$12$" + "x" * 53)


def known(store: Store, uid: int, login: str) -> Principal:
    """Return the user of a uid."""
    with store.database.transaction(store.now) as tx:
        return users.principal_of_uid(tx, uid, login)


def test_the_first_of_all_is_admin_and_nobody_after(store: Store) -> None:
    assert [user.name for user in store.run(UserList(), store.admin) if user.admin] == ["admin"]


def test_a_uid_keeps_its_user_whatever_its_login_becomes(store: Store) -> None:
    assert known(store, 2, "renamed") == store.alice


def test_a_login_that_is_taken_does_not_become_that_user(store: Store) -> None:
    store.run(UserCreate("eve", HASH), store.admin)
    assert known(store, 7, "eve").name == "eve:7"
    assert known(store, 7, "eve").name == "eve:7"
    assert known(store, 8, "eve").name == "eve:8"


def test_taken_names_keep_no_uid_out(store: Store) -> None:
    # Whoever may register could otherwise bar another from the file and the socket.
    for name in ("eve", "eve:7", "eve:7:2", "x" * 128):
        store.run(UserCreate(name, HASH), store.admin)
    principal = known(store, 7, "eve")
    assert principal.name == "eve:7:3"
    assert store.run(Whoami(), principal).uid == 7
    assert not store.run(Whoami(), principal).password
    assert check_user_name(known(store, 2**32 - 2, "x" * 128).name)


def test_a_uid_is_one_user_only(store: Store) -> None:
    with pytest.raises(Exists, match="already the user 'alice'"):
        store.run(UserCreate("eve", uid=2), store.admin)
    store.run(UserCreate("eve", uid=7), store.admin)
    assert known(store, 7, "someone").name == "eve"


def test_the_last_admin_stays(store: Store) -> None:
    with pytest.raises(Conflict, match="last admin"):
        store.run(UserDelete("admin", give_to="alice"), store.admin)
    store.run(UserCreate("second", admin=True), store.admin)
    assert store.run(UserDelete("admin"), store.admin) == 0
    with store.database.transaction(store.now) as tx:
        found = users.principal_of_name(tx, "second")
    assert found is not None
    with pytest.raises(Conflict, match="last admin"):
        store.run(UserDelete("second"), found[0])


def test_an_owner_gives_to_somebody_else_who_is_there(store: Store) -> None:
    store.run(QueueCreate("q"))
    with pytest.raises(Conflict, match="1 queues and 0 channels"):
        store.run(UserDelete("alice"), store.admin)
    with pytest.raises(NotFound):
        store.run(UserDelete("alice", give_to="nobody"), store.admin)
    with pytest.raises(Conflict, match="itself"):
        store.run(UserDelete("alice", give_to="alice"), store.admin)
    assert store.run(UserDelete("alice", give_to="bob"), store.admin) == 0
    assert store.last.changed_users == {store.alice.id}
    store.check()


def test_what_a_deleted_user_was_is_not_its_namesakes(store: Store) -> None:
    store.run(ChannelCreate("c"), store.bob)
    store.run(ChannelSubscribe("c"))
    store.run(UserDelete("alice"), store.admin)
    namesake = known(store, 9, "alice")
    assert namesake.name == "alice"
    assert namesake.id != store.alice.id
    with pytest.raises(NotFound, match="not subscribed"):
        store.run(ChannelPull("c"), namesake)


def test_a_deleted_user_owns_nothing_any_more(store: Store) -> None:
    store.run(ChannelCreate("c"), store.bob)
    store.run(UserDelete("alice"), store.admin)
    for command in (QueueCreate("q"), ChannelCreate("d"), ChannelSubscribe("c"), Whoami()):
        with pytest.raises(NoAuth, match="no more"):
            store.run(command)
    store.check()


def test_only_an_admin_acts_as_another(store: Store) -> None:
    with store.database.transaction(store.now) as tx:
        assert users.acting_as(tx, store.alice, "alice") == store.alice
        assert users.acting_as(tx, store.admin, "bob") == store.bob
        with pytest.raises(Denied):
            users.acting_as(tx, store.alice, "bob")
        with pytest.raises(NotFound):
            users.acting_as(tx, store.admin, "nobody")


def test_a_known_name_is_not_registered_again(store: Store) -> None:
    with store.database.transaction(store.now) as tx:
        assert users.register(tx, "alice", HASH) is None
        eve = users.register(tx, "eve", HASH)
    assert eve is not None
    assert not eve.is_admin
