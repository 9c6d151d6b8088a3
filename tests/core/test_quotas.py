"""Who may begin, who waits for what and in which place: decided from counts and order alone."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runbooks_app.core.quotas import Place, Quotas, Unfinished, Waits, in_line, ordinal, places, roughly, said, why

pytestmark = pytest.mark.kernels


def line(*runs, person=2, runbook=3):
    """Runs as "ana:disk" (queued) or "+ana:disk" (going), in order; the places of the queued by their numbers."""
    unfinished = []
    for number, run in enumerate(runs):
        who, what = run.removeprefix("+").split(":")
        unfinished.append(Unfinished(str(number), who, what, run.startswith("+")))
    return {int(number): place for number, place in places(unfinished, Quotas(person, runbook)).items()}


def test_a_run_below_every_quota_waits_for_a_worker_alone():
    assert line("+ana:disk", "ana:disk") == {1: Place(1, Waits.WORKER)}


def test_a_run_beyond_its_persons_quota_is_told_its_place_and_who_is_before_it():
    found = line("+ana:a", "+ana:b", "ana:c", "ana:d")
    assert found == {2: Place(1, Waits.PERSON, 2, 2), 3: Place(2, Waits.PERSON, 2, 2)}


def test_a_run_beyond_its_runbooks_quota_waits_for_that():
    found = line("+ana:disk", "+ben:disk", "+cat:disk", "dan:disk")
    assert found == {3: Place(1, Waits.RUNBOOK, 3, 3)}


def test_a_person_at_their_limit_holds_up_nobody_behind_them():
    found = line("+ana:a", "+ana:b", "ana:c", "ana:c", "ben:c")
    assert [found[number].may_begin for number in (2, 3, 4)] == [False, False, True]
    assert found[4].place == 1


def test_a_full_runbook_does_not_hold_up_other_runbooks_of_the_same_person():
    found = line("+ben:full", "+ben:full", "+cat:full", "ana:full", "ana:other")
    assert found[3].waits is Waits.RUNBOOK
    assert found[4].may_begin


def test_who_was_there_first_goes_first_where_one_place_is_left():
    found = line("+ana:a", "ana:b", "ana:c")
    assert (found[1].may_begin, found[2].may_begin) == (True, False)


def test_a_quota_that_was_lowered_ends_nothing_and_lets_nothing_begin_until_enough_have_ended():
    found = line("+ana:a", "+ana:b", "+ana:c", "ana:d", person=2)
    assert found[3] == Place(1, Waits.PERSON, 3, 2)
    assert why(found[3], "Ana's", "d") == "3 of Ana's runs are going, and 2 at a time is the most"


def test_zero_is_no_limit_and_runs_that_no_person_asked_for_have_no_persons_limit():
    assert all(place.may_begin for place in line(*["ana:a"] * 50, person=0, runbook=0).values())
    assert all(place.may_begin for place in line(*[":a"] * 50, person=1, runbook=0).values())
    assert [place.may_begin for place in line(*[":a"] * 3, person=1, runbook=2).values()] == [True, True, False]


def test_a_run_that_both_quotas_hold_is_told_of_its_persons_and_counts_in_both_lines():
    found = line("+ana:a", "+ben:a", "ana:a", "cat:a", person=1, runbook=2)
    assert found[2] == Place(1, Waits.PERSON, 1, 1)
    assert found[3] == Place(2, Waits.RUNBOOK, 2, 2)


RUNS = st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from("xyz"), st.booleans()), max_size=40)


@given(RUNS, st.integers(0, 5), st.integers(0, 5))
def test_whoever_may_begin_exceeds_no_quota_and_whoever_may_not_has_a_full_one(runs, person, runbook):
    unfinished = [Unfinished(str(n), who, what, going) for n, (who, what, going) in enumerate(runs)]
    found = places(unfinished, Quotas(person, runbook))
    assert list(found) == [run.id for run in unfinished if not run.going]
    people, runbooks = (Counter(getattr(run, of) for run in unfinished if run.going) for of in ("person", "runbook"))
    before_people, before_runbooks = people.copy(), runbooks.copy()
    for run in unfinished:
        if not run.going and found[run.id].may_begin:
            people[run.person] += 1
            runbooks[run.runbook] += 1
    for run in unfinished:
        if run.going:
            continue
        if found[run.id].may_begin:
            assert not person or people[run.person] <= max(person, before_people[run.person])
            assert not runbook or runbooks[run.runbook] <= max(runbook, before_runbooks[run.runbook])
        else:
            assert (person and people[run.person] >= person) or (runbook and runbooks[run.runbook] >= runbook)


@given(RUNS, st.integers(0, 3), st.integers(0, 3))
def test_runs_beyond_what_quotas_find_enough_change_nothing_for_who_may_begin(runs, person, runbook):
    quotas = Quotas(person, runbook)
    unfinished = [Unfinished(str(n), who.replace("c", ""), what, going) for n, (who, what, going) in enumerate(runs)]
    seen: Counter[tuple[str, str]] = Counter()
    kept = []
    for run in unfinished:
        seen[run.person, run.runbook] += not run.going
        enough = quotas.enough(run.person)
        if run.going or enough is None or seen[run.person, run.runbook] <= enough:
            kept.append(run)

    def begin(of: list[Unfinished]) -> list[str]:
        return [run_id for run_id, place in places(of, quotas).items() if place.may_begin]

    assert begin(kept) == begin(unfinished)


@given(RUNS)
def test_places_of_one_line_count_up_and_never_stand_twice_for_who_waits_for_the_same(runs):
    unfinished = [Unfinished(str(n), who, what, going) for n, (who, what, going) in enumerate(runs)]
    kept = {run.id: run for run in unfinished}
    lines: dict[object, list[int]] = {}
    for run_id, place in places(unfinished, Quotas(1, 2)).items():
        of = {Waits.WORKER: "", Waits.PERSON: kept[run_id].person, Waits.RUNBOOK: kept[run_id].runbook}[place.waits]
        lines.setdefault((place.waits, of), []).append(place.place)
    for found in lines.values():
        assert found == sorted(set(found))


def test_what_a_run_waits_for_is_said_in_a_sentence():
    assert why(Place(3, Waits.PERSON, 5, 5), "your", "disk") == "5 of your runs are going, which is the most at a time"
    assert why(Place(1, Waits.PERSON, 1, 1), "Ana's", "disk").startswith("1 of Ana's runs is going")
    assert why(Place(1, Waits.RUNBOOK, 20, 20), "your", "disk") == (
        "20 runs of disk are going, which is the most at a time"
    )
    assert "worker" in why(Place(9, Waits.WORKER), "your", "disk")


@pytest.mark.parametrize(
    ("number", "said"),
    [(1, "1st"), (2, "2nd"), (3, "3rd"), (4, "4th"), (11, "11th"), (12, "12th"), (13, "13th"), (21, "21st"),
     (102, "102nd"), (111, "111th")],
)  # fmt: skip
def test_places_are_told_as_people_say_them(number, said):
    assert ordinal(number) == said
    assert in_line(number) == f"{said} in line"


def test_a_rough_place_holds_true_and_changes_only_a_few_times_on_the_way_to_the_front():
    told = [roughly(place) for place in range(150, 0, -1)]
    assert told[-3:] == ["3rd in line", "2nd in line", "1st in line"]
    assert roughly(4) == "among the next 5 in line"
    assert roughly(5000) == "more than 1000 in line"
    assert len(set(told)) == 9


@given(
    runs=st.lists(st.tuples(st.sampled_from(["ana", "ben", ""]), st.sampled_from(["disk", "slow"]), st.booleans())),
    person=st.integers(0, 4),
    runbook=st.integers(0, 4),
)
def test_where_the_quick_look_says_that_all_fit_the_line_says_so_too(runs, person, runbook):
    quotas = Quotas(person, runbook)
    unfinished = [Unfinished(str(number), *run) for number, run in enumerate(runs)]
    stands = places(unfinished, quotas)
    for run in unfinished:
        alike = Counter(other.person for other in unfinished)[run.person]
        same = Counter(other.runbook for other in unfinished)[run.runbook]
        if not run.going and quotas.all_fit(run.person, alike, same):
            assert stands[run.id].may_begin


def test_one_more_than_a_quota_is_not_let_through_by_a_quick_look():
    quotas = Quotas(2, 3)
    assert quotas.all_fit("ana", 2, 3)
    assert not quotas.all_fit("ana", 3, 3)
    assert not quotas.all_fit("ana", 2, 4)
    assert quotas.all_fit("", 9, 3)
    assert Quotas(0, 0).all_fit("ana", 9, 9)


@pytest.mark.parametrize(("person", "runbook", "limits"), [(0, 0, False), (1, 0, True), (0, 1, True)])
def test_no_quota_is_no_limit(person, runbook, limits):
    assert Quotas(person, runbook).any is limits


def test_a_place_and_its_reason_are_one_sentence():
    held = Place(2, Waits.PERSON, going=2, most=2)
    assert said(held, "your", "disk").endswith(f"; {why(held, 'your', 'disk')}")
    assert said(held, "your", "disk", rough=True).startswith(roughly(2))
