"""The zygote's memory in huge pages: a fork copies one entry for each of them instead of 512.

A kernel is a fork of a process with 100 MB; to copy its page tables and to take them down again took 10 ms of the 38
that a kernel with six short cells takes in all, and takes 5 with huge pages. What a kernel then writes to is copied in
pages of 4 kB as before: the system splits a huge page for that. Where the system has no such call all stays as it is.
"""

from __future__ import annotations

import ctypes
import re
from contextlib import suppress
from pathlib import Path

MADV_COLLAPSE = 25
"""<asm-generic/mman-common.h>, since Linux 6.1: have a range in huge pages from now on."""

SIZE = 2 << 20
"""Bytes of a huge page."""

_OWN = re.compile(r"^([0-9a-f]+)-([0-9a-f]+) rw-p [0-9a-f]+ 00:00 0 *(?:\[heap\])?$", re.MULTILINE)
"""In /proc/self/maps: memory without a file behind it, to be written to; the stack is left out."""


def collapse() -> int:
    """Move this process's own memory into huge pages, as far as it can be; how many there are then."""
    libc = ctypes.CDLL(None, use_errno=True)
    with suppress(AttributeError):  # not every C library has it
        libc.malloc_trim(0)  # what is free need not be copied
    madvise = libc.madvise
    madvise.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
    found = 0
    for begin, end in _OWN.findall(Path("/proc/self/maps").read_text(encoding="utf-8", errors="replace")):
        first = -(-int(begin, 16) // SIZE) * SIZE
        for address in range(first, int(end, 16) - SIZE + 1, SIZE):
            found += madvise(address, SIZE, MADV_COLLAPSE) == 0
    return found
