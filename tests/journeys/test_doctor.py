"""The demo is an installation in order, and `runbooks doctor` finds it so."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import psycopg
import pytest
from whole_stage import until

from runbooks_app.main import doctor

pytestmark = [pytest.mark.journey, pytest.mark.kernels]


def test_an_installation_in_order_passes_every_check(stage):
    with psycopg.connect(stage.database.url(database="runbooks"), autocommit=True) as owner:
        tested = "SELECT count(*) >= 2 FROM connection_tests"  # workers do so right after their start
        until("connections to be tested", lambda: owner.execute(tested).fetchone()[0])
    answer = subprocess.run(
        [sys.executable, "-m", "runbooks_app.main", "doctor", "--json"],
        env={**os.environ, "RUNBOOKS_CONFIG": str(stage.folder / "runbooks.toml")},
        capture_output=True,
        text=True,
        check=False,
    )
    told = json.loads(answer.stdout)
    states = {check["check"]: check["state"] for check in told["checks"]}
    expected = dict.fromkeys(["settings", *doctor.CHECKS], "ok")
    assert states == expected | {"redis": "ok" if stage.redis else "remark"}, told
    assert (told["ok"], answer.returncode) == (True, 0)
