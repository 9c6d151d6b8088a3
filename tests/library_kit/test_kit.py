"""The kit by itself: in plain JupyterLab, and as the service configures it."""

from __future__ import annotations

import subprocess
import sys
import threading
from datetime import UTC, date, datetime
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import get_type_hints

import httpx
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


@pytest.fixture
def own_connections(plain, monkeypatch, tmp_path, orders_server):
    file = tmp_path / "connections.toml"
    monkeypatch.setenv("RUNBOOKS_KIT_CONNECTIONS", str(file))
    dsn = orders_server.url("reader", "shop", "orders-password")
    file.write_text(f'[orders-db]\ndsn = "{dsn}"\n[prometheus]\nurl = "http://127.0.0.1:9"\n', encoding="utf-8")
    return file


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


# connections


def test_a_connection_parameter_is_a_plain_text_for_python():
    class Parameters:
        database: kit.Connection["postgres"] = "orders-db"  # noqa: F821, UP037 - a kind, not a name

    assert get_type_hints(Parameters) == {"database": str}
    with pytest.raises(TypeError, match="postgres, http"):
        kit.Connection["mongodb"]


def test_the_authors_own_database_is_opened_once_and_says_who_it_is(own_connections):
    db = kit.postgres("orders-db")

    assert kit.postgres("orders-db") is db
    assert db.autocommit
    assert db.execute("SELECT current_user, current_setting('application_name')").fetchone() == (
        *("reader", "runbook service (jupyter)"),
    )
    db.close()
    assert kit.postgres("orders-db").execute("SELECT 1").fetchone() == (1,)


@pytest.mark.parametrize(
    ("open_it", "told"),
    [
        (lambda: kit.postgres("orders"), r"no connection 'orders' in .*\(there: orders-db, prometheus\)"),
        (lambda: kit.postgres("prometheus"), r"open it with kit\.http\('prometheus'\)"),
        (lambda: kit.http("orders-db"), r"open it with kit\.postgres\('orders-db'\)"),
        (lambda: kit.postgres(""), "no connection was chosen"),
    ],
)
def test_a_connection_that_there_is_not_is_told_with_what_to_do(own_connections, open_it, told):
    with pytest.raises(LookupError, match=told):
        open_it()


@pytest.mark.parametrize("text", ["[orders-db", "[orders-db]\nhost = 1", '[a]\ndsn = "x"\nurl = "y"', "orders = 1"])
def test_a_malformed_file_of_connections_is_told_with_its_path(own_connections, text):
    own_connections.write_text(text, encoding="utf-8")

    with pytest.raises(ValueError, match=r"connections\.toml"):
        kit.postgres("orders-db")


def test_without_a_file_there_are_no_connections(own_connections):
    own_connections.unlink()

    with pytest.raises(LookupError, match="there: none"):
        kit.postgres("orders-db")


def test_in_the_service_only_what_was_granted_can_be_opened(own_connections):
    service.configure("diagnose", {})

    with pytest.raises(LookupError, match=r"'orders-db' is not granted to this run.*runbook\.connections"):
        kit.postgres("orders-db")


def test_a_refused_credential_is_told_without_the_password(plain, orders_server):
    granted = {"kind": "postgres", "host": orders_server.host, "port": orders_server.port, "database": "shop"}
    service.configure("diagnose", {"orders-db": {**granted, "user": "reader", "password": "not-the-word"}})

    with pytest.raises(psycopg.OperationalError, match=r"cannot open the connection 'orders-db' \(diagnose\)") as told:
        kit.postgres("orders-db")
    assert "not-the-word" not in str(told.value)
    assert "not-the-word" not in repr(service.state)


def test_a_kernel_that_is_configured_anew_closes_what_was_open(plain, orders_server):
    granted = {
        "kind": "postgres", "host": orders_server.host, "port": orders_server.port, "database": "shop",
        "user": "reader", "password": "orders-password", "stage": "diagnose",
    }  # fmt: skip
    service.configure("remediate", {"orders-db": granted})
    db = kit.postgres("orders-db")
    name = db.execute("SELECT current_setting('application_name')").fetchone()
    service.configure("verify", {"orders-db": granted})

    assert name == ("runbook service (diagnose)",), "the credential's stage, not the kernel's"
    assert db.closed


class Metrics(BaseHTTPRequestHandler):
    """Answers with the path and the header that were sent."""

    def do_GET(self) -> None:
        body = f"{self.path} {self.headers.get('X-Run')}".encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Stay quiet."""


def test_an_http_connection_has_its_address_and_headers_and_is_opened_once(plain, monkeypatch):
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    with ThreadingHTTPServer(("127.0.0.1", 0), Metrics) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        url = f"http://127.0.0.1:{server.server_port}"
        service.configure("diagnose", {"prometheus": {"kind": "http", "url": url, "headers": {"X-Run": "7"}}})
        prometheus = kit.http("prometheus")
        answer = prometheus.get("/api/v1/query").text
        prometheus.close()
        server.shutdown()
        thread.join()

    assert answer == "/api/v1/query 7"
    assert kit.http("prometheus") is not prometheus


class Gateway(BaseHTTPRequestHandler):
    """Answers as the path says: with a status of the system's own, or as the gateway itself."""

    def do_GET(self) -> None:
        status, _, kind = self.path.strip("/").partition("/")
        body = b'{"message": "diagnostic cells may not do this"}'
        self.send_response(int(status))
        if kind:
            self.send_header("X-Runbooks-Gateway", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Stay quiet."""


@pytest.fixture
def gateway(plain):
    with ThreadingHTTPServer(("127.0.0.1", 0), Gateway) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        service.configure("diagnose", {"prometheus": {"kind": "http", "url": f"http://127.0.0.1:{server.server_port}"}})
        with kit.http("prometheus") as client:
            yield client
        server.shutdown()
        thread.join()


@pytest.mark.parametrize(
    ("path", "error"),
    [
        ("/403/refused", kit.RequestRefused),
        ("/502/unavailable", httpx.ConnectError),
        ("/504/timeout", httpx.ReadTimeout),
    ],
)
def test_what_the_gateway_says_itself_is_raised_with_its_words(gateway, path, error):
    with pytest.raises(error, match="diagnostic cells may not do this"):
        gateway.get(path)
    with pytest.raises(error), gateway.stream("GET", path):
        pass
    assert issubclass(kit.RequestRefused, PermissionError)


@pytest.mark.parametrize("status", [403, 502, 504, 200])
def test_what_the_system_answers_is_the_authors_to_judge(gateway, status):
    assert gateway.get(f"/{status}").status_code == status


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
