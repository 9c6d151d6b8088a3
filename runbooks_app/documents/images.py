"""Images out of a kernel: their type by their own bytes, their metadata gone, their size known.

Metadata can hold what the redaction of text never saw (paths, environment, source), and bytes after the image's
end can be another file altogether. What is kept is what paints pixels.
"""

from __future__ import annotations

import base64
import binascii
import struct
import zlib
from dataclasses import dataclass
from typing import Any

from runbooks_app.documents.unreadable import Unreadable

LARGEST = 16 * 1024 * 1024
"""Bytes of the largest image that is shown."""

_MOST_PIXELS = 64_000_000
_PNG = b"\x89PNG\r\n\x1a\n"
_PAINTING = frozenset({b"IHDR", b"PLTE", b"IDAT", b"IEND", b"tRNS", b"gAMA", b"sRGB", b"cHRM", b"pHYs", b"sBIT"})
_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}


@dataclass(frozen=True)
class Image:
    """A checked image: `mime` is `image/png` or `image/jpeg`; width and height in pixels."""

    mime: str
    data: bytes
    width: int
    height: int

    @property
    def base64(self) -> str:
        """The bytes as notebooks and data addresses hold them."""
        return base64.b64encode(self.data).decode()

    @property
    def data_uri(self) -> str:
        """The image as an address of its own, for pages that fetch nothing."""
        return f"data:{self.mime};base64,{self.base64}"


def read_image(mime: str, encoded: Any) -> Image:
    """The image in a MIME bundle's base64 text, cleaned; `Unreadable` says what is wrong with it."""
    if isinstance(encoded, list):
        encoded = "".join(encoded)
    if not isinstance(encoded, str):
        raise Unreadable("it is not base64 text")
    if len(encoded) > LARGEST * 4 // 3 + 4096:
        raise Unreadable(f"it is larger than {LARGEST // 2**20} MiB")
    try:
        data = base64.b64decode("".join(encoded.split()), validate=True)
    except (binascii.Error, ValueError):
        raise Unreadable("it is not base64 text") from None
    if mime == "image/png" and data.startswith(_PNG):
        return _png(data)
    if mime == "image/jpeg" and data.startswith(b"\xff\xd8\xff"):
        return _jpeg(data)
    raise Unreadable(f"its bytes are not {mime}")


def _sized(mime: str, data: bytes, width: int, height: int) -> Image:
    if not 0 < width * height <= _MOST_PIXELS:
        raise Unreadable(f"it claims {width} x {height} pixels")
    return Image(mime, data, width, height)


def _png(data: bytes) -> Image:
    """Only the chunks that paint (PNG specification, 5 and 11), up to IEND; each one's checksum is checked."""
    kept = [_PNG]
    seen: set[bytes] = set()
    at, width, height = len(_PNG), 0, 0
    while True:
        if at + 12 > len(data):
            raise Unreadable("it ends before its end")
        length, kind = struct.unpack_from(">I4s", data, at)
        chunk = data[at : at + 12 + length]
        if len(chunk) != 12 + length or zlib.crc32(chunk[4:-4]) != int.from_bytes(chunk[-4:], "big"):
            raise Unreadable("one of its chunks is damaged")
        if not seen and (kind != b"IHDR" or length != 13):
            raise Unreadable("it has no header")
        if kind == b"IHDR":
            if seen:
                raise Unreadable("it has two headers")
            width, height, depth, colour = struct.unpack_from(">IIBB", chunk, 8)
            if colour not in _CHANNELS or depth not in (1, 2, 4, 8, 16):
                raise Unreadable("its header is damaged")
        seen.add(kind)
        if kind in _PAINTING:
            kept.append(chunk)
        elif not kind[0] & 0x20:
            raise Unreadable("it needs something that no reader knows")
        at += 12 + length
        if kind == b"IEND":
            break
    if b"IDAT" not in seen:
        raise Unreadable("it holds no pixels")
    return _sized("image/png", b"".join(kept), width, height)


def _jpeg(data: bytes) -> Image:
    """Without comments and application segments but JFIF's and Adobe's (ITU T.81, B.1), up to the end of image."""
    kept = [data[:2]]
    at, width, height = 2, 0, 0
    while True:
        if at + 4 > len(data) or data[at] != 0xFF:
            raise Unreadable("one of its segments is damaged")
        marker, length = data[at + 1], int.from_bytes(data[at + 2 : at + 4], "big")
        segment = data[at : at + 2 + length]
        if length < 2 or len(segment) != 2 + length:
            raise Unreadable("it ends before its end")
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC) and length >= 8:
            height, width = struct.unpack_from(">HH", segment, 5)
        if not (0xE0 <= marker <= 0xEF or marker == 0xFE) or marker in (0xE0, 0xEE):
            kept.append(segment)
        at += 2 + length
        if marker == 0xDA:
            break
    end = data.rfind(b"\xff\xd9")
    if end < at:
        raise Unreadable("it ends before its end")
    kept.append(data[at : end + 2])
    return _sized("image/jpeg", b"".join(kept), width, height)
