"""Looks at what kernels use up, each with all that its cells started, and kills those that are over their limits.

It runs in the warden: a process of its own, which neither waits for the worker's other threads nor makes a fork wait.
Everything comes from /proc, where any process may see what it needs, whoever's processes they are. What cannot be seen:
memory that is mapped to be shared counts for each process that has it mapped.
Imports nothing but the standard library.

    the worker tells     {"watch": pid, "folder": path, "memory": …, "processes": …, "disk": …, "idle": … or null}
                         {"forget": pid}
    the worker is told   {"pid": pid, "over": "memory", "used": bytes}     and the kernel is killed already
                         {"pid": pid, "still": seconds}                    since it last computed: once a second

A breach is told before the kernel is killed, so that it is known when the kernel's end is.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from runbooks_app.kernels.folders import weigh

EVERY = 0.1
"""Seconds between two looks: what grows by itself is found before it is large."""

AGAIN = 1.0
"""Seconds after which a process that was nobody's is looked at anew: its number may be another's by now."""

STEP = 0.005
"""Seconds in a row for weighing folders; a look that took long would be late for whoever forks."""

PAUSE, LONG_PAUSE = 0.25, 2.0
"""Seconds between two weighings of a folder; the long one where its kernel has not computed since the last."""

KILLING = 0.2
"""Seconds spent on running after who forks out of its group; what then is left dies with the zygote's help."""

FORKED = 0x40
"""PF_FORKNOEXEC of <linux/sched.h>: a fork that shows its parent's memory as its own."""

PAGE = os.sysconf("SC_PAGE_SIZE")

TABLED = PAGE // 8
"""Bytes of memory for each byte of its page table."""


@dataclass(frozen=True)
class Stat:
    """What /proc/<pid>/stat says, as far as it matters. `faults` are pages that the process got; `cpu` in ticks.

    One that is dead and not waited for counts as a thread: it takes a number, and numbers are few.
    """

    dead: bool
    parent: int
    group: int
    session: int
    forked: bool
    faults: int
    cpu: int
    threads: int
    started: int
    virtual: int
    resident: int

    @classmethod
    def of(cls, pid: int) -> Stat | None:
        """None where the process is gone."""
        try:
            text = _read(f"/proc/{pid}/stat")
        except OSError:
            return None
        # The name may hold blanks and brackets; see proc(5) for the rest.
        found = text[text.rindex(b")") + 2 :].split()
        return cls(
            dead=found[0] in (b"Z", b"X"),
            parent=int(found[1]),
            group=int(found[2]),
            session=int(found[3]),
            forked=bool(int(found[6]) & FORKED),
            faults=int(found[7]) + int(found[9]),
            cpu=sum(map(int, found[11:15])),
            threads=max(1, int(found[17])),
            started=int(found[19]),
            virtual=int(found[20]),
            resident=int(found[21]) * PAGE,
        )


@dataclass
class Kernel:
    """One kernel that is watched, with its processes as they were at the last look."""

    pid: int
    started: int
    folder: str
    memory: int
    processes: int
    disk: int
    idle: float | None
    own: dict[int, Stat] = field(default_factory=dict)
    cpu: int = 0
    computed: float = field(default_factory=time.monotonic)
    told: float = 0.0
    weighing: Iterator[int] | None = None
    weighed: float = 0.0
    weighed_cpu: int = -1


