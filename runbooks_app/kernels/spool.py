"""The whole of what a cell printed, redacted, in a file that has no name: it is gone with whoever held it.

It begins where what is kept in the run itself is full. The text is redacted as it streams, and searched for secrets
that are spread out (`redaction.Spread`), each stream by itself and both together as they follow each other here: one
that is found withholds the cell. Sizes are bytes of UTF-8.
"""

from __future__ import annotations

import copy
import io
import os
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

from runbooks_app.kernels.redaction import Redactor, Spread, Stream


class Unnamed(io.FileIO):
    """A file without a name, closed when nobody holds it any more."""

    def __del__(self) -> None:
        self.close()


@dataclass(frozen=True)
class Rest:
    """All that a cell printed, `size` bytes in `file`; `lost` bytes more were printed and are kept nowhere."""

    size: int
    lost: int
    file: Unnamed = field(repr=False, compare=False)


class Spool:
    """Takes at most `room` bytes, in the order in which they can be shown."""

    def __init__(self, redactor: Redactor, folder: Path, room: int) -> None:
        self._redactor = redactor
        self._room = room
        self.size = self.lost = 0
        self._file: Unnamed | None = None
        try:
            with tempfile.TemporaryFile(dir=folder, buffering=0) as made:
                self._file = Unnamed(os.dup(made.fileno()), "r+b")
        except OSError:
            self._room = 0  # what cannot be kept is counted
        self._streams = {name: Stream(self._redactor) for name in ("stdout", "stderr")}
        self._last = "stdout"
        self._spreads: dict[str, Spread] = {}
        self._together: Spread | None = None  # once both streams have printed

    def take(self, name: str, text: str) -> None:
        """Text of a stream."""
        if self.full:
            self.lost += len(text.encode())
            return
        if name != self._last:
            # What was held back there is followed by this now, for whoever reads: `_together` has to see it so.
            self._write(self._last, self._streams[self._last].finish())
            self._last = name
        self._write(name, self._streams[name].feed(text))

    @property
    def full(self) -> bool:
        """Whether nothing more is kept."""
        return self.size >= self._room

    @property
    def places(self) -> int:
        """Where something was redacted, so far."""
        return sum(stream.places for stream in self._streams.values())

    @property
    def spread(self) -> bool:
        """Whether a secret was found that is spread out."""
        found = [spread.found for spread in (self._together, *self._spreads.values()) if spread is not None]
        return any(found)

    def finish(self) -> Rest | None:
        """The file, all written; None where there is none."""
        for name, stream in self._streams.items():
            self._write(name, stream.finish())
        if self._file is None:
            return None
        self._file.seek(0)
        return Rest(self.size, self.lost, self._file)

    def _write(self, name: str, shown: str) -> None:
        if not shown or self._file is None:
            return
        if self._spreads and name not in self._spreads:
            (first,) = self._spreads.values()
            self._together = copy.copy(first)
        self._spreads.setdefault(name, Spread(self._redactor)).feed(shown)
        if self._together is not None:
            self._together.feed(shown)
        raw = shown.encode()
        fits = raw[: self._room - self.size]
        if len(fits) < len(raw):
            fits = fits.decode(errors="ignore").encode()
            self._room = self.size + len(fits)  # and no shorter piece after it
        written = 0
        try:
            while written < len(fits):
                written += self._file.write(fits[written:])
        except OSError:  # the disk is full: what it took so far is kept
            self._room = self.size + written
        self.size += written
        self.lost += len(raw) - written
