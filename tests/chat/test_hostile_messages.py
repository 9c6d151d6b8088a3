"""Whatever a notebook or a person writes, messages stay within Slack's limits and say only what we mean."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime

import pytest
from chat.told import URL
from hypothesis import given, settings
from hypothesis import strategies as st
from slack_sdk.models.blocks import Block

from runbooks_app.chat import details, messages, replies, views
from runbooks_app.chat.blocks import headline
from runbooks_app.chat.break_glass import break_glass_message
from runbooks_app.chat.mrkdwn import BREAK, clip, code, link, safe, units
from runbooks_app.chat.untold import untold_message
from runbooks_app.core.errors import InvalidInput, Problem
from runbooks_app.core.policy import Risk
from runbooks_app.core.proposal import ProposalState, Verification
from runbooks_app.core.run import CellState, RunState
from runbooks_app.main.demo.slack.limits import MAX_TOGETHER, check_message

PIECES = [
    "<!channel>", "<!here|x>", "<@U123>", "<#C1|general>", "<https://evil.example|click>", "@channel", "@here",
    "@everyone", "http://evil.example", "www.evil.example", "mailto:a@evil.example", "```", "`", "*b*", "_i_", "~s~",
    "&lt;!channel&gt;", "&", "<", ">", "\n> quoted", "\u202eright to left", "\x00", "\ud800", ":white_check_mark:",
    "😀" * 50, "&" * 3000, "x" * 3000, "<!date^0^{date}|x>", "|", "a|b>c",
]  # fmt: skip
NASTY = st.sampled_from(PIECES)
TEXT = st.lists(NASTY | st.text(max_size=30), max_size=6).map("".join)
URLS = st.sampled_from(
    ["", URL, "https://x.example/" + "a" * 5000, 'https://x.example/"><!channel>|`', "javascript:alert(1)"]
)
MOMENTS = st.none() | st.integers(10**9, 4 * 10**9).map(lambda seconds: datetime.fromtimestamp(seconds, UTC))
FINDINGS = st.builds(views.FindingTold, st.sampled_from(["critical", "warning", "info"]) | TEXT, TEXT, URLS)
DECISIONS = st.builds(views.DecisionTold, TEXT, st.booleans(), MOMENTS, TEXT, st.booleans())
GLASSES = st.builds(
    views.BreakGlassTold,
    name=TEXT, title=TEXT, reason=TEXT, at=MOMENTS.filter(bool), signed=st.booleans(),
    approvals_given=st.integers(0, 9), approvals_needed=st.integers(1, 9), proposal_url=URLS, review_url=URLS,
    requester=st.booleans(), reviewer=TEXT, review=TEXT,
)  # fmt: skip
PROPOSALS = st.builds(
    views.ProposalTold,
    proposal_id=TEXT, runbook=TEXT, title=TEXT, url=URLS, state=st.sampled_from(ProposalState),
    risk=st.sampled_from(Risk), reason=TEXT,
    targets=st.lists(st.builds(views.TargetTold, TEXT, TEXT), max_size=2).map(tuple),
    approvals=st.integers(1, 9), approvers=st.lists(st.lists(TEXT, max_size=2).map(tuple), max_size=2).map(tuple),
    expires_at=MOMENTS, proposed_by=TEXT, sponsor_needed=st.booleans(),
    decisions=st.lists(DECISIONS, max_size=2).map(tuple), why=TEXT, outcome=TEXT, advice=TEXT,
    verification=st.none() | st.sampled_from(Verification), checks=st.lists(TEXT, max_size=2).map(tuple),
    seconds=st.none() | st.floats(), since_alert=st.none() | st.floats(), successor_url=URLS, restricted=st.booleans(),
    decides=st.sampled_from(["", f"{'a' * 16}:{'0' * 64}"]),
)  # fmt: skip
RUNS = st.builds(
    views.RunTold,
    run_id=TEXT, runbook=TEXT, url=URLS, state=st.sampled_from(RunState), requested_by=TEXT, title=TEXT, target=TEXT,
    part=st.booleans(), cells_done=st.integers(0), cells_total=st.integers(0), seconds=st.floats(),
    findings=st.lists(FINDINGS, max_size=4).map(tuple), problems=st.lists(TEXT, max_size=3).map(tuple),
    proposals=st.lists(PROPOSALS, max_size=2).map(tuple), incident_title=TEXT, incident_url=URLS,
    sandbox_off=st.booleans(), remediation_off=st.booleans(), cancelled_by=TEXT,
)  # fmt: skip
CELLS = st.builds(views.CellTold, TEXT, st.sampled_from(CellState), TEXT, TEXT, URLS, st.booleans())
EVIDENCE = st.builds(
    views.EvidenceTold, TEXT, st.lists(TEXT, max_size=3).map(tuple),
    st.lists(st.lists(TEXT, max_size=3).map(tuple), max_size=3).map(tuple), st.integers(0, 10**9), TEXT, URLS,
    st.booleans(),
)  # fmt: skip
LONG = st.builds(
    views.EvidenceTold, TEXT, st.lists(TEXT, min_size=1, max_size=3).map(tuple),
    st.lists(TEXT, max_size=3).map(lambda row: (tuple(row),) * 21), st.integers(0, 10**9), TEXT, URLS,
)  # fmt: skip
CHARTS = st.builds(views.ChartTold, st.just(b""), TEXT, TEXT, URLS, st.booleans())
DETAILS = st.builds(
    views.DetailsTold, URLS, st.lists(CELLS, max_size=3).map(tuple), st.lists(EVIDENCE | LONG, max_size=3).map(tuple),
    st.lists(CHARTS, max_size=3).map(tuple),
)  # fmt: skip
PROBLEMS = st.lists(st.builds(Problem, TEXT, TEXT, TEXT), max_size=3).map(tuple)


def texts(value: object, kind: str = "") -> list[tuple[str, str]]:
    """Every text of a message, with the kind of object that holds it."""
    if isinstance(value, dict):
        kind = str(value.get("type", ""))
        own = [(kind, value["text"])] if isinstance(value.get("text"), str) else []
        return own + [found for part in value.values() for found in texts(part, kind)]
    return [found for part in value for found in texts(part, kind)] if isinstance(value, list | tuple) else []


OURS = re.compile(r"<(?:https://(?:runbooks|x)\.example/[^<>|]*\|[^<>|]*|!date\^\d+\^\{time\}\|\d\d:\d\d UTC)>")


def check(message: views.Message) -> None:
    """The stand-in and Slack's own models take it; only links of ours and dates stand between angle brackets."""
    blocks = json.loads(json.dumps(message.blocks))
    assert check_message(message.text, blocks) == (message.text, blocks)
    assert [block.to_dict() for block in Block.parse_all(blocks)] == blocks
    assert units(json.dumps(blocks, ensure_ascii=False)) < 4 * MAX_TOGETHER
    assert units(message.text) <= 4000
    for kind, text in [("mrkdwn", message.text), *texts(blocks)]:
        text.encode()  # a lone surrogate could not be sent
        if kind != "mrkdwn":
            continue
        rest = OURS.sub("", text)
        assert "<" not in rest
        assert not re.search(r"(^|[^&;]|(?<!&gt);)>", rest), rest
        assert not re.search(r"&(?!(amp|lt|gt);)", text), text
        shown = re.sub(r"`[^`\n]*`", "", rest)  # in code, Slack makes nothing of these
        assert not re.search(r"@(channel|here|everyone)\b", rest, re.IGNORECASE)
        assert "http://" not in shown
        assert "https://" not in shown
        assert ":white_check_mark:" not in shown
        assert "\u202e" not in text
    for block in blocks:
        if block["type"] == "section":
            assert all(text["verbatim"] for text in (block.get("text"), *block.get("fields", ())) if text)


