"""Quotas over a real database: what would be one too many waits its turn, and nothing that waits is forgotten."""

from __future__ import annotations

import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import psycopg
import pytest
from signing import approve, checked
from worker.conftest import ANA, BEN, CAT, WEB

from runbooks_app.actions import diagnosing, remediating, running, sweeping, waiting
from runbooks_app.core.quotas import Place, Waits
from runbooks_app.core.run import RunState
from runbooks_app.store import people, runs
from runbooks_app.store import quotas as quota_rows
from runbooks_app.store.database import reading, transaction

pytestmark = pytest.mark.kernels


def test_a_run_beyond_its_persons_quota_waits_without_a_job_and_begins_when_a_place_is_free(office):
    first, second, third, fourth = office.ask(count=4)
    going = [office.claim(office.take()) for _ in range(2)]
    assert [office.take(), office.take()] == [third, fourth]
    assert (office.claim(third), office.claim(fourth)) == (None, None)
    assert office.line() == {third: Place(1, Waits.PERSON, 2, 2), fourth: Place(2, Waits.PERSON, 2, 2)}
    assert office.queued_jobs() == []
    office.end(going[0])
    assert office.queued_jobs() == [third]
    assert office.claim(office.take()).run.id == third
    assert office.line() == {fourth: Place(1, Waits.PERSON, 2, 2)}
    office.end(going[1])
    assert office.queued_jobs() == [fourth]
    assert office.states(first, second, third) == ["failed", "failed", "diagnosing"]


def test_a_person_at_their_limit_holds_up_nobody_behind_them(office):
    mine = office.ask(ANA, count=5)
    bens = office.ask(BEN)
    assert office.take_all() == [*mine[:2], *bens]


def test_a_full_runbook_holds_its_own_runs_alone(office):
    office.limit(runbook=1)
    first, second = office.ask(ANA), office.ask(BEN)
    other = office.ask(BEN, "peek")
    assert office.take_all() == [*first, *other]
    assert office.line() == {second[0]: Place(1, Waits.RUNBOOK, 1, 1)}


def test_who_asked_first_goes_first_whichever_job_a_worker_takes_first(office):
    office.limit(person=1)
    first, second = office.ask(count=2)
    assert office.claim(second) is None
    assert office.claim(first) is not None


def test_who_was_looked_at_and_waited_goes_before_those_who_came_later(office):
    office.limit(person=1)
    (going, waits) = office.ask(ANA, count=2)
    claim = office.claim(office.take())
    assert office.take() == waits
    assert office.claim(waits) is None
    later = office.ask(BEN)
    office.end(claim)
    assert office.queued_jobs() == [waits, *later]
    assert office.states(going) == ["failed"]


def test_workers_that_claim_at_the_same_moment_never_exceed_a_quota(office):
    office.limit(person=3)
    asked = office.ask(count=12)
    together = threading.Barrier(12)

    def claim(run_id: str) -> bool:
        together.wait(20)
        return office.claim(run_id) is not None

    with ThreadPoolExecutor(12) as pool:
        begun = [run_id for run_id, begins in zip(asked, pool.map(claim, asked), strict=True) if begins]
    assert set(begun) <= set(asked[:3])
    assert len(begun) <= 3
    # Whoever came first and lost the race to those behind them has a job still, or is one of the three.
    sweeping.look_at_the_line(office.service, {})
    office.take_all()
    assert Counter(office.states(*asked)) == {"diagnosing": 3, "queued": 9}


def test_a_run_that_was_asked_for_first_but_appears_late_takes_no_place_that_somebody_is_just_taking(
    office, monkeypatch
):
    office.limit(person=1)
    (quick,) = office.ask()
    looked, goes_on, begun = threading.Event(), threading.Event(), {}
    opens = runs.open_attempt

    def after_the_look(*given):
        looked.set()
        goes_on.wait(20)
        return opens(*given)

    def claim(run_id: str) -> None:
        begun[run_id] = office.claim(run_id)

    monkeypatch.setattr(runs, "open_attempt", after_the_look)
    claims = [threading.Thread(target=claim, args=[quick])]
    claims[0].start()
    looked.wait(20)
    (late,) = office.ask()
    with transaction(office.service.engine) as tx:  # its request began before the other's, and took longer to commit
        tx.execute("UPDATE runs SET requested_at = requested_at - interval '1 min' WHERE id = :id", id=late)
    claims.append(threading.Thread(target=claim, args=[late]))
    claims[1].start()
    until_blocked(office)
    goes_on.set()
    for going in claims:
        going.join(20)
    assert begun[quick] is not None
    assert begun[late] is None


