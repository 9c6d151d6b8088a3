"""What the service says in a channel: views in, messages out. Pure.

`run_message` is the one message of a run, updated in place; `proposal_message` tells a proposal in the run's
thread, and its end. The thread's detail is made in `details`. All of them are read at 03:12: what, who, how
bad, what next, in that order, one sentence each.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from runbooks_app.chat.alerts import alerts_line
from runbooks_app.chat.blocks import (
    APPROVE,
    CANCEL_RUN,
    DENY,
    actions,
    button,
    confirm,
    context,
    message,
    section,
    sections,
)
from runbooks_app.chat.incidents import attach_button
from runbooks_app.chat.mrkdwn import count, duration, link, moment, safe
from runbooks_app.core.policy import Risk
from runbooks_app.core.proposal import OPEN, ProposalState, Verification
from runbooks_app.core.run import RunState

if TYPE_CHECKING:
    from runbooks_app.chat.blocks import Block
    from runbooks_app.chat.views import (
        DecisionTold,
        FindingTold,
        Message,
        ProposalTold,
        RunTold,
        TargetTold,
    )

MOST_FINDINGS = 15
MOST_PROPOSALS = 5
MOST_PROBLEMS = 8
"""How many of each one message tells; the rest is counted and linked."""

# Shapes differ as well as colours and words, so that none of the three is needed alone.
_SEVERITY = {
    "critical": (0, "🛑", "Critical"),
    "warning": (1, "⚠️", "Warning"),
    "info": (2, "\u2139\ufe0f", "Info"),
}
_RISK = {Risk.HIGH: "high risk", Risk.MEDIUM: "medium risk", Risk.LOW: "low risk"}


def run_message(told: RunTold) -> Message:
    """The message of a run, as it stands."""
    name = link(told.url, told.runbook, 100)
    target = f" on {safe(told.target, 150)}" if told.target else ""
    happened = _happened(told)
    findings = sorted(told.findings, key=lambda finding: _severity(finding)[0])
    blocks: list[Block] = [section(f"*{name}*{target} — {happened}")]
    blocks += sections(_finding_line(finding) for finding in findings[:MOST_FINDINGS])
    if len(findings) > MOST_FINDINGS:
        rest = count(len(findings) - MOST_FINDINGS, "more finding")
        blocks.append(context(f"{rest}, none worse than these: {link(told.url, 'all findings')}"))
    if told.state is RunState.DIAGNOSED and not findings:
        blocks.append(
            section("\u2139\ufe0f Nothing was found." + (" Not everything was looked at." if told.part else ""))
        )
    if told.problems and told.restricted:
        blocks.append(section(f"🔒 What went wrong may show restricted data: only on {link(told.url, 'its page')}."))
    elif told.problems:
        lines = [f"• {safe(problem, 400)}" for problem in told.problems[:MOST_PROBLEMS]]
        if len(told.problems) > MOST_PROBLEMS:
            lines.append(f"• and {len(told.problems) - MOST_PROBLEMS} more: {link(told.url, 'all of them')}")
        blocks += sections(["⚠️ *What went wrong*", *lines])
    for proposal in told.proposals[:MOST_PROPOSALS]:
        blocks += _proposal_in_run(proposal)
    if len(told.proposals) > MOST_PROPOSALS:
        rest = count(len(told.proposals) - MOST_PROPOSALS, "more proposal")
        blocks.append(context(f"{rest}: {link(told.url, 'all proposals')}"))
    if told.incident_url and sum(proposal.state is ProposalState.PROPOSED for proposal in told.proposals) > 1:
        blocks.append(context(link(f"{told.incident_url}/decide", "Decide several of them together, with one sign-in")))
    if told.alerts is not None:
        blocks.append(alerts_line(told.alerts))
    buttons = [button("Open the run", "open_run", url=told.url)] if told.url else []
    if told.state in {RunState.QUEUED, RunState.DIAGNOSING}:
        buttons.append(button("Cancel", CANCEL_RUN, value=told.run_id))
    if told.attaches:
        buttons.append(attach_button(told.run_id))
    if buttons:
        blocks.append(actions(buttons))
    blocks += _small_print(told)
    first = f" Worst: {safe(findings[0].summary, 200)}" if findings else ""
    text = f"{safe(told.runbook, 100)}{target}: {happened}.{first}"
    more = f"There is more than fits here: {link(told.url, 'the whole run')}"
    return message(text, blocks, more=more, url=told.url)


def proposal_message(told: ProposalTold) -> Message:
    """A proposal in its thread: what it will do, who may approve and until when; later, what came of it."""
    headline, lines = _proposal_lines(told)
    blocks: list[Block] = [section(headline), *sections(lines)]
    waits = told.state in OPEN
    if told.url:
        label = "Review and decide" if told.state is ProposalState.PROPOSED else "Open the proposal"
        page = button(label, "open_proposal", url=told.url, style="primary" if waits and not told.decides else "")
        blocks.append(actions([*_deciding(told), page]))
    return message(f"{safe(told.title, 200)}: {_standing(told)}", blocks, url=told.url)


def _deciding(told: ProposalTold) -> list[Block]:
    """Buttons that decide it right here, where that may be; Slack asks once more what exactly will happen."""
    if not told.decides or told.state is not ProposalState.PROPOSED:
        return []
    on = ", ".join(f"{held.connection} as {held.role}" if held.role else held.connection for held in told.targets)
    what = f"It will run on {on}: {told.title}. {told.reason}" if on else f"{told.title}. {told.reason}"
    yes = confirm("Approve this?", what, "Approve")
    no = confirm("Deny this?", f"Nothing will be changed: {told.title}", "Deny", style="danger")
    return [
        button("Approve", APPROVE, value=told.decides, style="primary", asks=yes),
        button("Deny", DENY, value=told.decides, style="danger", asks=no),
    ]


def _happened(told: RunTold) -> str:
    """How far the run is, who asked: the rest of the first line."""
    by = f", asked by {safe(told.requested_by, 80)}" if told.requested_by else ""
    took = duration(told.seconds)
    cells = f"{told.cells_done} of {count(told.cells_total, 'cell')}"
    again = f" (attempt {told.attempt})" if told.attempt > 1 else ""
    match told.state:
        case RunState.QUEUED:
            return f"⏳ waiting{f': {safe(told.waiting, 200)}' if told.waiting else ' for a worker'}{again}{by}"
        case RunState.DIAGNOSING:
            return f"⏳ diagnosing{again}: {cells}, {took}{by}"
        case RunState.DIAGNOSED if told.part:
            return f"🔎 diagnosed *in part* in {took}: {cells} worked{by}"
        case RunState.DIAGNOSED:
            return f"🔎 diagnosed in {took}{by}"
        case RunState.FAILED:
            return f"❌ *failed* after {took}: {cells} worked; nothing was changed{by}"
        case RunState.TIMED_OUT:
            return f"⌛ *ran out of time* after {took}: {cells} worked; nothing was changed{by}"
        case RunState.CANCELLED:
            who = f" by {safe(told.cancelled_by, 80)}" if told.cancelled_by else ""
            return f"🚫 cancelled{who} after {took}: {cells} done; nothing was changed{by}"
        case RunState.LOST:
            return f"❗ *lost its worker* after {took}; nothing was changed; it is not tried again: run it afresh{by}"


def _severity(finding: FindingTold) -> tuple[int, str, str]:
    """Rank, symbol and word; one that nobody knows counts as a warning rather than being overlooked."""
    return _SEVERITY.get(finding.severity.lower(), _SEVERITY["warning"])


def _finding_line(finding: FindingTold) -> str:
    _, symbol, word = _severity(finding)
    where = f" ({link(finding.url, 'evidence')})" if finding.url else ""
    return f"{symbol} *{word}:* {safe(finding.summary, 400)}{where}"


def _small_print(told: RunTold) -> list[Block]:
    lines = []
    if told.incident_title:
        lines.append(f"Incident: {link(told.incident_url, told.incident_title, 150)}")
    if told.sandbox_off:
        lines.append("⚠️ *The sandbox is off on this installation*")
    if told.remediation_off:
        lines.append("Diagnose-only: nothing can be changed from here")
    return [context("  ·  ".join(lines))] if lines else []


def _proposal_in_run(told: ProposalTold) -> list[Block]:
    """Tell a proposal within its run's message: headline, who and until when, a button at its side."""
    headline, lines = _proposal_lines(told, short=True)
    label = "Review and decide" if told.state is ProposalState.PROPOSED else "Open the proposal"
    first, *rest = sections([headline, *lines])
    if told.url:
        style = "primary" if told.state in OPEN else ""
        first = {**first, "accessory": button(label, "open_proposal", url=told.url, style=style)}
    return [{"type": "divider"}, first, *rest]


