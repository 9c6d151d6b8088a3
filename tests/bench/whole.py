"""Figures of the whole service: the demo's stage with its real web and worker, and people who use it."""

from __future__ import annotations

import hashlib
import hmac
import http.client
import json
import re
import secrets
import shutil
import threading
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode, urlsplit

import psycopg
from bench import samples
from bench.figures import Figure, at_most, known, percentile
from bench.processes import Times, watching
from notebooks import cell, notebook
from psycopg.rows import dict_row
from redis import Redis

from runbooks_app.live.streams import key
from runbooks_app.main.demo.stage import LIBRARY, TEAM, Stage
from runbooks_app.main.demo.story import Browser, Story
from runbooks_app.store.artifacts import Artifacts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

PATIENCE = 30.0
"""Seconds that anything may take before a figure is given up."""

COMMANDS, DECISIONS = 60, 12
"""Rounds."""

FLOOD = 60_000_000
"""Bytes that a cell prints: less than all that is kept of a run by default, and 60 times what stays in its row."""

COMMAND = "signed /runbook POST → first output on the live stream"
BROWSER = "signed /runbook POST → first output in a browser's event stream"
DECISION = "decision POST → first statement of the remediation beyond the re-check, p50"
SIGNED = "back from signing a decision → first statement beyond the re-check, p50"
FLOODED = "output flood (60 MB in a cell), growth of the worker's memory"
USABLE = "output flood, the run's page meanwhile, p50"
EVERY_BYTE = "output flood, bytes kept up to the cap"

MENDING = {
    "setup": "from runbook_library import kit\nimport time",
    "look": """
kit.finding("warning", f"{word} is missing")
kit.propose("write-word", text=word, reason="it is missing")
""",
    "write": """
text: str  # what is written
kit.gate("write-word", "Write {text} on {database}", risk="RISK", target="{database}", expires="30m")
print("first statement at", time.monotonic_ns())
kit.postgres(database).execute("SELECT %s", [text])
""",
    "stands": 'kit.check("it stands there", True)',
}
PARAMETERS = """
from runbook_library.kit import Connection

database: Connection["postgres"] = "orders-db"  # where
word: str = "bench"  # what
"""
FLOODING = f"""
import time
line = "x" * 999
print("first output at", time.monotonic_ns())
for number in range({FLOOD} // 1000):
    print(line)
"""


@dataclass
class Whole:
    """The stage, with Ana who asks and Ben who decides."""

    stage: Stage
    ana: Browser
    ben: Browser
    csrf: dict[str, str] = field(default_factory=dict)

    def ask(self, person: Browser, path: str, **body: Any) -> dict[str, Any]:
        """POST to the JSON API."""
        if person.sub not in self.csrf:
            self.csrf[person.sub] = person.api("/me")["csrf"]
        headers = {"Origin": self.stage.url, "X-CSRF-Token": self.csrf[person.sub]}
        answer = person.client.post(f"{self.stage.url}/api/v1{path}", json=body, headers=headers)
        assert answer.is_success, f"{path} was answered {answer.status_code}: {answer.text[:300]}"
        told: dict[str, Any] = answer.json()
        return told

    def rows(self, query: str, *values: object) -> list[dict[str, Any]]:
        """What the service's database holds."""
        url = self.stage.database.url(database="runbooks")
        with psycopg.connect(url, autocommit=True, row_factory=dict_row) as session:
            return session.execute(query, values).fetchall()

    def idle(self) -> None:
        """Return when no job is left but those that wake people later, and the upkeep has had its turn."""
        due = """SELECT 1 FROM procrastinate_jobs WHERE status IN ('todo', 'doing') AND queue_name <> 'upkeep'
            AND NOT (task_name = 'wake' AND scheduled_at > now())"""
        until("the queue to be empty", lambda: not self.rows(due))


