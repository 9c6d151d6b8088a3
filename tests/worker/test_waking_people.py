"""Those who may decide are woken, step by step, and let go again: real rows, real servers for chat and pages."""

from __future__ import annotations

import threading
from dataclasses import dataclass, replace

import pytest
from oncall.paging import hangs, paging, says
from signing import approve
from worker.conftest import ANA, BEN, CAT, WEB, House, while_working

from runbooks_app.actions import deciding, people, sweeping
from runbooks_app.actions.story import incident_story
from runbooks_app.chat.client import Slack
from runbooks_app.chat.messages import proposal_message
from runbooks_app.core.errors import Refused, Unavailable
from runbooks_app.core.people import Person
from runbooks_app.core.waking import Step
from runbooks_app.main.demo.slack.app import SlackConfig, create_slack, serve
from runbooks_app.main.demo.slack.workspace import Workspace
from runbooks_app.oncall import pagers, read_oncall
from runbooks_app.store import people as people_rows
from runbooks_app.store import runs, wakings
from runbooks_app.store.database import reading, transaction
from runbooks_app.store.records import Proposal
from runbooks_app.worker import telling, views, waking_people

pytestmark = pytest.mark.chat

TOKEN = "xoxb-a-token-that-no-log-may-hold"
EVE = Person("https://idp#eve", "Eve", "eve@x.example", roles=frozenset({"responder", "break-glass"}))
DAN = Person("https://idp#dan", "Dan", "dan@x.example", roles=frozenset({"approver:payments"}))
ACCOUNTS = {"U0ANA": ANA, "U0BEN": BEN, "U0CAT": CAT, "U0DAN": DAN, "U0EVE": EVE}


@dataclass
class Night:
    """A service whose people have chat accounts, and a chat to wake them in."""

    house: House
    workspace: Workspace

    def proposal(self, **given: object) -> Proposal:
        """Ana's, as nobody may decide on what they asked for; its risk is high."""
        return self.house.diagnosed(ANA, **given)[1][0]

    def on_call(self, text: str) -> None:
        """The on-call file says this."""
        path = self.house.service.settings.config_dir / "oncall.toml"
        path.write_text(text)
        self.has(oncall=read_oncall(path))

    def has(self, **changes: object) -> None:
        """The service is another from here on."""
        self.house.service = replace(self.house.service, **changes)
        self.house.worker = replace(self.house.worker, service=self.house.service)

    def sets(self, **changes: object) -> None:
        self.has(settings=self.house.service.settings.model_copy(update=changes))

    def step(self) -> int:
        """Do the next job that wakes, whenever it is due; its step."""
        _, arguments = self.house.job("wake")
        waking_people.wake(self.house.worker, **arguments)
        return arguments["step"]

    def page(self) -> None:
        _, arguments = self.house.job("page")
        waking_people.page(self.house.worker, **arguments)

    def told(self) -> dict[str, list[str]]:
        """What each person was told directly, once all is told."""
        for _ in range(20):
            with transaction(self.house.service.engine) as tx:
                tx.execute("UPDATE chat_threads SET due_at = now(), turn_at = NULL, shown_at = NULL")
                tx.execute("UPDATE chat_channels SET next_at = now()")
            telling.tell_due(self.house.worker)
        direct = {self.workspace.people[user]: channel for user, channel in self.workspace.direct.items()}
        return {name: [message.text for message in self.workspace.seen(channel)] for name, channel in direct.items()}

    def woken(self, proposal: Proposal) -> list[tuple[int, str, str]]:
        with reading(self.house.service.engine) as tx:
            return [(waking.step, waking.way, waking.name) for waking in wakings.of_proposal(tx, proposal.id)]

    def rows(self, sql: str) -> list[tuple]:
        with reading(self.house.service.engine) as tx:
            return [tuple(row) for row in tx.execute(sql)]


@pytest.fixture
def night(house, stuck, runbook, tmp_path):
    people_here = {account: person.name for account, person in ACCOUNTS.items()}
    app = create_slack(SlackConfig(TOKEN, "the signing secret", "http://127.0.0.1:9", people=people_here))
    (tmp_path / "token").write_text(TOKEN)
    with transaction(house.service.engine) as tx:
        for account, person in ACCOUNTS.items():
            people_rows.remember(tx, replace(person, email=f"{person.name.lower()}@x.example"))
            tx.execute(
                "INSERT INTO chat_people (team, chat_user, subject) VALUES ('T1', :user, :subject)",
                user=account,
                subject=person.subject,
            )
    with serve(app) as url:
        running = Night(house, app.extensions["slack_workspace"])
        house.worker = replace(house.worker, slack=Slack(TOKEN, base_url=f"{url}api/", timeout=5))
        running.sets(slack_bot_token_file=tmp_path / "token", slack_team="T1", public_url="https://r.example")
        yield running


