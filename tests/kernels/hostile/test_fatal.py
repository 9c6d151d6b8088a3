"""Cells that end, break or occupy their own kernel, or lie to the worker: told as what they did, to nobody's harm."""

from __future__ import annotations

import json
import os
import re
import threading
import time

import pytest
from kernels.segments import PASSWORD, Ran, code, segment

from runbooks_app.core.run import CellState
from runbooks_app.kernels.events import CellStarted

pytestmark = pytest.mark.kernels

OK, FAILED, DIED = CellState.OK, CellState.FAILED, CellState.DIED
TIMED_OUT, CANCELLED, NEVER_RAN = CellState.TIMED_OUT, CellState.CANCELLED, CellState.NEVER_RAN
MB = 1_000_000


@pytest.fixture
def attack(victims):
    """Run a cell with one after it; whatever it does, nothing of it is left and the engine goes on."""

    def attack(source: str, *, timeout: float = 5, **given) -> Ran:
        cells = (code("c0", "import os, signal, time\n" + source, timeout=timeout), code("after", "print('goes on')"))
        ran = Ran(list(victims.engine.run(segment(*cells, inputs=victims.inputs(), **given))))
        assert victims.processes() == victims.usual
        return ran

    return attack


ENDS = {
    "os._exit": ("os._exit(0)", "exit code 0"),
    "abort": ("os.abort()", "SIGABRT"),
    "SIGKILL for itself": ("os.kill(os.getpid(), signal.SIGKILL)", "SIGKILL"),
    "a wild pointer": ("import ctypes; ctypes.string_at(1)", "SIGSEGV"),
    "closing every descriptor": ("os.closerange(0, 4096)", "a cell closed its descriptors"),
    "another program in its place": ("os.execv('/bin/true', ['true'])", "exit code 0"),
    "an endless recursion in C": (
        (
            "import ctypes, faulthandler; faulthandler.disable()\n"
            "ctypes.PYFUNCTYPE(None)(lambda: os.kill(os.getpid(), signal.SIGSEGV))()"
        ),
        "SIGSEGV",
    ),
}


@pytest.mark.parametrize("name", ENDS)
def test_a_kernel_that_ends_itself_is_told_with_its_cause(attack, name):
    source, told = ENDS[name]
    ran = attack(source)
    assert ran.states == [DIED, NEVER_RAN], ran.ended
    assert told in ran.ended["c0"].reason
    assert ran.reason == f"{ran.ended['c0'].reason} It was running cell c0."


HANGS = {
    "stopping itself": "os.kill(os.getpid(), signal.SIGSTOP)",
    "no interrupts": "signal.signal(signal.SIGINT, signal.SIG_IGN)\nwhile True: time.sleep(1)",
    "no signals": "signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())\nwhile True: time.sleep(1)",
    "another program": "os.execv('/bin/sleep', ['sleep', '300'])",
    "a trace function that goes nowhere": "import sys\nsys.settrace(lambda *_: time.sleep(300))\n(lambda: 1)()",
    "reading its own channel": "while True: os.read(3, 65536)",
    "closing its channel": "os.close(3)\nprint('to nobody')",
    "a frame without an end": "import struct\nos.write(3, struct.pack('!I', 2**32 - 1))\ntime.sleep(300)",
    "a spin below Python": "import ctypes\n[ctypes.CDLL(None).usleep(1000000) for _ in iter(int, 1)]",
}


@pytest.mark.parametrize("name", HANGS)
def test_a_kernel_that_does_not_stop_is_killed(attack, name):
    ran = attack(HANGS[name], timeout=0.5)
    assert ran.states[0] is TIMED_OUT, ran.ended
    assert ran.ended["c0"].reason.startswith("The cell's limit of 0.5 s was reached.")
    assert ran.states[1] in (NEVER_RAN, OK)


def test_a_cancelled_cell_that_ignores_it_is_killed_and_told_as_cancelled(victims):
    source = "import signal, time\nsignal.signal(signal.SIGINT, signal.SIG_IGN)\nprint('on')\ntime.sleep(300)"
    cancelled, events = threading.Event(), []
    for event in victims.engine.run(segment(source, "1"), cancelled):
        events.append(event)
        if not isinstance(event, CellStarted):
            cancelled.set()
    ran = Ran(events)
    assert ran.states == [CANCELLED, NEVER_RAN]
    assert ran.ended["c0"].reason == (
        "The run was cancelled. It did not stop within 0.5 s of being interrupted, so its kernel was killed."
    )


