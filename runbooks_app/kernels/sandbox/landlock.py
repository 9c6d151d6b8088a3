"""Which files, ports and processes a kernel may reach: Landlock (landlock(7), <linux/landlock.h>).

Everything is denied that Landlock can deny, and then allowed again here: the system and what runbooks import for
reading, the run's own folder for writing, the ports of the run's gateway for connecting. Binding a port, signals to
other processes and abstract unix sockets of other processes are denied without exception.
"""

from __future__ import annotations

import fcntl
import os
import stat
import struct
import sys
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from runbooks_app.kernels.sandbox.libc import syscall
from runbooks_app.kernels.sandbox.syscalls import this_machine

ABI = 6
"""The first that keeps signals and abstract sockets inside (Linux 6.12)."""

EXECUTE, WRITE_FILE, READ_FILE, READ_DIR = 1 << 0, 1 << 1, 1 << 2, 1 << 3
MAKE_CHAR, MAKE_BLOCK, TRUNCATE, IOCTL_DEV = 1 << 6, 1 << 11, 1 << 14, 1 << 15
ALL_FILES = (1 << 16) - 1
READ = EXECUTE | READ_FILE | READ_DIR
WRITE = ALL_FILES & ~(MAKE_CHAR | MAKE_BLOCK | IOCTL_DEV)
ON_FILES = EXECUTE | WRITE_FILE | READ_FILE | TRUNCATE | IOCTL_DEV
"""What there is to allow of a file that is no folder."""
BIND_TCP, CONNECT_TCP = 1 << 0, 1 << 1
ABSTRACT_SOCKETS, SIGNALS = 1 << 0, 1 << 1

_CREATE_VERSION = 1
_PATH_BENEATH, _PORT = 1, 2
_HIGH = 64
"""Descriptors that are kept for later lie from here on, out of the way of those that a kernel gets."""

SYSTEM = (
    *("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/nix/store"),
    # Of /etc what programs look up, and nothing that a machine keeps to itself.
    *("/etc/ld.so.cache", "/etc/ld.so.conf", "/etc/ld.so.conf.d", "/etc/alternatives", "/etc/os-release"),
    *("/etc/passwd", "/etc/group", "/etc/nsswitch.conf", "/etc/hosts", "/etc/host.conf", "/etc/resolv.conf"),
    *(
        "/etc/localtime",
        "/etc/timezone",
        "/etc/gitconfig",
        "/etc/inputrc",
        "/etc/mime.types",
        "/etc/services",
        "/etc/protocols",
        "/etc/fonts",
    ),
    *("/etc/ssl/certs", "/etc/ssl/openssl.cnf", "/etc/ca-certificates", "/etc/pki/tls/certs", "/etc/pki/ca-trust"),
    *("/dev/random", "/dev/urandom", "/sys/devices/system/cpu"),
    *("/proc/cpuinfo", "/proc/meminfo", "/proc/stat", "/proc/uptime", "/proc/loadavg", "/proc/version"),
    *("/proc/filesystems", "/proc/sys/kernel", "/proc/sys/vm"),
)
"""What every kernel may read and execute, where it exists."""

DEVICES = ("/dev/null", "/dev/full")
"""What every kernel may also write to. Not /dev/zero: mapped, it is memory that nobody can count."""


def version() -> int:
    """The system's ABI of Landlock; 0 where it has none or it is switched off."""
    with suppress(OSError):
        return syscall(this_machine().numbers["landlock_create_ruleset"], None, 0, _CREATE_VERSION)
    return 0


@dataclass(frozen=True)
class Handled:
    """What is denied unless allowed."""

    files: int = ALL_FILES
    ports: int = BIND_TCP | CONNECT_TCP
    scopes: int = ABSTRACT_SOCKETS | SIGNALS


class Landlock:
    """Rules that all kernels have in common, their paths opened once; `restrict` adds those of one kernel.

    `imports` are folders that Python reads from. In `listed` it may look for names and read nothing.
    """

    def __init__(
        self,
        imports: Iterable[Path],
        listed: Iterable[Path],
        *,
        handled: Handled = Handled(),
    ) -> None:
        found = version()
        if found < ABI:
            has = f"has Landlock ABI {found}" if found else "has no Landlock, or not switched on (lsm=landlock,…)"
            raise OSError(f"the system's kernel {has}, and ABI {ABI} is needed (Linux 6.12)")
        numbers = this_machine().numbers
        self._create, self._add, self._restrict = (
            numbers[f"landlock_{call}"] for call in ("create_ruleset", "add_rule", "restrict_self")
        )
        self._handled = handled
        self._attributes = struct.pack("=QQQ", handled.files, handled.ports, handled.scopes)
        paths = [(Path(path), READ) for path in SYSTEM]
        paths += [(Path(path), READ | WRITE_FILE | TRUNCATE) for path in DEVICES]
        paths += [(path, READ) for path in imports] + [(path, READ_DIR) for path in listed]
        self._kept = tuple(_kept(path, access) for path, access in paths if path.exists())

    def restrict(self, folder: str, ports: Sequence[int]) -> None:
        """For this process and all that it will ever start; OSError where a step fails.

        Needs no_new_privs. `folder` alone may be written to; of `/proc` this process sees itself.
        """
        rules = syscall(self._create, self._attributes, len(self._attributes), 0)
        for descriptor, access in self._kept:
            self._allow(rules, descriptor, access)
        for path, access in ((folder, WRITE), ("/proc/self", READ)):
            descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
            self._allow(rules, descriptor, access)
            os.close(descriptor)
        for port in ports if self._handled.ports & CONNECT_TCP else ():
            syscall(self._add, rules, _PORT, struct.pack("=QQ", CONNECT_TCP, port), 0)
        syscall(self._restrict, rules, 0)
        os.close(rules)

    def _allow(self, rules: int, descriptor: int, access: int) -> None:
        if access := access & self._handled.files:
            syscall(self._add, rules, _PATH_BENEATH, struct.pack("=Qi", access, descriptor), 0)


def _kept(path: Path, access: int) -> tuple[int, int]:
    """A descriptor for the path, and what can be allowed of it."""
    opened = os.open(path, os.O_PATH | os.O_CLOEXEC)
    descriptor = fcntl.fcntl(opened, fcntl.F_DUPFD_CLOEXEC, _HIGH)
    os.close(opened)
    return descriptor, access if stat.S_ISDIR(os.fstat(descriptor).st_mode) else access & ON_FILES


def python_folders() -> list[Path]:
    """Where this interpreter, its libraries and its packages lie."""
    return [Path(path).resolve() for path in dict.fromkeys((sys.prefix, sys.base_prefix, sys.exec_prefix))]
