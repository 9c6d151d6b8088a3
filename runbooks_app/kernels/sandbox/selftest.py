"""The proof, before a worker takes its first job: a kernel like any other tries all that must fail and must work.

The worker stands by with what the probes aim at. One wrong answer, or none, and there are no kernels.
"""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import socket
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path

from runbooks_app.core.errors import Misconfigured, Problem, Unavailable
from runbooks_app.kernels.folders import remove
from runbooks_app.kernels.launcher import KernelProcess, Zygote, make_folder
from runbooks_app.kernels.sandbox import landlock
from runbooks_app.kernels.sandbox.probes.asking import Targets
from runbooks_app.kernels.sandbox.spec import Spec
from runbooks_app.kernels.sandbox.syscalls import this_machine

PATIENCE = 30.0
"""Seconds for all answers. They take a tenth of one; a machine that starts everything at once needs more."""

MEND = (
    "Workers need Linux 6.12 with Landlock among its security modules (lsm=landlock,…), on x86-64 or arm64. To try the "
    "service without, on a machine of your own: RUNBOOKS_SANDBOX=off."
)


def require_system() -> None:
    """Raises `Misconfigured` where this system cannot have a sandbox at all, with what it lacks."""
    try:
        this_machine()
    except OSError as error:
        raise Misconfigured(f"Kernels cannot be sealed here: {error}. {MEND}") from error
    found = landlock.version()
    if found < landlock.ABI:
        has = f"Landlock ABI {found}" if found else "no Landlock, or not switched on"
        raise Misconfigured(f"Kernels cannot be sealed here: ABI {landlock.ABI} is needed, this is {has}. {MEND}")


async def prove(zygote: Zygote, uids: Sequence[int | None]) -> int:
    """Ask every probe, in a fork of this zygote; how many there were.

    `uids` are for the kernel that tries, and for another one that it tries to reach. Raises `Misconfigured` with the
    probes that gave a wrong answer.
    """
    with ExitStack() as stack:
        folders = [zygote.folder / name for name in ("proof", "proof-sibling")]
        for folder, uid in zip(folders, uids, strict=True):
            stack.callback(remove, make_folder(folder, uid))
        (folders[1] / "note").write_text("x", encoding="ascii")
        bait = Bait.laid(zygote.folder / "proof-worker", stack)
        started: list[KernelProcess] = []
        try:
            sibling, _ = _fork(zygote, _spec(folders[1], uids[1]), stack)
            started.append(sibling)
            targets = Targets(
                folder=str(folders[0]),
                canary=bait.canary,
                closed_port=bait.ports[0],
                open_port=bait.ports[1],
                unix=bait.unix,
                abstract=bait.abstract,
                worker=os.getpid(),
                sibling=await sibling.started,
                sibling_folder=str(folders[1]),
                uid=uids[0],
            )
            tried, said = _fork(zygote, _spec(folders[0], uids[0], bait.ports[1]), stack, targets)
            started.append(tried)
            answers = await _answers(tried, said)
        finally:
            for process in started:
                process.kill()
            await asyncio.gather(*(process.ended for process in started))
    _judge(answers)
    return len(answers)


@dataclass(frozen=True)
class Bait:
    """What probes aim at; see `Targets`."""

    canary: str
    ports: tuple[int, int]
    unix: str
    abstract: str

    @classmethod
    def laid(cls, folder: Path, stack: ExitStack) -> Bait:
        """Lay it in this folder, which is made; the stack takes it away again."""
        folder.mkdir()
        stack.callback(remove, folder)
        folder.chmod(0o755)
        (folder / "empty").mkdir()
        canary = folder / "canary"
        canary.write_text("#!/bin/sh\nexit 0\n", encoding="ascii")
        canary.chmod(0o755)
        ports = []
        for _ in range(2):
            listening = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
            ports.append(int(listening.getsockname()[1]))
        abstract = f"runbooks-{secrets.token_hex(8)}"
        # A path in a socket's address is short, a worker's folder may lie deep; sockets are opened by descriptor then.
        where = os.open(folder, os.O_PATH)
        stack.callback(os.close, where)
        for address in (f"/proc/self/fd/{where}/socket", f"\0{abstract}"):
            listening = stack.enter_context(socket.socket(socket.AF_UNIX))
            listening.bind(address)
            listening.listen()
        return cls(str(canary), (ports[0], ports[1]), str(folder / "socket"), abstract)


def _spec(folder: Path, uid: int | None, *ports: int) -> Spec:
    return Spec(str(folder), ports, uid, open_files=256, processes=64, memory=1 << 30, file_size=1 << 20)


def _fork(
    zygote: Zygote, spec: Spec, stack: ExitStack, targets: Targets | None = None
) -> tuple[KernelProcess, list[int]]:
    """A kernel: its process, and our ends of its channel and its stderr."""
    ours, theirs = socket.socketpair()
    stack.enter_context(ours)
    out_read, out_write = os.pipe()
    error_read, error_write = os.pipe()
    for descriptor in (out_read, error_read):
        stack.callback(os.close, descriptor)
        os.set_blocking(descriptor, False)
    try:
        descriptors = (theirs.fileno(), out_read, out_write, error_read, error_write)
        process = zygote.fork(descriptors, spec, probe=asdict(targets) if targets else None)
    finally:
        theirs.close()
        os.close(out_write)
        os.close(error_write)
    ours.setblocking(False)
    return process, [ours.fileno(), error_read]


async def _answers(process: KernelProcess, said: list[int]) -> dict[str, str]:
    """What the probes say; Misconfigured, with what the process printed, where they say nothing."""
    channel, errors = said
    received = bytearray()
    why = f"It said nothing for {PATIENCE:.0f} s."
    try:
        async with asyncio.timeout(PATIENCE):
            await process.started
            loop = asyncio.get_running_loop()
            with socket.socket(fileno=os.dup(channel)) as reading:
                while piece := await loop.sock_recv(reading, 1 << 16):
                    received += piece
        answers: dict[str, str] = json.loads(received)
    except (TimeoutError, Unavailable, ValueError, OSError) as error:
        if isinstance(error, ValueError | OSError) and not isinstance(error, TimeoutError):
            await process.ended
        why = _read(errors) or (str(error) if isinstance(error, Unavailable) else why)
        raise Misconfigured(f"The sandbox could not be tried out, so no kernel is started. {why} {MEND}") from None
    return answers


def _read(descriptor: int) -> str:
    try:
        return os.read(descriptor, 1 << 16).decode(errors="replace").strip()
    except BlockingIOError:
        return ""


def _judge(answers: dict[str, str]) -> None:
    """Raises `Misconfigured` with every wrong answer; also where a probe is missing."""
    # Here, not above: the probes' system calls are looked up by machine, which must be known by now.
    from runbooks_app.kernels.sandbox.probes import ALL  # noqa: PLC0415

    problems = tuple(
        Problem(probe.name, f"{probe.shows}: {answers.get(probe.name, 'it gave no answer')}.")
        for probe in ALL
        if answers.get(probe.name, "none")
    )
    if problems:
        raise Misconfigured(
            f"The sandbox does not hold: {len(problems)} of {len(ALL)} probes gave a wrong answer, so no kernel is "
            f"started. {MEND}",
            problems=problems,
        )