ORPHANS = {
    "a child": "import subprocess\nsubprocess.Popen(['sleep', '300'])",
    "a grandchild": "if os.fork() == 0:\n    os.fork()\n    time.sleep(300)",
    "nohup": "os.system('nohup sleep 300 >/dev/null 2>&1 &')",
    "a daemon": (
        "pid = os.fork()\nif pid == 0:\n    for number in signal.valid_signals() - {9, 19}:\n"
        "        try: signal.signal(number, signal.SIG_IGN)\n        except OSError: pass\n"
        "    if os.fork(): os._exit(0)\n    time.sleep(300)\nos.waitpid(pid, 0)"
    ),
    "one that is stopped": "import subprocess\nsubprocess.Popen(['sh', '-c', 'kill -STOP $$'])\ntime.sleep(0.1)",
    "one that forks and forks": (
        "if os.fork() == 0:\n    while True:\n        if os.fork(): os._exit(0)\n        time.sleep(0.001)"
    ),
}


@pytest.mark.parametrize("name", ORPHANS)
@pytest.mark.parametrize("end", ["", "\nos._exit(1)"], ids=["cell ends", "kernel ends"])
def test_nothing_that_a_cell_started_outlives_the_run(attack, name, end):
    ran = attack(ORPHANS[name] + end)
    assert ran.states == ([DIED, NEVER_RAN] if end else [OK, OK]), ran.ended


BOMBS = {
    "forks": ("while True: os.fork()", "processes and threads", {"processes": 40}),
    "forks of a shell": ("os.system('f() { f | f & }; f; sleep 60')", "processes and threads", {"processes": 40}),
    "memory of children": (
        "for _ in range(9):\n    if os.fork() == 0:\n        held = b'x' * 90_000_000; time.sleep(60)\ntime.sleep(60)",
        "of memory",
        {"memory": 400 * MB},
    ),
    "tables of pages": (
        (
            "import ctypes\nlibc = ctypes.CDLL(None)\nlibc.mmap.restype = ctypes.c_size_t\n"
            "libc.mmap.argtypes = [ctypes.c_size_t] * 6\n"
            "size = 1 << 40\nat = libc.mmap(0, size, 1, 0x4022, 2**64 - 1, 0)\n"  # readable, and nobody's yet
            "for place in range(at, at + size, 1 << 21): ctypes.c_char.from_address(place).value\ntime.sleep(60)"
        ),
        "of memory",
        {"memory": 400 * MB},
    ),
    "many files": (
        "for number in range(100_000): open(str(number), 'w').write('x')\ntime.sleep(60)",
        "of disk",
        {"disk": 4 * MB},
    ),
    "large files": (
        "for number in range(10): open(str(number), 'wb').write(b'x' * 3_000_000)\ntime.sleep(60)",
        "of disk",
        {"disk": 4 * MB},
    ),
    "files without a name": (
        (
            "held = []\nfor number in range(10):\n"
            "    held.append(open('f', 'wb')); os.unlink('f'); held[-1].write(b'x' * 3_000_000); held[-1].flush()\n"
            "time.sleep(60)"
        ),
        "of disk",
        {"disk": 4 * MB},
    ),
}


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_is_told_by_the_limit_that_it_broke(attack, name):
    if name == "files without a name" and os.geteuid() != 0:
        pytest.skip("only root sees what files other processes hold open")
    source, told, limits = BOMBS[name]
    ran = attack(source, timeout=8, **limits)
    assert ran.states == [DIED, NEVER_RAN], ran.ended
    assert re.search(rf"{told}.*, the limit of this runbook, and was ended\.$", ran.ended["c0"].reason)


def test_a_kernel_that_asks_for_memory_again_and_again_never_gets_more_than_its_limit(attack):
    source = "held = []\nwhile True:\n    try: held.append(bytearray(20_000_000))\n    except MemoryError: pass"
    ran = attack(source, timeout=1, memory=400 * MB)
    assert ran.states[0] is TIMED_OUT


FORGE = """
import json, struct
def frame(body):
    os.write(3, struct.pack("!I", len(body)) + body)
def forge(kind, content, parent=None):
    parent = parent or get_ipython().display_pub.session.kernel.parent
    frame(json.dumps({"msg_type": kind, "parent_header": {"msg_id": parent}, "content": content}).encode())
"""


