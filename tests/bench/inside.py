"""Figures of one worker in this process: the same notebooks as peers, a crowd of runs, memory, safety's price."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING

from bench import redaction, samples
from bench.figures import Figure, at_least, at_most, compared, known, percentile
from bench.house import CROWD, together
from bench.peers import NAMES, PROCESSLESS, PeerError, Peers, Took
from bench.processes import MEGABYTE, Times, own_memory
from kernels.segments import Ran, segment
from process_trees import descendants

from runbooks_app.kernels.events import Printed
from runbooks_app.kernels.sandbox import selftest
from runbooks_app.store.database import reading

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from bench.house import House

ROUNDS = {"trivial": 9, "chart": 7, "thirty": 5}
"""Rounds of each notebook; in each, every peer runs it once, and our engine `OURS` times between them."""

OURS = 3
WARMING = 3
"""Runs of ours, and one of each peer, that are not counted: files are read for the first time."""

FIRST_GOALS = {"papermill (command)": 40, "nbclient, cold kernel": 17}
WHOLE_GOALS = {("trivial", "papermill (command)"): 40, ("chart", "papermill (command)"): 15}
WAITING = 1000

FIRST_OUTPUT, WHOLE_RUN = "first output, {}", "whole run, {}"
ENGINE_ALONE = "100 runs at once, engine alone"
STORED = "100 runs at once, everything stored"
CROWDED_FIRST = "100 runs at once, first output p50"
IDLE = "own memory (USS) of an idle kernel"
NO_KERNEL = f"kernels while {WAITING:,} proposals wait"
REDACTION = "redaction with 10 secrets known"
SELF_TEST = "self-test of the sandbox"


def against_peers(
    house: House, folder: Path, say: Callable[[str], None], rounds: dict[str, int] | None = None
) -> Iterator[Figure]:
    """First output and whole run of each notebook, ours and everybody's, in turn."""
    with Peers(folder) as peers:
        for name in samples.NOTEBOOKS:
            count = (rounds or ROUNDS).get(name, 0)
            if not count:
                continue
            say(f"{samples.TITLES[name]}: {count} rounds")
            ours, theirs, failed = _rounds(house, peers, folder, name, count)
            yield from _figures(name, ours, theirs, failed)


