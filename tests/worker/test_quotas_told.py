"""What people and gauges are told of runs that wait: little, in place, and right."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import replace
from itertools import pairwise

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from worker.conftest import BEN, while_working

from runbooks_app.actions import sweeping, waiting
from runbooks_app.chat.messages import run_message
from runbooks_app.core.run import RunState
from runbooks_app.store import runs
from runbooks_app.store.database import connect, reading, transaction
from runbooks_app.worker import views, waking
from runbooks_app.worker.measuring import watch_the_line

pytestmark = pytest.mark.kernels


def test_a_channel_hears_of_a_long_line_a_few_times_and_never_of_each_move(office):
    asked = office.ask(count=26, channel="C1")
    office.take_all()
    office.tell_all()
    told: dict[str, str] = sweeping.look_at_the_line(office.service, {})
    assert +office.wanted() == Counter(asked[2:])
    heard: Counter[str] = Counter()
    going = list(asked[:2])
    moves = 0
    while office.line():
        with transaction(office.service.engine) as tx:
            runs.move(tx, runs.get(tx, going.pop(0), lock=True), RunState.FAILED)
            waiting.moved_up(tx, office.service)
        going += office.take_all()
        office.tell_all()
        told = sweeping.look_at_the_line(office.service, told)
        moved = +office.wanted()
        assert len(moved) <= 6
        heard.update(moved)
        moves += 1
    assert moves == 24
    assert max(heard.values()) <= 6
    assert sum(heard.values()) < 24 * 6


def test_a_move_needs_no_job_while_the_message_is_still_to_be_sent(office):
    office.ask(count=4, channel="C1")
    office.take_all()
    jobs = office.queued_jobs("tell")
    sweeping.look_at_the_line(office.service, {})
    assert office.queued_jobs("tell") == jobs


def test_the_message_of_a_run_that_waits_tells_its_place_roughly_while_it_is_far_off(office):
    asked = office.ask(count=15, channel="C1")
    office.take_all()

    def said(run_id: str) -> str:
        with reading(office.service.engine) as tx:
            return run_message(views.run_told(tx, office.service, runs.get(tx, run_id))).text

    why = "2 of Ana's runs are going, which is the most at a time"
    assert f"waiting: 3rd in line; {why}, asked by Ana" in said(asked[4])
    assert f"waiting: among the next 20 in line; {why}, asked by Ana" in said(asked[14])
    assert "diagnosing" in said(asked[0])


def test_a_line_of_real_runs_moves_by_itself_in_order_and_one_at_a_time(office, monkeypatch):
    """With the sweep switched off and no look at the queue: whoever ends wakes the next."""
    monkeypatch.setattr(waking, "LOOK", 60)
    monkeypatch.setattr(sweeping, "look_at_the_line", lambda *_: {})
    office.limit(person=1)
    asked = office.ask(count=6)
    worker = replace(office.house.worker, service=office.service)

    def all_end() -> None:
        ends = time.monotonic() + 60
        while office.line() or RunState.DIAGNOSING in office.states(*asked):
            assert time.monotonic() < ends, office.states(*asked)

    while_working(replace(office.house, worker=worker), all_end)
    assert set(office.states(*asked)) == {RunState.DIAGNOSED}
    with reading(office.service.engine) as tx:
        tries = [runs.attempts(tx, run_id) for run_id in asked]
    assert [len(attempts) for attempts in tries] == [1] * 6
    for (before,), (after,) in pairwise(tries):
        assert before.ended_at <= after.started_at


def test_what_waits_is_measured_by_what_it_waits_for_and_not_at_all_while_the_database_is_away(office):
    reader = InMemoryMetricReader()
    with_line, without = MeterProvider([reader]), MeterProvider([away := InMemoryMetricReader()])
    watch_the_line(office.service, with_line.get_meter("tests"))
    nowhere = connect("postgresql://nobody@127.0.0.1:1/none")
    watch_the_line(replace(office.service, engine=nowhere), without.get_meter("tests"))
    office.ask(count=5)
    office.take_all()
    office.ask(BEN)
    assert measured(reader) == {"worker": 1, "person": 3, "runbook": 0}
    assert measured(away) == {}
    with_line.shutdown()
    without.shutdown()


def measured(reader: InMemoryMetricReader) -> dict[str, int]:
    data = reader.get_metrics_data()
    found = [m for r in data.resource_metrics for s in r.scope_metrics for m in s.metrics] if data else []
    return {
        point.attributes["runbooks.run.waits_for"]: point.value
        for metric in found
        if metric.name == "runbooks.run.queued"
        for point in metric.data.data_points
    }
