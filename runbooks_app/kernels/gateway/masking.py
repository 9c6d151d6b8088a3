"""Masks a credential in the answer of a system that gives it back (a debug page, an error that quotes the request).

Every form that outputs are searched for is looked for here, and covered by as many stars, so that lengths stay what
they were announced to be. Answers come in pieces: the longest end that begins a form waits for the next.
"""

from __future__ import annotations

from collections.abc import Iterable

from runbooks_app.kernels.redaction import forms_of

COVER = b"*"


class Forms:
    """Every form of `secrets`, as bytes."""

    def __init__(self, secrets: Iterable[str]) -> None:
        # Longest first: a form may be part of another.
        self.all = sorted({form.encode() for secret in secrets for form in forms_of(secret)}, key=len, reverse=True)
        self.first = {form[0] for form in self.all}
        self.longest = len(self.all[0]) if self.all else 0

    def cover(self, data: bytes) -> bytes:
        """`data` with stars in the place of every form."""
        for form in self.all:
            if form in data:
                data = data.replace(form, COVER * len(form))
        return data

    def begun(self, data: bytes) -> int:
        """Where the longest end of `data` begins that may become a form."""
        for at in range(max(0, len(data) - self.longest + 1), len(data)):
            if data[at] in self.first:
                end = data[at:]
                if any(form.startswith(end) for form in self.all):
                    return at
        return len(data)


class Mask:
    """Covers `forms` in one stream of bytes. Without any it lets everything pass at once."""

    def __init__(self, forms: Forms) -> None:
        self._forms = forms
        self._held = b""

    def feed(self, data: bytes) -> bytes:
        """What can pass of all that came so far and has not passed yet."""
        if not self._forms.all:
            return data
        data = self._forms.cover(self._held + data)
        start = self._forms.begun(data)
        self._held = data[start:]
        return data[:start]

    def finish(self) -> bytes:
        """The rest."""
        rest, self._held = self._held, b""
        return rest
