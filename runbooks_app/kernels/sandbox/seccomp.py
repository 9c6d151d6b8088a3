"""Which system calls a kernel may not make: a list of rules, and the filter made from it.

What Landlock and dropped capabilities leave open stands here: sockets other than TCP, namespaces, other processes,
metadata of files. The rules name calls; a call that an architecture lacks is left out there. What is newer than the
list is refused: nobody has looked at it yet.
"""

from __future__ import annotations

import ctypes
import errno
import socket
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from runbooks_app.kernels.processes import PR_SET_THP_DISABLE
from runbooks_app.kernels.sandbox import assembler
from runbooks_app.kernels.sandbox.assembler import ALLOW, KILL_PROCESS, Program
from runbooks_app.kernels.sandbox.libc import syscall
from runbooks_app.kernels.sandbox.syscalls import LAST, Machine, this_machine

SUCCESS = 0
"""For calls that must not take effect and whose failure breaks what means no harm."""

_SET_MODE_FILTER = 1

_NEW_NAMESPACES = 0x7E020000  # every CLONE_NEW… of <linux/sched.h>
_MSG_FASTOPEN = 0x20000000
_KIND = 0xF  # of a socket's type, without SOCK_CLOEXEC and SOCK_NONBLOCK
# <asm-generic/ioctls.h>: type into a terminal; <linux/fs.h>: flags of an inode, on any file of ours open for reading
_TIOCSTI, _TIOCLINUX, _FS_IOC_SETFLAGS, _FS_IOC_FSSETXATTR = 0x5412, 0x541C, 0x40086602, 0x401C5820
_SETLEASE, _SETDELEG = 0x400, 0x410  # <linux/fcntl.h>
_MAP_SHARED, _MAP_ANONYMOUS = 0x1, 0x20  # the first is a bit of MAP_SHARED_VALIDATE, too


@dataclass(frozen=True)
class Argument:
    """Something to hold of an argument (its lower 32 bits, `mask` laid over them) for a rule to apply."""

    position: int
    test: Literal["is one of", "is none of", "has a bit of"]
    values: tuple[int, ...]
    mask: int = 0xFFFFFFFF


@dataclass(frozen=True)
class Rule:
    """These calls get this answer, where all that stands in `when` holds."""

    name: str
    calls: tuple[str, ...]
    answer: int
    when: tuple[Argument, ...] = ()


def _rule(name: str, calls: str, answer: int, *when: Argument) -> Rule:
    return Rule(name, tuple(calls.split()), answer, when)


