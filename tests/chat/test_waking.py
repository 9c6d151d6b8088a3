"""What somebody who is woken reads: within Slack's limits, by the SDK's own models, whatever the texts are."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from slack_sdk.models.blocks import Block

from runbooks_app.chat.views import ProposalTold
from runbooks_app.chat.waking import offer_message, waking_message
from runbooks_app.core.proposal import ProposalState

pytestmark = pytest.mark.chat

TOLD = ProposalTold(
    "p1",
    "db-latency",
    "End session 4711 on orders-db",
    "https://r.example/proposals/p1",
    ProposalState.PROPOSED,
    reason="it blocks 37 others",
    approvers=(("database",),),
    expires_at=datetime(2026, 3, 1, 3, 42, tzinfo=UTC),
)


def text(message) -> str:
    return message.text + str(message.blocks)


def test_it_says_what_waits_why_until_when_and_where_to_decide():
    told = text(waking_message(TOLD))
    for part in ("🔔", "End session 4711", "blocks 37 others", "Takes 1 person", TOLD.url):
        assert part in told


def test_break_glass_is_offered_with_what_it_means_and_the_way_there():
    told = text(offer_message(TOLD))
    for part in ("Nobody has decided this yet", "on your word alone", f"{TOLD.url}#glass-reason"):
        assert part in told


@pytest.mark.parametrize("state", [state for state in ProposalState if state is not ProposalState.PROPOSED])
@pytest.mark.parametrize("made", [waking_message, offer_message])
def test_once_it_is_decided_nothing_asks_for_anybody_any_more(made, state):
    told = text(made(replace(TOLD, state=state)))
    assert "Nothing is left for you to do here." in told
    assert "🔔" not in told
    assert "#glass-reason" not in told


@pytest.mark.parametrize("made", [waking_message, offer_message])
@given(hostile=st.text(max_size=5000), state=st.sampled_from(list(ProposalState)))
def test_each_is_within_the_limits_and_neither_links_nor_mentions_by_texts_of_others(made, hostile, state):
    for words in (hostile, f"<!channel> <https://evil.example|click> @here {hostile}"):
        message = made(replace(TOLD, title=words, reason=words, why=words, state=state))
        assert len(message.blocks) <= 50
        for block in message.blocks:
            parsed = Block.parse(block)
            assert parsed is not None
            parsed.validate_json()
        assert "<!" not in text(message).replace("<!date^", "")
        assert "<https://evil" not in text(message)
