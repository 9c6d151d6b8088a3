"""Files: nothing but the system and the library is read, nothing but the run's own folder is written."""

from __future__ import annotations

import fcntl
import os
import stat
import sys
from contextlib import suppress
from pathlib import Path

from runbooks_app.kernels.sandbox.probes.asking import Targets, in_a_fork, must_fail, refused

_RNDGETENTCNT = 0x80045200
"""<linux/random.h>: how much randomness there is."""


def _make(path: Path, kind: int = stat.S_IFREG) -> None:
    """A file of some kind, which is taken away again where it could be made."""
    os.mknod(path, kind | 0o600)
    with suppress(OSError):
        path.unlink()


@must_fail
def read_a_file_of_the_worker(to: Targets) -> None:
    """A file that its mode opens to everybody is closed to a kernel."""
    Path(to.canary).read_bytes()


@must_fail
def read_it_by_a_link(to: Targets) -> None:
    """A link in the run's folder opens nothing outside of it."""
    link = Path(to.folder, "link")
    link.symlink_to(to.canary)
    link.read_bytes()


@must_fail
def take_it_by_a_hard_link(to: Targets) -> None:
    """A file of others gets no second name in the run's folder."""
    os.link(to.canary, Path(to.folder, "hard-link"))


@must_fail
def take_it_by_moving(to: Targets) -> None:
    """A file of others is not moved into the run's folder."""
    Path(to.canary).rename(Path(to.folder, "moved"))


@must_fail
def write_a_file_of_the_worker(to: Targets) -> None:
    """A file of the worker's is not written."""
    with Path(to.canary).open("ab"):
        pass


@must_fail
def cut_a_file_of_the_worker(to: Targets) -> None:
    """A file of the worker's is not truncated."""
    os.truncate(to.canary, Path(to.canary).stat().st_size)


@must_fail
def remove_a_file_of_the_worker(to: Targets) -> None:
    """A file of the worker's is not removed."""
    Path(to.canary).unlink()


@must_fail
def execute_a_file_of_the_worker(to: Targets) -> None:
    """A program outside of the system is not executed."""
    in_a_fork(lambda: os.execv(to.canary, [to.canary]))  # noqa: S606 -- it must not start


@must_fail
def list_a_folder_of_the_worker(to: Targets) -> None:
    """What lies in the worker's folders is not seen."""
    list(Path(to.canary).parent.iterdir())


@must_fail
def write_beside_it(to: Targets) -> None:
    """Nothing new is made in the worker's folders."""
    _make(Path(to.canary).with_name("new"))


@must_fail
def make_a_folder_beside_it(to: Targets) -> None:
    """No folder is made in the worker's folders."""
    Path(to.canary).with_name("new-folder").mkdir()


@must_fail
def make_a_pipe_beside_it(to: Targets) -> None:
    """No pipe is made there."""
    _make(Path(to.canary).with_name("new-pipe"), stat.S_IFIFO)


@must_fail
def make_a_socket_beside_it(to: Targets) -> None:
    """No socket is made there."""
    _make(Path(to.canary).with_name("new-socket"), stat.S_IFSOCK)


@must_fail
def make_a_link_beside_it(to: Targets) -> None:
    """No link is made there, by which the worker would be led astray."""
    Path(to.canary).with_name("new-link").symlink_to("/")


@must_fail
def remove_a_folder_of_the_worker(to: Targets) -> None:
    """A folder of the worker's is not removed."""
    Path(to.canary).with_name("empty").rmdir()


@must_fail
def make_a_device(to: Targets) -> None:
    """Not even in the run's folder is a device made."""
    _make(Path(to.folder, "device"), stat.S_IFCHR)


@must_fail
def command_a_device(_: Targets) -> None:
    """Devices that may be read are not given commands."""
    with Path("/dev/urandom").open("rb") as device:
        fcntl.ioctl(device, _RNDGETENTCNT, b"\0\0\0\0")


