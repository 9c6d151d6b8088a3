"""Other chats, mail and whatever else the `apprise` package reaches: one way, plain text, without evidence.

An address holds a secret. None is logged or told: a place is named by the line of the file that it stands on and the
kind of service, and the libraries that print addresses when they are asked for detail are kept silent.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from runbooks_app.chat.mrkdwn import at_day, clip, harmless
from runbooks_app.chat.views import ProposalTold, RunTold
from runbooks_app.core.errors import Misconfigured, Problem
from runbooks_app.core.proposal import ProposalState, Verification
from runbooks_app.core.run import RunState

if TYPE_CHECKING:
    from apprise import AppriseAsset

PATIENCE = 10
"""Seconds that a service has to take a message."""

MOST_FINDINGS = 10
MOST_LETTERS = 3_000
"""Of one message: what the strictest of the common services takes is more than that."""

_TALKATIVE = ("apprise", "urllib3")

_RUN = {
    RunState.FAILED: "the diagnosis failed; nothing was changed",
    RunState.TIMED_OUT: "the diagnosis ran out of time; nothing was changed",
    RunState.CANCELLED: "the diagnosis was cancelled; nothing was changed",
    RunState.LOST: "the diagnosis lost its worker; nothing was changed; run it again",
}
_PROPOSAL = {
    ProposalState.PROPOSED: "waits for approval",
    ProposalState.APPROVED: "approved; checked once more before it runs",
    ProposalState.EXECUTING: "running now",
    ProposalState.APPLIED: "applied",
    ProposalState.FAILED: "failed; it may have taken effect in part",
    ProposalState.UNKNOWN: "OUTCOME UNKNOWN: it may have taken effect wholly, in part or not at all",
    ProposalState.DENIED: "denied; nothing was changed",
    ProposalState.EXPIRED: "expired; nothing was changed",
    ProposalState.WITHDRAWN: "withdrawn; nothing was changed",
    ProposalState.STALE: "stale: no longer what was proposed; nothing was changed",
}
_VERIFICATION = {
    Verification.PENDING: "",
    Verification.VERIFIED: ", verified",
    Verification.NOT_VERIFIED: ", NOT verified",
    Verification.NOT_POSSIBLE: ", could not be verified",
}


@dataclass(frozen=True)
class Place:
    """Where to tell: `name` for people ("Mattermost, line 2"), `key` for the database, the address for nobody."""

    name: str
    key: str
    address: str = field(repr=False)


@dataclass(frozen=True)
class Said:
    """One message."""

    title: str
    text: str


def read_places(text: str) -> tuple[Place, ...]:
    """The places of a file: an address a line, blank lines and those that begin with # apart.

    Raises `Misconfigured` with the number of each line that is no address, and without its content.
    """
    if not text:
        return ()
    import apprise  # noqa: PLC0415 -- half a second with its services: for who has places to tell

    _silence()
    places, problems = [], []
    for number, line in enumerate(text.splitlines(), 1):
        address = line.strip()
        if not address or address.startswith("#"):
            continue
        service = apprise.Apprise.instantiate(address, asset=_asset(), suppress_exceptions=True)
        if service is None:
            problems.append(
                Problem(f"line {number}", "is no address that apprise knows.", "`apprise --details` has all.")
            )
            continue
        key = hashlib.sha256(address.encode()).hexdigest()
        places.append(Place(f"{service.service_name}, line {number}", key, address))
    if problems:
        raise Misconfigured("RUNBOOKS_NOTIFY_URLS_FILE cannot be used.", problems=tuple(problems))
    return tuple({place.key: place for place in places}.values())


def send(place: Place, said: Said) -> str:
    """Tell it there; what went wrong in one word, empty where nothing did.

    What did not answer in time may have been told all the same.
    """
    import apprise  # noqa: PLC0415 -- as above

    _silence()
    # An object for each message: one that is used again waits by itself, for seconds, between two of them.
    messenger = apprise.Apprise(asset=_asset())
    if not messenger.add(place.address):
        return "unreadable"
    result = messenger.notify(said.text, title=said.title, body_format=apprise.NotifyFormat.TEXT, timeout=PATIENCE)
    return "" if result else str(result.status.name).lower()


def run_said(told: RunTold) -> Said:
    """A run that has ended: its findings, worst first, and where the rest stands."""
    rank = {"critical": 0, "warning": 1, "info": 2}
    findings = sorted(told.findings, key=lambda finding: rank.get(finding.severity, 1))
    lines = [
        f"{finding.severity.capitalize()}: {harmless(finding.summary, 400)}" for finding in findings[:MOST_FINDINGS]
    ]
    if len(findings) > MOST_FINDINGS:
        lines.append(f"{len(findings) - MOST_FINDINGS} more, none worse than these.")
    if told.state is RunState.DIAGNOSED and not findings:
        lines.append("Nothing was found." + (" Not everything was looked at." if told.part else ""))
    if told.problems:
        # Errors and reasons may quote what a restricted connection holds.
        wrong = "it stands on its page alone." if told.restricted else harmless(told.problems[0], 400)
        lines.append(f"Went wrong: {wrong}")
    if told.incident_title:
        lines.append(f"Incident: {harmless(told.incident_title, 150)}")
    happened = _RUN.get(told.state, "diagnosed in part" if told.part else "diagnosed")
    target = f" on {harmless(told.target, 150)}" if told.target else ""
    return _said(f"{harmless(told.runbook, 100)}{target}: {happened}", lines, told.url)


def proposal_said(told: ProposalTold) -> Said:
    """A proposal that waits, or what became of it."""
    lines = []
    if told.state is ProposalState.PROPOSED:
        if told.reason:
            why = "it stands on its page alone." if told.restricted else harmless(told.reason, 400)
            lines.append(f"Why: {why}")
        lines += [
            f"Runs on {harmless(target.connection, 100)} as {harmless(target.role, 100)}" for target in told.targets
        ]
        groups = " and for ".join(" or ".join(harmless(group, 60) for group in clause) for clause in told.approvers)
        people = "one who approves" if told.approvals == 1 else f"{told.approvals} who approve"
        until = f", until {at_day(told.expires_at)}" if told.expires_at else ""
        lines.append(f"Takes {people} for {groups}{until}. Risk: {told.risk}.")
    for decision in told.decisions:
        how = "Break-glass" if decision.break_glass else "Approved" if decision.approved else "Denied"
        lines.append(f"{how} by {harmless(decision.name, 80)}")
    outcome = told.outcome or told.why
    if outcome:
        # In words of the system's own, which may quote what a restricted connection holds.
        lines.append("What happened stands on its page alone." if told.restricted else harmless(outcome, 500))
    standing = _PROPOSAL[told.state] + (_VERIFICATION[told.verification] if told.verification else "")
    return _said(f"{harmless(told.title, 200)}: {standing}", lines, told.url)


def storm_said(held: int, kinds: Mapping[str, int], url: str, *, over: bool) -> Said:
    """Alerts for which nothing ran: how many of what, at the beginning and when it is over."""
    most = sorted(kinds.items(), key=lambda kind: (-kind[1], kind[0]))[:MOST_FINDINGS]
    lines = [f"{harmless(kind, 300)} ({number})" for kind, number in most]
    return _said(f"{held} alerts without a diagnosis{', over' if over else ''}", lines, f"{url}/incidents")


def untold_said(body: Mapping[str, object], url: str) -> Said:
    """Something could not be told in a channel of Slack."""
    lines = [harmless(body.get("why", ""), 500)]
    return _said(f"Slack's channel {harmless(body.get('channel', ''), 80)} takes nothing more", lines, url)


def slack_said(why: str, url: str) -> Said:
    """Nothing at all can be told in Slack."""
    return _said("Nothing can be told in Slack", [harmless(why, 500)], url)


def _said(title: str, lines: list[str], url: str) -> Said:
    text = clip("\n".join(lines), MOST_LETTERS - len(url) - 1)
    return Said(title, f"{text}\n{url}".strip())


def _asset() -> AppriseAsset:
    """No redirects, nothing on disk, no pictures from other hosts, no code from files."""
    from apprise import AppriseAsset  # noqa: PLC0415 -- as above

    return AppriseAsset(
        app_id="Runbooks",
        app_desc="Runbooks",
        app_url="",
        image_url_mask="",
        image_url_logo="",
        http_redirects=False,
        secure_logging=True,
        storage_mode="memory",
    )


def _silence() -> None:
    """Addresses stand in what these libraries log, from DEBUG on; trouble is told by `send`."""
    for name in _TALKATIVE:
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)
