"""Nothing outlives its segment, whichever process is killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from kernels.segments import Ran, segment
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

from runbooks_app.core.errors import Unavailable
from runbooks_app.core.run import CellState
from runbooks_app.kernels.engine import Engine
from runbooks_app.kernels.events import CellEnded
from runbooks_app.worker.measuring import watch_the_kernels

ORPHANS = """
import os, subprocess, sys, time
sleeper = [sys.executable, "-c", "import time; time.sleep(300)"]
plain = subprocess.Popen(sleeper)
try:
    session = subprocess.Popen(sleeper, start_new_session=True)
except PermissionError:  # in the sandbox
    session = subprocess.Popen(sleeper)
# A daemon as they used to be made: forked twice, in a session of its own where that is possible, its parent gone.
reads, writes = os.pipe()
if os.fork() == 0:
    try: os.setsid()
    except PermissionError: pass
    pid = os.fork()
    if pid == 0:
        time.sleep(300)
    os.write(writes, str(pid).encode())
    os._exit(0)
daemon = int(os.read(reads, 20))
print(plain.pid, session.pid, daemon, os.getpid(), flush=True)
"""


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def gone_within(pids: list[int], seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if not any(alive(pid) for pid in pids):
            return True
        time.sleep(0.005)
    return False


def pids(ran: Ran, cell_id: str = "c0") -> list[int]:
    return [int(pid) for pid in ran.text(cell_id).split()]


@pytest.mark.parametrize(
    "end", ["", "os._exit(1)", "import signal; os.kill(os.getpid(), signal.SIGKILL)", "time.sleep(0.01)\n1/0"]
)
def test_whatever_a_cell_started_is_gone_when_the_segment_is(run, end):
    ran = run(ORPHANS + end)
    assert len(pids(ran)) == 4
    assert not [pid for pid in pids(ran) if alive(pid)]


def test_a_kernel_that_disowns_its_orphans_leaves_none_either(run):
    ran = run("import ctypes; ctypes.CDLL(None).prctl(36, 0, 0, 0, 0)", ORPHANS)
    assert ran.states == [CellState.OK, CellState.OK]
    assert not [pid for pid in pids(ran, "c1") if alive(pid)]


def test_a_fork_chain_is_caught_up_with(run):
    chain = "if os.fork() == 0:\n    while True:\n        if os.fork(): os._exit(0)\n        time.sleep(0.001)\n"
    ran = run(f"import os, time\n{chain}print(os.getpgid(0))")
    group = pids(ran)[0]
    with pytest.raises(ProcessLookupError):
        os.killpg(group, 0)


@pytest.fixture(scope="module")
def own_engine(tmp_path_factory):
    folder = tmp_path_factory.mktemp("kernels")
    engine = Engine.start(folder=folder)
    yield engine
    engine.close()
    assert list(folder.iterdir()) == []


def start_sleeping(engine):
    """A segment in a thread of its own whose second cell sleeps: the thread, its events, the pids of its processes."""
    events: list = []
    sleeping = threading.Event()

    def job():
        for event in engine.run(segment(ORPHANS, "time.sleep(300)", "print(1)")):
            events.append(event)
            if isinstance(event, CellEnded):
                sleeping.set()

    thread = threading.Thread(target=job)
    thread.start()
    assert sleeping.wait(20)
    first = next(event for event in events if isinstance(event, CellEnded))
    return thread, events, [int(pid) for pid in first.outputs[0]["text"].split()]


def zygote_of(engine) -> int:
    """Who kernels are forked from now: the kernels' parent, not its heir."""
    (pid,) = {int(line) for line in Ran(list(engine.run(segment("import os; print(os.getppid())")))).text().split()}
    return pid


