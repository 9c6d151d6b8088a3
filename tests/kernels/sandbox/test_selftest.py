"""The proof of the sandbox: it passes whoever the worker is, and it fails whatever part is missing."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest
from components import lacking

from runbooks_app.core.errors import Misconfigured
from runbooks_app.kernels.engine import Engine
from runbooks_app.kernels.sandbox import landlock, probes, seccomp, selftest
from runbooks_app.kernels.sandbox.syscalls import this_machine
from runbooks_app.main.embedded.account import Account

# One process asks for all of them, so one pytest process does.
pytestmark = pytest.mark.kernels

LABORATORY = Path(__file__).with_name("laboratory.py")
SERVICE = Path(__file__).parents[3]

CAPABLE = "the system asks for a capability first, and no kernel has one"
TWICE = {
    # part → why its absence makes no difference here
    ("rule", "families of pairs"): "the system makes pairs of unix sockets alone",
    ("handled", "files 0x1"): "a program is also read to be executed",
    ("handled", "files 0x800"): CAPABLE,
    ("handled", "scopes 0x1"): "no unix socket can be made to connect with",
    **{
        ("call", call): CAPABLE
        for call in (
            *("pivot_root", "move_mount", "fsopen", "fsmount", "fspick", "acct", "swapon", "swapoff", "reboot"),
            *("vhangup", "sethostname", "setdomainname"),
        )
    },
}
"""Parts that something else stands in for."""

SOMETIMES = {
    # part → how this machine may be set so that it is one of the above
    ("call", "syslog"): "/proc/sys/kernel/dmesg_restrict",
    ("call", "bpf"): "/proc/sys/kernel/unprivileged_bpf_disabled",
    ("call", "userfaultfd"): "/proc/sys/kernel/unprivileged_userfaultfd",
    ("call", "perf_event_open"): "/proc/sys/kernel/perf_event_paranoid",
    ("call", "io_uring_setup"): "/proc/sys/kernel/io_uring_disabled",
    ("call", "unshare"): "/proc/sys/user/max_user_namespaces",
    ("call", "clone"): "/proc/sys/user/max_user_namespaces",
    ("rule", "clone into namespaces"): "/proc/sys/user/max_user_namespaces",
}

CALLS = [
    call
    for rule in seccomp.RULES
    for call in rule.calls
    if len(rule.calls) > 1 and not rule.when and call in this_machine().numbers
]
PARTS = [
    *(("rule", rule.name) for rule in seccomp.RULES),
    *(("call", call) for call in CALLS),
    *(("handled", f"files {1 << bit:#x}") for bit in range(16)),
    *(("handled", f"{kind} {bit:#x}") for kind in ("ports", "scopes") for bit in (1, 2)),
]
GAPS = [
    ("seccomp", ""),
    ("landlock", ""),
    ("readable", "/"),
    ("readable", "/proc"),
    ("readable", "/etc"),
    ("readable", "/tmp"),
    ("writable", ""),
    ("writable", "/dev/shm"),
    ("step", "drop"),
    ("step", "die_with"),
    ("step", "limit"),
]


def python_for(who: str) -> str:
    """An interpreter that this worker's user may run."""
    if who in {"is", "pod"}:
        return sys.executable
    other = Account(uid=65534, gid=65534, changes=True)
    for found in (sys.executable, "/usr/bin/python3"):
        recent = "import sys; sys.exit(sys.version_info < (3, 11))"
        if other.try_running(found, "-I", "-c", recent) and other.reaches(SERVICE / "runbooks_app"):
            return found
    lacking("No Python 3.11 can be run by another user: install Debian's python3.")
    raise AssertionError


def ask(who: str, *variants: tuple[str, str]) -> dict[tuple[str, str], dict[str, str]]:
    asked = subprocess.run(
        [python_for(who), LABORATORY, json.dumps({"as": who, "variants": variants})],
        env={"PYTHONPATH": str(SERVICE)},
        capture_output=True,
        text=True,
        check=False,
        cwd="/",
    )
    assert (asked.returncode, asked.stderr) == (0, "")
    return {(what, which): wrong for what, which, wrong in map(json.loads, asked.stdout.splitlines())}


