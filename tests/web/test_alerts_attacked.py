"""What somebody tries who is no source of alerts, and what alerts themselves try."""

from __future__ import annotations

import json
import logging
import time
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from alert_sender import SECRETS, Sender
from sqlalchemy import create_engine

from runbooks_app.actions import deciding, diagnosing, running
from runbooks_app.actions.recording import CellTold, record_cells
from runbooks_app.alerting import read_secrets
from runbooks_app.core.bundles import Proposed
from runbooks_app.core.errors import Misconfigured, Refused
from runbooks_app.core.run import CellState
from runbooks_app.settings import read_settings
from runbooks_app.store import proposals
from runbooks_app.store.database import reading
from runbooks_app.web import limits
from runbooks_app.web.app import create_app

pytestmark = pytest.mark.chat


@pytest.fixture
def sender(service, tmp_path):
    return Sender(service, tmp_path)


def refusals(sender):
    return sum(row.count for row in sender.rows("SELECT count FROM refusals WHERE reason LIKE '%alerts%'"))


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": "Bearer "},
        {"Authorization": "Bearer wrong"},
        {"Authorization": "Bearer " + SECRETS["own"]},  # another source's
        {"Authorization": "Basic " + SECRETS["prod"]},
        {"Authorization": SECRETS["prod"]},
        {"Authorization": "Bearer " + SECRETS["prod"].upper()},
        {"Authorization": "Bearer " + SECRETS["prod"] + " " + SECRETS["prod"]},
        {"Authorization": "Bearer \xe9\xff"},
        {"X-Runbooks-Signature": "v1=", "X-Runbooks-Timestamp": "0"},
    ],
)
def test_who_does_not_bring_the_sources_own_token_is_refused(sender, held, headers):
    before = held()
    counted = refusals(sender)
    told = sender.client.post("/alerts/prod", json=sender.body(sender.alert()), headers=headers)
    assert told.status_code == 403
    assert held().tables == before.tables
    assert refusals(sender) == counted + 1


def test_an_unknown_source_is_refused_in_the_words_of_a_wrong_secret(sender):
    unknown = sender.fire(sender.alert(), source="nope")
    wrong = sender.fire(sender.alert(), token="wrong")
    assert (unknown.status_code, unknown.json) == (wrong.status_code, wrong.json)
    assert unknown.status_code == 403


def test_a_service_that_names_no_sources_takes_none(client, sender):
    told = client.post("/alerts/prod", json=sender.body(sender.alert()), headers={"Authorization": "Bearer "})
    assert told.status_code == 403


@pytest.mark.parametrize("source", ["graf", "stamped", "own"])
def test_a_signature_over_the_body_as_it_came_is_taken_and_nothing_else(sender, source):
    told = sender.body(sender.alert())
    good = sender.signed(source, told)
    assert (good.status_code, good.json["alerts"][0]["outcome"]) == (200, "run")
    other = json.dumps(sender.body(sender.alert(pod="forged"))).encode()
    assert sender.signed(source, told, sent=other).status_code == 403
    assert sender.signed(source, told, sent=json.dumps(told, indent=1).encode()).status_code == 403
    assert sender.signed(source, told, secret=SECRETS["prod"]).status_code == 403
    assert len(sender.runs()) == 1


@pytest.mark.parametrize("source", ["stamped", "own"])
@pytest.mark.parametrize("at", ["-301", "+330", "", "1_0", " 10", "٣", "1e9", "9" * 13])
def test_a_time_that_is_old_ahead_or_no_number_is_refused(sender, source, at):
    if at[:1] in {"-", "+"}:
        at = str(int(time.time()) + int(at))
    told = sender.body(sender.alert())
    header = {"stamped": "X-Grafana-Time", "own": "X-Runbooks-Timestamp"}[source]
    assert sender.signed(source, told, at=at.strip(), **{header: at.encode().decode("latin-1")}).status_code == 403
    assert sender.runs() == []


@pytest.mark.parametrize("source", ["stamped", "own"])
@pytest.mark.parametrize("at", [-240, +290])
def test_a_time_that_is_nearly_ours_is_taken(sender, source, at):
    """Seconds go by until it is looked at: the very limits are for tests that hold the clock."""
    assert sender.signed(source, sender.body(sender.alert()), at=str(int(time.time()) + at)).status_code == 200
    assert len(sender.runs()) == 1


