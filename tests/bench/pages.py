"""`make bench-pages`: pages with much on them, much behind them and many before them; as a table and as JSON.

    PYTHONPATH=tests python -m bench.pages              everything, in about six minutes on two idle cores
    PYTHONPATH=tests python -m bench.pages home         only parts whose name holds this word

Web processes, PostgreSQL, Redis and Chromium are real. Milliseconds are those of whoever waits, on a connection that
stands already; beside them stands the processor time of the web processes, which others on the machine change less.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

import chromium
from bench import behind
from bench.figures import Figure, at_most, known, percentile
from bench.parts import Bench, Owed, Part, chosen
from bench.site import ANA, AUDI, DEV, Fetched, Site, site
from bench.watchers import Watchers

from runbooks_app.actions import diagnosing, incidents
from runbooks_app.actions.recording import CellTold, record_cells
from runbooks_app.core.people import Person
from runbooks_app.core.run import CellState

RESULT = Path("build/bench/pages.json")

OUTPUT = 100_000
"""Bytes that each of the long run's cells printed: 100 MB in all."""
VIEWERS, MARKS, APART = 200, 40, 0.25
"""So many viewers, and so many marks that are told them, so many seconds apart."""
NOW_MARKS = 5
"""Marks that are told viewers of the page Now: titles of incidents, which it shows as they are opened."""
TIMES = 20
STREAMS = 5
"""Viewers of the long run while its page is rendered again and again."""

LONG = "run page of 1,000 cells and 100 MB of outputs"
HOME = "home with 1,000,000 past runs"
CROWDED = "with 100,000 proposals of others"
OWN = "with 100,000 proposals that the reader asked for"
SERVED = "with 1,000,000 runs"
TRAIL = "audit search on 1,000,000 entries"
LISTED = "list of 1,000,000 runs"
INCIDENT = "incident page of 1,000 notes and 200 runs"
WATCHED = "200 live viewers of one run"
AROUND = "200 live viewers of home"

SEARCHES = {
    "the newest": "",
    "words that stand nowhere": "words=nowhere+to+be+found",
    "a rare event": "event=break_glass.used",
    "an event of many": "event=run.requested",
    "somebody who did little": "person=Rita",
    "a worker who did much": "person=worker-1",
    "a rare event of who did much": "person=worker-1&event=break_glass.used",
    "an object": "object=incident+20000",
    "words behind a cursor": "words=nowhere+to+be+found&before=500000",
    "an event behind a cursor": "event=run.requested&before=500000",
}
"""What is searched for, and how the address says it."""

LISTS = {
    "behind half of them": "limit=100&before=past000000500000",
    "of a rare runbook": "limit=100&runbook=long",
}

OWED: Owed = {
    "run": (
        (f"{LONG}: first byte", "", "≤ 100 ms"),
        (f"{LONG}: sent", "", "≤ 300 kB"),
        (f"{LONG}: usable in Chromium", "", "≤ 1000 ms"),
        (f"{LONG}: layout shift of a cell that is fetched", "", "≤ 0.1 CLS"),
    ),
    "memory": (
        (f"{LONG}: memory that its page adds", "", "≤ 50 MB"),
        (f"{LONG}: memory that its page and {STREAMS} viewers of it going add", "", "≤ 50 MB"),
    ),
    "home": ((HOME, "", "≤ 50 ms"),),
    "health": tuple((f"/health {SERVED}, {window}", "", "≤ 100 ms") for window in ("24h", "30d")),
    "lists": tuple((f"{LISTED}: {what}", "", "≤ 50 ms") for what in LISTS),
    "audit": tuple((f"{TRAIL}: {what}", "", "≤ 100 ms") for what in SEARCHES),
    "incident": ((INCIDENT, "", "≤ 100 ms"), (f"{INCIDENT}, while {VIEWERS} look at it", "", "≤ 50 ms")),
    "crowded": tuple((f"{page} {what}", "", "≤ 50 ms") for what in (CROWDED, OWN) for page in ("/waiting", "home")),
    "viewers": (
        (f"{WATCHED}: refused", "", "≤ 0 viewers"),
        (f"{WATCHED}: output, the latest", "", "≤ 1 s"),
        (f"{WATCHED}: a cell's state, the latest", "", "≤ 1 s"),
    ),
    "around": ((f"{AROUND}: refused", "", "≤ 0 viewers"), (f"{AROUND}: an incident, the latest", "", "≤ 5 s")),
}

