"""What may be told of an address by reading it."""

from __future__ import annotations

import ipaddress
from urllib.parse import SplitResult, urlsplit


def http_address(url: str) -> SplitResult | None:
    """The parts of an http or https address; None for what is none."""
    try:
        parts = urlsplit(url)
        fine = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return None
    return parts if fine else None


def keeps_secrets(url: str) -> bool:
    """Whether a secret may be sent there: by TLS, or within this machine. No user and no fragment stand in it."""
    parts = http_address(url)
    if parts is None or parts.username is not None or parts.fragment or not url.isprintable():
        return False
    return parts.scheme == "https" or _is_here(str(parts.hostname))


def _is_here(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
