"""Which requests a stage may send to an HTTP connection: `GET /api/v1/*`, and how a path is held against it.

Servers read the same path in different ways: some decode it twice, drop `;parameters`, or take a backslash for a slash.
What is forwarded is the path as it was sent, so it is allowed only where *every* reading of it is allowed, and refused
where a reading leads upwards (`..`) or cannot be told.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import unquote_to_bytes

from runbooks_app.core.errors import InvalidInput

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
READING_METHODS = ("GET", "HEAD", "POST")
"""Of diagnosing; POST is for query endpoints, which are named one by one."""

MOST_DECODED = 4
"""Times that a path is decoded to see what it may mean; one that still changes then is refused."""

_PATTERN = re.compile(r"(?:/[A-Za-z0-9._~!$&'()+,=:@-]*|/\*)+")
_PLAIN = re.compile(r"[\x21-\x7e]+")
_BAD_ESCAPE = re.compile(rb"%(?![0-9A-Fa-f]{2})")


@dataclass(frozen=True)
class Rule:
    """One kind of request: `path` begins with `/`; `*` stands for one segment, and at the end for all that follows."""

    method: str
    path: str

    def __str__(self) -> str:
        return f"{self.method} {self.path}"

    def matches(self, method: str, path: str) -> bool:
        """Whether this lets the method and one reading of a path through. What may be got may be asked for (HEAD)."""
        if method != self.method and (method, self.method) != ("HEAD", "GET"):
            return False
        wanted, given = self.path.split("/"), path.split("/")
        if wanted[-1] == "*":
            wanted = wanted[:-1]
            if len(given) <= len(wanted):
                return False
            given = given[: len(wanted)]
        return len(wanted) == len(given) and all(w in ("*", g) for w, g in zip(wanted, given, strict=True))


READ_ALL = (Rule("GET", "/*"),)
"""What diagnosing may do where nothing else is said: GET and HEAD on everything below the connection's url."""


def read_rule(text: object) -> Rule:
    """A rule from its text, such as `POST /api/v1/query`; raises `InvalidInput` with what is wrong and its mend."""
    method, _, path = text.partition(" ") if isinstance(text, str) else ("", "", "")
    if method not in METHODS:
        raise InvalidInput(f'must begin with one of {", ".join(METHODS)}, as in "GET /api/v1/*".')
    if not _PATTERN.fullmatch(path):
        raise InvalidInput(f'must go on with a path, as in "{method} /api/v1/*", where * stands for a whole segment.')
    if any(segment in {".", ".."} for segment in path.split("/")) or "//" in path:
        raise InvalidInput("must name the path plainly, without . or .. or an empty segment.")
    return Rule(method, path)


def reads_only(rule: Rule) -> bool:
    """Whether a rule may stand among those for diagnosing."""
    return rule.method in READING_METHODS and not (rule.method == "POST" and rule.path.endswith("*"))


def readings(path: str) -> list[str]:
    """Everything that a server may take this path for; raises `InvalidInput` where one of it cannot be allowed."""
    if not path.startswith("/") or not _PLAIN.fullmatch(path) or "#" in path:
        raise InvalidInput("is no plain path")
    found = [path]
    raw = path.encode()
    for _ in range(MOST_DECODED):
        if _BAD_ESCAPE.search(raw) and raw == path.encode():
            raise InvalidInput("holds a % that escapes nothing")
        decoded = unquote_to_bytes(raw)
        if decoded == raw:
            break
        raw = decoded
        try:
            found.append(raw.decode())
        except UnicodeDecodeError:  # %c0%ae is a dot to whoever reads it carelessly
            raise InvalidInput("is not UTF-8") from None
    else:
        if unquote_to_bytes(raw) != raw:
            raise InvalidInput("is escaped too many times")
    found += [without for reading in found if (without := re.sub(r";[^/]*", "", reading)) != reading]
    for reading in found:
        if "\\" in reading or any(character < " " or character == "\x7f" for character in reading):
            raise InvalidInput("holds a backslash or a control character")
        if "//" in reading:
            raise InvalidInput("holds an empty segment (//)")
        if any(segment in {".", ".."} for segment in reading.split("/")):
            raise InvalidInput("leads upwards (. or ..)")
    return list(dict.fromkeys(found))


def permits(rules: Iterable[Rule], method: str, path: str) -> bool:
    """Whether the rules let this request through, in every reading of its path; `InvalidInput` as `readings`."""
    rules = tuple(rules)
    return all(any(rule.matches(method, reading) for rule in rules) for reading in readings(path))