def test_while_many_come_and_go_no_quota_is_exceeded_and_nobody_is_forgotten_without_a_sweep(office):
    office.limit(person=2, runbook=3)
    asked = []
    for _ in range(8):
        for person in (ANA, BEN, CAT):
            with transaction(office.service.engine) as tx:
                people.remember(tx, replace(person, roles=frozenset({"responder"})))
            responder = replace(person, roles=frozenset({"responder"}))
            asked += office.ask(responder, "look") + office.ask(responder, "peek")
    exceeded: list[int] = []

    def work() -> None:
        while run_id := office.take():
            claim = office.claim(run_id)
            if claim is None:
                continue
            with reading(office.service.engine) as tx:
                going = [run for run in quota_rows.unfinished(tx) if run.going]
            exceeded.extend(n for n in Counter(run.person for run in going).values() if n > 2)
            exceeded.extend(n for n in Counter(run.runbook for run in going).values() if n > 3)
            office.end(claim)

    together = threading.Barrier(6)
    with ThreadPoolExecutor(6) as pool:
        for working in [pool.submit(lambda: (together.wait(20), work())) for _ in range(6)]:
            working.result()
    work()  # for those woken after other threads had found nothing left
    assert not exceeded
    assert Counter(office.states(*asked)) == {"failed": len(asked)}


def test_a_claim_that_finds_no_place_just_before_one_is_freed_waits_for_the_end(office):
    """Between the look of who ends a run and its commit, nobody looks who may begin: else both would miss the other."""
    office.limit(person=1)
    first, second = office.ask(count=2)
    claim = office.claim(first)
    begun = []
    with transaction(office.service.engine) as tx:
        run = runs.get(tx, claim.run.id, lock=True)
        runs.end_attempt(tx, claim.attempt.id)
        runs.move(tx, run, RunState.FAILED)
        with transaction(office.service.engine) as other:
            other.execute("DELETE FROM procrastinate_jobs")
        waiting.moved_up(tx, office.service)
        late = threading.Thread(target=lambda: begun.append(office.claim(second)))
        late.start()
        until_blocked(office)
    late.join(20)
    assert begun[0] is not None


def until_blocked(office) -> None:
    """Until somebody waits for the lock on places."""
    asking = """SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted AND objid = 7226102
                AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"""
    with psycopg.connect(office.house.database.owner_url, autocommit=True) as admin:
        for _ in range(100_000):
            if admin.execute(asking).fetchone()[0]:
                return
    raise AssertionError("nobody waited for the lock")


def test_a_waiting_run_can_be_cancelled_and_the_others_move_up(office):
    asked = office.ask(count=5)
    office.take_all()
    running.cancel_run(office.service, ANA, WEB, asked[2])
    assert office.states(asked[2]) == ["cancelled"]
    assert [place.place for place in office.line().values()] == [1, 2]
    assert list(office.line()) == asked[3:]


def test_cancelling_who_is_next_lets_the_one_behind_begin(office):
    office.limit(person=1)
    first, second = office.ask(count=2)
    assert [office.take(), office.take()] == [first, second]
    assert office.claim(second) is None
    running.cancel_run(office.service, ANA, WEB, first)
    assert office.take_all() == [second]


def test_a_run_that_cannot_even_be_claimed_gives_its_turn_to_the_one_behind(office):
    office.limit(person=1)
    first, second = office.ask(count=2)
    assert [office.take(), office.take()] == [first, second]
    assert office.claim(second) is None
    diagnosing.refuse_run(office.service, first, "w1", "Its runbook can no longer be read.")
    assert office.take_all() == [second]


def test_a_run_whose_worker_died_keeps_its_place_in_front_of_those_that_wait(office):
    office.limit(person=1)
    first, second = office.ask(count=2)
    claim = office.claim(first)
    assert office.take_all() == []
    office.lapse(claim)
    assert office.queued_jobs() == [first]
    assert list(office.line().items()) == [(first, Place(1, Waits.WORKER)), (second, Place(1, Waits.PERSON, 1, 1))]
    assert office.take_all() == [first]


def test_the_place_of_a_run_that_is_lost_for_good_goes_to_the_next(office):
    office.limit(person=1)
    first, second = office.ask(count=2)
    claim = office.claim(first)
    assert office.take_all() == []
    running.cancel_run(office.service, ANA, WEB, first)
    office.lapse(claim)
    assert office.states(first) == ["lost"]
    assert office.take_all() == [second]


