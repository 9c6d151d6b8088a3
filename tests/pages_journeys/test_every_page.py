"""Every page in every state, at a desk and on a phone, light and dark: axe finds nothing, nothing scrolls sideways.

With RUNBOOKS_TEST_PICTURES=FOLDER each is also kept as a PNG, to be looked at.
"""

from __future__ import annotations

import os
from itertools import product
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from journeys.windows import fits
from pages_journeys import axe_core, states
from pages_journeys.conftest import DESK, PHONE

PICTURES = os.environ.get("RUNBOOKS_TEST_PICTURES")
NO_PAGES = ("/waiting", "/events", "/document", "/image", "/whole", "/trail")
"""How addresses end that show no page by themselves."""

PAGES = {
    states.new_installation: {
        "empty_now": "/",
        "empty_incidents": "/incidents",
        "empty_runbook": "/runbooks/<name>",
        "empty_break_glass": "/break-glass",
        "empty_audit": "/audit",
    },
    states.library: {
        "search": "/",
        "search_without_result": "/",
        "broken_runbook": "/runbooks/<name>",
        "now": "/",
        "now_of_viewer": "/",
        "now_of_approver": "/",
        "runbook": "/runbooks/<name>",
        "runbook_of_viewer": "/runbooks/<name>",
        "runbook_refused": "/runbooks/<name>",
        "connections": "/connections",
        "propose": "/runs/<run_id>/propose/<gate>",
        "propose_refused": "/runs/<run_id>/propose/<gate>",
    },
    states.some_runs: {
        **dict.fromkeys(
            ("run_queued", "run_going", "run_failed", "run_cancelled", "run_in_part", "run"), "/runs/<run_id>"
        ),
        "whole_output": "/runs/<run_id>/cells/<int:attempt_id>/<cell_id>/full",
        "one_output": "/runs/<run_id>/cells/<int:attempt_id>/<cell_id>/<int:n>/full",
    },
    states.some_proposals: {
        **dict.fromkeys(
            (
                *("proposal_waits", "proposal_approved", "proposal_executing", "proposal_applied", "proposal_failed"),
                *("proposal_unknown", "proposal_stale", "proposal_denied", "proposal_expired", "proposal_withdrawn"),
                *("proposal_nobodys", "proposal_by_hand", "proposal_successor", "proposal_of_requester"),
                "proposal_break_glass",
            ),
            "/proposals/<proposal_id>",
        ),
        "proposal_refused": "/proposals/<proposal_id>/decision",
        "deciding_several": "/incidents/<int:incident_id>/decide",
        "deciding_refused": "/incidents/<int:incident_id>/decide",
    },
    states.some_incidents: {
        "incidents": "/incidents",
        "incident": "/incidents/<int:incident_id>",
        "incident_refused": "/incidents/<int:incident_id>/close",
        "closed": "/incidents/<int:incident_id>",
        "note": "/incidents/<int:incident_id>/notes/<int:note_id>",
        "postmortem": "/incidents/<int:incident_id>/postmortem",
        "postmortem_in_part": "/incidents/<int:incident_id>/postmortem/<name>",
        "ask_of_run": "/runs/<run_id>/ask",
        "ask_of_incident": "/incidents/<int:incident_id>/ask",
    },
    states.asking: {
        "ask": "/runs/<run_id>/ask",
        "ask_refused": "/runs/<run_id>/ask",
        "ask_going": "/runs/<run_id>",
        "ask_concluded": "/runs/<run_id>",
        "ask_again": "/runs/<run_id>/ask",
        "asks": "/incidents/<int:incident_id>/ask",
        "ask_timeline": "/incidents/<int:incident_id>",
    },
    states.trail: {
        "proposal_glass_broken": "/proposals/<proposal_id>",
        "audit": "/audit",
        "entry": "/audit/<int:seq>",
        "break_glass": "/break-glass",
    },
    states.others: {
        "health": "/health",
        "api": "/api",
        "styleguide": "/styleguide",
        "link": "/link/<code>",
        "linked": "/link/<code>",
        "signed_out": "/signed-out",
        "missing": "/runs/<run_id>",
        "refused": "/audit",
    },
}
"""The states that are looked at, in this order, by the scenes that make them; and which page each is a state of."""


@pytest.fixture(scope="module")
def scenes():
    """Scenes that were made, by who makes them."""
    return {}


def wrong_with(page, name, axe) -> list[str]:
    """What is wrong with a page in one of the four looks; each is pictured."""
    wrong = []
    page.emulate_media(reduced_motion="reduce")
    for (width, shape), scheme in product((("desk", DESK), ("phone", PHONE)), ("light", "dark")):
        page.set_viewport_size(shape)
        page.emulate_media(color_scheme=scheme)
        if PICTURES:
            page.screenshot(path=Path(PICTURES) / f"{name}-{width}-{scheme}.png", full_page=True)
        if not fits(page):
            wrong.append(f"{width}: it scrolls sideways")
        wrong += [f"{width}, {scheme}: {found}" for found in axe_core.violations(page, axe)]
    return wrong


@pytest.mark.parametrize(
    ("scene", "name"), [pytest.param(scene, name, id=name) for scene, pages in PAGES.items() for name in pages]
)
def test_a_page_is_for_everybody_in_every_look(site, visit, scenes, axe, scene, name):
    if scene not in scenes:
        scenes[scene] = scene(site)
    seen, rule = scenes[scene][name], PAGES[scene][name]
    page = visit(seen.person)
    assert page.goto(site.address + seen.path).status == seen.status
    seen.steps(page)
    shown = site.app.url_map.bind("").match(urlsplit(page.url).path, method=seen.method, return_rule=True)[0]
    assert shown.rule == rule
    assert wrong_with(page, name, axe) == []


def test_no_state_and_no_page_is_left_out(site, scenes):
    """A new page takes its place in `PAGES`, by the scene that makes it."""
    assert {scene: set(made) for scene, made in scenes.items()} == {scene: set(PAGES[scene]) for scene in scenes}
    pages = {
        rule.rule
        for rule in site.app.url_map.iter_rules()
        if rule.endpoint.startswith("pages.") and "GET" in rule.methods and not rule.rule.endswith(NO_PAGES)
    }
    assert pages - {rule for looked_at in PAGES.values() for rule in looked_at.values()} == set()
