"""What somebody typed is there again, with the reason, on the page that refuses it; secrets go into no trail."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest
from page_stories import DEV, SURFACE

from runbooks_app.actions import break_glass, deciding, incidents
from runbooks_app.core.people import Person
from runbooks_app.store import audit, proposals, runs
from runbooks_app.store.database import reading

pytestmark = pytest.mark.pages

TOKEN = "ghp_" + "a1B2" * 9
GIVEN_AWAY = f"The deploy with {TOKEN} ended it"
SECRET = "holds what looks like a GitHub token. Take it out, and have it changed where it is valid."
MINE = "The lock blocks the till, and I looked at it twice"


def stored(service, proposal_id):
    with reading(service.engine) as tx:
        return proposals.get(tx, proposal_id)


def undecided(service, proposal_id) -> bool:
    found = stored(service, proposal_id)
    return (found.state, found.decisions) == ("proposed", ())


def incident_of(service, run_id) -> str:
    with reading(service.engine) as tx:
        return f"/incidents/{runs.get(tx, run_id).incident_id}"


def last_entry(service):
    with reading(service.engine) as tx:
        return audit.get(tx, audit.head(tx)[0])


@pytest.fixture
def diagnosed(story):
    return story.diagnosed()


@pytest.fixture
def proposal(service, diagnosed):
    return stored(service, diagnosed[1])


@pytest.fixture
def address(proposal):
    return f"/proposals/{proposal.id}"


class TestADecision:
    @pytest.mark.parametrize(
        ("reason", "why"),
        [
            (GIVEN_AWAY, SECRET),
            ("a\0b", "holds a NUL or half a character. Remove it."),
            ("x" * 2_001, "has 2,001 characters; 2,000 are the most."),
        ],
        ids=["a token", "a NUL", "too long"],
    )
    @pytest.mark.parametrize("verdict", ["approve", "deny"])
    def test_a_reason_that_cannot_be_kept_stands_beside_its_field(
        self, dev, service, proposal, address, verdict, reason, why
    ):
        told = dev.post(f"{address}/decision", verdict=verdict, digest=proposal.digest, reason=reason)
        assert (told.status, f"The reason {why}" in told.text) == (422, True)
        assert 'aria-invalid="true" aria-describedby="reason-error"' in told.html
        assert f"{reason}</textarea>" in told.html
        assert undecided(service, proposal.id)

    def test_its_reason_is_still_there_where_another_was_quicker_and_it_can_be_denied_still(
        self, story, dev, browser, proposal, address
    ):
        other = browser(replace(DEV, subject="https://id.example#dora", name="Dora"))
        story.approve(proposal.id, other.person)
        told = dev.post(f"{address}/decision", verdict="approve", digest=proposal.digest, reason=MINE)
        assert (told.status, "It was not taken." in told.text) == (409, True)
        assert "The proposal is approved already; it is about to start." in told.text
        assert "You can still stop it until it starts." in told.text
        assert 'http-equiv="refresh"' not in told.html
        assert f"{MINE}</textarea>" in told.html
        form = told.field("digest")
        assert dev.post(f"{address}/decision", verdict="deny", digest=form, reason=MINE).status == 303

    def test_where_nobody_can_decide_any_more_the_page_says_why_and_what_was_written(
        self, dev, service, proposal, address, anna
    ):
        deciding.withdraw(service, anna.person, SURFACE, proposal.id)
        told = dev.post(f"{address}/decision", verdict="approve", digest=proposal.digest, reason=MINE)
        assert (told.status, "Withdrawn by Anna Weber" in told.text) == (409, True)
        assert f"You wrote: {MINE}" in told.text
        assert 'name="reason"' not in told.html

    def test_a_refusal_is_entered_as_everywhere(self, anna, browser, service, proposal, address):
        both = browser(replace(anna.person, roles=frozenset({"responder", "approver:database"})))
        told = both.post(f"{address}/decision", verdict="approve", digest=proposal.digest, reason=MINE)
        assert (told.status, "You asked for this; somebody else has to decide." in told.text) == (403, True)
        assert f"You wrote: {MINE}" in told.text
        assert last_entry(service).event == "access.refused"


class TestSeveral:
    def chosen(self, proposal):
        return f"{proposal.id}:{proposal.digest}"

    def test_what_cannot_be_kept_is_told_with_ticks_and_reason_as_they_were(self, dev, service, diagnosed, proposal):
        where = f"{incident_of(service, diagnosed[0])}/decide"
        told = dev.post(where, verdict="approve", chosen=self.chosen(proposal), reason=GIVEN_AWAY)
        assert (told.status, SECRET in told.text) == (422, True)
        assert f"{GIVEN_AWAY}</textarea>" in told.html
        assert f'value="{self.chosen(proposal)}" checked' in told.html
        assert undecided(service, proposal.id)

    def test_where_one_moved_on_the_others_are_still_ticked(self, dev, anna, service, diagnosed, proposal):
        by_hand = deciding.propose_by_hand(
            service, anna.person, SURFACE, diagnosed[0], "terminate-session", {**proposal.inputs, "pid": 4712}, "It too"
        )
        deciding.withdraw(service, anna.person, SURFACE, proposal.id)
        both = [self.chosen(proposal), self.chosen(by_hand)]
        told = dev.post(f"{incident_of(service, diagnosed[0])}/decide", verdict="deny", chosen=both, reason=MINE)
        assert (told.status, "Nothing was decided." in told.text) == (409, True)
        assert f"{MINE}</textarea>" in told.html
        assert f'value="{self.chosen(by_hand)}" checked' in told.html

    def test_where_all_moved_on_what_was_written_is_told(self, dev, anna, service, diagnosed, proposal):
        deciding.withdraw(service, anna.person, SURFACE, proposal.id)
        where = f"{incident_of(service, diagnosed[0])}/decide"
        told = dev.post(where, verdict="deny", chosen=self.chosen(proposal), reason=MINE)
        assert (told.status, "Withdrawn by Anna Weber" in told.text) == (409, True)
        assert f"You wrote: {MINE}" in told.text


class TestByHand:
    def form(self, proposal):
        return {f"p.{name}": str(value) for name, value in proposal.inputs.items()}

    def test_a_reason_that_cannot_be_kept_stands_beside_its_field(self, anna, diagnosed, proposal, story):
        before = story.proposals(diagnosed[0])
        at = f"/runs/{diagnosed[0]}/propose/terminate-session"
        told = anna.post(at, **self.form(proposal), reason=GIVEN_AWAY)
        assert (told.status, f"The reason {SECRET}" in told.text) == (422, True)
        assert f"{GIVEN_AWAY}</textarea>" in told.html
        assert story.proposals(diagnosed[0]) == before

    def test_what_was_typed_is_there_also_where_the_run_cannot_be_proposed_from(self, anna, story, proposal):
        going = story.request(anna.person)
        told = anna.post(f"/runs/{going}/propose/terminate-session", **self.form(proposal), reason=MINE)
        assert (told.status, "only a diagnosed run can be proposed from" in told.text) == (409, True)
        assert f"{MINE}</textarea>" in told.html
        assert told.field("p.pid") == str(proposal.inputs["pid"])


class TestBreakGlass:
    @pytest.fixture
    def settings(self):
        return {"break_glass": "session"}

    @pytest.fixture
    def bea(self, browser):
        roles = frozenset({"responder", "break-glass"})
        return browser(Person("https://id.example#bea", "Bea", roles=roles))

    def test_a_reason_that_cannot_be_kept_stands_beside_its_field_in_the_open_form(
        self, bea, service, proposal, address
    ):
        form = {"digest": proposal.digest, "how": "without-provider"}
        for reason, why in ((GIVEN_AWAY, SECRET), ("Too short", "has 9 characters.")):
            told = bea.post(f"{address}/break-glass", **form, reason=reason)
            assert (told.status, why in told.text) == (422, True)
            assert f"{reason}</textarea>" in told.html
            assert '<details class="stack" open>' in told.html
        assert undecided(service, proposal.id)

    def test_a_review_that_cannot_be_kept_stands_beside_its_field(self, bea, dev, audi, service, proposal):
        alone = {"surface": "web", "auth_time": int(time.time())}
        break_glass.use(service, bea.person, alone, proposal.id, proposal.digest, MINE, without_provider=True)
        at = f"/break-glass/{proposal.id}/review"
        told = audi.post(at, review=GIVEN_AWAY)
        assert (told.status, SECRET in told.text) == (422, True)
        assert f"{GIVEN_AWAY}</textarea>" in told.html
        assert dev.post(at, review="It was right, we looked at all of it").status == 303
        told = audi.post(at, review=MINE)
        assert (told.status, "It is reviewed already." in told.text) == (409, True)
        assert f"You wrote: {MINE}" in told.text


class TestAnIncident:
    @pytest.fixture
    def incident(self, service, anna):
        return incidents.open_incident(service, anna.person, SURFACE, "Checkout is slow").id

    def test_who_writes_the_cause_while_another_closes_it_finds_it_in_the_note(self, incident, anna, service):
        incidents.close_incident(service, anna.person, SURFACE, incident, "The migration")
        told = anna.post(f"/incidents/{incident}/close", cause=MINE)
        assert (told.status, f"Incident {incident} is closed already." in told.text) == (409, True)
        assert "The cause that you wrote stands in the note below, not kept yet." in told.text
        assert f"{MINE}</textarea>" in told.html
        assert anna.post(f"/incidents/{incident}/notes", text=MINE).status == 303

    def test_what_cannot_be_attached_is_told_on_the_page(self, incident, anna, story, service):
        proposal_id = story.diagnosed()[1]
        story.approve(proposal_id)
        story.recheck(proposal_id)
        with reading(service.engine) as tx:
            (recheck,) = runs.rechecks(tx, proposal_id)
        told = anna.post(f"/incidents/{incident}/runs", run=recheck.id)
        assert (told.status, "re-checks a proposal" in told.text) == (403, True)
        assert "It was not done." in told.text
        assert 'name="text"' in told.html
