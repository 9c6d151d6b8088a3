"""Programs for the system's packet filter, which is what seccomp takes: jumps go to labels, sizes are checked.

The machine has one register and sees `struct seccomp_data`: number, architecture, instruction pointer, six arguments
of eight bytes. Jumps only go forwards, by at most 255 instructions each. See <linux/filter.h> and seccomp(2).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field

NUMBER, ARCHITECTURE, _ARGUMENTS = 0, 4, 16
"""Offsets into what the program sees."""

_LOAD, _EQUAL, _GREATER, _ANY_BIT, _AND, _RETURN, _JUMP = 0x20, 0x15, 0x25, 0x45, 0x54, 0x06, 0x05

ALLOW = 0x7FFF0000
KILL_PROCESS = 0x80000000
MOST = 4096
"""Instructions that the system takes in one program."""


def errno(number: int) -> int:
    """The answer "this call failed with this error"; with 0, that it succeeded, though nothing was done."""
    return 0x50000 | number


def argument(position: int) -> int:
    """Offset of the lower half of an argument: all that C's ints and flags have."""
    return _ARGUMENTS + 8 * position


@dataclass(frozen=True)
class _Instruction:
    code: int
    value: int
    then: str = ""
    otherwise: str = ""


@dataclass
class Program:
    """A program while it is written. An empty label means: the next instruction."""

    instructions: list[_Instruction] = field(default_factory=list)
    labels: dict[str, int] = field(default_factory=dict)

    def label(self, name: str) -> None:
        """What follows can be jumped to by this name."""
        if name in self.labels:
            raise ValueError(f"two places are called {name!r}")
        self.labels[name] = len(self.instructions)

    def load(self, offset: int) -> None:
        """Take four bytes of what the program sees."""
        self.instructions.append(_Instruction(_LOAD, offset))

    def mask(self, bits: int) -> None:
        """Keep these bits of what was taken."""
        self.instructions.append(_Instruction(_AND, bits))

    def if_equal(self, value: int, then: str = "", otherwise: str = "") -> None:
        """Go on at one label or the other."""
        self.instructions.append(_Instruction(_EQUAL, value, then, otherwise))

    def if_greater(self, value: int, then: str = "", otherwise: str = "") -> None:
        """Go on at one label or the other; numbers are without sign."""
        self.instructions.append(_Instruction(_GREATER, value, then, otherwise))

    def if_any(self, bits: int, then: str = "", otherwise: str = "") -> None:
        """Whether any of these bits is set."""
        self.instructions.append(_Instruction(_ANY_BIT, bits, then, otherwise))

    def go(self, to: str) -> None:
        """Go on there, however far it is."""
        self.instructions.append(_Instruction(_JUMP, 0, to))

    def answer(self, action: int) -> None:
        """End here, with this."""
        self.instructions.append(_Instruction(_RETURN, action))

    def assemble(self) -> bytes:
        """The program as the system takes it; ValueError where a jump goes nowhere, backwards or too far."""
        if len(self.instructions) > MOST:
            raise ValueError(f"{len(self.instructions)} instructions are too many")
        return b"".join(self._encoded(at, instruction) for at, instruction in enumerate(self.instructions))

    def _encoded(self, at: int, instruction: _Instruction) -> bytes:
        if instruction.code == _JUMP:
            return struct.pack("=HBBI", _JUMP, 0, 0, self._distance(at, instruction.then, 2**32 - 1))
        then, otherwise = (self._distance(at, label, 255) for label in (instruction.then, instruction.otherwise))
        return struct.pack("=HBBI", instruction.code, then, otherwise, instruction.value)

    def _distance(self, at: int, label: str, most: int) -> int:
        if not label:
            return 0
        if label not in self.labels:
            raise ValueError(f"nothing is called {label!r}")
        distance = self.labels[label] - at - 1
        if not 0 <= distance <= most:
            raise ValueError(f"{label!r} is {distance} instructions away")
        return distance
