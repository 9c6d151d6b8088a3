"""What a credential is asked to open: one request of a cell, on its way to an HTTP system.

Gateway and providers of credentials meet here; neither knows the other.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Outgoing:
    """A request as it will be sent: `url` with its query, byte for byte; `headers` with Host, without a credential.

    `body` is empty unless the credential signs it.
    """

    method: str
    url: str
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = field(default=b"", repr=False)


Authorize = Callable[[Outgoing], Mapping[str, str]]
"""The headers that let a request in, and that replace those of these names which the cell sent.

It may renew the credential first, which takes its time: it is called in a thread. Raises `Unavailable` or
`Misconfigured`, and `Refused` for a request that must not be sent, in words that the cell is told.
"""
