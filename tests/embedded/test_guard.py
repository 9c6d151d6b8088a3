"""The guard of a server process: its orders, its escalation, and descendants that would stay behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

from runbooks_app.main.embedded import Guarded


def start(script: str, **options) -> Guarded:
    """A guarded process that has printed its first line."""
    process = Guarded.start("the test's process", [sys.executable, "-c", script], stdout=subprocess.PIPE, **options)
    assert process.guard.stdout.readline().strip() == b"ready"
    return process


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(") ", 1)[1][0] != "Z"
    except OSError:
        return False


def test_what_ignores_a_signal_gets_the_next_one_and_then_dies():
    process = start(
        "import signal; signal.signal(2, signal.SIG_IGN); signal.signal(15, signal.SIG_IGN)\n"
        "print('ready', flush=True)\nwhile True: signal.pause()",
        stops="INT:0.1,TERM:0.1",
    )
    assert process.stop() == 128 + signal.SIGKILL


def test_a_descendant_with_a_session_of_its_own_is_killed_with_the_rest(tmp_path):
    process = start(
        "import os, signal, subprocess, sys\n"
        "child = subprocess.Popen(['sleep', '600'], start_new_session=True, stdout=subprocess.DEVNULL)\n"
        f"open({str(tmp_path / 'pid')!r}, 'w').write(str(child.pid))\n"
        "print('ready', flush=True)\nsignal.pause()",
    )
    child = int((tmp_path / "pid").read_text())
    assert alive(child)
    process.stop()
    assert not alive(child)


def test_the_command_starts_with_ordinary_signals_and_no_inherited_descriptors():
    with open("/dev/null") as secret:  # noqa: PTH123 - a descriptor to leak
        os.set_inheritable(secret.fileno(), True)
        process = start(
            "import os, signal\n"
            "assert not signal.pthread_sigmask(signal.SIG_BLOCK, ())\n"
            "assert set(os.listdir('/proc/self/fd')) <= {'0', '1', '2', '3'}\n"
            "print('ready', flush=True)",
        )
        assert process.guard.wait(10) == 0
        process.stop()


def test_a_command_that_does_not_exist_is_told(tmp_path):
    with (tmp_path / "log").open("wb") as log:
        process = Guarded.start("nothing", ["/nonexistent/program"], log=log)
        assert process.guard.wait(10) == 126
    assert "/nonexistent/program could not be started" in (tmp_path / "log").read_text()
    assert process.stop() == 126
