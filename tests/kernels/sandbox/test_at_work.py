"""Inside the sandbox runbooks do what they always did."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from kernels.segments import code, segment

from runbooks_app.core.run import CellState

pytestmark = pytest.mark.kernels

WORKS = {
    "a pool of processes": (
        """import multiprocessing
def square(x): return x * x
with multiprocessing.Pool(2) as pool: print(pool.map(square, range(4)))""",
        "[0, 1, 4, 9]\n",
    ),
    "processes of futures": (
        """from concurrent.futures import ProcessPoolExecutor
def square(x): return x * x
with ProcessPoolExecutor(2) as pool: print(list(pool.map(square, range(4))))""",
        "[0, 1, 4, 9]\n",
    ),
    "locks, queues and values between processes": (
        """import multiprocessing as m
lock, queue, value, events = m.Lock(), m.Queue(), m.Value('i', 0), m.Event()
def work():
    for _ in range(100):
        with value.get_lock(): value.value += 1
    queue.put('done'); events.wait()
processes = [m.Process(target=work) for _ in range(3)]
for p in processes: p.start()
for p in processes: queue.get()
events.set()
for p in processes: p.join()
print(value.value, [p.exitcode for p in processes])
print(lock.acquire(), lock.acquire(timeout=0.01), lock.acquire(block=False))
print(m.BoundedSemaphore(2).get_value())
recursive = m.RLock()
with recursive, recursive: print('twice')""",
        "300 [0, 0, 0]\nTrue False False\n2\ntwice\n",
    ),
    "memory that processes share": (
        """from multiprocessing import shared_memory, Process
mine = shared_memory.SharedMemory(create=True, size=8)
def work():
    other = shared_memory.SharedMemory(mine.name); other.buf[0] = 7; other.close()
p = Process(target=work); p.start(); p.join()
print(mine.buf[0]); mine.close(); mine.unlink()""",
        "7\n",
    ),
    "subprocesses": (
        """import subprocess
print(subprocess.run('echo out; echo err >&2; exit 3', shell=True, capture_output=True, text=True))""",
        "CompletedProcess(args='echo out; echo err >&2; exit 3', returncode=3, stdout='out\\n', stderr='err\\n')\n",
    ),
    "subprocesses of a loop": (
        """import asyncio
p = await asyncio.create_subprocess_exec('echo', 'x', stdout=asyncio.subprocess.PIPE)
print(await p.communicate())""",
        "(b'x\\n', None)\n",
    ),
    "a loop in a thread": (
        """import asyncio, threading
async def work(): await asyncio.sleep(0.001); return 5
got = []
t = threading.Thread(target=lambda: got.append(asyncio.run(work()))); t.start(); t.join()
print(got)""",
        "[5]\n",
    ),
    "a command of the shell": (
        """!echo one; exit 4
print(_exit_code)""",
        "one\n4\n",
    ),
    "a command's output": (
        r"""lines = !printf 'a\nb'
print(lines)""",
        "['a', 'b']\n",
    ),
    "a cell for the shell": (
        """%%bash
echo in; cat <(echo beside)""",
        "in\nbeside\n",
    ),
    "a cell for Python": (
        """%%python
print('another')""",
        "another\n",
    ),
    "a command with a time limit": (
        """!timeout 0.2 sleep 60
print('still here')""",
        "still here\n",
    ),
    "files that are copied, packed and edited": (
        """from pathlib import Path
import shutil
Path('a').write_text('old'); shutil.copy2('a', 'b')
Path('c').touch()
!sed -i s/old/new/ a && cp -p a d && tar czf t a d
!mkdir o && tar xzf t -C o && cat o/d
print(_exit_code, sorted(p.name for p in Path().iterdir()))""",
        "new0 ['a', 'b', 'c', 'd', 'o', 't']\n",
    ),
    "a cell written to a file": (
        """%%writefile script.py
print('ran')""",
        "Writing script.py\n",
    ),
    "a file that is run": (
        """with open('run.py', 'w') as f: f.write('print(5)')
%run run.py""",
        "5\n",
    ),
    "folders that are changed into": (
        """import os
os.mkdir('inner')
%cd -q inner
print(os.path.basename(os.getcwd()))""",
        "inner\n",
    ),
    "a database in a file": (
        """import sqlite3
with sqlite3.connect('db') as db: db.execute('create table t (a)')
print(db.execute('select count(*) from t').fetchone())""",
        "(0,)\n",
    ),
    "tables": (
        """import pandas as pd
pd.DataFrame({'a': [1]}).to_csv('t.csv', index=False); print(pd.read_csv('t.csv').a[0])""",
        "1\n",
    ),
    "time": (
        """%timeit -q -n1 -r1 1 + 1
print('timed')""",
        "timed\n",
    ),
    "names": (
        """import socket, getpass, pwd
print(socket.gethostbyname('localhost'), bool(getpass.getuser()))""",
        "127.0.0.1 True\n",
    ),
    "sizes of the machine": (
        """import os
