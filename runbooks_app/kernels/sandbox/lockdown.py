"""The one place between a kernel's fork and the first line of anybody's code.

Everything that can be done before a fork is done when the zygote starts: a lockdown then takes about a millisecond.
The order is not free. Each step needs something that a later one takes away.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import runbooks_app
from runbooks_app.kernels.priority import Lever
from runbooks_app.kernels.processes import (
    PR_SET_CHILD_SUBREAPER,
    PR_SET_DUMPABLE,
    PR_SET_NO_NEW_PRIVS,
    PR_SET_THP_DISABLE,
    die_with,
    prctl,
)
from runbooks_app.kernels.sandbox.landlock import SYSTEM, Landlock, python_folders
from runbooks_app.kernels.sandbox.limits import limit
from runbooks_app.kernels.sandbox.privileges import drop
from runbooks_app.kernels.sandbox.seccomp import Filter
from runbooks_app.kernels.sandbox.spec import Spec

SERVICE = Path(runbooks_app.__file__).resolve().parent


class Lockdown:
    """What all sandboxes of one zygote have in common; OSError where the system or the machine lacks something.

    `roots` are the folders that runbooks import from, before the service's own.
    """

    def __init__(self, roots: Sequence[Path]) -> None:
        # Where the service lies, imports look for names; a checkout has more in it than kernels should read.
        self.landlock = Landlock(_imported(roots), [SERVICE.parent])
        self.filter = Filter()


def readable(roots: Sequence[Path]) -> list[Path]:
    """All that every kernel may read, where kernels import from `roots`."""
    return [*map(Path, SYSTEM), *_imported(roots)]


def _imported(roots: Sequence[Path]) -> list[Path]:
    others = (root for root in roots if root != SERVICE.parent)
    return [*python_folders(), SERVICE, SERVICE.parent / "runbook_library", *others]


def bind(lever: Lever) -> None:
    """Make this fresh fork a kernel among others: its own session, first to go for want of memory.

    By the `lever` the zygote sets its share of the processors.
    """
    # Its own session: interrupts reach it with its subprocesses, and nobody else.
    os.setsid()
    # Orphans among its descendants stay below the kernel while it lives, and fall to the zygote with its death:
    # a child of the zygote that is no kernel is always the remains of a dead one.
    prctl(PR_SET_CHILD_SUBREAPER, 1)
    # /proc/self belongs to root while we are not dumpable, so the zygote may not open these itself.
    prctl(PR_SET_DUMPABLE, 1)
    # The system kills a kernel before it kills a worker.
    score = os.open("/proc/self/oom_score_adj", os.O_WRONLY | os.O_CLOEXEC)
    os.write(score, b"1000")  # Path.write_text took 2 ms here: a fork copies every page of Python's that it touches
    os.close(score)
    lever.hand_over()


def lock(zygote: int, lockdown: Lockdown | None, spec: Spec | None) -> None:
    """Tie this fork to the process `zygote`, and lock it down; OSError, and so no kernel, where a step fails.

    Without a spec it is only tied, as RUNBOOKS_SANDBOX=off has it. A spec without a lockdown is refused.
    """
    # What it takes for itself comes page by page from here on: the watch counts pages.
    prctl(PR_SET_THP_DISABLE, 1)
    if spec is not None:
        limit(spec)
        drop(spec.uid)
    # A change of uid would undo these two. No other process of our uid can read our memory and environment.
    die_with(zygote)
    prctl(PR_SET_DUMPABLE, 0)
    prctl(PR_SET_NO_NEW_PRIVS, 1)
    if spec is not None:
        if lockdown is None:
            raise OSError("the zygote was started without a sandbox")
        lockdown.landlock.restrict(spec.folder, spec.ports)
        # Last: the steps before make calls that it denies.
        lockdown.filter.install()
