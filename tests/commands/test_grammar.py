"""The grammar: what one side spells the other reads, and what is not allowed is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from importlib import import_module
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from spelling import commands

import broker.commands
from broker import names
from broker.commands.channel import ChannelCreate, ChannelPublish, ChannelPull
from broker.commands.grammar import Syntax, check, parse, words_of
from broker.commands.message import MessageAck, MessageNack
from broker.commands.queue import QueueCreate, QueueDelete, QueuePull, QueuePurge, QueueSend
from broker.commands.table import NOUNS, all_syntaxes, syntax_of
from broker.commands.user import UserCreate
from broker.errors import Invalid, TooBig

SYNTAXES = list(all_syntaxes().values())


def test_a_noun_is_imported_as_it_is_first_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for noun in NOUNS:
        module = import_module(f"broker.commands.{noun}")
        assert getattr(broker.commands, noun) is module
        # As long as nobody has imported it.
        monkeypatch.delattr(broker.commands, noun)
        assert getattr(broker.commands, noun) is module
    with pytest.raises(AttributeError, match=r"'broker\.commands' has no attribute 'nothing'"):
        broker.commands.nothing  # noqa: B018 - asked for, not used


@pytest.mark.parametrize("syntax", SYNTAXES, ids=lambda s: "-".join(s.words))
# Of DEAD RETRY most combinations contradict themselves.
@settings(suppress_health_check=[HealthCheck.filter_too_much])
@given(data=st.data())
def test_what_is_spelled_is_read_back(syntax: Syntax, data: st.DataObject) -> None:
    command = data.draw(commands(syntax))
    words = words_of(syntax, command)
    lead = len(syntax.words)
    assert words[:lead] == [word.encode() for word in syntax.words]
    assert parse(syntax, words[lead:]) == command
    positional = len(syntax.arguments)
    if not any(a.repeated for a in syntax.arguments):
        # The case of an option's word does not matter; that of its value does.
        options = {option.word.encode() for option in syntax.options}
        rest = words[lead + positional :]
        lowered = [
            word.lower()
            if word in options and (i == 0 or rest[i - 1] not in valued(syntax))
            else word
            for i, word in enumerate(rest)
        ]
        assert parse(syntax, [*words[lead : lead + positional], *lowered]) == command


def valued(syntax: Syntax) -> set[bytes]:
    """Return the words of the options that take a value."""
    return {option.word.encode() for option in syntax.options if option.kind is not None}


@pytest.mark.parametrize("syntax", SYNTAXES, ids=lambda s: "-".join(s.words))
@given(words=st.lists(st.binary(max_size=20) | st.sampled_from([b"COUNT", b"IFMISSING", b"1"])))
def test_arbitrary_words_raise_nothing_but_refusals(syntax: Syntax, words: list[bytes]) -> None:
    try:
        command = parse(syntax, words)
    except (Invalid, TooBig):
        return
    check(syntax, command)


@pytest.mark.parametrize("syntax", SYNTAXES, ids=lambda s: "-".join(s.words))
def test_every_field_is_spelled_and_every_option_may_be_left_out(syntax: Syntax) -> None:
    spelled = {a.field for a in syntax.arguments} | {o.field for o in syntax.options}
    if syntax.settings:
        spelled.add("settings")
    if syntax.tail is not None:
        spelled.add(syntax.tail.field)
    assert not spelled & set(syntax.progress)
    spelled |= set(syntax.progress)
    assert spelled == set(getattr(syntax.command, "_fields", ()))
    defaults = getattr(syntax.command, "_field_defaults", {})
    assert {o.field for o in syntax.options} <= set(defaults)
    assert syntax_of(syntax.command) is syntax
    assert [a.repeated for a in syntax.arguments].count(True) <= 1
    assert syntax.summary.endswith(".")
    assert syntax.usage.startswith(" ".join(syntax.words))


def refusal(words: str) -> str:
    """Return why a line of words is refused."""
    syntaxes = all_syntaxes()
    parts = words.split(" ")
    syntax = syntaxes.get(tuple(parts[:2])) or syntaxes[tuple(parts[:1])]
    with pytest.raises(Invalid) as caught:
        parse(syntax, [part.encode() for part in parts[len(syntax.words) :]])
    return caught.value.message


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("QUEUE CREATE", "wrong number of arguments: QUEUE CREATE name"),
        ("QUEUE SEND q", "wrong number of arguments: QUEUE SEND queue body"),
        ("MESSAGE ACK", "wrong number of arguments: MESSAGE ACK receipt ..."),
        ("QUEUE LIST MIEN", "did you mean MINE?"),
        ("QUEUE SHOW q IFEXISTS", "unknown option"),
        ("QUEUE DELETE q IFEMTY", "did you mean IFEMPTY?"),
        ("QUEUE DELETE q IFEMPTY IFEMPTY", "IFEMPTY is given twice"),
        ("QUEUE PULL q COUNT", "COUNT wants a value"),
        ("QUEUE PULL q COUNT 1 COUNT 2", "COUNT is given twice"),
        ("QUEUE PULL q COUNT ten", "not a whole number"),
        ("QUEUE PULL q COUNT 0", "from 1 to 1000"),
        ("QUEUE PULL q COUNT 1001", "from 1 to 1000"),
        ("QUEUE PULL q COUNT +1", "not a whole number"),
        ("QUEUE PULL q COUNT 1.5", "not a whole number"),
        ("QUEUE PULL q WAIT -1", "from 0 to"),
        ("QUEUE PULL q WAIT 99999999999999999999", "not a whole number"),
        ("QUEUE PULL q LEASE 0", "from 1 to"),
        ("QUEUE SEND q x PRIORITY 10", "from 0 to 9"),
        ("QUEUE SEND q x HEADERS {", "JSON object"),
        ("QUEUE SEND q x HEADERS []", "JSON object"),
        ('QUEUE SEND q x HEADERS {"a":1}', "a name and a text"),
        ("CHANNEL CREATE c publish=nobody", "subscribers, anyone"),
        ("CHANNEL CREATE c publisch=anyone", "did you mean publish?"),
        ("CHANNEL CREATE c publish=anyone publish=anyone", "given twice"),
        ("USER CREATE default", "reserved"),
        ("USER CREATE u UID 4294967295", "from 0 to 4294967294"),
        ("STATUS now", "unknown option"),
        ("QUEUE SEND q x DELAY -1", "from 0 to"),
        ("QUEUE SEND q x DELAY 5 AT 5", "delay and at exclude each other"),
        ("QUEUE SEND q x AT soon", "not a whole number"),
        ("QUEUE SEND q x TTL 0", "from 1 to"),
        ("QUEUE SEND q x TTL 5 DELAY 5", "never comes"),
        ("QUEUE SEND q x KEYTTL 5", "without a key"),
        ("QUEUE SENDMANY q 0", "1 to 1000 of body"),
        ("QUEUE SENDMANY q 1001", "1 to 1000 of body"),
        ("QUEUE SENDMANY q two x y", "not a whole number"),
        ("QUEUE SENDMANY q 3 x y", "3 of body announced, and fewer came"),
        ("QUEUE SENDMANY q 1 x y", "unknown option"),
        ("QUEUE PULL q LEASE 5 NOACK", "lease and no ack exclude each other"),
        ("QUEUE PEEK q STATE sleeping", "ready, delayed, leased, dead"),
        ("QUEUE PAUSE q SENDS PULLS", "exclude each other"),
        ("QUEUE CONSUME q PREFETCH 0", "from 1 to 1000"),
        ("QUEUE CREATE q ttl=soon", "write 500ms, 30s, 10m, 2h or 7d"),
        ("QUEUE CREATE q max_attempts=-1", "from 0 to 1000000"),
        ("QUEUE CREATE q max_bytes=10MB", "write a number of bytes, 64K, 10M or 2G"),
        ("QUEUE CREATE q on_full=drop", "reject, drop-oldest"),
        ("QUEUE CREATE q backoff=1s", "base,factor,ceiling"),
        ("QUEUE CREATE q backoff=1s,0.5,1m", "factor is a number from 1 to 100"),
        ("QUEUE CREATE q backoff=1s,1.\u00b2,1m", "factor is a number from 1 to 100"),
        ("QUEUE CREATE q backoff=1s,1.\u0663,1m", "factor is a number from 1 to 100"),
        ("QUEUE CREATE q backoff=1h,2,1m", "not over its ceiling"),
        ("QUEUE CREATE q backoff=0,2,1m", "over 0"),
        ("QUEUE CREATE q dead_letter=c@alice", "is a subscription"),
        ("QUEUE CREATE q expire_idle=1h", "unknown setting"),
        ("QUEUE CREATE q max_mesages=1", "did you mean max_messages?"),
        ("MESSAGE NACK 1.1 DELAY 0 DEAD", "delay and dead exclude each other"),
        ("MESSAGE NACK 1.1 UNCOUNTED DEAD", "uncounted and dead exclude each other"),
        ("MESSAGE NACK 1.1 UNCOUNTED REASON x", "has no reason"),
        ("MESSAGE ACK 1.1 SEND", "wrong number of arguments: QUEUE SEND"),
        ("MESSAGE SHOW 0", "from 1 to"),
        ("MESSAGE MOVE q x r", "not a whole number"),
        ("DEAD RETRY q", "one by its id, or all"),
        ("DEAD RETRY q ID 1 ALL", "one by its id, or all"),
        ("DEAD DROP q ID 1 LIMIT 1", "not from one by its id"),
        ("DEAD LIST q LIMIT 0", "from 1 to 1000"),
        # What a default says is said all the same.
        ("QUEUE SEND q x DELAY 0 AT 5", "delay and at exclude each other"),
        ("QUEUE SEND q x KEYTTL 86400000", "without a key"),
        ("QUEUE PULL q LEASE 30000 NOACK", "lease and no ack exclude each other"),
        ("QUEUE SEND q x KEY k KEYTTL 0", "from 1 to"),
        ("QUEUE SEND q x DELAY 10m", "a duration in milliseconds is one from 0 to"),
        ("QUEUE SET q", "write name=value"),
        ("CHANNEL SET c", "write name=value"),
        ("QUEUE SET q ttl=1h on_full=drop", "on_full: 'drop' is not one of reject, drop-oldest"),
        ("QUEUE SET q ttl=soon", "ttl: not a duration: 'soon'; write 500ms"),
        ("QUEUE SET q max_messages=99999999999999999999", "from 0 to 9007199254740992"),
        ("QUEUE SET q backoff=1s,2.,1m", "factor is a number from 1 to 100"),
        ("MESSAGE ACK NOPE", "not a receipt: 'NOPE'; it comes with a pulled message, as 17.1"),
    ],
)
def test_a_refusal_says_what_is_wrong(words: str, said: str) -> None:
    assert said in refusal(words)


def test_a_word_that_is_no_text_is_refused() -> None:
    with pytest.raises(Invalid, match="UTF-8"):
        parse(syntax_of(QueueCreate), [b"\xff"])
    with pytest.raises(Invalid, match="UTF-8"):
        parse(syntax_of(QueueCreate), [b"q", b"\xff"])


def test_deeply_nested_headers_are_refused() -> None:
    with pytest.raises(Invalid, match="JSON object"):
        parse(syntax_of(QueueSend), [b"q", b"x", b"HEADERS", b'{"a":' * 20_000])


def test_the_largest_headers_are_read_however_they_are_escaped() -> None:
    half = names.MAX_HEADER_BYTES // names.MAX_HEADERS // 2
    headers = {f"{n:{half}}": "\0" * half for n in range(names.MAX_HEADERS)}
    word = json.dumps(headers, indent=1).encode()
    assert len(word) > 3 * names.MAX_HEADER_BYTES
    assert parse(syntax_of(QueueSend), [b"q", b"", b"HEADERS", word]).headers == headers


def test_options_may_stand_in_any_order() -> None:
    one = parse(syntax_of(QueuePull), [b"q", b"NOACK", b"COUNT", b"3", b"WAIT", b"5"])
    other = parse(syntax_of(QueuePull), [b"q", b"wait", b"5", b"count", b"3", b"noack"])
    assert one == other == QueuePull("q", 3, wait_ms=5, no_ack=True)


def test_receipts_end_where_options_begin() -> None:
    words = [b"1.1", b"2.1", b"DELAY", b"7", b"uncounted"]
    command = parse(syntax_of(MessageNack), words)
    assert command == MessageNack(("1.1", "2.1"), 7, uncounted=True)


def test_a_body_that_looks_like_an_option_is_a_body() -> None:
    assert parse(syntax_of(QueueSend), [b"q", b"KEY"]) == QueueSend("q", b"KEY")
    assert parse(syntax_of(QueueDelete), [b"IFEMPTY"]) == QueueDelete("IFEMPTY")


@pytest.mark.parametrize(
    "command",
    [
        # What a type checker would refuse is here to be refused without one.
        QueueSend("q", "text"),  # type: ignore[arg-type]
        QueueSend("q", b"", priority=None),  # type: ignore[arg-type]
        QueueSend("q", b"", delay_ms=None),  # type: ignore[arg-type]
        QueueSend("q", b"", delay_ms=True),
        QueueSend("q", b"", delay_ms=1.5),  # type: ignore[arg-type]
        QueueSend("q", b"", key=5),  # type: ignore[arg-type]
        QueueSend("q", b"", key="\ud800"),
        QueueSend("q", b"", content_type=5),  # type: ignore[arg-type]
        QueueSend("q", b"", headers=[("a", "b")]),  # type: ignore[arg-type]
        QueueSend("q", b"", headers={"a": 1}),  # type: ignore[dict-item]
        QueuePull("q", lease_ms=None),  # type: ignore[arg-type]
        ChannelPublish("c", b"", key_ttl_ms=-1),
        ChannelPull("c", as_name=""),
        ChannelCreate("c", (("publish", True),)),  # type: ignore[arg-type]
        ChannelCreate("c", (("publish", None),)),  # type: ignore[arg-type]
        QueueCreate(5),  # type: ignore[arg-type]
        QueueCreate("c@alice"),
        QueueDelete("a@b@c@d"),
        MessageAck(()),
        MessageAck(("1.1",) * (names.MAX_REPEATED + 1)),
        QueueSend("q", b"", at_ms=1.5),  # type: ignore[arg-type]
        QueueSend("q", b"", ttl_ms=0),
        QueuePurge("q", last_id=5),
        MessageAck(("1.1",), QueueSend("q", "text")),  # type: ignore[arg-type]
        UserCreate("u", password=""),
        UserCreate("u", password=5),  # type: ignore[arg-type]
        UserCreate("u", uid=True),
    ],
    ids=lambda command: repr(command)[:60],
)
def test_a_command_built_by_hand_is_held_to_the_same(command: Any) -> None:
    with pytest.raises(Invalid):
        check(syntax_of(type(command)), command)


@pytest.mark.parametrize(
    "call",
    [
        lambda: names.check_headers({"a": "x" * names.MAX_HEADER_BYTES}),
        lambda: names.check_body_size(11, 10),
        lambda: parse(syntax_of(QueueSend), [b"q", b"", b"HEADERS", b"[" * 200_000]),
    ],
)
def test_too_much_is_toobig(call: Callable[[], object]) -> None:
    with pytest.raises(TooBig):
        call()


@pytest.mark.parametrize("syntax", all_syntaxes().values(), ids=lambda s: " ".join(s.words))
def test_the_first_fields_of_a_command_are_its_arguments(syntax: Syntax) -> None:
    fields = getattr(syntax.command, "_fields", ())
    wanted = [argument.field for argument in syntax.arguments]
    assert list(fields[: len(wanted)]) == wanted
    defaults = getattr(syntax.command, "_field_defaults", {})
    assert set(fields[len(wanted) :]) == set(defaults)


@pytest.mark.parametrize("behind", [("q", b"x"), ChannelPublish("c", b"x"), 7])
def test_what_comes_behind_a_command_is_of_its_kind(behind: Any) -> None:
    with pytest.raises(Invalid, match="SEND"):
        check(syntax_of(MessageAck), MessageAck(("1.1",), behind))
