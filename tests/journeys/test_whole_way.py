"""From a slow database to its postmortem: on call at a desk or on a phone, the approver on a phone."""

from __future__ import annotations

import json
import re

import nbformat
import psycopg
import pytest
from journeys.windows import DESKTOP, PHONE, STAY, fits, in_order, stayed
from playwright.sync_api import expect
from whole_stage import until


@pytest.fixture
def blocked(stage, story, traffic):
    """A migration holds a lock, and sessions pile up behind it; the process id of its session."""
    fault = stage.shop.inject("migration")
    pid = until("the session that holds the lock", story.blocker)
    until("sessions to wait for it", lambda: _waiting(stage, pid) >= 3)
    yield pid
    fault.stop()


def _waiting(stage, pid):
    with psycopg.connect(stage.shop.server.url(database="orders")) as session:
        query = "SELECT count(*) FROM pg_stat_activity WHERE %s = ANY (pg_blocking_pids(pid))"
        return session.execute(query, [pid]).fetchone()[0]


@pytest.mark.parametrize("width", [DESKTOP, PHONE])
def test_a_person_runs_watches_has_it_approved_sees_it_verified_and_exports(visitor, stage, story, blocked, width):
    ana, ben = visitor(width), visitor(PHONE)
    page = ana.page()
    ana.signs_in(page, "ana")
    _finds_the_runbook_by_keyboard(page)
    _is_told_what_is_wrong_with_the_form(page)
    proposal = _starts_it_and_watches(page)
    assert fits(page)

    phone = ben.page()
    ben.signs_in(phone, "ben", proposal)
    _reads(phone, blocked)
    assert story.blocker() == blocked, "nothing happens before the decision"
    phone.get_by_label("Reason").fill("ends the migration")
    ben.approves(phone, "ben")
    phone.get_by_text("Approved by Ben").wait_for()
    phone.evaluate(STAY)
    expect(phone.locator("#proposal-state")).to_contain_text("verified")
    expect(phone.locator("#proposal-state")).to_contain_text(re.compile("applied", re.IGNORECASE))
    expect(phone.locator("#proposal-decide")).to_contain_text("can no longer be decided")
    assert stayed(phone), "it was told without a reload"
    assert fits(phone)
    assert story.blocker() is None, "the lock is gone from pg_locks"

    expect(page.locator("#run-proposals")).to_contain_text("verified")
    assert stayed(page), "the run's page was told without a reload, too"
    incident = _takes_the_postmortem_along(page, blocked)
    _auditor_finds_it(visitor(width), incident)


def _finds_the_runbook_by_keyboard(page):
    page.keyboard.press("/")
    expect(page.locator("#search")).to_be_focused()
    page.keyboard.type("latency")
    expect(page.locator("#found li")).to_have_count(1)
    page.keyboard.press("Enter")
    page.wait_for_url("**/runbooks/db-latency")


def _is_told_what_is_wrong_with_the_form(page):
    page.get_by_label("slow after").fill("99")
    page.get_by_role("button", name="Start the diagnosis").click()
    page.get_by_text("It did not start").wait_for()
    for label in ("database", "slow after"):
        wrong = page.get_by_label(label)
        expect(wrong).to_have_attribute("aria-invalid", "true")
        assert page.locator(f"[id='{wrong.get_attribute('aria-describedby').split()[-1]}']").is_visible()
    expect(page.get_by_text("Choose one of orders-db")).to_be_visible()
    expect(page.get_by_label("slow after")).to_have_value("99")
    expect(page.get_by_label("database")).to_be_focused()
    assert fits(page)
    page.get_by_label("database").select_option("orders-db")
    page.get_by_label("slow after").fill("0.2")


def _starts_it_and_watches(page):
    page.get_by_role("button", name="Start the diagnosis").click()
    page.wait_for_url("**/runs/*")
    page.evaluate(STAY)
    findings = page.locator("#run-findings")
    expect(findings.locator(".finding.bad").first).to_be_visible()
    expect(findings).to_contain_text("deploy-migration")
    expect(page.locator("#run-head")).to_contain_text("diagnosed")
    expect(page.locator("#run-segments .cell img").first).to_be_visible()
    page.locator("#run-segments table.grid:visible").first.scroll_into_view_if_needed()
    expect(page.locator("#run-segments table.grid:visible").first).to_be_visible()
    beside = page.locator("#run-proposals a.button", has_text="Look and decide")
    proposal = beside.first.get_attribute("href")
    assert stayed(page), "it filled in without a reload"
    return proposal


def _reads(phone, pid):
    """The approval page on a phone: its parts in the order in which they are wanted, the whole of it in sight."""
    assert str(pid) in phone.locator("h1").inner_text()
    assert in_order(phone, "h1", "#where", "#inputs", "#evidence", "#code", "#asked", "#decide")
    assert fits(phone)
    expect(phone.locator("section[aria-labelledby=where]")).to_contain_text("orders_operator")
    expect(phone.locator("section[aria-labelledby=inputs]")).to_contain_text(str(pid))
    expect(phone.locator("section[aria-labelledby=evidence]")).to_contain_text("deploy-migration")
    expect(phone.locator("section[aria-labelledby=code]")).to_contain_text("pg_terminate_backend")
    expect(phone.locator("section[aria-labelledby=asked]")).to_contain_text("Ana")
    for button in ("Approve", "Deny"):
        box = phone.get_by_role("button", name=button).bounding_box()
        assert box["height"] >= 40, f"{button} is {box['height']} pixels high"


def _takes_the_postmortem_along(page, pid):
    page.locator("#run-head .crumbs a[href^='/incidents/']").click()
    page.wait_for_url("**/incidents/*")
    incident = page.url.rpartition("/")[2]
    assert fits(page)
    for button, kind in (("Notebook", "ipynb"), ("HTML", "html"), ("Markdown", "md")):
        with page.expect_download() as download:
            page.get_by_role("button", name=button, exact=True).click()
        assert download.value.suggested_filename.endswith(f".{kind}")
        text = download.value.path().read_text()
        assert f"session {pid}" in text.lower(), kind
        if kind == "ipynb":
            nbformat.validate(nbformat.from_dict(json.loads(text)))
    return incident


def _auditor_finds_it(otto, incident):
    page = otto.page()
    otto.signs_in(page, "otto", "/audit")
    page.get_by_label("Event", exact=True).select_option("postmortem.exported")
    page.get_by_role("button", name="Search").click()
    row = page.locator("tbody tr").first
    expect(row).to_contain_text("Ana")
    expect(row.locator(f"a[href='/incidents/{incident}']")).to_be_visible()
    assert fits(page)
    row.locator("a").first.click()
    expect(page.get_by_text("It is the SHA-256 of the envelope below.")).to_be_visible()
    expect(page.get_by_text("It follows from the entry before.")).to_be_visible()
    assert fits(page)