def _proposal_lines(told: ProposalTold, *, short: bool = False) -> tuple[str, list[str]]:
    headline = f"{_symbol(told)} *{safe(told.title, 300)}* — {_standing(told)}"
    lines = []
    if told.state in OPEN:
        if told.reason and told.restricted:
            lines.append(f"🔒 Why it is proposed may show restricted data: only on {link(told.url, 'its page')}.")
        elif told.reason:
            lines.append(f"Why: {safe(told.reason, 400)}")
        if told.targets:
            lines.append("Runs on " + ", ".join(_target(target) for target in told.targets[:5]))
        lines.append(_who_may(told))
        if told.proposed_by:
            lines.append(f"Proposed by hand by {safe(told.proposed_by, 80)}; not proposed by the diagnosis.")
        if told.woken and told.state is ProposalState.PROPOSED:
            lines.append(f"Woken: {', '.join(safe(name, 80) for name in told.woken[:10])}")
        if told.sponsor_needed:
            lines.append("No person asked for this run: it needs a sponsor, who cannot decide it.")
    lines += [
        f"{_said(decision)} by {safe(decision.name, 80)}"
        + (f" at {moment(decision.at)}" if decision.at else "")
        + (f": {safe(decision.reason, 200)}" if decision.reason else "")
        for decision in told.decisions[:10]
    ]
    # What happened may be told in words of the system's own: errors that quote rows, values that moved.
    hidden = told.restricted and (told.outcome or (told.why and told.state is ProposalState.STALE))
    if hidden:
        lines.append(f"🔒 What happened shows restricted data: only on {link(told.url, 'its page')}.")
    if told.why and not hidden:
        lines.append(safe(told.why, 500))
    if told.successor_url:
        lines.append(f"The diagnosis now proposes it with other inputs: {link(told.successor_url, 'the new proposal')}")
    if told.outcome and not hidden:
        lines.append(f"Known: {safe(told.outcome, 500)}")
    checks = [f"• {safe(check, 250)}" for check in told.checks[: 3 if short else 10]]
    lines += checks
    advice = _advice(told)
    if advice:
        lines.append(f"*Next:* {advice}")
    return headline, lines


