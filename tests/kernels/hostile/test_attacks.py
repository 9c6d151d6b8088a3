"""A hostile notebook: whatever its cells try, each is told truthfully that it may not, and nobody comes to harm.

All attacks of a kind run in one kernel, which must survive them; those that end their kernel stand in `test_fatal`.
"""

from __future__ import annotations

import re

import pytest
from kernels.hostile.attacks import FILES, NETWORK, PROCESSES, SETUP
from kernels.segments import Ran, code, segment

pytestmark = pytest.mark.kernels

KINDS = {"processes": PROCESSES, "network": NETWORK, "files": FILES}


@pytest.fixture(scope="module")
def notebooks(victims, postgres_server, redis_server):
    """What became of each kind's cells."""
    known = victims.inputs() | {
        "database": {"type": "int", "value": postgres_server.port},
        "redis": {"type": "int", "value": redis_server.port},
    }
    ran = {}
    for kind, attacks in KINDS.items():
        cells = tuple(code(f"{kind}-{number}", attack.source) for number, attack in enumerate(attacks.values()))
        whole = segment(setup=(code("setup", SETUP),), inputs=known, cells=cells, run_id=f"run-{kind}")
        ran[kind] = Ran(list(victims.engine.run(whole)))
        assert ran[kind].ended["setup"].reason == ""
    return ran


@pytest.mark.parametrize(
    ("kind", "number"),
    [(kind, number) for kind, attacks in KINDS.items() for number in range(len(attacks))],
    ids=[f"{kind}: {name}" for kind, attacks in KINDS.items() for name in attacks],
)
def test_an_attack_fails_and_is_told(notebooks, kind, number):
    attack = list(KINDS[kind].values())[number]
    cell_id = f"{kind}-{number}"
    ended = notebooks[kind].ended[cell_id]
    assert ended.state is attack.state, (ended.reason, ended.outputs)
    told = ended.reason or notebooks[kind].text(cell_id)
    assert re.search(attack.told, told.strip()), told


def test_nobody_was_harmed(notebooks, victims):
    assert {ran.reason for ran in notebooks.values()} == {""}  # their kernels have outlived all of it
    victims.unharmed()