@settings(max_examples=25, deadline=None)
@given(RUNS)
def test_a_runs_message_is_within_limits_and_says_only_what_we_mean(told):
    check(messages.run_message(told))


@settings(max_examples=25, deadline=None)
@given(PROPOSALS)
def test_a_proposals_message_is_within_limits_and_says_only_what_we_mean(told):
    check(messages.proposal_message(told))


@pytest.mark.identity
@settings(max_examples=25, deadline=None)
@given(GLASSES)
def test_a_break_glass_s_message_is_within_limits_and_says_only_what_we_mean(told):
    check(break_glass_message(told))


@pytest.mark.chat
@settings(max_examples=25, deadline=None)
@given(TEXT, TEXT)
def test_what_is_said_of_a_lost_channel_is_within_limits_and_says_only_what_we_mean(channel, why):
    check(untold_message(channel, why))


@pytest.mark.chat
@settings(max_examples=25, deadline=None)
@given(RUNS)
def test_a_headline_is_within_limits_and_says_only_what_we_mean(told):
    short = headline(messages.run_message(told))
    assert short.blocks == ()
    check(short)


@settings(max_examples=15, deadline=None)
@given(DETAILS)
def test_details_are_within_limits_and_say_only_what_we_mean(told):
    made = details.details_messages(told)
    assert len(made) <= details.MOST_DETAILS
    for file in details.details_files(told):
        assert re.fullmatch(r"[a-z0-9-]{1,60}\.(png|txt)", file.name)
        assert units(file.title) <= 200
        check(views.Message(file.comment))
    for message in made:
        check(message)


