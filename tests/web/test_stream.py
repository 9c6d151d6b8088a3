"""A run's events as programs read them."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
from hostile_provider import rs256
from sqlalchemy import event

from runbooks_app.actions import deciding, diagnosing, people, running
from runbooks_app.actions.recording import CellTold, record_cells
from runbooks_app.core.run import CellState
from runbooks_app.live import Live
from runbooks_app.store.database import transaction
from runbooks_app.web import live

pytestmark = pytest.mark.pages


def events_of(text: str) -> list[tuple[str, str]]:
    blocks = [block.split("\n") for block in text.strip().split("\n\n") if block.startswith("event: ")]
    return [
        (first.removeprefix("event: "), "\n".join(x.removeprefix("data: ") for x in rest)) for first, *rest in blocks
    ]


def test_a_run_that_has_ended_is_told_with_its_cells_and_the_stream_ends(sign_in_as, diagnosed):
    anna = sign_in_as("responder")
    run_id, _ = diagnosed(anna.person)
    told = anna.get(f"/api/v1/runs/{run_id}/events")
    assert told.mimetype == "text/event-stream"
    events = events_of(told.text)
    assert [name for name, _ in events] == ["run", *["cell"] * (len(events) - 2), "end"]
    assert json.loads(events[0][1])["state"] == "diagnosed"
    cells = [json.loads(data) for name, data in events if name == "cell"]
    read = anna.get(f"/api/v1/runs/{run_id}").json["attempts"][0]["cells"]
    assert [{k: v for k, v in cell.items() if k != "attempt"} for cell in cells] == read


def test_what_changes_while_somebody_watches_is_told_by_itself(sign_in_as):
    anna = sign_in_as("responder")
    run_id = anna.post("/api/v1/runs", {"runbook": "disk-full"}).json["id"]
    stream = iter(anna.client.get(f"/api/v1/runs/{run_id}/events", buffered=False).response)
    first = events_of(next(chunk for chunk in map(_text, stream) if "event: " in chunk))
    assert [(name, json.loads(data)["state"]) for name, data in first] == [("run", "queued")]
    other = anna.post(f"/api/v1/runs/{run_id}/cancel")
    assert other.status_code == 200
    rest = events_of("".join(map(_text, stream)))
    assert [name for name, _ in rest] == ["run", "end"]
    assert json.loads(rest[0][1])["state"] == "cancelled"


@pytest.fixture
def begun(service):
    """`begun(person)` is a run whose diagnosis goes, as its worker holds it."""

    def begin(person) -> diagnosing.Claim:
        run = running.request_run(service, person, {"surface": "web"}, "disk-full", {})
        claim = diagnosing.claim_run(service, run.id, "w1")
        assert claim is not None
        return claim

    return begin


class Watched:
    """A run's stream that somebody reads: an event at a time."""

    def __init__(self, client, run_id: str, **rest) -> None:
        self.answer = client.get(f"/api/v1/runs/{run_id}/events", buffered=False, **rest)
        self._events = self._read()

    def _read(self) -> Iterator[tuple[str, dict]]:
        for chunk in self.answer.response:
            for name, data in events_of(_text(chunk)):
                yield name, json.loads(data.removeprefix("data:") or "null")

    def until(self, name: str) -> tuple[list[tuple[str, dict]], dict]:
        """What comes before the next event of this name, and its data."""
        before: list[tuple[str, dict]] = []
        for told in self._events:
            if told[0] == name:
                return before, told[1]
            before.append(told)
        raise AssertionError(f"The stream ended without {name}: {before}")

    def rest(self) -> list[tuple[str, dict]]:
        return list(self._events)


class TestWhatCellsPrint:
    @pytest.fixture
    def settings(self, settings, redis_server):
        return {**settings, "redis_url": redis_server.url}

    @pytest.fixture
    def voice(self, app, redis_server) -> Iterator[Live]:
        voice = Live(redis_server.url)
        yield voice
        voice.close()
        live.close(app)

    def test_it_is_told_while_they_run_behind_the_cell_itself(self, sign_in_as, begun, service, voice):
        anna = sign_in_as("responder")
        claim = begun(anna.person)
        running_now = CellTold("look", CellState.RUNNING, datetime.now(UTC))
        record_cells(service, claim, [running_now], diagnosing.Said())
        printed = {"kind": "output", "attempt": claim.attempt.id, "cell": "look"}
        text = {"output_type": "stream", "name": "stdout", "text": "<b>half\r\nfull</b>\n"}
        voice.publish(claim.run.id, {**printed, "output": text, "display_id": "7", "clears": True, "secret": "x"})
        watched = Watched(anna.client, claim.run.id)
        before, told = watched.until("output")
        assert told == {
            "attempt": claim.attempt.id,
            "cell": "look",
            "output": text,
            "display_id": "7",
            "clears": True,
        }
        assert [one["state"] for name, one in before if name == "cell" and one["id"] == "look"] == ["running"]
        watched.answer.close()

    def test_of_cells_that_have_ended_it_is_read_from_the_run(self, sign_in_as, begun, service, voice):
        anna = sign_in_as("responder")
        claim, now = begun(anna.person), datetime.now(UTC)
        cells = [CellTold("setup", CellState.OK, now, now), CellTold("look", CellState.RUNNING, now)]
        record_cells(service, claim, cells, diagnosing.Said())
        for cell in ("setup", "look"):
            text = {"output_type": "stream", "name": "stdout", "text": f"in {cell}\n"}
            told = {"kind": "output", "attempt": claim.attempt.id, "cell": cell, "output": text}
            voice.publish(claim.run.id, told)
        watched = Watched(anna.client, claim.run.id)
        assert watched.until("output")[1]["cell"] == "look"
        watched.answer.close()

    def test_of_a_cell_that_nobody_told_of_yet_the_cell_comes_first(self, sign_in_as, service, voice):
        anna = sign_in_as("responder")
        run = running.request_run(service, anna.person, {"surface": "web"}, "disk-full", {})
        watched = Watched(anna.client, run.id)
        watched.until("run")
        claim = diagnosing.claim_run(service, run.id, "w1")
        text = {"output_type": "stream", "name": "stdout", "text": "first\n"}
        told = {"kind": "output", "attempt": claim.attempt.id, "cell": "look", "output": text}
        voice.publish(run.id, told)
        before, _ = watched.until("output")
        assert "look" in [one["id"] for name, one in before if name == "cell"]
        watched.answer.close()


