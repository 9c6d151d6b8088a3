"""The filter of system calls: its numbers are the system's, and its program says what its rules say.

The programs of both architectures are run here by a small machine of the same kind as the one in the kernel, so that
what holds on arm64 is known without one.
"""

from __future__ import annotations

import errno
import re
import socket
import struct
from pathlib import Path

import pytest
from components import lacking

from runbooks_app.kernels.sandbox import assembler, seccomp
from runbooks_app.kernels.sandbox.assembler import ALLOW, KILL_PROCESS, Program
from runbooks_app.kernels.sandbox.syscalls import LAST, MACHINES

pytestmark = pytest.mark.kernels

HEADERS = {
    "x86_64": ("/usr/include/x86_64-linux-gnu/asm/unistd_64.h", "/usr/x86_64-linux-gnu/include/asm/unistd_64.h"),
    "aarch64": ("/usr/include/asm-generic/unistd.h", "/usr/aarch64-linux-gnu/include/asm-generic/unistd.h"),
}
"""The numbers of arm64 are the generic ones. All are in Debian's linux-libc-dev, or in its variants for crossing."""

ALLOWED_CALLS = {
    # numbers of calls that runbooks live on, written down by hand from both headers
    "x86_64": {"read": 0, "write": 1, "mmap": 9, "execve": 59, "fork": 57, "connect": 42, "kill": 62, "openat": 257},
    "aarch64": {"read": 63, "write": 64, "mmap": 222, "execve": 221, "connect": 203, "kill": 129, "openat": 56},
}


def numbers_in(machine: str) -> dict[str, int]:
    found = next((Path(path) for path in HEADERS[machine] if Path(path).exists()), None)
    if found is None:
        lacking(f"The kernel's headers for {machine} are missing: apt-get install linux-libc-dev")
        raise AssertionError
    named = re.findall(r"^#define __NR(?:3264)?_(\w+)\s+(\d+)$", found.read_text(), re.MULTILINE)
    return {name: int(number) for name, number in named if name != "syscalls"}


@pytest.mark.parametrize("machine", MACHINES)
def test_every_number_is_the_one_in_the_kernels_own_headers(machine):
    ours, theirs = MACHINES[machine].numbers, numbers_in(machine)
    newest = max(theirs.values())
    for name, number in ours.items():
        if name in theirs:
            assert number == theirs[name], name
        else:
            # Younger than the headers. From 424 on, all architectures share their numbers.
            assert newest < number <= LAST, name
            assert {machine.numbers[name] for machine in MACHINES.values()} == {number}, name
    assert len(set(ours.values())) == len(ours)
    assert {name for name in ours if name in theirs} > {"socket", "clone", "ptrace", "prlimit64", "seccomp"}


@pytest.mark.parametrize("machine", MACHINES)
def test_an_architecture_lacks_only_what_it_never_had(machine):
    known = {name for machine in MACHINES.values() for name in machine.numbers}
    theirs = numbers_in(machine)
    assert not [name for name in known - MACHINES[machine].numbers.keys() if name in theirs]
    named = {call for rule in seccomp.RULES for call in rule.calls}
    assert named <= known  # none is misspelt


class Machine:
    """Runs a program over what it would see; see <linux/filter.h> and seccomp(2)."""

    def __init__(self, program: bytes) -> None:
        self.program = [struct.unpack_from("=HBBI", program, at) for at in range(0, len(program), 8)]

    def answer(self, number: int, *arguments: int, audit: int) -> int:
        full = [*(argument & (2**64 - 1) for argument in arguments), *([0] * (6 - len(arguments)))]
        seen = struct.pack("=IIQ6Q", number, audit, 0, *full)
        register, at = 0, 0
        while True:
            code, then, otherwise, value = self.program[at]
            at += 1
            match code:
                case 0x20:
                    (register,) = struct.unpack_from("=I", seen, value)
                case 0x54:
                    register &= value
                case 0x05:
                    at += value
                case 0x15:
                    at += then if register == value else otherwise
                case 0x25:
                    at += then if register > value else otherwise
                case 0x45:
                    at += then if register & value else otherwise
                case 0x06:
                    return value
                case _:
                    raise AssertionError(f"no such instruction: {code:#x}")


@pytest.fixture(params=list(MACHINES))
def filtered(request):
    """Asks the filter of one architecture about a call by its name or number."""
    machine = MACHINES[request.param]
    runs = Machine(seccomp.program(machine))

    def ask(call: str | int, *arguments: int, audit: int = machine.audit) -> int:
        number = call if isinstance(call, int) else machine.numbers[call]
        return runs.answer(number, *arguments, audit=audit)

    ask.machine = machine
    return ask


def test_what_runbooks_live_on_is_allowed(filtered):
    for name, number in ALLOWED_CALLS[filtered.machine.name].items():
        assert filtered(number, 3, 5, 7) == ALLOW, name


