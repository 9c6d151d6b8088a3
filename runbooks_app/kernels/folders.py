"""Folders that strangers' code has written in: how much lies there, and away with them.

Whatever is found in one may have been made to trap whoever looks: links that lead out, names nested without end,
folders that cannot be read. Nothing here follows a link, keeps a descriptor for each level, or recurses.
Used by the worker and by the warden; imports nothing but the standard library.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

LEAST = 4096
"""Bytes that any file or folder weighs: a system runs out of inodes as it runs out of space."""

_NEAR = 400
"""Bytes of a relative path; a longer one is begun anew from where it leads. Names may be nested beyond PATH_MAX."""

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class _Base:
    """An open folder that paths begin in, for as long as one of them is still to be looked at."""

    def __init__(self, path: str, base: _Base | None = None) -> None:
        self.descriptor = -1
        self.descriptor = os.open(path, _FOLDER, dir_fd=base.descriptor if base else None)

    def __del__(self) -> None:
        if self.descriptor >= 0:
            os.close(self.descriptor)


def weigh(folder: str, open_in: Iterable[int] = ()) -> Iterator[int]:
    """Bytes on disk found so far, file by file; the last number is the whole.

    Each file counts once, however many names it has. What the processes `open_in` hold open without a name counts too
    where the system lets us see it, which it does for root alone.
    """
    found = 0
    known = set[tuple[int, int]]()
    for status in _below(folder):
        if status.st_nlink > 1 and not stat.S_ISDIR(status.st_mode):
            if (status.st_dev, status.st_ino) in known:
                continue
            known.add((status.st_dev, status.st_ino))
        found += max(LEAST, status.st_blocks * 512)
        yield found
    for status in _nameless(open_in):
        if (status.st_dev, status.st_ino) not in known:
            known.add((status.st_dev, status.st_ino))
            found += status.st_blocks * 512
            yield found


def _below(folder: str) -> Iterator[os.stat_result]:
    with suppress(OSError):
        waiting = [(_Base(folder), ".")]
        while waiting:
            base, path = waiting.pop()
            with suppress(OSError):
                if len(os.fsencode(path)) > _NEAR:
                    base, path = _Base(path, base), "."
                descriptor = os.open(path, _FOLDER, dir_fd=base.descriptor)
                try:
                    with os.scandir(descriptor) as entries:
                        for entry in entries:
                            with suppress(OSError):
                                status = entry.stat(follow_symlinks=False)
                                if stat.S_ISDIR(status.st_mode):
                                    waiting.append((base, f"{path}/{entry.name}"))
                                yield status
                finally:
                    os.close(descriptor)


def _nameless(processes: Iterable[int]) -> Iterator[os.stat_result]:
    for pid in processes:
        with suppress(OSError):
            for number in os.listdir(f"/proc/{pid}/fd"):  # noqa: PTH208  thousands of them
                with suppress(OSError):
                    status = os.stat(f"/proc/{pid}/fd/{number}")  # noqa: PTH116
                    if status.st_nlink == 0 and stat.S_ISREG(status.st_mode):
                        yield status


def remove(folder: Path) -> bool:
    """Remove a folder with all that lies in it, once nobody writes there any more; whether it is gone.

    One folder is open at a time, whatever the depth: the way up is `..`, which nobody is left to change.
    """
    with suppress(FileNotFoundError, NotADirectoryError):
        here = os.open(folder, _FOLDER)
        try:
            here = _clear(here)
        finally:
            os.close(here)
        with suppress(OSError):
            folder.rmdir()
    return not os.path.lexists(folder)


def _clear(here: int) -> int:
    """Remove what lies in an open folder; gives it back, opened anew. What will not go is left."""
    trail = [("", _files_away(here))]  # names from the top down to here, each with the folders that are left in it
    while trail:
        name, left = trail[-1]
        if left:
            inner = left.pop()
            with suppress(OSError):
                if os.geteuid() != 0:
                    os.chmod(inner, 0o700, dir_fd=here)  # its owner may have locked us out
                below = os.open(inner, _FOLDER, dir_fd=here)
                os.close(here)
                here = below
                trail.append((inner, _files_away(here)))
            continue
        trail.pop()
        if trail:
            above = os.open("..", _FOLDER, dir_fd=here)
            os.close(here)
            here = above
            with suppress(OSError):
                os.rmdir(name, dir_fd=here)
    return here


def _files_away(here: int) -> list[str]:
    """Remove all but the folders from an open folder; the names of those."""
    with os.scandir(here) as entries:
        found = [(entry.name, entry.is_dir(follow_symlinks=False)) for entry in entries]
    for name, is_folder in found:
        if not is_folder:
            with suppress(OSError):
                os.unlink(name, dir_fd=here)
    return [name for name, is_folder in found if is_folder]
