"""Elements of a live page that many readers are shown: rendered once for all of them."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable

from flask import get_template_attribute
from markupsafe import Markup

TOKEN = secrets.token_urlsafe(24)
"""Stands in what is rendered once for all readers where the form of each has a token of its own."""


class Elements:
    """What the macros of one template make of one look at a thing."""

    def __init__(self, template: str, look: object) -> None:
        self._template = template
        self._look = look
        self._made: dict[tuple[object, ...], Markup] = {}
        self._lock = threading.Lock()

    def element(self, macro: str, *given: object) -> Markup:
        """What this macro makes of the look, and of what else it is given."""

        def make() -> Markup:
            made = get_template_attribute(self._template, macro)(self._look, *given)
            return Markup(made)  # noqa: S704 -- macros escape

        return self.once((macro, *given), make)

    def once(self, name: tuple[object, ...], make: Callable[[], Markup]) -> Markup:
        """What `make` makes, under a name of its own; who comes while it is made waits for it."""
        with self._lock:
            if name not in self._made:
                self._made[name] = make()
            return self._made[name]
