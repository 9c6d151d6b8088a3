"""Attacks that a kernel survives: each a cell, and what it must be told. Names such as `worker` are inputs of theirs.

Where one would ruin the machine that the tests run on if it got through, it tries the same with what changes nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

from runbooks_app.core.run import CellState


@dataclass(frozen=True)
class Attack:
    """`told` is a pattern: of the reason of a cell that fails, of what a cell prints that is let go on."""

    source: str
    told: str
    state: CellState = CellState.FAILED


DENIED = r"^PermissionError: \[Errno (1|13)\]"
UNSUPPORTED = r"^OSError: \[Errno 95\]"


def harmless(source: str, told: str = "") -> Attack:
    return Attack(source, told, CellState.OK)


SETUP = """
import ctypes, errno, os, pathlib, resource, signal, socket, struct, subprocess, sys, time
from runbooks_app.kernels.sandbox.syscalls import this_machine
libc = ctypes.CDLL(None, use_errno=True)

POWERS = (  # capget: effective, permitted and inheritable ones
    "import ctypes; found = (ctypes.c_uint32 * 6)(); "
    "ctypes.CDLL(None).capget((ctypes.c_uint32 * 2)(0x20080522, 0), found); "
    "print(*(found[n] | found[n + 3] for n in range(3)))"
)

def checked(result):
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result

def call(name, *arguments):
    return checked(libc.syscall(this_machine().numbers[name], *arguments))

def reach(address, family=socket.AF_INET, kind=socket.SOCK_STREAM, protocol=0):
    with socket.socket(family, kind, protocol) as made:
        made.settimeout(2)
        made.connect(address)
        made.sendall(b"here I am")