def test_only_what_is_new_is_sent_and_what_cells_printed_is_not_read_for_it(
    sign_in_as, begun, service, web_engine, monkeypatch
):
    monkeypatch.setattr(live, "POLL_WITHOUT_REDIS", 0.05)
    anna = sign_in_as("responder")
    claim, said, now = begun(anna.person), diagnosing.Said(), datetime.now(UTC)
    watched = Watched(anna.client, claim.run.id)
    watched.until("cell")
    statements: list[str] = []

    def note(_connection, _cursor, statement, *_rest) -> None:
        statements.append(" ".join(statement.split()))

    event.listen(web_engine, "before_cursor_execute", note)
    try:
        outputs = ({"output_type": "stream", "name": "stdout", "text": "x" * 1000},)
        record_cells(service, claim, [CellTold("look", CellState.RUNNING, now)], said)
        before, told = watched.until("cell")
        while told["id"] != "look" or told["state"] != "running":
            more, told = watched.until("cell")
            before += more
        record_cells(service, claim, [CellTold("look", CellState.OK, now, now, outputs=outputs)], said)
        before, told = watched.until("cell")
        assert (before, told["id"], told["state"], "outputs" in told) == ([], "look", "ok", False)
    finally:
        event.remove(web_engine, "before_cursor_execute", note)
    assert [one for one in statements if one.startswith("SELECT * FROM cells") or "c.*" in one] == []
    watched.answer.close()


def test_a_stream_goes_on_while_what_was_approved_is_under_way(sign_in_as, diagnosed, service, monkeypatch):
    monkeypatch.setattr(live, "POLL_WITHOUT_REDIS", 0.05)
    anna, ben = sign_in_as("responder"), sign_in_as("approver:database")
    run_id, proposal_id = diagnosed(anna.person)
    assert Watched(anna.client, run_id).rest()[-1][0] == "end", "nobody has decided: that may take hours"
    digest = ben.get(f"/api/v1/proposals/{proposal_id}").json["digest"]
    deciding.decide(service, ben.person, {"surface": "web"}, proposal_id, "approve", digest)
    monkeypatch.setattr(live, "LONGEST", 0.5)
    assert {name for name, _ in Watched(anna.client, run_id).rest()} == {"run", "cell"}
    with transaction(service.engine) as tx:
        tx.execute("UPDATE proposals SET state = 'stale', ended_at = now() WHERE id = :id", id=proposal_id)
    assert Watched(anna.client, run_id).rest()[-1][0] == "end"


def test_a_session_that_ends_ends_its_streams(sign_in_as, service, monkeypatch):
    monkeypatch.setattr(live, "HEARTBEAT", 0.05)
    monkeypatch.setattr(live, "POLL_WITHOUT_REDIS", 0.05)
    anna = sign_in_as("responder")
    watched = Watched(anna.client, anna.post("/api/v1/runs", {"runbook": "disk-full"}).json["id"])
    watched.until("run")
    people.sign_out(service, anna.cookie)
    assert watched.rest() == []


class TestByAToken:
    @pytest.fixture
    def settings(self, settings, provider):
        return {**settings, "oidc_issuer": provider.url}

    def test_a_token_that_ends_ends_its_streams(self, client, provider, sign_in_as, monkeypatch):
        monkeypatch.setattr(live, "HEARTBEAT", 0.05)
        monkeypatch.setattr(live, "POLL_WITHOUT_REDIS", 0.05)
        run_id = sign_in_as("responder").post("/api/v1/runs", {"runbook": "disk-full"}).json["id"]
        now = int(time.time())
        claims = {
            "iss": provider.url,
            "aud": "http://127.0.0.1:8080",
            "sub": "stream",
            "name": "Anna",
            "groups": ["watch"],
            "client_id": "runbooks-cli",
            "jti": "t-stream",
            "iat": now,
            "exp": now + 300,
        }
        sent = {"Authorization": f"Bearer {rs256(claims, typ='at+jwt')}"}
        watched = Watched(client, run_id, headers=sent)
        watched.until("run")
        monkeypatch.setattr(live.time, "time", lambda: now + 301)
        assert watched.rest() == [], "it neither goes on nor says that nothing more will come"


def test_a_run_that_is_not_there_has_no_stream(sign_in_as):
    assert sign_in_as("viewer").get("/api/v1/runs/nothing/events").status_code == 404


def _text(chunk) -> str:
    return chunk.decode() if isinstance(chunk, bytes) else chunk
