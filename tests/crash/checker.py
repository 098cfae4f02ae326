"""What must never be seen in a history, whatever was killed: pure functions that list violations.

Each rule says no more than what follows from the order of calls that did not overlap,
from the times that the broker itself tells, and from what may have been done by calls
whose answer was lost. So what it reports is wrong whatever the timing was.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from typing import Final

from crash.history import OK, Call
from crash.ledger import Answer, Ledger, Pull, Send, Violation
from crash.turns import order, pushes, wake_ups

#: Answers that are defects wherever they come.
_DEFECTS: Final = frozenset(["INTERNAL", "PROTOCOL", "NOPROTO"])


def check(calls: Sequence[Call]) -> list[Violation]:
    """Return everything in a history, final state included, that must not be."""
    ledger = Ledger(list(calls))
    return [violation for rule in RULES for violation in rule(ledger)]


# --- nothing is invented, nothing goes wrong by itself ----------------------------


def defects(ledger: Ledger) -> Iterator[Violation]:
    """No internal errors, no crashed process, no counter or row out of step."""
    for call in ledger.calls:
        answers = call.result if isinstance(call.result, list) else ()
        if call.code in _DEFECTS or any(a in _DEFECTS for a in answers if isinstance(a, str)):
            yield Violation("defect", str(call))
    for call in ledger.by_verb["defect"]:
        yield Violation("defect", call.args["text"])


def inventions(ledger: Ledger) -> Iterator[Violation]:
    """What is delivered was sent, as it was sent, to where it was sent."""
    rule = "nothing appears that was not sent"
    found = [(pull.message, str(pull.call)) for pull in ledger.pulls]
    found += [(message, "at the end") for message in ledger.left]
    for message, where in found:
        if message.tag is None:
            yield Violation(rule, f"altered or unknown body: {where}", None, message.delivery)
            continue
        send = ledger.sends.get(message.tag)
        what = (message.tag, message.delivery)
        if send is None:
            yield Violation(rule, f"nobody sent {message.tag}: {where}", *what)
        elif not send.call.may_be_done or send.is_duplicate:
            yield Violation(rule, f"its send stored nothing: {where}", *what)
        elif not _belongs(ledger, send, message.queue):
            yield Violation(rule, f"it was sent to {send.target}: {where}", *what)
        elif message.priority != send.call.args.get("priority", 4):
            yield Violation(rule, f"another priority: {where}", *what)
        elif (
            send.call.outcome == OK
            and message.id != send.call.result[send.index]
            and not ledger.may_be_double(send)
        ):
            yield Violation(rule, f"another id than was answered: {where}", *what)


def _belongs(ledger: Ledger, send: Send, queue: str) -> bool:
    if send.is_publication:
        return queue.startswith(f"{send.target}@")
    return queue in ledger.family(send.target)


# --- leases and receipts ----------------------------------------------------------


def leases(ledger: Ledger) -> Iterator[Violation]:
    """One live lease a delivery, generations that rise, attempts that rise with them."""
    for delivery, pulls in ledger.leases.items():
        for earlier, later in pairwise(pulls):
            what = (earlier.message.tag, delivery)
            if earlier.message.generation == later.message.generation:
                yield Violation("one lease is given once", f"{earlier.call}\n{later.call}", *what)
            elif later.ended < earlier.began:
                yield Violation("generations only rise", f"{later.call}\n{earlier.call}", *what)
            elif not _may_have_ended(ledger, earlier, later.began, later.ended, later.now_ms):
                text = f"the first is alive: {earlier.call}\n{later.call}"
                yield Violation("never two live leases on one delivery", text, *what)
            elif (
                _must_count(ledger, earlier, later)
                and later.message.attempts != earlier.message.attempts + 1
            ):
                text = f"{earlier.call}\n{later.call}"
                yield Violation("attempts rise with leases", text, *what)
        for pull in pulls:
            yield from _check_attempts(ledger, pull)


def _check_attempts(ledger: Ledger, pull: Pull) -> Iterator[Violation]:
    attempts, generation = pull.message.attempts, pull.message.generation or 0
    if not 1 <= attempts <= generation:
        text = f"{attempts} attempts in lease {generation}: {pull.call}"
        yield Violation("attempts rise with leases", text, pull.message.tag, pull.message.delivery)
    most = [int(value) for value in ledger.values(pull.message.queue, "max_attempts")]
    if most and 0 not in most and attempts > max(most):
        text = f"attempt {attempts} of at most {max(most)}: {pull.call}"
        yield Violation(
            "no more attempts than allowed", text, pull.message.tag, pull.message.delivery
        )


def _receipt(pull: Pull) -> tuple[int, int]:
    assert pull.message.delivery is not None
    assert pull.message.generation is not None
    return pull.message.delivery, pull.message.generation


def _until(ledger: Ledger, pull: Pull, by_ns: int) -> tuple[float, float]:
    """Return when a lease ends by itself, at least and at most, as it was at a moment."""
    assert pull.message.until is not None
    done = [a for a in ledger.extends[_receipt(pull)] if a.may_be_done and a.call.began <= by_ns]
    sure = [a for a in done if a.is_done and a.call.ended <= by_ns]
    ends = [(float(pull.message.until), float(pull.message.until))]
    if sure:
        # The last for certain, and those that may have come after it.
        last = max(sure, key=lambda a: a.call.began)
        done = [a for a in done if a is last or a.call.ended >= last.call.began]
        ends = []
    for answer in done:
        call = answer.call
        lease = call.args["lease"]
        first = ledger.clocks.earliest(call.began, call.ended) + lease
        ends.append((first, ledger.clocks.latest(call.began, call.ended) + lease))
    call = pull.call
    if call.args["door"] == "shell":
        # A one-shot extends what it has pulled for as long as its reader takes.
        written = ledger.clocks.latest(call.began, min(call.ended, by_ns))
        ends.append((float(pull.message.until), written + call.args["lease"]))
    return min(first for first, _ in ends), max(last for _, last in ends)


def _may_have_ended(
    ledger: Ledger, pull: Pull, since_ns: int, by_ns: int, now_ms: int | None
) -> bool:
    """Return whether a lease may have ended by a moment.

    Args:
        since_ns, by_ns: between these somebody found that it had.
        now_ms: what the broker's time was then, if that is known.
    """
    if any(a.may_be_done and a.call.began <= by_ns for a in ledger.nacks[_receipt(pull)]):
        return True
    if any(call.began <= by_ns for call in ledger.in_hand[pull.message.id]):
        return True
    if any(
        a.receipt == _receipt(pull) and a.may_be_done and a.call.began <= by_ns
        for a in ledger.acks[_receipt(pull)[0]]
    ):
        # Acknowledged, that is another rule's affair.
        return True
    if _is_last_of_the_dead(ledger, pull):
        return True
    if pull.is_pushed:
        consumer = ledger.consumer_of(pull.call)
        over = consumer.ended if consumer.outcome == OK else pull.ended
        return over <= by_ns or ledger.server_ended(pull.began, by_ns)
    first, _ = _until(ledger, pull, by_ns)
    return ledger.clocks.latest(pull.began, by_ns, seen_ms=now_ms) >= first


def _is_last_of_the_dead(ledger: Ledger, pull: Pull) -> bool:
    """Return whether its client died so soon that the server may have taken it back."""
    last = ledger.last_of[pull.call.client]
    return last.verb != "goodbye" and last.began <= pull.call.ended


def _must_count(ledger: Ledger, earlier: Pull, later: Pull) -> bool:
    """Return whether nothing can have taken an attempt back between two leases."""
    if (earlier.message.generation or 0) + 1 != later.message.generation:
        return False
    if earlier.message.queue != later.message.queue or earlier.is_pushed:
        return False
    uncounted = any(a.call.args.get("uncounted") for a in ledger.nacks[_receipt(earlier)])
    put_back = ledger.in_hand[earlier.message.id] or _revivals(ledger, earlier.message.queue)
    return not (uncounted or put_back or _is_last_of_the_dead(ledger, earlier))


def _revivals(ledger: Ledger, queue: str) -> bool:
    return any(True for _ in ledger.calls_on({queue}, "retry"))


def receipts(ledger: Ledger) -> Iterator[Violation]:
    """An ack ends a delivery for good, and only the live lease can; in time it is taken."""
    for delivery, answers in ledger.acks.items():
        done = [answer for answer in answers if answer.is_done]
        pulls = ledger.leases.get(delivery, [])
        tag = pulls[0].message.tag if pulls else None
        if len(done) > 1:
            text = "\n".join(str(answer.call) for answer in done)
            yield Violation("one ack a delivery", text, tag, delivery)
        for answer in answers:
            yield from _check_ack(ledger, answer, pulls, tag)


def _check_ack(
    ledger: Ledger, answer: Answer, pulls: list[Pull], tag: str | None
) -> Iterator[Violation]:
    delivery, generation = answer.receipt
    newer = [pull for pull in pulls if (pull.message.generation or 0) > generation]
    own = [pull for pull in pulls if pull.message.generation == generation]
    if answer.is_done:
        if any(pull.ended < answer.call.began for pull in newer):
            text = f"another had it leased by then: {answer.call}"
            yield Violation("a late ack is refused", text, tag, delivery)
        elif newer:
            text = f"{answer.call}\n{newer[0].call}"
            yield Violation("nothing comes back after an acknowledged ack", text, tag, delivery)
        for pull in own:
            if pull.is_pushed:
                continue
            _, last = _until(ledger, pull, answer.call.ended)
            if ledger.clocks.earliest(answer.call.began, answer.call.ended) > last:
                text = f"its lease had ended: {answer.call}\n{pull.call}"
                yield Violation("a late ack is refused", text, tag, delivery)
    elif answer.code == "STALE" and not answer.may_be_done:
        for pull in own:
            if not _was_live(ledger, pull, answer):
                continue
            text = f"{pull.call}\n{answer.call}"
            yield Violation("an ack in time is taken", text, tag, delivery)


def _was_live(ledger: Ledger, pull: Pull, answer: Answer) -> bool:
    call = answer.call
    gone = {"unsubscribe"} if "@" in pull.message.queue else set()
    if any(c.began <= call.ended for c in ledger.calls_on({pull.message.queue}, *gone)):
        return False
    others = [a for a in ledger.acks[answer.receipt[0]] if a is not answer and a.may_be_done]
    if any(a.call.began <= call.ended for a in others):
        return False
    return not _may_have_ended(ledger, pull, call.began, call.ended, None)


# --- nothing is lost, nothing is there twice --------------------------------------


def losses(ledger: Ledger) -> Iterator[Violation]:
    """What was acknowledged to its sender is delivered, dead, expired, or was taken away."""
    rule = "every acknowledged send is delivered, waiting, dead or expired"
    missing: dict[str, list[str]] = defaultdict(list)
    places: dict[tuple[str, str], bool] = {}
    for message in ledger.left:
        places[message.tag or "", message.queue] = True
    for send in ledger.sends.values():
        if not send.is_sure or send.is_publication:
            continue
        family = ledger.family(send.target)
        if any((send.tag, queue) in places for queue in family):
            continue
        if _was_taken(ledger, send.tag, family):
            continue
        reasons = set(_reasons_to_be_gone(ledger, send, family))
        if not reasons:
            yield Violation(rule, f"lost: {send.call}", send.tag)
        elif reasons <= {"dropped", "purged"}:
            missing[send.target].append(send.tag)
    for queue, tags in missing.items():
        excused = _excused(ledger, ledger.family(queue))
        if len(tags) > excused:
            text = f"{len(tags)} of {queue} are gone, {excused} were counted: {tags[:5]}"
            yield Violation(rule, text, tags[0])


def _was_taken(ledger: Ledger, tag: str, queues: set[str]) -> bool:
    """Return whether it was acknowledged, or popped, from one of some queues, perhaps unseen."""
    for pull in ledger.by_tag[tag]:
        if pull.message.queue not in queues:
            continue
        if pull.message.delivery is None:
            return True
        if any(answer.may_be_done for answer in ledger.acks[pull.message.delivery]):
            return True
    return False


def _reasons_to_be_gone(ledger: Ledger, send: Send, family: set[str]) -> Iterator[str]:
    args, since = send.call.args, send.call.began
    for call in ledger.calls_on(family, "purge"):
        if call.ended >= since:
            yield "purged" if call.outcome == OK else "purged, perhaps"
    for call in ledger.lost_pops:
        if call.args["queue"] in family and call.ended >= since:
            yield "popped, perhaps"
    for call in ledger.calls_on(family, "drop"):
        if call.ended >= since:
            yield "dropped from the dead"
    full = any(ledger.values(queue, "max_messages") for queue in family)
    expires = any(ledger.values(queue, "ttl") for queue in family)
    if args.get("ttl_ms") or expires or (full and "drop-oldest" in _fullness(ledger, family)):
        yield "dropped"


def _fullness(ledger: Ledger, family: set[str]) -> set[str]:
    return {value for queue in family for value in ledger.values(queue, "on_full")}


def _excused(ledger: Ledger, family: set[str]) -> int:
    """Return how many the broker has counted as purged and dropped."""
    purged = sum(sum(c.result) for c in ledger.calls_on(family, "purge") if c.outcome == OK)
    return purged + sum(ledger.dropped.get(queue, 0) for queue in family)


def copies(ledger: Ledger) -> Iterator[Violation]:
    """Exactly one copy for each subscription that existed at the publish."""
    rule = "one copy a subscription that existed at the publish"
    left = {(message.tag, message.queue) for message in ledger.left}
    subscriptions = {call.args["queue"] for call in ledger.by_verb["subscribe"]}
    for send in ledger.sends.values():
        if not send.is_publication:
            continue
        queues = {pull.message.queue for pull in ledger.by_tag[send.tag]}
        for queue in queues:
            if not _may_exist(ledger, queue, send.call):
                yield Violation(rule, f"{queue} did not exist: {send.call}", send.tag)
        if not send.is_sure or send.call.args.get("ttl_ms"):
            continue
        for queue in subscriptions - queues:
            if (send.tag, queue) in left or not _existed(ledger, queue, send.call):
                continue
            yield Violation(rule, f"{queue} has missed {send.call}", send.tag)


def _existed(ledger: Ledger, queue: str, call: Call) -> bool:
    """Return whether a subscription was there for certain, from the publish to the end."""
    joined = [c for c in ledger.calls_on({queue}, "subscribe") if c.outcome == OK]
    left = list(ledger.calls_on({queue}, "unsubscribe"))
    for join in joined:
        if join.ended < call.began and not any(leave.ended >= join.began for leave in left):
            return True
    return False


def _may_exist(ledger: Ledger, queue: str, call: Call) -> bool:
    joined = [c for c in ledger.calls_on({queue}, "subscribe") if c.began <= call.ended]
    left = [
        c
        for c in ledger.calls_on({queue}, "unsubscribe")
        if c.outcome == OK and c.ended < call.began
    ]
    if not left:
        return bool(joined)
    last = max(left, key=lambda c: c.began)
    return any(c.ended >= last.began for c in joined)


def doubles(ledger: Ledger) -> Iterator[Violation]:
    """One delivery a message and subscription; what was popped is gone."""
    deliveries: dict[tuple[str, str], set[int]] = defaultdict(set)
    popped: dict[tuple[str, str], list[Pull]] = defaultdict(list)
    for tag, pulls in ledger.by_tag.items():
        send = ledger.sends.get(tag)
        if send is not None and ledger.may_be_double(send):
            continue
        for pull in pulls:
            # A message sent to a queue has one delivery, wherever it comes to be.
            place = pull.message.queue if send is not None and send.is_publication else ""
            if pull.message.delivery is None:
                popped[tag, pull.message.queue].append(pull)
            else:
                deliveries[tag, place].add(pull.message.delivery)
    for (tag, _), ids in deliveries.items():
        if len(ids) > 1:
            yield Violation("one delivery a message", f"{tag} has deliveries {sorted(ids)}", tag)
    for (tag, queue), pulls in popped.items():
        first = min(pulls, key=lambda pull: pull.ended)
        again = [p for p in ledger.by_tag[tag] if p is not first and p.message.queue == queue]
        if any(p.began > first.ended or p.message.delivery is None for p in again):
            text = f"{tag} came again: {first.call}"
            yield Violation("nothing comes back after an acknowledged ack", text, tag)


def keys(ledger: Ledger) -> Iterator[Violation]:
    """One message a key, as long as it is remembered."""
    by_key: dict[tuple[str, str], list[Send]] = defaultdict(list)
    for send in ledger.sends.values():
        key = send.call.args.get("key")
        if key is not None and send.is_sure:
            by_key[send.target, key].append(send)
    for (target, key), stored in by_key.items():
        ttl = stored[0].call.args.get("key_ttl_ms")
        if ttl is None:
            if len(stored) > 1:
                text = "\n".join(f"{target} {key}: {send.call}" for send in stored)
                yield Violation("one message a key", text, stored[1].tag)
            continue
        for first, second in pairwise(sorted(stored, key=lambda send: send.call.began)):
            since, by = first.call.began, second.call.ended
            forgotten = ledger.clocks.earliest(since, first.call.ended) + ttl
            if ledger.clocks.latest(since, by) < forgotten:
                text = f"{key}: {first.call}\n{second.call}"
                yield Violation("one message a key", text, second.tag)


def transactions(ledger: Ledger) -> Iterator[Violation]:
    """An ack and a send of one transaction are both done or both not."""
    for call in ledger.by_verb["transact"]:
        send = ledger.sends[call.args["tags"][0]]
        if not send.seen:
            continue
        delivery, generation = map(int, call.args["receipts"][0].split("."))
        for pull in ledger.leases.get(delivery, ()):
            if (pull.message.generation or 0) > generation:
                text = f"sent and not acknowledged: {call}\n{pull.call}"
                yield Violation("a transaction is all or nothing", text, send.tag, delivery)


# --- time ---------------------------------------------------------------


def times(ledger: Ledger) -> Iterator[Violation]:
    """Nothing comes before its delay, or a nack's, is over, nor after its life."""
    rule = "nothing before its time"
    for pull in ledger.pulls:
        send = ledger.sends.get(pull.message.tag or "")
        if send is None or pull.message.generation not in (None, 1):
            continue
        if not send.is_publication and pull.message.queue != send.target:
            continue
        args, sent_at = send.call.args, pull.message.sent_at
        due = args.get("at_ms") or sent_at + args.get("delay_ms", 0)
        reached = ledger.clocks.latest(send.call.began, pull.ended, seen_ms=pull.now_ms)
        what = (send.tag, pull.message.delivery)
        if due > reached and not ledger.in_hand[pull.message.id]:
            yield Violation(rule, f"{due - reached:.0f} ms early: {pull.call}", *what)
        lives = args.get("ttl_ms")
        if _revivals(ledger, pull.message.queue) or not lives or pull.now_ms is None:
            # What was dead and is put back lives for ever.
            continue
        if pull.now_ms >= sent_at + lives:
            yield Violation("nothing after its life", str(pull.call), *what)
    for answers in ledger.nacks.values():
        yield from _check_rests(ledger, answers)


