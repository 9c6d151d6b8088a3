"""htmx acts on attributes: none of them, and no id that a page's script looks for, comes through from a notebook."""

from __future__ import annotations

import pytest

from runbooks_app.documents import markdown
from runbooks_app.documents.outputs import pieces
from runbooks_app.documents.pieces import Html

pytestmark = pytest.mark.pages

ACTING = (
    'hx-get="/logout"',
    'hx-post="/logout" hx-trigger="load"',
    'data-hx-post="/logout"',
    'hx-on:click="alert(1)"',
    'hx-sse:connect="/runs/x/events"',
    'hx-swap-oob="outerHTML:#proposal-decide"',
    'id="live"',
)


@pytest.mark.parametrize("attribute", ACTING)
def test_it_is_taken_out_of_html_and_is_text_in_markdown(attribute):
    given = f"<p {attribute}>seen</p>"
    (html,) = pieces([{"output_type": "display_data", "metadata": {}, "data": {"text/html": given}}])
    assert isinstance(html, Html)
    assert html.fragment == "<p>seen</p>"
    assert f"<p {attribute}" not in markdown.render(given)
    assert "&lt;p " in markdown.render(given)
