"""`multiprocessing` inside the sandbox: what its processes share lies in memory and in the run's folder.

Python keeps semaphores and shared memory in files under /dev/shm, which all kernels would have in common and where
files outlive the run. Here a semaphore is one of the C library's, and it lies, as all shared memory does, in a file in
the run's temporary folder, which every fork has in common. `Pool`, `Process`, `Queue`, `Lock`, `Value` and what stands
on them work as they always do for processes that are forked, as they are by default. `Manager` listens on a socket
and does not; locks of other start methods (`spawn`, `forkserver`) would need names and do not either.
"""

from __future__ import annotations

import ctypes
import errno
import multiprocessing
import multiprocessing.context
import multiprocessing.heap
import multiprocessing.synchronize
import os
import sys
import tempfile
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import Any, NoReturn

_RECURSIVE = 0
_SIZE = 64
"""Bytes; a sem_t has 32 on all of Linux's 64-bit machines."""

_libc = ctypes.CDLL(None, use_errno=True)


class _Time(ctypes.Structure):
    _fields_ = (("seconds", ctypes.c_long), ("nanoseconds", ctypes.c_long))


class SemLock:
    """Does what `_multiprocessing.SemLock` does, without a name: a semaphore, or a lock that its owner may take again.

    Public names are those that `multiprocessing.synchronize` uses; times are in seconds.
    """

    SEM_VALUE_MAX = 2**31 - 1

    def __init__(self, kind: int, value: int, maxvalue: int, name: str, unlink: bool) -> None:
        if not unlink:
            raise RuntimeError(
                f"locks between processes that are not forked need a file in /dev/shm ({name}), which no run has. "
                "Use multiprocessing's default start method."
            )
        self.kind, self.maxvalue, self.name = kind, maxvalue, None
        self.handle = 0
        # What is allocated here is shared with every process that is forked from here on.
        self._memory = multiprocessing.heap.BufferWrapper(_SIZE)
        self._at = ctypes.byref(ctypes.c_char.from_buffer(self._memory.create_memoryview()))
        self._mine, self._owner = 0, 0
        if _libc.sem_init(self._at, 1, ctypes.c_uint(value)) != 0:
            raise OSError(ctypes.get_errno(), "sem_init")

    def acquire(self, block: bool = True, timeout: float | None = None) -> bool:
        """Take one; False where there is none, or none within `timeout`."""
        if self.kind == _RECURSIVE and self._is_mine():
            self._mine += 1
            return True
        if not block:
            taken = self._try(_libc.sem_trywait)
        elif timeout is None:
            taken = self._try(_libc.sem_wait)
        else:
            seconds, nanoseconds = divmod(time.time_ns() + int(max(timeout, 0) * 1e9), 10**9)
            taken = self._try(_libc.sem_timedwait, ctypes.byref(_Time(seconds, nanoseconds)))
        if taken:
            self._mine += 1
            self._owner = threading.get_ident()
        return taken

    def _try(self, call: Any, *more: Any) -> bool:
        # An interrupt is raised by Python itself when it comes back from a call that ended with EINTR.
        while call(self._at, *more) != 0:
            if (error := ctypes.get_errno()) in {errno.EAGAIN, errno.ETIMEDOUT}:
                return False
            if error != errno.EINTR:
                raise OSError(error, os.strerror(error))
        return True

    def release(self) -> None:
        """Give one back."""
        if self.kind == _RECURSIVE:
            if not self._is_mine():
                raise AssertionError("attempt to release recursive lock not owned by thread")
            if self._mine > 1:
                self._mine -= 1
                return
        elif self._get_value() >= self.maxvalue:
            raise ValueError("semaphore or lock released too many times")
        _libc.sem_post(self._at)
        self._mine -= 1

    def _get_value(self) -> int:
        value = ctypes.c_int()
        _libc.sem_getvalue(self._at, ctypes.byref(value))
        return value.value

    def _is_zero(self) -> bool:
        return self._get_value() == 0

    def _is_mine(self) -> bool:
        return self._mine > 0 and self._owner == threading.get_ident()

    def _count(self) -> int:
        return self._mine

    def _after_fork(self) -> None:
        self._mine = 0

    def __enter__(self) -> bool:
        return self.acquire()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()


def _place(name: str) -> Path:
    return Path(tempfile.gettempdir(), f"shared-{name.strip('/')}")


def shm_open(path: str, flags: int, mode: int = 0o777) -> int:
    """Open shared memory, which is a file in the run's folder."""
    return os.open(_place(path), flags | os.O_CLOEXEC | os.O_NOFOLLOW, mode)


def shm_unlink(path: str) -> None:
    """Remove it."""
    _place(path).unlink()


def _no_manager(*_: object) -> NoReturn:
    raise RuntimeError(
        "multiprocessing.Manager() is not possible in a runbook: it listens on a socket. Use Pool, Queue, Pipe, Value."
    )


def keep_to_the_run() -> None:
    """Have `multiprocessing` share in this way, in this process and all that are forked from it."""
    sys.modules["_multiprocessing"].SemLock = SemLock  # type: ignore[attr-defined]
    shared: Any = __import__("_posixshmem")
    shared.shm_open, shared.shm_unlink = shm_open, shm_unlink
    heap: Any = multiprocessing.heap
    heap.Arena._dir_candidates = []  # noqa: SLF001 -- else values and arrays lie in /dev/shm, too
    owners: tuple[Any, ...] = (multiprocessing, multiprocessing.context.BaseContext)
    for owner in owners:
        owner.Manager = _no_manager