def test_a_lowered_quota_ends_nothing_and_lets_nobody_begin_until_enough_have_ended(office):
    asked = office.ask(count=3)
    going = [office.claim(run_id) for run_id in asked[:2]]
    office.limit(person=1)
    assert office.take_all() == []
    office.end(going[0])
    assert office.take_all() == []
    assert office.states(*asked) == ["failed", "diagnosing", "queued"]
    office.end(going[1])
    assert office.take_all() == [asked[2]]


@pytest.mark.parametrize("most", [4, 0])
def test_after_a_quota_was_raised_or_lifted_the_sweep_wakes_who_may_begin(office, most):
    asked = office.ask(count=5)
    office.take_all()
    office.limit(person=most)
    assert office.queued_jobs() == []
    sweeping.look_at_the_line(office.service, {})
    assert office.queued_jobs() == asked[2 : most or 5]


def test_the_sweep_finds_a_run_whose_job_is_gone_and_leaves_those_that_a_quota_holds(office):
    asked = office.ask(count=4)
    with transaction(office.service.engine) as tx:
        tx.execute("DELETE FROM procrastinate_jobs")
    for _ in range(2):
        sweeping.look_at_the_line(office.service, {})
        assert office.queued_jobs() == asked[:2]
    sweeping.requeue_forgotten(office.service)
    assert office.queued_jobs() == asked[:2]


def test_a_run_whose_job_failed_is_tried_again_by_the_minute_and_not_by_each_sweep(office):
    asked = office.ask()
    with transaction(office.service.engine) as tx:
        tx.execute("UPDATE procrastinate_jobs SET status = 'failed' WHERE task_name = 'diagnose'")
    sweeping.look_at_the_line(office.service, {})
    assert office.queued_jobs() == []
    sweeping.requeue_forgotten(office.service)
    assert office.queued_jobs() == asked


def test_who_ends_a_run_while_its_database_goes_away_wakes_nobody_and_the_run_still_holds_its_place(office):
    office.limit(person=1)
    first, second = office.ask(count=2)
    claim = office.claim(first)
    office.take_all()

    def breaks_off() -> None:
        with transaction(office.service.engine) as tx:
            runs.move(tx, runs.get(tx, first, lock=True), RunState.FAILED)
            waiting.moved_up(tx, office.service)
            tx.execute("SELECT pg_terminate_backend(pg_backend_pid())")

    with pytest.raises(Exception, match="database"):
        breaks_off()
    assert office.queued_jobs() == []
    assert office.states(first, second) == ["diagnosing", "queued"]
    office.lapse(claim)
    assert office.take_all() == [first]


def test_two_that_end_wake_two_and_each_once(office):
    asked = office.ask(count=5)
    going = [office.claim(run_id) for run_id in asked[:2]]
    office.take_all()
    for claim in going:
        office.end(claim)
    assert office.queued_jobs() == asked[2:4]


def test_a_second_wake_up_finds_nothing_left_to_do(office):
    (run_id,) = office.ask()
    with transaction(office.service.engine) as tx:
        tx.defer("diagnose", run_id=run_id, priority=waiting.WOKEN)
    assert office.take_all() == [run_id]
    assert office.queued_jobs() == []


def test_what_is_approved_is_neither_held_by_a_quota_nor_counted_in_one(house, runbook, stuck, office):
    office.limit(person=1, runbook=1)
    _, (proposal,) = house.diagnosed()
    (going,) = office.ask(ANA, "stuck-orders")
    assert office.take_all() == [going]
    approve(office.service, BEN, proposal)
    assert remediating.open_recheck(office.service, proposal.id, "w1", checked(office.service, proposal.id)) is not None
    (other,) = office.ask(BEN, "look")
    assert office.take_all() == [other]
    office.limit(person=2, runbook=2)
    (second,) = office.ask(ANA, "stuck-orders")
    assert office.take_all() == [second]  # with the re-check there would be three of this runbook


def test_without_quotas_nobody_waits_for_anything_but_a_worker(office):
    office.limit()
    asked = office.ask(count=30)
    assert [place.place for place in office.line().values()] == list(range(1, 31))
    assert office.take_all() == asked


def test_however_many_one_person_asks_for_few_of_them_are_looked_at_to_decide_who_begins(office):
    asked = office.ask(count=10)
    others = office.ask(ANA, "peek", count=3) + office.ask(BEN, count=1)
    office.claim(asked[0])
    with reading(office.service.engine) as tx:
        looked_at = [run.id for run in quota_rows.unfinished(tx, enough_for=waiting.quotas(office.service))]
    assert looked_at == [*asked[:3], *others[:2], *others[3:]]
    office.limit(runbook=4)
    with reading(office.service.engine) as tx:
        assert len(quota_rows.unfinished(tx, enough_for=waiting.quotas(office.service))) == 1 + 4 + 3 + 1
