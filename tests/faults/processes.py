"""Processes below a worker, and workers that may be killed."""

from __future__ import annotations

import signal
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from process_trees import descendants
from whole_stage import until

from runbooks_app.main.demo.stage import LIBRARY

if TYPE_CHECKING:
    from runbooks_app.main.demo.stage import Stage

ON_A_LEASH = """
import ctypes, os, sys
ctypes.CDLL(None).prctl(1, 9)  # PR_SET_PDEATHSIG: should the tests be killed, so is this
os.execv(sys.executable, [sys.executable, *sys.argv[1:]])
"""


def lives(pid: int) -> bool:
    """Whether the process is there and no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@dataclass
class Crew:
    """Workers without a guard that would clear up behind them: what is gone after a kill, went by itself."""

    stage: Stage
    workers: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def hire(self) -> subprocess.Popen[bytes]:
        """Start another worker."""
        with (self.stage.folder / "crew.log").open("ab") as log:
            worker = subprocess.Popen(
                [sys.executable, "-c", ON_A_LEASH, "-m", "runbooks_app.main", "worker"],
                env=self.stage.environment(),
                cwd=LIBRARY.parent,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self.workers.append(worker)
        return worker

    @property
    def only(self) -> subprocess.Popen[bytes]:
        """The one worker there is."""
        (worker,) = self.workers
        return worker

    def kill(self, worker: subprocess.Popen[bytes]) -> None:
        """Kill -9, and nothing below it survives."""
        below = descendants(worker.pid)
        assert len(below) >= 2, "a worker has a warden and a zygote"
        worker.kill()
        worker.wait()
        self.workers.remove(worker)
        until("its warden, zygote and kernels to be gone", lambda: not [p for p in below if lives(p)] or None)

    def dismiss(self, worker: subprocess.Popen[bytes]) -> None:
        """Stop it as an operator would."""
        below = descendants(worker.pid)
        worker.send_signal(signal.SIGCONT)
        worker.terminate()
        worker.wait(30)
        self.workers.remove(worker)
        until("nothing of it to be left", lambda: not [p for p in below if lives(p)] or None)
