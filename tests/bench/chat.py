"""`make bench-chat`: a busy channel and a Slack that is away, as a table and as `build/bench/chat.json`.

    PYTHONPATH=tests python -m bench.chat               everything, in about five minutes on two idle cores
    PYTHONPATH=tests python -m bench.chat deliveries    only parts whose name holds this word

All of the service is real: web, worker, databases, Redis, kernels; Slack is the stand-in, in a process of its own, with
Slack's limits. Deliveries come at moments that were set beforehand, whether or not the service keeps up: what it takes
is counted from that moment. Whoever else works on the machine is measured along, so leave it alone meanwhile.
"""

from __future__ import annotations

import itertools
import logging
import random
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from bench.figures import Figure, at_most, known, percentile
from bench.parts import Bench, Owed, Part, chosen
from chat_journeys.line import Cut
from chat_journeys.workplace import GROUPS, ROOMS, Answer, Workplace, workplace

RESULT = Path("build/bench/chat.json")

DELIVERIES, SECONDS, COPIES = 1000, 60.0, 0.3
"""So many deliveries, evenly in so many seconds, of which so many are copies of one before."""
AWAY = 60.0
"""Seconds that Slack is away."""
PATIENCE = 300.0
"""Seconds in which all must have been told."""
LATEST_COPY = 3.0
"""Seconds after which Slack sends once more what it takes for lost, at most; some copies come at the same moment."""

MIX = ("note", "status", "alert", "run", "note", "status", "note", "alert", "note", "status", "alert", "run", "status")

ACKNOWLEDGED = "1,000 signed deliveries a minute, 30 % copies: acknowledged"
WRONG = "1,000 deliveries a minute: refused or failed"
ONCE = "1,000 deliveries a minute: effects lost or doubled"
NOTES = "1,000 deliveries a minute: notes out of order"
LOST, DOUBLED, DISORDERED = ("messages lost", "messages doubled", "threads out of order")
DURING = "Slack away for a minute: acknowledged meanwhile, p99"

OWED: Owed = {
    "deliveries": (
        (f"{ACKNOWLEDGED}, p99", "", "≤ 100 ms"),
        (WRONG, "", "≤ 0 deliveries"),
        (ONCE, "", "≤ 0 effects"),
        (NOTES, "", "≤ 0 notes"),
        *((f"1,000 deliveries a minute: {what}", "", f"≤ 0 {what.split()[0]}") for what in (LOST, DOUBLED, DISORDERED)),
    ),
    "outage": (
        (DURING, "", "≤ 100 ms"),
        *((f"Slack away for a minute: {what}", "", f"≤ 0 {what.split()[0]}") for what in (LOST, DOUBLED, DISORDERED)),
    ),
}


@dataclass(frozen=True)
class Delivery:
    """What is delivered, and when: seconds from the beginning."""

    at: float
    kind: str
    word: str
    room: str


@dataclass(frozen=True)
class Delivered:
    """When a delivery was sent and answered, by the machine's clock in seconds; `ms` counts from its set moment."""

    delivery: Delivery
    sent: float
    answered: float
    ms: float
    answer: Answer


def plan(deliveries: int, seconds: float, copies: float) -> list[Delivery]:
    """So many deliveries in order of time; a copy comes up to `LATEST_COPY` after what it is a copy of."""
    dice = random.Random(5)  # noqa: S311  the same mix each time
    firsts = round(deliveries * (1 - copies))
    moments = [n * seconds / firsts for n in range(firsts)]
    kinds, rooms = itertools.cycle(MIX), itertools.cycle(ROOMS)
    made = [
        Delivery(at, kind, f"{kind}-{n}-end", room)
        for n, (at, kind, room) in enumerate(zip(moments, kinds, rooms, strict=False))
    ]
    for first in dice.sample(made, deliveries - firsts):
        late = dice.choice((0.0, dice.random() * LATEST_COPY))
        made.append(Delivery(min(first.at + late, seconds), first.kind, first.word, first.room))
    return sorted(made, key=lambda delivery: delivery.at)


def deliver(place: Workplace, planned: Sequence[Delivery]) -> list[Delivered]:
    """Each at its moment, copies byte for byte; in the order in which they were planned."""
    signed: dict[str, tuple[bytes, dict[str, str], str]] = {}
    began = time.monotonic() + 0.1

    def send(delivery: Delivery) -> Delivered:
        sent = time.monotonic()
        answer = place.send(*signed[delivery.word])
        answered = time.monotonic()
        return Delivered(delivery, sent, answered, (answered - began - delivery.at) * 1000, answer)

    sending: list[Future[Delivered]] = []
    with ThreadPoolExecutor(64) as pool:
        for delivery in planned:
            if delivery.word not in signed:
                signed[delivery.word] = proven(place, delivery)
            time.sleep(max(began + delivery.at - time.monotonic(), 0))
            sending.append(pool.submit(send, delivery))
    return [each.result() for each in sending]


def proven(place: Workplace, delivery: Delivery) -> tuple[bytes, dict[str, str], str]:
    """Body, headers and path of what Slack or the Alertmanager sends."""
    if delivery.kind == "alert":
        group = next(group for group, room in GROUPS.items() if room == delivery.room)
        return *place.alert(group, delivery.word), "/alerts/bench"
    typed = {"note": f"note {delivery.word}", "status": "status", "run": f"tells word={delivery.word}"}[delivery.kind]
    return *place.command(delivery.room, typed), "/slack/commands"