"""

PROCESSES = {
    "memory of the worker": Attack("open(f'/proc/{worker}/mem', 'rb').read(1)", DENIED),
    "memory map of the worker": Attack("open(f'/proc/{worker}/maps').read()", DENIED),
    "environment of the worker": Attack("open(f'/proc/{worker}/environ').read()", DENIED),
    "descriptors of the worker": Attack("os.listdir(f'/proc/{worker}/fd')", DENIED),
    "root of the worker": Attack("os.listdir(f'/proc/{worker}/root')", DENIED),
    "folder of the worker": Attack("os.listdir(f'/proc/{worker}/cwd')", DENIED),
    "memory of the zygote": Attack("open(f'/proc/{zygote}/mem', 'rb').read(1)", DENIED),
    "environment of the warden": Attack("open(f'/proc/{warden}/environ').read()", DENIED),
    "memory of a sibling": Attack("open(f'/proc/{sibling}/mem', 'rb').read(1)", DENIED),
    "oom score of the worker": Attack("open(f'/proc/{worker}/oom_score_adj', 'w').write('1000')", DENIED),
    "own oom score": Attack("open('/proc/self/oom_score_adj', 'w').write('-1000')", DENIED),
    "reading another's memory by a call": Attack(
        "there = ctypes.create_string_buffer(8)\n"
        "vector = (ctypes.c_size_t * 2)(ctypes.addressof(there), 8)\n"
        "call('process_vm_readv', worker, vector, 1, vector, 1, 0)",
        DENIED,
    ),
    "writing another's memory by a call": Attack(
        "vector = (ctypes.c_size_t * 2)(0, 0)\ncall('process_vm_writev', sibling, vector, 1, vector, 1, 0)", DENIED
    ),
    "tracing the worker": Attack("call('ptrace', 16, worker, 0, 0)", DENIED),
    "seizing a sibling": Attack("call('ptrace', 0x4206, sibling, 0, 0)", DENIED),
    "taking a descriptor of the worker": Attack("os.pidfd_open(worker)", DENIED),
    "killing the worker": Attack("os.kill(worker, signal.SIGKILL)", DENIED),
    "interrupting the worker": Attack("os.kill(worker, signal.SIGINT)", DENIED),
    "killing the zygote": Attack("os.kill(zygote, signal.SIGKILL)", DENIED),
    "killing the warden": Attack("os.kill(warden, signal.SIGTERM)", DENIED),
    "stopping a sibling": Attack("os.kill(sibling, signal.SIGSTOP)", DENIED),
    "killing the group of a sibling": Attack("os.killpg(sibling, signal.SIGKILL)", DENIED),
    "killing everybody": harmless("os.kill(-1, signal.SIGCONT)"),
    "a signal through a socket": harmless(
        "import fcntl\nours, theirs = socket.socketpair()\n"
        "fcntl.fcntl(ours, 10, int(signal.SIGKILL))\n"  # F_SETSIG
        "fcntl.fcntl(ours, fcntl.F_SETOWN, sibling)\n"
        "fcntl.fcntl(ours, fcntl.F_SETFL, os.O_ASYNC | os.O_NONBLOCK)\ntheirs.send(b'x')\nprint('sent')",
        "sent",
    ),
    "limits of the worker": Attack("resource.prlimit(worker, resource.RLIMIT_NOFILE, (3, 3))", DENIED),
    "priority of the worker": Attack("os.setpriority(os.PRIO_PROCESS, worker, 19)", DENIED),
    "priority of our user": Attack("os.setpriority(os.PRIO_USER, 0, 19)", DENIED),
    "processors of the worker": Attack("os.sched_setaffinity(worker, {0})", DENIED),
    "priority on disk of the worker": Attack("call('ioprio_set', 1, worker, 3 << 13)", DENIED),
    "a session of one's own": Attack("os.setsid()", DENIED),
    "a group of one's own": Attack("os.setpgid(0, 0)", DENIED),
    "a daemon": Attack("subprocess.run(['setsid', 'sleep', '300'], check=True)", "CalledProcessError"),
    "inherited descriptors": harmless(
        "found = {}\nfor number in os.listdir('/proc/self/fd'):\n"
        "    try: found[int(number)] = os.readlink(f'/proc/self/fd/{number}').split(':')[0]\n    except OSError: pass\n"
        "print(sorted({kind for kind in found.values()}))",
        r"^\['/dev/null', ('anon_inode', )?'pipe', 'socket'\]$",
    ),
    "powers by a setuid program": harmless(
        "done = subprocess.run(['su', 'root', '-c', f'{sys.executable} -c \"{POWERS}\"'], stdin=subprocess.DEVNULL,"
        " capture_output=True, text=True)\nprint(done.stdout or 'refused')",
        "^(refused|0 0 0)$",
    ),
    "powers of root by a program": harmless(
        "print(subprocess.run([sys.executable, '-c', POWERS], capture_output=True, text=True).stdout)", "^0 0 0$"
    ),
    "becoming another user": Attack("os.setuid(1)", DENIED),
    "a namespace of users": Attack("checked(libc.unshare(0x10000000))", DENIED),
    "a namespace by a program": Attack("subprocess.run(['unshare', '-Ur', 'id'], check=True)", "CalledProcessError"),
    "the namespaces of the worker": Attack("call('setns', 0, 0)", DENIED),
    "mounting": Attack("checked(libc.mount(b'x', b'/mnt', b'tmpfs', 0, None))", DENIED),
    "another root": Attack("os.chroot('.')", DENIED),
    "io_uring": Attack("call('io_uring_setup', 1, ctypes.create_string_buffer(200))", DENIED),
    "bpf": Attack("call('bpf', 0, None, 0)", DENIED),
    "performance counters": Attack("call('perf_event_open', None, 0, -1, -1, 0)", DENIED),
    "the keyring": Attack("call('keyctl', 0, -3, 0)", DENIED),
    "memory without a process": Attack("os.memfd_create('hidden')", r"^OSError: \[Errno 38\]"),
    "memory that is shared, and not shown": Attack("import mmap\nmmap.mmap(-1, 1 << 20)", DENIED),
    "memory of a device": Attack("open('/dev/zero', 'r+b')", DENIED),
    "uncounted pages": Attack("checked(libc.prctl(41, 0, 0, 0, 0))", DENIED),
    "settings of the system": Attack("os.open('/proc/sys/kernel/core_pattern', os.O_WRONLY)", DENIED),
    "a restart of the machine": Attack(
        "os.open('/proc/sysrq-trigger', os.O_WRONLY)", r"^(PermissionError|FileNotFoundError)"
    ),
    "the clock": Attack("time.clock_settime(time.CLOCK_REALTIME, time.time())", DENIED),
}

NETWORK = {
    "a port of ours": Attack("reach(('127.0.0.1', tcp))", DENIED),
    "a port by IPv6": Attack("reach(('::1', tcp6), socket.AF_INET6)", DENIED),
    "a port by a mapped address": Attack("reach(('::ffff:127.0.0.1', tcp), socket.AF_INET6)", DENIED),
    "the address of cloud metadata": Attack("reach(('169.254.169.254', 80))", DENIED),
    "the address of the cluster": Attack("reach(('10.96.0.1', 443))", DENIED),
    "the cluster by its name": Attack("reach(('kubernetes.default.svc', 443))", r"^gaierror"),
    "the gateway of a sibling": Attack("reach(('127.0.0.1', gateway))", DENIED),
    "the service's database": Attack(
        "import psycopg\npsycopg.connect(host='127.0.0.1', port=database, user='postgres', connect_timeout=2)",
        r"^OperationalError: .*Permission denied",
    ),
    "the service's Redis": Attack("reach(('127.0.0.1', redis))", DENIED),
    "a unix socket": Attack("reach(unix, socket.AF_UNIX)", UNSUPPORTED),
    "an abstract unix socket": Attack(r"reach('\0' + abstract, socket.AF_UNIX)", UNSUPPORTED),
    "a container's socket": Attack("reach('/var/run/docker.sock', socket.AF_UNIX)", UNSUPPORTED),
    "UDP": Attack("socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'x', ('127.0.0.1', udp))", UNSUPPORTED),
    "MPTCP": Attack("reach(('127.0.0.1', tcp), protocol=262)", UNSUPPORTED),
    "SCTP": Attack("reach(('127.0.0.1', tcp), protocol=132)", UNSUPPORTED),
    "fast open": Attack("socket.socket().sendto(b'x', 0x20000000, ('127.0.0.1', tcp))", UNSUPPORTED),
    "fast open by a message": Attack(
        "socket.socket().sendmsg([b'x'], [], 0x20000000, ('127.0.0.1', tcp))", UNSUPPORTED
    ),
    "netlink": Attack("socket.socket(16, socket.SOCK_RAW, 0)", UNSUPPORTED),
    "vsock": Attack("socket.socket(40, socket.SOCK_STREAM)", UNSUPPORTED),
    "raw packets": Attack("socket.socket(socket.AF_INET, socket.SOCK_RAW, 1)", UNSUPPORTED),
    "packets": Attack("socket.socket(17, socket.SOCK_RAW, 0)", UNSUPPORTED),
    "the system's ciphers": Attack("socket.socket(38, socket.SOCK_SEQPACKET, 0)", UNSUPPORTED),
    "listening": Attack("socket.socket().listen()", DENIED),
    "a port to listen on": Attack("socket.socket().bind(('127.0.0.1', 0))", DENIED),
    "a pair of datagram sockets": Attack(
        "ours, _ = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)\nours.sendto(b'x', unix)", UNSUPPORTED
    ),
    "a program of one's own": Attack(
        "subprocess.run(['bash', '-c', f'echo x > /dev/tcp/127.0.0.1/{tcp}'], check=True)", "CalledProcessError"
    ),
}

FILES = {
    "a secret of ours": Attack("open(secret).read()", DENIED),
    "names in a folder of ours": Attack("os.listdir(files)", DENIED),
    "a secret by way of /proc": Attack("open(f'/proc/self/root{secret}').read()", DENIED),
    "a secret by a relative path": Attack("open(f'../../../../../../../../..{secret}').read()", DENIED),
    "a secret by a link": Attack("os.symlink(secret, 'link')\nopen('link').read()", DENIED),
    "another name for a secret": Attack("os.link(secret, 'name')", r"^(PermissionError|OSError): \[Errno (1|13|18)\]"),
    "writing to a file of ours": Attack("open(secret, 'a').write('x')", DENIED),
    "cutting a file of ours": Attack("os.truncate(secret, 0)", DENIED),
    "removing a file of ours": Attack("os.unlink(secret)", DENIED),
    "renaming a folder of ours": Attack("os.rename(files, 'mine')", r"^(PermissionError|OSError): \[Errno (1|13|18)\]"),
    "a file beside ours": Attack("open(f'{files}/left-behind', 'w')", DENIED),
    "modes of ours": harmless("os.chmod(secret, 0o777); print('said to be done')", "said to be done"),
    "times of ours": harmless("os.utime(secret, (0, 0)); print('said to be done')", "said to be done"),
    "owner of ours": harmless("os.chown(secret, 1, 1); print('said to be done')", "said to be done"),
    "attributes of ours": Attack("os.setxattr(secret, 'user.x', b'x')", UNSUPPORTED),
    "flags of one's own file": Attack(
        "import fcntl\nwith open('own', 'w') as own:\n"
        "    fcntl.ioctl(own, 0x40086602, struct.pack('l', 0x10))",  # FS_IOC_SETFLAGS, immutable
        DENIED,
    ),
    "the folder of a sibling": Attack("os.listdir(sibling_folder)", DENIED),
    "a file of a sibling": Attack("open(f'{sibling_folder}/mine', 'w').write('changed')", DENIED),
    "telling a sibling to end": Attack("open(f'{sibling_folder}/go', 'w')", DENIED),
    "a sibling's folder by way of /proc": Attack("os.listdir(f'/proc/{sibling}/cwd/')", DENIED),
    "the folders of all runs": Attack("os.listdir(runs)", DENIED),
    "a file among the runs": Attack("open(f'{runs}/left-behind', 'w')", DENIED),
    "passwords of the system": Attack("open('/etc/shadow').read()", DENIED),
    "keys of root": Attack("os.listdir('/root')", DENIED),
    "what lies beside the service": Attack(
        "import runbooks_app\nopen(pathlib.Path(runbooks_app.__file__).parents[1] / 'pyproject.toml').read()", DENIED
    ),
    "changing the service": Attack("import runbooks_app\nos.open(runbooks_app.__file__, os.O_WRONLY)", DENIED),
    "changing the kit": Attack("from runbook_library import kit\nos.open(kit.__file__, os.O_WRONLY)", DENIED),
    "removing the kit": Attack("from runbook_library import kit\nos.rename(kit.__file__, kit.__file__)", DENIED),
    "changing a package": Attack("import numpy\nos.open(numpy.__file__, os.O_WRONLY)", DENIED),
    "compiled code of a package": Attack(
        "import numpy\nopen(pathlib.Path(numpy.__file__).parent / '__pycache__' / 'x.pyc', 'w')", DENIED
    ),
    "a file in /tmp": Attack("open('/tmp/left-behind', 'w')", DENIED),
    "a file in shared memory": Attack("open('/dev/shm/left-behind', 'w')", DENIED),
    "a device": Attack("os.mknod('disk', 0o60600, os.makedev(8, 0))", DENIED),
    "memory of the machine": Attack("open('/dev/mem', 'rb')", r"^(PermissionError|FileNotFoundError)"),
    "a terminal": Attack("open('/dev/tty', 'w')", r"^(PermissionError|OSError)"),
    "another folder in its place": harmless(
        "home = os.path.expanduser('~')\nos.rename(home, 'old')\nos.symlink(files, home)\nprint('replaced')", "replaced"
    ),
    "news of a folder of ours": Attack("checked(libc.inotify_init1(0))", r"^OSError: \[Errno 38\]"),
    "a lease of what the worker reads": Attack(
        "import fcntl\nimport runbooks_app\n"
        "fcntl.fcntl(os.open(runbooks_app.__file__, os.O_RDONLY), fcntl.F_SETLEASE, fcntl.F_WRLCK)",
        DENIED,
    ),
    "memory of a crash": harmless("print(resource.getrlimit(resource.RLIMIT_CORE))", r"^\(1, 1\)$"),
    "links for whoever clears up": harmless(
        "os.symlink(files, 'inner'); os.symlink('/', 'root'); os.symlink(secret, 'file'); print('laid')", "laid"
    ),
    "folders that cannot be entered": harmless(
        "os.mkdir('shut', 0o300); open('shut/in', 'w').close(); os.mkdir('shut/more', 0); print('made')", "made"
    ),
    "a folder without an end": harmless(
        "for _ in range(3000):\n    os.mkdir('d'); os.chdir('d')\nos.chdir(os.environ['TMPDIR'] + '/../work')\n"
        "print('dug')",
        "dug",
    ),
    "removing one's own folder": Attack("import shutil\nshutil.rmtree(os.path.dirname(os.getcwd()))", DENIED),
}
