"""How a secret is shown to an HTTP system: in which header, after which scheme, and all that gives it away there."""

from __future__ import annotations

import base64


def present(secret: str, header: str, scheme: str) -> tuple[dict[str, str], list[str]]:
    """The header that is set, and each text that must never come back; `Basic` encodes user:password."""
    value, parts = secret, [secret]
    if scheme.lower() == "basic":
        value = base64.b64encode(secret.encode()).decode()
        parts += [value, secret.partition(":")[2]]
    return {header: f"{scheme} {value}".strip()}, list(dict.fromkeys(filter(None, parts)))
