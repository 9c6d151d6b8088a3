"""System calls that must not be made at all, each tried with arguments that have no effect.

The exact errno is wanted: without the filter these arguments are answered otherwise, except where the system asks for
a capability first, which no kernel has.
"""

from __future__ import annotations

import errno
import os
from functools import partial
from typing import Literal

from runbooks_app.kernels.processes import PR_SET_THP_DISABLE
from runbooks_app.kernels.sandbox.libc import syscall
from runbooks_app.kernels.sandbox.probes.asking import Probe, Targets
from runbooks_app.kernels.sandbox.syscalls import this_machine

Argument = int | None | Literal["self"]

_KEY = 0x72756E62
"""Of System V's shared things; nobody has it."""
_FASTOPEN = 0x20000000
_TERMINAL_INPUT, _INODE_FLAGS = 0x5412, 0x40086602

DENIED: dict[str, tuple[tuple[Argument, ...], str]] = {
    # call: arguments, what it would give access to
    "process_vm_readv": (("self", None, 0, None, 0, 0), "other processes' memory"),
    "process_vm_writev": (("self", None, 0, None, 0, 0), "other processes' memory"),
    "process_madvise": ((-1, None, 0, 0, 0), "other processes' memory"),
    "process_mrelease": ((-1, 0), "other processes' memory"),
    "pidfd_open": (("self", 0), "handles of other processes"),
    "pidfd_getfd": ((-1, 0, 0), "other processes' descriptors"),
    "kcmp": (("self", "self", 1, 0, 0), "where other processes' memory lies"),
    "setns": ((-1, 0), "other namespaces"),
    "prlimit64": (("self", 7, None, None), "other processes' limits"),
    "sched_setaffinity": (("self", 0, None), "where other processes run"),
    "ioprio_set": ((1, 0, 0x4004), "other processes' disk"),
    "migrate_pages": (("self", 0, None, None), "other processes' memory"),
    "move_pages": (("self", 0, None, None, None, 0), "other processes' memory"),
    "file_setattr": ((-1, None, None, 0, 0), "flags of files"),
    "mount": ((None, None, None, 0, None), "file systems"),
    "umount2": ((None, 0), "file systems"),
    "pivot_root": ((None, None), "file systems"),
    "chroot": ((None,), "file systems"),
    "mount_setattr": ((-1, None, 0, None, 0), "file systems"),
    "open_tree": ((-1, None, 0), "file systems"),
    "open_tree_attr": ((-1, None, 0, None, 0), "file systems"),
    "move_mount": ((-1, None, -1, None, 0), "file systems"),
    "fsopen": ((None, 0), "file systems"),
    "fsconfig": ((-1, 0, None, None, 0), "file systems"),
    "fsmount": ((-1, 0, 0), "file systems"),
    "fspick": ((-1, None, 0), "file systems"),
    "statmount": ((None, None, 0, 0), "what is mounted"),
    "listmount": ((None, None, 0, 0), "what is mounted"),
    "quotactl": ((-1, None, 0, None), "quotas"),
    "quotactl_fd": ((-1, -1, 0, None), "quotas"),
    "acct": ((1,), "accounting of processes"),
    "swapon": ((None, 0), "swap"),
    "swapoff": ((None,), "swap"),
    "name_to_handle_at": ((-1, None, None, None, -1), "files by handle"),
    "open_by_handle_at": ((-1, None, 0), "files by handle"),
    "io_uring_setup": ((1, None), "calls past the filter"),
    "io_uring_enter": ((-1, 0, 0, 0, None, 0), "calls past the filter"),
    "io_uring_register": ((-1, 0, None, 0), "calls past the filter"),
    "bpf": ((-1, None, 0), "programs in the system"),
    "perf_event_open": ((None, 0, -1, -1, -1), "what other processes do"),
    "userfaultfd": ((-1,), "a part of the system that is attacked often"),
    "fanotify_init": ((0x200, -1), "what happens to files"),
    "keyctl": ((-1, 0, 0, 0, 0), "keys"),
    "add_key": ((None, None, None, 0, 0), "keys"),
    "request_key": ((None, None, None, 0), "keys"),
    "mq_open": ((None, 0, 0, None), "queues that outlive the run"),
    "msgget": ((_KEY, 0), "queues that outlive the run"),
    "semget": ((_KEY, 0, 0), "semaphores that outlive the run"),
    "shmget": ((_KEY, 0, 0), "memory that outlives the run"),
    "init_module": ((None, 0, None), "modules of the system"),
    "finit_module": ((-1, None, 0), "modules of the system"),
    "delete_module": ((None, 0), "modules of the system"),
    "kexec_load": ((0, 0, None, 0), "another system"),
    "kexec_file_load": ((-1, -1, 0, None, 0), "another system"),
    "reboot": ((0, 0, 0, None), "a restart"),
    "syslog": ((10, None, 0), "the system's log"),
    "iopl": ((-1,), "devices"),
    "ioperm": ((-1, 1, 1), "devices"),
    "modify_ldt": ((-1, None, 0), "a part of the system that is attacked often"),
    "personality": ((0xFFFFFFFF,), "memory laid out without chance"),
    "memfd_secret": ((-1,), "memory that nobody can look into"),
    "vhangup": ((), "terminals"),
    "lookup_dcookie": ((0, None, 0), "a part of the system that nobody uses"),
    "settimeofday": ((1, None), "the clock"),
    "clock_settime": ((0, None), "the clock"),
    "adjtimex": ((None,), "the clock"),
    "clock_adjtime": ((0, None), "the clock"),
    "sethostname": ((None, -1), "the machine's name"),
    "setdomainname": ((None, -1), "the machine's name"),
}