def test_a_call_without_conditions_gets_the_answer_of_its_rule(filtered):
    for rule in seccomp.RULES:
        for call in rule.calls:
            if call in filtered.machine.numbers and not rule.when and call not in {"utime", "utimes", "utimensat"}:
                assert filtered(call, 1, 1, 1, 1) == assembler.errno(rule.answer), call


@pytest.mark.parametrize(
    ("call", "arguments", "answer"),
    [
        ("socket", (socket.AF_INET, socket.SOCK_STREAM, 0), None),
        ("socket", (socket.AF_INET6, socket.SOCK_STREAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK, 6), None),
        ("socket", (socket.AF_INET, socket.SOCK_DGRAM, 0), errno.EOPNOTSUPP),
        ("socket", (socket.AF_INET, socket.SOCK_RAW, 1), errno.EOPNOTSUPP),
        ("socket", (socket.AF_INET, socket.SOCK_STREAM, 262), errno.EOPNOTSUPP),
        ("socket", (socket.AF_UNIX, socket.SOCK_STREAM, 0), errno.EOPNOTSUPP),
        ("socket", (socket.AF_NETLINK, socket.SOCK_RAW, 0), errno.EOPNOTSUPP),
        # The system looks at the lower half alone.
        ("socket", ((1 << 32) | socket.AF_UNIX, socket.SOCK_STREAM, 0), errno.EOPNOTSUPP),
        ("socketpair", (socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC, 0), None),
        ("socketpair", (socket.AF_UNIX, socket.SOCK_DGRAM, 0), errno.EOPNOTSUPP),
        ("socketpair", (socket.AF_INET, socket.SOCK_STREAM, 0), errno.EOPNOTSUPP),
        ("sendto", (3, 0, 0, 0x4000, 0, 0), None),
        ("sendto", (3, 0, 0, 0x20004000, 0, 0), errno.EOPNOTSUPP),
        ("sendmsg", (3, 0, 0), None),
        ("sendmsg", (3, 0, 0x20000000), errno.EOPNOTSUPP),
        ("clone", (0x01200011, 0, 0, 0, 0), None),
        ("clone", (0x003D0F00, 0, 0, 0, 0), None),
        ("clone", (0x10000011, 0, 0, 0, 0), errno.EPERM),
        ("clone", (0x00020011, 0, 0, 0, 0), errno.EPERM),
        ("clone3", (0, 88), errno.ENOSYS),
        ("prlimit64", (0, 7, 0, 0), None),
        ("prlimit64", (1, 7, 0, 0), errno.EPERM),
        ("setpriority", (0, 0, 5), None),
        ("setpriority", (0, 17, 5), errno.EPERM),
        ("setpriority", (2, 0, 5), errno.EPERM),
        ("ioctl", (0, 0x5401, 0), None),
        ("ioctl", (0, 0x5412, 0), errno.EPERM),
        ("ioctl", (0, (1 << 32) | 0x5412, 0), errno.EPERM),
        ("utimensat", (3, 0, 0, 0), 0),
        ("utimensat", (3, 99, 99, 0), 0),
        ("utimensat", (3, 99, 0, 0), errno.EPERM),
        ("seccomp", (1, 0, 0), None),
        ("landlock_restrict_self", (3, 0), None),
    ],
)
def test_arguments_decide(filtered, call, arguments, answer):
    assert filtered(call, *arguments) == (ALLOW if answer is None else assembler.errno(answer))


def test_what_is_newer_than_the_list_is_not_there(filtered):
    assert filtered(LAST) != assembler.errno(errno.ENOSYS)
    for number in (LAST + 1, 1000, 0x40000000, 0x40000000 + 59, 0xFFFFFFFF):
        assert filtered(number) == assembler.errno(errno.ENOSYS)


def test_another_architecture_ends_the_process(filtered):
    others = {machine.audit for machine in MACHINES.values()} - {filtered.machine.audit}
    for audit in (*others, 0x40000003, 0x40000028, 0):
        assert filtered(20, audit=audit) == KILL_PROCESS


def test_the_assembler_refuses_jumps_that_lead_nowhere():
    program = Program()
    program.if_equal(1, then="missing")
    with pytest.raises(ValueError, match="nothing is called 'missing'"):
        program.assemble()


def test_the_assembler_refuses_jumps_backwards_and_too_far():
    program = Program()
    program.label("before")
    program.if_equal(1, then="before")
    with pytest.raises(ValueError, match="'before' is -1 instructions away"):
        program.assemble()
    program = Program()
    program.if_equal(1, then="far")
    for _ in range(256):
        program.load(0)
    program.label("far")
    program.answer(ALLOW)
    with pytest.raises(ValueError, match="'far' is 256 instructions away"):
        program.assemble()


def test_the_assembler_refuses_two_labels_of_one_name_and_programs_that_are_too_long():
    program = Program()
    program.label("here")
    with pytest.raises(ValueError, match="two places"):
        program.label("here")
    for _ in range(assembler.MOST + 1):
        program.load(0)
    with pytest.raises(ValueError, match="too many"):
        program.assemble()
