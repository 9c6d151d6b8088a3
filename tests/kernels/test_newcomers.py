"""Who has shown something gives way to who has not, for a while; nobody else does."""

from __future__ import annotations

import asyncio

import pytest

from runbooks_app.kernels import newcomers
from runbooks_app.kernels.newcomers import Newcomer, Newcomers

pytestmark = pytest.mark.kernels


@pytest.fixture
def others():
    return Newcomers()


def going_on(one, others, meanwhile=lambda: None, stop=lambda _: None):
    """Whether a run that wants to go on does so at once, and after `meanwhile`."""

    async def told():
        stopping = asyncio.Event()
        watched = asyncio.create_task(stopping.wait())
        waiting = asyncio.create_task(one.give_way(watched))
        for _ in range(3):
            await asyncio.sleep(0)
        at_once = waiting.done()
        meanwhile()
        stop(stopping)
        for _ in range(5):
            await asyncio.sleep(0)
        then = waiting.done()
        waiting.cancel()
        watched.cancel()
        return at_once, then

    return asyncio.run(told())


def settled(others):
    one = Newcomer(others)
    one.arrives()
    one.settled()
    return one


def test_a_run_that_has_shown_something_waits_for_one_that_has_not(others):
    new = Newcomer(others)
    new.arrives()
    assert going_on(settled(others), others, new.settled) == (False, True)


def test_a_run_that_is_new_itself_waits_for_nobody(others):
    for one in (first := Newcomer(others), Newcomer(others)):
        one.arrives()
    assert going_on(first, others) == (True, True)


def test_a_run_that_waits_for_its_credentials_holds_nobody_up(others):
    Newcomer(others)
    assert going_on(settled(others), others) == (True, True)


def test_a_run_that_could_not_begin_holds_nobody_up_though_it_is_granted_something_later(others):
    late = Newcomer(others)
    late.settled()
    late.arrives()
    assert going_on(settled(others), others) == (True, True)
    assert others.count == 0


def test_to_settle_twice_counts_once(others):
    new, other = Newcomer(others), Newcomer(others)
    new.arrives()
    other.arrives()
    new.settled()
    new.settled()
    assert going_on(settled(others), others, other.settled) == (False, True)


def test_a_run_that_is_cancelled_waits_no_longer(others):
    Newcomer(others).arrives()
    assert going_on(settled(others), others, stop=lambda stopping: stopping.set()) == (False, True)


def test_nobody_waits_longer_than_their_patience_in_all(others):
    Newcomer(others).arrives()
    one = settled(others)
    one.patience = 0.001

    async def waited_once():
        never = asyncio.create_task(asyncio.Event().wait())
        await one.give_way(never)
        never.cancel()

    asyncio.run(waited_once())
    assert one.patience <= 0
    assert going_on(one, others) == (True, True)


def test_a_first_cell_that_prints_nothing_is_not_waited_for(others, monkeypatch):
    monkeypatch.setattr(newcomers, "LONGEST", 0)
    quiet = Newcomer(others)
    quiet.arrives()
    assert going_on(settled(others), others, quiet.is_ready) == (False, True)
