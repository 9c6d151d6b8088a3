"""Icons of pages: each state's symbol has its file, and a page's icon is that of its title."""

from __future__ import annotations

import re

import pytest

from runbooks_app.core.proposal import ProposalState, Verification
from runbooks_app.core.run import RunState
from runbooks_app.web import pages
from runbooks_app.web.pages import words
from runbooks_app.web.pages.icons import ICONS, icon_file

pytestmark = pytest.mark.pages

STATIC = pages.Path(pages.__file__).parent.parent / "static"


def icon_of(page) -> str:
    """The file of a page's icon."""
    return re.search(r'<link rel="icon" id="icon" href="/static/([^?]+)\?v=', page.html)[1]


def test_every_state_that_a_title_begins_with_has_an_icon_of_its_own_shape():
    shown = [words.run_state(state, in_part) for state in RunState for in_part in (True, False)]
    shown += [words.proposal_state(state, over) for state in ProposalState for over in (None, *Verification)]
    assert {one.symbol for one in shown} <= set(ICONS)
    drawn = {name: re.sub(r"#[0-9a-f]{3,6}", "", (STATIC / f"icons/{name}.svg").read_text()) for name in ICONS.values()}
    assert len(set(drawn.values())) == len(drawn), "colour alone would tell two of them apart"


def test_there_is_no_icon_that_nothing_shows():
    assert {file.stem for file in (STATIC / "icons").iterdir()} == set(ICONS.values())


def test_a_title_without_a_state_has_the_icon_of_the_service():
    assert icon_file("Audit trail — Runbooks") == icon_file("") == "icon.svg"


def test_a_page_has_the_icon_of_its_title(story, anna, dev):
    run_id, proposal_id = story.diagnosed()
    assert dev.get(f"/proposals/{proposal_id}").title.startswith("◇")
    assert icon_of(dev.get(f"/proposals/{proposal_id}")) == "icons/waits.svg"
    assert icon_of(anna.get("/connections")) == "icon.svg"
    queued = story.request()
    page = anna.get(f"/runs/{queued}")
    assert icon_of(page) == "icons/queued.svg"
    assert re.search(r'id="run-head"[^>]* data-icon="/static/icons/queued\.svg\?v=', page.html), (
        "live pages bring it along"
    )
    assert icon_of(anna.get(f"/runs/{run_id}")) == "icons/waits.svg"
