"""The kit by itself: in plain JupyterLab, and as the service configures it."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, date, datetime
from decimal import Decimal

import numpy as np
import psycopg
import pytest
from IPython.core.interactiveshell import InteractiveShell
from IPython.utils.capture import capture_output

from runbook_library import kit
from runbook_library.kit import service


def bundles(captured, kind):
    return [
        output.data[f"application/vnd.runbook.{kind}+json"]
        for output in captured.outputs
        if f"application/vnd.runbook.{kind}+json" in output.data
    ]


# messages


def test_in_jupyterlab_a_finding_can_be_read_and_hostile_text_in_it_is_escaped(plain, shell):
    with capture_output() as captured:
        kit.finding("critical", "session 4711\nblocks <b>37</b>", [{"pid": 4711, "query": "<script>"}])

    (output,) = captured.outputs
    assert output.data["text/plain"] == "CRITICAL: session 4711 blocks <b>37</b>"
    assert "<script>" not in output.data["text/html"]
    assert "&lt;script&gt;" in output.data["text/html"]


def test_in_the_service_a_finding_is_a_bundle_and_text_alone(plain, shell):
    service.configure("diagnose", {})
    with capture_output() as captured:
        kit.finding("info", "all is well")

    (output,) = captured.outputs
    assert set(output.data) == {"application/vnd.runbook.finding+json", "text/plain"}
    assert bundles(captured, "finding") == [{"severity": "info", "summary": "all is well", "evidence": None}]


@pytest.mark.parametrize("severity", ["error", "CRITICAL", "", None])
def test_another_severity_is_refused_with_those_there_are(severity):
    with pytest.raises(ValueError, match="critical, warning, info"):
        kit.finding(severity, "something")


def test_a_finding_without_a_sentence_is_refused():
    with pytest.raises(ValueError, match="needs a summary"):
        kit.finding("info", "  ")


def test_a_proposal_freezes_its_inputs_and_tells_an_author_how_to_rehearse(plain, shell):
    began = datetime(2026, 1, 1, tzinfo=UTC)
    with capture_output() as captured:
        kit.propose("terminate-session", pid=np.int64(4711), backend_start=began, reason="it  blocks\n37")

    assert bundles(captured, "proposal") == [
        {
            "gate": "terminate-session",
            "inputs": {"pid": 4711, "backend_start": "2026-01-01T00:00:00.000000+00:00"},
            "reason": "it blocks 37",
        }
    ]
    assert "kit.rehearse()\npid = 4711" in captured.outputs[0].data["text/html"]
    with pytest.raises(ValueError, match="a gate's name"):
        kit.propose("Terminate Session", pid=1)


def test_without_ipython_messages_are_printed(plain, capsys, monkeypatch):
    monkeypatch.setattr(InteractiveShell, "_instance", None)
    kit.finding("warning", "disk is filling")
    kit.check("disk has room", False, "3 % left")

    assert capsys.readouterr().out == "WARNING: disk is filling\nNOT PASSED: disk has room - 3 % left\n"


def test_kept_values_are_read_back_as_json_and_missing_ones_named(plain, shell):
    with capture_output() as captured:
        kit.keep(baseline=Decimal("0.25"), since=date(2026, 1, 1))

    assert bundles(captured, "keep") == [{"values": {"baseline": 0.25, "since": "2026-01-01"}}]
    assert kit.kept.baseline == kit.kept["baseline"] == 0.25
    assert "since" in kit.kept
    assert sorted(kit.kept) == dir(kit.kept) == ["baseline", "since"]
    with pytest.raises(AttributeError, match=r"kept no 'p99' \(it kept: baseline, since\)"):
        _ = kit.kept.p99


def test_a_kernel_of_the_service_has_what_the_diagnosis_kept(plain):
    service.configure("verify", {}, {"baseline": 0.25})

    assert kit.kept.baseline == 0.25


# verdicts


def test_a_check_tells_whether_it_holds_and_returns_it(plain, shell):
    with capture_output() as captured:
        assert kit.check("nobody is blocked", np.bool_(False), "3 are") is False

    assert bundles(captured, "check") == [{"name": "nobody is blocked", "ok": False, "seconds": 0.0, "detail": "3 are"}]


def test_waiting_ends_as_soon_as_it_holds(plain, shell):
    tries = iter([False, False, True])
    with capture_output() as captured:
        assert kit.wait("it is back", lambda: next(tries), "5m", every=0.01, detail=lambda: "in the end")

    (check,) = bundles(captured, "check")
    assert check["ok"] is True
    assert check["detail"] == "in the end"
    assert 0 < check["seconds"] < 5


def test_waiting_tries_once_and_gives_up_in_time(plain, shell):
    tried = []
    with capture_output() as captured:
        assert kit.wait("it is back", lambda: tried.append(1), timeout=0) is False

    assert tried == [1]
    assert bundles(captured, "check")[0]["ok"] is False


def test_while_waiting_a_lost_connection_means_not_yet_and_a_mistake_is_raised(plain, shell):
    answers = iter([psycopg.OperationalError("server is restarting"), True])

    def restarting():
        answer = next(answers)
        if isinstance(answer, Exception):
            raise answer
        return answer

    with capture_output() as captured:
        assert kit.wait("it is back", restarting, every=0.01)
        kit.wait("a file", lambda: open("/nowhere/at/all"), timeout=0)  # noqa: SIM115, PTH123
        with pytest.raises(ZeroDivisionError):
            kit.wait("a slip", lambda: 1 / 0)

    checks = bundles(captured, "check")
    assert [check["ok"] for check in checks] == [True, False]
    assert "FileNotFoundError" in checks[1]["detail"]


# gates


def test_in_jupyterlab_a_gate_is_closed_until_the_author_rehearses(plain, capsys):
    with pytest.raises(kit.GateClosed, match=r"nothing was changed.*kit\.rehearse\(\)"):
        kit.gate("end-it", "End it")
    kit.rehearse()
    kit.gate("end-it", "End it", risk="low", expires="30m", informative=["blocked"], approvers=("database",))
    assert "changes your own systems" in capsys.readouterr().out


def test_in_the_service_only_a_remediation_passes_and_rehearsing_opens_nothing(plain, capsys):
    for stage in ("diagnose", "verify"):
        service.configure(stage, {})
        kit.rehearse()
        with pytest.raises(kit.GateClosed, match=stage):
            kit.gate("end-it", "End it")
    service.configure("remediate", {})
    kit.gate("end-it", "End it")


@pytest.mark.parametrize(
    "wrong",
    [
        {"name": "End It"},
        {"title": " "},
        {"risk": "huge"},
        {"approvals": 0},
        {"approvals": True},
        {"approvers": "database"},
        {"informative": [1]},
        {"expires": "soon"},
        {"target": None},
        {"recheck": 1},
    ],
)
def test_a_gate_with_wrong_arguments_is_refused_even_where_it_would_pass(plain, wrong):
    service.configure("remediate", {})

    with pytest.raises((ValueError, TypeError)):
        kit.gate(**{"name": "end-it", "title": "End it", **wrong})


def test_an_unknown_stage_is_refused(plain):
    with pytest.raises(ValueError, match="diagnose, remediate, verify"):
        service.configure("repair", {})


# where it runs


def test_importing_the_kit_loads_neither_the_service_nor_anything_heavy():
    code = "import sys; from runbook_library import kit; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.split()

    assert {name.split(".")[0] for name in loaded}.isdisjoint(
        {"runbooks_app", "psycopg", "httpx", "pandas", "numpy", "IPython"}
    )


def test_run_all_in_jupyterlab_diagnoses_and_changes_nothing(own_connections, kernel, shop):
    holder = shop.session("back-office")
    holder.execute("UPDATE orders SET state = 'held' WHERE id = 7")
    shop.pile_up(1, "UPDATE orders SET state = 'paid' WHERE id = 7", 0.3)
    ran = kernel.run(None, [*kernel.diagnosis, "cancel-query", "terminate-session"])

    assert {cell: type(error).__name__ for cell, error in ran.errors.items()} == {
        "cancel-query": "GateClosed",
        "terminate-session": "GateClosed",
    }
    assert ran.proposals
    assert shop.alive(holder.info.backend_pid)
