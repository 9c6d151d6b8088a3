"""What runbooks need, and what every kernel must be: a sandbox that breaks these is no sandbox but a fault."""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

from runbooks_app.kernels.processes import PR_SET_PDEATHSIG, prctl
from runbooks_app.kernels.sandbox.probes.asking import Targets, must_work

_PR_GET_PDEATHSIG, _PR_GET_DUMPABLE = PR_SET_PDEATHSIG + 1, 3


def _expect(holds: object, otherwise: str) -> None:
    if not holds:
        raise ValueError(otherwise)


@must_work
def connect_to_the_gateway(to: Targets) -> None:
    """The run's own port is connected to."""
    with socket.create_connection(("127.0.0.1", to.open_port), timeout=1):
        pass


@must_work
def write_in_the_runs_folder(to: Targets) -> None:
    """Files, folders, links and pipes are made, moved and removed in the run's own folder."""
    inner = Path(to.folder, "work", "inner")
    inner.mkdir()
    first = inner / "first"
    first.write_text("x", encoding="ascii")
    os.truncate(first, 0)
    os.link(first, inner / "second")
    (inner / "third").symlink_to(first)
    os.mkfifo(inner / "fourth")
    moved = first.rename(Path(to.folder, "tmp", "moved"))
    moved.chmod(0o600)
    os.utime(moved, (1, 1))
    moved.touch()
    (inner / "fifth").touch()
    _expect((inner / "fifth").exists(), "a file was not made")
    for path in (moved, *inner.iterdir()):
        path.unlink()
    inner.rmdir()


@must_work
def use_a_temporary_file(to: Targets) -> None:
    """Temporary files are made."""
    with tempfile.NamedTemporaryFile(dir=Path(to.folder, "tmp")) as file:
        file.write(b"x")


@must_work
def read_the_system_and_the_library(_: Targets) -> None:
    """Programs, Python and the service's own code are read."""
    list(Path("/usr").iterdir())
    Path(os.__file__).read_bytes()
    Path(__file__).read_bytes()


@must_work
def use_devices(_: Targets) -> None:
    """Nothing is written to, randomness is read."""
    Path("/dev/null").write_bytes(b"x")
    with Path("/dev/urandom").open("rb", buffering=0) as random:
        random.read(1)


@must_work
def look_at_ourselves(_: Targets) -> None:
    """A process sees its own memory maps and status."""
    Path("/proc/self/maps").read_bytes()
    Path("/proc/self/status").read_bytes()


@must_work
def start_threads(_: Targets) -> None:
    """Threads run."""
    ran: list[int] = []
    thread = threading.Thread(target=lambda: ran.append(1))
    thread.start()
    thread.join()
    _expect(ran, "the thread did not run")


@must_work
def start_processes(_: Targets) -> None:
    """Programs are executed, and end as they say."""
    done = subprocess.run([sys.executable, "-I", "-S", "-c", "print(6 * 7)"], capture_output=True, check=True)
    _expect(done.stdout == b"42\n", f"it printed {done.stdout!r}")


@must_work
def signal_our_own_processes(_: Targets) -> None:
    """What a kernel has started it can also end."""
    pid = os.fork()
    if pid == 0:
        signal.pause()
        os._exit(0)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)


@must_work
def talk_within_the_kernel(_: Targets) -> None:
    """Pairs of sockets, as event loops use them."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.send(b"x")
        _expect(theirs.recv(1) == b"x", "nothing arrived")


@must_work
def be_who_we_should_be(to: Targets) -> None:
    """A kernel has the uid that it was given, and no group of the worker's."""
    if to.uid is not None:
        _expect(set(os.getresuid()) == {to.uid}, f"it is {os.getresuid()} and not {to.uid}")
        _expect(set(os.getresgid()) == {to.uid} and not os.getgroups(), "it has groups of others")


@must_work
def die_with_the_zygote(_: Targets) -> None:
    """A kernel leads its own session, and dies with the zygote."""
    number = ctypes.c_int()
    prctl(_PR_GET_PDEATHSIG, ctypes.addressof(number))
    _expect(number.value == signal.SIGKILL, "it would outlive the zygote")
    _expect(os.getsid(0) == os.getpid() == os.getpgid(0), "it is in the zygote's session")


@must_work
def be_closed_to_neighbours(_: Targets) -> None:
    """Processes of the same user cannot read a kernel's memory, and no memory is left in a file when it crashes."""
    _expect(prctl_value(_PR_GET_DUMPABLE) == 0, "its memory is open")
    _expect(resource.getrlimit(resource.RLIMIT_CORE) == (1, 1), "it would leave its memory in a file")


@must_work
def be_filtered(_: Targets) -> None:
    """A filter of system calls is in force."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    _expect("\nSeccomp:\t2\n" in status, "there is none")


def prctl_value(option: int) -> int:
    """What the system says of an attribute of this process."""
    return int(ctypes.CDLL(None).prctl(option, 0, 0, 0, 0))


PROBES = (
    connect_to_the_gateway,
    write_in_the_runs_folder,
    use_a_temporary_file,
    read_the_system_and_the_library,
    use_devices,
    look_at_ourselves,
    start_threads,
    start_processes,
    signal_our_own_processes,
    talk_within_the_kernel,
    be_who_we_should_be,
    die_with_the_zygote,
    be_closed_to_neighbours,
    be_filtered,
)
