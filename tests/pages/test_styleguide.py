"""The style guide: every component in every state, in a demo alone."""

from __future__ import annotations

import re
from collections import Counter

import pytest

from runbooks_app.core.proposal import ProposalState
from runbooks_app.core.run import CellState, RunState
from runbooks_app.web.pages import words
from runbooks_app.web.pages.styleguide import tokens

pytestmark = pytest.mark.pages


def test_it_is_not_there_unless_the_setting_says_so(anna):
    page = anna.get("/styleguide")
    assert (page.status, "There is no style guide here" in page.text) == (404, True)
    assert "/styleguide" not in anna.get("/connections").html


class TestWhereItIsServed:
    @pytest.fixture
    def settings(self):
        return {"styleguide": "on"}

    def test_every_state_and_every_token_stands_on_it(self, anna):
        assert 'href="/styleguide"' in anna.get("/connections").html
        page = anna.get("/styleguide")
        shown = [words.run_state(state) for state in RunState]
        shown += [words.cell_state(state) for state in CellState]
        shown += [words.proposal_state(state) for state in ProposalState]
        missing = [one.word for one in shown if f"</span>{one.word}</span>" not in page.html]
        assert (page.status, missing) == (200, [])
        assert len(tokens()) >= 20
        assert [name for name, _ in tokens() if f'fill="var(--{name})"' not in page.html] == []

    def test_no_id_stands_on_it_twice_and_nothing_is_styled_within_it(self, anna):
        html = anna.get("/styleguide").html
        assert [name for name, count in Counter(re.findall(r' id="([^"]+)"', html)).items() if count > 1] == []
        assert " style=" not in html
        assert "<style" not in html
