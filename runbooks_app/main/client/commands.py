"""The commands for whoever is signed in to a service. Each is one or two calls of its API.

Exit codes: 0 done; 1 the service refused, or the run did not end well; 2 misuse, or nobody answers; 3 a person has to
act in a browser first, to sign in or to sign a decision.
"""

from __future__ import annotations

import contextlib
import logging
import re
import sys
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from runbooks_app.main.client import printing, showing, signing_in, talking, waiting
from runbooks_app.main.client.api import Api, Missing
from runbooks_app.main.client.failures import Failure, NeedsBrowser, Refusal, Unreachable
from runbooks_app.main.client.keeping import Sessions

PANEL = "At a service, signed in"
EXITS = (
    "Exit codes: 0 done; 1 refused, or the run did not end well; 2 misuse, or nobody answers; 3 needs a browser first."
)
_ID = re.compile(r"[a-z2-7]{16}")

Url = Annotated[
    str,
    typer.Option(
        envvar="RUNBOOKS_URL",
        help="The service, such as https://runbooks.example.com; else where you signed in last.",
        show_default=False,
    ),
]
ForAgent = Annotated[bool, typer.Option("--agent", help="The sign-in of your agents on this machine, not your own.")]
Json = Annotated[bool, typer.Option("--json", help="Print what the API answers, as JSON.")]
Reason = Annotated[str, typer.Option(help="Why; it goes into the audit trail for good.")]
ProposalId = Annotated[str, typer.Argument(metavar="PROPOSAL", help="Its id; see: runbooks list proposals")]
IncidentId = Annotated[int, typer.Argument(metavar="INCIDENT", min=1, help="Its number; see: runbooks list incidents")]


class What(StrEnum):
    """What can be listed."""

    RUNBOOKS = "runbooks"
    RUNS = "runs"
    PROPOSALS = "proposals"
    INCIDENTS = "incidents"


class Format(StrEnum):
    """What a postmortem can be."""

    MD = "md"
    HTML = "html"
    IPYNB = "ipynb"


def register(app: typer.Typer) -> None:
    """Add the commands."""
    for command, name in (
        (login, "login"),
        (logout, "logout"),
        (list_, "list"),
        (show, "show"),
        (run, "run"),
        (cancel, "cancel"),
        (approve, "approve"),
        (deny, "deny"),
        (note, "note"),
        (postmortem, "postmortem"),
    ):
        app.command(name, rich_help_panel=PANEL, epilog=EXITS)(command)


def login(url: Url = "", agent: ForAgent = False) -> None:
    """Sign in to a service, through its sign-in provider, in any browser.

    With --agent a program on this machine may act for you (`runbooks mcp`): it asks and proposes, and decides nothing.

    Examples: runbooks login --url https://runbooks.example.com · runbooks login --agent
    """
    # What the library about providers logs is told by the errors that it raises.
    logging.getLogger("runbooks_app").addHandler(logging.NullHandler())
    sessions = Sessions(agent=agent)
    if not url:
        latest = sessions.latest() or Sessions().latest()
        if latest is None:
            raise Failure(f"Name the service: {sessions.login} --url https://runbooks.example.com")
        url = latest.url
    provider = signing_in.provider_of(talking.base_url(url), agent=agent)
    begun = signing_in.begin(provider)
    print(f"Open   {begun.address}\nEnter  {begun.code}", flush=True)
    if begun.whole_address:
        print(f"\nOr open {begun.whole_address} and see that it shows this very code.", flush=True)
    with waiting.shown(f"Waiting for you to sign in, for {begun.seconds / 60:.0f} min at most"):
        session = signing_in.finish(provider, begun)
    answer = talking.ask("GET", f"{provider.url}/api/v1/me", token=session.access_token)
    me = answer.json()
    if answer.status != 200 or "name" not in me:
        with contextlib.suppress(Failure):
            signing_in.revoke(session)
        why = printing.plain(str(me.get("error", {}).get("message", f"status {answer.status}")))
        raise Refusal(f"{provider.url} does not take the provider's access token: {why}")
    if agent and not me.get("agent"):
        with contextlib.suppress(Failure):
            signing_in.revoke(session)
        raise Refusal(f"{provider.url} takes this sign-in for yours, not for an agent's; it is not kept.")
    with sessions.locked(provider.url):
        sessions.save(session)
    roles = ", ".join(me["roles"])
    print(printing.plain(f"\nSigned in at {provider.url} as {me['name']} ({roles or 'no role'})."))
    if not roles:
        print("Without a role you can do nothing there: none of your groups gives one. Ask who runs the service.")


