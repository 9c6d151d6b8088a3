"""What Slack does not take is told on pages: on the run's own, and on the first one for as long as it lasts."""

from __future__ import annotations

from datetime import timedelta

import pytest

from runbooks_app.actions.telling import tell, untold
from runbooks_app.store import chat
from runbooks_app.store.database import transaction

pytestmark = pytest.mark.chat

NOW = timedelta()
WHY = "Slack refused to post a message: is_archived. The channel is archived <b>for good</b>."


@pytest.fixture
def archived(story):
    """A run whose channel takes nothing any more."""
    run_id = story.request()
    with transaction(story.service.engine) as tx:
        tell(tx, f"run:{run_id}", channel="C0GONE")
    with transaction(story.service.engine) as tx:
        tx.execute(
            "UPDATE chat_threads SET due_at = now() - interval '1 year' WHERE about = :about", about=f"run:{run_id}"
        )
        thread = chat.claim(tx, "w1")
        chat.hold_back(tx, "C0GONE", NOW, gone=WHY)
        untold(tx, story.service, "w1", thread, WHY)
    return run_id


def test_a_run_that_could_not_be_told_says_so_on_its_page(archived, anna):
    page = anna.get(f"/runs/{archived}")
    assert "Slack was not told of this in C0GONE" in page.text
    assert "archived <b>for good</b>" in page.text
    assert "<b>for good" not in page.html


def test_the_first_page_tells_what_slack_does_not_take_until_it_does(archived, story, anna):
    assert "Channel C0GONE" in anna.get("/").text
    with transaction(story.service.engine) as tx:
        chat.hold_back(tx, chat.WORKSPACE, NOW, gone="Slack refused to post a message: token_revoked.")
    assert "token_revoked. What waits is told once that is mended." in anna.get("/").text
    with transaction(story.service.engine) as tx:
        chat.back(tx, chat.WORKSPACE, "C0GONE")
    assert "Slack is not told everything" not in anna.get("/").text
