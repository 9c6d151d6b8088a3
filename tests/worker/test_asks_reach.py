"""What asks reach by sealed kernels and gateways: a PostgreSQL, Debian's own Prometheus, a cluster that trusts."""

from __future__ import annotations

import time
from contextlib import contextmanager
from dataclasses import replace

import httpx
import psycopg
import pytest
from chat_journeys.monitoring import PROGRAMS
from components import lacking
from credentials.clusters import cluster
from credentials.trusting import RUNBOOK, Trust, issuing
from kernels.gateway.certificates import Authority
from kernels.gateway.servers import HOST
from notebooks import cell, write

from runbooks_app.actions import asking, incidents
from runbooks_app.connections import read_connections
from runbooks_app.core.asking import RUNBOOK_ID
from runbooks_app.core.people import Person
from runbooks_app.core.run import RunState
from runbooks_app.core.trust import Trusted, kubernetes
from runbooks_app.main.embedded import Guarded
from runbooks_app.main.embedded.ports import free_port
from runbooks_app.store import runs
from runbooks_app.store.database import reading

pytestmark = [pytest.mark.pages, pytest.mark.kernels]

ANA = Person("https://idp#ana", "Ana", roles=frozenset({"responder"}))
WEB = {"surface": "web", "auth_time": 1}


@contextmanager
def prometheus(folder):
    """Debian's Prometheus, which watches nothing but itself; the address at which it answers."""
    program = PROGRAMS / "prometheus"
    if not program.exists():
        lacking("Debian's Prometheus is not there; `make prometheus` fetches it.")
    at, config, log = f"127.0.0.1:{free_port()}", folder / "prometheus.yml", folder / "prometheus.log"
    config.write_text(
        "global: {scrape_interval: 1s}\n"
        f"scrape_configs: [{{job_name: itself, static_configs: [{{targets: ['{at}']}}]}}]\n"
    )
    command = [
        str(program),
        f"--web.listen-address={at}",
        f"--config.file={config}",
        f"--storage.tsdb.path={folder / 'data'}",
    ]
    with log.open("wb") as out, httpx.Client(trust_env=False, timeout=5) as client:
        process = Guarded.start("prometheus", command, env={"PATH": "/usr/bin:/bin"}, cwd=folder, log=out)
        try:
            end = time.monotonic() + 60
            while not _up(client, at):
                assert time.monotonic() < end, log.read_text()[-1500:]
                time.sleep(0.05)
            yield f"http://{at}"
        finally:
            process.stop()


def _up(client, at):
    """Whether it has scraped itself, and so has something to tell."""
    try:
        told = client.get(f"http://{at}/api/v1/query", params={"query": "up"})
        return bool(told.status_code == 200 and told.json()["data"]["result"])
    except httpx.TransportError:
        return False


def with_connection(house, folder, text, **worker):
    """The house with one connection more."""
    file = folder / "more.toml"
    file.write_text(text)
    service = replace(house.service, connections={**house.service.connections, **read_connections(file)})
    return replace(house, service=service, worker=replace(house.worker, service=service, **worker))


def answered(house, run):
    """The run as it ended, and the outputs of its asked cells."""
    assert house.do_all() == ["diagnose"]
    with reading(house.service.engine) as tx:
        found = {one.cell_id: one for one in runs.cells(tx, runs.attempts(tx, run.id)[0].id)}
        return runs.get(tx, run.id), [one.outputs for name, one in found.items() if name.startswith("ask-")]


def shown(outputs, kind="text/plain"):
    return "".join(str(one.get("text") or one.get("data", {}).get(kind, "")) for one in outputs)


SOURCE = """%%promql prometheus
up{job="itself"}
# %%
found = _
print("in the next cell", list(found["value"]))
# %%
%%promql prometheus --range 2s --step 1s
vector(6) * 7
# %%
%%promql prometheus
up{
# %%
%%sql orders-db --rows 2
SELECT current_user, session_user, status, 'é $1 %s {x}' AS "as typed" FROM orders ORDER BY id
# %%
database = "orders-db"
# %%
%%sql {database}
SHOW default_transaction_read_only
# %%
%%sql orders-db
DELETE FROM orders
"""


def test_magics_ask_a_real_prometheus_and_a_real_database_from_a_sealed_kernel(house, orders_server, tmp_path):
    with psycopg.connect(orders_server.server.url(database="orders"), autocommit=True) as admin:
        (before,) = admin.execute("SELECT count(*) FROM orders").fetchone()
    with prometheus(tmp_path) as url:
        house = with_connection(house, tmp_path, f'[prometheus]\nkind = "http"\nurl = "{url}"\n')
        incident = incidents.open_incident(house.service, ANA, WEB, "Slow", "C1")
        run = asking.ask_of_incident(house.service, ANA, WEB, incident.id, SOURCE, "Something is up")
        ended, outputs = answered(house, run)
    instant, after, over_time, wrong, sql, _, setting, delete = outputs
    assert (ended.state, ended.in_part) == (RunState.DIAGNOSED, True)
    assert "itself" in shown(instant)
    assert "<table" in shown(instant, "text/html")
    assert shown(after) == "in the next cell [1.0]\n"
    assert shown(over_time).count("42.0") == 3
    assert any("image/png" in one.get("data", {}) for one in over_time)
    assert "prometheus answered 400" in str(wrong)
    assert "The first 2 rows; there are more" in shown(sql)
    assert "é $1 %s {x}" in shown(sql)
    assert "runbook" in shown(sql)
    assert "on" in shown(setting)
    assert "denied" in str(delete) or "read-only" in str(delete)
    with psycopg.connect(orders_server.server.url(database="orders"), autocommit=True) as admin:
        assert admin.execute("SELECT count(*) FROM orders").fetchone() == (before,)


CLUSTER = """
[cluster]
kind = "http"
url = "https://127.0.0.1:{port}"
ca_file = "authority.pem"
[cluster.diagnose]
provider = "kubernetes"
"""
PODS = 'print(kit.http("cluster").get("/api/v1/namespaces/shop/pods").status_code)'


def test_the_token_that_is_minted_for_an_ask_names_asks_and_opens_nothing_that_trusts_the_runbook(
    house, library_folder, tmp_path
):
    write(library_folder, "pods", cell("list", PODS, "diagnostic"), connections={"cluster": "http"}, id=RUNBOOK)
    authority = Authority.make(tmp_path)
    with issuing() as issuer:
        trusted = Trusted(issuer.url, issuer.keys, "production", (RUNBOOK,))
        with cluster(kubernetes(trusted), authority.server(HOST)) as found:
            house = with_connection(house, tmp_path, CLUSTER.format(port=found.port), issuer=issuer)
            base, _ = house.diagnosed(name="pods")
            run = asking.ask_of_run(house.service, ANA, WEB, base.id, PODS, "")
            _, (outputs,) = answered(house, run)
            assert shown(outputs) == "401\n"
            ours, typed = (Trust(issuer.url).claims(token) for token in found.tokens)
    assert ours["sub"] == f"runbook:{RUNBOOK}:env:production:stage:diagnose"
    assert typed["sub"] == f"runbook:{RUNBOOK_ID}:env:production:stage:diagnose"
    assert (typed["run_id"], typed["runbook_digest"], typed["requested_by"]) == (run.id, run.revision, [ANA.subject])
    assert RUNBOOK not in str(typed)
    assert found.did == [(f"runbooks:{ours['sub']}", "list", "pods")]