@pytest.mark.parametrize(
    "forged",
    [
        "frame(b'')",
        "frame(b'not json')",
        "frame(b'[' * 100_000)",
        "frame(b'{\"msg_type\": 7}')",
        "for _ in range(20_000): os.write(3, b'\\0\\0\\0\\0')",
        "forge('execute_reply', {'status': 'aborted'})",
        "forge('status', {'execution_state': 'idle'})",
        "forge('shutdown_reply', {'restart': True})",
        "forge('execute_reply', {'status': 'ok'}, parent='0' * 32)",
        "forge('comm_open', {'comm_id': 'x', 'target_name': 'y', 'data': {}})",
        "forge('stream', {'name': 'stdout', 'text': 7})\nforge('display_data', {'data': [1]})",
        "frame(json.dumps({'msg_type': 'stream', 'x': 'y' * 60_000_000}).encode())",
    ],
    ids=lambda source: source[:40],
)
def test_forged_frames_change_nothing_but_their_own_cell(attack, forged):
    ran = attack(f"{FORGE}\nprint('before')\n{forged}\nprint('behind')", timeout=20)
    assert ran.states == [OK, OK], ran.ended
    assert ran.text("c0").startswith("before\n")
    assert ran.text("after") == "goes on\n"


def test_a_forged_reply_ends_its_own_cell_alone(attack):
    ran = attack(f"{FORGE}\nforge('execute_reply', {{'status': 'ok', 'execution_count': 1}})\ntime.sleep(0.3)")
    assert ran.states == [OK, OK]
    assert ran.text("after") == "goes on\n"


def test_a_flood_of_output_is_cut_and_counted(attack):
    ran = attack("for _ in range(200): print('x' * 100_000)", timeout=30, output=100_000, output_total=5_000_000)
    assert ran.states == [OK, OK]
    assert len(json.dumps(ran.ended["c0"].outputs)) < 200_000
    assert ran.ended["c0"].rest is not None
    assert ran.ended["c0"].rest.size <= 5_000_000
    assert "are not kept" in json.dumps(ran.ended["c0"].outputs)


def test_a_thread_that_prints_after_the_end_of_its_cell_is_heard_in_the_next_and_then_no_more(attack):
    source = "import threading\ndef tick():\n    while True: print('tick'); time.sleep(0.001)\n"
    ran = attack(f"{source}threading.Thread(target=tick).start()")
    assert ran.states == [OK, OK]
    assert "goes on" in ran.text("after")


def test_a_cell_that_rewrites_its_kernel_gives_away_no_secret(attack):
    source = (
        "import IPython.core.interactiveshell as shell, sys\nfrom runbook_library.kit import service\n"
        "kernel = get_ipython().display_pub.session.kernel\n"
        "shell.InteractiveShell.showtraceback = lambda *_, **__: None\n"
        "sys.stdout.write = lambda text: None\n"
        "kernel.drain = lambda: None\n"
        "try:\n    from runbooks_app.kernels import redaction\n"
        "    redaction.Redactor.text = lambda self, text: (text, 0)\n"
        "except ImportError: pass\n"
        "secret = service.state.connections['db']['password']\n"
        "kernel.send('stream', {'name': 'stdout', 'text': f'{secret}\\n'})\n"
        "os.write(1, secret.encode())"
    )
    connections = {"db": {"kind": "postgres", "password": PASSWORD}}
    ran = attack(source, connections=connections)
    told = json.dumps([[*end.outputs, end.reason] for end in ran.ended.values()] + ran.live, ensure_ascii=False)
    assert PASSWORD not in told
    assert "[redacted]" in told


def test_a_cell_that_configures_the_kit_anew_gets_no_further(attack):
    source = (
        "from runbook_library.kit import service\nfrom runbook_library import kit\n"
        "service.configure(stage='remediate', kept={}, connections={'mine': {'kind': 'http',"
        " 'url': f'http://127.0.0.1:{tcp}', 'headers': {}}})\n"
        "kit.http('mine').get('/')"
    )
    ran = attack(source)
    assert ran.states == [FAILED, OK]
    assert "Permission denied" in ran.ended["c0"].reason or "Errno 13" in ran.ended["c0"].reason


def test_a_crowd_of_hostile_runs_leaves_the_others_alone(victims):
    sources = ["while True: os.fork()", "os.closerange(0, 99)", "os.kill(os.getpid(), 9)", "print('x' * 9_000_000)"]
    ran: dict[int, Ran] = {}

    def job(number: int, source: str) -> None:
        ran[number] = Ran(list(victims.engine.run(segment(f"import os\n{source}", processes=40))))

    threads = [threading.Thread(target=job, args=item) for item in enumerate(sources * 2)]
    for thread in threads:
        thread.start()
    honest = Ran(list(victims.engine.run(segment("import time", "time.sleep(0.5)", "print('well')"))))
    for thread in threads:
        thread.join(60)
    assert honest.states == [OK] * 3
    assert [ran[number].states for number in range(8)] == [[DIED], [DIED], [DIED], [OK]] * 2
    deadline = time.monotonic() + 5
    while victims.processes() != victims.usual and time.monotonic() < deadline:
        time.sleep(0.01)
    assert victims.processes() == victims.usual


def test_nobody_was_harmed(victims):
    victims.unharmed()
