"""Cells that reach their systems through the run's gateway: what they get, and what they are told."""

from __future__ import annotations

import asyncio

import pytest
from kernels.gateway.conftest import SECRET, route, with_credential
from kernels.gateway.servers import HOST, answer, http_server, raw_server, silent
from kernels.segments import code, segment

from runbook_library.kit import connecting
from runbooks_app.core.run import CellState
from runbooks_app.kernels.conduct import Conduct
from runbooks_app.kernels.events import GatewayRefused, SegmentEnded
from runbooks_app.kernels.gateway import Refusal
from runbooks_app.kernels.gateway.http import CONNECT
from runbooks_app.kernels.gateway.ports import PATIENCE
from runbooks_app.kernels.gateway.refusals import MOST_TOLD
from runbooks_app.kernels.gateway.route import TOLD_HEADER

pytestmark = pytest.mark.kernels

KIT = "from runbook_library import kit\n"
EVERYWHERE = """
import gc, os, pathlib
found = [repr(dict(os.environ)), open("/proc/self/environ").read(), open("/proc/self/cmdline").read()]
found += [repr(thing) for thing in gc.get_objects() if isinstance(thing, dict | list | tuple) and len(thing) < 200]
for path in pathlib.Path("..").rglob("*"):
    if path.is_file():
        found.append(path.read_text(errors="replace"))
print("in", len(found), "places:", any("7f3a/9" + "+zW" in text for text in found))
"""


def over_http(*sources, routes, **given):
    """A segment whose connections are these HTTP routes."""
    return segment(
        *(KIT + source if isinstance(source, str) else source for source in sources),
        connections={one.name: {"kind": "http"} for one in routes},
        routes={one.name: one for one in routes},
        **given,
    )


def refusals(ran):
    return [event for event in ran.events if isinstance(event, GatewayRefused)]


def test_a_diagnostic_cell_that_posts_is_refused_in_its_words_and_everybody_is_told(run, echoing):
    ran = run(
        over_http(
            "print(kit.http('prometheus').get('/api/v1/labels').json()['path'])",
            "kit.http('prometheus').post('/api/v1/admin/tsdb/delete_series?match=x', json={})",
            "print('goes on')",
            routes=[with_credential(echoing.port)],
        )
    )
    sentence = "diagnostic cells may not POST to prometheus: /api/v1/admin/tsdb/delete_series was refused."
    assert ran.states == [CellState.OK, CellState.FAILED, CellState.OK]
    assert ran.text("c0") == "/api/v1/labels\n"
    assert ran.text("c1", "stderr").startswith(f"[runbooks] {sentence}")
    assert ran.ended["c1"].reason.startswith(f"RequestRefused: {sentence}")
    (told,) = refusals(ran)
    assert (told.cell_id, told.connection, told.method) == ("c1", "prometheus", "POST")
    assert told.path == "/api/v1/admin/tsdb/delete_series"
    assert told.reason.startswith(sentence)
    assert [seen["method"] for seen in echoing.seen] == ["GET"]


def test_a_refusal_is_shown_also_where_the_cell_hides_it(run, echoing):
    hiding = "try:\n    kit.http('prometheus').delete('/x')\nexcept Exception:\n    pass"
    ran = run(over_http(hiding, routes=[route(echoing.port)]))
    assert ran.states == [CellState.OK]
    assert "may not DELETE to prometheus" in ran.text("c0", "stderr")


def test_no_kernel_ever_holds_the_credential(run, echoing):
    ran = run(
        over_http("kit.http('prometheus').get('/debug').text", EVERYWHERE, routes=[with_credential(echoing.port)])
    )
    assert f"Bearer {SECRET}" in str(echoing.seen)
    assert ran.states == [CellState.OK] * 2
    assert ran.text("c1").endswith("places: False\n")
    assert SECRET not in str(ran.events)


def test_a_secret_that_a_cell_has_from_elsewhere_is_redacted_as_a_known_one(run, echoing):
    spelt = f"print({SECRET[:6]!r} + {SECRET[6:]!r})"
    ran = run(over_http(spelt, routes=[with_credential(echoing.port)]))
    assert ran.text("c0") == "[redacted]\n"


def test_what_the_trail_is_told_of_a_path_holds_no_secret(run, echoing):
    spelt = f"kit.http('prometheus').delete('/x/' + {SECRET[:6]!r} + {SECRET[6:]!r})"
    ran = run(over_http(spelt, routes=[with_credential(echoing.port)]))
    (told,) = refusals(ran)
    assert told.path == "/x/[redacted]"
    assert SECRET not in str(ran.events)


def test_what_the_trail_is_told_of_a_method_holds_no_secret(run, echoing):
    secret = "HIDDEN-METHOD-0123456789"
    spelt = f"kit.http('prometheus').request({secret[:6]!r} + {secret[6:]!r}, '/x')"
    ran = run(over_http(spelt, routes=[route(echoing.port)], secrets=(secret,)))
    (told,) = refusals(ran)
    assert told.method == "[redacted]"
    assert secret not in str(ran.events)


