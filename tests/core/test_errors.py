"""Errors say what happened and list the points at fault."""

from __future__ import annotations

import pytest

from runbooks_app.core import errors
from runbooks_app.core.errors import InvalidInput, Problem, RunbooksError


def test_an_error_tells_its_problems_with_their_mends():
    error = InvalidInput("No.", problems=(Problem("pid", "is missing.", "Give it."), Problem("x", "is odd.")))
    assert str(error) == "No.\n  - pid: is missing. Give it.\n  - x: is odd."


KINDS = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, RunbooksError)]


@pytest.mark.parametrize("kind", KINDS)
def test_every_error_has_a_message_of_its_own_and_a_code_that_clients_match(kind):
    assert kind().message
    assert kind().message in (kind.__doc__ or "")
    assert kind.code.replace("_", "").isalpha()


def test_codes_are_distinct():
    kinds = [RunbooksError, *RunbooksError.__subclasses__()]
    assert len({kind.code for kind in kinds}) == len(kinds)


def test_the_tree_in_the_docstring_names_every_error():
    for kind in RunbooksError.__subclasses__():
        assert kind.__module__ != errors.__name__ or kind.__name__ in (errors.__doc__ or "")