RULES: tuple[Rule, ...] = (
    # glibc falls back to clone, whose flags can be looked at; clone3 has them in memory.
    _rule("clone3", "clone3", errno.ENOSYS),
    _rule("clone into namespaces", "clone", errno.EPERM, Argument(0, "has a bit of", (_NEW_NAMESPACES,))),
    _rule("namespaces", "unshare setns", errno.EPERM),
    # Kernels are killed with all that they started by their process group, so nobody leaves it.
    _rule("sessions", "setsid setpgid", errno.EPERM),
    _rule(
        "other processes",
        "ptrace process_vm_readv process_vm_writev process_madvise process_mrelease pidfd_open pidfd_getfd kcmp",
        errno.EPERM,
    ),
    # Processes of the same user, as the worker may be, are not protected from these by Landlock.
    _rule("limits of others", "prlimit64 sched_setaffinity", errno.EPERM, Argument(0, "is none of", (0,))),
    _rule("priority of groups and users", "setpriority", errno.EPERM, Argument(0, "is none of", (0,))),
    _rule("priority of others", "setpriority", errno.EPERM, Argument(1, "is none of", (0,))),
    _rule("pages and disk priority of others", "ioprio_set migrate_pages move_pages", errno.EPERM),
    # Numerical libraries ask for it at their start and take no for a reason to abort.
    _rule("scheduling", "sched_setscheduler sched_setparam sched_setattr", SUCCESS),
    # On files of our own uid these need no write access, so Landlock lets them through. IPython does not start
    # where chmod fails. A file that is touched by its name may be about to be made: that must not seem to be done.
    _rule("touching", "utime utimes", errno.EPERM, Argument(1, "is one of", (0,))),
    _rule(
        "touching by name",
        "utimensat futimesat",
        errno.EPERM,
        Argument(1, "is none of", (0,)),
        Argument(2, "is one of", (0,)),
    ),
    _rule("metadata", "chmod fchmod fchmodat fchmodat2 utime utimes utimensat futimesat", SUCCESS),
    # `tar` run by root fails without.
    _rule("owners", "chown fchown lchown fchownat", SUCCESS),
    # Copying and editing in place take this for a file system that has none, and go on.
    _rule(
        "attributes",
        "setxattr lsetxattr fsetxattr setxattrat removexattr lremovexattr fremovexattr removexattrat",
        errno.EOPNOTSUPP,
    ),
    _rule("flags of files", "file_setattr", errno.EPERM),
    _rule(
        "terminals and inode flags",
        "ioctl",
        errno.EPERM,
        Argument(1, "is one of", (_TIOCSTI, _TIOCLINUX, _FS_IOC_SETFLAGS, _FS_IOC_FSSETXATTR)),
    ),
    # Whoever opens a file of our uid's waits until its lease is given back, for 45 seconds.
    _rule("leases", "fcntl", errno.EPERM, Argument(1, "is one of", (_SETLEASE, _SETDELEG))),
    # They tell the names of files in any folder that our uid may read; Landlock is not asked. `tail -f` polls then.
    _rule("news of files", "inotify_init inotify_init1 inotify_add_watch", errno.ENOSYS),
    # TCP alone: UDP, netlink, vsock, MPTCP and the rest pass Landlock by. The errno matters: where netlink is
    # refused with EACCES, libraries abort.
    _rule(
        "families of sockets",
        "socket",
        errno.EOPNOTSUPP,
        Argument(0, "is none of", (socket.AF_INET, socket.AF_INET6)),
    ),
    _rule("kinds of sockets", "socket", errno.EOPNOTSUPP, Argument(1, "is none of", (socket.SOCK_STREAM,), _KIND)),
    _rule("protocols of sockets", "socket", errno.EOPNOTSUPP, Argument(2, "is none of", (0, socket.IPPROTO_TCP))),
    # A datagram socket of a pair could still be pointed at any other's address.
    _rule(
        "pairs of sockets",
        "socketpair",
        errno.EOPNOTSUPP,
        Argument(1, "is none of", (socket.SOCK_STREAM, socket.SOCK_SEQPACKET), _KIND),
    ),
    _rule("families of pairs", "socketpair", errno.EOPNOTSUPP, Argument(0, "is none of", (socket.AF_UNIX,))),
    # Sending connects, then, and Landlock looks at connect alone.
    _rule("fast open", "sendto sendmmsg", errno.EOPNOTSUPP, Argument(3, "has a bit of", (_MSG_FASTOPEN,))),
    _rule("fast open of messages", "sendmsg", errno.EOPNOTSUPP, Argument(2, "has a bit of", (_MSG_FASTOPEN,))),
    # Without a bind before, it takes a port that Landlock was not asked about.
    _rule("listening", "listen", errno.EPERM),
    _rule(
        "file systems",
        "mount umount2 pivot_root chroot mount_setattr open_tree open_tree_attr move_mount fsopen fsconfig fsmount "
        "fspick statmount listmount quotactl quotactl_fd acct swapon swapoff",
        errno.EPERM,
    ),
    _rule("files by handle", "name_to_handle_at open_by_handle_at", errno.EPERM),
    _rule(
        "ways around the filter",
        "io_uring_setup io_uring_enter io_uring_register bpf perf_event_open userfaultfd fanotify_init",
        errno.EPERM,
    ),
    # Memory in files without a name: no process has to have it mapped, so nobody could see how much there is.
    _rule("memory in files", "memfd_create", errno.ENOSYS),
    # It is such a file: who says that its pages are not needed (MADV_DONTNEED) shows none of them, and keeps them all.
    _rule(
        "memory that is shared",
        "mmap",
        errno.EPERM,
        Argument(3, "is one of", (_MAP_SHARED | _MAP_ANONYMOUS,), _MAP_SHARED | _MAP_ANONYMOUS),
    ),
    # The watch tells by the pages that a fork was given how much of its parent's memory it made its own.
    _rule("huge pages", "prctl", errno.EPERM, Argument(0, "is one of", (PR_SET_THP_DISABLE,))),
    _rule("keys", "keyctl add_key request_key", errno.EPERM),
    # They outlive the run, and are seen by all.
    _rule("shared between processes", "mq_open msgget semget shmget", errno.EPERM),
    _rule(
        "the machine",
        "init_module finit_module delete_module kexec_load kexec_file_load reboot syslog iopl ioperm modify_ldt "
        "personality memfd_secret vhangup lookup_dcookie settimeofday clock_settime adjtimex clock_adjtime "
        "sethostname setdomainname",
        errno.EPERM,
    ),
)


