"""A schedule says whom to tell first, and nothing more: real servers that know who is on call."""

from __future__ import annotations

import threading

import pytest
from oncall.paging import hangs, says
from signing import approve
from worker.conftest import ANA, WEB
from worker.waking.conftest import DAN, EVE, rota

from runbooks_app.actions import people
from runbooks_app.core.errors import Refused
from runbooks_app.oncall import pagers
from runbooks_app.worker import waking_people

pytestmark = pytest.mark.chat

SCHEDULE = '[group.database]\nschedule = "pd"\nid = "PS1"\n'


def test_the_schedule_says_who_is_on_call_and_counts_before_the_rota(night, pages):
    pages.on_call["PS1"] = ["Cat@X.example"]
    night.on_call(f'{rota("ben")}schedule = "pd"\nid = "PS1"\n{pages.toml(night.house.service.settings.config_dir)}')
    proposal = night.proposal()
    night.step()
    assert night.woken(proposal) == [(0, "slack", "Cat")]


@pytest.mark.parametrize("trouble", [says(503), says(200, b"[]"), says(401), says(429)])
def test_without_the_schedule_the_rota_counts_and_without_both_all_are_woken(night, pages, trouble):
    folder = night.house.service.settings.config_dir
    night.on_call(f'{rota("ben")}schedule = "pd"\nid = "PS1"\n{pages.toml(folder)}')
    pages.spell.append(trouble)
    first = night.proposal()
    night.step()
    assert night.woken(first) == [(0, "slack", "Ben")]
    night.on_call(SCHEDULE + pages.toml(folder))
    pages.spell.append(trouble)
    waking_people.wake(night.house.worker, first.id, 0)
    assert {name for _, _, name in night.woken(first)} == {"Ben", "Cat"}


def test_a_schedule_gives_nobody_a_right(night, pages):
    """Somebody who owns the schedule names Ana, who asked for it, Dan, who may not decide, and a stranger."""
    pages.on_call["PS1"] = ["ana@x.example", "dan@x.example", "eve@x.example", "mallory@evil.example"]
    night.on_call(SCHEDULE + pages.toml(night.house.service.settings.config_dir))
    proposal = night.proposal()
    night.step()
    assert {name for _, _, name in night.woken(proposal)} == {"Ben", "Cat"}
    for person in (ANA, DAN, EVE):
        with pytest.raises(Refused):
            approve(night.house.service, person, proposal)


def test_an_address_that_nobody_has_verified_wakes_nobody_as_another(night, pages):
    """Mallory's provider says that her address is Ben's, and has not verified it: it is not kept at sign-in."""
    from runbooks_app.web.claims import person_of

    claims = {"iss": "https://idp", "sub": "mallory", "name": "Ben", "email": "ben@x.example", "email_verified": False}
    mallory = person_of({**claims, "groups": ["dba"]}, night.house.service.settings)
    assert not mallory.email
    people.sign_in(night.house.service, mallory, WEB)
    pages.on_call["PS1"] = ["ben@x.example"]
    night.on_call(SCHEDULE + pages.toml(night.house.service.settings.config_dir))
    proposal = night.proposal()
    night.step()
    assert night.woken(proposal) == [(0, "slack", "Ben")]
    with pytest.raises(Refused):
        approve(night.house.service, mallory, proposal)


def test_a_schedule_that_hangs_holds_no_session_at_the_database(night, pages, monkeypatch):
    monkeypatch.setattr(pagers, "SECONDS", 20.0)
    night.on_call(SCHEDULE + pages.toml(night.house.service.settings.config_dir))
    over = threading.Event()
    proposal = night.proposal()
    pages.spell.append(hangs(over))
    waiting = threading.Thread(target=waking_people.wake, args=(night.house.worker, proposal.id, 0))
    waiting.start()
    assert pages.arrived.wait(10)
    assert night.house.service.engine.pool.checkedout() == 0
    over.set()
    waiting.join(20)
    assert {name for _, _, name in night.woken(proposal)} == {"Ben", "Cat"}