def _said(decision: DecisionTold) -> str:
    if decision.break_glass:
        return "🚨 *Break-glass*, without approval,"
    return "Approved" if decision.approved else "Denied"


def _standing(told: ProposalTold) -> str:
    """Where the proposal stands, in words."""
    took = f" in {duration(told.seconds)}" if told.seconds is not None else ""
    match told.state:
        case ProposalState.PROPOSED:
            given = sum(decision.approved and not decision.break_glass for decision in told.decisions)
            so_far = f", {given} of {told.approvals} given" if given else ""
            return f"waits for approval ({_RISK[told.risk]}{so_far})"
        case ProposalState.APPROVED:
            return "approved; checking again before it runs"
        case ProposalState.EXECUTING:
            return "running now"
        case ProposalState.APPLIED:
            return f"applied{took}{_verified(told)}{_since(told)}"
        case ProposalState.FAILED:
            return f"*failed*{took}; it may have taken effect in part{_verified(told)}{_since(told)}"
        case ProposalState.UNKNOWN:
            return (
                "*OUTCOME UNKNOWN*: the worker went away while it ran. It may have taken effect wholly, in"
                f" part or not at all, and will not be tried again{_verified(told)}{_since(told)}"
            )
        case ProposalState.DENIED:
            return "denied; nothing was changed"
        case ProposalState.EXPIRED:
            return "expired before it was approved by enough people; nothing was changed"
        case ProposalState.WITHDRAWN:
            return "withdrawn; nothing was changed"
        case ProposalState.STALE:
            return "stale: the re-check no longer confirms it, so nothing was changed"