def logout(url: Url = "", agent: ForAgent = False) -> None:
    """Sign out: the tokens are revoked at the provider, and removed from this machine.

    Examples: runbooks logout · runbooks logout --agent
    """
    sessions = Sessions(agent=agent)
    where = service_at(url, sessions)
    with sessions.locked(where):
        session = sessions.load(where)
        if session is None:
            print(f"You are not signed in at {where}.")
            return
        sessions.remove(where)
    try:
        revoked = signing_in.revoke(session)
    except Unreachable:
        revoked = False
    print(f"Signed out of {where}.")
    if not revoked:
        print("The provider did not confirm it: copies of the tokens, if there are any, are good until they expire.")


def list_(
    what: Annotated[What, typer.Argument(help="What to list.")] = What.RUNBOOKS,
    limit: Annotated[int, typer.Option(min=1, max=200, help="How many runs or incidents at most.")] = 20,
    url: Url = "",
    json_: Json = False,
) -> None:
    """List runbooks; or runs, proposals that wait for a decision, open incidents.

    Examples: runbooks list · runbooks list runs --limit 5 · runbooks list proposals --json
    """
    api = _api(url)
    query = {"limit": limit} if what in {What.RUNS, What.INCIDENTS} else {}
    found = api.get(what, **query)
    if json_:
        printing.as_json(found)
    elif what is What.RUNBOOKS:
        showing.runbooks(found)
    else:
        shown: dict[What, Callable[[list[dict[str, Any]]], None]] = {
            What.RUNS: showing.runs,
            What.PROPOSALS: showing.proposals,
            What.INCIDENTS: showing.incidents,
        }
        shown[what](found[what])


def show(
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="A runbook's name, a run's or proposal's id, an incident's number.")
    ],
    url: Url = "",
    json_: Json = False,
) -> None:
    """Show one runbook, run, proposal or incident.

    Examples: runbooks show db-latency · runbooks show q2k7m4xw5hd3ntra · runbooks show 12
    """
    api = _api(url)
    kind, found = _find(api, name)
    if json_:
        printing.as_json(found)
    elif kind == "runbook":
        showing.runbook(found)
    else:
        {"run": showing.run, "proposal": showing.proposal, "incident": showing.incident}[kind](found, api.url)


def run(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The runbook's name; see: runbooks list")],
    parameters: Annotated[
        list[str] | None, typer.Argument(metavar="KEY=VALUE", help="Its parameters; see: runbooks show NAME")
    ] = None,
    incident: Annotated[int | None, typer.Option(min=1, help="The incident that it belongs to, by number.")] = None,
    wait: Annotated[bool, typer.Option("--wait", help="Wait for its end, and show what it found.")] = False,
    url: Url = "",
    json_: Json = False,
) -> None:
    """Run the read-only part of a runbook. What it proposes is approved by somebody else.

    Exit code 0 without --wait: the run is asked for. With --wait: its diagnosis has ended, in part perhaps.

    Examples: runbooks run db-latency database=orders-db --wait · runbooks run disk-full note="two words" --json
    """
    api = _api(url)
    asked: dict[str, Any] = {"runbook": name, "parameters": _pairs(parameters or [])}
    if incident is not None:
        asked["incident"] = incident
    made = api.post("runs", **asked)
    if wait:
        made = waiting.ended(api, made["id"])
    if json_:
        printing.as_json(made)
    elif wait:
        showing.run(made, api.url)
    else:
        print(f"{made['id']}  {made['state']}  {api.url}/runs/{made['id']}")
    if wait and made["state"] != "diagnosed":
        raise typer.Exit(1)


def cancel(
    run: Annotated[str, typer.Argument(metavar="RUN", help="Its id; see: runbooks list runs")],
    url: Url = "",
    json_: Json = False,
) -> None:
    """Stop a run. What it has found so far stays.

    Example: runbooks cancel q2k7m4xw5hd3ntra
    """
    found = _api(url).post("runs", run, "cancel")
    if json_:
        printing.as_json(found)
    else:
        stands = f"has ended: {found['state']}" if found["ended_at"] else "is being stopped"
        print(f"Run {found['id']} {stands}")