SHIFTS = """() => { window.shifted = 0; new PerformanceObserver(list => {
  for (const entry of list.getEntries()) if (!entry.hadRecentInput) window.shifted += entry.value;
}).observe({type: "layout-shift", buffered: true}); }"""


def run(place: Site) -> Iterator[Figure]:
    """A long run: its page as it is sent, and in a browser."""
    run_id = long_run(place)
    ana = place.cookie(ANA)
    path = f"/runs/{run_id}"
    place.fetch(path, ana, 3)
    fetched, cpu = timed(place, path, ana)
    yield at_most(f"{LONG}: first byte", median(one.first for one in fetched), "ms", 100, told(fetched, cpu))
    yield at_most(f"{LONG}: sent", fetched[0].size / 1000, "kB", 300, "as HTML, not compressed")
    yield from in_chromium(place, path, ana)


def in_chromium(place: Site, path: str, cookie: str) -> Iterator[Figure]:
    """When a click is answered: everything loaded, and a folded cell opened."""
    loads, clicks, shifts = [], [], []
    url = f"http://127.0.0.1:{place.port}"
    with chromium.started() as browser:
        for _ in range(5):
            context = browser.new_context()
            context.add_cookies([{"name": "runbooks", "value": cookie.partition("=")[2], "url": url}])
            page = context.new_page()
            page.goto(url + path, wait_until="load")
            loads.append(page.evaluate("performance.getEntriesByType('navigation')[0].loadEventEnd"))
            page.evaluate(SHIFTS)
            began = time.perf_counter()
            page.locator(".folded a").nth(5).click()
            page.locator(".cell pre").first.wait_for()
            clicks.append((time.perf_counter() - began) * 1000)
            shifts.append(page.evaluate("window.shifted"))
            context.close()
    yield at_most(f"{LONG}: usable in Chromium", median(loads), "ms", 1000, f"loaded; median of {len(loads)}")
    yield known(f"{LONG}: a folded cell is open after a click", median(clicks), "ms", f"slowest {max(clicks):.0f} ms")
    shift = max(shifts)
    yield at_most(f"{LONG}: layout shift of a cell that is fetched", shift, "CLS", 0.1, "whoever clicked aside")


def long_run(place: Site) -> str:
    """A run that has ended, with very much output."""
    claim = printed(place)
    diagnosing.finish_run(place.service, claim, diagnosing.Said(), "")
    return claim.run.id


def printed(place: Site) -> diagnosing.Claim:
    """A run whose cells have printed very much, before it ends."""
    claim = place.claimed("long")
    place.sql(
        """UPDATE cells SET state = CASE WHEN position %% 250 = 3 THEN 'failed' ELSE 'ok' END,
             started_at = now() + position * interval '20 ms', ended_at = now() + (position + 1) * interval '20 ms',
             outputs = jsonb_build_array(jsonb_build_object('output_type', 'stream', 'name', 'stdout',
               'text', (SELECT string_agg(md5(random()::text), E'\n')
                        FROM generate_series(1, %(lines)s) WHERE cells.position >= 0)))
           WHERE attempt_id = %(attempt)s""",
        attempt=claim.attempt.id,
        lines=OUTPUT // 33,
    )
    return claim


