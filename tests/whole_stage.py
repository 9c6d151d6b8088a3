"""The whole demo, started once per pytest process: every server, web and worker real, and people who use it.

Its library is the repository's, with one runbook more: `drill`, whose cells wait wherever a test holds them.
"""

from __future__ import annotations

import json
import shutil
import time
import uuid
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import psycopg
import pytest
from notebooks import cell, notebook

from runbooks_app.main.demo.stage import LIBRARY, Stage
from runbooks_app.main.demo.story import Browser, Story

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator

DIAGNOSIS, REMEDIATION, VERIFICATION = 7001, 7002, 7003
"""Where the drill can be held: keys of advisory locks in the shop's database."""

PATIENCE = 45.0
"""Seconds that anything may take on a busy machine."""

LAST_SAID = 3000
"""Characters of a process's log that are told of."""

DRILL_PARAMETERS = """
from runbook_library.kit import Connection

database: Connection["postgres"] = "orders-db"  # Where to write
word: str = "drill"  # What to write
"""
DRILL_SETUP = """
from runbook_library import kit


def wait_at(place):
    print(f"waits at {place}", flush=True)
    session = kit.postgres(database)
    session.execute("SET lock_timeout = 0; SET statement_timeout = 0")  # a minted role's own are short
    session.execute("SELECT pg_advisory_lock_shared(%s)", [place])
    session.execute("SELECT pg_advisory_unlock_shared(%s)", [place])
    print(f"went on from {place}", flush=True)
"""
DRILL_LOOK = """
kit.keep(asked=word)
kit.finding("warning", f"{word} does not stand there yet")
kit.propose("write-word", text=word, reason="it is missing")
"""
DRILL_WRITE = f"""
text: str  # What is written
kit.gate("write-word", "Write {{text}} on {{database}}", risk="high", target="{{database}}", expires="30m")
kit.postgres(database).execute("INSERT INTO drill_words (word) VALUES (%s)", [text])
wait_at({REMEDIATION})
"""
DRILL_CHECK = f"""
wait_at({VERIFICATION})
stands = kit.postgres(database).execute("SELECT count(*) FROM drill_words WHERE word = %s", [text]).fetchone()[0]
kit.check(f"{{kit.kept.asked}} stands there once", stands == 1)
"""


def until(what: str, look: Callable[[], Any], seconds: float = PATIENCE, *, every: float = 0.05) -> Any:
    """Look every so many seconds until there is something to see, and give it."""
    end = time.monotonic() + seconds
    while True:
        seen = look()
        if seen:
            return seen
        if time.monotonic() > end:
            pytest.fail(f"{what}: not within {seconds:.0f} s; last seen: {seen!r}", pytrace=False)
        time.sleep(every)


class Person(Browser):
    """A signed-in person who also uses the JSON API."""

    def ask(self, path: str, **body: Any) -> httpx.Response:
        """POST to the JSON API."""
        headers = {"Origin": self.stage.url, "X-CSRF-Token": self.csrf}
        return self.client.post(f"{self.stage.url}/api/v1{path}", json=body, headers=headers)

    def sign_in(self, place: str = "/") -> httpx.Response:
        answer = super().sign_in(place)
        self.csrf = self.api("/me")["csrf"]
        return answer

    def decision(self, proposal: dict[str, Any], verdict: str = "approve", reason: str = "go") -> httpx.Response:
        """Decide on a proposal, on its page and wherever that leads."""
        return self.decide(proposal["id"], verdict, reason)

    def run(self, run_id: str, *states: str) -> dict[str, Any]:
        """The run, once it is in one of these states."""
        return self._in_state(f"/runs/{run_id}", states or ("diagnosed", "failed", "timed_out", "cancelled"))

    def proposal(self, proposal_id: str, *states: str) -> dict[str, Any]:
        """The proposal, once it is in one of these states."""
        return self._in_state(f"/proposals/{proposal_id}", states)

    def verified(self, proposal_id: str) -> dict[str, Any]:
        """The proposal, once its verification has an outcome."""

        def look() -> dict[str, Any] | None:
            seen: dict[str, Any] = self.api(f"/proposals/{proposal_id}")
            return seen if seen["verification"] not in {None, "pending"} else None

        found: dict[str, Any] = until(f"the verification of {proposal_id}", look)
        return found

    def _in_state(self, path: str, states: tuple[str, ...]) -> dict[str, Any]:
        seen: dict[str, Any] = {}

        def look() -> bool:
            seen.update(self.api(path))
            return seen["state"] in states

        until(f"{path} to be {' or '.join(states)}", look)
        return seen


