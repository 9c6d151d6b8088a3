"""What can go wrong for the command line as a client; each has the exit code that scripts see.

RunbooksError
└── Failure        the command cannot be done as it was given    2
├── Unreachable   nobody answers, or not as a service does    2
│   └── Lost      it was asked, and its answer was lost       2
├── Refusal       the service said no, or the run failed      1
└── NeedsBrowser  a person has to act in a browser first      3
"""

from __future__ import annotations

from runbooks_app.core.errors import RunbooksError


class Failure(RunbooksError):
    """The command cannot be done as it was given."""

    code = "misuse"
    exit_code = 2


class Unreachable(Failure):
    """The service does not answer, or cannot do this right now."""


class Lost(Unreachable):
    """The request went out, and no answer came back whole: nobody knows here whether it was done."""


class Refusal(Failure):
    """The service refused."""

    exit_code = 1


class NeedsBrowser(Failure):
    """This takes a browser."""

    exit_code = 3