def memory(place: Site) -> Iterator[Figure]:
    """What web processes need at most beyond what they had: while a long run's page is made, and while it is watched.

    In the second its cells are told as changed several times, so that all of it is looked at again.
    """
    claim = printed(place)
    ana = place.cookie(ANA)
    path = f"/runs/{claim.run.id}"
    place.fetch(path, ana, 4)
    before = place.settled()
    place.fetch(path, ana, TIMES)
    note = f"of {before / 1e6:.0f} MB in all processes together; {TIMES} times"
    added = (place.peak() - before) / 1e6
    yield at_most(f"{LONG}: memory that its page adds", added, "MB", 50, note)
    before = place.settled()
    watchers = Watchers(place.port, f"{path}/events?since=0", [ana] * STREAMS)
    for _ in range(TIMES):
        place.live.publish(claim.run.id, {"kind": "changed"})
        place.fetch(path, ana)
    added = (place.peak() - before) / 1e6
    note = f"of {before / 1e6:.0f} MB; {watchers.answered} viewers were sent {watchers.received / 1e6:.1f} MB"
    watchers.close()
    diagnosing.finish_run(place.service, claim, diagnosing.Said(), "")
    yield at_most(f"{LONG}: memory that its page and {STREAMS} viewers of it going add", added, "MB", 50, note)


def home(place: Site) -> Iterator[Figure]:
    """A service that has been in use for years."""
    behind.past(place)
    yield page(place, HOME, "/", place.cookie(ANA), 50)


def health(place: Site) -> Iterator[Figure]:
    """How it did, told from the latest of so many runs."""
    behind.past(place)
    ana = place.cookie(ANA)
    for window in ("24h", "30d"):
        yield page(place, f"/health {SERVED}, {window}", f"/health?window={window}", ana, 100)


def lists(place: Site) -> Iterator[Figure]:
    """Pages of a list that goes on and on."""
    behind.past(place)
    place.claimed("long")
    ana = place.cookie(ANA)
    for what, asked in LISTS.items():
        yield page(place, f"{LISTED}: {what}", f"/api/v1/runs?{asked}", ana, 50)


def audit(place: Site) -> Iterator[Figure]:
    """What an auditor looks for in a long trail."""
    behind.trail(place)
    audi = place.cookie(AUDI)
    for what, asked in SEARCHES.items():
        yield page(place, f"{TRAIL}: {what}", f"/audit?{asked}", audi, 100)


def incident(place: Site) -> Iterator[Figure]:
    """An incident that many worked on for long."""
    behind.past(place)
    path, ana = f"/incidents/{behind.incident(place)}", place.cookie(ANA)
    yield page(place, INCIDENT, path, ana, 100)
    watchers, _, _ = opened(place, f"{path}/events")
    yield page(place, f"{INCIDENT}, while {VIEWERS} look at it", path, ana, 50)
    watchers.close()


def crowded(place: Site) -> Iterator[Figure]:
    """Very many proposals that others have to decide, or that this person asked for."""
    behind.past(place)
    dev = place.cookie(DEV)
    for what, group, requester in ((CROWDED, "shop", "others"), (OWN, "database", DEV.subject)):
        behind.proposals(place, group, requester)
        for name, path in (("/waiting", "/waiting"), ("home", "/")):
            yield page(place, f"{name} {what}", path, dev, 50)


def page(place: Site, figure: str, path: str, cookie: str, limit: float) -> Figure:
    """What a page takes, once it has been asked for a few times."""
    place.fetch(path, cookie, 8)
    fetched, cpu = timed(place, path, cookie)
    return at_most(figure, median(one.first for one in fetched), "ms", limit, told(fetched, cpu))


def viewers(place: Site) -> Iterator[Figure]:
    """One run that everybody watches, while it prints and its cells begin and end."""
    claim = place.claimed("watched")
    cells = [cell.id for cell in claim.cells]
    said = diagnosing.Said()
    record_cells(place.service, claim, [CellTold(cells[0], CellState.RUNNING, datetime.now(UTC))], said)
    watchers, opened_by, before = opened(place, f"/runs/{claim.run.id}/events?since={int(time.time() * 1000)}")
    began = time.monotonic()
    outputs: dict[int, float] = {}
    for n in range(MARKS):
        time.sleep(APART)
        outputs[n] = time.monotonic()
        output = {"output_type": "stream", "name": "stdout", "text": f"mark-{n}-end\n"}
        event = {"kind": "output", "attempt": claim.attempt.id, "cell": cells[0], "output": output}
        place.live.publish(claim.run.id, event)
    # A cell's state is told by its reason: each of these cells fails in turn, with a mark of its own.
    ended: dict[int, float] = {}
    for n, cell_id in enumerate(cells, 1000):
        now = datetime.now(UTC)
        ended[n] = time.monotonic()
        told_of = CellTold(cell_id, CellState.FAILED, now, now, reason=f"mark-{n}-end")
        record_cells(place.service, claim, [told_of], said)
        place.live.publish(claim.run.id, {"kind": "changed"})
        time.sleep(1)
    time.sleep(2)
    busy, took = place.cpu() - before, time.monotonic() - began
    watchers.close()
    diagnosing.finish_run(place.service, claim, said, "")
    note = f"{opened_by}; then {busy / took:.0%} of one core"
    yield at_most(f"{WATCHED}: refused", VIEWERS - watchers.answered, "viewers", 0, note)
    yield latest(f"{WATCHED}: output", watchers, outputs, 1)
    yield latest(f"{WATCHED}: a cell's state", watchers, ended, 1)


