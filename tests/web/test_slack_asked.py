"""What Slack sends, read into one shape: whatever it is, it is read, ignored or refused in words."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runbooks_app.chat.views import Message
from runbooks_app.core.errors import InvalidInput, Refused
from runbooks_app.settings import Settings
from runbooks_app.web.slack.asked import MAX_TEXT, Answer, Asked, Kind, from_command, from_event, from_interaction

pytestmark = pytest.mark.chat

TEAM = "T0RUNBOOKS"
SETTINGS = Settings(slack_team=TEAM)
HOW = {"settings": SETTINGS, "copy": "a copy", "at": 1.0}
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=30)
    | st.sampled_from([TEAM, "U1", "C1"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


def shaped(**fields: object) -> st.SearchStrategy:
    """Mappings with some of these fields, each as it should be or anything at all."""
    return st.fixed_dictionaries({}, optional={name: JSON | st.just(good) for name, good in fields.items()})


USER = shaped(id="U1", username="ana", team_id=TEAM)
VIEW = shaped(id="V1", callback_id="run_form", state={"values": {}}, private_metadata="{}", blocks=[])
INTERACTIONS = st.builds(
    lambda base, user, view: {**base, "user": user, "view": view, "team": {"id": TEAM}},
    shaped(type="view_submission", channel={"id": "C1"}, message={"ts": "1.2"}, actions=[{"action_id": "x"}]),
    USER | JSON,
    VIEW | JSON,
)
EVENTS = st.builds(
    lambda base, event: {**base, "team_id": TEAM, "event": event},
    shaped(event_id="Ev1", authorizations=[{"user_id": "U0BOT", "is_bot": True}]),
    shaped(type="app_mention", user="U1", channel="C1", text="<@U0BOT> status", item={"channel": "C1"}, ts="1.2"),
)


@pytest.mark.parametrize(("read", "some"), [(from_interaction, INTERACTIONS), (from_event, EVENTS), (from_event, JSON),
                                            (from_interaction, JSON)])  # fmt: skip
def test_anything_at_all_is_read_ignored_or_refused(read, some):
    @given(some)
    def holds(told):
        try:
            asked = read(told, **HOW)
        except (InvalidInput, Refused):
            return
        if asked is not None:
            sound(asked)

    holds()


@given(shaped(team_id=TEAM, user_id="U1", user_name="ana", channel_id="C1", text="status", trigger_id="1.2"))
def test_any_form_is_a_command_or_refused(form):
    try:
        sound(from_command(form, **HOW))
    except Refused:
        return


def sound(asked: Asked) -> None:
    """All its texts are texts of a bounded length, and what names somebody or something is an id."""
    for text in (asked.text, asked.name, asked.value, asked.thread_ts, asked.response_url, asked.trigger_id):
        assert isinstance(text, str)
        assert len(text) <= MAX_TEXT
        assert "\0" not in text
        text.encode()
    assert asked.user.isalnum()
    assert not asked.channel or asked.channel.isalnum()
    assert asked.team == TEAM
    assert asked.delivery.startswith("slack:")
    assert len(asked.delivery) == len("slack:") + 64


def test_a_delivery_is_known_by_what_slack_names_it_by_not_by_its_signature():
    event = {"team_id": TEAM, "event_id": "Ev1", "event": {"type": "app_mention", "user": "U1", "text": "x"}}
    form = {"team_id": TEAM, "user_id": "U1", "trigger_id": "1.2.3"}
    sent_off = {"type": "view_submission", "team": {"id": TEAM}, "user": {"id": "U1"}, "view": {"id": "V1"}}
    for read, told in ((from_event, event), (from_command, form), (from_interaction, sent_off)):
        keys = {read(told, settings=SETTINGS, copy=copy, at=1.0).delivery for copy in ("one", "another")}
        assert len(keys) == 1
    nameless = {"team_id": TEAM, "user_id": "U1"}
    assert from_command(nameless, **HOW).delivery != from_command(nameless, **{**HOW, "copy": "another"}).delivery


def test_neither_what_was_typed_nor_what_opens_something_is_in_its_representation():
    form = {
        "team_id": TEAM, "user_id": "U1", "text": "db-latency password=hunter2", "trigger_id": "1.2.secret",
        "response_url": "https://hooks.slack.com/commands/secret",
    }  # fmt: skip
    shown = repr(from_command(form, **HOW))
    assert "hunter2" not in shown
    assert "secret" not in shown
    assert str(Kind.COMMAND) in shown


def test_an_answer_has_one_body_for_both_ways_in():
    assert Answer().body() is None
    assert Answer(Message("hm")).body() == {"response_type": "ephemeral", "text": "hm", "blocks": []}
    assert Answer(errors={"limit": "too many"}).body() == {
        "response_action": "errors", "errors": {"limit": "too many"},
    }  # fmt: skip
    assert Answer(view={"type": "modal"}).body() == {"response_action": "update", "view": {"type": "modal"}}


def test_the_bots_own_mention_is_found_among_others():
    told = {
        "team_id": TEAM, "authorizations": [{"user_id": "U9", "is_bot": True}],
        "event": {"type": "app_mention", "user": "U1", "text": "<@U2> asked <@U9> note <@U2> did it"},
    }  # fmt: skip
    assert from_event(told, **HOW).text == "note <@U2> did it"