ROTA = 'from = 2026-01-05T09:00:00, every = "7d", zone = "UTC"'


def rota(*names: str) -> str:
    addresses = ", ".join(f'"{name}@x.example"' for name in names)
    return f"[group.database]\nrota = {{ {ROTA}, people = [{addresses}] }}\n"


def test_who_is_on_call_is_woken_then_all_others_then_break_glass_is_offered(night):
    night.on_call(rota("ben"))
    proposal = night.proposal()
    assert night.step() == Step.ON_CALL
    assert night.woken(proposal) == [(0, "slack", "Ben")]
    assert night.told() == {"Ben": ["🔔 Waits for you: Free orders in state stuck on orders-db"]}
    assert night.step() == Step.EVERYBODY
    assert list(night.told()) == ["Ben", "Cat"]
    assert night.step() == Step.BREAK_GLASS
    assert night.woken(proposal) == [(0, "slack", "Ben"), (1, "slack", "Cat"), (2, "slack", "Eve")]
    assert night.told()["Eve"] == ["🔔 Nobody has decided this yet: Free orders in state stuck on orders-db"]
    (offer,) = night.workspace.seen("D0EVE")
    button = offer.blocks[-1]["elements"][0]
    assert button["url"] == f"https://r.example/proposals/{proposal.id}#glass-reason"
    assert night.house.job("wake") is None


def test_each_step_follows_after_the_time_that_is_set(night):
    night.sets(escalate_after=120)
    night.proposal()
    night.step()
    ((wait,),) = night.rows(
        "SELECT extract(epoch FROM scheduled_at - now()) FROM procrastinate_jobs"
        " WHERE task_name = 'wake' AND status = 'todo'"
    )
    assert 110 < wait <= 120


def test_what_is_decided_wakes_nobody_more_and_says_so_to_those_whom_it_woke(night):
    proposal = night.proposal()
    night.step()
    night.told()
    deciding.decide(night.house.service, BEN, WEB, proposal.id, "deny", proposal.digest)
    assert night.step() == Step.EVERYBODY
    assert night.house.job("wake") is None
    told = night.told()
    assert sorted(told) == ["Ben", "Cat"]
    assert all("denied" in text for texts in told.values() for text in texts)
    (message,) = night.workspace.seen("D0CAT")
    assert message.blocks[-1]["elements"][0]["text"] == "Nothing is left for you to do here."


def test_a_job_that_is_done_twice_wakes_nobody_twice(night):
    proposal = night.proposal()
    for _ in range(2):
        waking_people.wake(night.house.worker, proposal.id, 0)
    assert sorted(night.woken(proposal)) == [(0, "slack", "Ben"), (0, "slack", "Cat")]
    assert {name: len(texts) for name, texts in night.told().items()} == {"Ben": 1, "Cat": 1}


def test_where_nothing_can_be_approved_nobody_is_woken(night):
    night.sets(remediation="off")
    night.proposal()
    assert night.house.job("wake") is None


def test_break_glass_is_not_offered_where_it_is_off(night):
    night.sets(break_glass="off")
    proposal = night.proposal()
    assert [night.step() for _ in Step] == [0, 1, 2]
    assert {name for _, _, name in night.woken(proposal)} == {"Ben", "Cat"}


def test_what_an_alert_brought_wakes_more_than_one_since_one_has_to_sponsor_it(night):
    night.on_call(rota("ben"))
    proposal = night.proposal()
    with transaction(night.house.service.engine) as tx:
        tx.execute("UPDATE proposals SET requesters = '[]' WHERE id = :id", id=proposal.id)
    night.step()
    assert {name for _, _, name in night.woken(proposal)} == {"Ben", "Cat"}
    night.told()
    (message,) = night.workspace.seen("D0BEN")
    assert "needs a sponsor" in str(message.blocks)


def test_each_who_is_woken_is_in_the_trail(night):
    night.on_call(rota("ben"))
    proposal = night.proposal()
    night.step()
    ((objects, body),) = night.rows("SELECT objects, body FROM audit_entries WHERE event = 'approver.woken'")
    assert BEN.subject in objects
    assert proposal.id in objects
    assert body == '{"name":"Ben","step":0,"way":"slack"}'


def test_the_incident_tells_who_was_woken_when(night):
    run, _ = night.house.diagnosed(ANA)
    for _ in Step:
        night.step()
    with reading(night.house.service.engine) as tx:
        story = incident_story(tx, night.house.service, run.incident_id)
    told = [line.text for line in story.items if "Woken" in line.text or "offered" in line.text]
    assert [text.split(": ")[0] for text in told] == ["Woken", "Break-glass offered to"]
    assert "Ben" in told[0]
    assert "Cat" in told[0]
    assert told[1].endswith("Eve")


