"""The one error of this room: it stays inside, and becomes a piece that tells what is wrong."""

from __future__ import annotations


class Unreadable(Exception):
    """An output, or one form of it, that cannot be shown; the message goes on from "it cannot be shown: …"."""
