"""An alert's diagnosis in its channel, and the one line of those that are held back, told in the place of Slack."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime

import pytest
from worker.conftest import House

from runbooks_app.actions import alerting
from runbooks_app.alerting import Alerting
from runbooks_app.chat.client import Slack
from runbooks_app.core.alerts import Budget, Incoming, Rule
from runbooks_app.main.demo.slack.app import SlackConfig, create_slack, serve
from runbooks_app.main.demo.slack.workspace import Standing, Workspace
from runbooks_app.store import proposals, runs
from runbooks_app.store.database import reading, transaction
from runbooks_app.worker import telling

pytestmark = pytest.mark.chat

TOKEN = "xoxb-a-token-that-no-log-may-hold"
CHANNEL = "C0INCIDENTS"
RULES = (Rule("stuck", {"alertname": "OrdersStuck"}, "stuck-orders", CHANNEL, parameters={"database": "orders-db"}),)


@dataclass
class Room:
    """The channel in which alerts are told."""

    house: House
    workspace: Workspace

    def fire(self, number: int, status: str = "firing", budget: int = 10) -> tuple[alerting.Became, ...]:
        service = replace(self.house.service, alerting=Alerting(rules=RULES, budget=Budget(budget)))
        alert = Incoming(
            source="prod",
            fingerprint=f"f{number}",
            status=status,
            labels={"alertname": "OrdersStuck", "shop": str(number)},
            annotations={"summary": "Orders do not move <!channel>"},
            starts_at=datetime(2026, 11, 23, 3, 12, tzinfo=UTC),
            ends_at=None,
            group_key=f"g{number}",
        )
        return alerting.receive(service, "prod", [alert])

    def tell_all(self) -> list[Standing]:
        """Tell all that waits, as if its time had come; what stands in the channel then."""
        for _ in range(60):
            with transaction(self.house.service.engine) as tx:
                earlier = "- interval '1 hour'"
                tx.execute(f"UPDATE chat_threads SET due_at = due_at {earlier}, shown_at = shown_at {earlier}")
                tx.execute(f"UPDATE chat_channels SET next_at = next_at {earlier}")
                waits = tx.execute("SELECT count(*) FROM chat_threads WHERE wanted > told AND ended_at IS NULL")
                if not waits.scalar_one():
                    break
            telling.tell_due(self.house.worker)
        return [message for message in self.workspace.seen(CHANNEL) if not message.thread_ts]


@pytest.fixture
def room(house, runbook):
    opted = {
        name: replace(connection, diagnosers=("responder", "alert"))
        for name, connection in house.service.connections.items()
    }
    house.service.connections.update(opted)
    app = create_slack(SlackConfig(TOKEN, "the signing secret", "http://127.0.0.1:9", rates=False))
    with serve(app) as url:
        house.worker = replace(house.worker, slack=Slack(TOKEN, base_url=f"{url}api/", timeout=5))
        yield Room(house, app.extensions["slack_workspace"])


def test_the_diagnosis_stands_in_the_channel_and_nobody_asked_for_it(room, stuck):
    (became,) = room.fire(1)
    room.house.do_all()
    (message,) = room.tell_all()
    told = str(message.blocks)
    assert "alert OrdersStuck" in told
    assert "<!channel>" not in told + message.text
    assert "1 alert, firing since" in told
    room.fire(1, "resolved")
    (message,) = room.tell_all()
    assert "1 alert, resolved " in str(message.blocks)
    with reading(room.house.service.engine) as tx:
        run = runs.get(tx, became.run_id)
        (proposal,) = proposals.of_run(tx, became.run_id)
    assert (str(run.state), run.requesters, proposal.requesters) == ("diagnosed", [], [])
    assert any("Nobody" in str(m.blocks) or "approve" in str(m.blocks) for m in room.workspace.seen(CHANNEL))


def test_held_alerts_are_one_message_that_counts_on_and_says_when_it_is_over(room):
    room.fire(1, budget=0)
    (first,) = room.tell_all()
    assert "1 alert without a diagnosis" in first.text
    for number in range(2, 9):
        room.fire(number, budget=0)
    (second,) = room.tell_all()
    assert second.ts == first.ts
    assert "8 alerts without a diagnosis" in second.text
    with transaction(room.house.service.engine) as tx:
        tx.execute("UPDATE alert_storms SET last_at = now() - interval '11 minutes'")
    alerting.end_storms(room.house.service)
    (last,) = room.tell_all()
    assert (last.ts, last.text.endswith("over")) == (first.ts, True)