def _verified(told: ProposalTold) -> str:
    match told.verification:
        case Verification.PENDING:
            return ", verifying"
        case Verification.VERIFIED:
            return ", *verified*"
        case Verification.NOT_VERIFIED:
            return ", *NOT verified*"
        case Verification.NOT_POSSIBLE:
            return ", *could not be verified*"
        case None:
            return ""


def _since(told: ProposalTold) -> str:
    return f"; {duration(told.since_alert)} since the alert" if told.since_alert is not None else ""


def _symbol(told: ProposalTold) -> str:
    if told.state is ProposalState.UNKNOWN:
        return "🚨"
    if told.verification in {Verification.NOT_VERIFIED, Verification.NOT_POSSIBLE}:
        return "⚠️"
    if told.state is ProposalState.APPLIED:
        return "✅" if told.verification is Verification.VERIFIED else "☑️"
    return {
        ProposalState.PROPOSED: "✋", ProposalState.APPROVED: "👍", ProposalState.EXECUTING: "⏳",
        ProposalState.FAILED: "❌", ProposalState.DENIED: "🚫", ProposalState.EXPIRED: "⌛",
        ProposalState.WITHDRAWN: "🚫", ProposalState.STALE: "♻️",
    }[told.state]  # fmt: skip


def _target(target: TargetTold) -> str:
    connection, role = safe(target.connection, 100), safe(target.role, 100)
    return f"*{connection}* as {role}" if role else f"*{connection}*"


def _who_may(told: ProposalTold) -> str:
    """Who decides, until when: "Takes 2 people who approve for database and for sre, until 03:40"."""
    clauses = " and for ".join(" or ".join(safe(group, 60) for group in clause[:4]) for clause in told.approvers[:4])
    people = "1 person" if told.approvals == 1 else f"{told.approvals} people"
    until = f", until {moment(told.expires_at)}" if told.expires_at else ""
    circle = f" who approves for {clauses}" if told.approvals == 1 else f" who approve for {clauses}"
    return f"Takes {people}{circle if clauses else ''}{until}. Nobody may approve what they asked for."


def _advice(told: ProposalTold) -> str:
    """What to do next; every end that leaves something open has an answer."""
    if told.advice:
        return safe(told.advice, 400)
    if told.state is ProposalState.UNKNOWN:
        return "look at the system itself before anything else; then run the runbook again to see what is left to do."
    if told.state is ProposalState.FAILED:
        return "read the error on its page, then run the runbook again to see how things stand."
    if told.verification is Verification.NOT_VERIFIED:
        return "the trouble is still there or has only moved: run the runbook again."
    if told.verification is Verification.NOT_POSSIBLE:
        return "nobody has checked whether it worked: run the runbook again."
    if told.state in {ProposalState.EXPIRED, ProposalState.STALE} and not told.successor_url:
        return "run the runbook again; it proposes anew if that is still called for."
    return ""
