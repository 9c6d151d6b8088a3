"""Large outputs, by content: the address is the SHA-256 of the bytes, so nothing is stored twice or swapped."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
from collections.abc import Callable, Iterator
from io import FileIO
from pathlib import Path
from typing import Any

import fsspec

from runbooks_app.core.errors import NotFound, Unavailable

_ADDRESS = re.compile(r"^[0-9a-f]{64}$")

PIECE = 1 << 18
"""Bytes that are moved at once."""


class Artifacts:
    """A folder or bucket of artifacts; `url` as fsspec takes it (`file:///var/lib/runbooks/artifacts`, `s3://…`)."""

    def __init__(self, url: str, base: Path) -> None:
        protocol, _, path = url.partition("://")
        self._folder = str((base / path).absolute()) if protocol == "file" else path
        self._files = fsspec.filesystem(protocol, skip_instance_cache=True)

    def put(self, content: bytes) -> str:
        """Store bytes; their address."""
        return self._put(hashlib.sha256(content).hexdigest(), lambda beside: self._files.pipe_file(beside, content))

    def put_file(self, file: FileIO) -> str:
        """Store what is in a file, which is never in memory as a whole; its address."""
        file.seek(0)
        address = hashlib.file_digest(file, "sha256").hexdigest()
        file.seek(0)

        def write(beside: str) -> None:
            with self._files.open(beside, "wb", block_size=20 * PIECE) as stored:
                shutil.copyfileobj(file, stored, PIECE)

        return self._put(address, write)

    def _put(self, address: str, write: Callable[[str], Any]) -> str:
        """Written beside and renamed, so a reader never sees half of it."""
        place = self._place(address)
        try:
            if not self._files.exists(place):
                self._files.makedirs(place.rsplit("/", 1)[0], exist_ok=True)
                beside = f"{place}.{os.getpid()}.{os.urandom(4).hex()}"
                write(beside)
                self._files.mv(beside, place)
        except Exception as error:  # each kind of store has errors of its own
            raise Unavailable(f"The artifact store took no output ({type(error).__name__}).") from error
        return address

    def get(self, address: str) -> bytes:
        """The bytes at an address; `NotFound` if there are none or they were altered, `Unavailable` if it is away."""
        if not _ADDRESS.match(address):
            raise NotFound("This is no artifact's address.")
        try:
            content: bytes = self._files.cat_file(self._place(address))
        except FileNotFoundError as error:
            raise NotFound(f"Artifact {address[:16]} is gone.") from error
        except Exception as error:
            raise Unavailable(f"The artifact store is away ({type(error).__name__}).") from error
        if hashlib.sha256(content).hexdigest() != address:
            raise NotFound(f"Artifact {address[:16]} was altered; it is not shown.")
        return content

    def pieces(self, address: str) -> Iterator[bytes]:
        """The bytes at an address, some at a time; errors as with `get`.

        That they were altered is known at their end alone: the last piece is held back until then.
        """
        if not _ADDRESS.match(address):
            raise NotFound("This is no artifact's address.")
        digest, held = hashlib.sha256(), b""
        try:
            with self._files.open(self._place(address), "rb") as file:
                while piece := file.read(PIECE):
                    digest.update(piece)
                    yield held
                    held = piece
        except FileNotFoundError as error:
            raise NotFound(f"Artifact {address[:16]} is gone.") from error
        except Exception as error:
            raise Unavailable(f"The artifact store is away ({type(error).__name__}).") from error
        if digest.hexdigest() != address:
            raise NotFound(f"Artifact {address[:16]} was altered; it is not shown.")
        yield held

    def _place(self, address: str) -> str:
        return f"{self._folder}/{address[:2]}/{address}"
