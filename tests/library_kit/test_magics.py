"""`%%promql` against a server that answers as Prometheus does; `%%sql` is played with a real database elsewhere."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

import pytest

from runbook_library.kit import magics, service

pytestmark = pytest.mark.pages


@pytest.fixture
def prometheus(monkeypatch):
    """Answers every query with `said`, keeps what it was asked in `asked`."""

    class Answers(BaseHTTPRequestHandler):
        def do_GET(self):
            url = urlsplit(self.path)
            self.server.asked.append((url.path, {name: value[0] for name, value in parse_qs(url.query).items()}))
            status, said = self.server.said
            body = said if isinstance(said, bytes) else json.dumps(said).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    server.asked, server.said = [], (200, {})
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}"
    state = service.State(stage="diagnose", connections={"prom": {"kind": "http", "url": url}})
    monkeypatch.setattr(service, "state", state)
    yield server
    for opened in state.opened.values():
        opened.close()
    server.shutdown()
    server.server_close()


def good(kind, result):
    return 200, {"status": "success", "data": {"resultType": kind, "result": result}}


def test_an_instant_query_goes_as_typed_and_gives_a_row_for_each_series(prometheus):
    prometheus.said = good("vector", [{"metric": {"__name__": "up", "job": "a"}, "value": [1.0, "1"]}])
    frame = magics.promql("prom", 'up{job="a"}\n')
    assert prometheus.asked == [("/api/v1/query", {"query": 'up{job="a"}'})]
    assert frame.to_dict("records") == [{"metric": "up", "job": "a", "value": 1.0}]
    prometheus.said = good("scalar", [1.0, "NaN"])
    assert magics.promql("prom", "scalar(up)")["value"].isna().all()
    prometheus.said = good("string", [1.0, "text"])
    assert list(magics.promql("prom", '"text"')["value"]) == ["text"]
    prometheus.said = good("vector", [])
    assert magics.promql("prom", "absent").empty


def test_a_range_gives_a_row_for_each_moment_and_a_column_for_each_series(prometheus):
    values = [[10.0, "1"], [20.0, "2"]]
    prometheus.said = good("matrix", [{"metric": {"job": name}, "values": values} for name in ("a", "b")])
    frame = magics.promql("prom --range 1h --step 30s", "rate(x[5m])")
    path, query = prometheus.asked[0]
    assert path == "/api/v1/query_range"
    assert float(query["end"]) - float(query["start"]) == pytest.approx(3600, abs=0.1)
    assert float(query["step"]) == 30
    assert list(frame.columns) == ["job=a", "job=b"]
    assert [at.isoformat() for at in frame.index] == ["1970-01-01T00:00:10+00:00", "1970-01-01T00:00:20+00:00"]


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ((400, {"status": "error", "error": "parse error"}), "prom answered 400: parse error"),
        ((502, b"<h1>Bad gateway</h1>"), "prom answered 502: <h1>Bad gateway</h1>"),
    ],
)
def test_what_prometheus_refuses_is_told_in_its_words(prometheus, said, told):
    prometheus.said = said
    with pytest.raises(ValueError, match=told):
        magics.promql("prom", "up(")


@pytest.mark.parametrize(("magic", "line"), [("sql", ""), ("sql", "db --rows 0"), ("promql", "prom --range soon")])
def test_a_line_that_says_nothing_usable_is_an_error_of_the_cell(magic, line):
    with pytest.raises(ValueError, match=r"connection|--rows|range"):
        getattr(magics, magic)(line, "1")