def opened(place: Workplace) -> None:
    """Each room has its incident, and what is loaded once is loaded."""
    for room in ROOMS:
        assert "/runs/" in place.send(*place.command(room, f"tells word=opens-{room}")).text
    place.told(PATIENCE)


def deliveries(
    place: Workplace, number: int = DELIVERIES, seconds: float = SECONDS, patience: float = PATIENCE
) -> Iterator[Figure]:
    """A busy minute."""
    opened(place)
    planned = plan(number, seconds, COPIES)
    done = deliver(place, planned)
    last = time.monotonic()
    place.told(patience)
    took = time.monotonic() - last
    ms = [each.ms for each in done]
    mix = ", ".join(f"{count} {kind}" for kind, count in Counter(each.kind for each in planned).most_common())
    yield at_most(f"{ACKNOWLEDGED}, p99", percentile(ms, 99), "ms", 100, f"{len(done)} deliveries: {mix}")
    yield known(f"{ACKNOWLEDGED}, p50", percentile(ms, 50), "ms", f"slowest: {max(ms):.0f} ms")
    wrong = [each.answer for each in done if each.answer.status != 200]
    yield at_most(WRONG, len(wrong), "deliveries", 0, wrong[0].text[:200] if wrong else "")
    yield effects(place, planned)
    yield notes_in_order(place, done)
    runs = {each.word: False for each in planned if each.kind == "run"} | dict.fromkeys(GROUPS, False)
    yield from told(place, "1,000 deliveries a minute", runs, took)


def effects(place: Workplace, planned: Sequence[Delivery]) -> Figure:
    """Of each that was asked for, once or more: how many notes, runs and alerts there are; a group has one run."""
    asked = {each.word for each in planned if each.kind != "status"}
    asked |= {group for group, room in GROUPS.items() if any((a.kind, a.room) == ("alert", room) for a in planned)}
    there = Counter(
        row["word"]
        for query in (
            "SELECT text AS word FROM notes",
            "SELECT parameters->>'word' AS word FROM runs",
            "SELECT labels->>'word' AS word FROM alerts",
        )
        for row in place.rows(query)
    )
    wrong = [word for word in asked if there[word] != 1]
    note = f"{len(asked)} notes, runs and alerts{'; ' if wrong else ''}{', '.join(wrong[:3])}"
    return at_most(ONCE, len(wrong), "effects", 0, note)


def notes_in_order(place: Workplace, done: Sequence[Delivered]) -> Figure:
    """Whether a note that was acknowledged before another was sent stands before it on the timeline."""
    firsts: dict[str, Delivered] = {}
    for each in done:
        if each.delivery.kind == "note":
            firsts.setdefault(each.delivery.word, each)
    rows = place.rows("SELECT text FROM notes ORDER BY id")
    order = {row["text"]: number for number, row in enumerate(rows)}
    wrong = [
        (one.delivery.word, other.delivery.word)
        for one, other in itertools.permutations(firsts.values(), 2)
        if one.delivery.room == other.delivery.room
        and one.answered < other.sent
        and order.get(one.delivery.word, -1) > order.get(other.delivery.word, -1)
    ]
    return at_most(NOTES, len(wrong), "notes", 0, f"{len(firsts)} notes in {len(ROOMS)} channels {wrong[:2] or ''}")


def told(place: Workplace, when: str, runs: dict[str, bool], took: float) -> Iterator[Figure]:
    """What is wrong with what stands in the channels of these runs."""
    verdict = place.verdict(runs)
    for what, wrong in ((LOST, verdict.lost), (DOUBLED, verdict.doubled), (DISORDERED, verdict.disordered)):
        note = "; ".join(wrong[:2]) or f"{len(runs)} runs and their threads"
        yield at_most(f"{when}: {what}", len(wrong), what.split()[0], 0, note)
    yield known(f"{when}: until all of it was told", took, "s")


def outage(place: Workplace, seconds: float = AWAY, patience: float = PATIENCE) -> Iterator[Figure]:
    """Runs go on meanwhile, one a second.

    A third of the time nothing comes through, then connections are reset, then what is asked of Slack is done and its
    answer is lost.
    """
    opened(place)
    dice = itertools.count()
    words: dict[str, bool] = {}
    ms: list[float] = []

    def ask(until: float) -> None:
        while time.monotonic() < until:
            began, word = time.monotonic(), f"outage-{(n := next(dice))}-end"
            words[word] = n % 3 == 0
            answer = place.send(*place.command(ROOMS[n % len(ROOMS)], f"tells word={word} chart={words[word]}".lower()))
            assert "/runs/" in answer.text, answer.text
            ms.append(answer.ms)
            time.sleep(max(began + 1 - time.monotonic(), 0))

    ask(time.monotonic() + 5)
    place.line.refused = 0
    end = time.monotonic()
    for how in (Cut.SILENT, Cut.RESET, Cut.DEAF):
        end += seconds / 3
        with place.line.cut(how):
            ask(end)
    tried = place.line.refused
    back = time.monotonic()
    ask(back + 5)
    place.told(patience)
    took = time.monotonic() - back
    yield at_most(DURING, percentile(ms, 99), "ms", 100, f"{len(ms)} runs asked for; Slack was tried {tried} times")
    yield from told(place, "Slack away for a minute", words, took)


PARTS: dict[str, Part] = {"deliveries": deliveries, "outage": outage}


def main() -> None:
    """Measure, write, show."""
    logging.basicConfig(level=logging.ERROR)
    bench = Bench("Chat", RESULT, OWED)
    for name, part in chosen(PARTS).items():
        bench.measure({name: part}, workplace)
    bench.tell()


if __name__ == "__main__":
    main()