def test_with_the_zygote_die_its_kernels_truthfully_and_its_heir_goes_on_at_once(own_engine, caplog):
    for _ in range(3):
        thread, events, started = start_sleeping(own_engine)
        zygote = zygote_of(own_engine)
        began = time.monotonic()
        os.kill(zygote, signal.SIGKILL)
        thread.join(5)
        ran = Ran(events)
        assert ran.states == [CellState.OK, CellState.DIED, CellState.NEVER_RAN]
        assert "forked from was lost" in ran.ended["c1"].reason
        assert not [pid for pid in (*started, zygote) if alive(pid)]
        assert Ran(list(own_engine.run(segment("print(1)")))).text() == "1\n"
        assert time.monotonic() - began < 3
    assert caplog.text.count("its heir goes on") == 3


def test_lost_kernels_are_counted_for_metrics(own_engine):
    reader = InMemoryMetricReader()
    watch_the_kernels(own_engine, MeterProvider([reader]).get_meter("tests"))

    def told() -> int:
        (resource,) = reader.get_metrics_data().resource_metrics
        (metric,) = resource.scope_metrics[0].metrics
        return metric.data.data_points[0].value

    before = told()
    os.kill(zygote_of(own_engine), signal.SIGKILL)
    assert Ran(list(own_engine.run(segment("print(1)")))).text() == "1\n"
    assert told() == before + 1


def test_an_heir_that_is_killed_has_a_successor(own_engine):
    for _ in range(2):
        zygote = zygote_of(own_engine)
        (heir,) = map(int, Path(f"/proc/{zygote}/task/{zygote}/children").read_text().split())
        os.kill(heir, signal.SIGKILL)
        assert gone_within([heir], 5)
        assert Ran(list(own_engine.run(segment("print(1)")))).text() == "1\n"
    os.kill(zygote, signal.SIGKILL)
    assert Ran(list(own_engine.run(segment("print(2)")))).text() == "2\n"
    assert zygote_of(own_engine) != zygote


def test_without_an_heir_everything_is_started_from_the_beginning(own_engine, caplog):
    warden = own_engine._zygote.process.pid
    zygote = zygote_of(own_engine)
    # Stopped, it can neither wait for its heir nor fork another one.
    os.kill(zygote, signal.SIGSTOP)
    (heir,) = map(int, Path(f"/proc/{zygote}/task/{zygote}/children").read_text().split())
    os.kill(heir, signal.SIGKILL)
    os.kill(zygote, signal.SIGKILL)
    assert gone_within([warden, zygote, heir], 5)
    # This thread ends before the run that follows: the zygote must not have been started from it.
    later: list = []
    first = threading.Thread(target=lambda: later.append(Ran(list(own_engine.run(segment("print(1)"))))))
    first.start()
    first.join()
    assert Ran(list(own_engine.run(segment("print(2)")))).text() == "2\n"
    assert later[0].states == [CellState.OK]
    assert "was lost" in caplog.text


def test_runs_that_wait_for_a_kernel_while_the_zygote_dies_get_one(own_engine):
    """Under load: of many at once, those in kernels say so, and all others go on."""
    zygote, told, began = zygote_of(own_engine), [], threading.Event()

    def job(number):
        events = []
        for event in own_engine.run(segment("print('begun', flush=True)", "import time; time.sleep(0.5)")):
            events.append(event)
            began.set()
        told.append((Ran(events), time.monotonic()))

    jobs = [threading.Thread(target=job, args=[number]) for number in range(24)]
    for thread in jobs:
        thread.start()
    assert began.wait(20)
    os.kill(zygote, signal.SIGKILL)
    killed = time.monotonic()
    for thread in jobs:
        thread.join(30)
    whole = [ran for ran, _ in told if ran.states == [CellState.OK, CellState.OK]]
    hit = [ran for ran, _ in told if ran not in whole]
    assert len(told) == 24
    assert hit
    assert len(whole) >= 8
    for ran in hit:
        assert CellState.DIED in ran.states or "forked from was lost" in ran.reason
    assert min(at for ran, at in told if ran in whole) - killed < 3


