"""Messages that are pinned in Slack: whose go onto which incident's timeline, once, and as people read them."""

from __future__ import annotations

import pytest

from runbooks_app.store import incidents
from runbooks_app.store.database import reading, transaction

pytestmark = pytest.mark.chat


def stands(service, about: str, channel: str, ts: str) -> None:
    """A message of ours stands in the chat."""
    with transaction(service.engine) as tx:
        tx.execute(
            "INSERT INTO chat_messages (key, channel, ts, digest, about) VALUES (:about, :channel, :ts, '', :about)",
            about=about,
            channel=channel,
            ts=ts,
        )


def pin(slack, ts: str, text: str = "Rolled back 4.2", user: str = "", **message):
    message = {
        "type": "message", "user": user or slack.user, "text": text, "ts": ts,
        "permalink": f"https://acme.slack.com/archives/{slack.channel}/p{ts.replace('.', '')}", **message,
    }  # fmt: skip
    item = {"type": "message", "channel": slack.channel, "message": message}
    return slack.event("pin_added", channel_id=slack.channel, item=item)


def test_a_pinned_message_goes_onto_the_timeline_once(slack, linked, here, service):
    anna = linked("responder")
    slack.command("incident One")
    (one,) = here()
    text = "<@U0BEN> rolled &lt;4.2&gt; back, see <https://ci.example/7|build 7> in <#C1|deploys> <!here>"
    for _ in range(2):
        assert pin(slack, "1700000400.000100", text).status_code == 200
    with reading(service.engine) as tx:
        (note,) = incidents.notes(tx, one.id)
    assert note.text == "@U0BEN rolled <4.2> back, see build 7 (https://ci.example/7) in #deploys @here"
    assert (note.name, note.author) == (anna.name, anna.name)
    assert note.source == f"{slack.channel}:1700000400.000100"
    assert note.link.startswith("https://acme.slack.com/archives/")


def test_what_is_pinned_in_a_thread_belongs_to_what_the_thread_tells_of(slack, linked, here, service):
    linked("responder")
    for title in ("One", "Two"):
        slack.command(f"incident {title}")
    one = here()[1]
    stands(service, f"incident:{one.id}", slack.channel, "1700000500.000100")
    pin(slack, "1700000501.000100", "in the thread", thread_ts="1700000500.000100")
    with reading(service.engine) as tx:
        assert [note.text for note in incidents.notes(tx, one.id)] == ["in the thread"]


@pytest.mark.parametrize(
    "permalink",
    ["javascript:alert(1)", "https://evil.example/x", "https://evil.example/.slack.com", "//acme.slack.com", 7],
)
def test_the_address_of_a_pinned_message_is_slacks_own_or_none(slack, linked, here, service, permalink):
    linked("responder")
    slack.command("incident One")
    pin(slack, "1700000600.000100", permalink=permalink)
    with reading(service.engine) as tx:
        assert [note.link for note in incidents.notes(tx, here()[0].id)] == [""]


def test_what_strangers_pin_and_what_is_no_message_is_passed_over(slack, linked, here, service):
    linked("responder")
    slack.command("incident One")
    (one,) = here()
    slack.event("pin_added", channel_id=slack.channel, item={"type": "file", "file_id": "F1"})
    pin(slack, "not-a-time")
    theirs = {"type": "message", "channel": slack.channel, "message": {"ts": "1700000700.000100", "text": "theirs"}}
    slack.event("pin_added", channel_id=slack.channel, item=theirs, user_team="T0OTHER")
    slack.user = "U0NOBODY"
    pin(slack, "1700000700.000100")
    with reading(service.engine) as tx:
        assert incidents.notes(tx, one.id) == []


def test_a_pin_where_no_incident_is_open_is_passed_over(slack, linked, held):
    linked("responder")
    before = held()
    assert pin(slack, "1700000800.000100").status_code == 200
    assert held().tables["notes"] == before.tables["notes"]


@pytest.mark.parametrize("roles", [(), ("viewer",), ("auditor",)])
def test_who_may_not_note_pins_nothing(slack, linked, held, service, here, roles):
    linked("responder")
    slack.command("incident One")
    assert len(here()) == 1
    slack.user += "VERA"
    linked(*roles)
    before = held()
    pin(slack, "1700000300.000100")
    assert held().tables["notes"] == before.tables["notes"]
