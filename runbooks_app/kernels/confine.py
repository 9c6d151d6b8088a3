"""The one place between a kernel's fork and the first line of anybody's code.

What stands here keeps a kernel from outliving its run and from gaining privileges. Landlock, seccomp and a change of
uid belong here too, last, when no step of ours is left that they would deny.
"""

from __future__ import annotations

import os
import resource
from pathlib import Path

from runbooks_app.kernels.processes import (
    PR_SET_CHILD_SUBREAPER,
    PR_SET_DUMPABLE,
    PR_SET_NO_NEW_PRIVS,
    die_with,
    prctl,
)

OPEN_FILES = 1024
"""Descriptors that a kernel may hold."""


def confine(zygote: int) -> None:
    """Bind this fresh fork of the process `zygote` to it; OSError, and so no kernel, where a step fails."""
    # Its own session: interrupts reach it with its subprocesses, and nobody else.
    os.setsid()
    die_with(zygote)
    # Orphans among its descendants stay below the kernel while it lives, and fall to the zygote with its death:
    # a child of the zygote that is no kernel is always the remains of a dead one.
    prctl(PR_SET_CHILD_SUBREAPER, 1)
    # The system kills a kernel before it kills a worker. /proc/self belongs to root while we are not dumpable.
    prctl(PR_SET_DUMPABLE, 1)
    Path("/proc/self/oom_score_adj").write_text("1000", encoding="ascii")
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    files = OPEN_FILES if hard == resource.RLIM_INFINITY else min(OPEN_FILES, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (files, files))
    prctl(PR_SET_NO_NEW_PRIVS, 1)
    # Other processes of our uid cannot read our memory and environment: that is where the credential will be.
    prctl(PR_SET_DUMPABLE, 0)