def approve(
    proposal: ProposalId,
    reason: Reason = "",
    digest: Annotated[str, typer.Option(help="Of the proposal as you saw it: approve without being asked again.")] = "",
    url: Url = "",
    json_: Json = False,
) -> None:
    """Approve a proposal, after it was shown to you. High risk is approved on its page alone, by a fresh sign-in.

    Examples: runbooks approve q2k7m4xw5hd3ntra · runbooks approve q2k7m4xw5hd3ntra --reason "seen it" --digest 3f1c…
    """
    api = _api(url)
    if not digest:
        found = api.get("proposals", proposal)
        if found["why_not"]:
            raise Refusal(found["why_not"])
        if found["policy"]["risk"] == "high":
            raise NeedsBrowser(f"High risk is approved by a fresh sign-in, at {api.url}/proposals/{found['id']}")
        if not (sys.stdin.isatty() and printing.on_terminal()):
            raise Failure(
                f"Nobody sees here what is approved. Look at it first, and name its digest: runbooks show {proposal}"
            )
        showing.proposal(found, api.url)
        if not typer.confirm("\nApprove exactly this?"):
            raise Refusal("Nothing was decided.")
        digest = found["digest"]
    _decided(api.post("proposals", proposal, "decisions", verdict="approve", digest=digest, reason=reason), json_)


def deny(
    proposal: ProposalId,
    reason: Annotated[str, typer.Option(help="Why not; it goes into the audit trail for good.")],
    url: Url = "",
    json_: Json = False,
) -> None:
    """Deny a proposal. One denial is enough, also after an approval that has not started.

    Example: runbooks deny q2k7m4xw5hd3ntra --reason "the migration is almost done"
    """
    api = _api(url)
    digest = api.get("proposals", proposal)["digest"]
    _decided(api.post("proposals", proposal, "decisions", verdict="deny", digest=digest, reason=reason), json_)


def note(
    incident: IncidentId,
    text: Annotated[list[str], typer.Argument(metavar="TEXT", help="The note; it stays in the audit trail for good.")],
    url: Url = "",
    json_: Json = False,
) -> None:
    """Put a note on an incident's timeline.

    Example: runbooks note 12 blocked deploys until 04:00
    """
    api = _api(url)
    made = api.post("incidents", incident, "notes", text=" ".join(text))
    if json_:
        printing.as_json(made)
    else:
        print(f"Noted: {api.url}/incidents/{incident}")


def postmortem(
    incident: IncidentId,
    format_: Annotated[Format, typer.Option("--format", help="Markdown, a page, or a notebook.")] = Format.MD,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="File to write; must not exist yet.")] = None,
    url: Url = "",
) -> None:
    """Write an incident's postmortem. That it left the service goes into the audit trail.

    Examples: runbooks postmortem 12 · runbooks postmortem 12 --format ipynb --output incident-12.ipynb
    """
    if output is not None and output.exists():
        raise Failure(f"{output} exists already; name another file.")
    if output is None and format_ is not Format.MD and printing.on_terminal():
        raise Failure(f"Name a file for it: --output postmortem-{incident}.{format_}")
    content = _api(url).fetch("incidents", incident, "exports", kind=format_)
    if output is not None:
        try:
            with output.open("xb") as file:
                file.write(content)
        except OSError as error:
            raise Failure(f"{output} cannot be written ({error.strerror}).") from None
        print(f"{output} is written.")
    elif printing.on_terminal():
        printing.line(content.decode(errors="replace"))
    else:
        sys.stdout.buffer.write(content)


def service_at(url: str, sessions: Sessions) -> str:
    """The service that is meant: the one that is named, else that of the latest sign-in."""
    if url:
        return talking.base_url(url)
    latest = sessions.latest()
    if latest is None:
        raise NeedsBrowser(f"You are not signed in. Sign in: {sessions.login} --url https://runbooks.example.com")
    return latest.url


def _api(url: str) -> Api:
    sessions = Sessions()
    return Api(service_at(url, sessions), sessions)


def _find(api: Api, name: str) -> tuple[str, dict[str, Any]]:
    """What a name or an id stands for, and its kind."""
    if name.isdigit():
        return "incident", api.get("incidents", name)
    if _ID.fullmatch(name):
        for kind in ("run", "proposal"):
            with contextlib.suppress(Missing):
                return kind, api.get(f"{kind}s", name)
    return "runbook", api.get("runbooks", name)


def _pairs(given: list[str]) -> dict[str, str]:
    """Parameters as they were typed; the service gives them types, and says what it does not know."""
    found: dict[str, str] = {}
    for text in given:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise Failure(f"{text!r} is no parameter. Write name=value; quote what holds spaces: note='two words'")
        if name in found:
            raise Failure(f"{name} is given twice. Give it once.")
        found[name] = value
    return found


def _decided(found: dict[str, Any], json_: bool) -> None:
    if json_:
        printing.as_json(found)
        return
    approvals = sum(said["verdict"] == "approve" for said in found["decisions"])
    missing = found["policy"]["approvals"] - approvals
    more = f"; {missing} more approval{'s' * (missing > 1)} needed" if found["state"] == "proposed" else ""
    printing.line(f"{found['title']}: {found['state']}{more}")
