"""Postmortems: three forms, the same facts, and an entry behind each claim."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from itertools import pairwise

import documents_hostile as hostile
import nbformat
import pytest
from documents_story import OPENED, at, bundle, display, make_story, ref

from runbooks_app.core.incident import IncidentStory, ReviewStory, RunStory, Told
from runbooks_app.core.proposal import ProposalState
from runbooks_app.core.run import RunState
from runbooks_app.documents import postmortem
from runbooks_app.documents.account import account, proofs
from runbooks_app.documents.blocks import Grid, Heading, Proof, Span
from runbooks_app.documents.wording import lasted

WHOLE = make_story()


def forms(story):
    notebook = postmortem.as_notebook(story)
    text = "\n\n".join(cell["source"] + json.dumps(cell.get("outputs", "")) for cell in notebook["cells"])
    return {
        "html": hostile.text_of(postmortem.as_html(story)),
        "markdown": postmortem.as_markdown(story),
        "notebook": text,
    }


WHOLE_FORMS = forms(WHOLE)


@pytest.mark.parametrize("form", ["html", "markdown", "notebook"])
@pytest.mark.parametrize(
    "fact",
    [
        "Postmortem: Orders are slow",
        "2026-11-22 03:12:04 UTC by Alertmanager",
        "A migration held a lock",
        "1 min 26 s",
        "1 min 40 s",
        "diagnosed in part",
        "session 4711 blocks 37 others",
        "ALTER TABLE orders ADD COLUMN note text",
        "12 more rows left out",
        "connection refused",
        "needs lag, which replicas would have defined",
        "the migration can be repeated",
        "database and (payments or sre)",
        "too late, without effect",
        "the same action was proposed again",
        "rb_4711_remediate",
        "terminated 4711",
        "not proposed by the diagnosis",
        "it was never executed",
        "With lock",
        "runbooks audit verify",
        "(entry 41 · ",
        ref(47).hash,
        "ab" * 32,
        "for orders-db",
        "role/rb-4711",
        "for cloud",
    ],
)
def test_every_form_tells_the_fact(form, fact):
    fact = "database and (payments or sre)".replace("(database)", "database") if fact.startswith("(database)") else fact
    assert fact in forms(WHOLE)[form].replace("\\", "")


def test_every_claim_names_its_entry():
    """Rows of the timeline, decisions, findings and outcomes each end in a proof, and each proof is in all forms."""
    blocks = account(WHOLE)
    for grid in (found for found in blocks if isinstance(found, Grid) and found.stacks):
        assert all(any(isinstance(span, Proof) and span.entry for line in row for span in line) for row in grid.rows)
    claims = {
        "Opened",
        "Closed",
        "Cause",
        "Requested",
        "Ended",
        "Proposed",
        "State",
        "Started",
        "Outcome",
        "Re-checked",
        "Credential",
    }
    told = [row for grid in blocks if isinstance(grid, Grid) and not grid.head for row in grid.rows]
    for name, line in told:
        if isinstance(name[0], Span) and (name[0].text in claims or name[0].text.startswith("Time to")):
            assert any(isinstance(span, Proof) and span.entry for span in line), name[0].text
    assert [entry.seq for entry in proofs(blocks)] == list(range(40, 57))
    for text in forms(WHOLE).values():
        for seq in range(40, 57):
            assert f"(entry {seq} · {ref(seq).hash[:12]}…)" in text
            assert ref(seq).hash in text


def test_a_claim_without_an_entry_says_so():
    bare = replace(WHOLE, opened=None)
    assert all("by Alertmanager (no entry)" in text for text in forms(bare).values())


def test_the_notebook_is_valid_and_opens_with_outputs_counts_and_timing(tmp_path):
    path = tmp_path / "postmortem.ipynb"
    path.write_text(postmortem.as_notebook_text(WHOLE), encoding="utf-8")
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    assert (notebook.nbformat, notebook.nbformat_minor) == (4, 5)
    cells = {cell.id: cell for cell in notebook.cells}
    assert len(cells) == len(notebook.cells)
    blocking = cells["blocking"]
    assert blocking.execution_count == 2
    assert blocking.metadata.tags == ["diagnostic"]
    assert blocking.metadata.execution == {
        "iopub.execute_input": "2026-11-22T03:12:06.100000Z",
        "shell.execute_reply": "2026-11-22T03:12:07.300000Z",
    }
    assert blocking.outputs[0].text == "4711 \x1b[31;1mblocks 37\x1b[0m others\n"
    assert "image/png" in blocking.outputs[1].data
    assert "application/vnd.runbook.finding+json" in blocking.outputs[3].data
    assert cells["intro"].source.startswith("## Latency")
    assert cells["terminate-2"].outputs == []
    assert notebook.metadata.runbook.incident == "inc-7"


def test_the_notebook_keeps_no_form_that_executes():
    evil = dict.fromkeys(
        (
            "application/javascript",
            "application/vnd.jupyter.widget-view+json",
            "image/svg+xml",
            "text/latex",
            "text/markdown",
            "text/vnd.mermaid",
        ),
        "alert(1)",
    )
    story = make_story(
        outputs=(
            display(
                data={
                    **evil,
                    "text/html": "<img src=x onerror=alert(1)><b>x</b>",
                    "text/plain": "x\x1b]8;;http://e\x07",
                }
            ),
            display(data=evil),
            {"output_type": "execute_result", "data": {"text/plain": "7"}, "execution_count": 2, "metadata": {}},
            {"output_type": "nonsense"},
            "nonsense",
        )
    )
    outputs = next(cell for cell in postmortem.as_notebook(story)["cells"] if cell["id"] == "blocking")["outputs"][5:]
    assert outputs[0]["data"] == {"text/html": "<img><b>x</b>", "text/plain": "x"}
    assert outputs[1]["data"] == {"text/plain": f"[left out: {', '.join(evil)}]"}
    assert outputs[2]["execution_count"] == 2
    assert all("malformed" in output["text"] for output in outputs[3:])


def test_ten_megabytes_of_output_make_a_small_document():
    story = make_story(outputs=({"output_type": "stream", "name": "stdout", "text": "line of output\n" * 700_000},))
    html, markdown = postmortem.as_html(story), postmortem.as_markdown(story)
    assert len(html) < 400_000
    assert len(markdown) < 100_000
    assert "more lines left out" in html
    assert "more lines left out" in markdown


def test_an_incident_in_which_little_happened_is_told_too():
    story = IncidentStory("inc-1", "", OPENED, "Olga Call")
    for text in forms(story).values():
        assert "Postmortem: inc-1" in text
        assert "did not happen" in text
        assert "Nothing was recorded." in text
    going = RunStory("run-1", "db-latency", "", "00", {}, "Olga Call", OPENED, RunState.DIAGNOSING)
    for text in forms(replace(story, runs=(going, going))).values():
        assert "Run 2 of 2: db-latency" in text


def test_stale_and_unknown_are_told_as_what_they_are():
    (run,) = WHOLE.runs
    applied, denied = run.proposals
    unknown = replace(
        applied,
        state=ProposalState.UNKNOWN,
        remediation=replace(
            applied.remediation, outcome=ProposalState.UNKNOWN, ended_at=None, reason="the worker went away"
        ),
        verification=None,
    )
    stale = replace(
        denied, state=ProposalState.STALE, closed_reason="the session is gone", closed=ref(60), decisions=()
    )
    story = replace(WHOLE, runs=(replace(run, proposals=(unknown, stale)),))
    for text in forms(story).values():
        assert "unknown: the worker went away" in text
        assert "stale: the session is gone" in text
        assert "(entry 60 · " in text
        assert "Nobody decided." in text


@pytest.mark.identity
def test_signed_decisions_and_break_glass_are_told_as_such():
    (run,) = WHOLE.runs
    applied, denied = run.proposals
    alone = replace(applied.decisions[0], signed=False, break_glass=True)
    glass = replace(applied, decisions=(alone,))
    for text in forms(WHOLE).values():
        assert "web, signed for just this" in text
        assert "broke the glass" not in text
    for text in forms(replace(WHOLE, runs=(replace(run, proposals=(glass, denied)),))).values():
        assert "broke the glass, without approval" in text
        assert "The break-glass is open: nobody has reviewed it yet." in text
        assert "signed for just this" not in text
    reviewed = replace(glass, review=ReviewStory("Otto Audit", "it was the only way", OPENED, ref(61)))
    for text in forms(replace(WHOLE, runs=(replace(run, proposals=(reviewed, denied)),))).values():
        assert "Break-glass reviewed by" in text
        assert "it was the only way" in text
        assert "(entry 61 · " in text
        assert "is open" not in text


def test_malformed_evidence_is_told():
    (run,) = WHOLE.runs
    finding = replace(run.findings[0], evidence={"kind": "table", "rows": 7})
    for text in forms(replace(WHOLE, runs=(replace(run, findings=(finding,)),))).values():
        assert "The evidence cannot be shown" in text


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "0.0 s"),
        (0.44, "0.4 s"),
        (12.4, "12 s"),
        (60, "1 min"),
        (372, "6 min 12 s"),
        (7500, "2 h 5 min"),
        (273_600, "3 d 4 h"),
        (-5, "0.0 s"),
    ],
)
def test_durations_read_well(seconds, words):
    assert lasted(timedelta(seconds=seconds)) == words


def test_headings_descend_one_level_at_a_time():
    levels = [found.level for found in account(WHOLE) if isinstance(found, Heading)]
    assert levels[0] == 1
    assert all(lower - higher <= 1 for higher, lower in pairwise(levels))


def test_the_timeline_keeps_its_order():
    story = replace(WHOLE, items=(*WHOLE.items, Told(at(700), WHOLE.items[0].kind, "last of all")))
    markdown = postmortem.as_markdown(story)
    assert markdown.index("last of all") > markdown.index("Migration is repeated at noon")


def test_every_kind_of_output_is_told_in_every_form():
    withheld = "[runbooks] The output of this cell is withheld: it holds a secret, spread out.\n"
    outputs = (
        bundle("keep", {"values": {"p99": 2.5}}, "kept p99"),
        bundle(
            "finding",
            {"severity": "info", "summary": "as JSON", "evidence": {"kind": "json", "value": {"a": 1}}},
            "as JSON",
        ),
        {"output_type": "stream", "name": "stdout", "text": "between\n"},
        {"output_type": "stream", "name": "stderr", "text": withheld},
        display(data={"application/json": {"state": "idle"}, "text/plain": "state idle"}),
        display(data={"text/markdown": "**bold** words", "text/plain": "bold words"}),
    )
    told = forms(make_story(outputs=outputs))
    for text in told.values():
        for words in ("p99", "as JSON", "withheld: it holds a secret, spread out", "idle", "bold"):
            assert words in text
    assert "<strong>bold</strong>" in postmortem.as_html(make_story(outputs=outputs))
