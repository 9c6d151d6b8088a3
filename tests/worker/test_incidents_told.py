"""What is told of incidents in a real Slack's place: where, in which order, and what stays out of it."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest
from notebooks import cell, write
from worker.conftest import ANA, WEB, House

from runbooks_app.actions import asking, incidents, running
from runbooks_app.actions.story import incident_story
from runbooks_app.chat.client import Slack
from runbooks_app.core.people import Actor
from runbooks_app.documents.postmortem import as_markdown
from runbooks_app.main.demo.slack.app import SlackConfig, create_slack, serve
from runbooks_app.main.demo.slack.workspace import Standing, Workspace
from runbooks_app.store.database import reading, transaction
from runbooks_app.worker import telling

pytestmark = pytest.mark.chat

TOKEN = "xoxb-a-token-that-no-log-may-hold"
HOME, OTHER = "C0INCIDENTS", "C0ORDERS"
ALERT = Actor("alert", "alert:prod", "Alertmanager prod")
SECRET = "jane@customer.example"
ROWS = f"""
kit.finding("critical", "Rows differ", kit.postgres("orders-db").execute("SELECT '{SECRET}' AS email"))
print("{SECRET}")
"""


@dataclass
class Room:
    """Channels, and the worker that tells in them."""

    house: House
    workspace: Workspace

    def tell_all(self) -> None:
        """Tell until nothing is due, and let a second pass in between."""
        for _ in range(60):
            with transaction(self.house.service.engine) as tx:
                by = "- interval '1 second'"
                tx.execute(
                    f"UPDATE chat_threads SET due_at = due_at {by}, shown_at = shown_at {by}, turn_at = turn_at {by}"
                )
                tx.execute(f"UPDATE chat_channels SET next_at = next_at {by}")
                waits = tx.execute("SELECT count(*) FROM chat_threads WHERE wanted > told AND ended_at IS NULL")
                if not waits.scalar_one():
                    return
            telling.tell_due(self.house.worker)
        raise AssertionError("something is never told")

    def standing(self, channel: str = HOME) -> list[Standing]:
        return self.workspace.seen(channel)

    def tops(self, channel: str = HOME) -> list[str]:
        """What stands in the channel itself."""
        return [str(message.blocks) for message in self.standing(channel) if not message.thread_ts]

    def said(self, channel: str = HOME) -> str:
        return "\n".join(str(message.blocks) + message.text for message in self.standing(channel))

    def files(self, channel: str = HOME) -> dict[str, str]:
        uploads = [self.workspace.uploads[file] for message in self.standing(channel) for file in message.files]
        return {upload.name: upload.content.decode() for upload in uploads}


@pytest.fixture
def room(house, runbook):
    app = create_slack(SlackConfig(TOKEN, "the signing secret", "http://127.0.0.1:9", rates=False))
    with serve(app) as url:
        house.worker = replace(house.worker, slack=Slack(TOKEN, base_url=f"{url}api/", timeout=5))
        yield Room(house, app.extensions["slack_workspace"])


def opened(room, title="Checkout is slow", channel=HOME):
    return incidents.open_incident(room.house.service, ANA, WEB, title, channel)


def ran(room, channel=OTHER, name="stuck-orders", incident_id=None):
    run = running.request_run(room.house.service, ANA, WEB, name, {}, channel=channel, incident_id=incident_id)
    room.house.do_all()
    return run


def test_an_incident_is_one_message_that_is_changed_and_its_end_stands_in_its_thread(room):
    incident = opened(room)
    room.tell_all()
    (message,) = room.standing()
    assert "Checkout is slow" in str(message.blocks)
    assert "open, opened by Ana" in str(message.blocks)
    assert "close_incident" in str(message.blocks)
    incidents.close_incident(room.house.service, ANA, WEB, incident.id, "A migration <!channel> held a lock")
    room.tell_all()
    first, reply = room.standing()
    assert first.ts == message.ts
    assert "closed after" in str(first.blocks)
    assert "close_incident" not in str(first.blocks)
    assert reply.thread_ts == first.ts
    assert "*Cause:* A migration" in str(reply.blocks)
    assert "<!channel>" not in str(reply.blocks)


def test_a_run_that_is_attached_stands_once_in_the_other_channel_and_names_its_incident_in_both(room):
    run = ran(room)
    incident = opened(room)
    room.tell_all()
    assert len(room.tops(OTHER)) == 1
    for _ in range(2):
        incidents.attach_run(room.house.service, ANA, WEB, run.id, incident.id)
        room.tell_all()
    assert len(room.tops(HOME)) == 2
    for channel in (HOME, OTHER):
        assert f"/incidents/{incident.id}|Checkout is slow" in room.said(channel)


def test_an_incident_that_is_worked_elsewhere_too_is_told_there_with_its_latest_runs(room):
    incident = opened(room)
    for _ in range(6):
        ran(room, channel=HOME, incident_id=incident.id)
    room.tell_all()
    incidents.attach_channel(room.house.service, ANA, WEB, incident.id, OTHER)
    incidents.attach_channel(room.house.service, ANA, WEB, incident.id, OTHER)
    room.tell_all()
    tops = room.tops(OTHER)
    assert len(tops) == 1 + incidents.MOST_TOLD
    assert "opened by Ana" in tops[0]


def test_an_alerts_incident_that_became_a_part_says_so_where_it_was_told(room):
    with transaction(room.house.service.engine) as tx:
        alerted = incidents.open_for_alert(tx, ALERT, "DatabaseLatencyHigh", OTHER)
    run = ran(room, incident_id=alerted.id)
    incidents.attach_channel(room.house.service, ANA, WEB, alerted.id, HOME)
    room.tell_all()
    assert "opened by Alertmanager prod" in room.tops(HOME)[0]
    incidents.attach_run(room.house.service, ANA, WEB, run.id, opened(room).id)
    room.tell_all()
    assert "is part of" in room.tops(HOME)[0]


def attaches(room: Room) -> bool:
    return "attach_run" in room.said(OTHER)


def test_an_alerts_run_offers_to_attach_it_once_people_opened_an_incident_and_tells_nobody_its_title(room):
    with transaction(room.house.service.engine) as tx:
        alerted = incidents.open_for_alert(tx, ALERT, "DatabaseLatencyHigh", OTHER)
        incidents.open_for_alert(tx, ALERT, "Another alert", OTHER)
    run = ran(room, incident_id=alerted.id)
    room.tell_all()
    assert not attaches(room)
    titles = [opened(room, f"Secret merger {n}") for n in range(3)]
    room.tell_all()
    assert attaches(room)
    assert "Secret merger" not in room.said(OTHER)
    incidents.attach_run(room.house.service, ANA, WEB, run.id, titles[0].id)
    room.tell_all()
    assert not attaches(room)


def test_a_persons_run_offers_no_incident(room):
    opened(room, channel=HOME)
    ran(room)
    room.tell_all()
    assert not attaches(room)


def test_the_postmortem_goes_as_a_file_into_the_channel_that_wanted_it(room):
    incident = opened(room)
    ran(room, channel=HOME, incident_id=incident.id)
    incidents.add_note(room.house.service, ANA, WEB, incident.id, "Rolled back 4.2")
    incidents.attach_channel(room.house.service, ANA, WEB, incident.id, OTHER)
    incidents.close_incident(room.house.service, ANA, WEB, incident.id, "A full disk", postmortem_to=HOME)
    room.tell_all()
    (name,) = room.files()
    assert name == f"postmortem-{incident.id}.md"
    document = room.files()[name]
    for told in ("Rolled back 4.2", "A full disk", "orders are stuck", "SELECT"):
        assert told in document, told
    assert room.files(OTHER) == {}


@pytest.fixture
def restricted(house, library_folder):
    write(library_folder, "literal", cell("rows", ROWS, "diagnostic"), connections={"orders-db": "postgres"})
    house.service.connections["orders-db"] = replace(house.service.connections["orders-db"], data_class="restricted")
    return "literal"


def test_what_a_restricted_connection_showed_goes_into_no_other_channel_and_into_no_postmortem_there(room, restricted):
    run = ran(room, name=restricted)
    incident = opened(room)
    incidents.attach_run(room.house.service, ANA, WEB, run.id, incident.id)
    incidents.close_incident(room.house.service, ANA, WEB, incident.id, "Odd rows", postmortem_to=HOME)
    room.tell_all()
    document = room.files()[f"postmortem-{incident.id}.md"]
    assert "Rows differ" in document
    for place in (document, room.said(HOME), room.said(OTHER)):
        assert SECRET not in place
    with reading(room.house.service.engine) as tx:
        assert SECRET in as_markdown(incident_story(tx, room.house.service, incident.id))


@pytest.mark.pages
def test_of_an_ask_that_reached_a_restricted_connection_a_chat_is_told_that_it_was_asked_and_concluded(
    room, restricted
):
    house, incident = room.house, opened(room)
    asked = asking.ask_of_incident(house.service, ANA, WEB, incident.id, 'kit.postgres("orders-db")', "Was it Eve")
    house.do_all()
    asking.conclude(house.service, ANA, WEB, asked.id, "It was Mallory")
    incidents.close_incident(house.service, ANA, WEB, incident.id, "Odd rows", postmortem_to=HOME)
    room.tell_all()
    document = room.files()[f"postmortem-{incident.id}.md"]
    assert document.count(f"/runs/{asked.id}") == 3
    assert "Concluded" in document
    for place in (document, room.said(HOME), room.said(OTHER)):
        assert "Eve" not in place
        assert "Mallory" not in place
    with reading(house.service.engine) as tx:
        whole = as_markdown(incident_story(tx, house.service, incident.id))
    assert "Was it Eve" in whole
    assert "It was Mallory" in whole