@settings(max_examples=15, deadline=None)
@given(TEXT, PROBLEMS, TEXT, st.lists(RUNS, max_size=1).map(tuple), URLS)
def test_replies_are_within_limits_and_say_only_what_we_mean(text, problems, corrected, runs, url):
    listed = tuple(views.RunbookTold(text, text, corrected, fits=bool(i % 2)) for i in range(40))
    for message in [
        replies.error_reply(InvalidInput(text or "x", problems=problems), corrected=corrected),
        replies.list_reply(listed, none="", broken=2, url=url), replies.list_reply((), none="None.", broken=1, url=url),
        replies.help_reply(docs_url=url),
        replies.status_reply(runs, 3, url=url), replies.asked_reply(text, url), replies.done_reply(text, url=url),
        replies.link_reply(url),
    ]:  # fmt: skip
        check(message)


@pytest.mark.parametrize("piece", PIECES)
def test_a_message_that_is_hostile_in_every_field_and_huge_is_within_limits(piece):
    text = (piece + " ") * 60
    many = (text,) * 20
    finding = views.FindingTold(text, text, URL)
    proposal = views.ProposalTold(
        text, text, text, URL, ProposalState.PROPOSED, reason=text, targets=(views.TargetTold(text, text),) * 20,
        approvers=(many,) * 20, expires_at=datetime(2026, 1, 1, tzinfo=UTC), proposed_by=text, sponsor_needed=True,
        decisions=(views.DecisionTold(text, True, datetime(2026, 1, 1, tzinfo=UTC), text),) * 20, why=text,
        outcome=text, advice=text, verification=Verification.NOT_VERIFIED, checks=many, successor_url=URL,
    )  # fmt: skip
    run = views.RunTold(
        text, text, URL, RunState.DIAGNOSING, text, text, text, findings=(finding,) * 40, problems=many,
        proposals=(proposal,) * 20, incident_title=text, incident_url=URL, sandbox_off=True, remediation_off=True,
        waiting=text,
    )  # fmt: skip
    check(messages.run_message(run))
    check(messages.proposal_message(proposal))
    rows = views.EvidenceTold(text, many, (many,) * 40, 9, text, URL)
    cell = views.CellTold(text, CellState.FAILED, text, text, URL)
    for message in details.details_messages(views.DetailsTold(URL, (cell,) * 20, (rows,) * 60)):
        check(message)


@given(TEXT, st.integers(1, 400))
def test_untrusted_text_is_never_longer_than_allowed(text, limit):
    assert units(safe(text, limit)) <= limit
    assert units(clip(text, limit)) <= limit
    assert units(code(text, limit + 20)) <= limit + 20
    assert "```" not in code(text, limit + 20)[3:-3]


def test_a_cut_never_lands_within_an_escaped_character():
    assert safe("<<<<", 11) == "&lt;&lt;…"
    assert re.fullmatch(r"(&amp;)*…", safe("&" * 100, 42))


def test_links_lead_only_to_web_addresses():
    assert link("javascript:alert(1)", "x") == "x"
    assert link("https://a.example/|<>", "a|b") == "<https://a.example/%7C%3C%3E|a¦b>"


def test_the_break_is_invisible():
    assert safe("@channel", 50) == f"@{BREAK}channel"