def test_a_copy_of_a_signed_delivery_does_nothing(sender):
    told, at = sender.body(sender.alert()), str(int(time.time()))
    first = sender.signed("own", told, at=at)
    again = sender.signed("own", told, at=at)
    assert (first.status_code, again.status_code) == (200, 200)
    assert again.json["alerts"] == []
    assert [row.seen for row in sender.kept()] == [1]


def test_pagerduty_may_change_its_secret_and_its_event_counts_once(sender):
    event = sender.pagerduty()
    assert sender.signed("pd", event, secret=SECRETS["pd2"]).json["alerts"][0]["outcome"] == "run"
    assert sender.signed("pd", event).json["alerts"] == []
    assert sender.signed("pd", event, secret=SECRETS["own"]).status_code == 403
    assert sender.signed("pd", event, **{"X-PagerDuty-Signature": "v0=1, v1=, ,"}).status_code == 403
    ping = {"event": {"id": "E0", "event_type": "pagey.ping", "occurred_at": "2026-11-23T03:13:00Z", "data": {}}}
    assert sender.signed("pd", ping).status_code == 200


@pytest.mark.parametrize(
    "body",
    [b"", b"nonsense", b"[]", b"null", b'{"alerts": 5}', b'{"alerts": [5]}', b'{"alerts": [{"labels": {"a": []}}]}',
     b"[" * 100_000, b'{"alerts": [{"labels": {}, "startsAt": "yesterday"}]}', b"\xff\xfe"],
)  # fmt: skip
def test_what_is_no_delivery_is_told_so_and_changes_nothing(sender, held, body):
    before = held()
    token = {"Authorization": f"Bearer {SECRETS['prod']}"}
    told = sender.client.post("/alerts/prod", data=body, headers=token)
    assert told.status_code == 422, told.text
    assert "Bearer" not in told.text
    assert held().tables == before.tables


def test_labels_are_values_and_never_code(sender):
    hostile = '"; import os; os.system("id") #{service.postgres}\n$(id) `id` {{7*7}}'
    assert sender.outcomes(sender.alert(note=hostile)) == ["run"]
    (run,) = sender.runs()
    assert run.parameters["note"] == hostile


def test_what_no_database_can_keep_is_taken_out_and_what_is_too_long_is_cut(sender):
    odd = sender.alert(note="a\x00b\ud800c", long="x" * 5_000, **{f"z{n}": "x" for n in range(100)})
    assert sender.outcomes(odd) == ["run"]
    (row,) = sender.kept()
    assert row.labels["note"] == "ab?c"
    assert len(row.labels["long"]) == 1_000
    assert len(row.labels) == 64


def test_keys_of_any_length_and_script_are_told_apart(sender):
    odd = "".join(chr(0x4E00 + n * 7_919 % 20_000) for n in range(4_000))  # which no compression makes short
    for end in ("a", "b"):
        alert = {**sender.alert(pod=end), "fingerprint": odd + end}
        assert sender.outcomes(alert, group=odd + end) == ["run"]
    assert len({row.group_key for row in sender.kept()}) == 2
    assert len({run.incident_id for run in sender.runs()}) == 2
    event = sender.pagerduty()
    event["event"]["id"] = odd
    assert sender.signed("pd", event).status_code == 200


def test_a_label_that_names_a_connection_which_has_not_opted_in_runs_nothing(sender):
    assert sender.outcomes(sender.alert(service="billing")) == ["refused"]
    assert sender.runs() == []
    (row,) = sender.kept()
    assert "billing-db" in row.why


def test_ten_thousand_alerts_of_one_delivery_start_what_the_budget_lets_and_are_told_in_one_line(sender):
    labels = [{**sender.alert(), "fingerprint": f"f{n}"} for n in range(10_000)]
    for n, alert in enumerate(labels):
        alert["labels"] = {**alert["labels"], "note": str(n)}
    budget = replace(sender.service.alerting.budget, runs=0)
    sender.use(replace(sender.service.alerting, budget=budget))
    began = time.monotonic()
    told = sender.fire(*labels)
    took = time.monotonic() - began
    assert told.status_code == 200
    assert (len(told.json["alerts"]), told.json["cut"]) == (500, 9_500)
    assert sender.runs() == []
    (storm,) = sender.rows("SELECT * FROM alert_storms WHERE channel = :c", c=sender.channel)
    assert storm.held == 500
    assert took < 10