def test_who_left_the_chat_is_told_as_not_reached_and_the_others_are_woken(night):
    proposal = night.proposal()
    del night.workspace.humans["U0BEN"]
    night.step()
    assert list(night.told()) == ["Cat"]
    with reading(night.house.service.engine) as tx:
        trouble = {waking.name: waking.trouble for waking in wakings.of_proposal(tx, proposal.id)}
    assert "user_not_found" in trouble["Ben"]
    assert not trouble["Cat"]


# ---- schedules: whom to tell first, and nothing more


SCHEDULE = '[group.database]\nschedule = "pd"\nid = "PS1"\n'


@pytest.fixture(params=["pagerduty", "opsgenie"])
def pages(request):
    with paging(request.param) as running:
        yield running


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


# ---- pages


def says_later(until: threading.Event):
    """Take what is sent, once this is set."""

    def answer_later(request):
        until.wait(30)
        says(202, b'{"status": "success", "requestId": "r"}')(request)

    return answer_later


PAGED = '[group.database]\npage = ["pd"]\n'


def paged(night, pages) -> Proposal:
    night.on_call(PAGED + pages.toml(night.house.service.settings.config_dir))
    proposal = night.proposal()
    night.step()
    return proposal


def test_a_page_is_sent_once_and_resolved_when_it_is_decided(night, pages):
    proposal = paged(night, pages)
    night.page()
    assert list(pages.open) == [f"runbooks-{proposal.id}"]
    waking_people.page(night.house.worker, proposal.id)
    assert len(pages.seen) == 1
    approve(night.house.service, BEN, proposal)
    night.page()
    assert not pages.open
    assert [(way, name) for _, way, name in night.woken(proposal) if way != "slack"] == [(pages.kind, "pd")]


def test_a_page_is_resolved_when_nobody_decided_in_time(night, pages):
    proposal = paged(night, pages)
    night.page()
    with transaction(night.house.service.engine) as tx:
        tx.execute("UPDATE proposals SET expires_at = now() WHERE id = :id", id=proposal.id)
    sweeping.expire_proposals(night.house.service)
    night.page()
    assert not pages.open


def test_what_is_decided_before_its_page_went_out_is_never_sent(night, pages):
    proposal = paged(night, pages)
    deciding.decide(night.house.service, BEN, WEB, proposal.id, "deny", proposal.digest)
    night.page()
    assert not pages.open
    assert not any("trigger" in asked or asked.endswith("/alerts") for asked in pages.asked)
    assert night.rows("SELECT count(*) FROM wakings WHERE way <> 'slack' AND ended_at IS NULL") == [(0,)]


def test_a_page_that_goes_out_while_somebody_decides_is_resolved_all_the_same(night, pages):
    """The other worker finds it unsent and lets go of it, while this one is sending it."""
    proposal = paged(night, pages)

    def decided_meanwhile(request):
        deciding.decide(night.house.service, BEN, WEB, proposal.id, "deny", proposal.digest)
        waking_people.page(night.house.as_worker("w2"), proposal.id)
        pages.open[f"runbooks-{proposal.id}"] = {}
        says(202, b'{"status": "success", "requestId": "r"}')(request)

    pages.spell.append(decided_meanwhile)
    night.page()
    assert not pages.open


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_page_that_fails_is_tried_again_and_its_trouble_stands_with_it(night, pages, status):
    proposal = paged(night, pages)
    pages.spell.append(says(status))
    with pytest.raises(Unavailable):
        night.page()
    ((trouble,),) = night.rows("SELECT trouble FROM wakings WHERE way <> 'slack'")
    assert str(status) in trouble
    waking_people.page(night.house.worker, proposal.id)
    assert night.rows("SELECT trouble, sent_at IS NOT NULL FROM wakings WHERE way <> 'slack'") == [("", True)]
    assert len(pages.open) == 1


def test_a_page_whose_answer_is_lost_is_sent_again_and_stands_once(night, pages):
    proposal = paged(night, pages)

    def takes_it_and_hangs_up(request):
        pages.open[f"runbooks-{proposal.id}"] = {}
        request.close_connection = True

    pages.spell.append(takes_it_and_hangs_up)
    with pytest.raises(Unavailable):
        night.page()
    waking_people.page(night.house.worker, proposal.id)
    assert list(pages.open) == [f"runbooks-{proposal.id}"]
    assert night.rows("SELECT count(*) FROM wakings WHERE way <> 'slack' AND sent_at IS NOT NULL") == [(1,)]


