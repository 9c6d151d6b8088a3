"""What a probe is, and asking it."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import NoReturn

REFUSED = frozenset({errno.EACCES, errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EXDEV})
"""What the sandbox answers. EXDEV is Landlock's, for a file that would change its place."""


@dataclass(frozen=True)
class Targets:
    """What probes aim at.

    `canary` is a file of the worker's that everybody may read and only the worker may write, in a folder of its own.
    The worker listens on both ports, of which the sandbox allows `open_port`, and on two unix sockets.
    `sibling` is another kernel, which lives in `sibling_folder`. `uid`: who the kernel should be, None for the worker.
    """

    folder: str
    canary: str
    closed_port: int
    open_port: int
    unix: str
    abstract: str
    worker: int
    sibling: int
    sibling_folder: str
    uid: int | None


@dataclass(frozen=True)
class Probe:
    """One attempt, and what it shows where it gives the right answer: that it `fails`, or that it does not."""

    name: str
    shows: str
    attempt: Callable[[Targets], object]
    fails: bool

    def ask(self, targets: Targets) -> str:
        """What is wrong with the answer; empty where nothing is."""
        try:
            self.attempt(targets)
        except OSError as error:
            if self.fails and error.errno in REFUSED:
                return ""
            return f"it failed with {errno.errorcode.get(error.errno or 0, 'no errno')}: {error}"
        except Exception as error:  # noqa: BLE001 -- whatever it is, it is no answer that was expected
            return f"{type(error).__name__}: {error}"
        return "it was possible" if self.fails else ""


def must_fail(attempt: Callable[[Targets], object]) -> Probe:
    """Make a probe of a function."""
    return _probe(attempt, fails=True)


def must_work(attempt: Callable[[Targets], object]) -> Probe:
    """Make a probe of a function."""
    return _probe(attempt, fails=False)


def _probe(attempt: Callable[[Targets], object], *, fails: bool) -> Probe:
    return Probe(attempt.__name__, (attempt.__doc__ or "").partition("\n")[0].strip().rstrip("."), attempt, fails)


def ask(probes: Iterable[Probe], targets: Targets) -> dict[str, str]:
    """Ask each; by name, what is wrong with its answer, empty where nothing is."""
    return {probe.name: probe.ask(targets) for probe in probes}


def refused(number: int = errno.EPERM) -> NoReturn:
    """Raise what the system would have: for probes that look at an effect instead of an answer."""
    raise OSError(number, os.strerror(number))


def in_a_fork(attempt: Callable[[], object]) -> None:
    """Try it in a process of its own, for it would change the one that asks; raises the OSError that it raised."""
    pid = os.fork()
    if pid == 0:
        code = 0
        try:
            attempt()
        except OSError as error:
            code = error.errno or 255
        finally:
            os._exit(code)
    _, status = os.waitpid(pid, 0)
    code = os.waitstatus_to_exitcode(status)
    if code > 0:
        raise OSError(code, os.strerror(code))
    if code < 0:
        refused()  # the system ended it