def test_a_delivery_beyond_all_bounds_is_not_read(sender):
    told = sender.client.post(
        "/alerts/prod", data=b" " * (17 * 1024 * 1024), headers={"Authorization": f"Bearer {SECRETS['prod']}"}
    )
    assert told.status_code == 413


def test_who_has_not_proven_anything_has_little_read_of_what_they_send(sender):
    large = b" " * (3 * 1024 * 1024)
    assert sender.client.post("/alerts/own", data=large, headers={"X-Runbooks-Timestamp": "0"}).status_code == 413
    assert sender.client.post("/alerts/prod", data=large).status_code == 403
    token = {"Authorization": f"Bearer {SECRETS['prod']}"}
    assert sender.client.post("/alerts/prod", data=large, headers=token).status_code == 422


def proposed(service, run_id):
    """What the run's diagnosis proposed, as if a worker had done it."""
    claim = diagnosing.claim_run(service, run_id, "w1")
    said, now = diagnosing.Said(), datetime.now(UTC)
    told = [CellTold(cell.id, CellState.OK, now, now, execution_count=1) for cell in claim.cells]
    record_cells(service, claim, told, said)
    said.proposed.append(Proposed("end-session", {"pid": 4711}, "it blocks others"))
    diagnosing.finish_run(service, claim, said, "")
    with reading(service.engine) as tx:
        return proposals.of_run(tx, run_id)[0]


def test_what_an_alert_proposes_wants_two_humans_and_no_alert_can_be_one(sender, sign_in_as):
    sender.outcomes(sender.alert())
    (run,) = sender.runs()
    service, proposal = sender.service, proposed(sender.service, run.id)
    assert proposal.requesters == []
    token = {"Authorization": f"Bearer {SECRETS['prod']}"}
    for path in ("decisions", "sponsor"):
        told = sender.client.post(f"/api/v1/proposals/{proposal.id}/{path}", json={}, headers=token)
        assert told.status_code in {401, 404}
    alert = replace(sign_in_as().person, subject="alert:prod", roles=frozenset({"alert"}))
    how = {"surface": "alert", "auth_time": 1}
    for refused in (
        lambda: deciding.decide(service, alert, how, proposal.id, "approve", proposal.digest),
        lambda: deciding.sponsor(service, alert, how, proposal.id),
        lambda: deciding.propose_by_hand(service, alert, how, run.id, "end-session", {"pid": 1}, "x"),
        lambda: running.request_run(service, alert, how, "disk-full", {}),
    ):
        with pytest.raises(Refused):
            refused()
    approver, responder = sign_in_as("approver:database").person, sign_in_as("responder").person
    with pytest.raises(Refused, match="sponsor"):
        deciding.decide(service, approver, how, proposal.id, "approve", proposal.digest)
    assert deciding.sponsor(service, responder, how, proposal.id).sponsor == responder.subject


def test_no_group_of_people_can_be_an_alert():
    with pytest.raises(Misconfigured, match="alert"):
        read_settings({"RUNBOOKS_ROLES": json.dumps({"everybody": ["alert"]})})


def test_with_the_database_away_the_sender_is_told_to_try_again(sender):
    away = replace(sender.service, engine=create_engine("postgresql+psycopg://nobody@127.0.0.1:1/none"))
    sender.client = create_app(
        away, secret_key=b"a key for tests, and for nothing else at all", alert_secrets=read_secrets(away.alerting)
    ).test_client()
    told = sender.fire(sender.alert())
    assert told.status_code == 503
    assert told.json["error"]["code"] == "unavailable"


def test_however_many_come_none_is_turned_away_by_a_rate_limit(sender):
    alert = sender.alert()
    assert {sender.fire(alert).status_code for _ in range(30)} == {200}
    assert "alerts" not in limits.LIMITS


def test_no_secret_of_a_source_is_in_the_service_a_log_an_answer_or_the_trail(sender, caplog):
    caplog.set_level(logging.DEBUG)
    sender.fire(sender.alert())
    sender.fire(sender.alert(), token="wrong")
    sender.signed("own", {"alerts": "none"})
    texts = [repr(sender.service), repr(sender.app.extensions), caplog.text]
    texts += [row[0] for row in sender.rows("SELECT t::text FROM alerts t")]
    texts += [row[0] for row in sender.rows("SELECT t::text FROM audit_entries t")]
    for secret in SECRETS.values():
        assert not any(secret in text for text in texts)