def test_a_request_without_the_kit_is_told_how_to_make_one(run, echoing):
    bare = "import httpx\nprint(httpx.get(kit.http('prometheus').base_url).json()['message'])"
    ran = run(over_http(bare, routes=[route(echoing.port)]))
    assert "open the connection with kit.http('prometheus')" in ran.text("c0")
    assert len(refusals(ran)) == 1
    assert echoing.seen == []


def test_a_flood_of_refusals_ends_in_one_that_counts_the_rest(run, echoing):
    flood = f"""
for number in range({MOST_TOLD + 25}):
    try:
        kit.http('prometheus').put(f'/{{number}}')
    except kit.RequestRefused:
        pass
"""
    ran = run(over_http(flood, routes=[route(echoing.port)]))
    told = refusals(ran)
    assert len(told) == MOST_TOLD + 1
    assert (told[-1].more, told[-1].reason) == (25, "25 more requests were refused on prometheus.")
    assert isinstance(ran.events[-1], SegmentEnded)


def test_a_remediation_may_send_what_its_own_rules_list(run, echoing):
    one = route(echoing.port, rules=("POST /-/reload",), stage="remediate")
    ran = run(over_http("print(kit.http('prometheus').post('/-/reload').status_code)", routes=[one], stage="remediate"))
    assert ran.text("c0") == "200\n"


def test_a_system_that_is_away_raises_as_it_does_elsewhere_and_is_no_refusal(run):
    with raw_server(silent) as system:
        port = system.port
    ran = run(over_http("kit.http('prometheus').get('/')", routes=[route(port)]))
    assert ran.ended["c0"].reason.startswith(f"ConnectError: prometheus (http://{HOST}:{port}) could not be reached")
    assert refusals(ran) == []


def test_the_kit_waits_longer_than_the_gateway_so_that_its_words_arrive():
    assert connecting.GATEWAY_TIMEOUT > PATIENCE + CONNECT
    assert connecting.TOLD_HEADER == TOLD_HEADER


def test_a_redirect_to_elsewhere_ends_at_the_gateway(run):
    def redirecting(handler, system):
        answer(handler, status=302, Location="http://169.254.169.254/latest/meta-data/")

    with http_server(redirecting) as system:
        source = "print(kit.http('prometheus').get('/', follow_redirects=True).status_code)"
        ran = run(over_http(source, routes=[route(system.port)]))
    assert ran.text("c0") == "302\n"


def test_two_runs_at_once_have_ports_and_nonces_of_their_own(engine, echoing):
    import threading

    from kernels.segments import Ran

    told = []
    source = "client = kit.http('prometheus')\nprint(client.base_url, client.headers['X-Runbooks-Nonce'])"
    threads = [
        threading.Thread(
            target=lambda: told.append(
                Ran(list(engine.run(over_http(source, routes=[route(echoing.port)])))).text("c0")
            )
        )
        for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    urls, nonces = zip(*(text.split() for text in told), strict=True)
    assert len(set(urls)) == len(set(nonces)) == 3


# databases


@pytest.fixture
def database(orders_server):
    """A connection to the shop as a kernel is granted it, under a name that leads nowhere by itself."""
    server = orders_server.server
    given = {
        "kind": "postgres", "stage": "diagnose", "host": "orders.example.com", "port": server.port,
        "database": "orders", "user": "postgres", "password": server.password,
    }  # fmt: skip
    one = route(server.port, kind="postgres", name="orders-db", rules=())
    return {"connections": {"orders-db": given}, "routes": {"orders-db": one}}


def test_a_cell_reaches_its_database_by_the_gateway_and_under_its_own_name(run, database, orders_server):
    source = """
db = kit.postgres('orders-db')
print(db.execute('SELECT 40 + 2').fetchone()[0], db.info.host, db.info.hostaddr, db.info.port)
"""
    told = run(segment(KIT + source, **database)).text("c0").split()
    assert told[:3] == ["42", "orders.example.com", HOST]
    assert told[3] != str(orders_server.server.port)


def test_a_cell_that_is_interrupted_cancels_its_query_at_the_server(run, database, orders_server):
    import psycopg

    waiting = code("c0", KIT + "kit.postgres('orders-db').execute('SELECT pg_sleep(62)')", timeout=2)
    left = "SELECT count(*) FROM pg_stat_activity WHERE query = 'SELECT pg_sleep(62)' AND state = 'active'"
    then = KIT + f"print(kit.postgres('orders-db').execute({left!r}).fetchone()[0])"
    ran = run(segment(waiting, then, **database))
    assert ran.ended["c0"].state is CellState.TIMED_OUT
    assert "killed" not in ran.ended["c0"].reason
    assert ran.text("c1") == "0\n"
    with psycopg.connect(orders_server.server.url(), autocommit=True) as admin:
        assert admin.execute(left).fetchone() == (0,)


def test_a_stranger_at_a_port_before_there_is_a_kernel_is_told_of_too(echoing, loop):
    events = []
    one = route(echoing.port)
    nothing_yet = asyncio.Future(loop=loop)
    conduct = Conduct(over_http("pass", routes=[one]), events.append, asyncio.Event(), nothing_yet)
    conduct.refused(Refusal(one.name, "GET", "/x", "refused."))
    (told,) = events
    assert (told.cell_id, told.path, told.reason) == ("", "/x", "refused.")