print(os.cpu_count() >= 1, os.nice(1) >= 1)""",
        "True True\n",
    ),
}


@pytest.mark.parametrize("what", WORKS)
def test_it_works(run, what):
    source, printed = WORKS[what]
    ran = run(source)
    assert ran.ended["c0"].state is CellState.OK, ran.ended["c0"].reason
    assert ran.text() == printed


def test_charts_are_drawn(run):
    ran = run("import matplotlib.pyplot as plt\nplt.plot([1, 2]); plt.show()")
    assert any("image/png" in output.get("data", {}) for output in ran.ended["c0"].outputs)


@pytest.mark.parametrize(
    ("source", "told"),
    [
        ("import multiprocessing; multiprocessing.Manager()", "Manager() is not possible in a runbook"),
        ("import multiprocessing; multiprocessing.get_context('spawn').Lock()", "default start method"),
        ("import subprocess; subprocess.Popen(['true'], start_new_session=True)", "PermissionError"),
        ("open('/etc/shadow')", "PermissionError"),
        ("import httpx; httpx.get('http://169.254.169.254/')", "ConnectError"),
        ("open('/dev/shm/x', 'w')", "PermissionError"),
    ],
)
def test_what_is_refused_is_told_as_an_error_of_its_cell(run, source, told):
    ran = run(source)
    assert ran.states == [CellState.FAILED]
    assert told in ran.ended["c0"].reason


def test_a_pool_that_is_ended_by_force_ends(run):
    ran = run(
        "import multiprocessing, time\npool = multiprocessing.Pool(2)\n"
        "pending = pool.map_async(time.sleep, [60, 60])\npool.terminate(); pool.join(); print('ended')"
    )
    assert ran.text() == "ended\n"


def test_of_a_fork_bomb_nothing_is_left_when_its_run_has_ended(engine):
    """However many it has become: all of them are in the kernel's process group, which is killed at once."""
    import threading

    stop, group = threading.Event(), 0
    bomb = "import os\nprint(os.getpgid(0), flush=True)\nwhile True:\n    try: os.fork()\n    except OSError: pass"
    for event in engine.run(segment(code("c0", bomb, timeout=30)), stop):
        if not group and type(event).__name__ == "Printed":
            group = int(event.output["text"])
            stop.set()
    with pytest.raises(ProcessLookupError):
        os.killpg(group, 0)


SOMEBODY_ELSE = """
import json, os, subprocess, sys
from runbooks_app.kernels.engine import Engine
sys.path.insert(0, sys.argv[2])
from kernels.segments import Ran, segment
if sys.argv[1] == "nobody":
    os.setgroups([]); os.setresgid(61999, 61999, 61999); os.setresuid(61999, 61999, 61999)
engine = Engine.start(uids=range(60990, 61000))
cell = "import os, resource; print(os.getuid(), resource.getrlimit(resource.RLIMIT_NPROC)[0], os.stat('.').st_uid)"
busy = "import os; os.makedirs('a/b/c'); open('a/b/c/d', 'w').close()\\n!echo from a shell"
ran = Ran(list(engine.run(segment(cell, busy))))
again = Ran(list(engine.run(segment(cell))))
folder = engine._folder
engine.close()
print(json.dumps([engine.probes, ran.text(), ran.text("c1"), again.text(), folder.exists()]))
"""

OPENED = """
import os, subprocess, sys
def mount(*arguments): subprocess.run(["mount", *arguments], check=True)
# In a mount namespace of its own, what lies in a closed home is reached by everybody.
base = os.path.realpath(sys.argv[1])
mount("--make-rprivate", "/")
closed = "/" + base.split("/")[1]
aside = os.path.join("/mnt", "aside")
os.makedirs(aside, exist_ok=True)
mount("--bind", base, aside)
mount("-t", "tmpfs", "-o", "mode=755", "tmpfs", closed)
os.makedirs(base)
mount("--bind", aside, base)
os.umask(0o022)
os.execv(sys.argv[2], sys.argv[2:])
"""


@pytest.mark.parametrize("who", ["root", "nobody"])
def test_an_engine_seals_kernels_whoever_its_worker_is(who):
    if os.geteuid() != 0:
        pytest.skip("only root can become somebody else; an ordinary user's engine is in every other test")
    base, service = Path(sys.base_prefix), Path(__file__).parents[3]
    script = [sys.executable, "-c", SOMEBODY_ELSE, who, str(service / "tests")]
    # The interpreter may lie in a home that is closed to others.
    opened = ["unshare", "-m", "/usr/bin/python3", "-c", OPENED, str(base), *script]
    closed = base.is_relative_to("/root")
    done = subprocess.run(opened if closed else script, capture_output=True, text=True, check=False, cwd="/tmp")
    assert done.returncode == 0, done.stderr
    count, first, shell, second, left = json.loads(done.stdout.splitlines()[-1])
    assert count >= 48
    assert shell == "from a shell\n"
    assert not left
    uids = [text.split()[0] for text in (first, second)]
    assert [text.split()[0] == text.split()[2] for text in (first, second)] == [True, True]
    if who == "root":
        assert set(map(int, uids)) <= set(range(60990, 61000))
        assert uids[0] != uids[1]
        assert int(first.split()[1]) > 0
    else:
        assert uids == ["61999", "61999"]