OTHERWISE: dict[str, tuple[str, tuple[Argument, ...], int, str]] = {
    # probe: call, arguments, the answer that is wanted, what that shows
    "call_clone3": ("clone3", (None, 0), errno.ENOSYS, "a call whose flags cannot be looked at is not there"),
    "set_the_priority_of_a_group": ("setpriority", (1, 0, 0), errno.EPERM, "only a process's own priority is set"),
    "set_the_priority_of_a_process": ("setpriority", (0, "self", 0), errno.EPERM, "only our own priority is set"),
    "type_into_a_terminal": ("ioctl", (-1, _TERMINAL_INPUT, None), errno.EPERM, "nobody types for others"),
    "set_flags_of_an_inode": ("ioctl", (-1, _INODE_FLAGS, None), errno.EPERM, "no file is made unchangeable"),
    "touch_by_name": (
        "utimensat",
        (-1, 1, None, 0),
        errno.EPERM,
        "a file that is yet to be made does not seem touched",
    ),
    "touch": ("utime", (1, None), errno.EPERM, "a file that is yet to be made does not seem touched"),
    "touch_in_microseconds": ("utimes", (1, None), errno.EPERM, "a file that is yet to be made does not seem touched"),
    "touch_in_a_folder": (
        "futimesat",
        (-1, 1, None),
        errno.EPERM,
        "a file that is yet to be made does not seem touched",
    ),
    "memory_without_a_name": ("memfd_create", (None, 0), errno.ENOSYS, "all memory belongs to a process or to a file"),
    "share_memory": ("mmap", (None, 0, 0, 0x21, -1, 0), errno.EPERM, "all memory belongs to a process or to a file"),
    "lease_a_file": ("fcntl", (-1, 0x400, 0), errno.EPERM, "nobody waits for a kernel to open a file"),
    "have_news_of_files": ("inotify_init1", (-1,), errno.ENOSYS, "what happens to files is told to nobody"),
    "have_news_of_files_by_the_older_call": (
        "inotify_init",
        (),
        errno.ENOSYS,
        "what happens to files is told to nobody",
    ),
    "watch_a_file": ("inotify_add_watch", (-1, None, 1), errno.ENOSYS, "what happens to files is told to nobody"),
    "take_huge_pages": (
        "prctl",
        (PR_SET_THP_DISABLE, 1, 0, 0, 0),
        errno.EPERM,
        "what a process takes is counted page by page",
    ),
    "connect_by_sending_many": (
        "sendmmsg",
        (-1, None, 0, _FASTOPEN),
        errno.EOPNOTSUPP,
        "fast open is closed for many messages too",
    ),
}

UNSUPPORTED: dict[str, tuple[Argument, ...]] = {
    "setxattr": (None, None, None, 0, 0),
    "lsetxattr": (None, None, None, 0, 0),
    "fsetxattr": (-1, None, None, 0, 0),
    "setxattrat": (-1, None, 0, None, None, 0),
    "removexattr": (None, None),
    "lremovexattr": (None, None),
    "fremovexattr": (-1, None),
    "removexattrat": (-1, None, 0, None),
}
"""Attributes of files: the answer is that there are none."""

PRETENDED: dict[str, tuple[Argument, ...]] = {
    "chmod": (None, 0),
    "fchmod": (-1, 0),
    "fchmodat": (-1, None, 0),
    "fchmodat2": (-1, None, 0, 0),
    "utime": (None, 1),
    "utimes": (None, 1),
    "futimesat": (-1, None, None),
    "utimensat": (-1, None, None, 0),
    "chown": (None, 0, 0),
    "fchown": (-1, 0, 0),
    "lchown": (None, 0, 0),
    "fchownat": (-1, None, 0, 0, 0),
    "sched_setscheduler": (0, -1, None),
    "sched_setparam": (0, None),
    "sched_setattr": (0, None, 0),
}
"""Calls that say they succeeded, also with arguments that make no sense."""


def _call(call: str, arguments: tuple[Argument, ...], wanted: int, _: Targets) -> None:
    found = 0
    try:
        syscall(this_machine().numbers[call], *(os.getpid() if given == "self" else given for given in arguments))
    except OSError as error:
        found = error.errno or 0
    if found != wanted:
        raise OSError(found, f"{call} answered {errno.errorcode.get(found, 'success')}")


def _probes() -> tuple[Probe, ...]:
    wanted = {
        f"call_{call}": (call, given, errno.EPERM, f"no access to {gives}") for call, (given, gives) in DENIED.items()
    }
    wanted |= OTHERWISE
    none = errno.EOPNOTSUPP
    wanted |= {f"call_{call}": (call, given, none, "files have no attributes") for call, given in UNSUPPORTED.items()}
    wanted |= {f"pretend_{call}": (call, given, 0, "it says it succeeded") for call, given in PRETENDED.items()}
    return tuple(
        Probe(name, shows, partial(_call, call, given, answer), fails=False)
        for name, (call, given, answer, shows) in wanted.items()
        if call in this_machine().numbers
    )


PROBES = _probes()