def _check_rests(ledger: Ledger, answers: Sequence[Answer]) -> Iterator[Violation]:
    for answer in answers:
        delay = answer.call.args.get("delay_ms")
        delivery, generation = answer.receipt
        if not delay or not answer.is_done:
            continue
        for pull in ledger.leases.get(delivery, ()):
            if pull.message.generation != generation + 1 or ledger.in_hand[pull.message.id]:
                continue
            if _revivals(ledger, pull.message.queue):
                continue
            own = ledger.leases[delivery][0].message.queue
            due = ledger.clocks.earliest(answer.call.began, answer.call.ended) + delay
            reached = ledger.clocks.latest(answer.call.began, pull.ended, seen_ms=pull.now_ms)
            if due > reached and pull.message.queue == own:
                text = f"{due - reached:.0f} ms early: {answer.call}\n{pull.call}"
                yield Violation("nothing before its time", text, pull.message.tag, delivery)


def the_end(ledger: Ledger) -> Iterator[Violation]:
    """After the drain only what is dead is left, and each of it once."""
    for call in ledger.by_verb["final"]:
        for text in call.args["wrong"]:
            yield Violation("counters equal what is there", text)
    twice = Counter((message.tag, message.queue) for message in ledger.left)
    for (tag, queue), count in twice.items():
        if count > 1:
            yield Violation("one delivery a message", f"{count} of {tag} in {queue}", tag)
    for message in ledger.left:
        if message.delivery is None:
            continue
        if any(answer.is_done for answer in ledger.acks[message.delivery]):
            yield Violation(
                "nothing comes back after an acknowledged ack",
                f"left in {message.queue}", message.tag, message.delivery,
            )  # fmt: skip


RULES: Final[tuple[Callable[[Ledger], Iterator[Violation]], ...]] = (
    defects, inventions, leases, receipts, losses, copies, doubles, keys, transactions, order,
    times, wake_ups, pushes, the_end,
)  # fmt: skip