@pytest.mark.skipif(not Path("/proc/self/autogroup").exists(), reason="this system does not group by session")
def test_a_kernel_gives_way_once_it_has_shown_something(run):
    ran = run(
        "import os\nfrom pathlib import Path\nbefore = os.getpriority(os.PRIO_PROCESS, 0)\nprint('shown')",
        # What is shown is told at once, and the zygote acts on it in its own time.
        "while os.getpriority(os.PRIO_PROCESS, 0) == before: pass\n"
        "print(before, os.getpriority(os.PRIO_PROCESS, 0), Path('/proc/self/autogroup').read_text().split()[-1])",
    )
    assert ran.text("c1") == "0 5 5\n"


def test_with_the_warden_everything_dies_too(own_engine):
    thread, events, started = start_sleeping(own_engine)
    os.kill(own_engine._zygote.process.pid, signal.SIGKILL)
    thread.join(5)
    ran = Ran(events)
    assert ran.states == [CellState.OK, CellState.DIED, CellState.NEVER_RAN]
    assert gone_within(started[3:], 1)
    for pid in started[:3]:  # what a kernel started has lost its last guardian
        os.kill(pid, signal.SIGKILL)
    assert Ran(list(own_engine.run(segment("print(2)")))).text() == "2\n"


def test_closing_ends_runs_in_flight_and_leaves_nothing(own_engine):
    thread, events, started = start_sleeping(own_engine)
    own_engine.close()
    thread.join(5)
    assert Ran(events).states == [CellState.OK, CellState.CANCELLED, CellState.NEVER_RAN]
    assert not [pid for pid in started if alive(pid)]
    assert not own_engine._folder.exists()
    with pytest.raises(Unavailable):
        next(own_engine.run(segment("1")))


WORKER = f"""
import sys, pathlib
from runbooks_app.kernels.engine import Engine
sys.path.insert(0, {str(Path(__file__).parents[1])!r})
from kernels.segments import segment
from kernels.test_processes import ORPHANS
engine = Engine.start(folder=pathlib.Path(sys.argv[1]))
print(engine._zygote.process.pid, flush=True)
for event in engine.run(segment(ORPHANS, "time.sleep(300)")):
    if type(event).__name__ == "Printed":
        print(event.output["text"], end="", flush=True)
"""


def test_when_the_worker_is_killed_all_is_gone_within_a_second(tmp_path):
    # The machine may have others to serve: the best of three counts.
    assert any(killed_and_gone_within(1, tmp_path / f"runs-{n}") for n in range(3))


def killed_and_gone_within(seconds: float, folder: Path) -> bool:
    folder.mkdir()
    worker = subprocess.Popen([sys.executable, "-c", WORKER, str(folder)], stdout=subprocess.PIPE, text=True)
    warden = int(worker.stdout.readline())
    started = [warden, *map(int, worker.stdout.readline().split())]
    started.append(int(Path(f"/proc/{warden}/task/{warden}/children").read_text().split()[0]))
    assert len(started) == 6
    assert all(alive(pid) for pid in started)
    worker.kill()
    quickly = gone_within(started, seconds)
    assert gone_within(started, 30)
    assert worker.wait() == -signal.SIGKILL
    worker.stdout.close()
    assert list(folder.iterdir()) == []
    return quickly


def test_a_zygote_that_cannot_start_says_why(tmp_path):
    package = tmp_path / "roots" / "numpy"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("raise ImportError('numpy is not well')")
    with pytest.raises(Unavailable, match="numpy is not well"):
        Engine.start(folder=tmp_path / "roots", roots=[tmp_path / "roots"])
    assert [path.name for path in (tmp_path / "roots").iterdir()] == ["numpy"]


def test_a_library_that_leaves_a_thread_behind_is_refused(tmp_path):
    package = tmp_path / "roots" / "httpx"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text(
        "import threading, time\nthreading.Thread(target=time.sleep, args=(60,), daemon=True).start()"
    )
    with pytest.raises(Unavailable, match="2 threads"):
        Engine.start(folder=tmp_path, roots=[tmp_path / "roots"])
