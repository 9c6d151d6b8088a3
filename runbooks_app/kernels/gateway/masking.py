"""Masks a credential in the answer of a system that gives it back (a debug page, an error that quotes the request).

Every form that outputs are searched for is looked for here, and covered by as many stars, so that lengths stay what
they were announced to be. Answers come in pieces: the longest end that begins a form waits for the next.
"""

from __future__ import annotations

from collections.abc import Iterable

from runbooks_app.kernels.redaction import forms_of

COVER = b"*"


class Mask:
    """Covers `secrets` in one stream of bytes. Without secrets it lets everything pass at once."""

    def __init__(self, secrets: Iterable[str]) -> None:
        # Longest first: a form may be part of another.
        self._forms = sorted({form.encode() for secret in secrets for form in forms_of(secret)}, key=len, reverse=True)
        self._first = {form[0] for form in self._forms}
        self._longest = len(self._forms[0]) if self._forms else 0
        self._held = b""

    def feed(self, data: bytes) -> bytes:
        """What can pass of all that came so far and has not passed yet."""
        if not self._forms:
            return data
        data = self.cover(self._held + data)
        start = self._begun(data)
        self._held = data[start:]
        return data[:start]

    def finish(self) -> bytes:
        """The rest."""
        rest, self._held = self._held, b""
        return rest

    def cover(self, data: bytes) -> bytes:
        """`data` with stars in the place of every form."""
        for form in self._forms:
            if form in data:
                data = data.replace(form, COVER * len(form))
        return data

    def _begun(self, data: bytes) -> int:
        """Where the longest end begins that may become a form."""
        for at in range(max(0, len(data) - self._longest + 1), len(data)):
            if data[at] in self._first:
                end = data[at:]
                if any(form.startswith(end) for form in self._forms):
                    return at
        return len(data)
