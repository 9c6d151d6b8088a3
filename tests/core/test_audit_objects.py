"""What somebody may mean by an object that they look for in the trail."""

import pytest

from runbooks_app.core.audit import about

pytestmark = pytest.mark.pages
ID = "abcdefgh234567ij"


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        (f"run {ID}", ({"run": ID},)),
        (f"Proposal:{ID.upper()} ", ({"proposal": ID},)),
        (ID, ({"run": ID}, {"proposal": ID})),
        ("incident 3", ({"incident": 3},)),
        ("#3", ({"incident": 3},)),
        ("3", ({"incident": 3},)),
        (f"https://runbooks.example/runs/{ID}", ({"run": ID},)),
        ("https://runbooks.example/incidents/3/notes/5", ({"note": 5},)),
        ("db-latency", ()),
        ("session4711", ()),
        ("", ()),
    ],
)
def test_an_object_is_understood_as_people_write_it(typed, meant):
    assert about(typed) == meant
