"""People who ask for runs and workers who take them, for tests of quotas."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

from worker.conftest import ANA, WEB

from runbooks_app.actions import diagnosing, running, sweeping, waiting
from runbooks_app.core.people import Person
from runbooks_app.core.quotas import Place
from runbooks_app.core.run import RunState
from runbooks_app.store import runs
from runbooks_app.store.database import reading, transaction


class Office:
    """People who ask, and workers who take jobs, one by one; no kernel is needed to begin and to end."""

    def __init__(self, house):
        self.house = house
        self.limit(person=2)

    def limit(self, person: int = 0, runbook: int = 0) -> None:
        """Set the quotas, as a restart with other settings does."""
        settings = self.house.service.settings.model_copy(
            update={"runs_per_person": person, "runs_per_runbook": runbook}
        )
        self.service = replace(self.house.service, settings=settings)

    def ask(self, person: Person = ANA, runbook: str = "look", count: int = 1, channel: str = "") -> list[str]:
        asked = [running.request_run(self.service, person, WEB, runbook, {}, channel=channel) for _ in range(count)]
        return [run.id for run in asked]

    def claim(self, run_id: str) -> diagnosing.Claim | None:
        return diagnosing.claim_run(self.service, run_id, "w1")

    def end(self, claim: diagnosing.Claim) -> None:
        diagnosing.finish_run(self.service, claim, diagnosing.Said(), "")

    def take(self) -> str | None:
        """Take the next job off the queue, as a worker does that ends it well; the run that it is for."""
        job = self.house.job("diagnose")
        with transaction(self.service.engine) as tx:
            tx.execute("DELETE FROM procrastinate_jobs WHERE status = 'doing' AND task_name = 'diagnose'")
        return job[1]["run_id"] if job else None

    def take_all(self) -> list[str]:
        """Take jobs until none is left, and claim what can be; the runs that begin."""
        begun = []
        while run_id := self.take():
            if self.claim(run_id):
                begun.append(run_id)
        return begun

    def line(self) -> dict[str, Place]:
        with reading(self.service.engine) as tx:
            return waiting.line(tx, self.service)

    def states(self, *run_ids: str) -> list[RunState]:
        with reading(self.service.engine) as tx:
            return [runs.get(tx, run_id).state for run_id in run_ids]

    def queued_jobs(self, task: str = "diagnose") -> list[str]:
        with reading(self.service.engine) as tx:
            rows = tx.execute(
                """SELECT args ->> 'run_id' AS run FROM procrastinate_jobs
                   WHERE status = 'todo' AND task_name = :task ORDER BY priority DESC, id""",
                task=task,
            )
            return [row.run for row in rows]

    def wanted(self) -> Counter[str]:
        """How often each run's channel was to be told something, which nobody has done yet."""
        with reading(self.service.engine) as tx:
            rows = tx.execute("SELECT substr(about, 5) AS run, wanted - told AS open FROM chat_threads")
            return Counter({row.run: row.open for row in rows})

    def tell_all(self) -> None:
        """Tell the channels all that is wanted, as far as the rows say."""
        with transaction(self.service.engine) as tx:
            tx.execute("UPDATE chat_threads SET told = wanted")

    def lapse(self, claim: diagnosing.Claim) -> None:
        """The worker of this attempt falls silent, and is found out."""
        with transaction(self.service.engine) as tx:
            tx.execute("UPDATE attempts SET lease_until = now() - interval '1 s' WHERE id = :id", id=claim.attempt.id)
        assert sweeping.take_over(self.service) == 1
