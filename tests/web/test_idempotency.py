"""Requests that are sent twice under one `Idempotency-Key`: one effect, and the same answer."""

from __future__ import annotations

import itertools
import re
from concurrent.futures import ThreadPoolExecutor

import pytest

from runbooks_app.store import idempotency
from runbooks_app.store.database import reading, transaction
from runbooks_app.web.api import openapi
from runbooks_app.web.api.contract import KEY_HEADER

pytestmark = pytest.mark.pages

_numbers = itertools.count()


def a_key() -> str:
    return f"key-{next(_numbers)}"


@pytest.fixture
def steps(sign_in_as, diagnosed, service):
    """For each POST of the API that takes a key: who sends it, where, and what."""
    anna, ben = sign_in_as("responder"), sign_in_as("approver:database")
    run, proposal = diagnosed(anna.person)
    digest = anna.get(f"/api/v1/proposals/{proposal}").json["digest"]
    by_hand = f"/api/v1/runs/{run}/proposals"
    mine = anna.post(by_hand, {"gate": "end-session", "inputs": {"pid": 9}, "reason": "r"}).json["id"]
    queued = anna.post("/api/v1/runs", {"runbook": "disk-full"}).json["id"]
    incident = anna.post("/api/v1/incidents", {"title": "sent twice"}).json["id"]
    ended = anna.post(f"/api/v1/incidents/{incident}/asks", {"source": "2"}).json["id"]
    anna.post(f"/api/v1/runs/{ended}/cancel")
    nobodys = diagnosed(anna.person)[1]
    with transaction(service.engine) as tx:
        tx.execute(
            """UPDATE proposals SET requesters = '[]', policy = policy || '{"risk": "high"}' WHERE id = :id""",
            id=nobodys,
        )
    return {
        "run": (anna, "/api/v1/runs", {"runbook": "disk-full"}),
        "cancel": (anna, f"/api/v1/runs/{queued}/cancel", {}),
        "propose": (anna, by_hand, {"gate": "end-session", "inputs": {"pid": 8}, "reason": "r"}),
        "decide": (ben, f"/api/v1/proposals/{proposal}/decisions", {"verdict": "deny", "digest": digest}),
        "withdraw": (anna, f"/api/v1/proposals/{mine}/withdraw", {}),
        "open": (anna, "/api/v1/incidents", {"title": "once"}),
        "note": (anna, f"/api/v1/incidents/{incident}/notes", {"text": "once"}),
        "attach": (anna, f"/api/v1/incidents/{incident}/runs", {"run": run}),
        "sponsor": (ben, f"/api/v1/proposals/{nobodys}/sponsor", {}),
        "ask of a run": (anna, f"/api/v1/runs/{run}/asks", {"source": "1"}),
        "ask": (anna, f"/api/v1/incidents/{incident}/asks", {"source": "1"}),
        "conclude": (anna, f"/api/v1/runs/{ended}/conclusion", {"conclusion": "it was stopped"}),
        "close": (anna, f"/api/v1/incidents/{incident}/close", {"cause": "done"}),
    }


def test_a_request_sent_again_has_no_second_effect_and_the_same_answer(steps, held):
    for name, (person, address, body) in steps.items():
        key, before = a_key(), held()
        first = person.post(address, body, Idempotency_Key=key)
        assert first.status_code in {200, 201}, (name, first.text)
        after = held()
        assert len(after.since(before)) >= 1, name
        again = person.post(address, body, Idempotency_Key=key)
        assert (again.status_code, again.headers.get("Location")) == (first.status_code, first.headers.get("Location"))
        assert again.json["id"] == first.json["id"], name
        assert held() == after, name


def test_every_request_that_takes_a_key_is_sent_again_here(steps):
    described = openapi.document()["paths"]
    keyed = {
        path
        for path, methods in described.items()
        if any(told["name"] == KEY_HEADER for told in methods.get("post", {}).get("parameters", ()))
    }
    sent = {re.sub(r"/[a-z2-7]{16}(?=/|$)|/[0-9]+(?=/|$)", "/{}", address) for _, address, _ in steps.values()}
    assert {re.sub(r"{\w+}", "{}", path) for path in keyed} == sent


