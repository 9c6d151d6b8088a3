"""Forms over the chat: within Slack's limits as its SDK and the stand-in have them, whatever a runbook declares."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from slack_sdk.models.views import View

from runbooks_app.chat import forms
from runbooks_app.chat.forms import Where
from runbooks_app.chat.mrkdwn import units
from runbooks_app.chat.views import RunbookTold
from runbooks_app.core.errors import InvalidInput
from runbooks_app.core.forms import Field, fields
from runbooks_app.core.runbook import Parameter, Type
from runbooks_app.main.demo.slack.limits import check_view

pytestmark = pytest.mark.chat

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=400) | st.sampled_from(
    ["", " ", "\x00", "<!channel>", "*", "🙂" * 90, "x" * 4_000, "a\nb"]
)
NAMES = st.from_regex(r"[a-zA-Z][a-zA-Z0-9_]{0,63}", fullmatch=True)
TYPES = st.sampled_from(
    [
        (Type("str"), "x"),
        (Type("int"), 5),
        (Type("float"), 1e-05),
        (Type("float"), 0.5),
        (Type("bool"), True),
        (Type("date"), "2026-01-31"),
        (Type("datetime"), "2026-01-31T03:12:00+00:00"),
        (Type("list", item=Type("int")), [1, 2]),
        (Type("connection", connection="postgres"), ""),
        (Type("literal", choices=("", "a", "b" * 9_000)), "a"),
        (Type("literal", choices=(1, 2)), 1),
        (Type("literal", choices=(True, False)), False),
        (Type("literal", choices=tuple(f"choice {n}" for n in range(150))), "choice 7"),
    ]
)
PARAMETERS = st.lists(
    st.builds(lambda name, kind, told: Parameter(name, *kind, help=told), NAMES, TYPES, TEXTS),
    max_size=12,
    unique_by=lambda parameter: parameter.name,
)
USABLE = {"orders-db": "postgres", "billing-db": "postgres", "prometheus": "http"}


def within(view: dict) -> None:
    """Neither the SDK's models nor the stand-in find anything wrong."""
    View(**view).validate_json()
    check_view(view)
    assert len(json.dumps(view)) < 250_000


@given(PARAMETERS, TEXTS, TEXTS)
def test_a_form_is_within_slacks_limits_whatever_a_runbook_declares(parameters, title, help_text):
    values = {parameter.name: help_text for parameter in parameters if parameter.type.kind == "str"}
    listed = fields(parameters, USABLE, values)
    within(forms.run_form("db-latency", title, listed, Where("C1", "1700000000.000100")))


@given(st.lists(st.tuples(NAMES, TEXTS), max_size=120), TEXTS)
def test_the_form_of_a_message_is_within_slacks_limits(runbooks, text):
    told = [RunbookTold(name, title) for name, title in runbooks]
    within(forms.ask_form(told, {"status": "What goes on here"}, text, Where("C1")))


@given(PARAMETERS)
def test_what_a_form_shows_at_first_reads_back_as_the_defaults(parameters):
    listed = fields(parameters, USABLE, {})
    view = forms.run_form("db-latency", "", listed, Where())
    states = {}
    for block in view["blocks"]:
        element = block.get("element", {})
        states[block.get("block_id", "")] = {"e": {
            "value": element.get("initial_value"), "selected_option": element.get("initial_option"),
            "selected_options": element.get("initial_options", []), "selected_date": element.get("initial_date"),
        }}  # fmt: skip
    found = forms.given(listed, {"state": {"values": states}})
    for field in listed:
        if field.control == "checkbox":
            assert found[field.name] is field.checked
        elif field.name in found:
            assert found[field.name] == field.value or not field.value.strip()


def test_options_are_told_apart_also_where_a_menu_cannot_hold_them():
    long = ("x" * 9_000, "x" * 9_001)
    (field,) = fields([Parameter("size", Type("literal", choices=long), long[0])], {}, {})
    view = forms.run_form("db-latency", "", [field], Where())
    options = next(block for block in view["blocks"] if block["type"] == "input")["element"]["options"]
    chosen = {"state": {"values": {"size": {"size": {"selected_option": {"value": options[1]["value"]}}}}}}
    assert forms.given([field], chosen) == {"size": long[1]}


@pytest.mark.parametrize("count", [95, 96])
def test_a_form_with_more_fields_than_slack_shows_is_on_its_page_alone(count):
    listed = [Field(f"p{n}", f"p{n}", "", "text") for n in range(count)]
    if count == 95:
        within(forms.run_form("db-latency", "", listed, Where()))
    else:
        with pytest.raises(InvalidInput, match="on its page"):
            forms.run_form("db-latency", "", listed, Where())


def test_a_form_that_nobody_could_fill_in_is_not_opened():
    listed = fields([Parameter("database", Type("connection", connection="postgres"), "")], {}, {})
    with pytest.raises(InvalidInput, match="that you may use, and there is none"):
        forms.run_form("db-latency", "", listed, Where())


@pytest.mark.parametrize(
    "view",
    [{}, {"state": 5}, {"state": {"values": []}}, {"state": {"values": {"n": 5}}}, {"state": {"values": {"n": {}}}},
     {"state": {"values": {"n": {"n": []}}}}, {"state": {"values": {"n": {"n": {"value": 5}}}}}],
)  # fmt: skip
def test_a_form_that_was_sent_off_with_nonsense_reads_as_nothing(view):
    listed = [Field("n", "n", "", "number", "10")]
    assert forms.given(listed, view) == {}
    assert forms.chosen(view) == ("", "")


@pytest.mark.parametrize("metadata", [None, 5, "", "{", "[]", "null", "[" * 9_000, '{"channel": 5}'])
def test_where_a_form_was_asked_for_is_nowhere_if_it_cannot_be_read(metadata):
    assert Where.read({"private_metadata": metadata}) == Where()
    assert Where.read({"private_metadata": Where("C1", "1.2", "x").written()}) == Where("C1", "1.2", "x")


@given(TEXTS)
def test_the_text_of_a_message_goes_into_a_note_as_it_is_read(text):
    view = forms.ask_form([], {"note": "Note this"}, text, Where())
    element = view["blocks"][1]["element"]
    assert units(element.get("initial_value", "")) <= 3_000
