"""Runs in a process of its own: asks the probes again and again, each time with one part of the sandbox missing.

Reads `{"variants": [[what, which], …], "as": …}` from its argument and prints, for each variant, the probes that gave
a wrong answer. `as` is who the worker is: "is" as it stands, "nobody" for another user, "pod" for what a container is
by default, "root" for a root who gives kernels a uid of their own.
Needs the standard library alone, so that any interpreter that another user may run will do.
"""

from __future__ import annotations

import errno
import json
import os
import signal
import socket
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

from runbooks_app.kernels.priority import Lever
from runbooks_app.kernels.processes import PR_SET_NO_NEW_PRIVS, prctl
from runbooks_app.kernels.sandbox import landlock, lockdown, privileges, probes, seccomp
from runbooks_app.kernels.sandbox.probes import calls, network, processes
from runbooks_app.kernels.sandbox.selftest import Bait
from runbooks_app.kernels.sandbox.spec import Spec

SOON = (*calls.PROBES, *network.PROBES, *processes.PROBES)
"""Those that have to do with single calls, for there are many of them."""
NOBODY = 61999
UIDS = (60998, 60999)

# What containers run under by default keeps out: docs.docker.com/engine/security/seccomp, where of clone3 it says
# ENOSYS. It is a list of what is allowed, so whatever is not on it is refused; these are those that our table knows.
DOCKER = """acct add_key bpf clock_adjtime clock_settime delete_module finit_module init_module io_uring_enter
io_uring_register io_uring_setup ioperm iopl kcmp kexec_file_load kexec_load keyctl lookup_dcookie mount mount_setattr
move_mount move_pages open_by_handle_at open_tree open_tree_attr fsopen fsconfig fsmount fspick perf_event_open
pivot_root quotactl quotactl_fd reboot request_key setns settimeofday swapoff swapon umount2 unshare userfaultfd
syslog vhangup sethostname setdomainname fanotify_init name_to_handle_at memfd_secret modify_ldt chroot
process_vm_readv process_vm_writev ptrace process_madvise pidfd_getfd"""


class Nothing:
    """Stands for a part that is missing."""

    def restrict(self, *_: object) -> None: ...

    def install(self) -> None: ...


def container() -> None:
    """Be what a container is by default, in the respects that matter to a sandbox within it."""
    privileges.drop(None)
    prctl(PR_SET_NO_NEW_PRIVS, 1)
    seccomp.Filter(
        [
            seccomp.Rule("allowed nowhere", tuple(DOCKER.split()), errno.EPERM),
            seccomp.Rule("clone3", ("clone3",), errno.ENOSYS),
            seccomp.Rule("clone", ("clone",), errno.EPERM, (seccomp.Argument(0, "has a bit of", (0x7E020000,)),)),
            seccomp.Rule("vsock", ("socket",), errno.EPERM, (seccomp.Argument(0, "is one of", (socket.AF_VSOCK,)),)),
        ]
    ).install()


def made(what: str, which: str, folder: Path) -> tuple[lockdown.Lockdown, Path]:
    """A lockdown with something missing, and the folder that kernels may write in."""
    whole = lockdown.Lockdown([])
    handled = landlock.Handled()
    imports = [*landlock.python_folders(), Path(lockdown.__file__).parents[3]]
    match what:
        case "rule":
            whole.filter = seccomp.Filter([rule for rule in seccomp.RULES if rule.name != which])
        case "call":
            rules = [
                seccomp.Rule(rule.name, tuple(call for call in rule.calls if call != which), rule.answer, rule.when)
                for rule in seccomp.RULES
            ]
            whole.filter = seccomp.Filter([rule for rule in rules if rule.calls])
        case "seccomp":
            whole.filter = Nothing()
        case "landlock":
            whole.landlock = Nothing()
        case "handled":
            kind, bit = which.split()
            handled = landlock.Handled(**{kind: getattr(handled, kind) & ~int(bit, 16)})
            whole.landlock = landlock.Landlock(imports, [], handled=handled)
        case "readable":
            whole.landlock = landlock.Landlock([*imports, Path(which)], [])
        case "system":
            whole.landlock = landlock.Landlock([path for path in imports if which not in str(path)], [])
        case "writable":
            folder = Path(which) if which else folder.parent
        case "step":
            setattr(lockdown, which, lambda *_: None)
    return whole, folder


