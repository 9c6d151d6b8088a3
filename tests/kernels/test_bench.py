"""The bench's own machinery, on one round of the trivial notebook."""

from __future__ import annotations

import json
from contextlib import contextmanager

import pytest
from bench import inside
from bench.figures import compared, percentile
from bench.house import house
from bench.parts import Bench

pytestmark = pytest.mark.kernels


def test_a_round_of_the_bench_runs_through_the_real_worker_and_a_part_that_fails_is_told(servers_folder):
    folder = servers_folder / "bench"
    folder.mkdir(mode=0o711)

    def fails(_):
        yield compared("a figure", [2.0, 4.0, 3.0], "a peer", [90.0], 40)
        raise RuntimeError("it broke")

    def trivial(ours):
        took = ours.run("trivial")
        assert 0 < took.first < took.whole
        yield compared("whole run", [took.whole], "itself", [took.whole])

    @contextmanager
    def opened(_):
        with house(folder) as ours:
            yield ours
            assert inside.kernels(ours) == []

    bench = Bench("A bench", folder / "bench.json", {"fails": (("owed", "", "≤ 1 ms"),), "trivial": ()})
    bench.measure({"fails": fails, "trivial": trivial}, opened)
    bench.tell()
    told = json.loads(bench.result.read_text())
    assert [(each["figure"], each["ratio"], each["holds"]) for each in told] == [
        ("a figure", 30.0, False),
        ("owed", None, False),
        ("whole run", 1.0, None),
    ]
    assert "it broke" in told[1]["note"]


def test_a_percentile_is_a_value_that_was_measured():
    assert [percentile([4, 1, 3, 2], percent) for percent in (0, 25, 50, 99, 100)] == [1, 1, 2, 4, 4]
