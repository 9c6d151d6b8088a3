"""The errors of the service.

    RunbooksError
    ├── InvalidInput        what a person or a client sent cannot be used     (422)
    ├── NotFound            the object named does not exist                   (404)
    ├── Refused             the rules say no                                  (403)
    ├── NotSignedIn         nobody is signed in                               (401)
    ├── Conflict            the object has moved on since                     (409)
    ├── Unavailable         something that is needed is away                  (503)
    │   └── DatabaseAway    the service's own database is                     (503)
    ├── BrokenRunbook       a notebook that cannot serve as a runbook         (422)
    └── Misconfigured       a setting or a connection is missing or malformed (503; at start: refuses to start)

Each class's docstring is its default message. A message names the object and says what to do next.
`code` is what API clients match on; `problems` are the single points at fault, where there are several.
HTTP statuses are given in one place, `runbooks_app.web.errors`.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Problem:
    """One point at fault: `where` (a parameter, a cell id, a setting), what is wrong, how to mend it."""

    where: str
    message: str
    fix: str = ""

    def __str__(self) -> str:
        return f"{self.where}: {self.message}" + (f" {self.fix}" if self.fix else "")


class RunbooksError(Exception):
    """Something went wrong that the service knows how to tell."""

    code = "error"

    def __init__(self, message: str | None = None, *, problems: tuple[Problem, ...] = ()) -> None:
        self.message = message or (type(self).__doc__ or "").split("\n", 1)[0]
        self.problems = problems
        super().__init__(self.message)

    def __str__(self) -> str:
        return "\n".join([self.message, *(f"  - {problem}" for problem in self.problems)])


class InvalidInput(RunbooksError):
    """What was sent cannot be used."""

    code = "invalid_input"


class NotFound(RunbooksError):
    """There is no such object."""

    code = "not_found"


class Refused(RunbooksError):
    """The rules do not allow this."""

    code = "refused"


class NotSignedIn(RunbooksError):
    """Sign in first."""

    code = "not_signed_in"


class Conflict(RunbooksError):
    """The object has moved on since it was read; look at it again."""

    code = "conflict"


class Unavailable(RunbooksError):
    """The service cannot do this right now; nothing was lost, try again shortly."""

    code = "unavailable"


class DatabaseAway(Unavailable):
    """The service's database is away; nothing was changed. Try again shortly."""


class BrokenRunbook(RunbooksError):
    """The notebook cannot serve as a runbook."""

    code = "broken_runbook"


class Misconfigured(RunbooksError):
    """A setting is missing or malformed."""

    code = "misconfigured"