class Drill:
    """The runbook that waits where it is held, and what it did to the shop."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.shop = psycopg.connect(stage.shop.server.url(database="orders"), autocommit=True)
        self.shop.execute("CREATE TABLE drill_words (word text NOT NULL)")
        self.shop.execute("GRANT SELECT ON drill_words TO orders_reader")
        self.shop.execute("GRANT SELECT, INSERT ON drill_words TO orders_operator")

    @contextmanager
    def held(self, place: int) -> Iterator[None]:
        """Cells that come to this place wait there until the block is left."""
        with psycopg.connect(self.stage.shop.server.url(database="orders"), autocommit=True) as holder:
            holder.execute("SELECT pg_advisory_lock(%s)", [place])
            yield

    def comes_to(self, place: int) -> None:
        """Return when a cell waits at this place."""
        until(f"a cell to wait at {place}", lambda: self.waiting(place))

    def waiting(self, place: int) -> int:
        """How many cells wait at this place."""
        return self._number(
            "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objid = %s AND NOT granted", place
        )

    def written(self, word: str) -> int:
        """How often this word was written."""
        return self._number("SELECT count(*) FROM drill_words WHERE word = %s", word)

    def minted(self) -> list[str]:
        """Login roles that were minted and are still there."""
        rows = self.shop.execute("SELECT rolname FROM pg_roles WHERE rolname ~ '^runbook_[dr]_'")
        return [name for (name,) in rows.fetchall()]

    def start(self, person: Person, database: str = "orders-db") -> tuple[str, str]:
        """Ask for a run that writes a word of its own: its id, and the word."""
        word = f"word-{uuid.uuid4().hex[:8]}"
        answer = person.ask("/runs", runbook="drill", parameters={"database": database, "word": word})
        assert answer.status_code == 201, answer.text
        return answer.json()["id"], word

    def proposed(self, person: Person, database: str = "orders-db") -> tuple[dict[str, Any], str]:
        """A proposal that waits for its decision, and the word that it would write."""
        run_id, word = self.start(person, database)
        (proposal,) = person.run(run_id)["proposals"]
        return proposal, word

    def _number(self, query: str, value: object) -> int:
        row = self.shop.execute(query, [value]).fetchone()
        return int(row[0]) if row else 0


def library_with_drill(folder: Path) -> Path:
    """The repository's library, copied there, with the drill."""
    shutil.copytree(LIBRARY, folder, ignore=shutil.ignore_patterns("__pycache__"))
    runbook = notebook(
        cell("first", 'print("the first cell is done")', "diagnostic"),
        cell("hold", f"wait_at({DIAGNOSIS})", "diagnostic"),
        cell("look", DRILL_LOOK, "diagnostic"),
        cell("write", DRILL_WRITE, "remediation"),
        cell("stands", DRILL_CHECK, "diagnostic"),
        parameters=DRILL_PARAMETERS,
        title="Drill",
        description="Waits wherever a test holds it, and writes a word.",
        timeouts={"cell": "90s", "run": "3m"},
    )
    runbook["cells"][1] = cell("setup", DRILL_SETUP, "setup")
    (folder / "drill.ipynb").write_text(json.dumps(runbook))
    return folder


@pytest.fixture(scope="session")
def stage_settings() -> dict[str, Any]:
    """Settings of the service that differ from the demo's own."""
    return {}


@pytest.fixture(scope="session")
def stage(servers_folder: Path, postgres_programs: Path, stage_settings: dict[str, Any]) -> Iterator[Stage]:
    """The running demo."""
    library = library_with_drill(servers_folder / "library")
    folder = servers_folder / "stage"
    with Stage(folder, lambda _: None, usual_ports=False, library=library, settings=stage_settings) as started:
        yield started


@pytest.fixture(scope="session")
def drill(stage: Stage) -> Iterator[Drill]:
    """The drill, with its table in the shop."""
    made = Drill(stage)
    yield made
    made.shop.close()


@pytest.fixture(scope="session")
def story(stage: Stage) -> Story:
    """What the demo's own story uses: the channel and the blocker."""
    return Story(stage, lambda _: None)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A test of the running demo that fails tells what its processes said last."""
    report = yield
    stage = getattr(item, "funcargs", {}).get("stage")
    if report.failed and isinstance(stage, Stage):
        for log in sorted(stage.folder.glob("*.log")):
            report.sections.append((f"the end of {log.name}", log.read_text(errors="replace")[-LAST_SAID:]))
    return report


def _signed_in(stage: Stage, sub: str) -> Iterator[Person]:
    person = Person(stage, sub)
    assert person.sign_in().status_code == 200
    yield person
    person.client.close()


@pytest.fixture(scope="session")
def ana(stage: Stage) -> Iterator[Person]:
    """On call."""
    yield from _signed_in(stage, "ana")


@pytest.fixture(scope="session")
def ben(stage: Stage) -> Iterator[Person]:
    """Approves for the database."""
    yield from _signed_in(stage, "ben")


@pytest.fixture(scope="session")
def cat(stage: Stage) -> Iterator[Person]:
    """Approves for the database as well."""
    claims = {"name": "Cat (second approver)", "email": "cat@example.com", "groups": ["dba"]}
    put = httpx.put(f"{stage.issuer}/users/cat", json=claims, trust_env=False)
    assert put.is_success, put.text
    yield from _signed_in(stage, "cat")


@pytest.fixture(scope="session")
def linked(story: Story, ana: Person, ben: Person) -> None:
    """Ana's and Ben's chat accounts are tied to them, by the one-time link that the channel offers."""
    for user, person in (("U0ANA", ana), ("U0BEN", ben)):
        path = story.link_for(user)
        assert person.post(path, person.page(path)).status_code == 200