@cache
def without() -> dict[tuple[str, str], dict[str, str]]:
    """What goes wrong without each part, all of them asked in one process."""
    return ask("is", ("whole", ""), *PARTS, *GAPS)


@pytest.mark.parametrize("who", ["is", "nobody", "pod", "root"])
def test_every_probe_passes_whoever_the_worker_is(who):
    if who != "is" and os.geteuid() != 0:
        pytest.skip("only root can become somebody else; whom this test is run as is tried by the first of these")
    assert ask(who, ("whole", "")) == {("whole", ""): {}}


def test_there_are_at_least_as_many_probes_as_the_prototype_had():
    assert sum(probe.fails for probe in probes.ALL) >= 44
    assert len(probes.ALL) == len({probe.name for probe in probes.ALL}) >= 48
    assert all(probe.shows for probe in probes.ALL)


@pytest.mark.parametrize("part", PARTS, ids=" ".join)
def test_without_any_one_rule_the_proof_fails(part):
    if part in SOMETIMES and not without()[part]:
        assert (Path(SOMETIMES[part])).exists(), "nothing else can have refused it"
        pytest.skip(f"this machine refuses it by itself: {SOMETIMES[part]}")
    if part in TWICE:
        assert without()[part] == {}, "it is guarded by a probe now: take it off the list"
    else:
        assert without()[part]


@pytest.mark.parametrize("part", GAPS, ids=" ".join)
def test_with_a_gap_the_proof_fails(part):
    if part == ("step", "drop") and os.geteuid() != 0:
        pytest.skip("an ordinary user has nothing to drop")
    assert without()[part]


def test_without_landlock_and_without_the_filter_much_is_possible():
    for part, least in ((("landlock", ""), 25), (("seccomp", ""), 80)):
        assert len(without()[part]) >= least


@pytest.fixture
def engine_with(tmp_path, monkeypatch):
    """Start an engine whose zygote finds something else than it should."""

    def start(patch: str):
        (tmp_path / "roots").mkdir()
        # Imported by the zygote with the libraries, before any kernel is forked.
        (tmp_path / "roots" / "httpx.py").write_text(patch)
        return Engine.start(folder=tmp_path, roots=[tmp_path / "roots"])

    return start


@pytest.mark.parametrize(
    ("patch", "said"),
    [
        (
            """
import gc
from runbooks_app.kernels.sandbox import seccomp
for found in gc.get_objects():
    if isinstance(found, seccomp.Filter):
        found.__init__([rule for rule in seccomp.RULES if rule.name != "kinds of sockets"])
""",
            r"send_datagrams: UDP would reach every name server, and so the world: it was possible",
        ),
        (
            "from runbooks_app.kernels.sandbox import probes\nprobes.ask = lambda *_: {}\n",
            r"read_a_file_of_the_worker: .*: it gave no answer",
        ),
        (
            "import os\nfrom runbooks_app.kernels.sandbox import probes\nprobes.ask = lambda *_: os._exit(1)\n",
            r"could not be tried out, so no kernel is started",
        ),
        (
            """
from runbooks_app.kernels.sandbox import lockdown
def drop(uid): raise OSError(1, 'no uid today')
lockdown.drop = drop
""",
            r"no uid today",
        ),
    ],
    ids=["a rule is missing", "no answers", "it dies", "a step fails"],
)
def test_an_engine_whose_sandbox_does_not_hold_does_not_start_and_says_why(engine_with, patch, said, tmp_path):
    with pytest.raises(Misconfigured, match=said) as raised:
        engine_with(patch)
    assert "RUNBOOKS_SANDBOX=off" in str(raised.value)
    assert [path.name for path in tmp_path.iterdir()] == ["roots"]


def test_a_system_without_landlock_is_told_what_it_lacks(monkeypatch):
    monkeypatch.setattr(landlock, "version", lambda: 0)
    with pytest.raises(Misconfigured, match=r"needs? .*Landlock, or not switched on|no Landlock"):
        Engine.start()
    monkeypatch.setattr(landlock, "version", lambda: 4)
    with pytest.raises(Misconfigured, match=r"this is Landlock ABI 4"):
        selftest.require_system()


def test_every_probe_tells_what_it_shows_in_words():
    for probe in probes.ALL:
        assert re.fullmatch(r"[a-z0-9_]+", probe.name)
        assert not probe.shows.endswith(".")