@dataclass
class Watch:
    """Watches the kernels of one zygote; `tell` takes what the worker is to know."""

    tell: Callable[[dict[str, Any]], None]
    kernels: dict[int, Kernel] = field(default_factory=dict)
    owner: dict[int, int] = field(default_factory=dict)  # pid → the kernel that it belongs to
    strangers: set[int] = field(default_factory=set)
    forget_strangers: float = 0.0
    next_look: float = 0.0

    def take(self, message: dict[str, Any]) -> None:
        """A kernel to be watched, or no longer."""
        if "forget" in message:
            self.forget(message["forget"])
            return
        pid = message.pop("watch")
        stat = Stat.of(pid)
        if stat is not None:  # else it has ended before, and its end is told by the zygote
            self.kernels[pid] = Kernel(pid, stat.started, **message)
            self.owner[pid] = pid

    def forget(self, pid: int) -> None:
        """Watch a kernel no more."""
        self.kernels.pop(pid, None)
        self.owner = {member: kernel for member, kernel in self.owner.items() if kernel != pid}

    def forget_all(self) -> None:
        """The zygote has died, and all kernels with it."""
        self.kernels.clear()
        self.owner.clear()

    @property
    def due(self) -> bool:
        """Whether it is time for a look."""
        return bool(self.kernels) and time.monotonic() >= self.next_look

    def look(self) -> None:
        """One look at all of them."""
        now = time.monotonic()
        self.next_look = now + EVERY
        threads = dict.fromkeys(self.kernels, 0)
        for kernel in self.kernels.values():
            kernel.own = {}
        for number, pid, stat in self.find():
            kernel = self.kernels[number]
            kernel.own[pid] = stat
            threads[number] += stat.threads
            # At once, before the others are counted: meanwhile there would be more of them.
            if threads[number] > kernel.processes:
                self.end(kernel, "processes", threads[number])
        for kernel in list(self.kernels.values()):
            used = self.memory(kernel)
            if used > kernel.memory:
                self.end(kernel, "memory", used)
            elif still := self.still(kernel, now):
                self.tell({"pid": kernel.pid, "still": still})
        self.weigh(time.monotonic() + STEP)

    def find(self) -> Iterator[tuple[int, int, Stat]]:
        """Every process with its kernel: once a kernel's, always that kernel's, whoever its parent is now."""
        if time.monotonic() > self.forget_strangers:
            self.strangers.clear()
            self.forget_strangers = time.monotonic() + AGAIN
        there = {int(name) for name in os.listdir("/proc") if name.isdigit()}  # noqa: PTH208  ten times a second
        self.strangers &= there
        for pid, number in list(self.owner.items()):
            if number not in self.kernels:
                continue  # it has been ended since this look began
            if stat := Stat.of(pid):
                yield number, pid, stat
            else:
                self.owner.pop(pid, None)
        orphans = []
        # Who is older comes first, but numbers start again from below: a child may come before its parent.
        for pid in sorted(there - self.owner.keys() - self.strangers):
            if stat := Stat.of(pid):
                if number := self.belongs(stat):
                    self.owner[pid] = number
                    yield number, pid, stat
                else:
                    orphans.append((pid, stat))
        for pid, stat in reversed(orphans):
            if number := self.belongs(stat):
                self.owner[pid] = number
                yield number, pid, stat
            else:
                self.strangers.add(pid)

    def belongs(self, stat: Stat) -> int:
        """The kernel whose process this is; 0 for none."""
        return stat.session if stat.session in self.kernels else self.owner.get(stat.parent, 0)

    def memory(self, kernel: Kernel) -> int:
        """Bytes that a kernel uses, rather too high than too low; 0 where a closer look would be in vain."""
        # What is resident is more than what is its own, and page tables are no more than what they could show: only
        # where that is much need it be known better.
        if sum(stat.resident + stat.virtual // TABLED for stat in kernel.own.values()) <= kernel.memory // 2:
            return 0
        return sum(_own_memory(pid, stat) for pid, stat in kernel.own.items())

    def still(self, kernel: Kernel, now: float) -> float:
        """Seconds since it last computed, where the worker wants to know and is to be told now."""
        cpu = sum(stat.cpu for stat in kernel.own.values())
        if cpu != kernel.cpu:
            kernel.cpu, kernel.computed = cpu, now
        still = now - kernel.computed
        if kernel.idle is None or still < kernel.idle or now - kernel.told < AGAIN:
            return 0.0
        kernel.told = now
        return still

    def weigh(self, until: float) -> None:
        """Go on weighing folders, for a moment."""
        for kernel in sorted(self.kernels.values(), key=lambda kernel: kernel.weighed):
            if time.monotonic() > until:
                return
            if kernel.weighing is None:
                pause = LONG_PAUSE if kernel.cpu == kernel.weighed_cpu else PAUSE
                if time.monotonic() < kernel.weighed + pause:
                    continue
                kernel.weighed_cpu = kernel.cpu
                kernel.weighing = weigh(kernel.folder, list(kernel.own))
            for size in kernel.weighing:
                if size > kernel.disk:
                    self.end(kernel, "disk", size)
                    break
                if time.monotonic() > until:
                    return
            else:
                kernel.weighing = None
                kernel.weighed = time.monotonic()

    def end(self, kernel: Kernel, over: str, used: int) -> None:
        """Kill a kernel with all that it started. A group goes at once, so that who forks is not run after."""
        stat = Stat.of(kernel.pid)
        if stat is not None and stat.started == kernel.started:  # else its number may be another's
            self.tell({"pid": kernel.pid, "over": over, "used": used})
            _kill(kernel.pid, stat.group)
            for pid, stat in kernel.own.items():
                _kill(pid, stat.group)
            until = time.monotonic() + KILLING
            living = True
            while living and time.monotonic() < until:
                living = False
                for number, pid, stat in self.find():
                    if number == kernel.pid and not stat.dead:
                        living = True
                        _kill(pid, stat.group)
        self.forget(kernel.pid)


def _kill(pid: int, group: int) -> None:
    """Kill a process with its group; one that was forked a moment ago may still be in ours."""
    with suppress(ProcessLookupError):
        if group != os.getpgrp():
            os.killpg(group, signal.SIGKILL)
        os.kill(pid, signal.SIGKILL)


def _own_memory(pid: int, stat: Stat) -> int:
    """Bytes that a process has for itself, or mapped to be shared, with the page tables to all it shows.

    A fork shows all of its parent's memory as its own. But each page that it really made its own since then, by writing
    to it or by asking for more, it was given on a fault: kernels get small pages only (PR_SET_THP_DISABLE).
    """
    with suppress(OSError):
        lines = dict(line.split(b":", 1) for line in _read(f"/proc/{pid}/status").splitlines())
        anonymous, mapped, swapped, tables = (
            int(lines.get(key, b"0 kB").split()[0]) * 1024 for key in (b"RssAnon", b"RssShmem", b"VmSwap", b"VmPTE")
        )
        own = anonymous + swapped
        return (min(own, stat.faults * PAGE) if stat.forked else own) + mapped + tables
    return 0


def _read(path: str) -> bytes:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.read(descriptor, 16384)
    finally:
        os.close(descriptor)