def until(what: str, look: Callable[[], Any], seconds: float = PATIENCE) -> Any:
    """Look until there is something to see, and give it."""
    end = time.monotonic() + seconds
    while not (seen := look()):
        if time.monotonic() > end:
            raise TimeoutError(f"{what}: not within {seconds:.0f} s")
        time.sleep(0.02)
    return seen


@contextmanager
def whole(folder: Path) -> Iterator[Whole]:
    """Everything started; Ana's chat account is tied to her."""
    library = folder / "library"
    shutil.copytree(LIBRARY, library, ignore=shutil.ignore_patterns("__pycache__"))
    books = {
        "bench-hello": samples.notebook(samples.TRIVIAL),
        "bench-minted": samples.notebook(samples.TRIVIAL, connections={"orders-db": "postgres"}),
        "bench-flood": samples.notebook((FLOODING,)),
        "bench-mend": _mending("medium"),
        "bench-mend-signed": _mending("high"),
    }
    for name, content in books.items():
        (library / f"{name}.ipynb").write_text(json.dumps(content))
    with Stage(folder / "stage", lambda _: None, usual_ports=False, library=library) as stage:
        ana, ben = (Browser(stage, sub) for sub in ("ana", "ben"))
        for person in (ana, ben):
            assert person.sign_in().status_code == 200
        path = Story(stage, lambda _: None).link_for("U0ANA")
        assert ana.post(path, ana.page(path)).status_code == 200
        yield Whole(stage, ana, ben)
        for person in (ana, ben):
            person.client.close()


def _mending(risk: str) -> dict[str, Any]:
    sources = {name: source.replace("RISK", risk) for name, source in MENDING.items()}
    made = notebook(
        *(cell(name, sources[name], tag) for name, tag in (("look", "diagnostic"), ("write", "remediation"))),
        cell("stands", sources["stands"], "diagnostic"),
        parameters=PARAMETERS,
        title="Bench",
        timeouts={"cell": "60s", "run": "2m"},
    )
    made["cells"][1] = cell("setup", MENDING["setup"], "setup")
    return made


# ---- a command's first output