def around(place: Site) -> Iterator[Figure]:
    """Everybody has the page Now open, while incidents are opened: it looks by itself, every few seconds."""
    watchers, opened_by, before = opened(place, "/now/events")
    began = time.monotonic()
    shown: dict[int, float] = {}
    for n in range(2000, 2000 + NOW_MARKS):
        shown[n] = time.monotonic()
        incidents.open_incident(place.service, ANA, {"surface": "web", "auth_time": 1}, f"mark-{n}-end")
        time.sleep(2)
    time.sleep(5)
    busy, took = place.cpu() - before, time.monotonic() - began
    watchers.close()
    note = f"{opened_by}; then {busy / took:.0%} of one core"
    yield at_most(f"{AROUND}: refused", VIEWERS - watchers.answered, "viewers", 0, note)
    yield latest(f"{AROUND}: an incident", watchers, shown, 5)


def opened(place: Site, path: str) -> tuple[Watchers, str, float]:
    """Viewers of a stream, how it was to let them in, and the web's seconds of processor until then."""
    people = [Person(f"https://idp#v{n}", f"Viewer {n}", roles=frozenset({"viewer"})) for n in range(VIEWERS)]
    cookies = [place.cookie(person) for person in people]
    before, began = place.cpu(), time.monotonic()
    watchers = Watchers(place.port, path, cookies)
    while watchers.answered + watchers.refused < VIEWERS and time.monotonic() < began + 30:
        time.sleep(0.05)
    connected, busy = time.monotonic() - began, place.cpu()
    return watchers, f"connected in {connected:.1f} s with {busy - before:.1f} s of processor", busy


def latest(figure: str, watchers: Watchers, sent: dict[int, float], limit: float) -> Figure:
    """When the last of all viewers saw the mark that was longest on its way."""
    late = [seen - sent[n] for n in sent for seen in watchers.seen.get(n, {}).values()]
    missed = sum(VIEWERS - len(watchers.seen.get(n, {})) for n in sent)
    worst = max(late, default=99.0) if not missed else 99.0
    note = f"{len(late)} seen, {missed} missed; p50 {percentile(late or [99], 50) * 1000:.0f} ms"
    return at_most(f"{figure}, the latest", round(worst, 2), "s", limit, note)


def timed(place: Site, path: str, cookie: str) -> tuple[list[Fetched], float]:
    """So many answers, and the milliseconds of processor that web processes took for each."""
    before = place.cpu()
    fetched = place.fetch(path, cookie, TIMES)
    return fetched, (place.cpu() - before) / TIMES * 1000


def told(fetched: list[Fetched], cpu: float) -> str:
    """How it was measured."""
    slowest = max(one.first for one in fetched)
    return f"median of {len(fetched)}; slowest {slowest:.0f} ms; {cpu:.0f} ms of the web's processor each"


PARTS: dict[str, Part] = {
    "run": run,
    "memory": memory,
    "viewers": viewers,
    "around": around,
    "home": home,
    "health": health,
    "lists": lists,
    "incident": incident,
    "crowded": crowded,
    "audit": audit,
}


def main() -> None:
    """Measure, write, show."""
    logging.basicConfig(level=logging.ERROR)
    bench = Bench("Pages", RESULT, OWED)
    bench.measure(chosen(PARTS), site)
    bench.tell()


if __name__ == "__main__":
    main()