def test_a_page_whose_answer_is_lost_is_resolved_when_it_is_decided_before_it_is_sent_again(night, pages):
    proposal = paged(night, pages)

    def takes_it_and_hangs_up_while_somebody_decides(request):
        deciding.decide(night.house.service, BEN, WEB, proposal.id, "deny", proposal.digest)
        waking_people.page(night.house.as_worker("w2"), proposal.id)
        pages.open[f"runbooks-{proposal.id}"] = {}
        request.close_connection = True

    pages.spell.append(takes_it_and_hangs_up_while_somebody_decides)
    with pytest.raises(Unavailable):
        night.page()
    waking_people.page(night.house.worker, proposal.id)
    assert not pages.open


def test_a_page_that_hangs_holds_no_session_at_the_database(night, pages, monkeypatch):
    monkeypatch.setattr(pagers, "SECONDS", 20.0)
    proposal = paged(night, pages)
    over = threading.Event()
    pages.spell.append(says_later(over))
    waiting = threading.Thread(target=waking_people.page, args=(night.house.worker, proposal.id))
    waiting.start()
    assert pages.arrived.wait(10)
    assert night.house.service.engine.pool.checkedout() == 0
    over.set()
    waiting.join(20)
    assert night.rows("SELECT sent_at IS NOT NULL FROM wakings WHERE way <> 'slack'") == [(True,)]


def test_a_page_that_is_refused_is_not_sent_again_and_its_trouble_stands_with_it(night, pages, caplog):
    proposal = paged(night, pages)
    pages.spell.append(says(400))
    night.page()
    with reading(night.house.service.engine) as tx:
        told = proposal_message(views.proposal_told(tx, night.house.service, proposal, runs.get(tx, proposal.run_id)))
    assert "Woken: Ben, Cat, pd (not reached)" in str(told.blocks) or "Cat, Ben, pd (not reached)" in str(told.blocks)
    ((trouble, over),) = night.rows("SELECT trouble, ended_at IS NOT NULL FROM wakings WHERE way <> 'slack'")
    assert "400" in trouble
    assert over
    assert "is given up" in caplog.text


def test_one_service_that_is_away_does_not_hold_up_another(night, pages):
    folder = night.house.service.settings.config_dir
    with paging("pagerduty") as away:
        night.on_call(f'[group.database]\npage = ["away", "pd"]\n{away.toml(folder, "away")}{pages.toml(folder)}')
        away.spell += [says(503)] * 2
        night.proposal()
        night.step()
        with pytest.raises(Unavailable):
            night.page()
        assert len(pages.open) == 1


def test_a_service_that_is_named_no_longer_is_told_as_that(night, pages):
    proposal = paged(night, pages)
    night.on_call("")
    night.page()
    ((trouble,),) = night.rows("SELECT trouble FROM wakings WHERE way <> 'slack'")
    assert trouble == "pd is in the on-call file no longer."
    assert proposal.id


def test_a_page_whose_job_failed_for_good_is_queued_again(night, pages):
    proposal = paged(night, pages)
    night.house.job("page")
    with transaction(night.house.service.engine) as tx:
        tx.execute("UPDATE procrastinate_jobs SET status = 'failed' WHERE task_name = 'page'")
        tx.execute("UPDATE wakings SET made_at = now() - interval '2 minutes'")
    sweeping.requeue_forgotten(night.house.service)
    night.page()
    assert list(pages.open) == [f"runbooks-{proposal.id}"]
    sweeping.requeue_forgotten(night.house.service)
    assert night.house.job("page") is None


def test_a_page_says_what_waits_and_nothing_that_was_seen(night, pages):
    night.house.service.connections["orders-db"] = replace(
        night.house.service.connections["orders-db"], data_class="restricted"
    )
    proposal = paged(night, pages)
    night.page()
    sent = str(pages.open[f"runbooks-{proposal.id}"])
    assert "Waits for approval: Free orders in state stuck on orders-db (high risk)" in sent
    assert f"https://r.example/proposals/{proposal.id}" in sent
    assert "3 orders are stuck" not in sent
    assert "free themselves" not in sent


def test_a_working_worker_wakes_pages_and_lets_go(night, pages):
    """By the queue itself, as it is in life."""
    night.on_call(PAGED + pages.toml(night.house.service.settings.config_dir))
    proposal = night.proposal()

    def play() -> None:
        assert pages.arrived.wait(30)
        pages.arrived.clear()
        approved = night.house.now(proposal)
        deciding.decide(night.house.service, CAT, WEB, approved.id, "deny", approved.digest)
        assert pages.arrived.wait(30)

    while_working(night.house, play)
    assert [("resolve" in asked or "close" in asked) for asked in pages.asked] == [False, True]
    assert not pages.open
