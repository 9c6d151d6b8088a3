"""What the pages' forms send for the fields that a runbook declares (`core.forms`).

A field's name in the form is `p.` and the declared name, so that no parameter can pass for the form's own fields.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from runbooks_app.core.runbook import Input, Parameter

PREFIX = "p."


def given(declared: Iterable[Parameter | Input], form: Mapping[str, str]) -> dict[str, Any]:
    """What the person filled in, by declared name; an unchecked box is false, what is not in the form is left out."""
    found: dict[str, Any] = {}
    for item in declared:
        name = PREFIX + item.name
        if item.type.kind == "bool":
            found[item.name] = form.get(name, "") not in {"", "false", "no", "0"}
        elif name in form:
            found[item.name] = form[name].replace("\r\n", "\n")
    return found


def asked(declared: Iterable[Parameter | Input], query: Mapping[str, str]) -> dict[str, Any]:
    """Values that a link brings along, by declared name."""
    return {item.name: query[item.name] for item in declared if item.name in query}