def _rounds(
    house: House, peers: Peers, folder: Path, name: str, count: int
) -> tuple[list[Took], dict[str, list[Took]], dict[str, str]]:
    notebook = folder / f"{name}.ipynb"
    notebook.write_text(json.dumps(samples.notebook(samples.NOTEBOOKS[name])))
    theirs: dict[str, list[Took]] = {peer: [] for peer in NAMES}
    failed: dict[str, str] = {}
    ours: list[Took] = []

    def ask(peer: str) -> Took | None:
        if peer not in failed:
            try:
                return peers.run(peer, notebook)
            except PeerError as error:
                failed[peer] = str(error)
        return None

    for _ in range(WARMING):
        house.run(name)
    for peer in NAMES:
        ask(peer)
    for _ in range(count):
        for place, peer in enumerate(NAMES):
            if (took := ask(peer)) is not None:
                theirs[peer].append(took)
            if place % (len(NAMES) // OURS) == 0:
                ours.append(house.run(name))
    return ours, theirs, failed


def _figures(name: str, ours: list[Took], theirs: dict[str, list[Took]], failed: dict[str, str]) -> Iterator[Figure]:
    for what, part in ((FIRST_OUTPUT, "first"), (WHOLE_RUN, "whole")):
        for peer, took in theirs.items():
            goals = FIRST_GOALS if part == "first" else {p: g for (n, p), g in WHOLE_GOALS.items() if n == name}
            goal = goals.get(peer)
            title = what.format(samples.TITLES[name])
            if peer in failed or not took:
                holds = None if goal is None else False
                wanted = f"≥ {goal:g} times" if goal else ""
                yield Figure(title, None, "ms", peer, None, wanted, holds, failed.get(peer, "It never ran."))
                continue
            note = "it has no kernel process" if peer == PROCESSLESS else ""
            mine = [getattr(run, part) for run in ours]
            yield compared(title, mine, peer, [getattr(run, part) for run in took], goal, note)


# ---- a crowd


def crowd_of_kernels(house: House, rounds: int = 3) -> Iterator[Figure]:
    """100 runs at once in the engine alone: nothing is stored or shown."""

    def one(_: int) -> None:
        ran = Ran(list(house.engine.run(segment(*samples.TRIVIAL))))
        assert {str(state) for state in ran.states} == {"ok"}, ran.states

    taken = [together(CROWD, one) for _ in range(rounds)]
    rate = CROWD / sorted(taken)[len(taken) // 2]
    yield at_least(ENGINE_ALONE, rate, "runs/s", 50, f"median of {rounds} rounds")


def crowd_of_runs(house: House, rounds: int = 3) -> Iterator[Figure]:
    """100 runs at once, claimed, published and stored as by a worker that may do 100 at a time."""
    rates, firsts = [], []
    for _ in range(rounds):
        ids = [house.queued("trivial") for _ in range(CROWD)]
        took: list[Took] = []
        seconds = together(CROWD, lambda number, ids=ids, took=took: took.append(house.diagnose(ids[number])))
        for run_id in ids:
            house.ended_well(run_id)
        rates.append(CROWD / seconds)
        firsts.append(percentile([run.first for run in took], 50))
    middle = rounds // 2
    told = f"median of {rounds} rounds"
    yield at_least(STORED, sorted(rates)[middle], "runs/s", 30, told)
    yield at_most(CROWDED_FIRST, sorted(firsts)[middle] / 1000, "s", 1, told)


# ---- memory


def idle_kernel(house: House, count: int = 3) -> Iterator[Figure]:
    """Own memory of a kernel that has run a cell and now waits."""
    seen = []
    for _ in range(count):
        events = house.engine.run(segment("print('here')", "import time\nprint('idle')\ntime.sleep(60)"))
        for event in events:
            if isinstance(event, Printed) and "idle" in event.output.get("text", ""):
                break
        time.sleep(0.2)
        (kernel,) = kernels(house)
        seen.append(own_memory(kernel) / MEGABYTE)
        events.close()
    yield at_most(IDLE, sorted(seen)[count // 2], "MB", 8, f"median of {count}")


def kernels(house: House) -> list[int]:
    """Process ids of all kernels of this worker, as its engine has them."""
    zygote = house.engine._zygote
    assert zygote is not None
    return [kernel.started.result() for kernel in zygote.kernels.values() if kernel.started.done()]


def waiting_proposals(house: House) -> Iterator[Figure]:
    """Kernels that live while 1,000 proposals wait, each made by a diagnosis."""
    house.run("trivial")
    resting = _forks(house)
    for _ in range(WAITING // samples.PROPOSED):
        house.diagnose(house.queued("proposing"))
    with reading(house.worker.service.engine) as tx:
        waiting = tx.execute("SELECT count(*) FROM proposals WHERE state = 'proposed'").scalar_one()
    assert waiting >= WAITING, f"only {waiting} proposals wait"
    more = max(len(kernels(house)), len(_forks(house)) - len(resting))
    yield at_most(NO_KERNEL, more, "kernels", 0, f"{waiting:,} wait; {len(resting)} processes are there without any")


def _forks(house: House) -> list[int]:
    """Every process of the engine, a moment after the last run."""
    time.sleep(0.5)
    zygote = house.engine._zygote
    assert zygote is not None
    return [zygote.process.pid, *descendants(zygote.process.pid)]


# ---- what safety costs


def redacting(rounds: int = 3) -> Iterator[Figure]:
    """Throughput of both passes of the redaction."""
    rates = sorted(redaction.megabytes_per_second() for _ in range(rounds))
    yield at_least(REDACTION, rates[rounds // 2], "MB/s", 20, f"both passes, median of {rounds}")


def self_test(house: House, rounds: int = 3) -> Iterator[Figure]:
    """Time of the sandbox's probes, as a worker asks them of each zygote before it has kernels."""
    engine = house.engine

    async def prove() -> int:
        zygote = await engine._ready()
        uids = [engine._uids.take(), engine._uids.take()]
        try:
            return await selftest.prove(zygote, uids)
        finally:
            for uid in uids:
                engine._uids.give_back(uid)

    times = Times()
    for _ in range(rounds):
        with times.once():
            probes = engine._do(prove())
    yield known(SELF_TEST, percentile(times.taken, 50), "ms", f"{probes} probes, median of {rounds}")
