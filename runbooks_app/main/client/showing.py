"""What `runbooks show` and `runbooks run --wait` print of a runbook, a run, a proposal, an incident."""

from __future__ import annotations

import shlex
from typing import Any

from runbooks_app.core.wording import one_line, show
from runbooks_app.main.client.printing import line, plain, table, values, when

_SEVERITIES = ("critical", "warning", "info", "ok")
_MARKS = {"critical": "!!", "warning": "! ", "info": "- ", "ok": "ok"}


def runbook(found: dict[str, Any]) -> None:
    """What it looks into, what it takes, what it may propose, and how it is started."""
    line(f"{found['name']}  {found['title']}", style="bold")
    if found["description"]:
        line(found["description"])
    if found["owner"]:
        line(f"Kept by {found['owner']}.")
    schema = found["parameters"]
    required, properties = schema.get("required", []), _in_order(schema)
    line("\nParameters" if properties else "\nIt takes no parameters.", style="bold")
    rows = [
        (name, _type(said), "required" if name in required else f"= {show(said.get('default'))}", _help(said))
        for name, said in properties.items()
    ]
    if rows:
        table(("NAME", "TYPE", "DEFAULT", "WHAT IT IS"), rows, empty="")
    if found["gates"]:
        line("\nMay propose", style="bold")
        table(
            ("ACTION", "WHAT IT DOES", "RISK"),
            [(gate["name"], gate["title"], gate["risk"]) for gate in found["gates"]],
            empty="",
        )
    example = " ".join([shlex.quote(found["name"]), *(f"{name}=…" for name in required)])
    line(f"\nStart it:  runbooks run {example}")


def run(found: dict[str, Any], url: str) -> None:
    """How far it is, what it found, what went wrong, what it proposes."""
    line(f"{found['runbook']}  {found['state']}{' in part' if found['in_part'] else ''}", style="bold")
    if found["parameters"]:
        line(values(found["parameters"]))
    if ask := found.get("ask"):
        line(ask["hypothesis"])
        line(ask["source"], indent=2)
        line(f"It showed: {ask['conclusion'] or 'nobody has written that down yet'}", style="bold")
    asked = f"Asked for by {found['requested_by']['name']}, {when(found['requested_at'])}"
    line(asked + (f"; ended {when(found['ended_at'])}" if found["ended_at"] else ""))
    if found["waiting"]:
        line(f"It waits, as number {found['waiting']['place']} in line: {found['waiting']['why']}")
    if found["reason"]:
        line(found["reason"], style="red" if found["state"] != "diagnosed" else "")
    for problem in found["problems"] or ():
        line(str(problem), indent=2)
    findings = sorted(found["findings"], key=lambda finding: _rank(finding["severity"]))
    for finding in findings:
        line(f"{_MARKS.get(finding['severity'], '- ')} {finding['summary']}", style=_colour(finding["severity"]))
    if not findings and found["ended_at"]:
        line("It found nothing to tell.")
    for attempt in found["attempts"]:
        for cell in attempt["cells"]:
            if cell["state"] not in {"ok", "waiting", "running"}:
                line(f"cell {cell['id']}: {cell['state']}. {cell['reason'] or ''}".rstrip(), style="red")
    for made in found["proposals"]:
        line(f"\nProposes  {made['title']}", style="bold")
        line(f"{made['id']}  {made['state']}  {made['policy']['risk']} risk  {url}/proposals/{made['id']}")
    line(f"\n{url}/runs/{found['id']}")


def proposal(found: dict[str, Any], url: str) -> None:
    """Everything that a decision binds to: what, on what, as whom, with which inputs, why, and the code itself."""
    line(found["title"], style="bold")
    if found["reason"]:
        line(found["reason"])
    if found["by_hand"]:
        line("Not proposed by the diagnosis: somebody proposes it by hand.", style="yellow")
    stands = ": ".join(filter(None, (found["state"], found["state_reason"])))
    stands += f"; {found['verification'].replace('_', ' ')}" if found["verification"] else ""
    rows = [("state", stands), ("risk", found["policy"]["risk"]), ("target", found["target"])]
    rows += [("with", f"{c['connection']}, as {c['role'] or 'its own role'}") for c in found["connections"]]
    rows += [(f"input {name}", show(value, 500)) for name, value in found["inputs"].items()]
    names = found["names"]
    asked = ", ".join(names.get(subject, subject) for subject in found["requesters"])
    rows += [("asked for by", asked or "nobody: it came by itself")]
    rows += [("sponsor", names.get(found["sponsor"], found["sponsor"]))] if found["sponsor"] else []
    rows += [("expires", when(found["expires_at"]))]
    rows += [
        (f"{said['verdict']}", f"{said['by']}, {when(said['at'])} {said['reason']}".rstrip())
        for said in found["decisions"]
    ]
    width = max(len(name) for name, _ in rows) + 2
    for name, value in rows:
        line(f"{name:{width}}{one_line(plain(value), 500)}")
    for finding in sorted(found["evidence"], key=lambda one: _rank(one["severity"])):
        line(f"{_MARKS.get(finding['severity'], '- ')} {finding['summary']}", style=_colour(finding["severity"]))
    line("\nThe code that runs", style="bold")
    gone = "The runbook as it ran cannot be read any more; nothing can be approved."
    line((found["source"] or gone).strip("\n"), indent=2)
    line(f"\ndigest {found['digest']}\n{url}/proposals/{found['id']}")