@must_fail
def list_the_folders_of_all_runs(to: Targets) -> None:
    """Other runs' folders are not found by looking."""
    list(Path(to.folder).parent.iterdir())


@must_fail
def read_a_file_of_another_run(to: Targets) -> None:
    """What another run has written is not read."""
    Path(to.sibling_folder, "note").read_bytes()


@must_fail
def write_into_the_folder_of_another_run(to: Targets) -> None:
    """Nothing is put under another run."""
    _make(Path(to.sibling_folder, "forged"))


@must_fail
def list_the_root(_: Targets) -> None:
    """The machine's folders are not looked through."""
    list(Path("/").iterdir())


@must_fail
def list_etc(_: Targets) -> None:
    """Configurations and keys of the machine are not looked through."""
    list(Path("/etc").iterdir())


@must_fail
def list_the_temporary_folder(_: Targets) -> None:
    """What others keep in /tmp is not seen."""
    list(Path("/tmp").iterdir())  # noqa: S108 -- this very one


@must_fail
def write_to_shared_memory(_: Targets) -> None:
    """Nothing is left in memory that outlives the run."""
    if not os.path.isdir("/dev/shm"):  # noqa: PTH112, S108
        refused()
    _make(Path("/dev/shm", f"runbooks-probe-{os.getpid()}"))  # noqa: S108


@must_fail
def write_to_the_library(_: Targets) -> None:
    """The code that later runs import is not changed."""
    with Path(__file__).open("ab"):
        pass


@must_fail
def write_to_python(_: Targets) -> None:
    """The interpreter that later runs use is not changed."""
    _make(Path(sys.prefix, f"runbooks-probe-{os.getpid()}"))


@must_fail
def change_the_mode_of_a_file(to: Targets) -> None:
    """Modes outside of the run's folder stay as they are, though chmod says it succeeded."""
    before = Path(to.canary).stat().st_mode
    Path(to.canary).chmod(0o600)
    if Path(to.canary).stat().st_mode == before:
        refused()


@must_fail
def change_the_mode_of_a_file_open_for_reading(_: Targets) -> None:
    """A file of the system that belongs to our user keeps its mode: no program becomes another user by it."""
    with Path(os.__file__).open("rb") as file:
        before = os.fstat(file.fileno()).st_mode
        os.fchmod(file.fileno(), before ^ 0o001)
        changed = os.fstat(file.fileno()).st_mode != before
        os.fchmod(file.fileno(), before)
    if not changed:
        refused()


@must_fail
def change_the_times_of_a_file(to: Targets) -> None:
    """Times outside of the run's folder stay as they are, though utime says it succeeded."""
    os.utime(to.canary, (1, 1))
    if Path(to.canary).stat().st_mtime != 1:
        refused()


@must_fail
def open_a_terminal(_: Targets) -> None:
    """No terminal is made: with one, keys could be pressed for others."""
    os.close(os.open("/dev/ptmx", os.O_RDWR | os.O_NOCTTY))


PROBES = (
    read_a_file_of_the_worker,
    read_it_by_a_link,
    take_it_by_a_hard_link,
    take_it_by_moving,
    write_a_file_of_the_worker,
    cut_a_file_of_the_worker,
    remove_a_file_of_the_worker,
    execute_a_file_of_the_worker,
    list_a_folder_of_the_worker,
    write_beside_it,
    make_a_folder_beside_it,
    make_a_pipe_beside_it,
    make_a_socket_beside_it,
    make_a_link_beside_it,
    remove_a_folder_of_the_worker,
    make_a_device,
    command_a_device,
    list_the_folders_of_all_runs,
    read_a_file_of_another_run,
    write_into_the_folder_of_another_run,
    list_the_root,
    list_etc,
    list_the_temporary_folder,
    write_to_shared_memory,
    write_to_the_library,
    write_to_python,
    change_the_mode_of_a_file,
    change_the_mode_of_a_file_open_for_reading,
    change_the_times_of_a_file,
    open_a_terminal,
)
