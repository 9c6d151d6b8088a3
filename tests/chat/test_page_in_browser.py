"""The channel page in a real browser: type, watch it arrive, press, open."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import chromium
import pytest
from whole_stage import until

from runbooks_app.chat.messages import run_message
from runbooks_app.chat.views import Message, RunTold
from runbooks_app.core.run import RunState

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Browser

pytestmark = pytest.mark.journey


def plain(text):
    return {"type": "plain_text", "text": text}


FORM = {
    "type": "modal", "title": plain("Run a runbook"), "submit": plain("Run"), "close": plain("Cancel"),
    "blocks": [
        {
            "type": "input", "block_id": "database", "label": plain("Database"),
            "element": {
                "type": "static_select", "action_id": "database",
                "options": [{"text": plain("Orders"), "value": "orders"}],
            },
        },
        {
            "type": "input", "block_id": "limit", "label": plain("Rows"), "optional": True,
            "element": {"type": "number_input", "action_id": "limit", "is_decimal_allowed": False},
        },
    ],
}  # fmt: skip


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium.started() as running:
        yield running


@pytest.mark.parametrize("width", [1200, 390])
def test_a_person_types_watches_presses_and_opens(browser, slack, stand_in, width):
    stand_in.service.answer = ({"text": "on its way"}, 200)
    context = browser.new_context(viewport={"width": width, "height": 800})
    page = context.new_page()
    complaints: list[str] = []
    page.on("console", lambda said: complaints.append(said.text) if said.type in {"error", "warning"} else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.goto(stand_in.url)

    page.get_by_label("Message or command").fill("/runbook db-latency database=orders-db")
    page.keyboard.press("Enter")
    page.get_by_text("on its way").wait_for()
    assert stand_in.service.form()["text"] == "db-latency database=orders-db"

    run = RunTold("r1", "db-latency", f"{stand_in.url}static/slack.svg", RunState.DIAGNOSING, "Ana")
    posted = slack.post("incidents", run_message(run))
    page.get_by_text("diagnosing").wait_for()
    page.get_by_role("button", name="Cancel").click()
    with context.expect_page() as opened:
        page.get_by_role("link", name="Open the run").click()
    assert opened.value.url == run.url

    slack.update(posted, run_message(replace(run, state=RunState.CANCELLED, cancelled_by="Ana")))
    page.get_by_text("cancelled by Ana").wait_for()
    assert page.get_by_role("button", name="Cancel").count() == 0
    assert not page.evaluate("document.documentElement.scrollWidth > innerWidth")
    assert complaints == []
    page.select_option("select[name=as]", "U0BEN")
    page.wait_for_url("**as=U0BEN**")
    assert page.get_by_text("on its way").count() == 0
    context.close()
    pressed = [b.decode() for path, b, _ in stand_in.service.requests if path == "interactivity"]
    assert any("cancel_run" in body for body in pressed)
    assert any("open_run" in body for body in pressed)


@pytest.mark.parametrize("width", [1200, 390])
def test_a_person_fills_in_a_form_is_told_what_is_wrong_and_replies_in_a_thread(browser, slack, stand_in, width):
    context = browser.new_context(viewport={"width": width, "height": 800})
    page = context.new_page()
    complaints: list[str] = []
    page.on("console", lambda said: complaints.append(said.text) if said.type in {"error", "warning"} else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.goto(stand_in.url)
    page.get_by_label("Message or command").fill("/runbook db-latency ?")
    with page.expect_response("**/say"):
        page.keyboard.press("Enter")
    slack.open_view(stand_in.service.form()["trigger_id"], FORM)
    page.get_by_role("dialog", name="Run a runbook").wait_for()
    stand_in.service.answer = ({"response_action": "errors", "errors": {"limit": "At most 100."}}, 200)
    page.get_by_label("Database").select_option("orders")
    page.get_by_label("Rows").fill("500")
    page.get_by_role("button", name="Run", exact=True).click()
    page.get_by_text("At most 100.").wait_for()
    assert page.get_by_label("Database").input_value() == "orders"
    assert page.get_by_label("Rows").input_value() == "500"
    assert not page.evaluate("document.documentElement.scrollWidth > innerWidth")
    stand_in.service.answer = ("", 200)
    page.get_by_label("Rows").fill("5")
    page.get_by_role("button", name="Run", exact=True).click()
    page.get_by_role("dialog").wait_for(state="detached")

    posted = slack.post("incidents", Message("a run", ()))
    page.locator(f"[id='o{posted.ts}'] summary").click()
    page.locator(f"[id='o{posted.ts}']").get_by_label("Reply in thread").fill("@runbooks status")
    page.keyboard.press("Enter")
    page.get_by_text("1 reply").wait_for()
    until("the reply to be delivered", lambda: stand_in.service.requests[-1][0] == "events")
    assert not page.evaluate("document.documentElement.scrollWidth > innerWidth")
    assert complaints == []
    context.close()
