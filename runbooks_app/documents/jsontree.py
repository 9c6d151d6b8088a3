"""A JSON value as a tree that opens branch by branch, of bounded size whatever the value holds."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from runbooks_app.documents.text import plain

MOST_CHILDREN = 50
"""Values of one list or object that are shown; the rest is counted."""

MOST_DEEP = 12
"""Levels that are shown; what lies deeper is only counted."""

_LONGEST = 2_000
"""Characters of one text that are shown."""


@dataclass(frozen=True)
class Branch:
    """A value and, of a list or an object, what is in it.

    `name` is its key or its place. `kind` is object, list, text, number or word (true, false, null); `text` what a
    leaf says, and `size` how many values a list or object holds, of which `left_out` are not among the `children`.
    """

    kind: str
    name: str = ""
    text: str = ""
    size: int = 0
    children: list[Branch] = field(default_factory=list, hash=False)

    @property
    def left_out(self) -> int:
        """Values that are not shown."""
        return self.size - len(self.children)


def tree(value: Any, most: int) -> Branch:
    """The value with at most `most` values in it, the upper ones first."""
    top = _branch("", value)
    waiting = deque([(top, value, 1)])
    while waiting and most > 0:
        branch, value, depth = waiting.popleft()
        if depth > MOST_DEEP:
            continue
        for name, child in islice(_items(value), min(MOST_CHILDREN, most)):
            below = _branch(name, child)
            branch.children.append(below)
            waiting.append((below, child, depth + 1))
            most -= 1
    return top


def _items(value: Any) -> Iterator[tuple[str, Any]]:
    """What a list or an object holds, each under its key or its place."""
    if isinstance(value, dict):
        yield from ((str(name), child) for name, child in value.items())
    elif isinstance(value, list | tuple):
        yield from ((str(place), child) for place, child in enumerate(value))


def _branch(name: str, value: Any) -> Branch:
    name = plain(name[:_LONGEST])
    if isinstance(value, dict):
        return Branch("object", name, size=len(value))
    if isinstance(value, list | tuple):
        return Branch("list", name, size=len(value))
    if isinstance(value, str):
        return Branch("text", name, plain(value[:_LONGEST]) + ("…" if len(value) > _LONGEST else ""))
    if value is None or isinstance(value, bool):
        return Branch("word", name, {None: "null", True: "true", False: "false"}[value])
    return Branch("number", name, str(value)[:_LONGEST])
