"""What a kernel's sys.stdout and sys.stderr are, and the few words in which it moves bytes.

What becomes of what is printed is `child.Kernel.print`'s.
"""

from __future__ import annotations

import fcntl
import io
import os
import struct
import termios
from collections.abc import Callable


class Output(io.TextIOBase):
    """A kernel's sys.stdout or sys.stderr. What is written is out of Python's hands at once."""

    encoding = "utf-8"
    errors = "replace"

    def __init__(self, printed: Callable[[int, str], None], name: str, descriptor: int) -> None:
        self.printed, self.name, self.descriptor = printed, f"<{name}>", descriptor
        self.buffer = io.FileIO(descriptor, "w", closefd=False)

    def writable(self) -> bool:
        """Yes."""
        return True

    def isatty(self) -> bool:
        """No: colours and progress bars have no terminal here."""
        return False

    def fileno(self) -> int:
        """Return the descriptor, for subprocesses to print to."""
        return self.descriptor

    def write(self, text: str) -> int:
        """Take text."""
        if not isinstance(text, str):
            raise TypeError(f"write() argument must be str, not {type(text).__name__}")
        if text:
            self.printed(self.descriptor, text)
        return len(text)


def waiting(pipe: int) -> int:
    """Bytes that can be read from a pipe."""
    (length,) = struct.unpack("i", fcntl.ioctl(pipe, termios.FIONREAD, b"\0\0\0\0"))
    return int(length)


def write_all(descriptor: int, body: bytes) -> None:
    """Write it whole, however long that takes."""
    written = os.write(descriptor, body)
    while written < len(body):
        written += os.write(descriptor, memoryview(body)[written:])