def forked(variant: tuple[str, str], targets: probes.Targets | None, spec: Spec) -> int:
    """A fork that locks itself down, asks the probes and says what was wrong; or waits, without targets."""
    parent = os.getpid()
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        whole, folder = made(*variant, Path(spec.folder))
        lockdown.bind(Lever())
        lockdown.lock(parent, whole, Spec(**{**spec.to_json(), "folder": str(folder)}))
        if targets is None:
            os.write(1, b"locked\n")
            signal.pause()
        # The answer goes out by stdout, which is among those that a kernel may hold.
        os.closerange(3, 2**31 - 1)
        wrong = {
            name: why for name, why in probes.ask(SOON if variant[0] == "call" else probes.ALL, targets).items() if why
        }
        os.write(1, json.dumps([*variant, wrong]).encode() + b"\n")
        code = 0
    except BaseException as error:  # noqa: BLE001 -- whatever it was, the test tells it
        os.write(1, json.dumps([*variant, {"lockdown": repr(error)}]).encode() + b"\n")
    finally:
        os._exit(code)


def spec(folder: Path, uid: int | None, *ports: int) -> Spec:
    return Spec(str(folder), ports, uid, open_files=256, processes=64, memory=1 << 30, file_size=1 << 20)


def run_folder(folder: Path, uid: int | None) -> Path:
    for part in (folder, folder / "work", folder / "tmp"):
        part.mkdir(mode=0o700, parents=True)
        if uid is not None:
            os.chown(part, uid, uid)
    return folder


def locked_sibling(folder: Path, uid: int | None, stack: ExitStack) -> int:
    """Another kernel, as it waits for its next cell."""
    (run_folder(folder, uid) / "note").write_text("x")
    said, saying = os.pipe()
    ours = os.dup(1)
    os.dup2(saying, 1)
    pid = forked(("whole", ""), None, spec(folder, uid))
    os.dup2(ours, 1)
    assert os.read(said, 7) == b"locked\n"
    for descriptor in (said, saying, ours):
        os.close(descriptor)
    stack.callback(os.waitpid, pid, 0)
    stack.callback(os.kill, pid, signal.SIGKILL)
    return pid


def tried(variant: tuple[str, str], root: Path, uids: tuple[int | None, int | None], sibling: int) -> None:
    """One variant, with bait that no other one has spoiled."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=root)))
        folder.chmod(0o711)
        (folder / "runs").mkdir(mode=0o711)
        own = run_folder(folder / "runs" / "tried", uids[0])
        bait = Bait.laid(folder / "worker", stack)
        targets = probes.Targets(
            folder=str(own),
            canary=bait.canary,
            closed_port=bait.ports[0],
            open_port=bait.ports[1],
            unix=bait.unix,
            abstract=bait.abstract,
            worker=os.getpid(),
            sibling=sibling,
            sibling_folder=str(root / "sibling"),
            uid=uids[0],
        )
        pid = forked(variant, targets, spec(own, uids[0], bait.ports[1]))
        os.waitpid(pid, 0)
        # What could be made and not be removed, with only a part of the sandbox in force.
        for place in (root / "sibling", Path("/dev/shm"), Path(sys.prefix)):
            for left in (*place.glob("forged"), *place.glob(f"runbooks-probe-{pid}")):
                left.unlink()


def main() -> None:
    request = json.loads(sys.argv[1])
    uids = UIDS if request["as"] == "root" else (None, None)
    if request["as"] == "nobody":
        privileges.drop(NOBODY)
    if request["as"] == "pod":
        container()
    with ExitStack() as stack:
        root = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="runbooks-laboratory-")))
        root.chmod(0o711)
        sibling = locked_sibling(root / "sibling", uids[1], stack)
        for variant in request["variants"]:
            tried(tuple(variant), root, uids, sibling)


if __name__ == "__main__":
    main()
