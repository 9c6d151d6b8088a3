"""One table of a TOML file of the installation while it is read."""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any

from runbooks_app.core.errors import Problem


class Table:
    """Gives values of the wanted type, and notes what is wrong."""

    def __init__(self, where: str, fields: object, problems: list[Problem]) -> None:
        self.where = where
        self.problems = problems
        self.fields: Mapping[str, Any] = fields if isinstance(fields, Mapping) else {}
        if not isinstance(fields, Mapping):
            self.wrong("", "must be a table.", f"Write [{where}] and its settings below.")

    def wrong(self, key: str, message: str, fix: str = "") -> None:
        """Note what is wrong with this key, or with the whole table, and how to mend it."""
        self.problems.append(Problem(f"{self.where}.{key}" if key else self.where, message, fix))

    def inner(self, key: str) -> Table:
        """The table below this key."""
        return Table(f"{self.where}.{key}", self.fields[key], self.problems)

    def only(self, known: tuple[str, ...]) -> None:
        """Refuse keys that nobody reads: a misspelt limit must not silently be no limit."""
        for key in self.fields:
            if key in known:
                continue
            if key in {"password", "secret", "token"} or f"{key}_file" in known:
                files = [name for name in known if name.endswith("_file")] or ["password_file"]
                file = f"{key}_file" if f"{key}_file" in files else files[0]
                fix = f"Secrets never stand in this file: name a file of mode 0600 by {file}."
            else:
                near = get_close_matches(key, known, 1)
                fix = f"Did you mean {near[0]}?" if near else f"Known here: {', '.join(known)}."
            self.wrong(key, "is not known here.", fix)

    def text(self, key: str, default: str | None = None, *, fix: str = "") -> str:
        """A text that is not empty and holds no control characters; required where there is no default."""
        value = self.fields.get(key, default)
        if value is None:
            self.wrong(key, "is missing.", fix)
        elif not isinstance(value, str) or not value.strip() or not value.isprintable():
            self.wrong(key, "must be a text of one line.", fix)
        else:
            return value
        return ""

    def choice(self, key: str, choices: tuple[str, ...], default: str | None = None) -> str:
        """One of a few words; the first of them stands in for a wrong one, so that reading goes on."""
        value = self.fields.get(key, default)
        if value not in choices:
            self.wrong(
                key,
                "is missing." if value is None else "is not known.",
                f"Write one of: {', '.join(choices)}.",
            )
            return ""
        return str(value)

    def number(self, key: str, default: int, least: int, most: int) -> int:
        """A whole number within bounds."""
        value = self.fields.get(key, default)
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
            self.wrong(key, f"must be a whole number from {least} to {most}.")
            return default
        return value

    def flag(self, key: str, *, default: bool) -> bool:
        """True or false."""
        value = self.fields.get(key, default)
        if not isinstance(value, bool):
            self.wrong(key, "must be true or false, without quotes.")
            return default
        return value

    def texts(self, key: str, default: tuple[str, ...], example: str = "database") -> tuple[str, ...]:
        """A list of texts, none of them empty or twice."""
        if key not in self.fields:
            return default
        value = self.fields[key]
        texts = (
            tuple(item for item in value if isinstance(item, str) and item.strip()) if isinstance(value, list) else ()
        )
        if not texts or len(texts) < len(value) or len(set(texts)) < len(texts):
            self.wrong(key, f'must be a list of different texts, as in ["{example}"].')
            return default
        return texts