def incident(found: dict[str, Any], url: str) -> None:
    """Its runs, proposals and notes."""
    line(f"Incident {found['id']}  {found['title']}", style="bold")
    closed = f"; closed {when(found['closed_at'])}: {found['cause']}" if found["closed_at"] else ""
    line(f"Opened by {found['opened_by']['name']}, {when(found['opened_at'])}{closed}")
    if found["runs"]:
        line("\nRuns", style="bold")
        runs(found["runs"])
    if found["proposals"]:
        line("\nProposals", style="bold")
        proposals(found["proposals"])
    if found["notes"]:
        line("\nNotes", style="bold")
    for note in found["notes"]:
        line(f"{note['by']}, {when(note['at'])}")
        line(note["text"], indent=2)
    line(f"\n{url}/incidents/{found['id']}")


def runbooks(found: dict[str, Any]) -> None:
    """All runbooks; what cannot serve as one stands below, with the reason."""
    rows = [(each["name"], each["title"], _parameters(each), each["owner"]) for each in found["runbooks"]]
    table(("NAME", "WHAT IT LOOKS INTO", "PARAMETERS", "KEPT BY"), rows, empty="There is no runbook yet.")
    for each in found["broken"]:
        line(f"{each['name']} cannot be run: {each['message']}", style="red")


def runs(found: list[dict[str, Any]]) -> None:
    """Runs, one in a line."""
    rows = [
        (r["id"], r["state"], r["runbook"], r["requested_by"]["name"], when(r["requested_at"]), values(r["parameters"]))
        for r in found
    ]
    table(("RUN", "STATE", "RUNBOOK", "ASKED FOR BY", "WHEN", "PARAMETERS"), rows, empty="Nothing has run yet.")


def proposals(found: list[dict[str, Any]]) -> None:
    """Proposals, one in a line."""
    rows = [(p["id"], p["state"], p["policy"]["risk"], p["title"], p["target"], when(p["expires_at"])) for p in found]
    names = ("PROPOSAL", "STATE", "RISK", "WHAT IT DOES", "TARGET", "EXPIRES")
    table(names, rows, empty="No proposal waits for a decision.")


def incidents(found: list[dict[str, Any]]) -> None:
    """Incidents, one in a line."""
    rows = [
        (str(i["id"]), "closed" if i["closed_at"] else "open", i["title"], i["opened_by"]["name"], when(i["opened_at"]))
        for i in found
    ]
    table(("INCIDENT", "STATE", "TITLE", "OPENED BY", "WHEN"), rows, empty="No incident is open.")


def _parameters(each: dict[str, Any]) -> str:
    schema = each["parameters"]
    required = schema.get("required", [])
    return " ".join(name if name in required else f"[{name}]" for name in _in_order(schema))


def _in_order(schema: dict[str, Any]) -> dict[str, Any]:
    """The parameters, those first that have to be given."""
    properties: dict[str, Any] = schema.get("properties", {})
    return dict(sorted(properties.items(), key=lambda item: item[0] not in schema.get("required", [])))


def _type(said: dict[str, Any]) -> str:
    if "enum" in said:
        return " | ".join(show(choice) for choice in said["enum"])
    if said.get("type") == "array":
        return f"list of {_type(said.get('items', {}))}"
    return str(said.get("format") or said.get("type") or "")


def _help(said: dict[str, Any]) -> str:
    return str(said.get("description", ""))


def _rank(severity: str) -> int:
    return _SEVERITIES.index(severity) if severity in _SEVERITIES else len(_SEVERITIES)


def _colour(severity: str) -> str:
    return {"critical": "bold red", "warning": "yellow"}.get(severity, "")