def commands(whole: Whole, rounds: int = COMMANDS) -> Iterator[Figure]:
    """From a signed command to the first output: on the run's stream, and in a browser that opens the run's page."""
    for name, told in (("bench-hello", ""), ("bench-minted", ", with a login minted for the run")):
        for _ in range(3):
            _command(whole, name)
        taken = [_command(whole, name) for _ in range(rounds if not told else rounds // 3)]
        for place, what in enumerate((COMMAND, BROWSER)):
            ms = [each[place] for each in taken]
            title = what + told
            note = f"{len(ms)} rounds; acknowledged after {percentile([each[2] for each in taken], 50):.0f} ms"
            if told or place:
                yield known(f"{title}, p50", percentile(ms, 50), "ms", note)
                yield known(f"{title}, p99", percentile(ms, 99), "ms", note)
            else:
                yield at_most(f"{title}, p50", percentile(ms, 50), "ms", 80, note)
                yield at_most(f"{title}, p99", percentile(ms, 99), "ms", 250, note)


def _command(whole: Whole, name: str) -> tuple[float, float, float]:
    """Milliseconds to the first output on the run's stream, in a browser, and to the acknowledgement."""
    whole.idle()
    time.sleep(0.1)
    form = {"team_id": TEAM, "user_id": "U0ANA", "user_name": "ana", "channel_id": "C0INCIDENTS"}

    # Slack sends an id of its own with each, without which two within a second were the same delivery.
    form |= {"command": "/runbook", "text": name, "trigger_id": secrets.token_hex(8)}
    body = urlencode(form).encode()
    at = str(int(time.time()))
    signing = whole.stage.secret("slack_signing").encode()
    signature = "v0=" + hmac.digest(signing, b"v0:" + at.encode() + b":" + body, hashlib.sha256).hex()
    headers = {
        "Content-Type": "application/x-www-form-urlencoded",
        "X-Slack-Request-Timestamp": at,
        "X-Slack-Signature": signature,
    }
    place = urlsplit(whole.stage.url)
    began, began_at = time.monotonic(), time.time()
    poster = http.client.HTTPConnection(str(place.hostname), place.port, timeout=PATIENCE)
    poster.request("POST", "/slack/commands", body, headers)
    answer = poster.getresponse().read().decode()
    acknowledged = time.monotonic()
    poster.close()
    found = re.search(r"/runs/([a-z2-7]{16})", answer)
    assert found is not None, f"the command was answered: {answer[:300]}"
    seen = _seen_in_browser(whole, found[1])
    streamed = _on_stream(whole, found[1])
    until("the run to end", lambda: whole.rows("SELECT 1 FROM runs WHERE id = %s AND state = 'diagnosed'", found[1]))
    return (streamed - began_at) * 1000, (seen - began) * 1000, (acknowledged - began) * 1000


def _seen_in_browser(whole: Whole, run_id: str) -> float:
    """When the browser's event stream has the first output: live, or in the cell's own part of the page."""
    place = urlsplit(whole.stage.url)
    reader = http.client.HTTPConnection(str(place.hostname), place.port, timeout=PATIENCE)
    cookies = "; ".join(f"{cookie.name}={cookie.value}" for cookie in whole.ana.client.cookies.jar)
    path = f"/runs/{run_id}/events?since={int(time.time() * 1000)}"
    reader.request("GET", path, headers={"Cookie": cookies, "Accept": "text/event-stream"})
    answer = reader.getresponse()
    assert answer.status == 200, answer.status
    received = b""
    while not samples.MOMENT.search(received.decode(errors="replace")):
        piece = answer.read1(65536)
        assert piece, "the event stream ended before the first output"
        received += piece
    at = time.monotonic()
    reader.close()
    return at


def _on_stream(whole: Whole, run_id: str) -> float:
    """When Redis took the first output, by the id that it gave it (milliseconds of the same clock)."""
    assert whole.stage.redis is not None
    redis = Redis.from_url(whole.stage.redis.url, password=whole.stage.redis.password)
    with redis:
        entries: Any = redis.xrange(key(run_id))
    for place, fields in entries:
        if json.loads(fields[b"e"])["kind"] == "output":
            return int(place.split(b"-")[0]) / 1000
    raise AssertionError("the run's stream has no output")


# ---- a decision's first statement


def decisions(whole: Whole, rounds: int = DECISIONS) -> Iterator[Figure]:
    """From the decision to the first statement of the remediation, without the time that the re-check took."""
    for runbook in ("bench-mend", "bench-mend-signed"):
        measured = [_decision(whole, runbook, number) for number in range(rounds + 2)][2:]
        beyond, rechecks = (percentile(sorted(each), 50) for each in zip(*measured, strict=True))
        note = f"{rounds} rounds; the re-check itself: {rechecks:.0f} ms"
        if runbook == "bench-mend":
            yield at_most(DECISION, beyond, "ms", 100, f"medium risk; {note}")
        else:
            yield known(SIGNED, beyond, "ms", f"high risk, its code exchanged and signature checked; {note}")


def _decision(whole: Whole, runbook: str, number: int) -> tuple[float, float]:
    run_id = whole.ask(whole.ana, "/runs", runbook=runbook, parameters={"word": f"word-{number}"})["id"]
    until("the diagnosis", lambda: whole.rows("SELECT 1 FROM runs WHERE id = %s AND state = 'diagnosed'", run_id))
    (proposal,) = whole.ana.api(f"/runs/{run_id}")["proposals"]
    if proposal["policy"]["risk"] == "high":
        at_provider = whole.ben.send_decision(proposal["id"], "approve", "go")
        signed = whole.ben.client.post(at_provider.url, data={"sub": whole.ben.sub}, follow_redirects=False)
        whole.idle()
        began = time.monotonic_ns()
        whole.ben.client.get(signed.headers["Location"])  # back from the provider
    else:
        whole.idle()
        decision = {"verdict": "approve", "digest": proposal["digest"], "reason": "go"}
        began = time.monotonic_ns()
        whole.ask(whole.ben, f"/proposals/{proposal['id']}/decisions", **decision)
    verified = "SELECT state, state_reason, verification FROM proposals WHERE id = %s AND verification = 'verified'"
    until("the remediation", lambda: whole.rows(verified, proposal["id"]))
    (written,) = whole.rows(
        "SELECT c.outputs FROM cells c JOIN attempts a ON a.id = c.attempt_id "
        "WHERE a.proposal_id = %s AND a.stage = 'remediate' AND c.cell_id = 'write'",
        proposal["id"],
    )
    first = re.search(r"first statement at (\d+)", json.dumps(written["outputs"]))
    assert first is not None
    (recheck,) = whole.rows(
        "SELECT extract(epoch FROM r.ended_at - a.started_at) AS took FROM runs r JOIN attempts a ON a.run_id = r.id "
        "WHERE r.proposal_id = %s AND r.purpose = 'recheck'",
        proposal["id"],
    )
    took = float(recheck["took"]) * 1000
    return (int(first[1]) - began) / 1e6 - took, took


# ---- a flood


def flood(whole: Whole) -> Iterator[Figure]:
    """60 MB out of one cell: the worker's memory, the page meanwhile, and what is kept."""
    for _ in range(3):  # what a worker's first runs load is no flood's
        _command(whole, "bench-hello")
    whole.idle()
    worker = whole.stage.processes["worker"].pid
    pages, streams = Times(), []
    over = threading.Event()

    def look(path: str) -> None:
        while not over.is_set():
            with pages.once():
                whole.ana.page(path)
            over.wait(0.1)

    def follow(run_id: str) -> None:
        with suppress(OSError, http.client.HTTPException, AssertionError):
            streams.append(_seen_in_browser(whole, run_id))

    with watching(worker) as memory:
        run_id = whole.ask(whole.ana, "/runs", runbook="bench-flood", parameters={})["id"]
        threads = [
            threading.Thread(target=look, args=(f"/runs/{run_id}",)),
            threading.Thread(target=follow, args=(run_id,)),
        ]
        for thread in threads:
            thread.start()
        try:
            ended = "SELECT state, reason FROM runs WHERE id = %s AND state NOT IN ('queued', 'diagnosing')"
            (run,) = until("the flood to end", lambda: whole.rows(ended, run_id), 120)
        finally:
            over.set()
            for thread in threads:
                thread.join()
    assert run["state"] == "diagnosed", f"the flood ended {run['state']}: {run['reason']}"
    yield at_most(FLOODED, memory.growth, "MB", 20)
    slowest, usual = percentile(pages.taken, 100), percentile(pages.taken, 50)
    yield at_most(USABLE, usual, "ms", 500, f"slowest: {slowest:.0f} ms")
    yield from _kept(whole, run_id)


def _kept(whole: Whole, run_id: str) -> Iterator[Figure]:
    """The whole of what was printed, beside what stands in the run: read back from where it is stored."""
    (row,) = whole.rows(
        "SELECT c.whole FROM cells c JOIN attempts a ON a.id = c.attempt_id "
        "WHERE a.run_id = %s AND c.whole IS NOT NULL",
        run_id,
    )
    told = row["whole"]
    stored = Artifacts(f"file://{whole.stage.folder / 'artifacts'}", whole.stage.folder)
    pieces = b"".join(stored.pieces(told["artifact"]))
    lines = pieces.count(b"x" * 999 + b"\n")
    kept = len(pieces) / 1e6
    complete = lines * 1000 == FLOOD and told["lost"] == 0 and told["size"] == len(pieces)
    yield Figure(
        EVERY_BYTE,
        round(kept, 1),
        "MB",
        goal="every byte",
        holds=complete,
        note=f"{lines:,} of {FLOOD // 1000:,} lines",
    )
