"""Memory in huge pages is the same memory, and a fork's is still its own."""

from __future__ import annotations

import subprocess
import sys

import pytest

pytestmark = pytest.mark.kernels

FORKED = """
import os, sys
from pathlib import Path
from runbooks_app.kernels.huge import collapse
numbers = [bytes([n % 256]) * 1000 for n in range(20_000)]
before = sum(map(sum, numbers))
moved = collapse()
lines = dict(line.split(":") for line in Path("/proc/self/smaps_rollup").read_text().splitlines()[1:])
held = int(lines["AnonHugePages"].split()[0])
pid = os.fork()
if pid == 0:
    numbers[:] = [b""] * len(numbers)
    os._exit(sum(map(sum, numbers)))
ended = os.waitpid(pid, 0)[1]
print(moved, held, ended, sum(map(sum, numbers)) == before)
"""


def test_memory_moved_into_huge_pages_is_intact_and_a_fork_changes_its_own_alone():
    told = subprocess.run([sys.executable, "-c", FORKED], capture_output=True, text=True, check=True).stdout.split()
    moved, held, *rest = told
    assert rest == ["0", "True"]
    if moved == "0":
        pytest.skip("this system has no MADV_COLLAPSE (Linux 6.1) or no huge page left")
    assert int(held) >= 2048