def program(machine: Machine, rules: Iterable[Rule] = RULES, newest: int = LAST) -> bytes:
    """The filter for a machine. Every call of a rule has to be known on some machine, so that none is misspelt."""
    made = Program()
    made.load(assembler.ARCHITECTURE)
    made.if_equal(machine.audit, otherwise="foreign")
    made.load(assembler.NUMBER)
    # Also all of x32, the third set of numbers that an x86-64 kernel may answer to.
    made.if_greater(newest, then="unknown", otherwise="known")
    made.label("foreign")
    made.answer(KILL_PROCESS)
    made.label("unknown")
    made.answer(assembler.errno(errno.ENOSYS))
    made.label("known")
    for rule in rules:
        numbers = [machine.numbers[call] for call in rule.calls if call in machine.numbers]
        if numbers:
            _add(made, rule, numbers)
    made.answer(ALLOW)
    return made.assemble()


def _add(made: Program, rule: Rule, numbers: Sequence[int]) -> None:
    """One rule. The call's number is in the register before it and after it."""
    applies, holds_not, end = f"{rule.name}: applies", f"{rule.name}: holds not", f"{rule.name}: end"
    for number in numbers[:-1]:
        made.if_equal(number, then=applies)
    made.if_equal(numbers[-1], otherwise=end)
    made.label(applies)
    for place, wanted in enumerate(rule.when):
        holds = f"{rule.name}: {place} holds"
        made.load(assembler.argument(wanted.position))
        if wanted.mask != 0xFFFFFFFF:
            made.mask(wanted.mask)
        for value in wanted.values:
            match wanted.test:
                case "is one of":
                    made.if_equal(value, then=holds)
                case "is none of":
                    made.if_equal(value, then=holds_not)
                case "has a bit of":
                    made.if_any(value, then=holds)
        if wanted.test != "is none of":
            made.go(holds_not)
        made.label(holds)
    made.answer(assembler.errno(rule.answer))
    made.label(holds_not)
    if rule.when:
        made.load(assembler.NUMBER)
    made.label(end)


class _Program(ctypes.Structure):
    """`struct sock_fprog`."""

    _fields_ = (("length", ctypes.c_ushort), ("instructions", ctypes.c_char_p))


class Filter:
    """The filter of this machine, assembled once; `install` it in a process without new privileges."""

    def __init__(self, rules: Iterable[Rule] = RULES) -> None:
        machine = this_machine()
        instructions = program(machine, rules)
        self._number = machine.numbers["seccomp"]
        self._program = bytes(_Program(len(instructions) // 8, instructions))
        self._instructions = instructions  # the address above is into it

    def install(self) -> None:
        """For this process and all that it will ever start; OSError where the system refuses."""
        syscall(self._number, _SET_MODE_FILTER, 0, self._program)
