"""What cells say to the service: findings, proposals, values to keep, verdicts.

Each is one display message with a MIME bundle of its own beside `text/plain`. The service takes them as
untrusted. In JupyterLab the same message also carries HTML, to be read by the author.
"""

from __future__ import annotations

import sys
from html import escape
from typing import Any

from runbook_library.kit import service
from runbook_library.kit.gates import gate_name
from runbook_library.kit.values import as_evidence, as_json

SEVERITIES = ("critical", "warning", "info")


def finding(severity: str, summary: str, evidence: Any = None) -> None:
    """Tell what the diagnosis found, in one sentence, with what shows it.

    `severity` is `critical` (people are hurt now), `warning` (they soon will be, or may be) or `info`.
    `evidence` is a table (a pandas DataFrame, or a list of dicts), text, or any JSON value; of a table the
    first 200 rows are kept and the rest is counted.
    """
    if severity not in SEVERITIES:
        raise ValueError(f"a finding's severity is one of {', '.join(SEVERITIES)}, not {severity!r}")
    sentence = " ".join(str(summary).split())
    if not sentence:
        raise ValueError("a finding needs a summary: one sentence that says what was found")
    shown = as_evidence(evidence)
    send(
        "finding",
        {"severity": severity, "summary": sentence, "evidence": shown},
        f"{severity.upper()}: {sentence}",
        _evidence_html(shown),
    )


def propose(gate: str, /, *, reason: str = "", **inputs: Any) -> None:
    """Propose the remediation with this gate, with its inputs frozen as they are now.

    Values become JSON: dates and times ISO 8601 text (in UTC where the zone is known), decimals numbers.
    `reason` tells the approver why.
    """
    values = {name: as_json(value, f"propose({gate!r}, {name}=…)") for name, value in inputs.items()}
    rehearsal = "\n".join(["kit.rehearse()", *(f"{name} = {value!r}" for name, value in values.items())])
    send(
        "proposal",
        {"gate": gate_name(gate), "inputs": values, "reason": " ".join(str(reason).split())},
        f"PROPOSED: {gate}" + (f" - {reason}" if reason else ""),
        f"<p>To rehearse it here, run this first:</p><pre>{escape(rehearsal)}</pre>",
    )


def keep(**values: Any) -> None:
    """Keep values for the verification cells, which read them as `kit.kept.NAME`; they become JSON."""
    kept = {name: as_json(value, f"keep({name}=…)") for name, value in values.items()}
    service.state.kept.update(kept)
    told = ", ".join(f"{name} = {value!r}" for name, value in kept.items())
    send("keep", {"values": kept}, f"Kept: {told}")


def verdict(name: str, *, ok: bool, seconds: float, detail: str) -> None:
    """Tell how a check of the verification went; `seconds` is how long it took."""
    took = f" after {seconds:.1f} s" if seconds else ""
    send(
        "check",
        {"name": str(name), "ok": ok, "seconds": round(seconds, 3), "detail": detail},
        f"{'PASSED' if ok else 'NOT PASSED'}{took}: {name}" + (f" - {detail}" if detail else ""),
    )


def send(kind: str, bundle: dict[str, Any], text: str, html: str = "") -> None:
    """Display one message; outside IPython print its text."""
    shell = sys.modules.get("IPython.core.interactiveshell")
    if shell is None or not shell.InteractiveShell.initialized():
        print(text)  # noqa: T201
        return

    from IPython.display import display  # noqa: PLC0415 - only where IPython runs already

    data: dict[str, Any] = {f"application/vnd.runbook.{kind}+json": bundle, "text/plain": text}
    if not service.state.in_service:
        data["text/html"] = f"<p><strong>{escape(text)}</strong></p>{html}"
    display(data, raw=True)  # type: ignore[no-untyped-call]


def _evidence_html(evidence: dict[str, Any] | None) -> str:
    """The evidence for a reader in JupyterLab."""
    if evidence is None:
        return ""
    if evidence["kind"] != "table":
        shown = evidence["text"] if evidence["kind"] == "text" else repr(evidence["value"])
        return f"<pre>{escape(shown)}</pre>"
    head = "".join(f"<th>{escape(column['name'])}</th>" for column in evidence["columns"])
    rows = "".join(
        "<tr>" + "".join(f"<td>{'' if cell is None else escape(str(cell))}</td>" for cell in row) + "</tr>"
        for row in evidence["rows"]
    )
    more = f"<p>and {evidence['omitted']} more rows</p>" if evidence["omitted"] else ""
    return f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>{more}"
