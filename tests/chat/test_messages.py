"""Whatever a notebook or a person writes, messages stay within Slack's limits and say only what we mean."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from slack_sdk.models.blocks import Block

from runbooks_app.chat import details, messages, replies, views
from runbooks_app.chat.blocks import headline
from runbooks_app.chat.break_glass import break_glass_message
from runbooks_app.chat.mrkdwn import BREAK, clip, code, duration, link, safe, units
from runbooks_app.chat.untold import untold_message
from runbooks_app.core.errors import InvalidInput, NotFound, Problem
from runbooks_app.core.policy import Risk
from runbooks_app.core.proposal import ProposalState, Verification
from runbooks_app.core.run import CellState, RunState
from runbooks_app.main.demo.slack.limits import MAX_TOGETHER, check_message
from runbooks_app.main.demo.slack.rendering import flat

URL = "https://runbooks.example/runs/1"
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


@pytest.mark.chat
def test_a_long_table_is_a_file_with_all_its_rows_and_a_single_row_stands_as_fields():
    rows = tuple((str(number), "x" * 50) for number in range(30))
    long = views.EvidenceTold("Who waits, @channel", ("pid", "query"), rows, 5, url=URL)
    (file,) = details.details_files(views.DetailsTold(URL, evidence=(long,)))
    assert (file.name, len(file.data.decode().splitlines())) == ("who-waits-channel.txt", 32)
    assert f"<{URL}|its cell>" in file.comment
    assert "5 more rows were not kept" in file.comment
    (message,) = details.details_messages(views.DetailsTold(URL, evidence=(long,)))
    assert "15 more rows" in json.dumps(message.blocks)
    short = replace(long, rows=(("4711", "ALTER TABLE orders"),), omitted=0)
    assert details.details_files(views.DetailsTold(URL, evidence=(short,))) == ()
    (message,) = details.details_messages(views.DetailsTold(URL, evidence=(short,)))
    assert [field["text"] for field in message.blocks[1]["fields"]] == ["*pid*\n4711", "*query*\nALTER TABLE orders"]
    hidden = replace(long, restricted=True)
    assert details.details_files(views.DetailsTold(URL, evidence=(hidden,))) == ()


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
        replies.list_reply(listed, broken=2, url=url), replies.list_reply(()), replies.help_reply(docs_url=url),
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


@pytest.mark.parametrize(
    ("seconds", "told"),
    [(0, "0.0 s"), (1.44, "1.4 s"), (9.96, "10 s"), (59.4, "59 s"), (59.6, "1 min"), (252, "4 min 12 s"),
        (3840, "1 h 4 min"), (7200, "2 h"), (float("nan"), "an unknown time"), (-1, "an unknown time")],
)  # fmt: skip
def test_durations_read_as_people_say_them(seconds, told):
    assert duration(seconds) == told


RUN = views.RunTold(
    "r1", "db-latency", URL, RunState.DIAGNOSED, "Ana", target="orders-db", cells_done=6, cells_total=6, seconds=1.4
)
PROPOSAL = views.ProposalTold(
    "p1", "db-latency", "End session 4711 on orders-db", "https://runbooks.example/proposals/p1",
    ProposalState.PROPOSED, targets=(views.TargetTold("orders-db", "orders_operator"),),
    approvers=(("database",), ("payments", "sre")), approvals=2, expires_at=datetime(2026, 11, 22, 3, 40, tzinfo=UTC),
)  # fmt: skip


def said(message: views.Message) -> str:
    return flat(json.loads(json.dumps(message.blocks)), message.text)


def buttons(message: views.Message) -> dict[str, dict]:
    found = [e for b in message.blocks for e in [*b.get("elements", ()), b.get("accessory") or {}]]
    return {e["action_id"]: e for e in found if e.get("type") == "button"}


def test_a_diagnosed_run_tells_what_where_how_long_and_who():
    told = said(messages.run_message(RUN))
    assert f"*<{URL}|db-latency>* on orders-db — 🔎 diagnosed in 1.4 s, asked by Ana" in told
    assert "Nothing was found." in told


def test_findings_stand_worst_first_by_word_and_shape():
    told = replace(RUN, findings=(
        views.FindingTold("info", "three"), views.FindingTold("critical", "one"), views.FindingTold("odd", "two"),
    ))  # fmt: skip
    message = messages.run_message(told)
    assert re.search(r"🛑 \*Critical:\* one\n⚠️ \*Warning:\* two\n\u2139\ufe0f \*Info:\* three", said(message))
    assert "Worst: one" in message.text


def test_more_findings_than_fit_are_counted_and_linked():
    told = replace(RUN, findings=tuple(views.FindingTold("warning", f"number {i}") for i in range(40)))
    assert f"25 more findings, none worse than these: <{URL}|all findings>" in said(messages.run_message(told))


@pytest.mark.parametrize("state", [RunState.QUEUED, RunState.DIAGNOSING])
def test_a_run_that_goes_on_can_be_cancelled_from_its_message(state):
    cancel = buttons(messages.run_message(replace(RUN, state=state)))["cancel_run"]
    assert cancel["value"] == "r1"


@pytest.mark.parametrize("state", [s for s in RunState if s not in {RunState.QUEUED, RunState.DIAGNOSING}])
def test_a_run_that_has_ended_has_no_cancel_button(state):
    assert "cancel_run" not in buttons(messages.run_message(replace(RUN, state=state)))


@pytest.mark.parametrize(
    ("state", "told"),
    [
        (RunState.FAILED, "nothing was changed"), (RunState.TIMED_OUT, "ran out of time"),
        (RunState.CANCELLED, "cancelled"), (RunState.LOST, "run it afresh"),
    ],
)  # fmt: skip
def test_a_run_that_did_not_finish_tells_what_is_known(state, told):
    assert told in said(messages.run_message(replace(RUN, state=state)))


@pytest.mark.kernels
def test_a_run_that_waits_tells_its_place_and_why_and_one_without_only_that_it_wants_a_worker():
    queued = replace(RUN, state=RunState.QUEUED)
    place = "3rd in line; 5 of Ana's runs are going, which is the most at a time"
    assert f"⏳ waiting: {place}, asked by Ana" in said(messages.run_message(replace(queued, waiting=place)))
    assert "⏳ waiting for a worker, asked by Ana" in said(messages.run_message(queued))
    status = said(replies.status_reply((replace(queued, waiting=place), RUN)))
    assert f"waiting for 1.4 s: {place}, asked by Ana" in status
    assert "diagnosed, 6 of 6 cells, 1.4 s, asked by Ana" in status


def test_a_diagnosis_in_part_says_so_and_what_went_wrong():
    told = said(messages.run_message(replace(RUN, part=True, cells_done=5, problems=("Cell locks failed: no.",))))
    assert "diagnosed *in part* in 1.4 s: 5 of 6 cells worked" in told
    assert "Cell locks failed: no." in told
    assert "Not everything was looked at." in told


def test_a_proposal_tells_target_role_who_may_decide_and_until_when():
    message = messages.proposal_message(PROPOSAL)
    told = said(message)
    assert "*End session 4711 on orders-db* — waits for approval (high risk)" in told
    assert "Runs on *orders-db* as orders_operator" in told
    assert "Takes 2 people who approve for database and for payments or sre" in told
    assert "|03:40 UTC>" in told
    assert buttons(message)["open_proposal"]["url"] == PROPOSAL.url


def test_a_runs_message_leads_to_the_approval_page_of_each_proposal():
    message = messages.run_message(replace(RUN, proposals=(PROPOSAL,)))
    assert buttons(message)["open_proposal"]["url"] == PROPOSAL.url


def test_an_unknown_outcome_is_told_loudly_with_what_to_do():
    told = said(messages.proposal_message(replace(PROPOSAL, state=ProposalState.UNKNOWN)))
    assert "🚨" in told
    assert "OUTCOME UNKNOWN" in told
    assert "will not be tried again" in told
    assert "*Next:* look at the system itself" in told


@pytest.mark.parametrize("verification", [Verification.NOT_VERIFIED, Verification.NOT_POSSIBLE])
def test_an_action_that_was_applied_but_not_verified_is_no_success(verification):
    told = said(messages.proposal_message(replace(PROPOSAL, state=ProposalState.APPLIED, verification=verification)))
    assert "✅" not in told
    assert "*Next:*" in told


def test_a_verified_end_tells_the_time_since_the_alert():
    end = replace(
        PROPOSAL, state=ProposalState.APPLIED, verification=Verification.VERIFIED, seconds=0.3, since_alert=252
    )
    assert "✅ *End session 4711 on orders-db* — applied in 0.3 s, *verified*; 4 min 12 s since the alert" in said(
        messages.proposal_message(end)
    )


@pytest.mark.parametrize("state", list(ProposalState))
def test_only_a_proposal_that_still_waits_asks_for_a_decision(state):
    message = messages.proposal_message(replace(PROPOSAL, state=state))
    asks = buttons(message)["open_proposal"]["text"]["text"] == "Review and decide"
    assert asks == (state is ProposalState.PROPOSED)


def test_what_a_restricted_connection_showed_stays_out():
    secret = "jane@customer.example"
    told = views.DetailsTold(
        URL,
        cells=(views.CellTold("locks", CellState.FAILED, f"UniqueViolation: {secret}", secret, URL, restricted=True),),
        evidence=(views.EvidenceTold("Rows differ", ("email",), ((secret,),), restricted=True),),
        charts=(views.ChartTold(b"", secret, secret, restricted=True),),
    )  # fmt: skip
    made = details.details_messages(told)
    assert len(made) == 3
    everything = json.dumps([[m.text, m.blocks] for m in made])
    assert "jane" not in everything
    assert "UniqueViolation" in everything


@pytest.mark.parametrize("state", [CellState.DIED, CellState.TIMED_OUT, CellState.CANCELLED])
def test_how_a_restricted_cells_kernel_ended_is_told(state):
    reason = "The kernel had more than 100 processes and threads, the limit of this runbook, and was ended."
    cell = views.CellTold("locks", state, reason, "jane@customer.example", URL, restricted=True)
    sent = json.dumps([[m.text, m.blocks] for m in details.details_messages(views.DetailsTold(URL, cells=(cell,)))])
    assert reason in sent
    assert "jane" not in sent


def test_a_restricted_proposals_outcome_stays_out_whatever_its_state():
    told = replace(PROPOSAL, state=ProposalState.FAILED, outcome="jane@customer.example", restricted=True)
    for state in ProposalState:
        assert "jane" not in said(messages.proposal_message(replace(told, state=state)))


@pytest.mark.parametrize("short", [True, False])
def test_why_a_restricted_proposal_was_made_stays_out_and_its_page_is_named(short):
    told = replace(PROPOSAL, reason="jane@customer.example waits", restricted=True)
    sent = said(messages.run_message(replace(RUN, proposals=(told,))) if short else messages.proposal_message(told))
    assert "jane" not in sent
    assert "Why it is proposed may show restricted data" in sent


def test_what_went_wrong_in_a_restricted_run_stays_out_and_its_page_is_named():
    told = replace(RUN, problems=("look: KeyError: jane@customer.example",))
    assert "KeyError" in said(messages.run_message(told))
    hidden = said(messages.run_message(replace(told, restricted=True)))
    assert "jane" not in hidden
    assert "What went wrong may show restricted data" in hidden


def test_evidence_is_an_aligned_table_that_counts_what_it_leaves_out():
    item = views.EvidenceTold("37 wait", ("pid", "app"), (("4711", "deploy"), ("1", "x")), omitted=35)
    told = said(details.details_messages(views.DetailsTold(URL, evidence=(item,)))[0])
    assert "pid   app\n────  ──────\n4711  deploy\n1     x" in told
    assert "35 more rows" in told


def test_a_long_traceback_shows_its_end():
    cell = views.CellTold(
        "locks", CellState.FAILED, "KeyError: 'p99'", "start\n" + "frame\n" * 2000 + "KeyError: 'p99'"
    )
    told = said(details.details_messages(views.DetailsTold(URL, cells=(cell,)))[0])
    assert told.rstrip("`\n").endswith("KeyError: 'p99'")
    assert "start" not in told


def test_a_misspelt_name_is_answered_with_the_corrected_command():
    told = said(replies.error_reply(NotFound("There is no runbook db-latncy."), corrected='db-latency note="a b"'))
    assert 'Did you mean: `/runbook db-latency note="a b"`' in told


def test_an_error_shows_every_point_with_its_mend_and_commands_as_code():
    error = InvalidInput("See `/runbook list`.", problems=(Problem("service", "is not known.", "Use `orders`."),))
    told = said(replies.error_reply(error))
    assert "See `/runbook list`." in told
    assert "• *service*: is not known. Use `orders`." in told


def test_runbooks_that_fit_the_incident_are_listed_first():
    listed = (views.RunbookTold("a"), views.RunbookTold("b", "Bees", fits=True))
    told = said(replies.list_reply(listed))
    assert told.index("📌 `/runbook b` — Bees") < told.index("`/runbook a`")


def test_linking_offers_one_button():
    found = buttons(replies.link_reply("https://runbooks.example/link/1"))
    assert found["link_person"]["url"] == "https://runbooks.example/link/1"


def test_the_break_is_invisible():
    assert safe("@channel", 50) == f"@{BREAK}channel"
