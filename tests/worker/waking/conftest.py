"""A service whose people have chat accounts and an approver on call, and a chat and pages to wake them with."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest
from oncall.paging import paging
from worker.conftest import ANA, BEN, CAT, House

from runbooks_app.chat.client import Slack
from runbooks_app.core.people import Person
from runbooks_app.main.demo.slack.app import SlackConfig, create_slack, serve
from runbooks_app.main.demo.slack.workspace import Workspace
from runbooks_app.oncall import read_oncall
from runbooks_app.store import people as people_rows
from runbooks_app.store import wakings
from runbooks_app.store.database import reading, transaction
from runbooks_app.store.records import Proposal
from runbooks_app.worker import telling, waking_people

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


@pytest.fixture(params=["pagerduty", "opsgenie"])
def pages(request):
    with paging(request.param) as running:
        yield running