def test_each_export_is_entered_whatever_key_it_is_sent_with(sign_in_as, held):
    anna, key = sign_in_as("responder"), a_key()
    incident = anna.post("/api/v1/incidents", {"title": "taken out"}).json["id"]
    before = held()
    for _ in range(2):
        told = anna.post(f"/api/v1/incidents/{incident}/exports", {"kind": "md"}, Idempotency_Key=key)
        assert (told.status_code, "taken out" in told.text) == (200, True)
    assert held().since(before) == ["postmortem.exported"] * 2
    operation = openapi.document()["paths"]["/api/v1/incidents/{incident_id}/exports"]["post"]
    assert KEY_HEADER not in {told["name"] for told in operation["parameters"]}
    assert "`idempotency_key_reused`" not in str(operation["responses"])


def test_it_is_answered_with_the_object_as_it_stands_now(sign_in_as):
    anna, key = sign_in_as("responder"), a_key()
    made = anna.post("/api/v1/runs", {"runbook": "disk-full"}, Idempotency_Key=key)
    anna.post(made.headers["Location"] + "/cancel")
    again = anna.post("/api/v1/runs", {"runbook": "disk-full"}, Idempotency_Key=key)
    assert (again.status_code, again.json["id"], again.json["state"]) == (201, made.json["id"], "cancelled")


def test_a_key_with_another_request_is_refused(sign_in_as, held):
    anna, key = sign_in_as("responder"), a_key()
    anna.post("/api/v1/incidents", {"title": "one"}, Idempotency_Key=key)
    before = held()
    for address, body in (("/api/v1/incidents", {"title": "two"}), ("/api/v1/runs", {"runbook": "disk-full"})):
        told = anna.post(address, body, Idempotency_Key=key)
        assert (told.status_code, told.json["error"]["code"]) == (422, "idempotency_key_reused")
    assert held() == before


@pytest.mark.parametrize("key", ["two words", "x" * 101, "é"])
def test_a_key_that_is_malformed_is_refused(sign_in_as, held, key):
    anna, before = sign_in_as("responder"), held()
    told = anna.post("/api/v1/incidents", {"title": "one"}, Idempotency_Key=key)
    assert (told.status_code, told.json["error"]["problems"][0]["where"]) == (422, "Idempotency-Key")
    assert held().tables["incidents"] == before.tables["incidents"]


def test_the_same_key_of_somebody_else_is_another_request(sign_in_as):
    key = a_key()
    made = [sign_in_as("responder").post("/api/v1/incidents", {"title": "x"}, Idempotency_Key=key) for _ in range(2)]
    assert made[0].json["id"] != made[1].json["id"]


def test_what_failed_takes_no_key(sign_in_as):
    anna, key = sign_in_as("responder"), a_key()
    incident = anna.post("/api/v1/incidents", {"title": "x"}).json["id"]
    gone = {"runbook": "disk-full", "rerun_of": "nothing"}
    assert anna.post("/api/v1/runs", gone, Idempotency_Key=key).status_code == 404
    told = anna.post("/api/v1/runs", {"runbook": "disk-full", "incident": incident}, Idempotency_Key=key)
    assert told.status_code == 201


def test_of_two_that_come_at_once_one_has_the_effect(app, sign_in_as, service):
    anna, key = sign_in_as("responder"), a_key()

    def send(_: int):
        client = app.test_client()
        client.set_cookie("runbooks", anna.cookie)
        headers = {**anna.headers, "X-CSRF-Token": anna.csrf, "Idempotency-Key": key}
        return client.post("/api/v1/incidents", json={"title": "at once"}, headers=headers)

    with ThreadPoolExecutor(4) as pool:
        told = list(pool.map(send, range(4)))
    assert {one.status_code for one in told} == {201}
    assert len({one.json["id"] for one in told}) == 1


def test_keys_are_forgotten_after_a_day(sign_in_as, service):
    anna, key = sign_in_as("responder"), a_key()
    anna.post("/api/v1/incidents", {"title": "x"}, Idempotency_Key=key)
    look = "SELECT count(*) FROM idempotent_requests WHERE key = :key"
    for age, left in (("23 hours", 1), ("25 hours", 0)):
        with transaction(service.engine) as tx:
            tx.execute("UPDATE idempotent_requests SET made_at = now() - CAST(:age AS interval)", age=age)
            idempotency.forget(tx)
        with reading(service.engine) as tx:
            assert tx.execute(look, key=key).scalar_one() == left
