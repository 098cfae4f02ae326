"""The checker by itself: small histories, right ones and wrong ones."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from crash.checker import check
from crash.history import NEVER, Call, Delivered, Recorder, body_of, load, tag_of

MS = 1_000_000


class History:
    """Builds a history: calls that begin and end at milliseconds.

    The broker's time is that of the calls, with 1,000,000 in front of it.
    """

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self.add("anchor", 0, 0, {"ms": 1_000_000})
        self.add("clock", 0, 0, {"offset": 0})
        self.create("jobs", max_attempts="0")

    def add(
        self,
        verb: str,
        began: float,
        ended: float | None,
        args: dict[str, Any],
        result: Any = None,
        *,
        code: str | None = None,
        client: str = "c0.0",
    ) -> Call:
        """Add a call; without an end its answer was lost, with a code it was refused."""
        outcome = "unknown" if ended is None else "refused" if code else "ok"
        end = NEVER if ended is None else int(ended * MS)
        number = len(self.calls)
        call = Call(client, verb, args, int(began * MS), end, outcome, code, result, number)
        self.calls.append(call)
        return call

    def create(self, queue: str, **settings: str) -> None:
        """Create a queue."""
        self.add("create", 0, 0, {"queue": queue, "settings": settings})

    def send(self, at: float, number: int, queue: str = "jobs", **options: Any) -> None:
        """Send the message of a number, which is its id; it takes a millisecond."""
        args = {"tags": [f"m{number}"], "queue": queue, "door": "unix", **options}
        self.add("send", at, at + 1, args, [number])

    def pull(
        self,
        at: float,
        *leases: tuple[int, int] | tuple[int, int, int],
        queue: str = "jobs",
        lease: int = 100,
        ended: float | None = None,
        client: str = "c1.0",
        sent_at: float = 0,
        **options: Any,
    ) -> None:
        """Pull messages, each (number, generation, attempts); the claim is as it begins."""
        until = int(1_000_000 + at + lease)
        messages = [
            Delivered(
                f"m{n}", queue, n, n, g, (rest or (g,))[0], 4, int(1_000_000 + sent_at), until
            )
            for n, g, *rest in leases
        ]
        args = {"queue": queue, "lease": lease, "wait": 0, "door": "unix", **options}
        self.add("pull", at, at + 1 if ended is None else ended, args, messages, client=client)

    def ack(self, at: float | None, number: int, generation: int, code: str | None = None) -> None:
        """Acknowledge; without an answer where ``at`` is None."""
        args = {"receipts": [f"{number}.{generation}"], "door": "unix"}
        if at is None:
            self.add("ack", 10, None, args)
        else:
            self.add("ack", at, at + 1, args, [code])

    def nack(self, at: float, number: int, generation: int, **options: Any) -> None:
        """Give back."""
        args = {"receipts": [f"{number}.{generation}"], **options}
        self.add("nack", at, at + 1, args, [None])

    def rules(self, *left: Delivered, dropped: int = 0, wrong: tuple[str, ...] = ()) -> set[str]:
        """Return the rules that are broken."""
        self.add("goodbye", 9000, 9000, {}, client="c1.0")
        args = {"left": left, "dropped": {"jobs": dropped}, "wrong": list(wrong)}
        self.add("final", 9999, 9999, args)
        self.calls.sort(key=lambda call: call.began)
        return {violation.rule for violation in check(self.calls)}


LOST = "every acknowledged send is delivered, waiting, dead or expired"
ALIVE = "never two live leases on one delivery"
BACK = "nothing comes back after an acknowledged ack"
FIFO = "first in, first out"
EARLY = "nothing before its time"
WOKEN = "a wake-up is never lost"
PUSHED = "what is ready is pushed"
COPY = "one copy a subscription that existed at the publish"


@pytest.fixture
def history() -> History:
    """An empty history with the queue ``jobs``."""
    return History()


def dead(number: int) -> Delivered:
    """Return a message as it is found dead at the end."""
    return Delivered(f"m{number}", "jobs", number, number, 1, 1, 4, 1_000_000, None)


def test_a_right_history_has_no_violation(history: History) -> None:
    history.send(1, 1)
    history.send(2, 2)
    history.pull(5, (1, 1), (2, 1))
    history.ack(7, 1, 1)
    history.pull(120, (2, 2))
    history.ack(130, 2, 2)
    assert history.rules() == set()


# --- losing and inventing ---


def test_a_lost_message_is_seen(history: History) -> None:
    history.send(1, 1)
    assert history.rules() == {LOST}


def test_what_is_dead_is_not_lost(history: History) -> None:
    history.send(1, 1)
    assert history.rules(dead(1)) == set()


def test_what_was_taken_by_a_lost_ack_is_not_lost(history: History) -> None:
    history.send(1, 1)
    history.pull(5, (1, 1))
    history.ack(None, 1, 1)
    assert history.rules() == set()


def test_what_was_only_leased_is_lost(history: History) -> None:
    history.send(1, 1)
    history.pull(5, (1, 1))
    history.ack(200, 1, 1, "STALE")
    assert history.rules() == {LOST}


def test_half_of_an_unanswered_send_is_lost_if_the_other_half_is_there(history: History) -> None:
    history.add("send", 1, None, {"tags": ["m1", "m2"], "queue": "jobs"})
    history.pull(5, (1, 1))
    history.ack(7, 1, 1)
    assert history.rules() == {LOST}


def test_what_is_purged_or_dropped_is_missed_only_as_often_as_it_is_counted(
    history: History,
) -> None:
    history.send(1, 1)
    history.send(2, 2)
    history.add("purge", 5, 6, {"queue": "jobs"}, [1])
    history.create("jobs", ttl="1s")
    assert history.rules() == {LOST}
    other = History()
    other.send(1, 1)
    other.send(2, 2)
    other.add("purge", 5, 6, {"queue": "jobs"}, [1])
    other.create("jobs", ttl="1s")
    assert other.rules(dropped=1) == set()


def test_what_nobody_sent_is_seen(history: History) -> None:
    history.pull(5, (1, 1))
    assert history.rules() == {"nothing appears that was not sent"}


def test_what_was_refused_must_not_appear(history: History) -> None:
    args = {"tags": ["m1"], "queue": "jobs"}
    history.add("send", 1, 2, args, code="FULL")
    history.pull(5, (1, 1))
    assert history.rules() == {"nothing appears that was not sent"}


@pytest.mark.parametrize("jumps", [True, False])
def test_a_repeated_send_is_stored_twice_only_if_its_key_was_forgotten(
    history: History, jumps: bool
) -> None:
    history.add("send", 1, 50, {"tags": ["m2"], "queue": "jobs"}, [2]).heard = 50 * MS
    history.add("server-ends", 20, 21, {"signal": 9})
    if jumps:
        history.add("clock", 22, 22, {"offset": 3_600_000})
    args = {"queue": "jobs", "lease": 100, "wait": 0, "door": "unix"}
    for number in (1, 2):
        message = Delivered("m2", "jobs", number, number, 1, 1, 4, 1_000_001, 1_000_160)
        history.add("pull", 60, 61, args, [message], client="c1.0")
        history.ack(70, number, 1)
    twice = {"one delivery a message", "nothing appears that was not sent"}
    assert history.rules() == (set() if jumps else twice)


# --- leases ---


def test_two_live_leases_are_seen(history: History) -> None:
    history.send(1, 1)
    history.pull(5, (1, 1))
    history.pull(50, (1, 2))
    history.ack(55, 1, 2)
    assert ALIVE in history.rules()


@pytest.mark.parametrize("shift", [3_600_000, -3_600_000])
def test_a_clock_that_jumped_excuses_only_what_it_explains(history: History, shift: int) -> None:
    history.send(1, 1)
    history.pull(5, (1, 1))
    history.add("clock", 20, 20, {"offset": shift})
    history.pull(50, (1, 2), lease=100 + shift)
    # The broker says by when the lease ends that its clock is an hour off.
    history.calls[-1].args["lease"] = 100
    history.ack(55, 1, 2)
    assert (ALIVE in history.rules()) is (shift < 0)


@pytest.mark.parametrize("at", [50, 155])
def test_a_clock_that_jumped_by_little_is_another_one_too(history: History, at: int) -> None:
    shift = -30_000
    history.send(1, 1)
    history.pull(5, (1, 1), lease=100)
    history.add("clock", at - 5, at - 5, {"offset": shift})
    # What had ended by the old clock may have been put back before the jump.
    history.pull(at, (1, 2), lease=100 + shift)
    history.calls[-1].args["lease"] = 100
    history.ack(at + 5, 1, 2)
    assert (ALIVE in history.rules()) is (at < 105)


@pytest.mark.parametrize(("door", "at"), [("unix", 450), ("shell", 450), ("shell", 600)])
def test_a_one_shot_extends_its_leases_while_its_reader_takes_its_time(
    history: History, door: str, at: int
) -> None:
    history.send(1, 1)
    history.pull(5, (1, 1), lease=100, ended=400, door=door)
    history.ack(at, 1, 1)
    late = history.rules() == {"a late ack is refused"}
    assert late is (door != "shell" or at > 500)


def test_a_nack_ends_a_lease_even_if_its_answer_was_lost(history: History) -> None:
    history.send(1, 1)
    history.pull(5, (1, 1))
    history.add("nack", 20, None, {"receipts": ["1.1"]})
    history.pull(50, (1, 2))
    history.ack(55, 1, 2)
    assert history.rules() == set()


def test_an_extended_lease_is_alive_until_its_new_end(history: History) -> None:
    history.send(1, 1)
    history.pull(5, (1, 1))
    history.add("extend", 20, 21, {"receipts": ["1.1"], "lease": 1000})
    history.pull(500, (1, 2))
    history.ack(505, 1, 2)
    assert ALIVE in history.rules()


def test_one_lease_given_twice_and_falling_generations_are_seen(history: History) -> None:
    history.send(1, 1)
    history.pull(5, (1, 2), lease=10)
    history.pull(50, (1, 2), lease=10)
    history.pull(90, (1, 1))
    history.ack(95, 1, 1)
    rules = history.rules()
    assert {"one lease is given once", "generations only rise"} <= rules


def test_attempts_that_do_not_rise_are_seen(history: History) -> None:
    history.send(1, 1)
    history.pull(5, (1, 1, 1), lease=10)
    history.pull(50, (1, 2, 1))
    history.ack(55, 1, 2)
    assert history.rules() == {"attempts rise with leases"}


# --- acks ---


def test_what_comes_back_after_an_ack_is_seen(history: History) -> None:
    history.send(1, 1)
    history.pull(5, (1, 1))
    history.ack(10, 1, 1)
    history.pull(200, (1, 2))
    assert history.rules() == {BACK}


def test_a_late_ack_that_is_taken_is_seen(history: History) -> None:
    history.send(1, 1)
    history.pull(5, (1, 1))
    history.ack(200, 1, 1)
    assert history.rules() == {"a late ack is refused"}


def test_an_ack_in_time_that_is_refused_is_seen(history: History) -> None:
    history.send(1, 1)
    history.pull(5, (1, 1))
    history.ack(20, 1, 1, "STALE")
    history.pull(200, (1, 2))
    history.ack(205, 1, 2)
    assert history.rules() == {"an ack in time is taken"}


def test_an_ack_may_be_refused_that_was_repeated_after_a_crash(history: History) -> None:
    history.send(1, 1)
    history.pull(5, (1, 1))
    history.add("ack", 20, 60, {"receipts": ["1.1"]}, ["STALE"])
    history.add("server-ends", 30, 31, {"signal": 9})
    assert history.rules() == set()


def test_a_transaction_of_which_half_is_done_is_seen(history: History) -> None:
    history.send(1, 1)
    history.pull(5, (1, 1))
    args = {"receipts": ["1.1"], "tags": ["m2"], "queue": "jobs"}
    history.add("transact", 10, None, args)
    history.pull(200, (1, 2), (2, 1))
    history.ack(205, 1, 2)
    history.ack(206, 2, 1)
    assert history.rules() == {"a transaction is all or nothing"}


# --- order, time, wake-ups ---


def test_what_overtakes_is_seen(history: History) -> None:
    history.send(1, 1)
    history.send(3, 2)
    history.pull(5, (2, 1))
    history.pull(7, (1, 1))
    history.ack(9, 1, 1)
    history.ack(10, 2, 1)
    assert history.rules() == {FIFO}


def test_pulls_that_overlap_overtake_nobody(history: History) -> None:
    history.send(1, 1)
    history.send(3, 2)
    history.pull(5, (2, 1), ended=9)
    history.pull(7, (1, 1))
    history.ack(10, 1, 1)
    history.ack(11, 2, 1)
    assert history.rules() == set()


def test_what_was_leased_before_may_be_overtaken(history: History) -> None:
    history.send(1, 1)
    history.send(3, 2)
    history.pull(5, (2, 1))
    history.pull(7, (1, 2))
    history.ack(9, 1, 2)
    history.ack(10, 2, 1)
    assert history.rules() == set()


def test_in_a_queue_whose_dead_were_retried_order_holds_where_all_die_leased(
    history: History,
) -> None:
    history.add("retry", 0.5, 0.6, {"queue": "jobs"}, [0])
    history.send(1, 1)
    history.send(3, 2)
    history.pull(5, (2, 1))
    history.pull(7, (1, 1))
    history.ack(9, 1, 1)
    history.ack(10, 2, 1)
    other = History()
    other.calls += [call for call in history.calls if call.verb != "create"]
    other.create("jobs", max_attempts="0", on_expire="dead")
    assert history.rules() == {FIFO}
    assert other.rules() == set()


@pytest.mark.parametrize("by", ["a nack", "its last attempt"])
@pytest.mark.parametrize("overtaken", [False, True])
def test_what_was_dead_is_at_its_old_place_again(
    history: History, by: str, overtaken: bool
) -> None:
    history.send(1, 1)
    history.send(3, 2)
    attempts = 2 if by == "its last attempt" else 1
    history.pull(5, (1, 2, attempts))
    if by == "a nack":
        history.nack(8, 1, 2, dead=True)
    history.add("retry", 110, 111, {"queue": "jobs"}, [1])
    history.pull(120, *([(2, 1)] if overtaken else [(1, 3, 1)]))
    history.pull(130, *([(1, 3, 1)] if overtaken else [(2, 1)]))
    history.ack(140, 1, 3)
    history.ack(142, 2, 1)
    assert (FIFO in history.rules()) is overtaken


def test_before_its_retry_is_done_the_dead_may_be_overtaken(history: History) -> None:
    history.send(1, 1)
    history.send(3, 2)
    history.pull(5, (1, 1))
    history.nack(8, 1, 1, dead=True)
    history.add("retry", 10, 25, {"queue": "jobs"}, [1])
    history.pull(20, (2, 1))
    history.pull(30, (1, 2, 1))
    history.ack(40, 1, 2)
    history.ack(42, 2, 1)
    assert FIFO not in history.rules()


def test_what_comes_before_its_delay_is_over_is_seen(history: History) -> None:
    history.send(1, 1, delay_ms=500)
    history.pull(300, (1, 1), sent_at=1)
    history.ack(310, 1, 1)
    assert history.rules() == {EARLY}


def test_what_comes_before_its_nack_allows_is_seen(history: History) -> None:
    history.send(1, 1)
    history.pull(5, (1, 1))
    history.nack(10, 1, 1, delay_ms=700)
    history.pull(300, (1, 2))
    history.ack(310, 1, 2)
    assert history.rules() == {EARLY}


def test_a_pull_that_finds_nothing_where_something_is_is_seen(history: History) -> None:
    history.send(1, 1)
    history.pull(5)
    history.pull(9, (1, 1))
    history.ack(11, 1, 1)
    assert history.rules() == {WOKEN}


def test_a_pull_that_waits_beside_a_message_is_seen(history: History) -> None:
    history.pull(1, wait=500, ended=502)
    history.send(100, 1)
    history.pull(600, (1, 1), sent_at=100)
    history.ack(605, 1, 1)
    assert history.rules() == {WOKEN}


def test_a_paused_queue_gives_nothing(history: History) -> None:
    history.send(1, 1)
    history.add("pause", 3, 4, {"queue": "jobs"})
    history.pull(5)
    history.add("resume", 8, 9, {"queue": "jobs"})
    history.pull(12, (1, 1))
    history.ack(15, 1, 1)
    assert history.rules() == set()


def idle(history: History, *, taken_at: float = 40) -> Call:
    """Add a consumer that is idle from 20 to 30, and a pull that takes the first message."""
    consumer = history.add("consume", 5, 100, {"queue": "jobs", "prefetch": 2}, client="c2.0")
    args = {"queue": "jobs", "consume": consumer.number}
    history.add("idle", 20, 30, args, [], client="c2.0")
    history.pull(taken_at, (1, 1), ended=taken_at + 1)
    history.ack(45, 1, 1)
    return consumer


def test_a_consumer_that_is_idle_beside_a_message_is_seen(history: History) -> None:
    history.send(10, 1)
    idle(history)
    assert history.rules() == {PUSHED}


def test_so_is_one_that_is_given_it_only_later(history: History) -> None:
    history.send(10, 1)
    consumer = history.add("consume", 5, 100, {"queue": "jobs", "prefetch": 2}, client="c2.0")
    args = {"queue": "jobs", "consume": consumer.number}
    history.add("idle", 20, 30, args, [], client="c2.0")
    message = Delivered("m1", "jobs", 1, 1, 1, 1, 4, 1_000_010, None)
    history.add("pushed", 50, 50, args, [message], client="c2.0")
    history.ack(55, 1, 1)
    assert history.rules() == {PUSHED}


@pytest.mark.parametrize(("sent_at", "taken_at"), [(19.5, 40), (10, 29)])
def test_what_comes_or_goes_while_a_consumer_looks_is_not_missed(
    history: History, sent_at: float, taken_at: float
) -> None:
    history.send(sent_at, 1)
    idle(history, taken_at=taken_at)
    assert history.rules() == set()


def test_who_leaves_may_have_been_woken_in_a_consumer_s_stead(history: History) -> None:
    history.send(10, 1)
    idle(history)
    args = {"queue": "jobs", "lease": 100, "wait": 500, "door": "unix"}
    history.add("pull", 8, None, args, client="c3.0")
    history.add("client-ends", 15, 18, {"client": "c3.0"}, client="driver")
    assert history.rules() == set()


def test_who_had_left_before_was_not(history: History) -> None:
    history.send(10, 1)
    idle(history)
    args = {"queue": "jobs", "lease": 100, "wait": 500, "door": "unix"}
    history.add("pull", 2, None, args, client="c3.0")
    history.add("client-ends", 4, 6, {"client": "c3.0"}, client="driver")
    assert history.rules() == {PUSHED}


# --- channels and keys ---


def publish(history: History, at: float, number: int) -> None:
    args = {"tags": [f"m{number}"], "channel": "news", "door": "unix"}
    history.add("publish", at, at + 1, args, [number])


def test_a_copy_that_is_missing_is_seen(history: History) -> None:
    history.add("subscribe", 1, 2, {"queue": "news@a"})
    publish(history, 3, 1)
    assert history.rules() == {COPY}


@pytest.mark.parametrize("leaves_at", [None, 100])
def test_who_was_not_there_for_certain_need_not_have_a_copy(
    history: History, leaves_at: int | None
) -> None:
    history.add("subscribe", 1, 2 if leaves_at else None, {"queue": "news@a"})
    publish(history, 3, 1)
    if leaves_at:
        history.add("unsubscribe", leaves_at, leaves_at + 1, {"queue": "news@a"})
    assert history.rules() == set()


def test_a_copy_for_who_was_not_there_is_seen(history: History) -> None:
    publish(history, 3, 1)
    history.add("subscribe", 5, 6, {"queue": "news@a"})
    history.pull(10, (1, 1), queue="news@a")
    history.ack(12, 1, 1)
    assert history.rules() == {COPY}


def test_two_messages_of_one_key_are_seen(history: History) -> None:
    history.send(1, 1, key="k")
    history.send(3, 2, key="k")
    history.pull(5, (1, 1), (2, 1))
    history.ack(7, 1, 1)
    history.ack(8, 2, 1)
    assert history.rules() == {"one message a key"}


def test_a_key_may_be_used_again_when_it_is_forgotten(history: History) -> None:
    history.send(1, 1, key="k", key_ttl_ms=100)
    history.send(300, 2, key="k", key_ttl_ms=100)
    history.pull(305, (1, 1), (2, 1))
    history.ack(307, 1, 1)
    history.ack(308, 2, 1)
    assert history.rules() == set()


# --- the rest ---


def test_what_the_database_says_of_itself_is_told(history: History) -> None:
    assert history.rules(wrong=("jobs counts 1, has 0",)) == {"counters equal what is there"}


def test_internal_errors_are_defects(history: History) -> None:
    history.add("pull", 1, 2, {"queue": "jobs", "lease": 1}, code="INTERNAL")
    assert history.rules() == {"defect"}


def test_a_record_torn_by_a_kill_is_read_up_to_its_last_line(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path, "c0.0")
    recorder.end(recorder.begin("send", {"tags": ["a"]}), "ok", [1])
    recorder.begin("send", {"tags": ["b"]})
    recorder.close()
    with (tmp_path / "c0.0.jsonl").open("ab") as file:
        file.write(b'{"n": 2, "ver')
    first, second = load(tmp_path)
    assert (first.outcome, first.result, second.outcome, second.ended) == (
        "ok",
        [1],
        "unknown",
        NEVER,
    )


def test_a_body_that_was_altered_has_no_tag() -> None:
    for number in range(40):
        body = body_of(f"c0.0-{number}")
        assert tag_of(body) == f"c0.0-{number}"
        assert tag_of(body[:-1]) is None
