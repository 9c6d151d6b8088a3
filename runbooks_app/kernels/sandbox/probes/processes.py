"""Other processes, and powers over the machine: none."""

from __future__ import annotations

import ctypes
import mmap
import os
import platform
import resource
import signal
from pathlib import Path

from runbooks_app.kernels.sandbox.libc import syscall
from runbooks_app.kernels.sandbox.probes.asking import Targets, in_a_fork, must_fail, refused
from runbooks_app.kernels.sandbox.syscalls import this_machine

_CLONE_NEWUSER = 0x10000000
_INT_80 = b"\xb8\x14\x00\x00\x00\xcd\x80\xc3"
"""getpid, as 32-bit programs call it: mov eax, 20; int 0x80; ret."""


def _call(name: str, *arguments: int | None) -> int:
    return syscall(this_machine().numbers[name], *arguments)


@must_fail
def list_all_processes(_: Targets) -> None:
    """Who else runs on the machine is not seen."""
    list(Path("/proc").iterdir())


@must_fail
def read_the_workers_environment(to: Targets) -> None:
    """The worker's environment is not read."""
    Path(f"/proc/{to.worker}/environ").read_bytes()


@must_fail
def open_the_workers_memory(to: Targets) -> None:
    """The worker's memory, with its secrets, is not opened."""
    with Path(f"/proc/{to.worker}/mem").open("rb"):
        pass


@must_fail
def list_the_workers_descriptors(to: Targets) -> None:
    """The worker's sockets and files are not taken over."""
    list(Path(f"/proc/{to.worker}/fd").iterdir())


@must_fail
def enter_the_workers_root(to: Targets) -> None:
    """Files are not reached through the worker."""
    list(Path(f"/proc/{to.worker}/root").iterdir())


@must_fail
def read_the_workers_command(to: Targets) -> None:
    """Nor are its arguments seen."""
    Path(f"/proc/{to.worker}/cmdline").read_bytes()


@must_fail
def open_the_zygotes_memory(_: Targets) -> None:
    """Kernels to come are not changed where they are forked from."""
    with Path(f"/proc/{os.getppid()}/mem").open("rb"):
        pass


@must_fail
def open_another_kernels_memory(to: Targets) -> None:
    """What another run has in memory is not read."""
    with Path(f"/proc/{to.sibling}/mem").open("rb"):
        pass


@must_fail
def trace_the_worker(to: Targets) -> None:
    """The worker is not traced (PTRACE_ATTACH)."""
    _call("ptrace", 16, to.worker, 0, 0)


@must_fail
def be_traced(_: Targets) -> None:
    """No process is traced by the one that started it either (PTRACE_TRACEME)."""
    in_a_fork(lambda: _call("ptrace", 0, 0, 0, 0))


@must_fail
def signal_the_worker(to: Targets) -> None:
    """The worker is not signalled."""
    os.kill(to.worker, 0)


@must_fail
def signal_the_zygote(_: Targets) -> None:
    """The zygote is not signalled."""
    os.kill(os.getppid(), 0)


@must_fail
def signal_another_kernel(to: Targets) -> None:
    """Other runs are not signalled."""
    os.kill(to.sibling, 0)


@must_fail
def change_the_workers_limits(to: Targets) -> None:
    """The worker's limits are not its kernels' to set."""
    resource.prlimit(to.worker, resource.RLIMIT_NOFILE, resource.getrlimit(resource.RLIMIT_NOFILE))


@must_fail
def change_the_workers_priority(to: Targets) -> None:
    """Nor is its priority."""
    os.setpriority(os.PRIO_PROCESS, to.worker, os.getpriority(os.PRIO_PROCESS, to.worker))


@must_fail
def leave_the_session(_: Targets) -> None:
    """Whatever a kernel starts stays where it is killed with it."""
    in_a_fork(os.setsid)


@must_fail
def leave_the_process_group(_: Targets) -> None:
    """The same of process groups."""
    in_a_fork(lambda: os.setpgid(0, 0))


@must_fail
def raise_our_priority(_: Targets) -> None:
    """A run that gave way to others does not take it back."""
    Path("/proc/self/autogroup").write_text("0", encoding="ascii")


@must_fail
def have_others_killed_first(_: Targets) -> None:
    """For want of memory kernels go before the worker."""
    Path("/proc/self/oom_score_adj").write_text("0", encoding="ascii")


@must_fail
def become_another_user(_: Targets) -> None:
    """A kernel stays who it is."""
    in_a_fork(lambda: os.setuid(0 if os.getuid() else 1))


@must_fail
def have_a_capability(_: Targets) -> None:
    """Nothing that is root's to do, now or after executing a program."""
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        name, _colon, value = line.partition(":")
        if name in {"CapInh", "CapPrm", "CapEff", "CapAmb"} and int(value, 16):
            return
        if name == "NoNewPrivs" and int(value) != 1:
            return
    refused()


@must_fail
def hold_a_descriptor_of_others(_: Targets) -> None:
    """A kernel has its channel and its pipes, and no socket or file of worker or zygote."""
    mine = {str(number) for number in range(6)}
    # The listing holds one itself, which is gone by the time that it is looked at.
    if not [path for path in list(Path("/proc/self/fd").iterdir()) if path.name not in mine and path.is_symlink()]:
        refused()


@must_fail
def make_a_namespace(_: Targets) -> None:
    """No namespace is made, in which a kernel would be root (unshare)."""
    in_a_fork(lambda: _call("unshare", _CLONE_NEWUSER))


@must_fail
def fork_into_a_namespace(_: Targets) -> None:
    """Nor with a new process (clone)."""
    pid = _call("clone", _CLONE_NEWUSER | signal.SIGCHLD, 0, 0, 0, 0)
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)


@must_fail
def call_as_another_architecture(_: Targets) -> None:
    """Calls by other numbers do not pass the filter by."""
    if platform.machine() != "x86_64":
        refused()  # there is no second way in

    def call() -> None:
        executable = mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC
        page = mmap.mmap(-1, mmap.PAGESIZE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, prot=executable)
        page.write(_INT_80)
        ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(page)))()

    in_a_fork(call)


PROBES = (
    list_all_processes,
    read_the_workers_environment,
    open_the_workers_memory,
    list_the_workers_descriptors,
    enter_the_workers_root,
    read_the_workers_command,
    open_the_zygotes_memory,
    open_another_kernels_memory,
    trace_the_worker,
    be_traced,
    signal_the_worker,
    signal_the_zygote,
    signal_another_kernel,
    change_the_workers_limits,
    change_the_workers_priority,
    leave_the_session,
    leave_the_process_group,
    raise_our_priority,
    have_others_killed_first,
    become_another_user,
    have_a_capability,
    hold_a_descriptor_of_others,
    make_a_namespace,
    fork_into_a_namespace,
    call_as_another_architecture,
)
