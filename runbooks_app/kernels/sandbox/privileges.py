"""Who a kernel is: a user of its own where the worker may choose one, and never with a capability."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterable
from contextlib import suppress

from runbooks_app.kernels.processes import prctl
from runbooks_app.kernels.sandbox.libc import syscall
from runbooks_app.kernels.sandbox.syscalls import this_machine

# <linux/prctl.h>, <linux/capability.h>
_PR_CAPBSET_DROP, _PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL = 24, 47, 4
_CAPABILITIES = 64
_CAPABILITY_VERSION_3 = 0x20080522
_HEADER = struct.pack("=Ii", _CAPABILITY_VERSION_3, 0)
_NONE = struct.pack("=6I", 0, 0, 0, 0, 0, 0)


def drop(uid: int | None) -> None:
    """Become `uid` (None: stay), and lose every capability for good; OSError where that fails.

    With no_new_privs, which comes later, no program that is executed has more than we have; emptying the bounding
    set, which only the privileged can, says it a second time.
    """
    with suppress(OSError):  # EINVAL ends it at the last one that the system knows; EPERM where there are none to drop
        for capability in range(_CAPABILITIES):
            prctl(_PR_CAPBSET_DROP, capability)
    if uid is not None:
        os.setgroups([])
        os.setresgid(uid, uid, uid)
        os.setresuid(uid, uid, uid)
    prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL)
    syscall(this_machine().numbers["capset"], _HEADER, _NONE)


def hindrance(uid: int, readable: Iterable[str], passable: Iterable[str]) -> str:
    """Why kernels cannot run under this uid, found out by really becoming it in a fork; empty where they can.

    They must be able to read some files and folders, and to pass through others.
    """
    reads, writes = os.pipe()
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            os.write(writes, _tried(uid, readable, passable).encode())
            code = 0
        finally:
            os._exit(code)
    os.close(writes)
    with os.fdopen(reads, "rb") as answer:
        said = answer.read().decode()
    _, status = os.waitpid(pid, 0)
    return said if status == 0 else f"uid {uid} could not be tried out"


def _tried(uid: int, readable: Iterable[str], passable: Iterable[str]) -> str:
    try:
        drop(uid)
    except OSError as error:
        return f"this process may not become uid {uid} ({error.strerror})"
    for paths, mode, what in ((readable, os.R_OK, "read"), (passable, os.X_OK, "enter")):
        for path in paths:
            if not os.access(path, mode):
                return f"uid {uid} may not {what} {path}"
    return ""
