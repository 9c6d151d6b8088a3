"""The commands of a client: what they ask, and what is printed of answers."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from dataclasses import replace

import pytest
from far_service import error

from runbooks_app.main.client import waiting

pytestmark = pytest.mark.identity

RUN = "q2k7m4xw5hd3ntra"
ESCAPES = "\x1b[2J\x1b]0;owned\x07\u202e\u009b31m"


def test_a_service_that_is_not_there_or_is_none_is_told_in_words(far, ana, runbooks):
    far.answers["GET /api/v1/runbooks"] = [(200, b"<html>a proxy's page</html>")]
    code, _, complained = runbooks("list")
    assert (code, "does not answer as a runbooks service does" in complained) == (2, True)
    far.answers["GET /api/v1/runbooks"] = [(0, None)]
    assert runbooks("list")[0] == 2
    gone = replace(ana.load(far.url), url="http://127.0.0.1:9", signed_in_at=time.time() + 1)
    ana.save(gone)
    code, _, complained = runbooks("list")
    assert (code, "takes no connections" in complained) == (2, True)


@pytest.mark.parametrize(
    ("status", "code", "exit_code"),
    [(403, "refused", 1), (409, "conflict", 1), (404, "not_found", 2), (422, "invalid_input", 2), (429, "x", 2),
     (503, "unavailable", 2), (500, "internal", 2), (403, "signed_decision_required", 3)],
)  # fmt: skip
def test_what_the_service_refuses_is_told_in_its_words_with_a_code_for_scripts(
    far, ana, runbooks, status, code, exit_code
):
    told = error(code, "There is no parameter databse.", ("databse", "no such parameter.", "Did you mean database?"))
    far.answers["POST /api/v1/runs"] = [(status, told)]
    left, out, complained = runbooks("run", "db-latency", "databse=x")
    assert (left, out) == (exit_code, "")
    assert "There is no parameter databse." in complained
    assert "databse: no such parameter. Did you mean database?" in complained


def test_parameters_go_as_they_were_typed(far, ana, runbooks):
    far.answers["POST /api/v1/runs"] = [(201, a_run("queued"))]
    code, told, _ = runbooks("run", "db-latency", "database=orders-db", "note=a = b", "limit=5", "--incident", 3)
    assert (code, told) == (0, f"{RUN}  queued  {far.url}/runs/{RUN}\n")
    assert far.asked[0].body == {
        "runbook": "db-latency",
        "parameters": {"database": "orders-db", "note": "a = b", "limit": "5"},
        "incident": 3,
    }


@pytest.mark.parametrize("typed", [["database"], ["=x"], ["a=1", "a=2"]])
def test_parameters_that_are_none_are_told_before_anything_is_asked(far, ana, runbooks, typed):
    assert runbooks("run", "db-latency", *typed)[0] == 2
    assert not far.asked


def a_run(state, **changes):
    return {
        "id": RUN, "runbook": "db-latency", "state": state, "in_part": False, "parameters": {"database": "orders-db"},
        "requested_by": {"name": "Ana"}, "requested_at": "2026-01-02T03:12:00+00:00", "reason": "", "problems": [],
        "ended_at": "2026-01-02T03:12:05+00:00" if state not in {"queued", "diagnosing"} else None,
        "waiting": None, "attempts": [], "findings": [], "proposals": [], **changes,
    }  # fmt: skip


@pytest.mark.parametrize(("state", "exit_code"), [("diagnosed", 0), ("failed", 1), ("timed_out", 1), ("cancelled", 1)])
def test_waiting_shows_the_end_and_tells_it_to_scripts(far, ana, runbooks, monkeypatch, state, exit_code):
    monkeypatch.setattr(waiting, "PAUSE", 0.01)
    found = [{"cell": "c", "severity": s, "summary": f"{s} thing", "evidence": None} for s in ("info", "critical")]
    far.answers |= {
        "POST /api/v1/runs": [(201, a_run("queued"))],
        f"GET /api/v1/runs/{RUN}": [a_run("queued"), (0, None), (503, b""), a_run(state, findings=found)],
    }
    code, told, _ = runbooks("run", "db-latency", "--wait")
    assert code == exit_code
    assert told.splitlines()[0] == f"db-latency  {state}"
    assert told.index("critical thing") < told.index("info thing")
    far.answers["POST /api/v1/runs"] = [(201, a_run("queued"))]
    code, told, _ = runbooks("run", "db-latency", "--wait", "--json")
    assert (code, json.loads(told)["state"]) == (exit_code, state)


def test_who_stops_waiting_is_told_that_the_run_goes_on(far, ana, runbooks, monkeypatch):
    far.answers |= {"POST /api/v1/runs": [(201, a_run("queued"))], f"GET /api/v1/runs/{RUN}": [a_run("diagnosing")]}

    def interrupted(_):
        raise KeyboardInterrupt

    monkeypatch.setattr(time, "sleep", interrupted)
    code, _, complained = runbooks("run", "db-latency", "--wait")
    assert (code, f"runbooks cancel {RUN}" in complained) == (130, True)


def a_proposal(risk="low", **changes):
    return {
        "id": RUN, "title": "End session 4711", "reason": "", "by_hand": False, "state": "proposed",
        "state_reason": "", "verification": None, "policy": {"risk": risk, "approvals": 2}, "target": "orders-db",
        "connections": [{"connection": "orders-db", "role": "orders_operator"}], "inputs": {"pid": 4711},
        "requesters": ["https://idp#ana"], "sponsor": "", "expires_at": "2026-01-02T03:42:00+00:00", "decisions": [],
        "evidence": [], "source": "pid: int\n", "digest": "d" * 64, "names": {"https://idp#ana": "Ana"}, "why_not": "",
        **changes,
    }  # fmt: skip


@pytest.fixture
def by_somebody(monkeypatch):
    """Somebody sits at the terminal, and types this."""

    def sit(typed):
        monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
        monkeypatch.setattr("runbooks_app.main.client.printing.on_terminal", lambda: True)
        monkeypatch.setattr("typer.confirm", lambda _: typed)

    return sit


def test_what_is_approved_was_shown_to_whoever_approves_it(far, ana, runbooks, by_somebody):
    path = f"POST /api/v1/proposals/{RUN}/decisions"
    far.answers |= {f"GET /api/v1/proposals/{RUN}": [a_proposal()], path: [a_proposal(decisions=[said("approve")])]}
    code, _, complained = runbooks("approve", RUN)
    assert (code, "Nobody sees here what is approved" in complained) == (2, True)
    assert not far.requests(path)
    by_somebody(typed=False)
    code, told, _ = runbooks("approve", RUN)
    assert code == 1
    assert not far.requests(path)
    for shown in ("End session 4711", "orders_operator", "4711", "pid: int", "Ana"):
        assert shown in told
    by_somebody(typed=True)
    code, told, _ = runbooks("approve", RUN, "--reason", "seen it")
    assert (code, "1 more approval needed" in told) == (0, True)
    assert far.requests(path)[0].body == {"verdict": "approve", "digest": "d" * 64, "reason": "seen it"}


def test_who_may_not_decide_is_told_why_before_they_read_and_are_asked(far, ana, runbooks, by_somebody):
    by_somebody(typed=True)
    far.answers[f"GET /api/v1/proposals/{RUN}"] = [a_proposal(why_not="You asked for this.")]
    code, told, complained = runbooks("approve", RUN)
    assert (code, told, "You asked for this." in complained) == (1, "", True)


@pytest.mark.parametrize(
    ("ended_at", "told"), [(None, "is being stopped"), ("2026-01-02T03:12:05+00:00", "has ended: diagnosed")]
)
def test_stopping_tells_whether_there_was_something_to_stop(far, ana, runbooks, ended_at, told):
    far.answers[f"POST /api/v1/runs/{RUN}/cancel"] = [a_run("diagnosed", ended_at=ended_at)]
    assert runbooks("cancel", RUN) == (0, f"Run {RUN} {told}\n", "")


def said(verdict):
    return {"verdict": verdict, "by": "Ben", "reason": "", "at": "2026-01-02T03:20:00+00:00"}


def test_a_script_approves_by_the_digest_of_what_was_seen(far, ana, runbooks):
    path = f"POST /api/v1/proposals/{RUN}/decisions"
    far.answers[path] = [(409, error("conflict", "The proposal is not the one that you were shown."))]
    assert runbooks("approve", RUN, "--digest", "e" * 64)[0] == 1
    assert far.requests(path)[0].body["digest"] == "e" * 64


def test_high_risk_leads_to_the_page(far, ana, runbooks, by_somebody):
    by_somebody(typed=True)
    far.answers[f"GET /api/v1/proposals/{RUN}"] = [a_proposal("high")]
    code, _, complained = runbooks("approve", RUN)
    assert (code, f"{far.url}/proposals/{RUN}" in complained) == (3, True)
    assert not far.requests(f"POST /api/v1/proposals/{RUN}/decisions")


def test_no_denial_without_a_reason(far, ana, runbooks):
    assert runbooks("deny", RUN)[0] == 2
    far.answers |= {
        f"GET /api/v1/proposals/{RUN}": [a_proposal()],
        f"POST /api/v1/proposals/{RUN}/decisions": [a_proposal(state="denied", decisions=[said("deny")])],
    }
    assert runbooks("deny", RUN, "--reason", "no") == (0, "End session 4711: denied\n", "")


def test_an_id_is_looked_up_as_a_run_then_as_a_proposal_then_as_a_name(far, ana, runbooks):
    far.answers[f"GET /api/v1/proposals/{RUN}"] = [a_proposal()]
    assert "End session 4711" in runbooks("show", RUN)[1]
    del far.answers[f"GET /api/v1/proposals/{RUN}"]
    far.answers[f"GET /api/v1/runbooks/{RUN}"] = [(404, error("not_found", "There is no runbook. Did you mean x?"))]
    code, _, complained = runbooks("show", RUN)
    assert (code, "Did you mean x?" in complained) == (2, True)


def test_an_ask_is_shown_with_what_was_asked_and_what_it_showed(far, ana, runbooks):
    ask = {"hypothesis": "It lags", "source": "%%sql orders-db\nSELECT 1", "conclusion": ""}
    far.answers[f"GET /api/v1/runs/{RUN}"] = [
        a_run("diagnosed", ask=ask),
        a_run("diagnosed", ask=ask | {"conclusion": "No"}),
    ]
    told = runbooks("show", RUN)[1]
    assert "\nIt lags\n  %%sql orders-db\n  SELECT 1\nIt showed: nobody has written that down yet\n" in told
    assert "\nIt showed: No\n" in runbooks("show", RUN)[1]


@pytest.mark.parametrize("terminal", [False, True])
def test_nothing_that_a_notebook_or_a_person_wrote_gives_orders_to_the_terminal(
    far, ana, runbooks, monkeypatch, terminal
):
    monkeypatch.setattr("runbooks_app.main.client.printing.on_terminal", lambda: terminal)
    evil = f"a{ESCAPES}b"
    finding = {"cell": "c", "severity": "critical", "summary": evil, "evidence": None}
    whole = a_run(
        "failed", reason=evil, problems=[evil], findings=[finding], runbook=evil, parameters={"n": evil},
        requested_by={"name": evil}, proposals=[a_proposal(title=evil)],
        attempts=[{"cells": [{"id": evil, "state": "failed", "reason": evil, "stage": "diagnostic"}]}],
    )  # fmt: skip
    far.answers |= {
        f"GET /api/v1/runs/{RUN}": [whole],
        "GET /api/v1/runs": [{"runs": [whole], "next": None}],
        "GET /api/v1/proposals": [{"proposals": [a_proposal(title=evil, target=evil)]}],
        "POST /api/v1/incidents/1/exports": [(200, evil.encode())],
        "POST /api/v1/runs": [(403, error("refused", evil, (evil, evil, evil)))],
    }
    commands = [("show", RUN), ("list", "runs"), ("list", "proposals"), ("show", RUN, "--json"), ("run", "x")]
    if terminal:
        commands.append(("postmortem", "1"))
    for command in commands:
        _, told, complained = runbooks(*command)
        assert told + complained
        for order in ("\x1b]", "\x1b[2J", "\x07", "\u202e", "\u009b"):
            assert order not in told + complained, command


def test_elsewhere_than_on_a_terminal_lists_are_lines_with_tabs(far, ana, runbooks):
    far.answers["GET /api/v1/runs"] = [{"runs": [a_run("diagnosed", requested_by={"name": "Ana\tB"})], "next": None}]
    _, told, _ = runbooks("list", "runs", "--limit", 3)
    (line,) = told.splitlines()
    assert line.split("\t")[:4] == [RUN, "diagnosed", "db-latency", "Ana B"]
    assert line.split("\t")[4].startswith("2026-01-0")
    assert line.split("\t")[5] == "database=orders-db"
    assert far.asked[0].query == {"limit": "3"}


def test_a_postmortem_goes_to_a_file_that_was_not_there_or_to_a_pipe(far, ana, runbooks, tmp_path):
    far.answers["POST /api/v1/incidents/12/exports"] = [(200, b"# Incident 12\n")]
    file = tmp_path / "incident.md"
    assert runbooks("postmortem", 12, "-o", file)[0] == 0
    assert file.read_text() == "# Incident 12\n"
    assert runbooks("postmortem", 12, "-o", file)[0] == 2
    assert len(far.asked) == 1


def test_a_client_command_loads_nothing_of_the_server(tmp_path):
    """What it loads decides how soon it is there."""
    script = (
        "import sys; sys.argv = ['runbooks', 'list']\n"
        "from runbooks_app.main import cli\n"
        "try: cli.main()\n"
        "except SystemExit: pass\n"
        "names = ('flask', 'sqlalchemy', 'psycopg', 'requests', 'httpx', 'nbformat', 'numpy',\n"
        "         'runbooks_app.settings', 'runbooks_app.store', 'runbooks_app.web', 'runbooks_app.actions')\n"
        "print([name for name in names if name in sys.modules])\n"
    )
    environment = {"PATH": os.environ["PATH"], "XDG_CONFIG_HOME": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
