"""Limits of kernels: how people write them, what is refused, what holds in the end."""

from __future__ import annotations

import pytest

from runbooks_app.core import kernel_limits, reading
from runbooks_app.core.errors import BrokenRunbook, InvalidInput, Misconfigured
from runbooks_app.core.kernel_limits import CEILINGS, KNOWN
from runbooks_app.settings import read_settings

pytestmark = pytest.mark.kernels


@pytest.mark.parametrize("name", KNOWN)
def test_what_is_told_of_a_limit_can_be_written(name):
    limit = KNOWN[name]
    for value in {limit.default or limit.least, limit.ceiling, limit.least}:
        assert limit.parse(limit.tell(value) if limit.kind != "count" else value) == value


@pytest.mark.parametrize(
    ("name", "text", "told"),
    [
        ("memory", "2 gigabytes", "2 gigabytes is no size. Write a whole number and a unit, as in '500MB' or '2GB'."),
        ("memory", 2_000_000_000, "is no size"),
        ("memory", "-2GB", "is no size"),
        ("memory", "\N{ARABIC-INDIC DIGIT ONE}GB", "is no size"),
        ("memory", "1MB", "1MB is too little; the least is 256 MB."),
        ("processes", "64", "64 is no number of things. Write a whole number, as in 64."),
        ("processes", True, "is no number of things"),
        ("processes", 0, "is no number of things"),
        ("processes", 10**12, "is no number of things"),
        ("processes", 2, "2 is too little; the least is 8."),
        ("cell", "soon", "is no duration"),
        ("cell", 60, "is no duration"),
    ],
)
def test_what_is_no_limit_is_refused_with_how_to_write_it(name, text, told):
    with pytest.raises(InvalidInput) as refused:
        KNOWN[name].parse(text)
    assert told in refused.value.message


@pytest.mark.parametrize(
    ("limits", "told"),
    [
        ({"memry": "2GB"}, "metadata.runbook.limits.memry: is no limit. Did you mean memory?"),
        ({"memory": "much"}, "metadata.runbook.limits.memory: much is no size."),
        ({"cell": "60s"}, "metadata.runbook.limits.cell: is no limit."),
        (["memory"], "metadata.runbook.limits: is not an object"),
    ],
)
def test_limits_of_a_notebook_that_cannot_be_read_are_told_with_their_place(notebook, limits, told):
    with pytest.raises(BrokenRunbook) as broken:
        reading.read("orders", notebook(("", "1"), limits=limits), {})
    assert any(f"{p.where}: {p.message}".startswith(told) for p in broken.value.problems), broken.value.problems


def test_a_runbook_carries_what_it_asks_for_and_nothing_else(runbook):
    read = runbook(("", "1"), timeouts={"cell": "2m"}, limits={"memory": "2 GB", "processes": 200})
    assert read.limits == {"cell": 120, "memory": 2 * 10**9, "processes": 200}


def test_what_is_beyond_the_ceilings_is_refused_with_its_mend(runbook, notebook):
    asks = runbook(("", "1"), timeouts={"run": "10m"}, limits={"memory": "3GB"})
    assert reading.within(asks, {}) is asks
    with pytest.raises(BrokenRunbook) as broken:
        reading.within(asks, {"memory": 2 * 10**9, "run": 60})
    assert [f"{p.where}: {p.message} {p.fix}" for p in broken.value.problems] == [
        f"metadata.runbook, {name}: asks for {asked}; this installation allows {most} at most. "
        "Lower it, or have RUNBOOKS_CEILINGS raised."
        for name, asked, most in (("run", "10m", "1m"), ("memory", "3 GB", "2 GB"))
    ]


def test_a_cells_own_timeout_has_the_ceiling_of_cells(notebook):
    made = notebook(("", "1"))
    made["cells"][-1]["metadata"]["runbook"] = {"timeout": "2h"}
    with pytest.raises(BrokenRunbook) as broken:
        reading.within(reading.read("orders", made, {}), {})
    assert "asks for 2h; this installation allows 1h at most." in str(broken.value.problems)


def test_the_runbook_comes_before_the_installation_and_that_before_the_code():
    settled = kernel_limits.settled({"memory": 300_000_000}, {"memory": 5 * 10**8, "processes": 20}, {})
    assert (settled["memory"], settled["processes"], settled["disk"]) == (300_000_000, 20, KNOWN["disk"].default)
    assert settled.keys() == KNOWN.keys()
    assert settled["idle"] == 0


def test_a_default_gives_way_to_a_lower_ceiling():
    assert kernel_limits.settled({}, {}, {"memory": 3 * 10**8})["memory"] == 3 * 10**8


def test_no_default_is_beyond_its_ceiling():
    assert all(limit.least <= (limit.default or limit.least) <= CEILINGS[name] for name, limit in KNOWN.items())


def test_settings_give_defaults_and_ceilings():
    given = {"RUNBOOKS_LIMITS": '{"memory": "512MB", "idle": "30s"}', "RUNBOOKS_CEILINGS": '{"processes": 50}'}
    settings = read_settings(given)
    limits = settings.limits_of({"cell": 5})
    assert [limits[name] for name in ("memory", "idle", "processes", "cell")] == [512_000_000, 30, 50, 5]


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"RUNBOOKS_LIMITS": "2GB"}, 'RUNBOOKS_LIMITS: is not JSON. Write {"memory": "2GB"}.'),
        ({"RUNBOOKS_LIMITS": '["memory"]'}, "RUNBOOKS_LIMITS: memory is not an object with limits by their names."),
        ({"RUNBOOKS_CEILINGS": '{"memroy": "2GB"}'}, "RUNBOOKS_CEILINGS: memroy: is no limit. Did you mean memory?"),
        (
            {"RUNBOOKS_LIMITS": '{"memory": "5GB"}'},
            "RUNBOOKS_LIMITS: memory is 5 GB, and the ceiling is 4 GB; raise RUNBOOKS_CEILINGS.",
        ),
    ],
)
def test_settings_that_are_none_stop_the_start(given, told):
    with pytest.raises(Misconfigured) as refused:
        read_settings(given)
    assert [f"{p.where}: {p.message} {p.fix}".strip() for p in refused.value.problems] == [told]
